//! `exec` and `attach`, over WebSocket (`v5.channel.k8s.io` and older, see [`Framing`]) or SPDY (see [`super::streams_spdy`]).
//!
//! A WebSocket message's first byte is its channel: 0 standard input, 1 standard output, 2 standard error, 3 the final status,
//! 4 the terminal's size, 255 (version 5) the end of a channel. Inside of this program, both transports are such channels.

use super::{ContainerPath, Kubelet, refuse, spdy, streams_spdy};
use crate::shared::RunningContainer;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use runtime::container::{ExecSpec, ExitStatus, Pty, Stdio};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The WebSocket protocols, the best first.
const PROTOCOLS: [&str; 5] =
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];

/// What the protocol of a WebSocket makes of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Framing {
    /// A client may close one channel.
    closes: bool,
    /// The end is a status; before version 4 it is nothing, or the text of what went wrong.
    status: bool,
    /// The channel is a digit, the content base64, the message text.
    base64: bool,
}

impl Framing {
    /// That of a protocol; a client that names none means the first one there was.
    fn of(protocol: &str) -> Framing {
        Framing {
            closes: protocol.starts_with("v5."),
            status: protocol.starts_with("v5.") || protocol.starts_with("v4."),
            base64: protocol.contains("base64."),
        }
    }

    fn write(self, channel: u8, content: &[u8]) -> Message {
        if self.base64 {
            let text = base64::engine::general_purpose::STANDARD.encode(content);
            return Message::Text(format!("{channel}{text}").into());
        }
        let mut message = BytesMut::with_capacity(content.len() + 1);
        message.put_u8(channel);
        message.put(content);
        Message::Binary(message.freeze())
    }

    /// Channel and content, if a message has them.
    fn read(self, data: &Bytes) -> Option<(u8, Bytes)> {
        let (&first, rest) = data.split_first()?;
        let channel = if self.base64 { first.wrapping_sub(b'0') } else { first };
        if channel == CLOSE && !self.closes {
            return None;
        }
        if !self.base64 {
            return Some((channel, data.slice(1..)));
        }
        Some((channel, base64::engine::general_purpose::STANDARD.decode(rest).ok()?.into()))
    }

    /// What tells of the end, if anything does.
    fn end(self, status: &Value) -> Option<Bytes> {
        if self.status {
            return Some(Bytes::from(status.to_string()));
        }
        let failed = status["status"] != "Success";
        failed.then(|| Bytes::from(status["message"].as_str().unwrap_or_default().to_owned()))
    }
}

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const STATUS: u8 = 3;
pub(super) const RESIZE: u8 = 4;
pub(super) const CLOSE: u8 = 255;

/// What a client wants to be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Wanted {
    /// Reads a query: the kubelet's names and the API's.
    fn parse(query: &[(String, String)]) -> Wanted {
        let mut wanted = Wanted::default();
        for (name, value) in query {
            let on = matches!(value.as_str(), "1" | "true");
            match name.as_str() {
                "command" => wanted.command.push(value.clone()),
                "input" | "stdin" => wanted.stdin |= on,
                "output" | "stdout" => wanted.stdout |= on,
                "error" | "stderr" => wanted.stderr |= on,
                "tty" => wanted.tty |= on,
                _ => {}
            }
        }
        wanted
    }
}

fn success() -> Value {
    json!({ "metadata": {}, "status": "Success" })
}

fn failure(message: &str) -> Value {
    json!({ "metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500 })
}

fn outcome(status: ExitStatus) -> Value {
    if status.success() {
        return success();
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": format!("command terminated with exit code {}", status.code),
        "details": { "causes": [{ "reason": "ExitCode", "message": status.code.to_string() }] }
    })
}

fn find(kubelet: &Kubelet, namespace: &str, pod: &str, container: &str) -> Result<RunningContainer, Response> {
    let running = kubelet.pod(namespace, pod)?;
    let found = running.containers.get(container).filter(|one| one.container.status().is_none()).cloned();
    found.ok_or_else(|| {
        refuse(StatusCode::NOT_FOUND, format!("container \"{container}\" of pod \"{pod}\" does not run"))
    })
}

/// What is asked of a container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Exec,
    Attach,
}

impl Operation {
    async fn run(self, running: &RunningContainer, wanted: &Wanted, source: Incoming, sink: &Outgoing) -> Value {
        match self {
            Operation::Exec => run_exec(running, wanted, source, sink).await,
            Operation::Attach => run_attach(running, wanted, source, sink).await,
        }
    }
}

/// `exec`.
pub(super) async fn exec(
    State(kubelet): State<Kubelet>,
    Path(path): ContainerPath,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let wanted = Wanted::parse(&query);
    if wanted.command.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "you must specify at least 1 command for the container");
    }
    serve(&kubelet, path, wanted, Operation::Exec, request).await
}

/// `attach`.
pub(super) async fn attach(
    State(kubelet): State<Kubelet>,
    Path(path): ContainerPath,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Response {
    serve(&kubelet, path, Wanted::parse(&query), Operation::Attach, request).await
}

async fn serve(
    kubelet: &Kubelet,
    (namespace, pod, container): (String, String, String),
    wanted: Wanted,
    operation: Operation,
    request: Request,
) -> Response {
    let running = match find(kubelet, &namespace, &pod, &container) {
        Ok(running) => running,
        Err(response) => return response,
    };
    if spdy::wants(request.headers()) {
        return streams_spdy::upgrade(kubelet, request, wanted.clone(), move |source, sink| async move {
            operation.run(&running, &wanted, source, &sink).await
        });
    }
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "this endpoint is served over WebSocket and SPDY: Upgrade request required",
        );
    };
    upgrade.protocols(PROTOCOLS).on_upgrade(move |socket| async move {
        let (sink, source) = channels(socket);
        let status = operation.run(&running, &wanted, source, &sink.sender).await;
        sink.finish(status).await;
    })
}

/// The end of a connection as clients expect it: any other code is an error to them.
pub(super) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))
}

/// A message to the client: channel and content.
pub(super) type Outgoing = mpsc::Sender<(u8, Bytes)>;
/// Messages from the client.
pub(super) type Incoming = mpsc::Receiver<(u8, Bytes)>;

/// The writing side of a socket.
struct Sink {
    framing: Framing,
    sender: Outgoing,
    tasks: JoinSet<()>,
}

impl Sink {
    /// Sends the status and closes.
    async fn finish(mut self, status: Value) {
        if let Some(end) = self.framing.end(&status) {
            let _ = self.sender.send((STATUS, end)).await;
        }
        drop(self.sender);
        // The writer ends when all is sent; the reader is not waited for.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), self.tasks.join_next()).await;
    }
}

fn channels(socket: WebSocket) -> (Sink, mpsc::Receiver<(u8, Bytes)>) {
    let framing = Framing::of(socket.protocol().and_then(|protocol| protocol.to_str().ok()).unwrap_or_default());
    let (mut write, mut read) = socket.split();
    let (sender, mut outgoing) = mpsc::channel::<(u8, Bytes)>(16);
    let (incoming, source) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some((channel, content)) = outgoing.recv().await {
            if write.send(framing.write(channel, &content)).await.is_err() {
                return;
            }
        }
        let _ = write.send(normal_close()).await;
    });
    tasks.spawn(async move {
        while let Some(Ok(message)) = read.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            let Some(message) = framing.read(&data) else { continue };
            if incoming.send(message).await.is_err() {
                break;
            }
        }
        // Stays until the writer has ended, so that joining one task means the writer.
        drop(incoming);
        std::future::pending::<()>().await;
    });
    (Sink { framing, sender, tasks }, source)
}

async fn pump(source: &mut (impl AsyncRead + Unpin), channel: u8, sink: &Outgoing) {
    loop {
        let mut buffer = BytesMut::with_capacity(16 << 10);
        match source.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if sink.send((channel, buffer.freeze())).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn terminal_size(message: &[u8]) -> Option<(u16, u16)> {
    let size: Value = serde_json::from_slice(message).ok()?;
    let number = |name: &str| size[name].as_u64().and_then(|n| u16::try_from(n).ok());
    Some((number("Height")?, number("Width")?))
}

async fn run_exec(
    running: &RunningContainer,
    wanted: &Wanted,
    mut source: mpsc::Receiver<(u8, Bytes)>,
    sink: &Outgoing,
) -> Value {
    let mut outputs: JoinSet<()> = JoinSet::new();
    let mut stdio = Stdio::null();
    let mut input: Option<Input> = None;
    let pair = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
    if !wanted.tty {
        for (on, channel) in [(wanted.stdout, STDOUT), (wanted.stderr, STDERR)] {
            if !on {
                continue;
            }
            let (read, write) = match pair() {
                Ok(pair) => pair,
                Err(error) => return failure(&error.to_string()),
            };
            *(if channel == STDOUT { &mut stdio.stdout } else { &mut stdio.stderr }) = Some(write);
            let sink = sink.clone();
            outputs.spawn(async move {
                if let Ok(mut pipe) = pipe::Receiver::from_owned_fd(read) {
                    pump(&mut pipe, channel, &sink).await;
                }
            });
        }
        if wanted.stdin {
            match pair() {
                Ok((read, write)) => {
                    stdio.stdin = Some(read);
                    input = Input::pipe(write);
                }
                Err(error) => return failure(&error.to_string()),
            }
        }
    }
    let spec =
        ExecSpec { args: wanted.command.clone(), terminal: wanted.tty.then_some((24, 80)), ..ExecSpec::default() };
    let mut process = match running.container.exec(&spec, stdio).await {
        Ok(process) => process,
        Err(error @ runtime::Error::Exec { .. }) => {
            return failure(&format!("error executing command in container: {error}"));
        }
        Err(error) => return failure(&error.to_string()),
    };
    let pty = process.take_pty();
    if let Some(pty) = &pty {
        if let Ok(copy) = pty.try_clone() {
            let sink = sink.clone();
            outputs.spawn(async move {
                let mut file = tokio::fs::File::from_std(copy.into_file());
                pump(&mut file, STDOUT, &sink).await;
            });
        }
        input = pty.try_clone().ok().map(Input::terminal);
    }
    loop {
        tokio::select! {
            status = process.wait() => {
                drop(input);
                drop(pty);
                // What the process wrote last; what it left behind may hold the pipes open, which nobody waits for.
                let _ = tokio::time::timeout(std::time::Duration::from_secs(2), async { while outputs.join_next().await.is_some() {} }).await;
                return status.map_or_else(|error| failure(&error.to_string()), outcome);
            }
            message = source.recv() => match message {
                Some((STDIN, data)) => if let Some(open) = &mut input && !open.write(&data).await { input = None },
                Some((RESIZE, data)) => if let (Some(pty), Some((rows, columns))) = (&pty, terminal_size(&data)) { let _ = pty.resize(rows, columns); },
                Some((CLOSE, data)) if data.first() == Some(&STDIN) => input = None,
                Some(_) => {}
                // The client has gone: what it started ends with it.
                None => {
                    let _ = process.kill(9);
                    return failure("the client has gone");
                }
            },
        }
    }
}

/// Where a client's input goes.
enum Input {
    Pipe(pipe::Sender),
    Terminal(tokio::fs::File),
}

impl Input {
    fn pipe(write: OwnedFd) -> Option<Input> {
        pipe::Sender::from_owned_fd(write).ok().map(Input::Pipe)
    }

    fn terminal(pty: Pty) -> Input {
        Input::Terminal(tokio::fs::File::from_std(pty.into_file()))
    }

    async fn write(&mut self, data: &[u8]) -> bool {
        match self {
            Input::Pipe(pipe) => pipe.write_all(data).await.is_ok(),
            Input::Terminal(file) => file.write_all(data).await.is_ok() && file.flush().await.is_ok(),
        }
    }
}

async fn run_attach(
    running: &RunningContainer,
    wanted: &Wanted,
    mut source: mpsc::Receiver<(u8, Bytes)>,
    sink: &Outgoing,
) -> Value {
    let mut live = running.log.live();
    let stdin = running.stdin.clone().filter(|_| wanted.stdin);
    loop {
        tokio::select! {
            status = running.container.wait() => {
                while let Ok(Ok((channel, data))) = tokio::time::timeout(std::time::Duration::from_millis(100), live.recv()).await {
                    let _ = sink.send((channel, data)).await;
                }
                return status.map_or_else(|error| failure(&error.to_string()), outcome);
            }
            output = live.recv() => match output {
                Ok((channel, data)) => {
                    let on = if channel == STDOUT { wanted.stdout || wanted.tty } else { wanted.stderr };
                    if on && sink.send((channel, data)).await.is_err() {
                        return success();
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(_) => return success(),
            },
            message = source.recv() => match message {
                Some((STDIN, data)) if !data.is_empty() => if let Some(stdin) = &stdin { let _ = stdin.send(data).await; },
                Some((CLOSE, data)) if data.first() == Some(&STDIN) => if let Some(stdin) = &stdin { let _ = stdin.send(Bytes::new()).await; },
                Some((RESIZE, data)) => if let (Some(pty), Some((rows, columns))) = (&running.terminal, terminal_size(&data)) { let _ = pty.resize(rows, columns); },
                Some(_) => {}
                None => return success(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_both_kinds() {
        let query = |text: &str| {
            text.split('&')
                .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).expect("a pair"))
                .collect::<Vec<_>>()
        };
        let wanted = Wanted::parse(&query("command=ls&command=-l&input=1&output=1&tty=1"));
        assert_eq!(
            wanted,
            Wanted { command: vec!["ls".into(), "-l".into()], stdin: true, stdout: true, stderr: false, tty: true }
        );
        assert!(Wanted::parse(&query("stdout=true&stderr=true")).stderr);
    }

    #[test]
    fn protocols() {
        let hello = Bytes::from_static(b"hello");
        for (protocol, message, end) in [
            ("v5.channel.k8s.io", Message::Binary(Bytes::from_static(b"\x01hello")), true),
            ("v4.base64.channel.k8s.io", Message::Text("1aGVsbG8=".into()), true),
            ("channel.k8s.io", Message::Binary(Bytes::from_static(b"\x01hello")), false),
            ("", Message::Binary(Bytes::from_static(b"\x01hello")), false),
            ("base64.channel.k8s.io", Message::Text("1aGVsbG8=".into()), false),
        ] {
            let framing = Framing::of(protocol);
            assert_eq!(framing.write(STDOUT, &hello), message, "{protocol}");
            assert_eq!(framing.read(&message.into_data()), Some((STDOUT, hello.clone())), "{protocol}");
            assert_eq!(framing.end(&success()).is_some(), end, "{protocol}");
            assert!(framing.end(&failure("bad")).is_some_and(|text| text.ends_with(b"bad") != end), "{protocol}");
        }
        let close = Bytes::from_static(&[CLOSE, STDIN]);
        assert!(Framing::of("v5.channel.k8s.io").read(&close).is_some());
        assert_eq!(Framing::of("v4.channel.k8s.io").read(&close), None);
    }

    #[test]
    fn statuses() {
        let ended = |code| outcome(ExitStatus { code, signal: None, oom_killed: false });
        assert_eq!(ended(0)["status"], "Success");
        assert_eq!(ended(3)["details"]["causes"][0]["message"], "3");
        assert_eq!(terminal_size(br#"{"Width":120,"Height":40}"#), Some((40, 120)));
    }
}
