//! Any bytes as a request: method, path, headers and body, to a registry that anyone may write to. It answers, and never
//! with a failure of its own.
#![no_main]

use std::sync::OnceLock;

use axum::body::Body;
use libfuzzer_sys::fuzz_target;
use registry::{Access, Config, Registry};
use tower::ServiceExt;

struct Served {
    runtime: tokio::runtime::Runtime,
    router: axum::Router,
    _dir: tempfile::TempDir,
}

fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(Config { access: Access::open(), ..Config::new(dir.path()) }).expect("opens");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Served { runtime, router: registry.router(), _dir: dir }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.windows(2).position(|w| w == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = (&bytes[..end], bytes.get(end + 2..).unwrap_or_default());
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut lines = head.lines();
    let Some((method, path)) = lines.next().and_then(|first| first.split_once(' ')) else { return };
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let served = served();
    let answer = served.runtime.block_on(served.router.clone().oneshot(request)).expect("infallible");
    assert!(!answer.status().is_server_error(), "{method} {path}: {}", answer.status());
});
