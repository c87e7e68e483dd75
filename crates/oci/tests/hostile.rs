//! Layers made of anything: unpacking never panics and never touches what is outside.

use std::fs;
use std::path::Path;

use oci::layer::{Compression, Limits, OverlayXattr, Times, UnpackOptions, Whiteouts, Writer, unpack};
use oci::tar::{Entry, Kind};
use proptest::prelude::*;

/// Names that collide, climb, hide and loop.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("l"),
        Just(".."),
        Just("."),
        Just(""),
        Just(".wh.a"),
        Just(".wh.b"),
        Just(".wh..wh..opq"),
        Just(".wh."),
        Just(".wh..."),
        Just("dev"),
        Just("outside"),
        Just("canary"),
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn target() -> impl Strategy<Value = String> {
    let fixed = prop_oneof![
        Just("/".to_owned()),
        Just("..".into()),
        Just("../..".into()),
        Just("../outside".into()),
        Just("/outside".into()),
        Just("a".into()),
        Just("l".into()),
        Just("../../../../etc/passwd".into()),
        Just("OUTSIDE".into()),
        Just("OUTSIDE/canary".into()),
    ];
    prop_oneof![fixed, name()]
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let kind = prop_oneof![
        4 => Just(Kind::File), 3 => Just(Kind::Directory), 4 => Just(Kind::Symlink), 3 => Just(Kind::HardLink),
        1 => Just(Kind::Char), 1 => Just(Kind::Block), 1 => Just(Kind::Fifo),
    ];
    (name(), target(), kind, 0..0o7777u32, proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(name, target, kind, mode, data)| {
            let data = if kind == Kind::File { data } else { Vec::new() };
            let mut entry = Entry::new(name, kind, mode);
            entry.size = data.len() as u64;
            if matches!(kind, Kind::Symlink | Kind::HardLink) {
                entry.link = target.into_bytes();
            }
            (entry, data)
        },
    )
}

fn archive(entries: &[(Entry, Vec<u8>)], outside: &Path) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Compression::None, Times::Keep).expect("writer");
    for (entry, data) in entries {
        let link = String::from_utf8_lossy(&entry.link).replace("OUTSIDE", &outside.display().to_string());
        let entry = Entry { link: link.into_bytes(), ..entry.clone() };
        writer.append(&entry, &data[..]).expect("append");
    }
    writer.finish().expect("finish").0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_leaves(layers in proptest::collection::vec(proptest::collection::vec(entry(), 1..12), 1..3), overlay in any::<bool>()) {
        let place = tempfile::tempdir().expect("tempdir");
        let (dest, outside) = (place.path().join("dest"), place.path().join("outside"));
        fs::create_dir(&dest).expect("dest");
        fs::create_dir(&outside).expect("outside");
        fs::write(outside.join("canary"), "alive").expect("canary");
        let whiteouts = if overlay { Whiteouts::Overlay(OverlayXattr::User) } else { Whiteouts::Apply };
        let limits = Limits { bytes: 1 << 20, entries: 1000 };
        let options = UnpackOptions { whiteouts, limits, owners: false, ..UnpackOptions::default() };
        for layer in &layers {
            // What is refused is refused; what is taken stays inside.
            let _ = unpack(&archive(layer, &outside)[..], &dest, &options);
        }
        let left: Vec<_> = fs::read_dir(place.path()).expect("place").map(|e| e.expect("entry").file_name()).collect();
        prop_assert_eq!(left.len(), 2);
        let left: Vec<_> = fs::read_dir(&outside).expect("outside").map(|e| e.expect("entry").file_name()).collect();
        prop_assert_eq!(left, ["canary"]);
        prop_assert_eq!(fs::read(outside.join("canary")).expect("canary"), b"alive");
        let metadata = fs::symlink_metadata(outside.join("canary")).expect("canary");
        prop_assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 1);
        oci::layer::remove_tree(&dest).expect("removed, whatever its modes");
        prop_assert!(!dest.exists());
    }

    #[test]
    fn damage_is_an_error(entries in proptest::collection::vec(entry(), 1..6), at in any::<prop::sample::Index>(), byte in any::<u8>(), gzip in any::<bool>()) {
        let place = tempfile::tempdir().expect("tempdir");
        let mut bytes = archive(&entries, place.path());
        if gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &bytes).expect("compress");
            bytes = encoder.finish().expect("compress");
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let limits = Limits { bytes: 1 << 20, entries: 1000 };
        let options = UnpackOptions { limits, owners: false, ..UnpackOptions::default() };
        let dest = place.path().join("dest");
        fs::create_dir(&dest).expect("dest");
        let _ = unpack(&bytes[..], &dest, &options);
        oci::layer::remove_tree(&dest).expect("removed");
    }
}
