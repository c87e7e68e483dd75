//! `RUN`: a container over the layers so far, and a layer of what it changed.
//!
//! The container sees an overlay of unpacked layers. What it leaves behind in the upper directory becomes a layer: sorted, at
//! one fixed time, without directories that did not change and without the places that only mounts needed. Secrets and proxies
//! are not part of the step's key.

mod diff;
mod forward;
mod mounts;
mod output;
mod roots;
mod ulimit;

pub(crate) use roots::sweep;
pub use ulimit::Ulimit;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::container::{Mount as Bind, Network as Net, Rootfs, Source as From, Spec, Stdio};

use crate::build::Cause;
use crate::cache::Key;
use crate::dockerfile::ast::Network;
use crate::progress::Step;
use crate::solve::{Performed, Solve, chain_id};
use crate::state::{Effect, State};

/// Numbers the containers of this process.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The cgroup below which the containers of one build are.
pub(crate) fn cgroup_parent() -> String {
    format!("bigben-build-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn runtime_failure(message: impl Into<String>) -> impl FnOnce(runtime::Error) -> Cause {
    let message = message.into();
    move |source| {
        let message = match source.hint() {
            Some(hint) => format!("{message} ({hint})"),
            None => message,
        };
        Cause::Runtime { message, source: Box::new(source) }
    }
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Cause {
    let what = what.into();
    move |source| Cause::Runtime { message: what, source: Box::new(source) }
}

impl Solve<'_> {
    /// Performs a `RUN`, or finds that it is known.
    pub(crate) fn run(
        &self,
        at: usize,
        state: &State,
        effect: &Effect,
        step: &Step<'_>,
        output: &mut Vec<String>,
    ) -> Result<Performed, Cause> {
        let Effect::Run { args, heredocs, mounts, network, insecure, .. } = effect else {
            return Err(Cause::Message("internal error: not a RUN".to_owned()));
        };
        if *insecure && !self.request.allow_insecure {
            return Err(Cause::Message("security.insecure is not allowed: add --allow security.insecure".to_owned()));
        }
        let network = match network {
            Network::Default => self.request.network,
            own => *own,
        };
        let history = state.run_text(args);
        let env = state.run_env(&self.inputs);
        let mut key = Key::new("run")
            .with(chain_id(&state.layers))
            .with_all(args)
            .with_all(
                env.iter()
                    .filter(|(name, _)| !crate::state::PROXY_ARGS.contains(&name.as_str()) || state.declares(name))
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .with(&state.image.config.user)
            .with(&state.image.config.working_dir)
            .with(format!("{network:?} {insecure} {:?}", self.request.hosts))
            .with_all(self.request.shm_bytes.map(u64::to_le_bytes))
            .with_all(self.request.ulimits.iter().map(ToString::to_string))
            .with_all(self.sandbox_name())
            .with_all(heredocs.iter().flat_map(|doc| [doc.name.clone(), doc.text()]))
            .with(self.request.epoch.to_le_bytes());
        let mut prepared = self.prepare_mounts(at, mounts, &state.image.config.working_dir, step)?;
        key = key.with_all(&prepared.prints);
        let key = key.finish();
        if let Some(known) = self.known(at, &key) {
            return Ok(Performed { known, cached: true, history, key });
        }
        let work = self.work_dir()?;
        work.note_cgroup(&self.cgroup).map_err(io("make a working directory"))?;
        let upper = work.path().join("upper");
        let overlay_work = work.path().join("work");
        for dir in [&upper, &overlay_work] {
            std::fs::create_dir(dir).map_err(io("make a working directory"))?;
        }
        std::fs::set_permissions(&upper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(io("make a working directory"))?;
        let lower = self.unpack_layers(state, work.path())?;
        let mut binds = self.fixed_binds(work.path(), network)?;
        let script = self.heredoc_script(args, heredocs, work.path())?;
        binds.extend(script);
        self.bind_mounts(&mut prepared, work.path())?;
        binds.append(&mut prepared.binds);
        let mut env = env;
        env.append(&mut prepared.env);
        let id = format!("run-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let spec = Spec {
            id,
            cgroup_parent: self.cgroup.clone(),
            rootfs: Rootfs::Overlay { lower, upper: upper.clone(), work: overlay_work },
            args: args.clone(),
            env,
            cwd: state.image.config.working_dir.clone().into(),
            user: state.image.config.user.clone(),
            hostname: Some(self.sandbox_name().unwrap_or("buildkitsandbox").to_owned()),
            mounts: binds.clone(),
            network: if network == Network::None { Net::None } else { Net::Host },
            privileged: *insecure,
            shm_bytes: self.request.shm_bytes.unwrap_or(Spec::default().shm_bytes),
            ..Spec::default()
        };
        let platform = oci::Platform {
            architecture: state.image.architecture.clone(),
            os: state.image.os.clone(),
            variant: state.image.variant.clone(),
            ..Default::default()
        };
        self.contain(&spec, args, &platform, step, output)?;
        let view = self.view(state).map_err(Cause::Files)?;
        let owner = match rustix::process::geteuid().is_root() {
            true => None,
            false => Some(crate::solve::resolve_user(&state.image.config.user, &|| Ok(view.clone()))?),
        };
        let stubs: Vec<String> =
            binds.iter().map(|bind| bind.target.to_string_lossy().trim_matches('/').to_owned()).collect();
        let known = self.layer_of_changes(&upper, &view, &stubs, owner)?;
        self.cache.put(&key, &known);
        Ok(Performed { known, cached: false, history, key })
    }

    fn contain(
        &self,
        spec: &Spec,
        args: &[String],
        platform: &oci::Platform,
        step: &Step<'_>,
        output: &mut Vec<String>,
    ) -> Result<(), Cause> {
        let (reader, writer) = std::io::pipe().map_err(io("make a pipe"))?;
        let stdout: OwnedFd = writer.into();
        let stderr = stdout.try_clone().map_err(io("make a pipe"))?;
        let stdio = Stdio { stdin: None, stdout: Some(stdout), stderr: Some(stderr) };
        let command = args.join(" ");
        let (status, tail) = std::thread::scope(|scope| {
            let talk = scope.spawn(|| output::relay(reader, step));
            let status = self.handle.block_on(async {
                tokio::select! {
                    status = ulimit::run(spec, stdio, &self.request.ulimits) => Some(status),
                    () = self.canceled.cancelled() => None,
                }
            });
            (status, talk.join().unwrap_or_default())
        });
        *output = tail;
        let status = match status {
            None => return Err(Cause::Message("canceled".to_owned())),
            Some(Ok(status)) => status,
            Some(Err(wrong @ runtime::Error::Exec { .. })) => {
                output.push(crate::build::chain(&wrong));
                if wrong.exit_code() == 126 && *platform != oci::Platform::host() {
                    output.push(format!(
                        "programs of {platform} need an emulator registered with binfmt_misc on this machine"
                    ));
                }
                return Err(Cause::Exit { command, code: wrong.exit_code() });
            }
            Some(Err(wrong)) => return Err(runtime_failure(format!("failed to run {command:?}"))(wrong)),
        };
        match status.code {
            0 => Ok(()),
            _ if status.oom_killed => Err(Cause::Message(format!(
                "process {command:?} did not complete successfully: cannot allocate memory"
            ))),
            code => Err(Cause::Exit { command, code }),
        }
    }

    /// The host name of containers, when `BUILDKIT_SANDBOX_HOSTNAME` gives one.
    fn sandbox_name(&self) -> Option<&str> {
        self.request.built_in("BUILDKIT_SANDBOX_HOSTNAME")
    }

    /// Name resolution inside the container.
    fn fixed_binds(&self, work: &Path, network: Network) -> Result<Vec<Bind>, Cause> {
        let hosts = work.join("hosts");
        let name = self.sandbox_name().unwrap_or("buildkitsandbox");
        let mut text = format!("127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for (name, address) in &self.request.hosts {
            text.push_str(&format!("{address}\t{name}\n"));
        }
        std::fs::write(&hosts, text).map_err(io("write hosts"))?;
        let mut out = vec![Bind { source: From::Bind(hosts), target: "/etc/hosts".into(), readonly: true }];
        if network != Network::None {
            let resolv = work.join("resolv.conf");
            let host = std::fs::read("/etc/resolv.conf").unwrap_or_default();
            std::fs::write(&resolv, host).map_err(io("write resolv.conf"))?;
            out.push(Bind { source: From::Bind(resolv), target: "/etc/resolv.conf".into(), readonly: true });
        }
        Ok(out)
    }

    /// A heredoc that names its own interpreter is shown as a program.
    fn heredoc_script(
        &self,
        args: &[String],
        heredocs: &[crate::dockerfile::Heredoc],
        work: &Path,
    ) -> Result<Option<Bind>, Cause> {
        let ([program], [doc]) = (args, heredocs) else { return Ok(None) };
        if *program != format!("/dev/pipes/{}", doc.name) {
            return Ok(None);
        }
        let path = work.join("script");
        let mut file = std::fs::File::create(&path).map_err(io("write a script"))?;
        file.write_all(doc.text().as_bytes()).map_err(io("write a script"))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(io("write a script"))?;
        Ok(Some(Bind { source: From::Bind(path), target: program.into(), readonly: true }))
    }

    /// A directory for one container, on the file system of the cache. Removed with it, whatever modes it has inside.
    fn work_dir(&self) -> Result<roots::WorkDir, Cause> {
        roots::WorkDir::new(&self.builder.config.cache.join("work")).map_err(io("make a working directory"))
    }
}
