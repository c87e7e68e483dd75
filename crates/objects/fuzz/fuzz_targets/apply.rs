//! Configurations applied one after another, as JSON texts with a zero byte between: nothing that is applied twice changes
//! anything the second time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use objects::ssa::{self, Writer};
use objects::{GroupVersionKind, schema};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    let kind = schema::builtin().kind(&GroupVersionKind::new("apps", "v1", "Deployment"));
    let mut live = Value::Null;
    for (i, text) in bytes.split(|b| *b == 0).take(4).enumerate() {
        let Ok(Value::Object(mut config)) = serde_json::from_slice(text) else { continue };
        config.insert("apiVersion".into(), "apps/v1".into());
        config.insert("kind".into(), "Deployment".into());
        config.insert("metadata".into(), json!({"name": "d"}));
        let config = Value::Object(config);
        let name = format!("m{}", i % 2);
        let writer = Writer { name: &name, api_version: "apps/v1", subresource: "", now: "2024-01-01T00:00:00Z" };
        let Ok(merged) = ssa::apply(&live, &config, kind, writer, i % 2 == 1) else { continue };
        if let Ok(again) = ssa::apply(&merged, &config, kind, writer, false) {
            assert_eq!(again, merged, "applied twice");
        }
        live = merged;
    }
});
