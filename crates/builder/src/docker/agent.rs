//! Agents that hold keys for `RUN --mount=type=ssh`: `--ssh NAME=KEYFILE`.

use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether a path is the socket of an agent.
pub(super) fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// An `ssh-agent` of this build's own. It ends with it.
pub(super) struct Agent {
    child: Child,
    dir: tempfile::TempDir,
}

impl Agent {
    /// Starts one and gives it the keys.
    ///
    /// # Errors
    /// When there is no `ssh-agent`, or a file is no key, or needs a passphrase.
    pub fn start(keys: &[PathBuf]) -> Result<Agent, String> {
        for key in keys {
            if !key.is_file() {
                return Err(format!(
                    "{} is neither the socket of an SSH agent nor a key file; start one with ssh-agent, add the key with ssh-add, and pass --ssh default",
                    key.display()
                ));
            }
        }
        let dir = tempfile::tempdir().map_err(|wrong| format!("make a directory for an agent: {wrong}"))?;
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(dir.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|wrong| format!("a key file needs ssh-agent on the PATH: {wrong}"))?;
        let mut agent = Agent { child, dir };
        agent.answers()?;
        for key in keys {
            agent.add(key)?;
        }
        Ok(agent)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn answers(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while !is_socket(&self.socket()) {
            let ended = self.child.try_wait().map_err(|wrong| format!("ssh-agent: {wrong}"))?;
            if let Some(status) = ended {
                return Err(format!("ssh-agent ended: {status}"));
            }
            if begun.elapsed() > Duration::from_secs(30) {
                return Err("ssh-agent does not answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn add(&self, key: &Path) -> Result<(), String> {
        // ssh-add wants a file that nobody else can read; what is given need not be one.
        let own = self.dir.path().join("key");
        let copied = std::fs::read(key).and_then(|bytes| {
            let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&own)?;
            std::io::Write::write_all(&mut file, &bytes)
        });
        copied.map_err(|wrong| format!("{}: {wrong}", key.display()))?;
        let output = Command::new("ssh-add")
            .arg(&own)
            .env("SSH_AUTH_SOCK", self.socket())
            .env("SSH_ASKPASS_REQUIRE", "never")
            .stdin(Stdio::null())
            .output();
        let _ = std::fs::remove_file(&own);
        match output.map_err(|wrong| format!("a key file needs ssh-add on the PATH: {wrong}"))? {
            output if output.status.success() => Ok(()),
            output => Err(format!(
                "{} cannot be used; keys with a passphrase need an agent of your own: {}",
                key.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
