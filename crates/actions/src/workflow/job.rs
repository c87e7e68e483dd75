//! `jobs`: jobs and their steps.

use indexmap::IndexMap;

use super::steps::{Step, read_steps};
use super::tree::{Tree, template};
use super::trigger::strings;
use super::{Findings, Permissions, Place, Position};
use crate::expr::{Template, Value};
use crate::yaml::{Kind, Node};

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its key.
    pub id: String,
    /// Where it stands.
    pub at: Position,
    /// `name`.
    pub name: Option<Tree>,
    /// `needs`, each with its place.
    pub needs: Vec<(String, Position)>,
    /// `if`.
    pub condition: Option<Template>,
    /// `strategy`.
    pub strategy: Option<Tree>,
    /// `permissions`.
    pub permissions: Option<Permissions>,
    /// `concurrency`.
    pub concurrency: Option<Tree>,
    /// What it does.
    pub kind: JobKind,
}

/// What a job does.
#[derive(Debug, Clone)]
pub enum JobKind {
    /// Runs steps on a runner.
    Steps(Box<StepsJob>),
    /// Calls a reusable workflow.
    Call(Box<CallJob>),
}

/// A job of steps.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each is the key of the same name")]
pub struct StepsJob {
    pub runs_on: Tree,
    pub timeout_minutes: Option<Tree>,
    pub cancel_timeout_minutes: Option<Tree>,
    pub continue_on_error: Option<Tree>,
    pub container: Option<Tree>,
    pub services: Option<Tree>,
    pub env: Option<Tree>,
    pub environment: Option<Tree>,
    pub outputs: Option<Tree>,
    pub defaults: Option<Tree>,
    pub snapshot: Option<Position>,
    pub steps: Vec<Step>,
}

/// A job that calls a reusable workflow.
#[derive(Debug, Clone)]
pub struct CallJob {
    /// `uses`.
    pub uses: String,
    /// Where `uses` stands.
    pub uses_at: Position,
    /// `with`.
    pub with: Option<Tree>,
    /// `secrets`.
    pub secrets: CallSecrets,
}

/// The secrets handed to a reusable workflow.
#[derive(Debug, Clone)]
pub enum CallSecrets {
    /// None.
    None,
    /// All of the caller's.
    Inherit,
    /// The named ones.
    Given(Tree),
}

pub(super) fn identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && text.len() < 100
}

pub(super) fn condition(node: &Node, place: Place, findings: &mut Findings) -> Option<Template> {
    let text = match &node.kind {
        Kind::Scalar { text, .. } => text,
        _ => {
            findings.error(node.at, "A string was expected");
            return None;
        }
    };
    match Template::condition(text, place.allowed()) {
        Ok(template) => Some(template),
        Err(error) => {
            findings.error(node.at, error.error.message);
            None
        }
    }
}

/// A string that may hold expressions.
pub(super) fn text(node: &Node, place: Place, findings: &mut Findings) -> Option<Template> {
    match &node.kind {
        Kind::Scalar { text, .. } => template(node, text, place, findings),
        _ => {
            findings.error(node.at, "A string was expected");
            None
        }
    }
}

/// A value that must be of a type unless it is an expression.
pub(super) fn typed(
    node: &Node,
    place: Place,
    what: &str,
    test: fn(&Value) -> bool,
    findings: &mut Findings,
) -> Option<Tree> {
    let tree = Tree::read(node, place, findings);
    if tree.constant().is_some_and(|value| !test(&value)) {
        findings.error_with_hint(
            node.at,
            format!("Unexpected value '{}'", node.text().unwrap_or_default()),
            format!("{what} is expected"),
        );
        return None;
    }
    Some(tree)
}

pub(super) fn is_bool(value: &Value) -> bool {
    matches!(value, Value::Bool(_))
}

pub(super) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Number(_))
}

/// A mapping of strings to scalars, or an expression that gives one.
pub(super) fn environment(node: &Node, place: Place, findings: &mut Findings) -> Option<Tree> {
    match &node.kind {
        Kind::Mapping(entries) => {
            for (_, value) in entries {
                if !matches!(value.kind, Kind::Scalar { .. }) {
                    findings.error(value.at, "A scalar value was expected");
                }
            }
            Some(Tree::read(node, place, findings))
        }
        Kind::Scalar { value: Value::Null, .. } => None,
        Kind::Scalar { value: Value::String(text), .. } if text.contains("${{") => {
            Some(Tree::read(node, place, findings))
        }
        _ => {
            findings.error(node.at, "A mapping was expected");
            None
        }
    }
}

/// A mapping with only these keys, or an expression; keys of inner levels are the caller's business.
fn shaped(
    node: &Node,
    place: Place,
    scalar_ok: bool,
    keys: &[&str],
    required: &[&str],
    findings: &mut Findings,
) -> Option<Tree> {
    match &node.kind {
        Kind::Mapping(entries) => {
            for (key, _) in entries {
                let name = key.text().unwrap_or_default();
                if !keys.contains(&name) && !name.contains("${{") {
                    findings.error(key.at, format!("Unexpected value '{name}'"));
                }
            }
            let computed = entries.iter().any(|(key, _)| key.text().is_some_and(|name| name.contains("${{")));
            for name in required {
                if node.get(name).is_none() && !computed {
                    findings.error(node.at, format!("Required property is missing: {name}"));
                }
            }
        }
        Kind::Scalar { value: Value::String(text), .. } if scalar_ok || text.contains("${{") => {}
        Kind::Scalar { text, .. } if scalar_ok && !text.is_empty() => {}
        _ => {
            findings.error(node.at, "A mapping was expected");
            return None;
        }
    }
    Some(Tree::read(node, place, findings))
}

/// What is said of a concurrency group that both keeps and cancels.
pub const QUEUE_WITH_CANCEL: &str =
    "the combination of 'queue: max' and 'cancel-in-progress: true' is not allowed: leave out one of the two";

pub(super) fn concurrency(node: &Node, place: Place, findings: &mut Findings) -> Option<Tree> {
    if let Some(cancel) = node.get("cancel-in-progress") {
        typed(cancel, place, "a boolean", is_bool, findings);
    }
    if let Some(queue) = node.get("queue").and_then(Node::text)
        && !["single", "max"].contains(&queue)
    {
        findings.error(node.at, format!("Unexpected value '{queue}'"));
    }
    let says =
        |key: &str, word: &str| node.get(key).and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case(word));
    if says("queue", "max") && says("cancel-in-progress", "true") {
        findings.error(node.at, QUEUE_WITH_CANCEL);
    }
    shaped(node, place, true, &["group", "cancel-in-progress", "queue"], &["group"], findings)
}

/// `defaults`, of which only `run` exists.
pub(super) fn defaults(node: &Node, place: Place, findings: &mut Findings) -> Option<Tree> {
    let Kind::Mapping(entries) = &node.kind else {
        findings.error(node.at, "A mapping was expected");
        return None;
    };
    let mut found = None;
    for (key, value) in entries {
        match key.text() {
            Some("run") => found = shaped(value, place, false, &["shell", "working-directory"], &[], findings),
            other => findings.error(key.at, format!("Unexpected value '{}'", other.unwrap_or_default())),
        }
    }
    found
}

const JOB_KEYS: &[&str] = &["name", "needs", "if", "permissions", "concurrency", "strategy"];
const CALL_KEYS: &[&str] = &["uses", "with", "secrets"];
const STEPS_KEYS: &[&str] = &[
    "runs-on",
    "timeout-minutes",
    "cancel-timeout-minutes",
    "continue-on-error",
    "container",
    "services",
    "env",
    "environment",
    "outputs",
    "defaults",
    "steps",
    "snapshot",
];

pub(super) fn read_jobs(node: &Node, findings: &mut Findings) -> IndexMap<String, Job> {
    let mut jobs = IndexMap::new();
    let Kind::Mapping(entries) = &node.kind else {
        findings.error(node.at, "A mapping was expected");
        return jobs;
    };
    if entries.is_empty() {
        findings.error(node.at, "The workflow must contain at least one job with no dependencies.");
    }
    for (key, value) in entries {
        let id = key.text().unwrap_or_default();
        if !identifier(id) {
            findings.error(
                key.at,
                format!("The identifier '{id}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. IDs must start with a letter or '_' and must be less than 100 characters."),
            );
        } else if id.starts_with("__") {
            findings.error(key.at, format!("The identifier '{id}' is invalid. IDs starting with '__' are reserved."));
        }
        if jobs.keys().any(|other: &String| other.eq_ignore_ascii_case(id)) {
            findings
                .error(key.at, format!("The identifier '{id}' may not be used more than once within the same scope."));
        }
        if let Some(job) = read_job(id, key, value, findings) {
            jobs.insert(id.to_owned(), job);
        }
    }
    jobs
}

fn read_job(id: &str, key: &Node, node: &Node, findings: &mut Findings) -> Option<Job> {
    let Kind::Mapping(entries) = &node.kind else {
        findings.error(node.at, "A mapping was expected");
        return None;
    };
    let call = node.get("uses").is_some();
    let own = if call { CALL_KEYS } else { STEPS_KEYS };
    for (key, _) in entries {
        let name = key.text().unwrap_or_default();
        if !JOB_KEYS.contains(&name) && !own.contains(&name) {
            findings.error(key.at, format!("Unexpected value '{name}'"));
        }
    }
    let needs = match node.get("needs") {
        Some(needs) => match &needs.kind {
            Kind::Sequence(items) => {
                items.iter().flat_map(|item| strings(item, findings).into_iter().map(|n| (n, item.at))).collect()
            }
            _ => strings(needs, findings).into_iter().map(|name| (name, needs.at)).collect(),
        },
        None => Vec::new(),
    };
    let kind = if call {
        JobKind::Call(Box::new(read_call(node, findings)))
    } else {
        JobKind::Steps(Box::new(read_steps_job(node, findings)?))
    };
    Some(Job {
        id: id.to_owned(),
        at: key.at,
        name: node.get("name").and_then(|name| typed(name, Place::Job, "a string", Value::is_primitive, findings)),
        needs,
        condition: node.get("if").and_then(|node| condition(node, Place::JobIf, findings)),
        strategy: node.get("strategy").and_then(|node| strategy(node, findings)),
        permissions: node.get("permissions").and_then(|node| Permissions::read(node, findings)),
        concurrency: node.get("concurrency").and_then(|node| concurrency(node, Place::Job, findings)),
        kind,
    })
}

fn strategy(node: &Node, findings: &mut Findings) -> Option<Tree> {
    if let Some(fail_fast) = node.get("fail-fast") {
        typed(fail_fast, Place::Strategy, "a boolean", is_bool, findings);
    }
    if let Some(parallel) = node.get("max-parallel") {
        typed(parallel, Place::Strategy, "a number", is_number, findings);
    }
    shaped(node, Place::Strategy, false, &["fail-fast", "max-parallel", "matrix"], &[], findings)
}

fn read_call(node: &Node, findings: &mut Findings) -> CallJob {
    let uses = node.get("uses");
    let text = uses.and_then(Node::text).unwrap_or_default();
    let at = uses.map_or(node.at, |uses| uses.at);
    let local = text.starts_with("./");
    let (path, reference) = text.split_once('@').map_or((text, None), |(path, r)| (path, Some(r)));
    let in_place = path.contains(".github/workflows/") && (path.ends_with(".yml") || path.ends_with(".yaml"));
    if !in_place || local == reference.is_some() || (!local && path.split('/').count() != 5) {
        findings.error_with_hint(
            at,
            format!("invalid value workflow reference: '{text}'"),
            "write ./.github/workflows/FILE or OWNER/REPO/.github/workflows/FILE@REF",
        );
    }
    let secrets = match node.get("secrets") {
        None => CallSecrets::None,
        Some(node) if node.text() == Some("inherit") => CallSecrets::Inherit,
        Some(node) => match environment(node, Place::JobSecrets, findings) {
            Some(tree) => CallSecrets::Given(tree),
            None => CallSecrets::None,
        },
    };
    CallJob {
        uses: text.to_owned(),
        uses_at: at,
        with: node.get("with").and_then(|node| environment(node, Place::Job, findings)),
        secrets,
    }
}

fn containers(node: &Node, service: bool, findings: &mut Findings) {
    let Kind::Mapping(entries) = &node.kind else { return };
    for (key, value) in entries {
        match key.text().unwrap_or_default() {
            "image" if matches!(value.kind, Kind::Scalar { value: Value::Null, .. }) => {
                findings.error(value.at, "Unexpected value ''");
            }
            "image" | "options" => {}
            "entrypoint" | "command" if service => {}
            "env" => {
                environment(value, Place::ContainerEnv, findings);
            }
            "credentials" => {
                shaped(value, Place::Credentials, false, &["username", "password"], &[], findings);
            }
            "ports" | "volumes" => {
                if !matches!(value.kind, Kind::Sequence(_)) && !value.text().is_some_and(|text| text.contains("${{")) {
                    findings.error(value.at, "A sequence was expected");
                }
            }
            computed if computed.contains("${{") => return,
            other => findings.error(key.at, format!("Unexpected value '{other}'")),
        }
    }
    if node.get("image").is_none() {
        findings.error(node.at, "Container image cannot be empty");
    }
}

fn read_steps_job(node: &Node, findings: &mut Findings) -> Option<StepsJob> {
    let Some(runs_on) = node.get("runs-on") else {
        findings.error(node.at, "Required property is missing: runs-on");
        return None;
    };
    if let Kind::Mapping(entries) = &runs_on.kind {
        for (key, _) in entries.iter().filter(|(key, _)| !matches!(key.text(), Some("group" | "labels"))) {
            findings.error(key.at, format!("Unexpected value '{}'", key.text().unwrap_or_default()));
        }
    } else if runs_on.is_null() {
        findings.error(runs_on.at, "Unexpected value ''");
    }
    if let Some(container) = node.get("container") {
        containers(container, false, findings);
    }
    if let Some(Kind::Mapping(services)) = node.get("services").map(|node| &node.kind) {
        for (_, service) in services {
            containers(service, true, findings);
        }
    }
    let steps = match node.get("steps") {
        Some(steps) => read_steps(steps, false, findings),
        None => {
            findings.error(node.at, "Required property is missing: steps");
            Vec::new()
        }
    };
    let mut number =
        |key: &str| node.get(key).and_then(|node| typed(node, Place::Job, "a number", is_number, findings));
    let (timeout_minutes, cancel_timeout_minutes) = (number("timeout-minutes"), number("cancel-timeout-minutes"));
    Some(StepsJob {
        runs_on: Tree::read(runs_on, Place::Job, findings),
        timeout_minutes,
        cancel_timeout_minutes,
        continue_on_error: node
            .get("continue-on-error")
            .and_then(|node| typed(node, Place::Job, "a boolean", is_bool, findings)),
        // The inner places allow more contexts (`env` of a container, credentials) than the outer.
        container: node.get("container").map(|node| Tree::read(node, Place::ContainerEnv, findings)),
        services: node.get("services").map(|node| Tree::read(node, Place::ContainerEnv, findings)),
        env: node.get("env").and_then(|node| environment(node, Place::JobEnv, findings)),
        environment: node.get("environment").and_then(|node| {
            if let Some(url) = node.get("url") {
                text(url, Place::EnvironmentUrl, findings);
            }
            if let Some(name) = node.get("name") {
                text(name, Place::Job, findings);
            }
            if let Some(deployment) = node.get("deployment") {
                typed(deployment, Place::Job, "a boolean", is_bool, findings);
            }
            shaped(node, Place::EnvironmentUrl, true, &["name", "url", "deployment"], &["name"], findings)
        }),
        outputs: node.get("outputs").and_then(|node| environment(node, Place::JobOutputs, findings)),
        defaults: node.get("defaults").and_then(|node| defaults(node, Place::JobDefaults, findings)),
        snapshot: node.get("snapshot").map(|node| node.at),
        steps,
    })
}
