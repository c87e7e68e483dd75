//! Talking to the daemon over its socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::state::StateDir;

/// A client of one instance's daemon. Each request is a connection of its own.
pub struct Client<'a> {
    state: &'a StateDir,
}

/// The body of an answer, as it arrives.
pub struct Body(Box<dyn BufRead>);

impl<'a> Client<'a> {
    /// A client of the daemon of this instance.
    ///
    /// # Errors
    /// When no daemon runs.
    pub fn new(state: &'a StateDir) -> Result<Self> {
        if !state.is_running()? {
            bail!("no platform runs with its state in {}; bring it up with: bigben up", state.path().display());
        }
        Ok(Self { state })
    }

    /// Sends a request and gives the answer's body as it comes.
    ///
    /// # Errors
    /// When the daemon cannot be reached, or in its own words when it refuses.
    pub fn stream(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Body> {
        let socket = self.state.socket();
        let mut stream =
            runtime::link::with_short_path(&socket, |path| UnixStream::connect(path)).with_context(|| {
                format!("the daemon does not answer on {}; its log is {}", socket.display(), self.state.log().display())
            })?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: bigben\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .context("cannot ask the daemon")?;
        let mut reader = BufReader::new(stream);
        let (status, chunked) = head(&mut reader)?;
        let mut body: Box<dyn BufRead> = if chunked {
            Box::new(BufReader::new(Chunked { reader, left: 0, ended: false }))
        } else {
            Box::new(reader)
        };
        if !(200..300).contains(&status) {
            let mut text = String::new();
            body.read_to_string(&mut text).context("the daemon broke off")?;
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            bail!(
                "{}",
                answer["error"].as_str().map_or_else(|| format!("the daemon answered {status}"), str::to_owned)
            );
        }
        Ok(Body(body))
    }

    /// Sends a request and gives the whole answer.
    ///
    /// # Errors
    /// As [`Client::stream`], or when the answer is not what was expected.
    pub fn request<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&Value>) -> Result<T> {
        let mut text = String::new();
        self.stream(method, path, body)?.0.read_to_string(&mut text).context("the daemon broke off")?;
        serde_json::from_str(&text).context("the daemon is of another version; restart it: bigben down && bigben up")
    }
}

impl Body {
    /// The next line as a document; `None` at the end.
    ///
    /// # Errors
    /// When the daemon breaks off.
    pub fn document<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = String::new();
        if self.0.read_line(&mut line).context("the daemon broke off")? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .context("the daemon is of another version; restart it: bigben down && bigben up")
    }

    /// Copies everything to a writer as it comes.
    ///
    /// # Errors
    /// When the daemon breaks off or the writer does not take it.
    pub fn copy(&mut self, writer: &mut dyn Write) -> Result<()> {
        loop {
            let bytes = self.0.fill_buf().context("the daemon broke off")?;
            if bytes.is_empty() {
                return Ok(());
            }
            let count = bytes.len();
            writer.write_all(bytes)?;
            writer.flush()?;
            self.0.consume(count);
        }
    }
}

/// Status code, and whether the body comes in chunks.
fn head(reader: &mut impl BufRead) -> Result<(u16, bool)> {
    let mut line = String::new();
    reader.read_line(&mut line).context("the daemon broke off")?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| anyhow!("the daemon did not answer; it may be ending"))?;
    let mut chunked = false;
    loop {
        line.clear();
        if reader.read_line(&mut line).context("the daemon broke off")? == 0 || line == "\r\n" {
            return Ok((status, chunked));
        }
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
    }
}

/// Takes the chunked transfer coding (RFC 9112, section 7.1) off.
struct Chunked {
    reader: BufReader<UnixStream>,
    left: usize,
    ended: bool,
}

impl Read for Chunked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = line.trim().split(';').next().unwrap_or_default();
            self.left = usize::from_str_radix(size, 16)
                .map_err(|_| std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the daemon broke off"))?;
            if self.left == 0 {
                self.ended = true;
                let _ = self.reader.get_ref().shutdown(Shutdown::Both);
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the daemon broke off"));
        }
        self.left -= count;
        if self.left == 0 {
            let mut end = [0; 2];
            self.reader.read_exact(&mut end)?;
        }
        Ok(count)
    }
}
