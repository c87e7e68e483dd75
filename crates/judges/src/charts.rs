//! A server of charts on this machine: a Helm repository with its index, and an OCI registry that is only read.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// What is served, by path without the first slash.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// `name`, `version` and where the archive is.
    index: Vec<(String, String, String, String)>,
    /// Tags by repository.
    tags: BTreeMap<String, Vec<String>>,
    /// Every path that was asked for.
    asked: Vec<String>,
    /// What `Authorization` has to be.
    authorization: Option<String>,
}

/// The server; it ends with the test's process.
pub struct Charts {
    /// `127.0.0.1:PORT`.
    pub host: String,
    state: Arc<Mutex<State>>,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Charts {
    /// Serves nothing yet.
    ///
    /// # Panics
    /// When this machine has no port.
    pub fn start() -> Charts {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                // A client that goes away is no concern of the others.
                std::thread::spawn(move || drop(answer(stream, &served)));
            }
        });
        Charts { host, state }
    }

    /// The URL of the repository.
    pub fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// Serves a file.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        locked(&self.state).files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Lists an archive in the index; by its whole URL, or by its place in the repository.
    pub fn add(&self, name: &str, version: &str, archive: &[u8], whole: bool) {
        let file = format!("{name}-{version}.tgz");
        let place = if whole { format!("{}/{file}", self.url()) } else { file.clone() };
        let mut state = locked(&self.state);
        state.files.insert(file, archive.to_vec());
        state.index.push((name.to_owned(), version.to_owned(), place, hex::encode(Sha256::digest(archive))));
        let mut text = "apiVersion: v1\nentries:\n".to_owned();
        let names: std::collections::BTreeSet<&String> = state.index.iter().map(|(name, ..)| name).collect();
        for name in names {
            text.push_str(&format!("  {name}:\n"));
            for (_, version, place, digest) in state.index.iter().filter(|(own, ..)| own == name) {
                text.push_str(&format!(
                    "  - {{apiVersion: v2, name: {name}, version: {version}, digest: {digest}, urls: ['{place}']}}\n"
                ));
            }
        }
        state.files.insert("index.yaml".to_owned(), text.into_bytes());
    }

    /// Puts an archive into the registry, under a repository and a tag.
    pub fn push(&self, repository: &str, tag: &str, archive: &[u8]) {
        let config = b"{}";
        let descriptor = |kind: &str, bytes: &[u8]| {
            format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, digest(bytes), bytes.len())
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, config),
            descriptor(CONTENT, archive)
        );
        let manifest = manifest.as_bytes();
        let mut state = locked(&self.state);
        for blob in [config.as_slice(), archive] {
            state.files.insert(format!("v2/{repository}/blobs/{}", digest(blob)), blob.to_vec());
        }
        for reference in [tag.to_owned(), digest(manifest)] {
            state.files.insert(format!("v2/{repository}/manifests/{reference}"), manifest.to_vec());
        }
        let tags = state.tags.entry(repository.to_owned()).or_default();
        tags.push(tag.to_owned());
        tags.sort();
        tags.dedup();
        let list = format!("{{\"name\":\"{repository}\",\"tags\":{tags:?}}}");
        state.files.insert(format!("v2/{repository}/tags/list"), list.into_bytes());
        state.files.insert("v2/".to_owned(), b"{}".to_vec());
    }

    /// From now on whoever asks must say this in `Authorization`; `None` for nobody.
    pub fn protect(&self, authorization: Option<&str>) {
        locked(&self.state).authorization = authorization.map(str::to_owned);
    }

    /// The paths that were asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).asked)
    }

    /// Gets a URL of any server that speaks plain HTTP.
    ///
    /// # Errors
    /// In the words of Helm, where that is not what was asked for.
    pub fn get(url: &str, authorization: Option<&str>) -> Result<Vec<u8>, String> {
        let (host, path) = url.trim_start_matches("http://").split_once('/').ok_or("no path")?;
        let mut stream = TcpStream::connect(host).map_err(|e| e.to_string())?;
        let authorization = authorization.map(|text| format!("Authorization: {text}\r\n")).unwrap_or_default();
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n{authorization}\r\n").map_err(|e| e.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|e| e.to_string())?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no head")?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ");
        if status == "200 OK" { Ok(body) } else { Err(format!("failed to fetch {url} : {status}")) }
    }

    /// The tags of a repository (`host/path`) in a registry.
    ///
    /// # Errors
    /// As [`Charts::get`].
    pub fn tags(repository: &str) -> Result<Vec<String>, String> {
        let (host, path) = repository.split_once('/').ok_or("no repository")?;
        let text = Charts::get(&format!("http://{host}/v2/{path}/tags/list"), None)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let list = text.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']')).ok_or("no list")?.0;
        Ok(list.split(',').map(|tag| tag.trim().trim_matches('"').to_owned()).filter(|tag| !tag.is_empty()).collect())
    }

    /// The archive of a reference (`host/path:tag`, or by digest) in a registry, and the digest of its manifest.
    ///
    /// # Errors
    /// As [`Charts::get`].
    pub fn pull(reference: &str) -> Result<(Vec<u8>, String), String> {
        let (host, path) = reference.split_once('/').ok_or("no repository")?;
        let (repository, tag) = path.split_once('@').or_else(|| path.rsplit_once(':')).ok_or("no tag")?;
        let manifest = Charts::get(&format!("http://{host}/v2/{repository}/manifests/{tag}"), None);
        let manifest = manifest.map_err(|e| match e.ends_with("404 Not Found") {
            true => format!("failed to perform \"FetchReference\" on source: {reference}: not found"),
            false => e,
        })?;
        let digest = digest(&manifest);
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let layer =
            manifest.rsplit_once("\"digest\":\"").and_then(|(_, rest)| rest.split_once('"')).ok_or("no layer")?.0;
        Ok((Charts::get(&format!("http://{host}/v2/{repository}/blobs/{layer}"), None)?, digest))
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut authorization = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or("/"));
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/').to_owned();
    let (status, body) = {
        let mut state = locked(state);
        state.asked.push(path.clone());
        let refused = state.authorization.is_some() && state.authorization != authorization;
        match state.files.get(&path).cloned() {
            _ if refused => ("401 Unauthorized", Vec::new()),
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", Vec::new()),
        }
    };
    let kind = match path.contains("/manifests/") {
        true => MANIFEST,
        false if path.ends_with("/tags/list") => "application/json",
        false => "application/octet-stream",
    };
    let digest =
        if path.starts_with("v2/") { format!("Docker-Content-Digest: {}\r\n", digest(&body)) } else { String::new() };
    let size = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{digest}Content-Length: {size}\r\nConnection: close\r\n\r\n"
    )?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()
}
