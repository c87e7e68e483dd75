//! Layers written, unpacked, and refused when hostile.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use oci::layer::{
    Compression, Error, Limits, OverlayXattr, Times, TreeOptions, UnpackOptions, Whiteouts, Writer, unpack,
};
use oci::tar::{Entry, Kind};

fn layer(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Compression::None, Times::Keep).expect("writer");
    for (entry, data) in entries {
        let entry = Entry { size: if entry.kind == Kind::File { data.len() as u64 } else { 0 }, ..entry.clone() };
        writer.append(&entry, *data).expect("append");
    }
    writer.finish().expect("finish").0
}

type Case<'a> = (&'a str, Vec<(Entry, &'a [u8])>);

fn apply() -> UnpackOptions {
    UnpackOptions { owners: false, ..UnpackOptions::default() }
}

fn overlay() -> UnpackOptions {
    UnpackOptions { whiteouts: Whiteouts::Overlay(OverlayXattr::User), ..apply() }
}

/// A directory with a canary beside the destination.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("dest")).expect("dest");
        fs::create_dir(dir.path().join("outside")).expect("outside");
        fs::write(dir.path().join("outside/canary"), "alive").expect("canary");
        Self(dir)
    }

    fn dest(&self) -> std::path::PathBuf {
        self.0.path().join("dest")
    }

    fn assert_untouched(&self, case: &str) {
        let outside = self.0.path().join("outside");
        assert_eq!(fs::read_dir(&outside).expect("outside").count(), 1, "{case}");
        assert_eq!(fs::read(outside.join("canary")).expect("canary"), b"alive", "{case}");
        assert_eq!(fs::symlink_metadata(outside.join("canary")).expect("canary").nlink(), 1, "{case}");
        assert_eq!(fs::read_dir(self.0.path()).expect("place").count(), 2, "{case}");
    }
}

#[test]
fn round_trip_of_a_tree_is_reproducible() {
    let source = tempfile::tempdir().expect("tempdir");
    let root = source.path();
    fs::create_dir_all(root.join("a/b")).expect("dirs");
    fs::write(root.join("a/b/file"), vec![7; 200_000]).expect("file");
    fs::set_permissions(root.join("a/b/file"), fs::Permissions::from_mode(0o4755)).expect("mode");
    fs::hard_link(root.join("a/b/file"), root.join("z")).expect("link");
    symlink("../nowhere", root.join("a/link")).expect("symlink");
    fs::write(root.join("x".repeat(150)), "long").expect("file");
    fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o555)).expect("mode");

    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let make = || {
            let mut writer = Writer::new(Vec::new(), compression, Times::Fixed(1000)).expect("writer");
            let options = TreeOptions { owner: Some((0, 0)), ..TreeOptions::default() };
            writer.append_tree(root, &options).expect("tree");
            writer.finish().expect("finish")
        };
        let (bytes, made) = make();
        assert_eq!(make().0, bytes, "same input, same bytes");
        let dest = tempfile::tempdir().expect("tempdir");
        let unpacked = unpack(&bytes[..], dest.path(), &apply()).expect("unpack");
        assert_eq!((&unpacked.diff_id, &unpacked.digest), (&made.diff_id, &made.digest));
        let at = |name: &str| dest.path().join(name);
        assert_eq!(fs::read(at("z")).expect("z"), vec![7; 200_000]);
        let metadata = fs::metadata(at("z")).expect("z");
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink(), metadata.mtime()), (0o4755, 2, 1000));
        assert_eq!(fs::metadata(at("a/b")).expect("dir").mode() & 0o7777, 0o555);
        assert_eq!(fs::metadata(at("a/b")).expect("dir").mtime(), 1000);
        assert_eq!(fs::read_link(at("a/link")).expect("link"), Path::new("../nowhere"));
        assert!(at(&"x".repeat(150)).exists());
        oci::layer::remove_tree(dest.path()).expect("removed");
        fs::create_dir(dest.path()).expect("for tempdir");
    }
}

#[test]
fn hostile_archives_are_refused_and_nothing_leaves() {
    let outside = |place: &Place, name: &str| place.0.path().join("outside").join(name).as_os_str().as_bytes().to_vec();
    let file = |name: &str| (Entry::file(name, 0), &b"evil"[..]);
    let link = |name: &str, to: &[u8]| (Entry::symlink(name, to), &b""[..]);
    let hard = |name: &str, to: &[u8]| (Entry::hard_link(name, to), &b""[..]);
    let place = Place::new();
    let canary = outside(&place, "canary");
    let out = outside(&place, "");
    let device = |kind, major, minor| (Entry { device: (major, minor), ..Entry::new("disk", kind, 0o666) }, &b""[..]);
    let mut commanding = Entry::directory("d");
    commanding.xattrs.insert(b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec());
    let deep = "d/".repeat(300);
    let cases: Vec<Case> = vec![
        ("dot dot", vec![file("../outside/evil")]),
        ("dot dot inside", vec![file("a/../../outside/evil")]),
        ("hard link out", vec![hard("x", b"../outside/canary")]),
        ("hard link absolute", vec![hard("x", &canary)]),
        ("hard link to itself", vec![file("x"), hard("x", b"x")]),
        ("hard link to directory", vec![(Entry::directory("d"), b""), hard("x", b"d")]),
        ("hard link through link", vec![link("l", b"../outside"), hard("x", b"l/canary")]),
        ("loop", vec![link("a", b"b"), link("b", b"a"), file("a/x")]),
        ("file on the way", vec![file("a"), file("a/b")]),
        ("block device", vec![device(Kind::Block, 8, 0)]),
        ("char device", vec![device(Kind::Char, 1, 3)]),
        ("whiteout device", vec![device(Kind::Char, 0, 0)]),
        ("whiteout of nothing", vec![file("a/.wh.")]),
        ("whiteout of dot", vec![file("a/.wh..")]),
        ("whiteout of dot dot", vec![file("a/.wh...")]),
        ("whiteout on the way", vec![file(".wh.a/b")]),
        ("overlay attribute", vec![(commanding, b"")]),
        ("deep", vec![(Entry::directory(deep.as_str()), b"")]),
    ];
    for (case, entries) in &cases {
        for options in [apply(), overlay()] {
            let place = Place::new();
            let result = unpack(&layer(entries)[..], &place.dest(), &options);
            assert!(matches!(result, Err(Error::Refused { .. })), "{case}: {result:?}");
            place.assert_untouched(case);
        }
    }
    // Not refused, but kept inside: links are read as the container would.
    let inside: Vec<Case> = vec![
        ("absolute link", vec![link("l", &out), file("l/evil")]),
        ("climbing link", vec![link("l", b"../../../../outside"), file("l/evil")]),
        ("link chain", vec![link("a", b"/b"), link("b", b"../.."), file("a/evil")]),
        ("absolute name", vec![file("/evil")]),
        ("whiteout through link", vec![link("l", &out), file("l/.wh.canary")]),
        ("opaque through link", vec![link("l", &out), file("l/.wh..wh..opq")]),
        ("directory over link", vec![link("l", &out), (Entry::directory("l"), b""), file("l/evil")]),
        ("file over link", vec![link("l", &canary), file("l")]),
        ("device below dev", vec![(Entry { device: (1, 3), ..Entry::new("dev/null", Kind::Char, 0o666) }, b"")]),
    ];
    for (case, entries) in &inside {
        for options in [apply(), overlay()] {
            let place = Place::new();
            if let Err(e) = unpack(&layer(entries)[..], &place.dest(), &options) {
                panic!("{case}: {e:?}");
            }
            place.assert_untouched(case);
        }
    }
}

#[test]
fn lying_sizes_and_bombs_are_refused() {
    let place = Place::new();
    let whole = layer(&[(Entry::file("f", 0), &[1; 5000])]);
    let cut = unpack(&whole[..2000], &place.dest(), &apply());
    assert!(cut.is_err());

    let limits = Limits { bytes: 1 << 20, entries: 100 };
    let limited = UnpackOptions { limits, ..apply() };
    let mut writer = Writer::new(Vec::new(), Compression::Gzip(9), Times::Fixed(0)).expect("writer");
    writer.append(&Entry::file("bomb", 64 << 20), io::repeat(0)).expect("append");
    let (bomb, _) = writer.finish().expect("finish");
    assert!(bomb.len() < 100_000);
    let place = Place::new();
    assert!(matches!(unpack(&bomb[..], &place.dest(), &limited), Err(Error::Limit { what: "bytes", .. })));
    assert_eq!(fs::read_dir(place.dest()).expect("dest").count(), 0);

    let many: Vec<(Entry, &[u8])> = (0..200).map(|n| (Entry::file(format!("{n}"), 0), &b""[..])).collect();
    assert!(matches!(unpack(&layer(&many)[..], &place.dest(), &limited), Err(Error::Limit { what: "entries", .. })));

    // After the end of the archive, more zeros than any padding.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::copy(&mut io::repeat(0).take(20 << 20), &mut encoder).expect("compress");
    let zeros = encoder.finish().expect("compress");
    assert!(matches!(unpack(&zeros[..], &place.dest(), &limited), Err(Error::Limit { .. })));

    let wrong = UnpackOptions { diff_id: Some(oci::Digest::of(b"other")), ..apply() };
    assert!(matches!(unpack(&whole[..], &Place::new().dest(), &wrong), Err(Error::DiffId { .. })));
}

#[test]
fn whiteouts_apply_to_layers_below_only() {
    let place = Place::new();
    let below = layer(&[
        (Entry::file("gone", 0), b"1"),
        (Entry::file("dir/old", 0), b"1"),
        (Entry::file("dir/kept", 0), b"1"),
        (Entry::file("hidden/a/b", 0), b"1"),
    ]);
    unpack(&below[..], &place.dest(), &apply()).expect("below");
    let above = layer(&[
        (Entry::file("dir/new", 0), b"2"),
        (Entry::file("dir/.wh.old", 0), b""),
        (Entry::file("hidden/fresh", 0), b"2"),
        (Entry::file("hidden/.wh..wh..opq", 0), b""),
        (Entry::file(".wh.gone", 0), b""),
        (Entry::file(".wh.never", 0), b""),
        (Entry::file(".wh..wh.plnk", 0), b""),
    ]);
    unpack(&above[..], &place.dest(), &apply()).expect("above");
    let exists = |name: &str| place.dest().join(name).exists();
    for (name, expected) in [
        ("gone", false),
        ("dir/old", false),
        ("dir/kept", true),
        ("dir/new", true),
        ("hidden/a", false),
        ("hidden/fresh", true),
        ("never", false),
    ] {
        assert_eq!(exists(name), expected, "{name}");
    }
}

#[test]
fn whiteouts_become_overlay_whiteouts_and_come_back() {
    let place = Place::new();
    let bytes = layer(&[
        (Entry::directory("dir"), b""),
        (Entry::file("dir/.wh..wh..opq", 0), b""),
        (Entry::file("dir/new", 0), b"2"),
        (Entry::file(".wh.gone", 0), b""),
        // A whiteout, then a directory in its place: it must hide what is below.
        (Entry::file(".wh.replaced", 0), b""),
        (Entry::directory("replaced"), b""),
    ]);
    unpack(&bytes[..], &place.dest(), &overlay()).expect("unpack");
    let gone = fs::symlink_metadata(place.dest().join("gone")).expect("whiteout");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0 || gone.len() == 0);
    assert!(place.dest().join("replaced").is_dir());

    let mut writer = Writer::new(Vec::new(), Compression::None, Times::Fixed(0)).expect("writer");
    let options = TreeOptions { overlay_upper: true, ..TreeOptions::default() };
    writer.append_tree(&place.dest(), &options).expect("tree");
    let (again, _) = writer.finish().expect("finish");
    let mut names = Vec::new();
    let mut reader = oci::tar::Reader::new(&again[..]);
    while let Some(entry) = reader.next_entry().expect("entry") {
        names.push(String::from_utf8(entry.path).expect("text"));
    }
    let expected = ["dir/", "dir/.wh..wh..opq", "dir/new", ".wh.gone", "replaced/", "replaced/.wh..wh..opq"];
    assert_eq!(names, expected);
}

#[test]
fn implied_directories_and_links_look_at_the_layers_below() {
    let below = Place::new();
    let bytes =
        layer(&[(Entry { mode: 0o1777, ..Entry::directory("tmp") }, b""), (Entry::file("tmp/target", 0), b"content")]);
    unpack(&bytes[..], &below.dest(), &apply()).expect("below");
    let place = Place::new();
    let options = UnpackOptions { parents: vec![below.dest()], ..overlay() };
    let bytes = layer(&[(Entry::file("tmp/x", 0), b""), (Entry::hard_link("copy", "tmp/target"), b"")]);
    unpack(&bytes[..], &place.dest(), &options).expect("unpack");
    assert_eq!(fs::metadata(place.dest().join("tmp")).expect("tmp").mode() & 0o7777, 0o1777);
    let mut text = String::new();
    fs::File::open(place.dest().join("copy")).expect("copy").read_to_string(&mut text).expect("read");
    assert_eq!(text, "content");
}
