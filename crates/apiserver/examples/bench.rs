//! Measures the server against its goals: `cargo run --release -p apiserver --example bench [OBJECTS]`.
//!
//! Everything runs in this process, load included: 16 clients that create ConfigMaps through the whole server (authentication,
//! authorisation, admission, validation, managed fields, a commit on disk before the answer), lists, 1,000 watchers. The peer
//! is the database alone: SQLite, same durability, the same bytes, groups of 256 rows.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Config, Identity};
use axum::body::Body;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

const CLIENTS: usize = 16;
const WATCHERS: usize = 1_000;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0) / 1024
}

fn body(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","labels":{{"app":"bench","part":"a"}}}},"data":{{"key":"{}"}}}}"#,
        "v".repeat(256)
    )
}

fn request(method: &str, path: &str, body: String) -> Result<Request<Body>, http::Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("user-agent", "bench/1")
        .body(Body::from(body))
}

async fn create(server: &ApiServer, from: usize, count: usize) -> Result<Duration, Failure> {
    let started = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let server = server.clone();
        clients.spawn(async move {
            let who = Identity::admin();
            for i in (client..count).step_by(CLIENTS) {
                let request = request("POST", MAPS, body(&format!("o-{}", from + i)))?;
                let response = server.respond(Some(who.clone()), request).await;
                if response.status() != 201 {
                    return Err(Failure::from(format!("create answered {}", response.status())));
                }
            }
            Ok(())
        });
    }
    while let Some(outcome) = clients.join_next().await {
        outcome??;
    }
    Ok(started.elapsed())
}

fn peer(dir: &std::path::Path, count: usize) -> Result<Duration, Failure> {
    let mut database = rusqlite::Connection::open(dir.join("peer.db"))?;
    database.pragma_update(None, "journal_mode", "wal")?;
    database.pragma_update(None, "synchronous", "full")?;
    database.execute_batch("create table o (r text, k text, v blob, primary key (r, k)) without rowid")?;
    let started = Instant::now();
    for group in 0..count.div_ceil(256) {
        let transaction = database.transaction()?;
        {
            let mut put = transaction.prepare_cached("insert into o values ('configmaps', ?1, ?2)")?;
            for i in group * 256..((group + 1) * 256).min(count) {
                let data = body(&format!("o-{i}")) + &"m".repeat(420);
                put.execute(rusqlite::params![format!("default\0o-{i}"), data.as_bytes()])?;
            }
        }
        transaction.commit()?;
    }
    Ok(started.elapsed())
}

async fn list(server: &ApiServer, path: &str) -> Result<(usize, Duration), Failure> {
    let started = Instant::now();
    let response = server.respond(Some(Identity::admin()), request("GET", path, String::new())?).await;
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok((bytes.len(), started.elapsed()))
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// Latencies of writes and of what watchers get of them, sorted.
#[derive(Default)]
struct Watched {
    /// From before a write is sent to its answer.
    writes: Vec<Duration>,
    /// From before a write is sent to when each of the watchers has it.
    arrivals: Vec<Duration>,
    /// From when a write is known to be on the disk (it is answered, or a watcher has it) to when each of the watchers has it.
    deliveries: Vec<Duration>,
    /// Of a write of one page to a file, with its `fdatasync`: what the disk takes of each write.
    disk: Vec<Duration>,
}

async fn watch(server: &ApiServer, dir: &std::path::Path) -> Result<Watched, Failure> {
    let (sender, mut receiver) = mpsc::channel::<Instant>(WATCHERS * 4);
    let mut watchers = tokio::task::JoinSet::new();
    let made = create_one(server, "watched").await?;
    for _ in 0..WATCHERS {
        let (server, sender) = (server.clone(), sender.clone());
        let path = format!("{MAPS}?watch=true&resourceVersion={made}&fieldSelector=metadata.name%3Dwatched");
        watchers.spawn(async move {
            let Ok(request) = request("GET", &path, String::new()) else { return };
            let mut stream = server.respond(Some(Identity::admin()), request).await.into_body().into_data_stream();
            while let Some(Ok(_)) = stream.next().await {
                if sender.send(Instant::now()).await.is_err() {
                    return;
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut out = Watched::default();
    let mut page = std::fs::File::create(dir.join("page"))?;
    for round in 0..300 {
        let started = Instant::now();
        page.write_all(&[0; 4096])?;
        page.sync_data()?;
        out.disk.push(started.elapsed());
        let patch = format!(r#"{{"data":{{"round":"{round}"}}}}"#);
        let mut request = request("PATCH", &format!("{MAPS}/watched"), patch)?;
        request.headers_mut().insert("content-type", "application/merge-patch+json".parse()?);
        let started = Instant::now();
        let response = server.respond(Some(Identity::admin()), request).await;
        let answered = Instant::now();
        out.writes.push(answered.duration_since(started));
        if response.status() != 200 {
            return Err(format!("patch answered {}", response.status()).into());
        }
        let mut all = Vec::with_capacity(WATCHERS);
        for _ in 0..WATCHERS {
            all.push(receiver.recv().await.ok_or("the watchers ended")?);
        }
        let known = all.iter().copied().min().unwrap_or(answered).min(answered);
        out.arrivals.extend(all.iter().map(|at| at.duration_since(started)));
        out.deliveries.extend(all.iter().map(|at| at.duration_since(known)));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    watchers.shutdown().await;
    for list in [&mut out.writes, &mut out.arrivals, &mut out.deliveries, &mut out.disk] {
        list.sort_unstable();
    }
    Ok(out)
}

async fn create_one(server: &ApiServer, name: &str) -> Result<String, Failure> {
    let response = server.respond(Some(Identity::admin()), request("POST", MAPS, body(name))?).await;
    let bytes = response.into_body().collect().await?.to_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes)?;
    Ok(value["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let objects: usize = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let dir = std::env::temp_dir().join(format!("apiserver-bench-{}", std::process::id()));
    let config = || Config { dir: dir.join("state"), ..Config::default() };
    let started = Instant::now();
    let server = ApiServer::open(config()).await?;
    println!("start: {:.0?}", started.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("idle memory: {} MB", resident());
    let first = 20_000.min(objects);
    let took = create(&server, 0, first).await?;
    let rate = first as f64 / took.as_secs_f64();
    let alone = peer(&dir, first)?;
    let database = first as f64 / alone.as_secs_f64();
    println!(
        "creates, {CLIENTS} clients: {rate:.0}/s; the database alone {database:.0}/s (ratio {:.2})",
        rate / database
    );
    let page = format!("{MAPS}?limit=10000");
    list(&server, &page).await?;
    let (bytes, took) = list(&server, &page).await?;
    println!("list of 10,000: {took:.1?}, {} MB", bytes >> 20);
    let (bytes, took) = list(&server, &format!("{page}&labelSelector=part%3Da")).await?;
    println!("list of 10,000 by label: {took:.1?}, {} MB", bytes >> 20);
    let watched = watch(&server, &dir).await?;
    let figures = |list: &[Duration]| format!("p50 {:.1?}, p99 {:.1?}", percentile(list, 0.5), percentile(list, 0.99));
    println!(
        "watch, {WATCHERS} watchers: from the commit {}; from sending the write {}; the write itself {}; the disk's part {}",
        figures(&watched.deliveries),
        figures(&watched.arrivals),
        figures(&watched.writes),
        figures(&watched.disk)
    );
    if objects > first {
        let took = create(&server, first, objects - first).await?;
        println!(
            "{objects} objects: {:.0}/s to there, {} MB",
            (objects - first) as f64 / took.as_secs_f64(),
            resident()
        );
        let (bytes, took) = list(&server, MAPS).await?;
        println!("list of {objects}: {took:.0?}, {} MB", bytes >> 20);
        drop(server);
        let started = Instant::now();
        let server = Arc::new(ApiServer::open(config()).await?);
        println!("start with {objects} objects: {:.0?}", started.elapsed());
        drop(server);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
