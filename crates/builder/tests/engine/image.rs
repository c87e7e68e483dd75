//! An image from a `docker save` archive, merged here independently of the builder's own code.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use oci::tar::{Entry, Kind, Reader};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub struct Image {
    files: BTreeMap<String, String>,
    config: Value,
    history: Value,
    layers: usize,
}

impl Image {
    pub fn read(archive: &Path) -> Image {
        let mut members: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut reader = Reader::new(std::fs::File::open(archive).expect("archive"));
        while let Some(entry) = reader.next_entry().expect("archive") {
            let name = text(&entry.path);
            match entry.kind {
                Kind::File => {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).expect("member");
                    members.insert(name, bytes);
                }
                Kind::Symlink => {
                    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
                    links.push((name, format!("{dir}/{}", text(&entry.link))));
                }
                _ => {}
            }
        }
        for (name, target) in links {
            let mut parts: Vec<&str> = Vec::new();
            for part in target.split('/').filter(|part| !part.is_empty()) {
                if part == ".." {
                    parts.pop();
                } else {
                    parts.push(part)
                }
            }
            let bytes = members.get(&parts.join("/")).cloned().expect("link target");
            members.insert(name, bytes);
        }
        let manifest: Value = serde_json::from_slice(&members["manifest.json"]).expect("manifest.json");
        let image = &manifest[0];
        let config: Value =
            serde_json::from_slice(&members[image["Config"].as_str().expect("Config")]).expect("config");
        let mut files = BTreeMap::new();
        let layers = image["Layers"].as_array().expect("Layers");
        for layer in layers {
            apply(&mut files, &members[layer.as_str().expect("path")]);
        }
        let history = config["history"].as_array().cloned().unwrap_or_default();
        let shape: Vec<Value> = history.iter().map(|one| json!({"by": normal(one["created_by"].as_str().unwrap_or_default()), "empty": one["empty_layer"] == json!(true), "author": one["author"]})).collect();
        let mut kept = config["config"].as_object().cloned().unwrap_or_default();
        kept.retain(|_, value| {
            !value.is_null()
                && *value != json!("")
                && *value != json!({})
                && *value != json!([])
                && *value != json!(false)
        });
        for name in ["author", "architecture", "os"] {
            if !config[name].is_null() && config[name] != json!("") {
                kept.insert(name.to_owned(), config[name].clone());
            }
        }
        Image { files, config: Value::Object(kept), history: Value::Array(shape), layers: layers.len() }
    }
}

/// An engine of 2022 leaves flags out, and writes the defaults of arguments where later ones write their values.
fn normal(by: &str) -> String {
    let words: Vec<&str> = by.split(' ').collect();
    match words.first() {
        Some(&"ARG") => {
            words.iter().map(|word| word.split('=').next().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        }
        Some(&("COPY" | "ADD")) => {
            words.into_iter().filter(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" ")
        }
        _ => by.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_start_matches("./").trim_matches('/').to_owned()
}

fn remove(files: &mut BTreeMap<String, String>, path: &str, itself: bool) {
    files.retain(|name, _| !(name.starts_with(&format!("{path}/")) || path.is_empty() || itself && name == path));
}

fn apply(files: &mut BTreeMap<String, String>, layer: &[u8]) {
    let plain: Box<dyn Read> = if layer.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::MultiGzDecoder::new(layer))
    } else {
        Box::new(layer)
    };
    let mut reader = Reader::new(plain);
    let mut entries: Vec<(Entry, String)> = Vec::new();
    while let Some(entry) = reader.next_entry().expect("layer") {
        let mut hasher = Sha256::new();
        std::io::copy(&mut reader, &mut hasher).expect("content");
        entries.push((entry, hex::encode(hasher.finalize())));
    }
    for (entry, _) in &entries {
        let path = text(&entry.path);
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            remove(files, dir, false);
        } else if let Some(gone) = name.strip_prefix(".wh.") {
            remove(files, &if dir.is_empty() { gone.to_owned() } else { format!("{dir}/{gone}") }, true);
        }
    }
    for (entry, sha) in entries {
        let path = text(&entry.path);
        if path.is_empty() || path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh.")) {
            continue;
        }
        let owner = format!("{:o} {}:{}", entry.mode & 0o7777, entry.uid, entry.gid);
        let attributes: String =
            entry.xattrs.iter().map(|(name, value)| format!(" {}={}", text(name), hex::encode(value))).collect();
        let line = match entry.kind {
            Kind::Directory => format!("dir {owner}{attributes}"),
            Kind::File => format!("file {owner} {} {sha}{attributes}", entry.size),
            Kind::HardLink => files.get(&text(&entry.link)).cloned().expect("hard link target"),
            Kind::Symlink => format!("link {}:{} -> {}", entry.uid, entry.gid, text_raw(&entry.link)),
            Kind::Char | Kind::Block => format!("device {owner} {:?}", entry.device),
            Kind::Fifo => format!("fifo {owner}"),
        };
        if entry.kind != Kind::Directory {
            remove(files, &path, false);
        }
        files.insert(path, line);
    }
}

fn text_raw(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What differs, as lines; `None` when nothing does.
pub fn difference(theirs: &Image, ours: &Image, shape: bool) -> Option<String> {
    let mut out = String::new();
    let names: std::collections::BTreeSet<&String> = theirs.files.keys().chain(ours.files.keys()).collect();
    for name in names {
        let (a, b) = (theirs.files.get(name), ours.files.get(name));
        if a != b {
            out.push_str(&format!("/{name}\n  docker {a:?}\n  ours   {b:?}\n"));
        }
    }
    if theirs.config != ours.config {
        out.push_str(&format!("config\n  docker {}\n  ours   {}\n", theirs.config, ours.config));
    }
    if shape {
        let empty = Vec::new();
        let (a, b) = (theirs.history.as_array().unwrap_or(&empty), ours.history.as_array().unwrap_or(&empty));
        for at in 0..a.len().max(b.len()) {
            if a.get(at) != b.get(at) {
                out.push_str(&format!(
                    "history {at}\n  docker {:?}\n  ours   {:?}\n",
                    a.get(at).map(Value::to_string),
                    b.get(at).map(Value::to_string)
                ));
            }
        }
        if theirs.layers != ours.layers {
            out.push_str(&format!("layers: docker {}, ours {}\n", theirs.layers, ours.layers));
        }
    }
    (!out.is_empty()).then_some(out)
}
