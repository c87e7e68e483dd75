//! A Docker Engine of the test's own, ended with it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running engine.
pub struct Engine {
    child: Child,
    dir: tempfile::TempDir,
    bin: String,
    pub busybox: PathBuf,
}

/// Finds a program on the PATH or in packages that are fetched, not installed.
fn find(program: &str, packages: &[&str]) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    if let Some(found) = path
        .split(':')
        .chain(["/usr/sbin", "/usr/bin", "/bin"])
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
    {
        return found;
    }
    let judges = Path::new(env!("CARGO_TARGET_TMPDIR")).join("judges/debian");
    let look = || {
        ["usr/sbin", "usr/bin", "bin"]
            .iter()
            .map(|dir| judges.join("root").join(dir).join(program))
            .find(|path| path.is_file())
    };
    if look().is_none() {
        std::fs::create_dir_all(&judges).expect("judges directory");
        let fetched = Command::new("apt-get").arg("download").args(packages).current_dir(&judges).status();
        assert!(
            fetched.is_ok_and(|status| status.success()),
            "cannot fetch {packages:?}: is this Debian, with network?"
        );
        for entry in std::fs::read_dir(&judges).expect("judges directory").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                let done = Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(judges.join("root")).status();
                assert!(done.is_ok_and(|status| status.success()), "cannot unpack {:?}", entry.path());
            }
        }
    }
    look().unwrap_or_else(|| panic!("{program} is not in {packages:?}"))
}

impl Engine {
    /// Starts an engine and waits until it answers.
    pub fn start(driver: &str) -> Engine {
        let dockerd = find("dockerd", &["docker.io", "containerd", "runc"]);
        let busybox = find("busybox", &["busybox-static"]);
        let dir = tempfile::tempdir().expect("temporary directory");
        let bin = format!(
            "{}:{}:{}",
            dockerd.parent().expect("parent").display(),
            dockerd.parent().and_then(Path::parent).expect("parent").join("bin").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let log = std::fs::File::create(dir.path().join("log")).expect("log");
        let child = Command::new(&dockerd)
            .env("PATH", &bin)
            .arg("--data-root")
            .arg(dir.path().join("root"))
            .arg("--exec-root")
            .arg(dir.path().join("exec"))
            .arg("--pidfile")
            .arg(dir.path().join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", dir.path().join("sock").display()))
            .args(["--iptables=false", "--bridge=none", "--storage-driver", driver])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|wrong| panic!("{}: {wrong}", dockerd.display()));
        let engine = Engine { child, dir, bin, busybox };
        let begun = Instant::now();
        while !engine.docker().arg("version").output().is_ok_and(|output| output.status.success()) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "dockerd: {}",
                std::fs::read_to_string(engine.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
        engine
    }

    /// Its command line client: that of the same packages comes first; any other speaks the same protocol.
    pub fn docker(&self) -> Command {
        let dirs = self.bin.split(':').chain(["/usr/bin"]);
        let own = ["/usr/bin/docker".to_owned()].into_iter().chain(dirs.map(|dir| format!("{dir}/docker")));
        self.client(own)
    }

    /// The client of this machine, which may be newer than the engine.
    #[allow(dead_code, reason = "each test file uses its part")]
    pub fn newest(&self) -> Command {
        let dirs = self.bin.split(':').chain(["/usr/bin"]);
        let all = ["/usr/local/bin/docker".to_owned()].into_iter().chain(dirs.map(|dir| format!("{dir}/docker")));
        self.client(all)
    }

    fn client(&self, mut paths: impl Iterator<Item = String>) -> Command {
        let mut command = Command::new(paths.find(|path| is_program(path)).expect("docker client"));
        command
            .env("DOCKER_HOST", format!("unix://{}", self.dir.path().join("sock").display()))
            .env("HOME", self.dir.path());
        command
    }
}

fn is_program(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SIGTERM lets it end its containers and unmount; it is our own child.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
