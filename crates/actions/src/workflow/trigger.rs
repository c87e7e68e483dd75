//! `on`: which events start the workflow.

use indexmap::IndexMap;

use super::events::{EVENTS, event_kind};
use super::schema::{self, Shape};
use super::tree::Tree;
use super::{Findings, Place, Position};
use crate::expr::Value;
use crate::filter::Pattern;
use crate::yaml::{Kind, Node};

/// One event of `on` with its filters.
#[derive(Debug, Clone, Default)]
pub struct Trigger {
    /// The event's name.
    pub event: String,
    /// Where it stands.
    pub at: Position,
    /// `types`.
    pub types: Option<Vec<String>>,
    /// `branches` or `branches-ignore`.
    pub branches: Option<Filter>,
    /// `tags` or `tags-ignore`.
    pub tags: Option<Filter>,
    /// `paths` or `paths-ignore`.
    pub paths: Option<Filter>,
    /// `workflows` of `workflow_run`.
    pub workflows: Vec<Pattern>,
    /// `names` of `image_version`.
    pub names: Option<Filter>,
    /// `versions` of `image_version`.
    pub versions: Option<Filter>,
    /// The entries of `schedule`.
    pub schedules: Vec<Schedule>,
    /// `inputs` of `workflow_dispatch`.
    pub inputs: IndexMap<String, Input>,
    /// `workflow_call`.
    pub call: CallTrigger,
}

/// Patterns to include or to leave out.
#[derive(Debug, Clone)]
pub enum Filter {
    /// `branches`, `tags`, `paths`: the last pattern that matches decides.
    Include(Vec<Pattern>),
    /// The `-ignore` forms.
    Ignore(Vec<Pattern>),
}

/// An entry of `schedule`.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The text of `cron`.
    pub cron: String,
    /// The parsed text.
    pub parsed: crate::cron::Cron,
    /// `timezone`, UTC when absent.
    pub timezone: Option<String>,
}

/// An input of `workflow_dispatch` or `workflow_call`.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its type.
    pub kind: InputKind,
    /// Whether it must be given.
    pub required: bool,
    /// Its default.
    pub default: Option<Tree>,
    /// The choices of a `choice`.
    pub options: Vec<String>,
    /// `description`.
    pub description: String,
    /// Where it stands.
    pub at: Position,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum InputKind {
    String,
    Boolean,
    Number,
    Choice,
    Environment,
}

impl InputKind {
    /// The value of an input that is neither given nor has a default.
    pub fn empty(self) -> Value {
        match self {
            InputKind::Boolean => Value::Bool(false),
            InputKind::Number => Value::Number(0.0),
            _ => Value::string(""),
        }
    }

    /// A given value as this type; none when it is not of this type.
    pub fn coerce(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (InputKind::Boolean, Value::Bool(_)) | (InputKind::Number, Value::Number(_)) => Some(value.clone()),
            (InputKind::Boolean, Value::String(text)) => match &**text {
                "true" => Some(Value::Bool(true)),
                "false" | "" => Some(Value::Bool(false)),
                _ => None,
            },
            (InputKind::Number, Value::String(_)) => Some(value.to_number()).filter(|n| !n.is_nan()).map(Value::Number),
            (InputKind::Boolean | InputKind::Number, _) => None,
            (_, Value::Array(_) | Value::Object(_)) => None,
            (_, other) => Some(Value::from(other.to_text())),
        }
    }
}

/// The interface of a reusable workflow.
#[derive(Debug, Clone, Default)]
pub struct CallTrigger {
    /// Inputs by name.
    pub inputs: IndexMap<String, Input>,
    /// Secrets by name, and whether each is required.
    pub secrets: IndexMap<String, bool>,
    /// Outputs by name.
    pub outputs: IndexMap<String, Tree>,
}

pub(super) fn read(node: &Node, findings: &mut Findings) -> Vec<Trigger> {
    let named = |node: &Node, findings: &mut Findings| {
        let name = node.text().unwrap_or_default();
        if event_kind(name).is_none() {
            unknown_event(node, name, findings);
            return None;
        }
        if name == "schedule" {
            findings.error_with_hint(
                node.at,
                "'schedule' needs at least one 'cron'",
                "write it as a mapping: schedule: [{cron: '0 4 * * *'}]",
            );
        }
        Some(Trigger { event: name.to_owned(), at: node.at, ..Trigger::default() })
    };
    match &node.kind {
        Kind::Scalar { value: Value::Null, .. } => {
            findings.error(node.at, "Unexpected value ''");
            Vec::new()
        }
        Kind::Scalar { .. } => named(node, findings).into_iter().collect(),
        Kind::Sequence(items) if items.is_empty() => {
            findings.error(node.at, "No event triggers defined in `on`");
            Vec::new()
        }
        Kind::Sequence(items) => items.iter().filter_map(|item| named(item, findings)).collect(),
        Kind::Mapping(entries) => entries.iter().filter_map(|(key, value)| trigger(key, value, findings)).collect(),
    }
}

fn unknown_event(node: &Node, name: &str, findings: &mut Findings) {
    let near = EVENTS.iter().map(|event| event.name).find(|event| {
        event.replace('_', "") == name.replace(['_', '-'], "").to_ascii_lowercase()
            || event.starts_with(name) && name.len() > 3
    });
    match near {
        Some(near) => {
            findings.error_with_hint(node.at, format!("Unexpected value '{name}'"), format!("did you mean '{near}'?"))
        }
        None => findings.error(node.at, format!("Unexpected value '{name}'")),
    }
}

/// A string or a sequence of strings.
pub(super) fn strings(node: &Node, findings: &mut Findings) -> Vec<String> {
    match &node.kind {
        Kind::Scalar { text, value: Value::Null, .. } => {
            findings.error(node.at, format!("Unexpected value '{text}'"));
            Vec::new()
        }
        Kind::Scalar { text, .. } => vec![text.clone()],
        Kind::Sequence(items) => items
            .iter()
            .filter_map(|item| match item.text().filter(|text| !text.is_empty()) {
                Some(text) => Some(text.to_owned()),
                None => {
                    findings.error(item.at, "A non-empty string was expected");
                    None
                }
            })
            .collect(),
        Kind::Mapping(_) => {
            findings.error(node.at, "A mapping was not expected");
            Vec::new()
        }
    }
}

/// Whether a node is of a shape; findings say what is not.
fn is(node: &Node, shape: Shape, findings: &mut Findings) -> bool {
    let before = findings.0.len();
    schema::check(node, shape, Place::None, findings);
    findings.0.len() == before
}

fn patterns(node: &Node, findings: &mut Findings) -> Vec<Pattern> {
    strings(node, findings)
        .into_iter()
        .filter_map(|text| match Pattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(problem) => {
                findings.error(node.at, format!("the pattern '{text}' is not valid: {problem}"));
                None
            }
        })
        .collect()
}

fn trigger(key: &Node, value: &Node, findings: &mut Findings) -> Option<Trigger> {
    let name = key.text().unwrap_or_default();
    let Some(kind) = event_kind(name) else {
        unknown_event(key, name, findings);
        return None;
    };
    let mut trigger = Trigger { event: name.to_owned(), at: key.at, ..Trigger::default() };
    if name == "schedule" {
        trigger.schedules = schedules(value, findings);
        return Some(trigger);
    }
    let entries = match &value.kind {
        Kind::Scalar { value: Value::Null, .. } => return Some(trigger),
        Kind::Mapping(entries) => entries,
        _ => {
            findings.error(value.at, "A mapping was expected");
            return None;
        }
    };
    for (key, value) in entries {
        let field = key.text().unwrap_or_default();
        let known =
            kind.keys.contains(&field) || field == "types" && (!kind.types.is_empty() || name == "repository_dispatch");
        if !known {
            findings.error(key.at, format!("Unexpected value '{field}'"));
            continue;
        }
        let shape = match field {
            "inputs" if name == "workflow_call" => schema::CALL_INPUTS,
            "inputs" => schema::DISPATCH_INPUTS,
            "secrets" => schema::CALL_SECRETS,
            "outputs" => schema::CALL_OUTPUTS,
            "types" if name == "repository_dispatch" => schema::DISPATCH_TYPES,
            _ => schema::NAMES,
        };
        if !is(value, shape, findings) {
            continue;
        }
        let mut filter = |slot: fn(&mut Trigger) -> &mut Option<Filter>, ignore: bool| {
            let patterns = patterns(value, findings);
            if patterns.is_empty() {
                findings.error(value.at, format!("'{field}' needs at least one pattern"));
            }
            if !ignore && patterns.iter().all(Pattern::is_negative) && !patterns.is_empty() {
                findings.error_with_hint(
                    value.at,
                    format!("'{field}' has only patterns that begin with '!', so nothing can match"),
                    "add a pattern without '!' before them, or use the -ignore form",
                );
            }
            let slot = slot(&mut trigger);
            if slot.is_some() {
                findings.error(
                    key.at,
                    format!(
                        "'{}' and its -ignore form cannot be used for the same event",
                        field.trim_end_matches("-ignore")
                    ),
                );
            }
            *slot = Some(if ignore { Filter::Ignore(patterns) } else { Filter::Include(patterns) });
        };
        match field {
            "types" => {
                let types = strings(value, findings);
                for unknown in types.iter().filter(|t| !kind.types.is_empty() && !kind.types.contains(&t.as_str())) {
                    findings.error_with_hint(
                        value.at,
                        format!("Unexpected value '{unknown}'"),
                        format!("one of {}", kind.types.join(", ")),
                    );
                }
                trigger.types = Some(types);
            }
            "branches" => filter(|t| &mut t.branches, false),
            "branches-ignore" => filter(|t| &mut t.branches, true),
            "tags" => filter(|t| &mut t.tags, false),
            "tags-ignore" => filter(|t| &mut t.tags, true),
            "paths" => filter(|t| &mut t.paths, false),
            "paths-ignore" => filter(|t| &mut t.paths, true),
            "names" => filter(|t| &mut t.names, false),
            "versions" => filter(|t| &mut t.versions, false),
            "workflows" => trigger.workflows = patterns(value, findings),
            "inputs" if name == "workflow_call" => trigger.call.inputs = inputs(value, true, findings),
            "inputs" => trigger.inputs = inputs(value, false, findings),
            "secrets" => trigger.call.secrets = call_secrets(value, findings),
            "outputs" => trigger.call.outputs = call_outputs(value, findings),
            _ => findings.error(key.at, format!("Unexpected value '{field}'")),
        }
    }
    if name == "workflow_run" && trigger.workflows.is_empty() && !findings.has_errors() {
        findings.error(key.at, "Required property is missing: workflows");
    }
    Some(trigger)
}

fn schedules(node: &Node, findings: &mut Findings) -> Vec<Schedule> {
    let Kind::Sequence(items) = &node.kind else {
        findings.error(node.at, "A sequence was expected");
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in items {
        let Kind::Mapping(entries) = &item.kind else {
            findings.error(item.at, "A mapping was expected");
            continue;
        };
        if !is(item, schema::SCHEDULE, findings) {
            continue;
        }
        let (mut cron, mut timezone) = (None, None);
        for (key, value) in entries {
            match key.text() {
                Some("cron") => match crate::cron::Cron::parse(value.text().unwrap_or_default()) {
                    Ok(parsed) => cron = Some((value.text().unwrap_or_default().to_owned(), parsed)),
                    Err(problem) => findings.error(value.at, format!("Invalid cron expression: {problem}")),
                },
                Some("timezone") => {
                    let name = value.text().unwrap_or_default();
                    if jiff::tz::TimeZone::get(name).is_err() {
                        findings.error(value.at, format!("'{name}' is not a time zone of the IANA database"));
                    }
                    timezone = Some(name.to_owned());
                }
                other => findings.error(key.at, format!("Unexpected value '{}'", other.unwrap_or_default())),
            }
        }
        match cron {
            Some((cron, parsed)) => out.push(Schedule { cron, parsed, timezone }),
            None if item.get("cron").is_none() => findings.error(item.at, "Required property is missing: cron"),
            None => {}
        }
    }
    out
}

fn boolean(node: &Node, findings: &mut Findings) -> bool {
    match &node.kind {
        Kind::Scalar { value: Value::Bool(value), .. } => *value,
        _ => {
            findings.error(node.at, format!("Unexpected value '{}'", node.text().unwrap_or_default()));
            false
        }
    }
}

fn entries<'a>(node: &'a Node, findings: &mut Findings) -> &'a [(Node, Node)] {
    match &node.kind {
        Kind::Mapping(entries) => entries,
        Kind::Scalar { value: Value::Null, .. } => &[],
        _ => {
            findings.error(node.at, "A mapping was expected");
            &[]
        }
    }
}

fn inputs(node: &Node, call: bool, findings: &mut Findings) -> IndexMap<String, Input> {
    let mut out = IndexMap::new();
    for (key, value) in entries(node, findings) {
        let mut input = Input {
            kind: InputKind::String,
            required: false,
            default: None,
            options: Vec::new(),
            description: String::new(),
            at: key.at,
        };
        let mut typed = false;
        for (field, value) in entries(value, findings) {
            match field.text().unwrap_or_default() {
                "description" => input.description = value.text().unwrap_or_default().to_owned(),
                "deprecationMessage" if !call => {}
                "required" => input.required = boolean(value, findings),
                "default" => {
                    input.default =
                        Some(Tree::read(value, if call { Place::CallInputDefault } else { Place::None }, findings))
                }
                "options" if !call => input.options = strings(value, findings),
                "type" => {
                    typed = true;
                    input.kind = match value.text().unwrap_or_default() {
                        "string" => InputKind::String,
                        "boolean" => InputKind::Boolean,
                        "number" => InputKind::Number,
                        "choice" if !call => InputKind::Choice,
                        "environment" if !call => InputKind::Environment,
                        other => {
                            findings.error(value.at, format!("Unexpected value '{other}'"));
                            InputKind::String
                        }
                    };
                }
                other => findings.error(field.at, format!("Unexpected value '{other}'")),
            }
        }
        if call && !typed {
            findings.error(value.at, "Required property is missing: type");
        }
        if input.kind == InputKind::Choice && input.options.is_empty() {
            findings.error(value.at, "Missing 'options' for choice input");
        }
        if input.kind != InputKind::Choice && value.get("options").is_some() {
            findings.error(value.at, "Input type is not 'choice', but 'options' is defined");
        }
        if let Some(default) = input.default.as_ref().and_then(|tree| tree.constant())
            && default != Value::Null
            && input.kind.coerce(&default).is_none()
        {
            findings.error(
                key.at,
                format!("the default of the input '{}' is not of its type", key.text().unwrap_or_default()),
            );
        }
        out.insert(key.text().unwrap_or_default().to_owned(), input);
    }
    out
}

fn call_secrets(node: &Node, findings: &mut Findings) -> IndexMap<String, bool> {
    let mut out = IndexMap::new();
    for (key, value) in entries(node, findings) {
        let mut required = false;
        for (field, value) in entries(value, findings) {
            match field.text().unwrap_or_default() {
                "description" => {}
                "required" => required = boolean(value, findings),
                other => findings.error(field.at, format!("Unexpected value '{other}'")),
            }
        }
        out.insert(key.text().unwrap_or_default().to_owned(), required);
    }
    out
}

fn call_outputs(node: &Node, findings: &mut Findings) -> IndexMap<String, Tree> {
    let mut out = IndexMap::new();
    for (key, value) in entries(node, findings) {
        let mut found = None;
        for (field, value) in entries(value, findings) {
            match field.text().unwrap_or_default() {
                "description" => {}
                "value" => found = Some(Tree::read(value, Place::CallOutput, findings)),
                other => findings.error(field.at, format!("Unexpected value '{other}'")),
            }
        }
        match found {
            Some(tree) => {
                out.insert(key.text().unwrap_or_default().to_owned(), tree);
            }
            None => findings.error(value.at, "Required property is missing: value"),
        }
    }
    out
}
