//! The registry is killed at any instant: what it acknowledged is there afterwards, what it did not is there whole or not at
//! all, and nothing partial is ever served.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use oci::{Digest, media};
use registry::control::{Request, run};
use registry::{Access, Config, Registry};

const DIR: &str = "REGISTRY_TO_BE_KILLED";

/// Not a test: the process that the others kill.
#[test]
fn the_server_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let registry = Registry::open(Config { access: Access::open(), ..Config::new(dir) }).expect("open");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        println!("listening={}", listener.local_addr().expect("address"));
        registry.serve(listener, tokio_util::sync::CancellationToken::new()).await.expect("served");
    });
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(dir: &Path) -> Server {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "the_server_process", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("output")).lines();
        let address =
            lines.map_while(Result::ok).find_map(|line| line.split_once("listening=").map(|(_, a)| a.to_owned()));
        let address = address.expect("it listens").trim().parse().expect("address");
        Server { child, address }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    fn ask(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> std::io::Result<(u16, String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(head(method, path, media_type, body.len()).as_bytes())?;
        stream.write_all(body)?;
        answer(stream)
    }
}

fn head(method: &str, path: &str, media_type: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Status, `Location` and body, of a whole answer.
fn answer(mut stream: TcpStream) -> std::io::Result<(u16, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
    let body = bytes[end + 4..].to_vec();
    let length = field("content-length:").and_then(|n| n.parse().ok()).unwrap_or(0);
    if body.len() < length && !body.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = head.get(9..12).and_then(|s| s.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, field("location:").unwrap_or_default(), body))
}

fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(next).collect()
}

/// Every blob on disk is what its name says, whoever wrote it and however it ended.
fn whole(dir: &Path) -> usize {
    let blobs = std::fs::read_dir(dir.join("blobs/sha256")).expect("blobs");
    let mut count = 0;
    for blob in blobs {
        let path = blob.expect("entry").path();
        let found = Digest::of(&std::fs::read(&path).expect("blob"));
        assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(found.hex()), "a partial blob");
        count += 1;
    }
    count
}

#[test]
fn an_upload_that_is_cut_at_any_byte_leaves_nothing_and_goes_on() {
    let dir = tempfile::tempdir().expect("tempdir");
    let data = noise(300_000, 7);
    let digest = Digest::of(&data);
    let octets = "application/octet-stream";
    let blob = format!("/v2/a/b/blobs/{digest}");
    let mut server = Server::start(dir.path());
    for (round, cut) in [0, 1, 2, 4095, 65_536, 131_073, 262_144, 299_998, 299_999].into_iter().enumerate() {
        let begin = server.ask("POST", "/v2/a/b/blobs/uploads/", octets, b"").expect("begun");
        assert_eq!(begin.0, 202);
        // A first chunk that is acknowledged, then one that is cut.
        let kept = 1000 * (round + 1);
        let patched = server.ask("PATCH", &begin.1, octets, &data[..kept]).expect("patched");
        assert_eq!(patched.0, 202);
        let rest = &data[kept..];
        let mut stream = TcpStream::connect(server.address).expect("connect");
        let path = format!("{}?digest={digest}", begin.1);
        stream.write_all(head("PUT", &path, octets, rest.len()).as_bytes()).expect("head");
        stream.write_all(&rest[..cut.min(rest.len() - 1)]).expect("part");
        if round % 3 == 2 {
            server.kill();
            whole(dir.path());
            server = Server::start(dir.path());
        }
        drop(stream);
        assert_eq!(server.ask("GET", &blob, octets, b"").expect("answer").0, 404, "cut at {cut}");
        // What was acknowledged is still held, and the upload goes on from where the registry says.
        let held = loop {
            let at = TcpStream::connect(server.address).and_then(|mut stream| {
                stream.write_all(head("GET", &begin.1, octets, 0).as_bytes())?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok(text.to_ascii_lowercase())
            });
            let at = at.expect("answer");
            assert!(at.starts_with("http/1.1 204"), "{at}");
            let range = at.lines().find_map(|l| l.strip_prefix("range: 0-")).expect("range").trim().to_owned();
            let held: usize = range.parse::<usize>().expect("number") + 1;
            if held >= kept {
                break held;
            }
        };
        assert!(held <= data.len());
        let put = server.ask("PUT", &path, octets, &data[held..]).expect("finished");
        assert_eq!(put.0, 201, "continued at {held} after a cut at {cut}: {}", String::from_utf8_lossy(&put.2));
        let got = server.ask("GET", &blob, octets, b"").expect("answer");
        assert!(got.0 == 200 && got.2 == data);
        assert_eq!(server.ask("DELETE", &blob, octets, b"").expect("deleted").0, 202);
        run(dir.path(), &Request::Gc { grace: 0, untagged: true, dry_run: false }).expect("collected");
        assert_eq!(whole(dir.path()), 0);
    }
    server.kill();
}

/// What clients were told, by path: the body that must come back, or none when it was deleted.
type Told = BTreeMap<String, Option<Vec<u8>>>;

/// Pushes, retags and deletes until the server dies.
fn client(server: &Server, name: &str, seed: u64, told: &Mutex<Told>, count: &AtomicUsize) {
    let acknowledged = |path: &str, body: Option<&[u8]>| {
        told.lock().expect("lock").insert(path.to_owned(), body.map(<[u8]>::to_vec));
        count.fetch_add(1, Ordering::Relaxed);
    };
    let uncertain = |path: &str| drop(told.lock().expect("lock").remove(path));
    for n in 0u64.. {
        let layer = noise(20_000 + (n as usize % 5) * 9000, seed * 1000 + n);
        let mut parts = Vec::new();
        for data in [layer.as_slice(), b"{}"] {
            let digest = Digest::of(data);
            let Ok((202, location, _)) = server.ask("POST", &format!("/v2/{name}/blobs/uploads/"), "x/y", b"") else {
                return;
            };
            let Ok((201, ..)) = server.ask("PUT", &format!("{location}?digest={digest}"), "x/y", data) else { return };
            acknowledged(&format!("/v2/{name}/blobs/{digest}"), Some(data));
            parts.push((digest, data.len()));
        }
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
            media::OCI_MANIFEST,
            media::OCI_CONFIG,
            parts[1].0,
            media::OCI_LAYER,
            parts[0].0,
            parts[0].1
        );
        let tag = format!("/v2/{name}/manifests/t{}", n % 3);
        // While it is being changed, the tag may point to either.
        uncertain(&tag);
        let Ok((201, ..)) = server.ask("PUT", &tag, media::OCI_MANIFEST, manifest.as_bytes()) else { return };
        acknowledged(&tag, Some(manifest.as_bytes()));
        acknowledged(&format!("/v2/{name}/manifests/{}", Digest::of(manifest.as_bytes())), Some(manifest.as_bytes()));
        if n % 4 == 3 {
            uncertain(&tag);
            let Ok((202, ..)) = server.ask("DELETE", &tag, "x/y", b"") else { return };
            acknowledged(&tag, None);
        }
    }
}

#[test]
fn a_kill_in_the_middle_of_pushes_and_collections_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("tempdir");
    let told = Mutex::new(Told::new());
    for round in 0..8u64 {
        let server = Arc::new(Server::start(dir.path()));
        // All that any earlier life acknowledged.
        let known = told.lock().expect("lock").clone();
        for (path, body) in &known {
            let (status, _, got) = server.ask("GET", path, "x/y", b"").expect("answer");
            match body {
                Some(body) => assert!(status == 200 && got == *body, "{path}: {status}"),
                None => assert_eq!(status, 404, "{path} was deleted"),
            }
        }
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..3 {
                let (server, told, count) = (&server, &told, &count);
                scope.spawn(move || client(server, &format!("r{n}"), round * 3 + n, told, count));
            }
            // Collections that find nothing old enough, and rewrite what they may: until the server is gone.
            let gc = Request::Gc { grace: 3600, untagged: true, dry_run: false };
            let (at, count) = (dir.path(), &count);
            let collector = scope.spawn(move || {
                while count.load(Ordering::Relaxed) < usize::MAX / 2 && at.join("control.sock").exists() {
                    if run(at, &gc).is_err() {
                        return;
                    }
                }
            });
            let enough = 15 + (round as usize * 13) % 40;
            while count.load(Ordering::Relaxed) < enough {
                std::thread::yield_now();
            }
            let pid = rustix::process::Pid::from_raw(server.child.id() as i32).expect("a process");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
            count.store(usize::MAX / 2, Ordering::Relaxed);
            collector.join().expect("collector ended");
        });
        let mut server = Arc::into_inner(server).expect("clients ended");
        server.child.wait().expect("ended");
        whole(dir.path());
    }
    let registry = Registry::open(Config::new(dir.path())).expect("opens after all that");
    let told = told.into_inner().expect("lock");
    assert!(told.len() > 100, "{} things were acknowledged", told.len());
    drop(registry);
}
