//! Whole charts from the disk, through this crate and through the real Helm: every template by bytes, every error by text, and
//! what `helm template` prints of them all.
//!
//! `HELM_CHARTS=DIR[:DIR...] cargo test -p helm --test public` compares every chart that it finds below these directories, each
//! with its own values and with every file of values in its `ci/` and beside it. Without it the repository's own charts are
//! taken. `HELM_CASES=20` adds so many changed values for each chart: switches turned, empty lists, tables and texts filled;
//! `HELM_SEED` asks for others, `HELM_SHOWN` says how many differences are printed.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use helm::cli::{TemplateArgs, ValueArgs, template};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

/// Functions that give something else each time.
const RANDOM: &[&str] = &["rand", "gen", "uuidv4", "now", "htpasswd", "bcrypt", "ago", "shuffle", "encryptAES"];

fn charts(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    if dir.join("Chart.yaml").is_file() {
        out.push(dir.to_path_buf());
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let skipped = ["target", ".git", "node_modules"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !path.is_symlink() && !skipped && depth < 12 {
            charts(&path, depth + 1, out);
        }
    }
}

/// The files of values that lie with a chart.
fn values_files(chart: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for dir in [chart.to_path_buf(), chart.join("ci"), chart.join("tests"), chart.join("examples")] {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        out.extend(entries.flatten().map(|e| e.path()).filter(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            (name.ends_with(".yaml") || name.ends_with(".yml")) && name.contains("values") && name != "values.yaml"
        }));
    }
    out.sort();
    out
}

/// What `template` prints.
fn our_output(root: &Path, values: &Path) -> Value {
    let args = TemplateArgs {
        name: Some("r".to_owned()),
        chart: root.to_path_buf(),
        namespace: Some("ns".to_owned()),
        values: ValueArgs { files: vec![values.to_path_buf()], ..ValueArgs::default() },
        include_crds: true,
        ..TemplateArgs::default()
    };
    match template(&args) {
        Ok(output) => json!({"ok": {"output": output.text}}),
        Err(e) => json!({"error": e.to_string().trim_end()}),
    }
}

fn their_output(program: &PathBuf, home: &Path, root: &Path, values: &Path) -> Value {
    let mut command = support::helm_command(program, home);
    command.args(["template", "r"]).arg(root).args(["-n", "ns", "--include-crds", "-f"]).arg(values);
    let output = command.output().expect("helm runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return json!({"ok": {"output": text(&output.stdout)}});
    }
    let said = text(&output.stderr);
    let error = said.find("Error: ").map_or(said.as_str(), |at| &said[at + "Error: ".len()..]);
    json!({"error": error.trim_end()})
}

/// The paths of all that can be changed in values, down to a depth.
fn places(values: &Value, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, Value)>) {
    match values {
        Value::Object(map) if !map.is_empty() && path.len() < 8 => {
            for (key, value) in map {
                path.push(key.clone());
                places(value, path, out);
                path.pop();
            }
        }
        value if !path.is_empty() => out.push((path.clone(), value.clone())),
        _ => {}
    }
}

/// Something else for a value: of its type, or now and then of another.
fn another(rng: &mut StdRng, value: &Value) -> Value {
    let any = [
        json!("text"),
        json!(7),
        json!(true),
        json!(["a", "b"]),
        json!({"a": "b"}),
        json!(null),
        json!([{"name": "n", "value": "v"}]),
    ];
    if rng.random_range(0..12) == 0 {
        return any.choose(rng).expect("some").clone();
    }
    match value {
        Value::Bool(b) => (!b).into(),
        Value::Number(_) => [json!(3), json!(0), json!(65536), json!(1.5)].choose(rng).expect("some").clone(),
        Value::String(_) => ["", "text", "10", "true", "{{ .Release.Name }}", "1.2.3", "a: b", "10Gi", "x\ny"]
            .choose(rng)
            .expect("some")
            .to_owned()
            .into(),
        Value::Array(_) => [
            json!([]),
            json!(["one", "two"]),
            json!([{"name": "n", "value": "v"}]),
            json!([{"key": "k", "operator": "Exists"}]),
        ]
        .choose(rng)
        .expect("some")
        .clone(),
        _ => [json!({}), json!({"k": "v", "n": 1}), json!({"a": {"b": "c"}}), json!({"cpu": "100m", "memory": "1Gi"})]
            .choose(rng)
            .expect("some")
            .clone(),
    }
}

/// Values with a few changes.
fn changed(rng: &mut StdRng, values: &Value) -> Value {
    let mut all = Vec::new();
    places(values, &mut Vec::new(), &mut all);
    let switches: Vec<_> = all.iter().filter(|(_, v)| v.is_boolean()).cloned().collect();
    let mut out = Value::Object(Map::new());
    for _ in 0..rng.random_range(1..7) {
        let from = if rng.random_bool(0.5) { &switches } else { &all };
        let Some((path, value)) = from.choose(rng) else { continue };
        let mut place = &mut out;
        for key in path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = place.as_object_mut().expect("a table").entry(key.clone()).or_insert(Value::Null);
        }
        *place = another(rng, value);
    }
    out
}

/// What looks made by chance, as one star.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let end = |word: &mut String, out: &mut String| {
        let chance = word.len() >= 10 && word.chars().any(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        out.push_str(if chance { "*" } else { word });
        word.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=') {
            word.push(c);
        } else {
            end(&mut word, &mut out);
            out.push(c);
        }
    }
    end(&mut word, &mut out);
    out
}

/// Where two texts begin to differ.
fn place(ours: &str, theirs: &str) -> String {
    let line = ours.split('\n').zip(theirs.split('\n')).take_while(|(a, b)| a == b).count();
    let at = |text: &str| text.split('\n').nth(line).unwrap_or("(its end)").chars().take(300).collect::<String>();
    format!("line {}\n    Helm {}\n    ours {}", line + 1, at(theirs), at(ours))
}

fn differences(name: &str, ours: &Value, theirs: &Value, random: bool, out: &mut Vec<String>) {
    // What a schema refuses comes in any order.
    let lines = |answer: &Value| {
        let mut lines: Vec<String> = answer["error"].as_str()?.trim_end().lines().map(str::to_owned).collect();
        lines.sort();
        Some(lines)
    };
    if ours == theirs || lines(ours).is_some_and(|ours| lines(theirs) == Some(ours)) {
        return;
    }
    let mask = |text: String| if random { masked(&text) } else { text };
    match (ours["ok"].as_object(), theirs["ok"].as_object()) {
        (Some(ours), Some(theirs)) => {
            let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
            keys.sort();
            keys.dedup();
            let text = |v: Option<&Value>| match v {
                None => "(absent)".to_owned(),
                Some(Value::String(s)) => s.clone(),
                Some(v) => serde_json::to_string_pretty(v).expect("JSON"),
            };
            for key in keys {
                let (ours, theirs) = (mask(text(ours.get(key))), mask(text(theirs.get(key))));
                if ours != theirs {
                    out.push(format!("{name} {key}: {}", place(&ours, &theirs)));
                }
            }
        }
        _ => out.push(format!("{name}\n    Helm {}\n    ours {}", brief(theirs), brief(ours))),
    }
}

fn brief(answer: &Value) -> String {
    match answer["error"].as_str() {
        Some(error) => format!("error: {error}"),
        None => "renders".to_owned(),
    }
}

/// Whether anything that a chart calls is random.
fn random(root: &Path) -> bool {
    fn files(dir: &Path, out: &mut String) {
        for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
            match path.is_dir() {
                true => files(&path, out),
                false => out.push_str(&std::fs::read_to_string(&path).unwrap_or_default()),
            }
        }
    }
    let mut all = String::new();
    files(root, &mut all);
    let words: std::collections::BTreeSet<&str> = all.split(|c: char| !c.is_alphanumeric()).collect();
    words.iter().any(|w| RANDOM.iter().any(|r| w == r || (*r == "rand" || *r == "gen") && w.starts_with(r)))
}

#[test]
fn charts_of_the_disk_render_as_helm_renders_them() {
    let (Some(python), Some(program)) = (support::python(), support::helm()) else { return };
    let named = std::env::var("HELM_CHARTS").ok();
    let dirs: Vec<PathBuf> = match &named {
        Some(dirs) => dirs.split(':').map(PathBuf::from).collect(),
        None => vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")],
    };
    let mut found = Vec::new();
    dirs.iter().for_each(|dir| charts(dir, 0, &mut found));
    let mut cases: BTreeMap<String, (PathBuf, Value)> = BTreeMap::new();
    for root in &found {
        cases.insert(root.display().to_string(), (root.clone(), json!({})));
        for file in values_files(root) {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(values @ Value::Object(_)) = goyaml::from_str(&text) {
                cases.insert(format!("{} with {}", root.display(), file.display()), (root.clone(), values));
            }
        }
    }
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let mut rng = StdRng::seed_from_u64(number("HELM_SEED", 0));
    for root in &found {
        let own = std::fs::read_to_string(root.join("values.yaml")).unwrap_or_default();
        let own = goyaml::from_str(&own).unwrap_or_default();
        for i in 0..number("HELM_CASES", 0) {
            let values = changed(&mut rng, &own);
            cases.insert(format!("{} changed {i}: {values}", root.display()), (root.clone(), values));
        }
    }
    assert!(!cases.is_empty(), "no chart below {dirs:?}");
    let asked: Vec<Value> =
        cases.values().map(|(root, values)| json!({"op": "files", "dir": root, "values": values})).collect();
    let theirs = support::judge(&python, &asked);
    assert_eq!(theirs.len(), cases.len(), "the judge answered every case");
    let home = tempfile::tempdir().expect("a directory");
    let mut different = Vec::new();
    let (mut same, mut rendered) = (0, 0);
    for ((name, (root, values)), theirs) in cases.iter().zip(&theirs) {
        let before = different.len();
        let random = random(root);
        differences(name, &support::rendered(helm::load::from_path(root), values), theirs, random, &mut different);
        let given = home.path().join("values.yaml");
        std::fs::write(&given, goyaml::to_string(values)).expect("values are written");
        let output = their_output(&program, home.path(), root, &given);
        rendered += usize::from(output.get("ok").is_some());
        differences(&format!("{name} template"), &our_output(root, &given), &output, random, &mut different);
        same += usize::from(different.len() == before);
    }
    let count = cases.len();
    println!("{} charts, {count} cases, {rendered} of them render, {same} the same", found.len());
    let shown = number("HELM_SHOWN", 30) as usize;
    let text: Vec<String> = different.iter().take(shown).cloned().collect();
    assert!(different.is_empty(), "{} different\n{}", different.len(), text.join("\n"));
}
