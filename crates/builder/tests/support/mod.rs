//! A `docker` of the test's own: state, home and registry in a temporary directory.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it, and a test ends where it fails")]

pub mod registry;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use builder::docker::{Stdio, run};

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// Standard error of a command that must fail with this code.
    #[track_caller]
    pub fn fails(self, code: u8) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self.err
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

pub struct Docker {
    pub dir: tempfile::TempDir,
    pub env: BTreeMap<String, String>,
}

impl Docker {
    pub fn new() -> Docker {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        // Containers are started by a helper; a test binary is none, the example is.
        runtime::reexec::set_helper(helper());
        let env = BTreeMap::from([
            ("HOME".to_owned(), path("home")),
            ("DOCKER_CONFIG".to_owned(), path("config")),
            ("BIGBEN_DOCKER_STATE".to_owned(), path("state")),
            // Nothing may reach the internet.
            ("BIGBEN_ENDPOINTS".to_owned(), "*=http://127.0.0.1:1".to_owned()),
        ]);
        std::fs::create_dir_all(dir.path().join("context")).unwrap();
        Docker { dir, env }
    }

    pub fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Docker {
        self.write_mode(path, text, 0o644)
    }

    pub fn write_mode(&self, path: &str, text: impl AsRef<[u8]>, mode: u32) -> &Docker {
        let path = self.context().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub fn link(&self, path: &str, target: &str) -> &Docker {
        symlink(target, self.context().join(path)).unwrap();
        self
    }

    pub fn with_input(&self, args: &[&str], input: &[u8]) -> Done {
        let (out, err) = (Buffer::default(), Buffer::default());
        let stdio = Stdio {
            input: Box::new(std::io::Cursor::new(input.to_vec())),
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            terminal: false,
            inherited: false,
        };
        let argv = ["docker"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let code = run(argv, self.env.clone(), self.context(), stdio);
        Done { code, out: out.text(), err: err.text() }
    }

    pub fn docker(&self, args: &[&str]) -> Done {
        self.with_input(args, b"")
    }

    /// `docker build` with a Dockerfile on standard input and the context directory.
    pub fn build(&self, dockerfile: &str, args: &[&str]) -> Done {
        self.with_input(&[&["build", "-f", "-"], args, &["."]].concat(), dockerfile.as_bytes())
    }

    /// The digest of a local image's manifest.
    pub fn digest(&self, name: &str) -> String {
        self.docker(&["inspect", "--format", "{{.Descriptor.digest}}", name]).ok().trim().to_owned()
    }

    /// Names of the steps that ran and of those that were cached.
    pub fn steps(talk: &str) -> (Vec<String>, Vec<String>) {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let (mut ran, mut cached) = (Vec::new(), Vec::new());
        for line in talk.lines() {
            let Some((number, rest)) = line.split_once(' ') else { continue };
            if rest.starts_with('[') {
                names.entry(number).or_insert(rest);
            }
            let Some(name) =
                names.get(number).copied().filter(|name| !name.starts_with("[internal]") && !name.contains(" FROM "))
            else {
                continue;
            };
            let short = name.split_once("] ").map_or(name, |(_, rest)| rest).to_owned();
            if rest == "CACHED" {
                cached.push(short);
            } else if rest.starts_with("DONE") {
                ran.push(short);
            }
        }
        ran.sort();
        cached.sort();
        (ran, cached)
    }
}

impl Docker {
    /// The command as a program.
    pub fn helper(&self) -> PathBuf {
        helper()
    }
}

fn helper() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().and_then(Path::parent).unwrap().join("examples/docker")
}

/// A static busybox of this machine, or a note that there is none.
pub fn busybox() -> Option<PathBuf> {
    let found = ["/usr/bin/busybox", "/bin/busybox", "/usr/sbin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs busybox-static");
        eprintln!("there is no static busybox on this machine: RUN was not tested");
    }
    found
}
