//! The annotation that tells a document's file while a program has it.
//!
//! Documents are written anew on the way, as Helm's are. Where it is not certain what Helm would write, the annotation is put into
//! the text and taken out of it by whole lines, so that the rest stays as it was; where that does not give what it should (the
//! document is read again to see), the document is written by its values.

use goyaml::anew::{Anew, Entry};
use serde_json::{Map, Value};

/// The annotation.
const KEY: &str = "postrenderer.helm.sh/postrender-filename";

/// Reads a document.
pub(super) fn read(document: &str) -> Result<Value, String> {
    goyaml::from_str(document).map_err(|e| e.to_string())
}

/// The items of a `List`, which stand for themselves where it is all that there is.
pub(super) fn items(documents: &[&str]) -> Option<Vec<String>> {
    let [document] = documents else { return None };
    let parsed = read(document).ok()?;
    if !matches!(parsed.get("kind").and_then(Value::as_str), Some("List" | "ResourceList")) {
        return None;
    }
    let values = parsed.get("items")?.as_array()?;
    let mut root = Anew::read(document);
    let entries = root.as_mut().and_then(Anew::entries);
    let found = entries.and_then(|entries| entries.iter().find(|entry| entry.key == "items"));
    match found.map(|entry| &entry.value) {
        Some(Anew::Sequence(_, items)) => Some(items.iter().map(|(_, item)| item.write()).collect()),
        _ => Some(values.iter().map(goyaml::to_string).collect()),
    }
}

fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// A document with its file's name.
pub(super) fn named(document: &str, parsed: &Value, path: &str) -> String {
    let Value::Object(_) = parsed else { return ended(document) };
    let mut wanted = parsed.clone();
    set(&mut wanted, path);
    let is_good = |text: &String| read(text).as_ref() == Ok(&wanted);
    let text = put_anew(document, path).filter(is_good).or_else(|| put(document, path).filter(is_good));
    text.unwrap_or_else(|| goyaml::to_string(&wanted))
}

/// The document written anew, with its name as the last annotation.
fn put_anew(document: &str, path: &str) -> Option<String> {
    let mut root = Anew::read(document)?;
    let entries = root.entries()?;
    if let Some(metadata) = entries.iter_mut().find(|entry| entry.key == "metadata" && entry.value.is_nothing()) {
        metadata.value = Anew::Mapping(false, Vec::new());
    }
    let metadata = entries_of(entries, "metadata")?;
    // Annotations that are none are made again, at the end.
    metadata.retain(|entry| entry.key != "annotations" || !entry.value.is_nothing());
    let annotations = entries_of(metadata, "annotations")?;
    if annotations.iter().any(|entry| entry.key == KEY) {
        return None;
    }
    annotations.push(Entry::new(KEY, Anew::Scalar(path.to_owned(), goyaml::tree::Style::SingleQuoted, None)));
    Some(root.write())
}

/// The entries of a mapping below a key, which is made where it is not there.
fn entries_of<'e>(entries: &'e mut Vec<Entry>, key: &str) -> Option<&'e mut Vec<Entry>> {
    let at = match entries.iter().position(|entry| entry.key == key) {
        Some(at) => at,
        None => {
            entries.push(Entry::new(key, Anew::Mapping(false, Vec::new())));
            entries.len() - 1
        }
    };
    entries.get_mut(at)?.value.entries()
}

/// The document written anew, without its name, and without what was there for it alone.
fn cut_anew(document: &str) -> Option<String> {
    let mut root = Anew::read(document)?;
    let entries = root.entries()?;
    let metadata = entries_of(entries, "metadata")?;
    let annotations = entries_of(metadata, "annotations")?;
    annotations.retain(|entry| entry.key != KEY);
    if annotations.is_empty() {
        metadata.retain(|entry| entry.key != "annotations");
    }
    if metadata.is_empty() {
        entries.retain(|entry| entry.key != "metadata");
    }
    Some(root.write())
}

/// Sets the annotation, with what is needed above it.
fn set(object: &mut Value, path: &str) {
    let Some(metadata) = table(object, "metadata") else { return };
    if let Some(Value::Object(annotations)) = table(metadata, "annotations") {
        annotations.insert(KEY.to_owned(), path.into());
    }
}

/// The table under a key, made where there is none.
fn table<'v>(object: &'v mut Value, key: &str) -> Option<&'v mut Value> {
    let below = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if below.is_null() {
        *below = Value::Object(Map::new());
    }
    Some(below)
}

/// The text with the line put in, where its form allows it.
fn put(document: &str, path: &str) -> Option<String> {
    let mut lines: Vec<String> = document.trim_end_matches('\n').split('\n').map(str::to_owned).collect();
    let value = if path.contains([':', '#', '\'', '"', ' ']) { Value::from(path).to_string() } else { path.to_owned() };
    let Some(metadata) = lines.iter().position(|line| line.trim_end() == "metadata:") else {
        lines.extend(["metadata:".to_owned(), "  annotations:".to_owned(), format!("    {KEY}: {value}")]);
        return Some(ended(&lines.join("\n")));
    };
    let first = (metadata + 1..lines.len()).find(|i| is_content(&lines[*i]))?;
    let step = indent(&lines[first]);
    if step == 0 {
        return None;
    }
    let pad = " ".repeat(step);
    let end = (first..lines.len()).find(|i| is_content(&lines[*i]) && indent(&lines[*i]) < step).unwrap_or(lines.len());
    let own = (first..end).find(|i| indent(&lines[*i]) == step && lines[*i].trim() == "annotations:");
    match own {
        Some(at) => {
            let below = (at + 1..end).find(|i| is_content(&lines[*i])).map_or(0, |i| indent(&lines[i]));
            let deeper = if below > step { below } else { step + 2 };
            lines.insert(at + 1, format!("{}{KEY}: {value}", " ".repeat(deeper)));
        }
        None => {
            lines.insert(first, format!("{pad}annotations:"));
            lines.insert(first + 1, format!("{pad}  {KEY}: {value}"));
        }
    }
    Some(ended(&lines.join("\n")))
}

/// A document's file, and the document without its name.
pub(super) fn taken(document: &str, parsed: &Value) -> (Option<String>, String) {
    let name = parsed.pointer("/metadata/annotations").and_then(|a| a.get(KEY)).and_then(Value::as_str);
    let Some(name) = name.map(str::to_owned) else {
        let anew = Anew::read(document).map(|root| root.write()).filter(|text| read(text).as_ref() == Ok(parsed));
        return (None, anew.unwrap_or_else(|| ended(document)));
    };
    let mut wanted = parsed.clone();
    unset(&mut wanted);
    let is_good = |text: &String| read(text).as_ref() == Ok(&wanted);
    let text = cut_anew(document).filter(is_good).or_else(|| cut(document).filter(is_good));
    (Some(name), text.unwrap_or_else(|| goyaml::to_string(&wanted)))
}

/// Takes the annotation away, and what was there for it alone.
fn unset(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(KEY);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    if metadata.is_empty()
        && let Some(object) = object.as_object_mut()
    {
        object.remove("metadata");
    }
}

/// The text without the line, and without a key that then has nothing below it.
fn cut(document: &str) -> Option<String> {
    let mut lines: Vec<&str> = document.trim_end_matches('\n').split('\n').collect();
    let at = lines.iter().position(|line| {
        let key = line.trim_start().trim_start_matches(['"', '\'']);
        key.starts_with(KEY)
    })?;
    let mut depth = indent(lines[at]);
    lines.remove(at);
    let mut above = at;
    for name in ["annotations:", "metadata:"] {
        above = above.checked_sub(1)?;
        let next = lines[above + 1..].iter().find(|line| is_content(line));
        let alone = lines[above].trim() == name && next.is_none_or(|line| indent(line) < depth);
        if !alone {
            break;
        }
        depth = indent(lines[above]);
        lines.remove(above);
    }
    Some(ended(&lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_put_in_and_taken_out_leaves_no_trace() {
        let documents = [
            (
                "# c\nkind: A\nmetadata:\n  name: x # n\nspec:\n  - a: 1\n",
                "# c\nkind: A\nmetadata:\n  name: x # n\nspec:\n- a: 1\n",
            ),
            (
                "kind: A\nmetadata:\n    name: x\n    annotations:\n        b: c\n",
                "kind: A\nmetadata:\n  name: x\n  annotations:\n    b: c\n",
            ),
            ("kind: A\nmetadata:\n  annotations:\n    \"helm.sh/hook\": test\n  name: x\n", ""),
            ("kind: A\n", ""),
            ("kind: A\nmetadata:\n  labels:\n    a: b\ndata:\n  text: |\n    metadata:\n      x: y\n", ""),
            // A comment whose place is not certain: the text stays.
            ("kind: A\nspec:\n    a: 1\n    # below\nmetadata:\n  name: x\n", ""),
        ];
        for (document, anew) in documents {
            let wanted = if anew.is_empty() { document } else { anew };
            let parsed = read(document).unwrap();
            let text = named(document, &parsed, "t/templates/a.yaml");
            assert!(text.contains("postrender-filename: "), "{text}");
            let (name, back) = taken(&text, &read(&text).unwrap());
            assert_eq!((name.as_deref(), back.as_str()), (Some("t/templates/a.yaml"), wanted));
        }
        // What is written in one line is written anew.
        let flow = "{kind: A, metadata: {name: x}}\n";
        let text = named(flow, &read(flow).unwrap(), "f");
        let (name, back) = taken(&text, &read(&text).unwrap());
        assert_eq!((name.as_deref(), read(&back).unwrap()), (Some("f"), read(flow).unwrap()));
    }
}
