//! The store against a simple model of it: concurrent writers and watchers, and a process that is killed while it writes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use apiserver::store::{Change, Draft, EventKind, Expect, Refused, Store, key};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const RESOURCE: &str = "things";
const WRITERS: u64 = 8;
const STEPS: u64 = 150;

fn change(name: &str, expect: Expect, value: u64, delete: bool) -> Change {
    let mut object = json!({"metadata": {"name": name, "namespace": "n", "labels": {"odd": (value % 2).to_string()}}, "value": value});
    Change { resource: RESOURCE.into(), key: key("n", name), expect, draft: Draft::new(&mut object, &[]), delete }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &|_| Vec::new()).expect("the store opens")
}

/// What happened, in the order of revisions.
type Log = BTreeMap<u64, (EventName, String, Option<u64>)>;
type EventName = &'static str;

fn fold(log: &Log, until: u64) -> BTreeMap<String, (u64, u64)> {
    let mut state = BTreeMap::new();
    for (revision, (_, name, value)) in log.range(..=until) {
        match value {
            Some(value) => state.insert(name.clone(), (*revision, *value)),
            None => state.remove(name),
        };
    }
    state
}

fn shown(page: &apiserver::store::Page) -> BTreeMap<String, (u64, u64)> {
    let entry = |s: &Arc<apiserver::store::Stored>| {
        (s.name().to_owned(), (s.revision, s.value()["value"].as_u64().expect("a value")))
    };
    page.items.iter().map(entry).collect()
}

/// Writers race for few keys; what each was told must make one history, which watchers, lists and a reopened store show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_watchers_agree_with_the_model() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    let begin = store.revision();
    let resource: Arc<str> = RESOURCE.into();
    let mut watchers = tokio::task::JoinSet::new();
    let total = Arc::new(tokio::sync::Semaphore::new(0));
    for _ in 0..6 {
        let (mut watcher, total) = (store.watch(&resource, begin), Arc::clone(&total));
        watchers.spawn(async move {
            let mut seen = Log::new();
            loop {
                let events = tokio::select! {
                    biased;
                    events = watcher.next() => events.expect("the watcher keeps up"),
                    // Closed when the last write was acknowledged: what is there then is all there is.
                    _ = total.acquire() => match watcher.poll().expect("the watcher keeps up") {
                        rest if rest.is_empty() => return seen,
                        rest => rest,
                    },
                };
                for event in events {
                    let value = event.object.value()["value"].as_u64();
                    let value = if event.kind == EventKind::Deleted { None } else { value };
                    let old =
                        seen.insert(event.object.revision, (event.kind.name(), event.object.name().to_owned(), value));
                    assert!(old.is_none(), "an event came twice");
                }
            }
        });
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut random = StdRng::seed_from_u64(writer);
            let mut log = Log::new();
            // What was refused, and the revisions between which lies the reason.
            let mut refused = Vec::new();
            for step in 0..STEPS {
                let name = format!("k{}", random.random_range(0..12));
                let before = store.revision();
                let current = store.get(RESOURCE, &key("n", &name));
                let delete = current.is_some() && random.random_range(0..4) == 0;
                let expect = current.as_ref().map_or(Expect::Absent, |s| Expect::Revision(s.revision));
                let value = writer * STEPS + step;
                match store.change(change(&name, expect, value, delete)).await {
                    Ok(stored) => {
                        let kind = match (delete, expect) {
                            (true, _) => "DELETED",
                            (false, Expect::Absent) => "ADDED",
                            (false, Expect::Revision(_)) => "MODIFIED",
                        };
                        assert!(log.insert(stored.revision, (kind, name, (!delete).then_some(value))).is_none());
                    }
                    Err(Refused::Unavailable(why)) => panic!("{why}"),
                    // Another writer was first.
                    Err(_) => refused.push((name, before, store.revision())),
                }
            }
            (log, refused)
        });
    }
    let (mut log, mut refusals) = (Log::new(), Vec::new());
    while let Some(part) = writers.join_next().await {
        let (part, refused) = part.expect("a writer ends");
        refusals.extend(refused);
        for (revision, entry) in part {
            assert!(log.insert(revision, entry).is_none(), "a revision was given twice");
        }
    }
    total.close();
    for (name, before, after) in refusals {
        let others = log.range(before + 1..=after).any(|(_, (_, written, _))| *written == name);
        assert!(others, "{name} was refused for no reason after {before}");
    }
    // Each change is allowed by the state before it.
    let mut live = BTreeMap::new();
    for (kind, name, value) in log.values() {
        let had = match value {
            Some(value) => live.insert(name.clone(), *value).is_some(),
            None => live.remove(name).is_some(),
        };
        assert_eq!(had, *kind != "ADDED", "{kind} {name}");
    }
    while let Some(seen) = watchers.join_next().await {
        assert_eq!(seen.expect("a watcher ends"), log);
    }
    let last = *log.keys().last().expect("something was written");
    assert_eq!(shown(&store.list(RESOURCE, None, |_| true)), fold(&log, last));
    for revision in [begin, begin + 1, (begin + last) / 2, last - 1, last] {
        let page = store.list_at(RESOURCE, Some("n"), revision, |_| true).expect("the history is kept");
        assert_eq!(shown(&page), fold(&log, revision), "at {revision}");
    }
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.revision(), shown(&store.list(RESOURCE, None, |_| true))), (last, fold(&log, last)));
}

/// Run in a child process: writes for ever, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes() {
    let Some(dir) = std::env::var_os("STORE_MODEL_CHILD") else { return };
    let store = open(Path::new(&dir));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4u64 {
        let store = store.clone();
        writers.spawn(async move {
            for value in 0u64.. {
                let name = format!("w{writer}-{}", value % 20);
                let current = store.get(RESOURCE, &key("n", &name));
                let delete = current.is_some() && value % 7 == 0;
                let expect = current.map_or(Expect::Absent, |s| Expect::Revision(s.revision));
                let stored =
                    store.change(change(&name, expect, value, delete)).await.expect("only this task writes it");
                let shown = if delete { "-".to_owned() } else { value.to_string() };
                let line = format!("ack {} {name} {shown}\n", stored.revision);
                if std::io::stderr().write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
    writers.join_all().await;
}

/// Whatever was acknowledged before a kill is there after it; what was not is there whole or not at all.
#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut log, mut base) = (Log::new(), 0);
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_that_writes", "--nocapture"])
            .env("STORE_MODEL_CHILD", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut count, mut killed) = (0, false);
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            let ["ack", revision, name, value] = words.as_slice() else { continue };
            let revision = revision.parse().expect("a revision");
            assert!(log.insert(revision, ("", (*name).to_owned(), value.parse().ok())).is_none(), "given twice");
            count += 1;
            if count == 40 + 37 * round && !killed {
                killed = true;
                child.kill().expect("SIGKILL");
            }
        }
        child.wait().expect("the child is gone");
        assert!(killed, "the child wrote too little: {count}");
        let store = open(dir.path());
        let last = base.max(*log.keys().last().expect("acknowledged"));
        assert!(store.revision() >= last);
        let model = fold(&log, last);
        let now = shown(&store.list(RESOURCE, None, |_| true));
        // Each writer waits for its own acknowledgement only: what it wrote last may be on disk untold, and before what others were told.
        let told = |name: &str| {
            let writer = name.split('-').next();
            let of_writer = log.iter().filter(|(_, (_, name, _))| name.split('-').next() == writer);
            of_writer.map(|(revision, _)| *revision).max().unwrap_or(base).max(base)
        };
        for (name, (revision, value)) in &model {
            match now.get(name) {
                Some(have) => {
                    assert!(have == &(*revision, *value) || have.0 > told(name), "{name}: {have:?} for {revision}");
                }
                // Deleted by a write that was not told any more.
                None => assert!(store.revision() > told(name), "{name} is lost"),
            }
        }
        for (name, (revision, _)) in now.iter().filter(|(name, _)| !model.contains_key(*name)) {
            assert!(*revision > told(name), "{name} was deleted and is back");
        }
        // The next round goes on from what is there.
        base = store.revision();
        log = now.into_iter().map(|(name, (revision, value))| (revision, ("", name, Some(value)))).collect();
    }
}
