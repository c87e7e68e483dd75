//! An agent's socket under another owner and mode, for `RUN --mount=type=ssh,uid=...`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Conversations at a time; more wait.
const MOST: usize = 64;

/// A socket that is passed on to an agent until this is dropped.
pub(super) struct Forward {
    path: PathBuf,
    _dir: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    /// Both ends of every conversation, so that they can be ended.
    open: Arc<Mutex<Vec<UnixStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// Listens; root owns the socket where nothing else is said, and nobody else may use it.
    pub fn start(agent: &Path, mode: Option<u32>, owner: (Option<u32>, Option<u32>)) -> std::io::Result<Forward> {
        // A short path: that of a socket may not be long.
        let dir = tempfile::Builder::new().prefix("bigben-ssh-").tempdir_in("/dev/shm")?;
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode.unwrap_or(0o600)))?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, owner.0.or(Some(0)), owner.1.or(Some(0)))?;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (agent, stop, streams) = (agent.to_owned(), Arc::clone(&ended), Arc::clone(&open));
        let thread = std::thread::Builder::new()
            .name("ssh-forward".to_owned())
            .spawn(move || listen(&listener, &agent, &stop, &streams))?;
        Ok(Forward { path, _dir: dir, ended, open, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.path
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Whoever waits for a caller gets one.
        let _ = UnixStream::connect(&self.path);
        for stream in self.open.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("passing on an SSH agent panicked");
        }
    }
}

fn listen(listener: &UnixListener, agent: &Path, ended: &AtomicBool, open: &Mutex<Vec<UnixStream>>) {
    std::thread::scope(|scope| {
        let mut talks: Vec<std::thread::ScopedJoinHandle<'_, ()>> = Vec::new();
        for caller in listener.incoming() {
            if ended.load(Ordering::SeqCst) {
                break;
            }
            let Ok(caller) = caller else { break };
            let Ok(answerer) = UnixStream::connect(agent) else { continue };
            let (Ok(from), Ok(to)) = (caller.try_clone(), answerer.try_clone()) else { continue };
            open.lock().unwrap_or_else(|e| e.into_inner()).extend([from, to]);
            talks.retain(|talk| !talk.is_finished());
            if talks.len() >= MOST {
                let _ = talks.remove(0).join();
            }
            talks.push(scope.spawn(move || talk(&caller, &answerer)));
        }
        // Those that were accepted meanwhile.
        for stream in open.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

/// Both directions, until either end is done.
fn talk(caller: &UnixStream, agent: &UnixStream) {
    std::thread::scope(|scope| {
        scope.spawn(|| pass(agent, caller));
        pass(caller, agent);
    });
}

fn pass(mut from: &UnixStream, mut to: &UnixStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_on_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let agent = UnixListener::bind(dir.path().join("agent")).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut caller, _) = agent.accept().unwrap();
            let mut asked = [0; 4];
            caller.read_exact(&mut asked).unwrap();
            caller.write_all(b"answer to ").unwrap();
            caller.write_all(&asked).unwrap();
        });
        let forward = Forward::start(&dir.path().join("agent"), Some(0o640), (None, None)).unwrap();
        let path = forward.socket().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let mut caller = UnixStream::connect(&path).unwrap();
        caller.write_all(b"ping").unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer to ping");
        answering.join().unwrap();
        // One that says nothing does not keep it.
        let _silent = UnixStream::connect(&path).unwrap();
        drop(forward);
        assert!(!path.exists());
    }
}
