//! Writes to the store with watches that are dropped and resumed anywhere: a watcher sees every change after its revision once,
//! in order, or is told that it is too late; a list at a revision is what the changes until then make.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use apiserver::store::{Change, Draft, EventKind, Expect, Store, key};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

type Log = BTreeMap<u64, (String, Option<u64>)>;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(&bytes[..bytes.len().min(256)]));
});

async fn run(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(dir.path(), &|_| Vec::new()).expect("the store opens");
    let resource: Arc<str> = "things".into();
    let mut log = Log::new();
    let mut floor = store.revision();
    for (value, byte) in bytes.iter().enumerate() {
        let (name, what) = (format!("k{}", byte & 7), byte >> 3);
        match what {
            0 => {
                drop(store);
                store = Store::open(dir.path(), &|_| Vec::new()).expect("the store opens");
                floor = store.revision();
            }
            1..=8 => check(&store, &resource, &log, floor, u64::from(what) * u64::from(*byte)),
            _ => {
                let current = store.get(&resource, &key("", &name));
                let expect = current.as_ref().map_or(Expect::Absent, |s| Expect::Revision(s.revision));
                let delete = current.is_some() && what % 3 == 0;
                let mut object = json!({"metadata": {"name": name}, "value": value});
                let draft = Draft::new(&mut object, &[]);
                let change = Change { resource: Arc::clone(&resource), key: key("", &name), expect, draft, delete };
                let stored = store.change(change).await.expect("nobody else writes");
                log.insert(stored.revision, (name, (!delete).then_some(value as u64)));
            }
        }
    }
    check(&store, &resource, &log, floor, floor);
}

fn check(store: &Store, resource: &Arc<str>, log: &Log, floor: u64, seed: u64) {
    let after = seed % (store.revision() + 1);
    let mut watcher = store.watch(resource, after);
    match watcher.poll() {
        Err(_) => assert!(after < floor, "too late for {after} from {floor}"),
        Ok(events) => {
            let seen: Log = events
                .iter()
                .map(|e| {
                    let value = e.object.value()["value"].as_u64().filter(|_| e.kind != EventKind::Deleted);
                    (e.object.revision, (e.object.name().to_owned(), value))
                })
                .collect();
            assert_eq!(seen, log.range(after + 1..).map(|(k, v)| (*k, v.clone())).collect());
        }
    }
    if let Ok(page) = store.list_at(resource, None, after, |_| true) {
        let mut state = BTreeMap::new();
        for (name, value) in log.range(..=after).map(|(_, v)| v) {
            match value {
                Some(value) => state.insert(name.clone(), *value),
                None => state.remove(name),
            };
        }
        let listed: BTreeMap<String, u64> =
            page.items.iter().map(|s| (s.name().to_owned(), s.value()["value"].as_u64().unwrap_or(u64::MAX))).collect();
        assert_eq!(listed, state, "at {after}");
    }
}
