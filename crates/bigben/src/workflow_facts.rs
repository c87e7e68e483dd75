//! What can be read off workflow files without running them: which secrets they use where, which values a matrix has, which password logs in
//! to the image registry.

use std::collections::{BTreeMap, BTreeSet};

use delivery::Stage;
use regex::Regex;
use serde_json::Value;

/// The facts of one workflow file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name; its path where it has none.
    pub name: String,
    /// Events that start it.
    pub events: BTreeSet<String>,
    /// Patterns of the files whose change by a push starts it; none where any change does.
    pub push_paths: Vec<String>,
    /// Workflows whose completion starts it.
    pub follows: BTreeSet<String>,
    /// Each secret, with the environments of the jobs that use it (`None` for jobs without one).
    pub secrets: BTreeMap<String, BTreeSet<Option<String>>>,
    /// The values of each matrix axis, by expression such as `matrix.app`.
    pub axes: BTreeMap<String, BTreeSet<String>>,
    /// Secrets that are a registry's password.
    pub passwords: BTreeSet<String>,
    /// What each job does for a delivery, by the job's id.
    pub stages: BTreeMap<String, Stage>,
}

/// Reads a workflow file; nothing for one that is not YAML, which the engine reports.
pub fn read(path: &str, text: &str) -> Facts {
    let Ok(workflow) = goyaml::from_str(text) else { return Facts::default() };
    let mut facts = Facts { name: workflow["name"].as_str().unwrap_or(path).to_owned(), ..Facts::default() };
    // `on` is a boolean in YAML 1.1.
    let on = if workflow["on"].is_null() { &workflow["true"] } else { &workflow["on"] };
    match on {
        Value::String(event) => drop(facts.events.insert(event.clone())),
        Value::Array(events) => {
            facts.events.extend(events.iter().filter_map(|event| event.as_str().map(str::to_owned)))
        }
        Value::Object(events) => facts.events.extend(events.keys().cloned()),
        _ => {}
    }
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    facts.push_paths = texts(&on["push"]["paths"]);
    facts.follows = texts(&on["workflow_run"]["workflows"]).into_iter().collect();
    for (id, job) in workflow["jobs"].as_object().into_iter().flatten() {
        facts.take_job(job);
        facts.stages.insert(id.clone(), stage(&workflow, job));
    }
    facts
}

/// A job that makes or pushes images builds, one whose token can write the repository bumps, any other checks.
fn stage(workflow: &Value, job: &Value) -> Stage {
    let steps = job["steps"].to_string();
    let builds = ["docker build", "docker push", "docker buildx", "docker/build-push-action"];
    let permissions = if job["permissions"].is_null() { &workflow["permissions"] } else { &job["permissions"] };
    if builds.iter().any(|words| steps.contains(words)) {
        Stage::Build
    } else if permissions["contents"] == "write" || permissions == "write-all" {
        Stage::Bump
    } else {
        Stage::Check
    }
}

impl Facts {
    fn take_job(&mut self, job: &Value) {
        let environment = &job["environment"];
        let environment = environment.as_str().or_else(|| environment["name"].as_str());
        let environment = environment.filter(|name| !name.contains("${{")).map(str::to_owned);
        for secret in secrets_in(&job.to_string()) {
            self.secrets.entry(secret).or_default().insert(environment.clone());
        }
        for (axis, values) in job["strategy"]["matrix"].as_object().into_iter().flatten() {
            if matches!(axis.as_str(), "include" | "exclude") {
                continue;
            }
            let texts = values.as_array().into_iter().flatten().filter_map(|value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            self.axes.entry(format!("matrix.{axis}")).or_default().extend(texts);
        }
        for step in job["steps"].as_array().into_iter().flatten() {
            let is_login = step["uses"].as_str().is_some_and(|uses| uses.starts_with("docker/login-action@"));
            if is_login && let Some(password) = step["with"]["password"].as_str() {
                self.passwords.extend(secrets_in(password));
            }
            if let Some(script) = step["run"].as_str().filter(|script| script.contains("docker login")) {
                let given = script.lines().filter(|line| line.contains("docker login"));
                self.passwords.extend(given.flat_map(|line| password_in(line, step)));
            }
        }
    }
}

/// The secret behind `docker login`'s password: written there, or in a variable of the step.
fn password_in(line: &str, step: &Value) -> Vec<String> {
    let Ok(pattern) = Regex::new(r#"(?:-p|--password)[ =]+(\S+)|echo +(\S+) *\|"#) else { return Vec::new() };
    let Some(found) = pattern.captures(line) else { return Vec::new() };
    let written = found.get(1).or_else(|| found.get(2)).map_or("", |part| part.as_str());
    let direct = secrets_in(line);
    let variable = written.trim_matches(['"', '\'']).trim_start_matches(['$', '{']).trim_end_matches('}');
    match step["env"][variable].as_str() {
        Some(value) => secrets_in(value),
        None => direct,
    }
}

fn secrets_in(text: &str) -> Vec<String> {
    let Ok(pattern) = Regex::new(r"secrets\.([A-Za-z_][A-Za-z0-9_]*)") else { return Vec::new() };
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<T: Ord + Clone>(values: &[T]) -> BTreeSet<T> {
        values.iter().cloned().collect()
    }

    #[test]
    fn facts_of_a_workflow() {
        let facts = read(
            "w.yaml",
            r#"
on:
  workflow_run: {workflows: [test]}
  push: {paths: ["src/**"]}
jobs:
  image:
    environment: {name: staging}
    strategy: {matrix: {app: [web, api], include: [{app: x}]}}
    steps:
      - uses: docker/login-action@v3
        with: {username: "${{ secrets.U }}", password: "${{ secrets.P }}"}
      - run: echo "$TOKEN" | docker login -u me --password-stdin
        env: {TOKEN: "${{ secrets.Q }}"}
"#,
        );
        assert_eq!(facts.name, "w.yaml");
        assert_eq!(facts.events, set(&["push".to_owned(), "workflow_run".to_owned()]));
        assert_eq!(facts.follows, set(&["test".to_owned()]));
        assert_eq!(facts.push_paths, ["src/**"]);
        assert_eq!(facts.axes["matrix.app"], set(&["web".to_owned(), "api".to_owned()]));
        assert_eq!(facts.passwords, set(&["P".to_owned(), "Q".to_owned()]));
        assert_eq!(facts.secrets["U"], set(&[Some("staging".to_owned())]));
        assert_eq!(facts.stages["image"], Stage::Check);
    }

    #[test]
    fn jobs_by_what_they_do() {
        let facts = read(
            "w.yaml",
            "on: push\npermissions: {contents: read}\njobs:\n  a: {steps: [{run: docker build .}]}\n  \
             b: {permissions: {contents: write}, steps: [{run: ./bump}]}\n  c: {steps: [{run: make test}]}\n",
        );
        let stages: Vec<Stage> = facts.stages.into_values().collect();
        assert_eq!(stages, [Stage::Build, Stage::Bump, Stage::Check]);
    }
}
