//! Where a build's files come from: the context argument, the Dockerfile and its ignore file, named contexts.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::{Docker, Failure, runtime};
use crate::build::{BuildRequest, Source, chain};
use crate::git::Remote;

/// Largest Dockerfile, in bytes.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// What the context argument and `--file` lead to.
pub(super) struct Found {
    /// The files.
    pub context: Source,
    /// How messages name the Dockerfile.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The ignore file that belongs to it.
    pub ignore: Option<String>,
}

/// A context that was given, before the Dockerfile is read.
enum Given {
    /// A directory on this machine: `--file` is relative to the working directory.
    Local(PathBuf),
    /// Files that came from elsewhere: `--file` is inside them.
    Remote(PathBuf),
    /// A Dockerfile alone.
    Text(String),
}

/// Reads the context argument and the Dockerfile. What has to be unpacked or fetched goes below `scratch`; `request` says the
/// secrets and arguments that a fetch may need.
///
/// # Errors
/// As docker says them.
pub(super) fn read(
    docker: &mut Docker,
    argument: &str,
    file: Option<&str>,
    request: &BuildRequest,
    scratch: &Path,
) -> Result<Found, Failure> {
    if argument == "-" && file == Some("-") {
        return Err(Failure::new("ERROR: invalid argument: can't use stdin for both build context and dockerfile"));
    }
    let given = given(docker, argument, request, &scratch.join("context"))?;
    let (dir, local) = match given {
        Given::Text(text) => {
            return Ok(Found { context: Source::Empty, name: "Dockerfile".to_owned(), text, ignore: None });
        }
        Given::Local(dir) => (dir, true),
        Given::Remote(dir) => (dir, false),
    };
    let context = Source::Dir(dir.clone());
    let shared_ignore = || std::fs::read_to_string(dir.join(".dockerignore")).ok();
    if file == Some("-") {
        let mut text = String::new();
        docker.stdio.input.by_ref().take(MAX_DOCKERFILE).read_to_string(&mut text)?;
        return Ok(Found { context, name: "Dockerfile".to_owned(), text, ignore: shared_ignore() });
    }
    if let Some(url) = file.filter(|file| is_web(file)) {
        let mut download = web(url, request)?;
        let mut text = String::new();
        download.by_ref().take(MAX_DOCKERFILE).read_to_string(&mut text)?;
        return Ok(Found { context, name: url.to_owned(), text, ignore: shared_ignore() });
    }
    let path = match file {
        Some(file) if local => docker.cwd.join(file),
        Some(file) => inside(&dir, file),
        None if !dir.join("Dockerfile").exists() && dir.join("dockerfile").exists() => dir.join("dockerfile"),
        None => dir.join("Dockerfile"),
    };
    let name = path.file_name().map_or_else(|| "Dockerfile".to_owned(), |name| name.to_string_lossy().into_owned());
    // Links of files that came from elsewhere lead nowhere else.
    let leads_out =
        !local && path.canonicalize().is_ok_and(|real| !dir.canonicalize().is_ok_and(|dir| real.starts_with(dir)));
    if leads_out {
        return Err(Failure::new(format!(
            "ERROR: failed to solve: failed to read dockerfile: {name} leads out of the context"
        )));
    }
    let text = std::fs::read_to_string(&path).map_err(|wrong| {
        let why = match wrong.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => wrong.to_string(),
        };
        let shown = file.unwrap_or(&name);
        Failure::new(format!("ERROR: failed to solve: failed to read dockerfile: open {shown}: {why}"))
    })?;
    let mut own = path.into_os_string();
    own.push(".dockerignore");
    let ignore = std::fs::read_to_string(own).ok().or_else(shared_ignore);
    Ok(Found { context, name, text, ignore })
}

/// A path that is meant below a directory.
fn inside(dir: &Path, path: &str) -> PathBuf {
    dir.join(&crate::ignore::clean(&format!("/{path}"))[1..])
}

pub(super) fn is_web(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn given(docker: &mut Docker, text: &str, request: &BuildRequest, into: &Path) -> Result<Given, Failure> {
    if text == "-" {
        let mut spool = tempfile::tempfile()?;
        std::io::copy(&mut docker.stdio.input, &mut spool)?;
        return archive_or_text(spool, into, "standard input");
    }
    let hub = text.starts_with("github.com/") && !docker.cwd.join(text).exists();
    let address = if hub { hub_address(text) } else { text.to_owned() };
    if let Some(dir) = git(&address, request, into)? {
        return Ok(Given::Remote(dir));
    }
    if is_web(text) {
        let download = web(text, request)?;
        return archive_or_text(download, into, text);
    }
    let path = docker.cwd.join(text);
    if !path.exists() {
        return Err(Failure::new(format!("ERROR: unable to prepare context: path {text:?} not found")));
    }
    if !path.is_dir() {
        return Err(Failure::new(format!("ERROR: unable to prepare context: path {text:?} is not a directory")));
    }
    Ok(Given::Local(path.canonicalize()?))
}

/// `github.com/me/app#main` as the address of the repository.
fn hub_address(text: &str) -> String {
    let (path, fragment) = text.split_once('#').unwrap_or((text, ""));
    let path = path.trim_end_matches('/');
    let end = if path.ends_with(".git") { "" } else { ".git" };
    let fragment = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
    format!("https://{path}{end}{fragment}")
}

/// A checkout, when the text is the address of a repository.
pub(super) fn git(text: &str, request: &BuildRequest, into: &Path) -> Result<Option<PathBuf>, Failure> {
    let wrong =
        |what: String| Failure::new(format!("ERROR: unable to prepare context: unable to fetch {text}: {what}"));
    let Some(remote) = Remote::parse(text) else { return Ok(None) };
    let mut remote = remote.map_err(wrong)?;
    let keep = request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").cloned().flatten();
    remote.keep_git_dir |= keep.is_some_and(|value| matches!(value.as_str(), "1" | "true"));
    std::fs::create_dir_all(into)?;
    Ok(Some(remote.fetch(into, &request.secrets).map_err(wrong)?.0))
}

/// What an address gives, in a file without a name, from its beginning.
fn web(url: &str, request: &BuildRequest) -> Result<File, Failure> {
    let mut file = tempfile::tempfile()?;
    let got = crate::fetch::download(url, &file, &request.secrets);
    runtime()?.block_on(got).map_err(|wrong| {
        Failure::new(format!("ERROR: unable to prepare context: unable to download {url}: {wrong}"))
    })?;
    file.rewind()?;
    Ok(file)
}

/// An archive is a context, anything else a Dockerfile.
fn archive_or_text(mut spool: File, into: &Path, from: &str) -> Result<Given, Failure> {
    let wrong = |what: String| Failure::new(format!("ERROR: cannot read the context from {from}: {what}"));
    spool.rewind()?;
    let mut head = Vec::new();
    crate::fs::layers::decompress(BufReader::new(spool.try_clone()?))?.take(512).read_to_end(&mut head)?;
    spool.rewind()?;
    if head.len() < 512 || &head[257..262] != b"ustar" {
        let mut text = Vec::new();
        spool.take(MAX_DOCKERFILE).read_to_end(&mut text)?;
        return String::from_utf8(text).map(Given::Text).map_err(|_| wrong("neither an archive nor a text".to_owned()));
    }
    std::fs::create_dir_all(into)?;
    let options = oci::layer::UnpackOptions { owners: false, ..oci::layer::UnpackOptions::default() };
    oci::layer::unpack(BufReader::new(spool), into, &options).map_err(|e| wrong(chain(&e)))?;
    Ok(Given::Remote(into.to_owned()))
}

/// `--build-context NAME=VALUE`. What has to be fetched goes into `into`.
///
/// # Errors
/// When it is not there, or of a kind that is not known.
pub(super) fn named(docker: &Docker, value: &str, request: &BuildRequest, into: &Path) -> Result<Source, Failure> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return Ok(Source::Image(image.to_owned()));
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        let path = docker.cwd.join(layout);
        return Ok(Source::Layout(path.to_string_lossy().into_owned()));
    }
    if let Some(dir) = git(value, request, into)? {
        return Ok(Source::Dir(dir));
    }
    if is_web(value) {
        let download = web(value, request)?;
        return match archive_or_text(download, into, value)? {
            Given::Remote(dir) => Ok(Source::Dir(dir)),
            _ => Err(Failure::new(format!("ERROR: failed to get build context {value:?}: it is not an archive"))),
        };
    }
    if value.contains("://") {
        return Err(Failure::new(format!(
            "build context {value:?} is not supported; use a directory, a git or web address, docker-image:// or oci-layout://"
        )));
    }
    let path = docker.cwd.join(value);
    match path.is_dir() {
        true => Ok(Source::Dir(path.canonicalize()?)),
        false => Err(Failure::new(format!("ERROR: failed to get build context {value:?}: not a directory"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_of_repositories() {
        assert_eq!(hub_address("github.com/me/app"), "https://github.com/me/app.git");
        assert_eq!(hub_address("github.com/me/app.git#v1:d"), "https://github.com/me/app.git#v1:d");
    }

    #[test]
    fn files_of_a_remote_context_stay_in_it() {
        assert_eq!(inside(Path::new("/c"), "../../etc/x"), Path::new("/c/etc/x"));
        assert_eq!(inside(Path::new("/c"), "/d/Dockerfile"), Path::new("/c/d/Dockerfile"));
    }
}
