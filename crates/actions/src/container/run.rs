//! One container of a job: made from a definition and an image, run, removed.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::container::{Container, Limits, Mount, Network, Rootfs, Seccomp, Source, Spec, Stdio};

use super::definition::Definition;
use super::image::Image;
use super::network::inside_address;
use super::outside;
use super::paths::Paths;
use crate::job::error_chain;
use crate::job::shell::words;

/// The cgroup below which this process's containers are.
pub(crate) fn cgroup_parent() -> String {
    format!("bigben-jobs-{}", std::process::id())
}

/// Where the containers of one job keep things, and what they are told.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Directory of the job for overlays, hosts files and logs.
    pub dir: PathBuf,
    /// Directory of named volumes.
    pub volumes: PathBuf,
    /// Names and addresses for `/etc/hosts`.
    pub hosts: Vec<(String, String)>,
    /// The address that the container has itself, with a network of its own.
    pub own: Option<Ipv4Addr>,
}

/// The container that the steps of a job run in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// It.
    pub container: Arc<Container>,
    /// Where the runner's directories are in it.
    pub paths: Paths,
    /// The image's environment and the definition's.
    pub env: Vec<(String, String)>,
}

/// What [`spec`] makes of a definition.
pub(crate) struct Made {
    pub spec: Spec,
    /// The image's environment and the definition's.
    pub env: Vec<(String, String)>,
}

/// The specification of a container.
pub(crate) fn spec(
    definition: &Definition,
    image: &Image,
    network: Network,
    paths: &Paths,
    around: &Surroundings,
) -> Result<Made, String> {
    let id = format!("job-{}", uuid::Uuid::new_v4().simple());
    let dir = around.dir.join(&id);
    let fail = |error: std::io::Error| format!("cannot prepare the container {}: {error}", definition.image);
    let make = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).map(|()| path)
    };
    let (upper, work) = (make("upper").map_err(fail)?, make("work").map_err(fail)?);
    set_mode(&upper).map_err(fail)?;
    let lower = if image.layers.is_empty() { vec![make("empty").map_err(fail)?] } else { image.layers.clone() };
    let mut env: Vec<(String, String)> = image
        .config
        .env
        .iter()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()));
    }
    for (name, value) in &definition.env {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    let options = &definition.options;
    let hostname = options.hostname.clone().unwrap_or_else(|| id[4..16].to_owned());
    let mut mounts = paths.mounts();
    mounts.extend(name_files(&dir, &hostname, network, around, &options.hosts).map_err(fail)?);
    for volume in &definition.volumes {
        let source = match &volume.source {
            None => make(&format!("volume-{}", mounts.len())).map_err(fail)?,
            Some(path) if path.starts_with('/') => paths.outside(Path::new(path)),
            Some(name) if named(name) => around.volumes.join(name),
            Some(other) => return Err(format!("'{other}' is neither an absolute path nor the name of a volume")),
        };
        std::fs::create_dir_all(&source)
            .or_else(|error| if source.exists() { Ok(()) } else { Err(error) })
            .map_err(fail)?;
        mounts.push(Mount { source: Source::Bind(source), target: (&volume.target).into(), readonly: volume.readonly });
    }
    for target in &options.tmpfs {
        mounts.push(Mount {
            source: Source::Tmpfs { size: None, mode: 0o1777 },
            target: target.into(),
            readonly: false,
        });
    }
    let mut args = match &definition.entrypoint {
        Some(program) => vec![program.clone()],
        None => image.config.entrypoint.clone().unwrap_or_default(),
    };
    match &definition.command {
        Some(command) => args.extend(words(command)),
        None if definition.entrypoint.is_none() => args.extend(image.config.cmd.clone().unwrap_or_default()),
        None => {}
    }
    if args.is_empty() {
        return Err(format!("the image {} names no program to run, and neither does the workflow", definition.image));
    }
    let cwd = options.workdir.clone().unwrap_or_else(|| image.config.working_dir.clone());
    let spec = Spec {
        id,
        cgroup_parent: cgroup_parent(),
        rootfs: Rootfs::Overlay { lower, upper, work },
        args,
        env: env.clone(),
        cwd: if cwd.is_empty() { "/".into() } else { cwd.into() },
        user: options.user.clone().unwrap_or_else(|| image.config.user.clone()),
        hostname: Some(hostname),
        mounts,
        network,
        capabilities: runtime::capability::adjusted(&options.cap_add, &options.cap_drop),
        seccomp: if options.seccomp_off { Seccomp::Unconfined } else { Seccomp::Default },
        no_new_privs: options.no_new_privileges,
        readonly_rootfs: options.read_only,
        privileged: options.privileged,
        limits: Limits {
            memory_bytes: options.memory,
            cpu_millis: options.cpu_millis,
            pids: options.pids,
            ..Limits::default()
        },
        init: options.init,
        shm_bytes: options.shm.unwrap_or(64 << 20),
        ..Spec::default()
    };
    Ok(Made { spec, env })
}

/// Starts a container.
pub(crate) async fn start(spec: &Spec, stdio: Stdio) -> Result<Container, String> {
    let mut container = Container::create(spec, stdio).await.map_err(told)?;
    container.start().await.map_err(told)?;
    Ok(container)
}

/// What is wrong with a container, and what to do.
pub(crate) fn told(error: runtime::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{} ({hint})", error_chain(&error)),
        None => error_chain(&error),
    }
}

fn named(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn set_mode(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
fn name_files(
    dir: &Path,
    hostname: &str,
    network: Network,
    around: &Surroundings,
    more: &[(String, String)],
) -> std::io::Result<Vec<Mount>> {
    let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    let own = around.own.map_or(Ipv4Addr::new(127, 0, 1, 1), inside_address);
    hosts.push_str(&format!("{own}\t{hostname}\n"));
    for (name, address) in around.hosts.iter().chain(more) {
        // In a network of its own, loopback is the container's own too.
        let address = match (network, address.parse::<Ipv4Addr>()) {
            (Network::None, Ok(Ipv4Addr::LOCALHOST)) => outside::HOST.to_string(),
            (Network::None, Ok(ip)) if ip.is_loopback() => inside_address(ip).to_string(),
            _ => address.clone(),
        };
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    let resolv = match network {
        Network::Host => std::fs::read("/etc/resolv.conf").unwrap_or_default(),
        Network::None => outside::resolv_conf().into_bytes(),
    };
    let mut out = Vec::new();
    for (name, text) in
        [("hosts", hosts.into_bytes()), ("hostname", format!("{hostname}\n").into_bytes()), ("resolv.conf", resolv)]
    {
        let file = dir.join(name);
        std::fs::write(&file, text)?;
        out.push(Mount { source: Source::Bind(file), target: format!("/etc/{name}").into(), readonly: false });
    }
    Ok(out)
}
