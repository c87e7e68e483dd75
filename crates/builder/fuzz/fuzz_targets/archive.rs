//! Any bytes as a layer: indexed and stacked, never written anywhere but to the store.
#![no_main]

use std::sync::Arc;

use builder::fs::layers::LayerStore;
use builder::fs::view::View;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempdir();
    let store = Arc::new(LayerStore::open(dir.clone()).expect("a directory"));
    if let Ok(layer) = store.ingest(bytes) {
        let _ = View::stack(&store, &[layer]);
    }
    let _ = std::fs::remove_dir_all(dir);
});

fn tempdir() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("builder-fuzz-{}", std::process::id()))
}
