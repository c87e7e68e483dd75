//! Workflow files that differ from a good one in one place.

use actions::workflow::{Severity, read};
use serde_json::{Value, json};

use crate::Dice;

/// What GitHub's package leaves to the service, and we refuse at once.
const CHECKED_LATER: &[&str] = &[
    "Expected format {org}/{repo}",
    "invalid value workflow reference",
    "Container image cannot be empty",
    "Required property is missing: steps",
    "A job needs at least one step",
    "needs at least one pattern",
    "only patterns that begin with '!'",
    "its -ignore form",
    "not a time zone",
    "Required property is missing: workflows",
    "No event triggers defined",
    "is not of its type",
    "Invalid cron",
    "the pattern '",
];
/// What the package cannot read and GitHub runs: mappings given by one expression, defaults that are numbers, contexts of credentials that
/// GitHub's documentation lists.
const OF_THE_PACKAGE: &[&str] = &[
    "The type 'MappingToken' was expected",
    "The type 'StringToken' was expected",
    "at least one job with no dependencies",
];

/// One of so many changes is tried; all of them take half an hour.
const EVERY: usize = 60;

/// A good file with nearly every key that there is.
fn good() -> Vec<Value> {
    vec![
        json!({
            "name": "n", "run-name": "r ${{ inputs.x }}",
            "on": {
                "push": {"branches": ["main", "!x"], "tags": ["v*"], "paths": ["src/**"]},
                "pull_request": {"types": ["opened"], "branches-ignore": ["x"], "paths-ignore": ["docs/**"]},
                "schedule": [{"cron": "0 4 * * *", "timezone": "Europe/Berlin"}],
                "workflow_dispatch": {"inputs": {"x": {"type": "choice", "description": "d", "required": true, "default": "a", "options": ["a", "b"]}, "y": {"type": "boolean", "default": true}, "z": {"type": "number", "default": 3}, "e": {"type": "environment"}}},
                "workflow_call": {"inputs": {"x": {"type": "string", "required": false, "default": "a", "description": "d"}}, "secrets": {"s": {"required": true, "description": "d"}}, "outputs": {"o": {"value": "${{ jobs.a.outputs.o }}", "description": "d"}}},
                "workflow_run": {"workflows": ["n"], "types": ["completed"], "branches": ["main"]},
                "repository_dispatch": {"types": ["one"]},
                "release": {"types": ["published"]}, "issues": null
            },
            "permissions": {"contents": "read", "id-token": "write", "models": "read", "packages": "none"},
            "env": {"A": "1", "B": 2, "C": true, "D": "${{ github.ref }}"},
            "defaults": {"run": {"shell": "bash", "working-directory": "w"}},
            "concurrency": {"group": "${{ github.ref }}", "cancel-in-progress": true},
            "jobs": {
                "a": {
                    "name": "job ${{ matrix.x }}", "runs-on": ["self-hosted", "${{ matrix.x }}"], "if": "github.ref == 'x'", "timeout-minutes": 5,
                    "continue-on-error": false, "permissions": "read-all",
                    "strategy": {"fail-fast": false, "max-parallel": 2, "matrix": {"x": [1, "b", {"c": 1}], "include": [{"x": 3, "y": 1}], "exclude": [{"x": 1}]}},
                    "container": {"image": "i", "env": {"A": "b"}, "ports": [80, "81:82"], "volumes": ["v:/v"], "options": "--cpus 1", "credentials": {"username": "u", "password": "${{ secrets.p }}"}},
                    "services": {"db": {"image": "postgres", "env": {"A": "${{ runner.os }}"}, "ports": ["5432:5432"], "options": "--health-cmd x", "volumes": ["v:/v"], "credentials": {"username": "u", "password": "p"}, "entrypoint": "e", "command": "c"}},
                    "env": {"E": "${{ secrets.x }}"},
                    "environment": {"name": "prod", "url": "${{ steps.s.outputs.u }}"},
                    "concurrency": "g-${{ matrix.x }}",
                    "outputs": {"o": "${{ steps.s.outputs.o }}"},
                    "defaults": {"run": {"shell": "sh", "working-directory": "${{ env.E }}"}},
                    "steps": [
                        {"uses": "actions/checkout@v4", "with": {"fetch-depth": 0}, "env": {"X": 1}},
                        {"id": "s", "name": "step ${{ env.E }}", "if": "always() && steps.s.outcome == 'x'", "run": "echo ${{ matrix.x }} ${{ hashFiles('x') }}", "shell": "bash", "working-directory": "w", "env": {"A": "${{ secrets.x }}"}, "continue-on-error": true, "timeout-minutes": 1},
                        {"id": "bg", "run": "sleep 1", "background": true},
                        {"uses": "./local", "id": "bg2", "background": true, "with": {"entrypoint": "e", "args": "a"}},
                        {"wait": ["bg", "bg2"], "name": "w"}, {"wait": "bg"}, {"wait-all": null, "continue-on-error": true}, {"cancel": "bg"},
                        {"parallel": [{"run": "x"}, {"uses": "docker://alpine:3"}]},
                        {"uses": "docker://alpine:3", "with": {"args": "x"}}
                    ]
                },
                "b": {"needs": ["a"], "if": "${{ !cancelled() && needs.a.result == 'success' }}", "uses": "./.github/workflows/x.yml", "with": {"x": 1, "y": true, "z": "${{ needs.a.outputs.o }}"}, "secrets": {"s": "${{ secrets.s }}"}, "strategy": {"matrix": {"v": [1]}}, "permissions": {"contents": "write"}, "concurrency": {"group": "c"}},
                "c": {"needs": "b", "uses": "o/r/.github/workflows/x.yml@v1", "secrets": "inherit"},
                "d": {"needs": ["a", "b"], "runs-on": {"group": "g", "labels": ["x"]}, "environment": "prod", "container": "alpine", "steps": [{"run": "x"}]}
            }
        }),
        json!({"on": ["push", "pull_request"], "concurrency": "x", "permissions": "write-all", "jobs": {"a": {"runs-on": "x", "snapshot": {"image-name": "i", "version": "1.*"}, "strategy": {"matrix": "${{ fromJSON('{}') }}"}, "steps": [{"run": "x"}]}}}),
        json!({"on": "push", "env": {}, "jobs": {"a": {"runs-on": "${{ github.ref }}", "snapshot": "i", "services": "${{ fromJSON('{}') }}", "container": "${{ github.ref }}", "env": "${{ fromJSON('{}') }}", "steps": [{"run": "x", "env": "${{ fromJSON('{}') }}", "with": null}]}}}),
    ]
}

fn replacements() -> Vec<Value> {
    vec![
        json!(null),
        json!(""),
        json!("text"),
        json!("a b"),
        json!("__x"),
        json!(0),
        json!(-1.5),
        json!(true),
        json!(false),
        json!("true"),
        json!("5"),
        json!([]),
        json!({}),
        json!(["x"]),
        json!([""]),
        json!([null]),
        json!([1]),
        json!([["x"]]),
        json!([{}]),
        json!({"x": "y"}),
        json!({"x": null}),
        json!({"": "y"}),
        json!({"x": ["y"]}),
        json!({"x": {"y": "z"}}),
        json!("${{ github.ref }}"),
        json!("${{ secrets.x }}"),
        json!("${{ matrix.x }}"),
        json!("${{ steps.x.outputs.y }}"),
        json!("${{ env.x }}"),
        json!("${{ needs.a.result }}"),
        json!("${{ inputs.x }}"),
        json!("${{ vars.x }}"),
        json!("${{ runner.os }}"),
        json!("${{ job.status }}"),
        json!("${{ strategy.job-index }}"),
        json!("${{ jobs.a.result }}"),
        json!("${{ always() }}"),
        json!("${{ success('a') }}"),
        json!("${{ failure() }}"),
        json!("${{ hashFiles('a') }}"),
        json!("${{ true }}"),
        json!("${{ 1 }}"),
        json!("${{ fromJSON('[]') }}"),
        json!("x ${{ github.ref }} y"),
        json!("${{ nope }}"),
        json!("${{ github.ref"),
        json!("${{ }}"),
        json!("${{ 1 + }}"),
        json!("x }} y"),
        json!("always()"),
        json!("secrets.x"),
        json!("nope"),
        json!(["${{ github.ref }}"]),
        json!({"${{ github.ref }}": "x"}),
        json!({"${{ insert }}": "${{ github }}"}),
        json!(1.0e300),
    ]
}

const KEYS: &[&str] = &[
    "x",
    "",
    "name",
    "id",
    "if",
    "run",
    "uses",
    "with",
    "env",
    "needs",
    "types",
    "branches",
    "tags",
    "paths",
    "on",
    "jobs",
    "steps",
    "runs-on",
    "description",
    "background",
    "wait",
    "wait-all",
    "cancel",
    "parallel",
    "branches-ignore",
    "tags-ignore",
    "paths-ignore",
    "timeout-minutes",
    "cancel-timeout-minutes",
    "continue-on-error",
    "shell",
    "working-directory",
    "queue",
    "deployment",
    "image",
    "${{ github.ref }}",
    "${{ insert }}",
    "Name",
    "__x",
    "1a",
    "a.b",
];

/// Every place of a file, as the keys and numbers that lead to it.
fn places(value: &Value, at: &mut Vec<Value>, out: &mut Vec<Vec<Value>>) {
    out.push(at.clone());
    let inner: Vec<(Value, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (json!(key), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (json!(i), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        at.push(key);
        places(value, at, out);
        at.pop();
    }
}

fn reach<'a>(root: &'a mut Value, place: &[Value]) -> &'a mut Value {
    place.iter().fold(root, |value, key| match key {
        Value::String(key) => &mut value[key.as_str()],
        index => &mut value[index.as_u64().unwrap() as usize],
    })
}

fn files() -> Vec<String> {
    let mut dice = Dice(88_172_645_463_325_252);
    let mut out = Vec::new();
    for file in good() {
        out.push(file.clone());
        let mut all = Vec::new();
        places(&file, &mut Vec::new(), &mut all);
        for place in &all[1..] {
            let (last, parent) = place.split_last().unwrap();
            let mut without = file.clone();
            match reach(&mut without, parent) {
                Value::Object(map) => drop(map.remove(last.as_str().unwrap())),
                Value::Array(items) => drop(items.remove(last.as_u64().unwrap() as usize)),
                _ => unreachable!("a place lies in a mapping or a sequence"),
            }
            out.push(without);
            for value in replacements() {
                if dice.below(EVERY) > 0 {
                    continue;
                }
                // What GitHub takes and the package does not: `inputs:` with nothing behind it.
                if value.is_null() && last == "inputs" {
                    continue;
                }
                let mut changed = file.clone();
                *reach(&mut changed, place) = value;
                out.push(changed);
            }
            for key in KEYS {
                if dice.below(EVERY) > 0 {
                    continue;
                }
                let mut more = file.clone();
                let Value::Object(map) = reach(&mut more, place) else { break };
                let value =
                    dice.pick(&[&json!("x"), &json!(null), &json!(["x"]), &json!(true), &json!({"x": "y"})]).clone();
                if !map.contains_key(*key) {
                    map.insert((*key).to_owned(), value);
                    out.push(more);
                }
            }
        }
    }
    out.iter().map(|file| serde_json::to_string_pretty(file).unwrap()).collect()
}

#[test]
fn generated_files_are_accepted_and_refused_as_by_github() {
    let files = files();
    let mut differences = Vec::new();
    let mut asked = 0;
    for batch in files.chunks(4_000) {
        let Some(answers) = crate::judged("workflows.mjs", &json!(batch)) else { return };
        for (text, answer) in batch.iter().zip(&answers) {
            asked += 1;
            let (_, findings) = read("w.yml", text);
            let ours: Vec<(usize, &str)> = findings
                .0
                .iter()
                .filter(|f| f.severity == Severity::Error)
                .map(|f| (f.at.line, f.message.as_str()))
                .collect();
            let theirs: Vec<(usize, &str)> = answer
                .as_array()
                .unwrap()
                .iter()
                .map(|e| (e["line"].as_u64().unwrap() as usize, e["message"].as_str().unwrap()))
                .collect();
            let beyond = |list: &[(usize, &str)], known: &[&str]| {
                list.iter().all(|(_, message)| known.iter().any(|part| message.contains(part)))
            };
            let alike = ours.is_empty() == theirs.is_empty()
                || theirs.is_empty() && beyond(&ours, CHECKED_LATER)
                || ours.is_empty() && beyond(&theirs, OF_THE_PACKAGE);
            if !alike {
                let lines: Vec<&str> = text.lines().collect();
                let show = |found: &[(usize, &str)]| {
                    found
                        .iter()
                        .take(2)
                        .map(|(line, message)| {
                            format!("{line}: {:?} {message}", lines.get(line.wrapping_sub(1)).unwrap_or(&"").trim())
                        })
                        .collect::<Vec<_>>()
                        .join(" | ")
                };
                let at = text.lines().zip(good_lines(text)).position(|(a, b)| a != b).unwrap_or(0);
                differences.push(format!(
                    "change near {at}: {:?}\n  here   {}\n  GitHub {}",
                    lines.get(at).unwrap_or(&"").trim(),
                    show(&ours),
                    show(&theirs)
                ));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {asked} differ:\n{}",
        differences.len(),
        differences.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn good_lines(text: &str) -> Vec<String> {
    let all: Vec<String> = good().iter().map(|file| serde_json::to_string_pretty(file).unwrap()).collect();
    let best = all.iter().max_by_key(|one| one.lines().zip(text.lines()).take_while(|(a, b)| a == b).count()).unwrap();
    best.lines().map(str::to_owned).collect()
}
