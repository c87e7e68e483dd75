//! Any bytes as a manifest, index or configuration; any text as a reference, digest or endpoint map.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Digest, Document, EndpointMap, ImageConfig, Reference, media};

fuzz_target!(|bytes: &[u8]| {
    for declared in [None, Some(media::OCI_MANIFEST), Some(media::OCI_INDEX), Some(media::DOCKER_MANIFEST)] {
        if let Ok(document) = Document::parse(bytes, declared) {
            let _ = (document.children().len(), document.subject(), document.artifact_type(), document.media_type());
        }
    }
    if let Ok(config) = config(bytes) {
        let _ = config.rootfs.diff_ids.len();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = Reference::parse(text) {
        // What is written is read as the same.
        assert_eq!(Reference::parse(&reference.to_string()).ok(), Some(reference));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(map) = EndpointMap::parse(text) {
        let _ = map.resolve("docker.io");
    }
});

fn config(bytes: &[u8]) -> Result<ImageConfig, serde_json::Error> {
    serde_json::from_slice(bytes)
}
