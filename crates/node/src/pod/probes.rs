//! Probes and the HTTP, TCP and gRPC calls that lifecycle hooks share with them. Dialled straight from the machine's network.

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use runtime::container::{Container, ExecSpec, Stdio};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Http { tls: bool, host: String, port: u16, path: String, headers: Vec<(String, String)> },
    Tcp { host: String, port: u16 },
    Grpc { host: String, port: u16, service: String },
    Exec { command: Vec<String> },
    Sleep(Duration),
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) action: Action,
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Startup,
    Readiness,
    Liveness,
}

/// A verdict of a probe: only changes are told, and each failure's message.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// It holds.
    Good(Purpose),
    /// It does not, often enough to count.
    Bad(Purpose),
    /// It failed once.
    Failed(Purpose, String),
    /// It holds, but not as it was meant.
    Doubtful(Purpose, String),
}

/// What an action found: a warning, if there is anything to say; or why it failed.
pub(crate) type Outcome = Result<Option<String>, String>;

/// The number of a port, which may be given by its name in the container.
fn port(value: &Value, container: &Value) -> Option<u16> {
    if let Some(number) = value.as_u64() {
        return u16::try_from(number).ok();
    }
    let name = value.as_str()?;
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let ports = container["ports"].as_array()?;
    ports.iter().find(|port| port["name"] == name)?["containerPort"]
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
}

/// Reads a handler of a probe or a lifecycle hook.
pub(crate) fn action(handler: &Value, container: &Value, ip: Ipv4Addr) -> Option<Action> {
    let host = |value: &Value| {
        value["host"].as_str().filter(|host| !host.is_empty()).map_or_else(|| ip.to_string(), str::to_owned)
    };
    let present = |name: &str| handler.get(name).filter(|value| value.is_object());
    if let Some(get) = present("httpGet") {
        let headers = get["httpHeaders"].as_array().into_iter().flatten();
        let headers = headers
            .filter_map(|h| Some((h["name"].as_str()?.to_owned(), h["value"].as_str().unwrap_or_default().to_owned())))
            .collect();
        let path = get["path"].as_str().filter(|path| !path.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        return Some(Action::Http {
            tls: get["scheme"] == "HTTPS",
            host: host(get),
            port: port(&get["port"], container)?,
            path,
            headers,
        });
    }
    if let Some(tcp) = present("tcpSocket") {
        return Some(Action::Tcp { host: host(tcp), port: port(&tcp["port"], container)? });
    }
    if let Some(grpc) = present("grpc") {
        return Some(Action::Grpc {
            host: ip.to_string(),
            port: port(&grpc["port"], container)?,
            service: grpc["service"].as_str().unwrap_or_default().to_owned(),
        });
    }
    if let Some(exec) = present("exec") {
        return Some(Action::Exec {
            command: exec["command"].as_array()?.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        });
    }
    present("sleep").map(|sleep| Action::Sleep(Duration::from_secs(sleep["seconds"].as_u64().unwrap_or(0))))
}

impl Probe {
    /// Reads a probe of a container.
    pub(crate) fn parse(probe: &Value, container: &Value, ip: Ipv4Addr) -> Option<Probe> {
        let number = |name: &str, fallback: u64| probe[name].as_u64().filter(|n| *n > 0).unwrap_or(fallback);
        Some(Probe {
            action: action(probe, container, ip)?,
            initial_delay: Duration::from_secs(number("initialDelaySeconds", 0)),
            period: Duration::from_secs(number("periodSeconds", 10)),
            timeout: Duration::from_secs(number("timeoutSeconds", 1)),
            successes: number("successThreshold", 1) as u32,
            failures: number("failureThreshold", 3) as u32,
        })
    }
}

/// Probes until the receiver has gone; a startup probe ends with its first verdict.
///
/// As long as a startup or readiness probe has never succeeded it is tried on a fast schedule, for what starts quickly to be
/// seen at once. Failures count once a period, so that thresholds mean what they say.
pub(crate) async fn run(probe: Probe, purpose: Purpose, container: Arc<Container>, verdicts: mpsc::Sender<Verdict>) {
    tokio::time::sleep(probe.initial_delay).await;
    let (mut good, mut bad, mut state) = (0u32, 0u32, None);
    // A process for each try is dear; a connection is not.
    let mut quick = Duration::from_millis(if matches!(probe.action, Action::Exec { .. }) { 5 } else { 1 });
    let mut hurry = purpose != Purpose::Liveness;
    let mut next_counted = Instant::now() + if hurry { probe.period } else { Duration::ZERO };
    loop {
        let started = Instant::now();
        let outcome = attempt(&probe.action, &container, probe.timeout).await;
        let verdict = match outcome {
            Ok(warning) => {
                if let Some(warning) = warning
                    && verdicts.send(Verdict::Doubtful(purpose, warning)).await.is_err()
                {
                    return;
                }
                (good, bad, hurry) = (good + 1, 0, false);
                (good >= probe.successes && state != Some(true)).then_some(Verdict::Good(purpose))
            }
            Err(message) => {
                good = 0;
                if hurry && Instant::now() < next_counted {
                    None
                } else {
                    next_counted = Instant::now() + probe.period;
                    bad += 1;
                    if verdicts.send(Verdict::Failed(purpose, message)).await.is_err() {
                        return;
                    }
                    (bad >= probe.failures && state != Some(false)).then_some(Verdict::Bad(purpose))
                }
            }
        };
        if let Some(verdict) = verdict {
            state = Some(matches!(verdict, Verdict::Good(_)));
            if verdicts.send(verdict).await.is_err() || purpose == Purpose::Startup {
                return;
            }
        }
        let pause = if hurry {
            quick = (quick * 2).min(probe.period);
            quick
        } else {
            probe.period.saturating_sub(started.elapsed())
        };
        tokio::time::sleep(pause).await;
    }
}

/// Does an action once.
pub(crate) fn attempt<'a>(action: &'a Action, container: &'a Container, timeout: Duration) -> BoxFuture<'a, Outcome> {
    Box::pin(attempt_within(action, container, timeout))
}

async fn attempt_within(action: &Action, container: &Container, timeout: Duration) -> Outcome {
    let work = async {
        match action {
            Action::Http { tls, host, port, path, headers } => http(*tls, host, *port, path, headers).await,
            Action::Tcp { host, port } => TcpStream::connect((host.as_str(), *port))
                .await
                .map(|_| None)
                .map_err(|error| format!("dial tcp {host}:{port}: {error}")),
            Action::Grpc { host, port, service } => grpc(host, *port, service).await.map(|()| None),
            Action::Exec { command } => exec(container, command).await.map(|()| None),
            Action::Sleep(duration) => {
                tokio::time::sleep(*duration).await;
                Ok(None)
            }
        }
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(match action {
            Action::Exec { command } => format!("command {command:?} timed out after {timeout:?}"),
            _ => format!("no answer within {timeout:?} (context deadline exceeded)"),
        }),
    }
}

async fn exec(container: &Container, command: &[String]) -> Result<(), String> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|error| error.to_string())?;
    let stdio = Stdio { stdin: None, stderr: write.try_clone().ok(), stdout: Some(write) };
    let spec = ExecSpec { args: command.to_vec(), ..ExecSpec::default() };
    let process = container.exec(&spec, stdio).await.map_err(|error| error.to_string())?;
    let mut output = Vec::new();
    if let Ok(pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(read) {
        let _ = pipe.take(10 << 10).read_to_end(&mut output).await;
    }
    match process.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if output.is_empty() => Err(format!("command {command:?} exited with {}", status.code)),
        Ok(_) => Err(String::from_utf8_lossy(&output).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A GET, with what leads elsewhere on the same host followed; what leads to another host is as good as an answer.
async fn http(tls: bool, host: &str, port: u16, path: &str, headers: &[(String, String)]) -> Outcome {
    let (mut tls, mut port, mut path) = (tls, port, path.to_owned());
    for _ in 0..10 {
        let (status, location) = get(tls, host, port, &path, headers).await?;
        let redirected = matches!(status, 301 | 302 | 303 | 307 | 308);
        let Some(location) = location.filter(|_| redirected) else {
            let good = (200..400).contains(&status);
            return if good { Ok(None) } else { Err(format!("HTTP probe failed with statuscode: {status}")) };
        };
        let Ok(next) = location.parse::<http::Uri>() else {
            return Err(format!("failed to parse Location header {location:?}"));
        };
        if let Some(other) = next.host() {
            if other.trim_matches(['[', ']']) != host {
                return Ok(Some(format!("Probe terminated redirects, the answer led to {location}")));
            }
            tls = next.scheme_str() == Some("https");
            port = next.port_u16().unwrap_or(if tls { 443 } else { 80 });
        }
        let target = next.path_and_query().map_or("/", |target| target.as_str());
        path = if target.starts_with('/') {
            target.to_owned()
        } else {
            let (directory, _) = path.split(['?', '#']).next().unwrap_or("/").rsplit_once('/').unwrap_or_default();
            format!("{directory}/{target}")
        };
    }
    Err("stopped after 10 redirects".into())
}

/// One GET: the status, and where it leads.
async fn get(
    tls: bool,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<(u16, Option<String>), String> {
    let url = format!("{}://{host}:{port}{path}", if tls { "https" } else { "http" });
    let fail = |error: std::io::Error| format!("Get \"{url}\": {error}");
    let stream = TcpStream::connect((host, port)).await.map_err(fail)?;
    let _ = stream.set_nodelay(true);
    let named = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    if !named("host") {
        request.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    if !named("user-agent") {
        request.push_str("User-Agent: kube-probe/1.34\r\n");
    }
    if !named("accept") {
        request.push_str("Accept: */*\r\n");
    }
    for (name, value) in headers {
        // An empty value is how a pod asks for one of the usual headers to be left out.
        let usual = ["host", "user-agent", "accept"].iter().any(|usual| name.eq_ignore_ascii_case(usual));
        if usual && value.is_empty() {
            continue;
        }
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("Connection: close\r\n\r\n");
    let answer = if tls {
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = crate::tls::unverified_client().connect(name, stream).await.map_err(fail)?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    };
    answer.map_err(fail)
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: String,
) -> std::io::Result<(u16, Option<String>)> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 16 << 10 {
        // What has come so far may do: some servers end in the middle of their words.
        match stream.read_buf(&mut head).await {
            Ok(0) => break,
            Err(_) if head.contains(&b'\n') => break,
            other => drop(other?),
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default();
    let status = line.split(' ').nth(1).filter(|_| line.starts_with("HTTP/")).and_then(|code| code.trim().parse().ok());
    let status =
        status.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "malformed HTTP response"))?;
    let location = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    });
    Ok((status, location))
}

/// `grpc.health.v1.Health/Check`.
async fn grpc(host: &str, port: u16, service: &str) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("service unhealthy at {host}:{port}: {error}");
    let stream = TcpStream::connect((host, port)).await.map_err(|error| fail(&error))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
        .await
        .map_err(|error| fail(&error))?;
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut left = service.len();
        while left >= 0x80 {
            message.push(left as u8 | 0x80);
            left >>= 7;
        }
        message.push(left as u8);
        message.extend(service.as_bytes());
    }
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    let request = http::Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.34")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| fail(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| fail(&error))?;
        let early = response.headers().get("grpc-status").cloned();
        let collected = response.into_body().collect().await.map_err(|error| fail(&error))?;
        let status = collected.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()).or(early);
        if let Some(code) = status.filter(|code| code.as_bytes() != b"0") {
            return Err(fail(&format!("grpc status {}", String::from_utf8_lossy(code.as_bytes()))));
        }
        let bytes = collected.to_bytes();
        // Field 1 of the answer is the status; 1 is SERVING.
        if bytes.get(5..7) == Some(&[0x08, 0x01]) { Ok(()) } else { Err(fail(&"not serving")) }
    };
    tokio::select! {
        result = exchange => result,
        _ = connection => Err(fail(&"the connection ended")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn handlers() {
        let container = json!({"ports": [{"name": "http", "containerPort": 8011}]});
        let ip = Ipv4Addr::new(10, 244, 0, 5);
        let parse = |handler: Value| action(&handler, &container, ip);
        let http = |port, path: &str| {
            Some(Action::Http { tls: false, host: "10.244.0.5".into(), port, path: path.into(), headers: Vec::new() })
        };
        for (handler, expected) in [
            (json!({"httpGet": {"path": "/health", "port": "http"}}), http(8011, "/health")),
            (json!({"httpGet": {"path": "x", "port": 80}}), http(80, "/x")),
            (json!({"httpGet": {"port": "ghost"}}), None),
            (json!({"tcpSocket": {"port": 5}}), Some(Action::Tcp { host: "10.244.0.5".into(), port: 5 })),
            (json!({"exec": {"command": ["a", "b"]}}), Some(Action::Exec { command: vec!["a".into(), "b".into()] })),
            (json!({"sleep": {"seconds": 2}}), Some(Action::Sleep(Duration::from_secs(2)))),
            (json!({}), None),
        ] {
            assert_eq!(parse(handler.clone()), expected, "{handler}");
        }
    }

    /// A health service: SERVING for "good", something else otherwise.
    async fn health(listener: tokio::net::TcpListener) {
        let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let asked = request.into_body().collect().await.expect("a body").to_bytes();
            let serving = asked.ends_with(b"good");
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let answer = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, if serving { 1 } else { 2 }]);
            let frames = futures::stream::iter([
                Ok::<_, std::io::Error>(hyper::body::Frame::data(answer)),
                Ok(hyper::body::Frame::trailers(trailers)),
            ]);
            http::Response::builder()
                .header("content-type", "application/grpc")
                .body(http_body_util::StreamBody::new(frames))
        });
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            let io = hyper_util::rt::TokioIo::new(stream);
            let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder.serve_connection(io, service).await;
        }
    }

    #[tokio::test]
    async fn health_services() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let ask = async {
            assert_eq!(grpc("127.0.0.1", port, "good").await, Ok(()));
            assert!(grpc("127.0.0.1", port, "bad").await.expect_err("unhealthy").contains("not serving"));
        };
        tokio::select! {
            () = ask => {}
            () = health(listener) => {}
        }
        assert!(grpc("127.0.0.1", 1, "").await.is_err());
    }

    #[tokio::test]
    async fn https_is_not_verified_and_headers_are_sent() {
        let acceptor =
            crate::tls::server(&crate::config::KubeletTls::default(), vec!["elsewhere".into()]).expect("TLS");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let serve = async {
            let (stream, _) = listener.accept().await.expect("accepted");
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            let mut text = String::new();
            while !text.ends_with("\r\n\r\n") {
                let mut buffer = [0; 256];
                let length = stream.read(&mut buffer).await.expect("read");
                text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
            let _ = stream.shutdown().await;
            text
        };
        let headers = [("X-Custom".to_owned(), "yes".to_owned()), ("Host".to_owned(), "named".to_owned())];
        let (text, result) = tokio::join!(serve, http(true, "127.0.0.1", port, "/ready?x=1", &headers));
        assert_eq!(result, Ok(None));
        assert!(text.starts_with("GET /ready?x=1 HTTP/1.1\r\n") && text.contains("X-Custom: yes\r\n"), "{text}");
        assert!(text.contains("Host: named\r\n") && text.matches("Host:").count() == 1, "{text}");
    }

    #[tokio::test]
    async fn redirects() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let mut buffer = [0; 512];
                let length = stream.read(&mut buffer).await.expect("read");
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let leads = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\n\r\n");
                let answer = match text.split(' ').nth(1).unwrap_or_default() {
                    "/here" => leads("/sick"),
                    "/absolute" => leads(&format!("http://127.0.0.1:{port}/well?x=1")),
                    "/elsewhere" => leads("http://0.0.0.0/"),
                    "/round" => leads("/round"),
                    "/nowhere" => "HTTP/1.1 302 Found\r\n\r\n".into(),
                    "/well?x=1" => "HTTP/1.1 200 OK\r\n\r\n".into(),
                    _ => "HTTP/1.1 500 Sick\r\n\r\n".into(),
                };
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        };
        let ask = async {
            for (path, expected) in [
                ("/here", Err("statuscode: 500")),
                ("/absolute", Ok("")),
                ("/nowhere", Ok("")),
                ("/elsewhere", Ok("0.0.0.0")),
                ("/round", Err("10 redirects")),
            ] {
                let got = http(false, "127.0.0.1", port, path, &[]).await;
                let fits = match (&got, expected) {
                    (Ok(warning), Ok(part)) => warning.as_deref().unwrap_or_default().contains(part),
                    (Err(message), Err(part)) => message.contains(part),
                    _ => false,
                };
                assert!(fits, "{path}: {got:?}");
            }
        };
        tokio::select! {
            () = ask => {}
            () = serve => {}
        }
    }

    #[tokio::test]
    async fn statuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let serve = async {
            for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n", "what\r\n"] {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let mut buffer = [0; 512];
                let _ = stream.read(&mut buffer).await;
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        };
        let ask = async {
            assert_eq!(http(false, "127.0.0.1", port, "/", &[]).await, Ok(None));
            assert_eq!(
                http(false, "127.0.0.1", port, "/", &[]).await,
                Err("HTTP probe failed with statuscode: 503".into())
            );
            assert!(http(false, "127.0.0.1", port, "/", &[]).await.expect_err("malformed").contains("malformed"));
        };
        tokio::join!(serve, ask);
    }
}
