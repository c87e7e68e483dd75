//! The state directory: one per instance, holding everything that outlives the daemon.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::fcntl::{Flock, FlockArg};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The paths in a state directory.
#[derive(Debug, Clone)]
pub struct StateDir {
    dir: PathBuf,
}

/// What is chosen once for an instance and kept: secrets and ports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    /// The repository whose working copy it was made for.
    pub repo: PathBuf,
    /// Password of the user `admin`.
    pub admin_password: String,
    /// Token of the person who pushes.
    pub forge_token: String,
    /// Password of the registry's user.
    pub registry_password: String,
    /// Key that signs session tokens, base64.
    pub session_key: String,
    /// What the apiserver shows kubelets.
    pub kubelet_token: String,
    /// Ports on loopback; 0 until first bound.
    #[serde(default)]
    pub ports: Ports,
}

/// Ports on loopback, the same at every start where they are free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The forge.
    pub forge: u16,
    /// The registry.
    pub registry: u16,
    /// The API server.
    pub apiserver: u16,
    /// The ingress, HTTP.
    pub http: u16,
    /// The ingress, HTTPS.
    pub https: u16,
}

impl StateDir {
    /// The directory that was named, or the one that belongs to the repository.
    ///
    /// # Errors
    /// When neither `XDG_STATE_HOME` nor `HOME` says where state goes.
    pub fn find(named: Option<&Path>, repo: &Path) -> Result<Self> {
        if let Some(dir) = named {
            let dir = std::path::absolute(dir).with_context(|| format!("cannot use --state {}", dir.display()))?;
            return Ok(Self { dir });
        }
        let base = match (std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")) {
            (Some(dir), _) if !dir.is_empty() => PathBuf::from(dir),
            (_, Some(home)) if !home.is_empty() => PathBuf::from(home).join(".local/state"),
            _ => bail!("neither XDG_STATE_HOME nor HOME is set; say where state goes with --state DIR"),
        };
        let name = repo.file_name().map_or_else(|| "repository".into(), |name| name.to_string_lossy().into_owned());
        let hash = hex::encode(&Sha256::digest(repo.as_os_str().as_encoded_bytes())[..4]);
        Ok(Self { dir: base.join("bigben").join(format!("{name}-{hash}")) })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.join("run/bigben.sock")
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.join("daemon.log")
    }

    /// Makes it, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<()> {
        for dir in [self.dir.clone(), self.join("run")] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the state directory {}", dir.display()))?;
        }
        fs::set_permissions(&self.dir, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot make {} private", self.dir.display()))
    }

    /// Takes the instance for this process; `None` when another process has it. Released when dropped.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock(&self) -> Result<Option<Flock<File>>> {
        let path = self.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Whether a daemon has the instance.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn is_running(&self) -> Result<bool> {
        if !self.join("lock").exists() {
            return Ok(false);
        }
        Ok(self.lock()?.is_none())
    }

    /// What was chosen for the instance; chosen now where nothing was.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn instance(&self, repo: &Path) -> Result<Instance> {
        if let Some(instance) = self.known_instance()? {
            return Ok(instance);
        }
        let instance = Instance {
            repo: repo.to_owned(),
            admin_password: random(12),
            forge_token: format!("ghp_{}", random(24)),
            registry_password: random(18),
            session_key: random(32),
            kubelet_token: random(24),
            ports: Ports::default(),
        };
        self.save(&instance)?;
        Ok(instance)
    }

    /// What was chosen for the instance, if it was ever started.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn known_instance(&self) -> Result<Option<Instance>> {
        let path = self.join("instance.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let instance = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is damaged; `bigben down --purge` starts anew", path.display()))?;
                Ok(Some(instance))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Keeps what was chosen.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, instance: &Instance) -> Result<()> {
        let text = serde_json::to_vec_pretty(instance).context("an instance is always JSON")?;
        self.write_private("instance.json", &text)
    }

    /// Writes a file that only its owner reads, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_private(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.join(name);
        let temporary = self.join(&format!("{name}.new"));
        let written = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Random text of this many bytes' strength.
pub fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    rand::rng().fill_bytes(&mut buffer);
    URL_SAFE_NO_PAD.encode(buffer).replace(['-', '_'], "x")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::find(Some(&dir.path().join("s")), Path::new("/r")).unwrap();
        state.create().unwrap();
        (dir, state)
    }

    #[test]
    fn what_was_chosen_stays() {
        let (_dir, state) = state();
        let first = state.instance(Path::new("/r")).unwrap();
        let second = state.instance(Path::new("/r")).unwrap();
        assert_eq!(first.admin_password, second.admin_password);
        let mode = fs::metadata(state.join("instance.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_process_has_it() {
        let (_dir, state) = state();
        assert!(!state.is_running().unwrap());
        let lock = state.lock().unwrap();
        assert!(lock.is_some());
        assert!(state.is_running().unwrap());
        drop(lock);
        assert!(!state.is_running().unwrap());
    }

    #[test]
    fn repositories_of_one_name_have_states_of_their_own() {
        let named = |repo: &str| StateDir::find(None, Path::new(repo)).map(|state| state.dir);
        if std::env::var_os("HOME").is_some() {
            assert_ne!(named("/a/app").unwrap(), named("/b/app").unwrap());
        }
    }
}
