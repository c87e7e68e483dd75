//! The steps of a job or of a composite action.

use super::job::{condition, environment, identifier, is_bool, is_number, text, typed};
use super::tree::Tree;
use super::trigger::strings;
use super::{Findings, Place, Position};
use crate::expr::{Template, Value};
use crate::yaml::{Kind, Node};

/// The longest `run` accepted, in characters, as on GitHub.
const MAX_SCRIPT: usize = 21_000;

/// A step.
#[derive(Debug, Clone)]
pub struct Step {
    /// `id`, or one made up as GitHub does (`__run_2`), which the `steps` context does not show.
    pub id: String,
    /// Whether the workflow gave the id.
    pub named_id: bool,
    /// Where it stands.
    pub at: Position,
    /// `name`.
    pub name: Option<Template>,
    /// `if`.
    pub condition: Option<Template>,
    /// `env`.
    pub env: Option<Tree>,
    /// `continue-on-error`.
    pub continue_on_error: Option<Tree>,
    /// `timeout-minutes`.
    pub timeout_minutes: Option<Tree>,
    /// `background`: the following steps do not wait for it.
    pub background: bool,
    /// What it does.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// `run`.
    Run {
        /// The script.
        script: Template,
        /// `shell`.
        shell: Option<Template>,
        /// `working-directory`.
        working_directory: Option<Template>,
    },
    /// `uses`.
    Uses {
        /// The action.
        action: String,
        /// `with`.
        with: Option<Tree>,
    },
    /// `parallel`: runs steps beside each other and waits for all of them.
    Parallel(Vec<Step>),
    /// `wait`: waits for background steps, by id.
    Wait(Vec<String>),
    /// `wait-all`.
    WaitAll,
    /// `cancel`: ends a background step, by id.
    Cancel(String),
}

const STEP_KEYS: &[&str] = &["name", "id", "if", "env", "continue-on-error", "timeout-minutes", "background"];
const WAIT_KEYS: &[&str] = &["name", "id", "continue-on-error"];

/// Where steps stand, which decides what they may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    Job,
    Parallel,
    Composite,
}

impl Step {
    /// The step and those that it groups.
    pub fn flat(&self) -> impl Iterator<Item = &Step> {
        let inner: &[Step] = match &self.kind {
            StepKind::Parallel(steps) => steps,
            _ => &[],
        };
        std::iter::once(self).chain(inner)
    }
}

/// The steps of a job or of a composite action.
pub(crate) fn read_steps(node: &Node, composite: bool, findings: &mut Findings) -> Vec<Step> {
    let among = if composite { Among::Composite } else { Among::Job };
    read_list(node, among, &mut Vec::new(), findings)
}

/// `taken` are the ids that made up ones must not be.
fn read_list(node: &Node, among: Among, taken: &mut Vec<String>, findings: &mut Findings) -> Vec<Step> {
    let Kind::Sequence(items) = &node.kind else {
        findings.error(node.at, "A sequence was expected");
        return Vec::new();
    };
    if items.is_empty() && among == Among::Job {
        findings.error(node.at, "A job needs at least one step");
    }
    let mut ids: Vec<String> = Vec::new();
    for item in items {
        let Some(node) = item.get("id") else { continue };
        let id = node.text().unwrap_or_default();
        if identifier(id) && id.starts_with("__") {
            findings.error(node.at, format!("The identifier '{id}' is invalid. IDs starting with '__' are reserved."));
        } else if !identifier(id) {
            findings.error(
                node.at,
                format!("The identifier '{id}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. IDs must start with a letter or '_' and must be less than 100 characters."),
            );
        } else if ids.iter().any(|other| other.eq_ignore_ascii_case(id)) {
            findings
                .error(node.at, format!("The identifier '{id}' may not be used more than once within the same scope."));
        }
        ids.push(id.to_owned());
    }
    taken.append(&mut ids);
    // Only what stands before can be waited for.
    let mut known: Vec<&str> = Vec::new();
    let mut steps = Vec::new();
    for item in items {
        targets(item, &known, findings);
        known.extend(item.get("id").and_then(Node::text));
        steps.extend(read_step(item, among, taken, findings));
    }
    steps
}

/// Checks the steps that `wait` and `cancel` name.
fn targets(step: &Node, known: &[&str], findings: &mut Findings) {
    let own = step.get("id").and_then(Node::text);
    let mut check = |node: &Node| {
        let Some(id) = node.text().filter(|id| !id.is_empty()) else { return };
        if id.starts_with("__") {
            findings.error(node.at, format!("The identifier '{id}' is invalid. IDs starting with '__' are reserved."));
        } else if own.is_some_and(|own| own.eq_ignore_ascii_case(id)) {
            findings.error(node.at, format!("Step '{id}' cannot reference itself"));
        } else if !known.contains(&id) {
            findings.error(node.at, format!("Step references unknown step ID '{id}'"));
        }
    };
    for target in ["wait", "cancel"].into_iter().filter_map(|key| step.get(key)) {
        match &target.kind {
            Kind::Sequence(items) => items.iter().for_each(&mut check),
            _ => check(target),
        }
    }
}

fn read_step(node: &Node, among: Among, ids: &mut Vec<String>, findings: &mut Findings) -> Option<Step> {
    let composite = among == Among::Composite;
    let Kind::Mapping(entries) = &node.kind else {
        findings.error(node.at, "A mapping was expected");
        return None;
    };
    let mut kinds =
        ["run", "uses", "wait", "wait-all", "cancel", "parallel"].into_iter().filter(|key| node.get(key).is_some());
    let Some(kind) = kinds.next() else {
        findings.error_with_hint(node.at, "Required property is missing: run", "a step has either 'run' or 'uses'");
        return None;
    };
    if let Some(second) = kinds.next() {
        findings.error(node.at, format!("a step cannot have both '{kind}' and '{second}'"));
        return None;
    }
    let own_flow = ["wait", "wait-all", "cancel", "parallel"];
    if among != Among::Job && (own_flow.contains(&kind) || node.get("background").is_some()) {
        let what = if own_flow.contains(&kind) { kind } else { "background" };
        let place = if composite { "a composite action" } else { "a parallel block" };
        findings.error(node.at, format!("'{what}' is not allowed inside {place}."));
        return None;
    }
    let own: &[&str] = match kind {
        "run" => &["run", "shell", "working-directory"],
        "uses" => &["uses", "with"],
        _ => &[],
    };
    let common = match kind {
        "parallel" => &[],
        _ if own.is_empty() => WAIT_KEYS,
        _ => STEP_KEYS,
    };
    for (key, _) in entries {
        let name = key.text().unwrap_or_default();
        if name != kind && !own.contains(&name) && !common.contains(&name) {
            findings.error(key.at, format!("Unexpected value '{name}'"));
        }
    }
    let (place, if_place) =
        if composite { (Place::CompositeStep, Place::CompositeStepIf) } else { (Place::Step, Place::StepIf) };
    let field = |key: &str, findings: &mut Findings| node.get(key).and_then(|node| text(node, place, findings));
    let kind = match kind {
        "run" => {
            let script = field("run", findings)?;
            if script.source().chars().count() > MAX_SCRIPT && !composite {
                findings.error(
                    node.get("run").map_or(node.at, |n| n.at),
                    format!("Exceeded max expression length {MAX_SCRIPT}"),
                );
            }
            if composite && node.get("shell").is_none() {
                findings.error(node.at, "Required property is missing: shell");
            }
            StepKind::Run {
                script,
                shell: field("shell", findings),
                working_directory: field("working-directory", findings),
            }
        }
        "uses" => {
            let action = node.get("uses").and_then(Node::text).unwrap_or_default().to_owned();
            if let Err(problem) = crate::action::Reference::parse(&action) {
                findings.error(node.get("uses").map_or(node.at, |n| n.at), problem);
            }
            StepKind::Uses { action, with: node.get("with").and_then(|node| environment(node, place, findings)) }
        }
        "wait" => StepKind::Wait(node.get("wait").map(|node| strings(node, findings)).unwrap_or_default()),
        "wait-all" => {
            if let Some(node) = node.get("wait-all")
                && !matches!(node.kind, Kind::Scalar { value: Value::Null | Value::Bool(true), .. })
            {
                findings.error(node.at, "The value of 'wait-all' must be true or omitted");
            }
            StepKind::WaitAll
        }
        "parallel" => {
            let inner = node.get("parallel").map(|node| read_list(node, Among::Parallel, ids, findings));
            StepKind::Parallel(inner.unwrap_or_default())
        }
        _ => StepKind::Cancel(node.get("cancel").and_then(Node::text).unwrap_or_default().to_owned()),
    };
    let named_id = node.get("id").is_some();
    let id = node.get("id").and_then(Node::text).map_or_else(|| made_up_id(&kind, ids), str::to_owned);
    Some(Step {
        id,
        named_id,
        at: node.at,
        name: field("name", findings),
        condition: node.get("if").and_then(|node| condition(node, if_place, findings)),
        env: node.get("env").and_then(|node| environment(node, place, findings)),
        continue_on_error: node
            .get("continue-on-error")
            .and_then(|node| typed(node, place, "a boolean", is_bool, findings)),
        timeout_minutes: node
            .get("timeout-minutes")
            .and_then(|node| typed(node, place, "a number", is_number, findings)),
        background: node
            .get("background")
            .and_then(|node| typed(node, Place::None, "a boolean", is_bool, findings))
            .and_then(|t| t.constant())
            == Some(Value::Bool(true)),
        kind,
    })
}

fn made_up_id(kind: &StepKind, ids: &mut Vec<String>) -> String {
    let base = match kind {
        StepKind::Run { .. } => "run".to_owned(),
        StepKind::Uses { action, .. } => {
            let name = action.split('@').next().unwrap_or_default().trim_start_matches("./");
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
        }
        StepKind::Wait(_) => "wait".to_owned(),
        StepKind::WaitAll => "wait-all".to_owned(),
        StepKind::Parallel(_) => "parallel".to_owned(),
        StepKind::Cancel(_) => "cancel".to_owned(),
    };
    let mut id = format!("__{base}");
    let mut n = 2;
    while ids.contains(&id) {
        id = format!("__{base}_{n}");
        n += 1;
    }
    ids.push(id.clone());
    id
}
