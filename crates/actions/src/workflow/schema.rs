//! What may stand where in a workflow file: the shape of every value, as a table, and the check of a file against it.
//!
//! The table is GitHub's schema told in our words. It knows types, keys and which contexts expressions may use; what needs more
//! than one place of a file (ids that must be known, cycles, patterns) is checked where the file is read into its model.

use super::{Findings, Place};
use crate::expr::{Template, Value};
use crate::yaml::{Kind, Node};

/// The shape of a value.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A string; other scalars count as their text.
    Text,
    /// A string that is not empty.
    Filled,
    /// One of these words.
    Word(&'static [&'static str]),
    Bool,
    Number,
    Null,
    Any,
    List(&'static Shape),
    Map(&'static Fields),
    /// Any of these.
    Either(&'static [Shape]),
    /// The shape, with the contexts of a place in it and below.
    At(Place, &'static Shape),
}

/// The keys of a mapping.
pub(super) struct Fields {
    known: &'static [(&'static str, Shape)],
    required: &'static [&'static str],
    /// The values of all other keys.
    others: Option<Shape>,
}

const fn fields(known: &'static [(&'static str, Shape)], required: &'static [&'static str]) -> Fields {
    Fields { known, required, others: None }
}

const fn any_key(others: Shape) -> Fields {
    Fields { known: &[], required: &[], others: Some(others) }
}

use Shape::{Any, At, Bool, Either, Filled, List, Map, Null, Number, Text, Word};

const FILLED_LIST: Shape = List(&Filled);
const FILLED_OR_LIST: Shape = Either(&[Filled, FILLED_LIST]);
const SCALAR: Shape = Either(&[Text, Bool, Number]);
const ENV: Shape = Map(&any_key(Text));

const DEFAULTS_RUN: Shape = Map(&fields(&[("shell", Filled), ("working-directory", Filled)], &[]));
const CONCURRENCY: Shape =
    Map(&fields(&[("group", Filled), ("cancel-in-progress", Bool), ("queue", Word(&["single", "max"]))], &["group"]));
const ROWS: Shape = List(&Map(&any_key(Any)));
const MATRIX: Shape =
    Map(&Fields { known: &[("include", ROWS), ("exclude", ROWS)], required: &[], others: Some(List(&Any)) });
const STRATEGY: Shape = Map(&fields(&[("fail-fast", Bool), ("max-parallel", Number), ("matrix", MATRIX)], &[]));
const CREDENTIALS: Shape = At(Place::Credentials, &Map(&fields(&[("username", Filled), ("password", Filled)], &[])));
const CONTAINER_ENV: Shape = Map(&any_key(At(Place::ContainerEnv, &Text)));
const CONTAINER: Shape = Either(&[
    Text,
    Map(&fields(
        &[
            ("image", Filled),
            ("options", Text),
            ("env", CONTAINER_ENV),
            ("ports", FILLED_LIST),
            ("volumes", FILLED_LIST),
            ("credentials", CREDENTIALS),
        ],
        &[],
    )),
]);
const SERVICE: Shape = Either(&[
    Filled,
    Map(&fields(
        &[
            ("image", Filled),
            ("options", Text),
            ("env", CONTAINER_ENV),
            ("ports", FILLED_LIST),
            ("volumes", FILLED_LIST),
            ("credentials", CREDENTIALS),
            ("entrypoint", Text),
            ("command", Text),
        ],
        &[],
    )),
]);
const ENVIRONMENT: Shape = Either(&[
    Text,
    Map(&fields(&[("name", Text), ("url", At(Place::EnvironmentUrl, &Text)), ("deployment", Bool)], &["name"])),
]);
const SNAPSHOT: Shape = Either(&[
    Filled,
    Map(&fields(&[("image-name", Filled), ("if", At(Place::Job, &Text)), ("version", Filled)], &["image-name"])),
]);
const RUNS_ON: Shape =
    Either(&[Filled, FILLED_LIST, Map(&fields(&[("group", Filled), ("labels", FILLED_OR_LIST)], &[]))]);

const STEP_TEXT: Shape = At(Place::Step, &Text);
const STEP_BOOL: Shape = At(Place::Step, &Bool);
/// The kinds of steps that a parallel block may be read to hold; which it may hold is said where it is read.
const PLAIN_STEP: Shape = Either(&[
    Map(&fields(
        &[
            ("name", STEP_TEXT),
            ("id", Filled),
            ("if", At(Place::StepIf, &Text)),
            ("timeout-minutes", At(Place::Step, &Number)),
            ("run", STEP_TEXT),
            ("continue-on-error", STEP_BOOL),
            ("env", At(Place::Step, &ENV)),
            ("working-directory", STEP_TEXT),
            ("shell", Filled),
            ("background", Bool),
        ],
        &["run"],
    )),
    Map(&fields(
        &[
            ("name", STEP_TEXT),
            ("id", Filled),
            ("if", At(Place::StepIf, &Text)),
            ("continue-on-error", STEP_BOOL),
            ("timeout-minutes", At(Place::Step, &Number)),
            ("uses", Filled),
            ("with", At(Place::Step, &ENV)),
            ("env", At(Place::Step, &ENV)),
            ("background", Bool),
        ],
        &["uses"],
    )),
    Map(&fields(
        &[("name", STEP_TEXT), ("id", Filled), ("continue-on-error", STEP_BOOL), ("wait", FILLED_OR_LIST)],
        &["wait"],
    )),
    Map(&fields(
        &[("name", STEP_TEXT), ("id", Filled), ("continue-on-error", STEP_BOOL), ("wait-all", Either(&[Null, Bool]))],
        &["wait-all"],
    )),
    Map(&fields(
        &[("name", STEP_TEXT), ("id", Filled), ("continue-on-error", STEP_BOOL), ("cancel", Filled)],
        &["cancel"],
    )),
]);
const STEP: Shape = Either(&[PLAIN_STEP, Map(&fields(&[("parallel", List(&PLAIN_STEP))], &["parallel"]))]);

const JOB: Shape = Either(&[
    Map(&fields(
        &[
            ("needs", FILLED_OR_LIST),
            ("if", At(Place::JobIf, &Text)),
            ("strategy", At(Place::Strategy, &STRATEGY)),
            ("name", At(Place::Job, &Text)),
            ("runs-on", At(Place::Job, &RUNS_ON)),
            ("timeout-minutes", At(Place::Job, &Number)),
            ("cancel-timeout-minutes", At(Place::Job, &Number)),
            ("continue-on-error", At(Place::Job, &Bool)),
            ("container", At(Place::Job, &CONTAINER)),
            ("services", At(Place::Job, &Map(&any_key(SERVICE)))),
            ("env", At(Place::JobEnv, &ENV)),
            ("environment", At(Place::Job, &ENVIRONMENT)),
            // Read where the model is made.
            ("permissions", Any),
            ("concurrency", At(Place::Job, &Either(&[Filled, CONCURRENCY]))),
            ("outputs", Map(&any_key(At(Place::JobOutputs, &Text)))),
            ("defaults", Map(&fields(&[("run", At(Place::JobDefaults, &DEFAULTS_RUN))], &[]))),
            ("steps", List(&STEP)),
            ("snapshot", SNAPSHOT),
        ],
        &["runs-on"],
    )),
    Map(&fields(
        &[
            ("name", At(Place::Job, &Text)),
            ("uses", Filled),
            ("with", Map(&any_key(At(Place::Job, &SCALAR)))),
            ("secrets", Either(&[Map(&any_key(At(Place::JobSecrets, &SCALAR))), Word(&["inherit"])])),
            ("needs", FILLED_OR_LIST),
            ("if", At(Place::JobIf, &Text)),
            ("permissions", Any),
            ("concurrency", At(Place::Job, &Either(&[Filled, CONCURRENCY]))),
            ("strategy", At(Place::Strategy, &STRATEGY)),
        ],
        &["uses"],
    )),
]);

/// The patterns and names of triggers.
pub(super) const NAMES: Shape = FILLED_OR_LIST;
/// `types` of `repository_dispatch`, which are always a list.
pub(super) const DISPATCH_TYPES: Shape = FILLED_LIST;
/// An entry of `schedule`.
pub(super) const SCHEDULE: Shape = Map(&fields(&[("cron", Filled), ("timezone", Filled)], &["cron"]));
/// `inputs` of `workflow_dispatch`.
pub(super) const DISPATCH_INPUTS: Shape = Either(&[
    Null,
    Map(&any_key(Map(&fields(
        &[
            ("type", Word(&["string", "boolean", "number", "environment", "choice"])),
            ("required", Bool),
            ("default", SCALAR),
            ("options", List(&Text)),
            ("description", Text),
            ("deprecationMessage", Text),
        ],
        &[],
    )))),
]);
/// `inputs` of `workflow_call`.
pub(super) const CALL_INPUTS: Shape = Either(&[
    Null,
    Map(&any_key(Map(&fields(
        &[
            ("type", Word(&["string", "boolean", "number"])),
            ("required", Bool),
            ("default", At(Place::CallInputDefault, &SCALAR)),
            ("description", Text),
            ("deprecationMessage", Text),
        ],
        &["type"],
    )))),
]);
/// `secrets` of `workflow_call`.
pub(super) const CALL_SECRETS: Shape =
    Either(&[Null, Map(&any_key(Either(&[Null, Map(&fields(&[("required", Bool), ("description", Text)], &[]))])))]);
/// `outputs` of `workflow_call`.
pub(super) const CALL_OUTPUTS: Shape = Either(&[
    Null,
    Map(&any_key(Map(&fields(&[("value", At(Place::CallOutput, &Text)), ("description", Text)], &["value"])))),
]);

/// A whole file. `on` and `permissions` are checked where they are read.
pub(super) const WORKFLOW: Shape = Map(&fields(
    &[
        ("on", Any),
        ("name", Text),
        ("description", Text),
        ("run-name", At(Place::RunName, &Text)),
        ("defaults", Map(&fields(&[("run", DEFAULTS_RUN)], &[]))),
        ("env", At(Place::WorkflowEnv, &ENV)),
        ("permissions", Any),
        ("concurrency", At(Place::Concurrency, &Either(&[Text, CONCURRENCY]))),
        ("jobs", Map(&any_key(JOB))),
    ],
    &["on", "jobs"],
));

impl Shape {
    /// The shapes that this may be, one by one, each with the place whose contexts hold in it.
    fn alternatives(self, place: Place) -> Vec<(Shape, Place)> {
        match self {
            At(place, inner) => inner.alternatives(place),
            Either(shapes) => shapes.iter().flat_map(|shape| shape.alternatives(place)).collect(),
            other => vec![(other, place)],
        }
    }

    fn takes(self, value: &Value, text: &str) -> bool {
        match self {
            Text | Any => true,
            Filled => !text.is_empty(),
            Word(words) => words.contains(&text),
            Bool => matches!(value, Value::Bool(_)),
            Number => matches!(value, Value::Number(_)),
            Null => matches!(value, Value::Null),
            _ => false,
        }
    }
}

/// Finds what in a node is not of a shape.
pub(super) fn check(node: &Node, shape: Shape, place: Place, findings: &mut Findings) {
    let alternatives = shape.alternatives(place);
    let Some(&(_, place)) = alternatives.first() else { return };
    match &node.kind {
        Kind::Scalar { value, text, .. } => scalar(node, value, text, &alternatives, place, findings),
        _ if alternatives.iter().any(|(shape, _)| matches!(shape, Any)) => below(node, place, findings),
        Kind::Sequence(items) => {
            let item = alternatives.iter().find_map(|(shape, place)| match shape {
                List(item) => Some((**item, *place)),
                _ => None,
            });
            match item {
                Some((shape, place)) => items.iter().for_each(|item| check(item, shape, place, findings)),
                None => findings.error(node.at, "A sequence was not expected"),
            }
        }
        Kind::Mapping(entries) => {
            let mut kinds = alternatives.iter().filter_map(|(shape, place)| match shape {
                Map(fields) => Some((*fields, *place)),
                _ => None,
            });
            match kinds.next() {
                Some(first) => mapping(node, entries, std::iter::once(first).chain(kinds).collect(), findings),
                None => findings.error(node.at, "A mapping was not expected"),
            }
        }
    }
}

fn scalar(
    node: &Node,
    value: &Value,
    text: &str,
    alternatives: &[(Shape, Place)],
    place: Place,
    findings: &mut Findings,
) {
    if matches!(value, Value::String(_)) && text.contains("${{") {
        match expression(node, text, place, findings) {
            // `${{ 'text' }}` is that text.
            Some(Some(text)) if alternatives.iter().any(|(shape, _)| shape.takes(&Value::string(&text), &text)) => {
                return;
            }
            Some(Some(text)) => return findings.error(node.at, format!("Unexpected value '{text}'")),
            _ => return,
        }
    }
    // The text of null is nothing, however it is written.
    let text = if matches!(value, Value::Null) { "" } else { text };
    if !alternatives.iter().any(|(shape, _)| shape.takes(value, text)) {
        findings.error(node.at, format!("Unexpected value '{text}'"));
    }
}

/// Checks the expressions of a string; gives the text where the whole is one literal string. None when something is wrong.
fn expression(node: &Node, text: &str, place: Place, findings: &mut Findings) -> Option<Option<String>> {
    match Template::parse(text, place.allowed()) {
        Ok(template) => match template.only_literal() {
            Some(literal) => Some(Some(literal)),
            None if place.allows_nothing() => {
                findings.error(node.at, "A template expression is not allowed in this context");
                None
            }
            None => Some(None),
        },
        Err(_) if place.allows_nothing() => {
            findings.error(node.at, "A template expression is not allowed in this context");
            None
        }
        Err(error) => {
            findings.error(node.at, error.error.message);
            None
        }
    }
}

/// Checks the expressions in a value of any shape.
fn below(node: &Node, place: Place, findings: &mut Findings) {
    // Where nothing may be named, the value is read and checked by somebody else.
    if place.allows_nothing() {
        return;
    }
    match &node.kind {
        Kind::Scalar { .. } => check(node, Any, place, findings),
        Kind::Sequence(items) => items.iter().for_each(|item| below(item, place, findings)),
        Kind::Mapping(entries) => entries.iter().for_each(|(_, value)| below(value, place, findings)),
    }
}

fn mapping(node: &Node, entries: &[(Node, Node)], mut kinds: Vec<(&'static Fields, Place)>, findings: &mut Findings) {
    let (mut seen, mut computed): (Vec<String>, bool) = (Vec::new(), false);
    for (key, value) in entries {
        let name = key.text().unwrap_or_default();
        let Some(&(first, place)) = kinds.first() else { return };
        if name.contains("${{") {
            computed = true;
            if place.allows_nothing() {
                findings.error(key.at, "A template expression is not allowed in this context");
            } else if Template::is_insert(name) || expression(key, name, place, findings).is_some() {
                let shape = first.others.filter(|_| first.known.is_empty()).unwrap_or(Any);
                check(value, shape, place, findings);
            }
            continue;
        }
        let upper = name.to_ascii_uppercase();
        if seen.contains(&upper) {
            findings.error(key.at, format!("'{name}' is already defined"));
            continue;
        }
        seen.push(upper);
        let known = |fields: &Fields| fields.known.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape);
        if let Some((shape, place)) = kinds.iter().find_map(|(fields, place)| Some((known(fields)?, *place))) {
            kinds.retain(|(fields, _)| known(fields).is_some());
            check(value, shape, place, findings);
        } else if let Some(shape) = first.others {
            if name.is_empty() {
                findings.error(key.at, "Unexpected value ''");
            }
            check(value, shape, place, findings);
        } else {
            findings.error(key.at, format!("Unexpected value '{name}'"));
        }
    }
    if let [_, _, ..] = kinds[..] {
        let telling: Vec<&str> = kinds.iter().flat_map(|(fields, _)| fields.required).copied().collect();
        findings.error(
            node.at,
            format!(
                "There's not enough info to determine what you meant. Add one of these properties: {}",
                telling.join(", ")
            ),
        );
    } else if let (Some((fields, _)), false) = (kinds.first(), computed) {
        for name in fields.required.iter().filter(|name| !seen.contains(&name.to_ascii_uppercase())) {
            findings.error(node.at, format!("Required property is missing: {name}"));
        }
    }
}
