//! An object and a patch, as two JSON texts with a zero byte between: every kind of patch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use objects::{GroupVersionKind, patch, schema};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some(at) = bytes.iter().position(|b| *b == 0) else { return };
    let (Ok(object), Ok(document)) =
        (serde_json::from_slice::<Value>(&bytes[..at]), serde_json::from_slice::<Value>(&bytes[at + 1..]))
    else {
        return;
    };
    let _ = patch::json_patch(&object, &document);
    let merged = patch::merge_patch(&object, &document);
    assert_eq!(patch::merge_patch(&merged, &document), merged, "a merge patch is applied once");
    let pod = schema::builtin().kind(&GroupVersionKind::new("", "v1", "Pod"));
    let _ = patch::strategic_merge(&object, &document, pod);
});
