//! Compares the registry with another one in one run, and prints ratios.
//!
//! `cargo run --release -p registry --example registry-bench -- [PATH OF docker-registry]`. Each registry runs as a process of its own
//! on loopback with an empty directory; the same client asks both.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if first.as_deref() == Some("serve") {
        let dir = arguments.next().ok_or("serve DIR ADDRESS")?;
        let address = arguments.next().ok_or("serve DIR ADDRESS")?;
        return runtime.block_on(serve(dir.into(), address));
    }
    let other = first.unwrap_or_else(|| "/usr/bin/docker-registry".into());
    runtime.block_on(compare(Path::new(&other)))
}

async fn serve(dir: std::path::PathBuf, address: String) -> Result<(), Failure> {
    let config = registry::Config { access: registry::Access::open(), ..registry::Config::new(dir) };
    let registry = registry::Registry::open(config)?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(registry.serve(listener, CancellationToken::new()).await?)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Resident memory that is not backed by files, in kilobytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|l| l.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse().ok())
        };
        field("RssAnon:").unwrap_or(0)
    }
}

fn free_address() -> Result<SocketAddr, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Rounds of each figure; the best counts, so that what else the machine does counts least.
const ROUNDS: usize = 3;

async fn compare(other: &Path) -> Result<(), Failure> {
    let dirs = tempfile::tempdir()?;
    let ours = start(dirs.path(), "ours", |dir, address| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(dir).arg(address.to_string());
        Ok(command)
    })
    .await?;
    let mut sides = vec![Side::prepare(ours).await?];
    if other.exists() {
        let theirs = start(dirs.path(), "theirs", |dir, address| {
            let config = dir.join("config.yml");
            let text = format!(
                "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
                dir.display()
            );
            std::fs::write(&config, text)?;
            let mut command = Command::new(other);
            command.arg("serve").arg(config);
            Ok(command)
        })
        .await?;
        sides.push(Side::prepare(theirs).await?);
    } else {
        println!("{} is not there: nothing to compare with", other.display());
    }
    println!("{:<40}{:>12}{:>12}{:>8}", "", "ours", "theirs", "ratio");
    for clients in [1, 16, 256] {
        row(&sides, format!("manifest reads/s, {clients} clients"), async |side| {
            rate(side.address, clients, side.read_manifest()).await.map(|r| r.0)
        })
        .await?;
    }
    for clients in [1, 16, 256] {
        row(&sides, format!("4 kB blob reads/s, {clients} clients"), async |side| {
            rate(side.address, clients, side.read_blob(&side.small)).await.map(|r| r.0)
        })
        .await?;
    }
    for clients in [1, 16, 256] {
        row(&sides, format!("100 MB blob pull MB/s, {clients} clients"), async |side| {
            rate(side.address, clients, side.read_blob(&side.large)).await.map(|r| r.1 / 1e6)
        })
        .await?;
    }
    for (clients, size, each) in [(1, 20_000_000, 6), (16, 2_000_000, 4), (256, 100_000, 3)] {
        let seed = AtomicU64::new(1);
        row(&sides, format!("push MB/s, {clients} clients of {} kB", size / 1000), async |side| {
            // Content that no registry has seen, made before the clock runs.
            let one = |_| {
                let data = noise(size, seed.fetch_add(1, Ordering::Relaxed) + size as u64);
                (oci::Digest::of(&data).to_string(), data)
            };
            let work: Vec<Vec<(String, Vec<u8>)>> = (0..clients).map(|_| (0..each).map(one).collect()).collect();
            let address = side.address;
            let begun = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for blobs in work {
                tasks.spawn(async move {
                    for (digest, data) in blobs {
                        push(address, &digest, &data).await?;
                    }
                    Ok::<_, Failure>(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            Ok((clients * each * size) as f64 / 1e6 / begun.elapsed().as_secs_f64())
        })
        .await?;
    }
    let idle: Vec<u64> = sides.iter().map(|side| side.running.memory()).collect();
    println!("{:<40}{}", "memory after all that, MB", megabytes(&idle));
    let mut most = Vec::new();
    for side in &sides {
        most.push(side.crowd().await?);
    }
    println!("{:<40}{}", "memory with 1000 pulls of 100 MB, MB", megabytes(&most));
    Ok(())
}

fn megabytes(kilobytes: &[u64]) -> String {
    let shown = kilobytes.iter().map(|kb| format!("{:>12.1}", *kb as f64 / 1000.0)).collect::<String>();
    match kilobytes {
        [ours, theirs] => format!("{shown}{:>8.2}", *ours as f64 / *theirs as f64),
        _ => shown,
    }
}

/// Measures a figure on all sides in turns, and prints the best of each.
async fn row(
    sides: &[Side],
    name: String,
    measure: impl AsyncFn(&Side) -> Result<f64, Failure>,
) -> Result<(), Failure> {
    let mut best = vec![0.0f64; sides.len()];
    for _ in 0..ROUNDS {
        for (side, best) in sides.iter().zip(&mut best) {
            *best = best.max(measure(side).await?);
        }
    }
    match best[..] {
        [ours, theirs] => println!("{name:<40}{ours:>12.0}{theirs:>12.0}{:>8.2}", ours / theirs),
        _ => println!("{name:<40}{:>12.0}", best[0]),
    }
    Ok(())
}

/// A registry with something in it.
struct Side {
    running: Running,
    address: SocketAddr,
    small: String,
    large: String,
}

async fn start(
    base: &Path,
    name: &str,
    command: impl FnOnce(&Path, SocketAddr) -> Result<Command, Failure>,
) -> Result<(Running, SocketAddr), Failure> {
    let dir = base.join(name);
    std::fs::create_dir(&dir)?;
    let address = free_address()?;
    let child = command(&dir, address)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let running = Running(child);
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(format!("{name} does not listen").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((running, address))
}

impl Side {
    async fn prepare((running, address): (Running, SocketAddr)) -> Result<Self, Failure> {
        let mut digests = Vec::new();
        for data in [vec![7u8; 4000], noise(100_000_000, 1), b"{}".to_vec()] {
            let digest = oci::Digest::of(&data).to_string();
            push(address, &digest, &data).await?;
            digests.push(digest);
        }
        let [small, large, config] = digests.try_into().map_err(|_| "three blobs")?;
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[{{"mediaType":"{}","digest":"{small}","size":4000}}]}}"#,
            oci::media::OCI_MANIFEST,
            oci::media::OCI_CONFIG,
            oci::media::OCI_LAYER
        );
        let put = format!(
            "PUT /v2/bench/app/manifests/1 HTTP/1.1\r\nhost: x\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{manifest}",
            oci::media::OCI_MANIFEST,
            manifest.len()
        );
        let (status, _) = Connection::open(address).await?.ask(put.as_bytes()).await?;
        if status != 201 {
            return Err(format!("a manifest push answered {status}").into());
        }
        Ok(Self { running, address, small, large })
    }

    fn read_manifest(&self) -> String {
        let accept = oci::media::OCI_MANIFEST;
        format!("GET /v2/bench/app/manifests/1 HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n")
    }

    fn read_blob(&self, digest: &str) -> String {
        format!("GET /v2/bench/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n")
    }

    /// A thousand clients in the middle of the large blob; the most memory seen, in kilobytes.
    async fn crowd(&self) -> Result<u64, Failure> {
        let request = self.read_blob(&self.large);
        let mut clients = Vec::new();
        for _ in 0..1000 {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(request.as_bytes()).await?;
            clients.push(stream);
        }
        let mut most = 0;
        let mut buffer = vec![0; 256 * 1024];
        // Each reads a part, so that all answers are under way at once.
        for _ in 0..5 {
            for stream in &mut clients {
                let _ = stream.read(&mut buffer).await?;
            }
            most = most.max(self.running.memory());
        }
        Ok(most)
    }
}

/// Reads for a while on kept connections: answers and bytes a second.
async fn rate(address: SocketAddr, clients: usize, request: String) -> Result<(f64, f64), Failure> {
    let (answers, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let until = Instant::now() + Duration::from_millis(1000);
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (answers, bytes, request) = (Arc::clone(&answers), Arc::clone(&bytes), request.clone());
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await?;
            while Instant::now() < until {
                let (status, n) = connection.ask(request.as_bytes()).await?;
                if status != 200 {
                    return Err(format!("a read answered {status}").into());
                }
                answers.fetch_add(1, Ordering::Relaxed);
                bytes.fetch_add(n, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok((answers.load(Ordering::Relaxed) as f64 / seconds, bytes.load(Ordering::Relaxed) as f64 / seconds))
}

async fn push(address: SocketAddr, digest: &str, data: &[u8]) -> Result<(), Failure> {
    let mut connection = Connection::open(address).await?;
    let (_, location) = connection
        .location(b"POST /v2/bench/app/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        .await?;
    let path =
        location.split_once("//").map_or(location.as_str(), |(_, rest)| rest.find('/').map_or("/", |n| &rest[n..]));
    let joint = if path.contains('?') { '&' } else { '?' };
    let head = format!(
        "PUT {path}{joint}digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        data.len()
    );
    connection.0.write_all(head.as_bytes()).await?;
    connection.0.write_all(data).await?;
    let (status, _) = connection.answer().await?;
    if status != 201 {
        return Err(format!("a push answered {status}").into());
    }
    Ok(())
}

/// Bytes that do not repeat.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out
}

/// HTTP/1.1 as thin as it goes, so that the client is not what is measured.
struct Connection(TcpStream, Vec<u8>);

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream, vec![0; 256 * 1024]))
    }

    async fn ask(&mut self, request: &[u8]) -> Result<(u16, u64), Failure> {
        self.0.write_all(request).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<(u16, u64), Failure> {
        let (head, have) = self.head().await?;
        let status = head.get(9..12).and_then(|s| s.parse().ok()).ok_or("no status")?;
        let length: u64 = header(&head, "content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut left = length.saturating_sub(have);
        while left > 0 {
            let n = self.0.read(&mut self.1).await?;
            if n == 0 {
                return Err("the answer ended too early".into());
            }
            left = left.saturating_sub(n as u64);
        }
        Ok((status, length))
    }

    async fn location(&mut self, request: &[u8]) -> Result<(u16, String), Failure> {
        self.0.write_all(request).await?;
        let (head, _) = self.head().await?;
        Ok((0, header(&head, "location").ok_or("no location")?.to_owned()))
    }

    /// The head, and how much of the body came with it.
    async fn head(&mut self) -> Result<(String, u64), Failure> {
        let mut filled = 0;
        loop {
            let n = self.0.read(&mut self.1[filled..]).await?;
            if n == 0 {
                return Err("no answer".into());
            }
            filled += n;
            if let Some(end) = self.1[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
                return Ok((String::from_utf8_lossy(&self.1[..end]).into_owned(), (filled - end - 4) as u64));
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}
