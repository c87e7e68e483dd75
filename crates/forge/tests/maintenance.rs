//! Repositories that are packed while they are pushed to, and by a git that is killed.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use forge::{Config, Maintenance};
use support::Server;

/// Single objects and packs of a repository.
fn counted(dir: &Path) -> (usize, usize) {
    let entries = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let loose = entries(dir.join("objects"))
        .filter(|entry| entry.file_name().len() == 2)
        .map(|entry| entries(entry.path()).count())
        .sum();
    let packs = entries(dir.join("objects/pack")).filter(|entry| entry.path().extension().is_some_and(|e| e == "pack"));
    (loose, packs.count())
}

/// Numbers whose texts, as blobs, have names that begin with `17`: git looks at these alone to guess how many there are.
#[rustfmt::skip]
const IN_17: [u32; 46] = [
    195, 243, 775, 806, 834, 874, 886, 1074, 1174, 1677, 1732,
    2206, 2496, 2646, 3166, 3272, 3285, 3441, 3457, 3547, 3779, 4050,
    4335, 4723, 4900, 4914, 5134, 5282, 5589, 5593, 6046, 6330, 6553,
    6733, 6852, 7003, 7017, 7293, 7303, 7452, 8241, 8699, 9045, 9103,
    9109, 9143,
];

fn often(config: &mut Config) {
    // More than one object in the directory that stands for all: due after each second push.
    config.maintenance = Maintenance { objects: 1, packs: 3 };
}

/// The forge's only repository, and a working copy that is to be pushed to it.
async fn repository(server: &Server) -> (PathBuf, PathBuf) {
    let dir = server.dir.path().join("forge/repositories");
    let dir = std::fs::read_dir(dir).expect("a directory").flatten().next().expect("a repository").path();
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    (dir, work)
}

async fn push(server: &Server, work: &Path, n: usize) {
    server.commit(work, &format!("{}/{n}.txt", n % 7), &format!("text {}\n", IN_17[n]), &format!("commit {n}")).await;
    server.git(work, &["push", "-q", &server.authenticated("acme/widgets"), "HEAD:main"]).await;
}

#[tokio::test]
async fn what_is_pushed_meanwhile_stays() {
    let server = Server::with(often).await;
    let (dir, work) = repository(&server).await;
    // The forge packs by itself after pushes; here it is asked for all the time too.
    let (forge, stop) = (server.forge.clone(), tokio_util::sync::CancellationToken::new());
    let (mut tasks, end) = (tokio::task::JoinSet::new(), stop.clone());
    tasks.spawn(async move {
        while !end.is_cancelled() {
            // One that meets the forge's own gives way.
            let _ = forge.maintain("acme/widgets").await;
        }
    });
    let mut most = 0;
    for n in 0..40 {
        push(&server, &work, n).await;
        most = most.max(counted(&dir).0);
    }
    stop.cancel();
    tasks.join_next().await.expect("a task").expect("ends well");
    // What is left is packed now, or was.
    server.forge.maintain("acme/widgets").await.expect("packs");
    let (loose, packs) = counted(&dir);
    assert!(packs >= 1 && loose < 120, "{loose} single objects and {packs} packs; at most {most} on the way");
    server.git(&dir, &["fsck", "--strict", "--full"]).await;
    let clone = server.work("clone");
    server.git(&clone, &["clone", "-q", &server.anonymous("acme/widgets"), "."]).await;
    assert_eq!(server.git(&clone, &["rev-list", "--count", "HEAD"]).await.trim(), "40");
    let told = server.forge.webhooks();
    let mut pushes = 0;
    while let Some(webhook) = told.try_next().await.expect("reads") {
        pushes += usize::from(webhook.event == "push");
    }
    assert_eq!(pushes, 40);
    server.stop().await;
}

#[tokio::test]
async fn a_kill_while_packing_loses_nothing() {
    let server = Server::with(|config| config.maintenance = Maintenance { objects: 1_000_000, packs: 1_000_000 }).await;
    let (dir, work) = repository(&server).await;
    for n in 0..40 {
        push(&server, &work, n).await;
    }
    let server = server.restart_with(often).await;
    for round in 0..6_u64 {
        let forge = server.forge.clone();
        let (packing, killer) = (async { forge.maintain("acme/widgets").await }, async {
            // Each kill strikes at another moment of the packing.
            tokio::time::sleep(Duration::from_millis(3 + round * 9)).await;
            let marker = dir.to_string_lossy().into_owned();
            for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line);
                if line.contains(&marker) && line.contains("gc") && !line.contains("receive-pack") {
                    let pid = process.file_name().to_string_lossy().into_owned();
                    let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
                }
            }
        });
        // Killed or done: either is fine.
        let (_, ()) = tokio::join!(packing, killer);
        server.git(&dir, &["fsck", "--strict", "--full"]).await;
        push(&server, &work, 40 + round as usize).await;
    }
    server.forge.maintain("acme/widgets").await.expect("packs after a kill");
    server.git(&dir, &["fsck", "--strict", "--full"]).await;
    let clone = server.work("clone");
    server.git(&clone, &["clone", "-q", &server.anonymous("acme/widgets"), "."]).await;
    assert_eq!(server.git(&clone, &["rev-list", "--count", "HEAD"]).await.trim(), "46");
    server.stop().await;
}

#[tokio::test]
async fn the_locks_of_a_git_that_was_killed_are_gone_after_a_restart() {
    let server = Server::start().await;
    let (dir, work) = repository(&server).await;
    push(&server, &work, 0).await;
    let locks = [
        "HEAD.lock",
        "packed-refs.lock",
        "config.lock",
        "gc.pid.lock",
        "objects/info/commit-graph.lock",
        "refs/heads/main.lock",
        "refs/tags/v/1.lock",
    ];
    std::fs::create_dir_all(dir.join("refs/tags/v")).expect("a directory");
    for lock in locks {
        std::fs::write(dir.join(lock), "").expect("a lock");
    }
    let server = server.restart().await;
    for lock in locks {
        assert!(!dir.join(lock).exists(), "{lock} is there still");
    }
    push(&server, &work, 1).await;
    server.git(&work, &["push", "-q", &server.authenticated("acme/widgets"), "HEAD:refs/tags/v/1"]).await;
    server.git(&work, &["push", "-q", &server.authenticated("acme/widgets"), ":refs/tags/v/1"]).await;
    server.git(&dir, &["fsck", "--strict", "--full"]).await;
    server.stop().await;
}

#[tokio::test]
async fn packing_goes_on_after_a_git_that_was_killed() {
    let server = Server::with(often).await;
    let (dir, work) = repository(&server).await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let locks = [
        // A process that is, but packs nothing: its number was given again.
        ("gc.pid", format!("{} {}", std::process::id(), host.trim())),
        ("gc.pid.lock", "left".to_owned()),
        ("objects/info/commit-graph.lock", "left".to_owned()),
        ("objects/info/commit-graphs/commit-graph-chain.lock", "left".to_owned()),
        ("objects/pack/multi-pack-index.lock", "left".to_owned()),
    ];
    std::fs::create_dir_all(dir.join("objects/info/commit-graphs")).expect("a directory");
    for (lock, text) in &locks {
        std::fs::write(dir.join(lock), text).expect("a lock");
    }
    for n in 0..6 {
        push(&server, &work, n).await;
    }
    server.forge.maintain("acme/widgets").await.expect("packs");
    assert!(counted(&dir).1 >= 1);
    for (lock, text) in &locks {
        // The forge may be packing again, and hold its own.
        let now = std::fs::read_to_string(dir.join(lock)).ok();
        assert_ne!(now.as_ref(), Some(text), "{lock} is there still");
    }
    server.stop().await;
}
