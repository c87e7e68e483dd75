//! Containers and machines on the real kernel: as whoever runs the tests, and as an ordinary user when that is root.
//!
//! It has a `main` of its own because helpers re-execute it.

use runtime::container::{Container, ExecSpec, Limits, Mount, Network, Rootfs, Source, Spec, Stdio, run_once};
use runtime::machine::{self, MachineSpec};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A directory with an empty lower layer; the host's programs are bound into the containers.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::Builder::new().prefix("bb-rt").tempdir().expect("a directory");
        for name in ["lower/etc", "upper", "work"] {
            std::fs::create_dir_all(dir.path().join(name)).expect("a directory");
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), dir.path().join("lower").join(name)).expect("a link");
        }
        std::fs::write(
            dir.path().join("lower/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:1234:1234::/home/web:/bin/sh\n",
        )
        .expect("a file");
        std::fs::write(dir.path().join("lower/etc/group"), "root:x:0:\nweb:x:1234:\n").expect("a file");
        Place { dir }
    }

    fn spec(&self, id: &str, script: &str) -> Spec {
        let at = |name: &str| self.dir.path().join(name);
        Spec {
            id: id.into(),
            rootfs: Rootfs::Overlay { lower: vec![at("lower")], upper: at("upper"), work: at("work") },
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            mounts: vec![Mount { source: Source::Bind("/usr".into()), target: "/usr".into(), readonly: true }],
            hostname: Some("box".into()),
            ..Spec::default()
        }
    }
}

fn pipe() -> (File, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    (File::from(read), write)
}

async fn output(spec: &Spec) -> Result<(i32, String), Box<dyn std::error::Error>> {
    let (mut read, write) = pipe();
    let stdio = Stdio { stdin: None, stderr: Some(write.try_clone()?), stdout: Some(write) };
    let status = run_once(spec, stdio).await?;
    let mut text = String::new();
    read.read_to_string(&mut text)?;
    Ok((status.code, text))
}

async fn basics() -> Outcome {
    let place = Place::new();
    let (code, text) = output(&place.spec(
        "basics",
        "hostname; echo $$; id -u; pwd; ls /dev | tr '\\n' ' '; ls /proc | grep -c '^[0-9]'; echo hi > /file; exit 7",
    ))
    .await?;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(code, 7, "{text}");
    assert_eq!(&lines[..4], ["box", "1", "0", "/"], "{text}");
    assert!(lines[4].contains("null") && lines[4].contains("urandom") && !lines[4].contains("vda"), "{text}");
    assert_eq!(std::fs::read_to_string(place.dir.path().join("upper/file"))?, "hi\n");
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains("bb-rt"), "a mount is left: {mounts}");
    Ok(())
}

async fn users_and_restrictions() -> Outcome {
    let place = Place::new();
    let mut spec = place.spec("users", "id -u; id -g; echo $HOME; grep -E 'CapEff|NoNewPrivs|^Seccomp:' /proc/self/status | tr '\\n' ' '; touch /denied 2>/dev/null || echo readonly; cat /proc/kcore 2>&1 | wc -c; echo x > /proc/sys/kernel/hostname || echo protected; echo out > /dev/stdout");
    spec.user = "web".into();
    spec.readonly_rootfs = true;
    spec.no_new_privs = true;
    let (code, text) = output(&spec).await?;
    assert_eq!(code, 0, "{text}");
    for wanted in [
        "1234\n1234\n/home/web\n",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "readonly\n",
        "protected\n",
        "out\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in {text}");
    }
    let mut spec = Place::new().spec("ghost", "true");
    spec.user = "ghost".into();
    assert!(run_once(&spec, Stdio::null()).await.is_err());
    Ok(())
}

async fn failures_name_themselves() -> Outcome {
    let place = Place::new();
    let mut spec = place.spec("noexec", "true");
    spec.args = vec!["no-such-program".into()];
    let error = run_once(&spec, Stdio::null()).await.expect_err("it does not exist");
    assert_eq!(error.exit_code(), 127, "{error}");
    let place = Place::new();
    let mut spec = place.spec("nomount", "true");
    spec.mounts.push(Mount { source: Source::Bind("/no/such/place".into()), target: "/x".into(), readonly: false });
    let error = run_once(&spec, Stdio::null()).await.expect_err("it does not exist");
    assert!(error.to_string().contains("/no/such/place"), "{error}");
    Ok(())
}

async fn exec_kill_and_terminal() -> Outcome {
    let place = Place::new();
    let mut spec = place.spec("exec", "trap 'exit 9' TERM; touch /ready; while true; do sleep 0.02; done");
    spec.user = "1000".into();
    let mut container = Container::create(&spec, Stdio::null()).await?;
    container.start().await?;
    let (mut read, write) = pipe();
    let exec = ExecSpec {
        args: vec!["sh".into(), "-c".into(), "hostname; id -u; while [ ! -e /proc/1 ]; do :; done; exit 3".into()],
        ..ExecSpec::default()
    };
    let process = container.exec(&exec, Stdio { stdout: Some(write), ..Stdio::null() }).await?;
    assert_eq!(process.wait().await?.code, 3);
    let mut text = String::new();
    read.read_to_string(&mut text)?;
    assert_eq!(text, "box\n1000\n");
    let exec = ExecSpec {
        args: vec!["sh".into(), "-c".into(), "tty; stty size".into()],
        terminal: Some((33, 99)),
        ..ExecSpec::default()
    };
    let mut process = container.exec(&exec, Stdio::null()).await?;
    let mut terminal = process.take_pty().expect("a terminal").into_file();
    let mut text = Vec::new();
    let _ = terminal.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("/dev/pts/0") && text.contains("33 99"), "{text}");
    assert!(!container.pids().is_empty());
    assert!(container.stats().memory_bytes > 0);
    // The trap is set once the file exists or cannot be made (uid 1000 may not write to / as root's file system).
    container.kill(libc::SIGKILL)?;
    assert_eq!(container.wait().await?.code, 137);
    container.delete().await?;
    Ok(())
}

async fn root_may_change_owners() -> Outcome {
    let place = Place::new();
    let (code, text) = output(&place.spec(
        "owners",
        "touch /f && chown 33:33 /f && chmod 4755 /f && setpriv --reuid=33 --regid=33 --clear-groups echo dropped",
    ))
    .await?;
    assert_eq!((code, text.trim()), (0, "dropped"));
    Ok(())
}

async fn init_reaps() -> Outcome {
    let place = Place::new();
    let mut spec = place.spec("init", "(sleep 0.05 &) ; echo $$; exit 5");
    spec.init = true;
    let (code, text) = output(&spec).await?;
    assert_eq!((code, text.trim()), (5, "2"));
    Ok(())
}

async fn limits() -> Outcome {
    if runtime::cgroup::available().is_err() {
        eprintln!("   (no cgroups for this user: limits not tested)");
        return Ok(());
    }
    let place = Place::new();
    let mut spec = place.spec("oom", "exec dd if=/dev/zero of=/dev/null bs=100M count=2");
    spec.limits =
        Limits { memory_bytes: Some(20 << 20), cpu_millis: Some(500), pids: Some(50), cpu_weight_millis: Some(100) };
    let status = run_once(&spec, Stdio::null()).await?;
    assert!(status.oom_killed && status.code == 137, "{status:?}");
    runtime::cgroup::remove_tree(&spec.cgroup_parent);
    Ok(())
}

async fn host_network_and_tmpfs() -> Outcome {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut spec = place.spec(
        "host",
        &format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} && echo joined >&3'; stat -f -c %T /scratch"),
    );
    spec.network = Network::Host;
    spec.mounts.push(Mount {
        source: Source::Tmpfs { size: Some(1 << 20), mode: 0o1777 },
        target: "/scratch".into(),
        readonly: false,
    });
    let (code, text) = output(&spec).await?;
    assert_eq!((code, text.trim()), (0, "tmpfs"), "{text}");
    let mut got = String::new();
    listener.accept()?.0.read_to_string(&mut got)?;
    assert_eq!(got, "joined\n");
    Ok(())
}

async fn a_machine_ends_with_its_parent() -> Outcome {
    let (mut read, write) = pipe();
    let spec = MachineSpec {
        name: "machine".into(),
        cgroup_parents: Vec::new(),
        program: Some("/bin/sh".into()),
        args: vec![
            "-c".into(),
            "trap 'exit 4' TERM; echo $(id -u) $(hostname) $(cat <&3); echo $$; while true; do sleep 0.02; done".into(),
        ],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        inherit: vec![File::open("/proc/sys/kernel/ostype")?.into()],
        stdout: Some(write),
        stderr: None,
    };
    let machine = machine::spawn(spec).await?;
    let mut bytes = [0; 64];
    let mut text = String::new();
    while text.lines().count() < 2 {
        let length = read.read(&mut bytes)?;
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    assert_eq!(text, "0 machine Linux\n2\n");
    let status = machine.shutdown(Duration::from_secs(5)).await?;
    assert_eq!(status.code, 4);
    // The write end is held by nothing any more: end of file.
    assert_eq!(read.read(&mut bytes)?, 0);
    Ok(())
}

/// Starts a process that starts a machine and a container, kills it, and sees everything end.
async fn nothing_survives_a_kill() -> Outcome {
    let (mut read, write) = pipe();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let mut child = command.arg("victim").stdout(std::process::Stdio::from(write)).spawn()?;
    drop(command);
    let mut bytes = [0; 64];
    let mut text = String::new();
    while text.lines().count() < 2 {
        let length = read.read(&mut bytes)?;
        assert!(length > 0, "the victim ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    child.kill()?;
    child.wait()?;
    // Everything that it left would hold the pipe open, and this would never end.
    read.read_to_string(&mut text)?;
    Ok(())
}

async fn victim() -> Outcome {
    let out = || nix::unistd::dup(std::io::stdout()).ok();
    let place = Place::new();
    let script = "echo up; while true; do sleep 0.02; done";
    let mut container =
        Container::create(&place.spec("victim", script), Stdio { stdout: out(), ..Stdio::null() }).await?;
    container.start().await?;
    let spec = MachineSpec {
        name: "victim".into(),
        cgroup_parents: vec![Spec::default().cgroup_parent],
        program: Some("/bin/sh".into()),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        inherit: Vec::new(),
        stdout: out(),
        stderr: None,
    };
    let _machine = machine::spawn(spec).await?;
    std::future::pending().await
}

/// Runs this program once more as an ordinary user.
fn again_as_user() -> Outcome {
    let dir = tempfile::Builder::new().prefix("bb-rt-user").tempdir_in("/tmp")?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
    let copy = dir.path().join("test");
    std::fs::copy(std::env::current_exe()?, &copy)?;
    let tmp: PathBuf = dir.path().join("tmp");
    std::fs::create_dir(&tmp)?;
    std::os::unix::fs::chown(&tmp, Some(54321), Some(54321))?;
    let status = std::process::Command::new("setpriv")
        .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
        .arg(&copy)
        .current_dir(&tmp)
        .env("TMPDIR", &tmp)
        .status()?;
    assert!(status.success(), "as an ordinary user: {status}");
    Ok(())
}

fn main() {
    runtime::reexec::init();
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        return;
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if argument == "victim" {
        tokio.block_on(victim()).expect("the victim starts");
        return;
    }
    let only = if argument.starts_with('-') { String::new() } else { argument };
    for check in runtime::caps_probe::probe(Path::new(&std::env::temp_dir())) {
        eprintln!("   {:<22} {:<5} {}", check.name, check.ok, check.detail);
    }
    macro_rules! run {
        ($($name:ident)*) => {$(
            if stringify!($name).contains(&only) {
                let start = std::time::Instant::now();
                tokio.block_on(async { tokio::time::timeout(Duration::from_secs(120), $name()).await }).expect(stringify!($name)).expect(stringify!($name));
                eprintln!("ok {} ({} ms)", stringify!($name), start.elapsed().as_millis());
            }
        )*};
    }
    run!(basics users_and_restrictions failures_name_themselves exec_kill_and_terminal root_may_change_owners init_reaps limits host_network_and_tmpfs a_machine_ends_with_its_parent nothing_survives_a_kill);
    if nix::unistd::geteuid().is_root() && only.is_empty() {
        again_as_user().expect("as an ordinary user");
    }
}
