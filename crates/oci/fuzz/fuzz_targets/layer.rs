//! Any bytes as a layer, unpacked: nothing is written outside, and nothing outside is changed.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use oci::layer::{Limits, OverlayXattr, UnpackOptions, Whiteouts, remove_tree, unpack};

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&outside, "untouched").expect("a file");
    let kinds = [Whiteouts::Apply, Whiteouts::Overlay(OverlayXattr::User)];
    for whiteouts in kinds {
        fs::create_dir(&inside).expect("a directory");
        let limits = Limits { bytes: 1 << 20, entries: 1000 };
        let options = UnpackOptions { whiteouts, owners: false, limits, ..UnpackOptions::default() };
        let _ = unpack(bytes, &inside, &options);
        assert_eq!(fs::read(&outside).expect("still there"), b"untouched");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2);
        remove_tree(&inside).expect("removed");
    }
});
