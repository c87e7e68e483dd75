//! Looking at a registry's storage, and collecting in it, whether it is being served or not.
//!
//! Who serves a directory also listens on a socket in it, so that [`run`] reaches the process that has it open: one line of
//! JSON is the request, and the answer is one line of JSON with the text or the reason why there is none. Whoever may write to
//! the directory may use the socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::{Config, Error, GcOptions, Registry, cli};

/// Name of the socket in the directory.
const SOCKET: &str = "control.sock";
/// How long one request may take; a collection of a large registry takes longest.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest request.
const MAX_REQUEST: u64 = 64 * 1024;

/// What is asked of a registry's storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Repositories and tags.
    List,
    /// One image: `repository[:tag|@digest]`.
    Inspect {
        /// The image.
        image: String,
    },
    /// Bytes by repository and in all.
    Du,
    /// Collects what nothing leads to.
    Gc {
        /// Seconds; nothing younger is touched.
        grace: u64,
        /// Manifests without a tag too.
        untagged: bool,
        /// Only says what would be removed.
        dry_run: bool,
    },
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Text(String),
    Refused(String),
}

/// Does `request` with the registry in `dir`: in this process where nobody has it open, else in the one that has. Blocking.
///
/// # Errors
///
/// When there is no registry in `dir`, when the image is not there, or when its storage fails.
pub fn run(dir: &Path, request: &Request) -> Result<String, Error> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    // Looking must not make a registry where there is none.
    std::fs::metadata(dir.join("oci-layout")).map_err(io("find a registry at", dir))?;
    match Registry::open(Config::new(dir)) {
        Ok(registry) => perform(&registry, request),
        Err(Error::Busy(_)) => {
            let socket = dir.join(SOCKET);
            match ask(&socket, request).map_err(io("ask the process that serves it at", &socket))? {
                Reply::Text(text) => Ok(text),
                Reply::Refused(reason) => Err(Error::Refused(reason)),
            }
        }
        Err(error) => Err(error),
    }
}

fn perform(registry: &Registry, request: &Request) -> Result<String, Error> {
    match request {
        Request::List => Ok(cli::list(registry)),
        Request::Du => Ok(cli::du(&registry.du())),
        Request::Inspect { image } => {
            let reference = oci::Reference::parse(image).map_err(|e| Error::Refused(e.to_string()))?;
            let found = cli::inspect(registry, &reference)?;
            let missing = || Error::Refused(format!("{image} is not here; bigben registry ls lists what is"));
            found.map(|text| text + "\n").ok_or_else(missing)
        }
        Request::Gc { grace, untagged, dry_run } => {
            let grace = Duration::from_secs(*grace);
            let report = registry.gc(&GcOptions { grace, untagged: *untagged, dry_run: *dry_run })?;
            Ok(cli::gc(&report, *dry_run))
        }
    }
}

fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Listens in the registry's directory; none where that is not possible, which only costs the commands.
pub(crate) fn listen(dir: &Path) -> Option<UnixListener> {
    let path = dir.join(SOCKET);
    // Left by a process that was killed: this one holds the directory's lock.
    let _ = std::fs::remove_file(&path);
    let bound = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "bigben registry gc, ls and du will not reach this process");
            None
        }
    }
}

/// Removes the socket.
pub(crate) fn forget(dir: &Path) {
    let _ = std::fs::remove_file(dir.join(SOCKET));
}

/// Answers one connection.
pub(crate) async fn answer(registry: Registry, stream: UnixStream) {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reading.take(MAX_REQUEST));
    if let Err(error) = reader.read_line(&mut line).await {
        tracing::debug!(%error, "control request could not be read");
        return;
    }
    let reply = match serde_json::from_str::<Request>(&line) {
        Err(error) => Reply::Refused(format!("this registry does not know the request: {error}")),
        Ok(request) => match tokio::task::spawn_blocking(move || perform(&registry, &request)).await {
            Ok(Ok(text)) => Reply::Text(text),
            Ok(Err(error)) => Reply::Refused(with_causes(&error)),
            Err(error) => Reply::Refused(error.to_string()),
        },
    };
    let mut bytes = serde_json::to_vec(&reply).unwrap_or_default();
    bytes.push(b'\n');
    if let Err(error) = writing.write_all(&bytes).await {
        tracing::debug!(%error, "control request was not waited for");
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
