//! `values.schema.json`: JSON Schema with the words that Helm's validator uses.
//!
//! Drafts 4 to 2020-12 differ as they do there. The schema itself is checked against its draft's own schema first. Nothing is
//! fetched: references lead inside the schema or to the drafts.

mod checker;
mod combine;
mod containers;
mod formats;
mod meta;
mod words;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde_json::Value as Json;

use self::checker::Checker;
use crate::error::Error;
use crate::value::{Data, Str};
use crate::values::process::Node;

/// The name that messages give to the schema.
const OWN: &str = "file:///values.schema.json";

/// Checks the values of a chart and its subcharts against their schemas.
///
/// # Errors
/// Helm's list of what does not fit.
pub(crate) fn validate(node: &Node<'_>, values: &Data) -> Result<(), Error> {
    if !has_schema(node) {
        return Ok(());
    }
    let mut report = String::new();
    collect(node, &values.to_json(), &mut report);
    if report.is_empty() {
        return Ok(());
    }
    Err(Error::Values(format!(
        "values don't meet the specifications of the schema(s) in the following chart(s):\n{report}"
    )))
}

/// Checks values against one schema.
///
/// # Errors
/// What is wrong, line by line.
pub(crate) fn validate_single(values: &Data, schema: &str) -> Result<(), String> {
    check(schema, &values.to_json())
}

/// A schema. It is read, and checked against its draft, when it is first asked; what that gave is kept.
#[derive(Debug)]
pub struct Schema {
    text: Str,
    ready: OnceLock<Result<Ready, String>>,
}

/// A schema that is one.
#[derive(Debug)]
struct Ready {
    root: Json,
    draft: Draft,
    patterns: Patterns,
}

impl Schema {
    /// The schema that a text is, not looked at yet.
    pub fn new(text: Str) -> Schema {
        Schema { text, ready: OnceLock::new() }
    }

    /// Its text, as the file has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks a value.
    ///
    /// # Errors
    /// What does not fit, one line each.
    pub fn check(&self, value: &Json) -> Result<(), String> {
        let ready = self.ready.get_or_init(|| Ready::read(&self.text)).as_ref().map_err(Clone::clone)?;
        let Ready { root, draft, patterns } = ready;
        Checker::run(root, *draft, *draft < Draft::D2019, value, patterns)?.map_or(Ok(()), Err)
    }
}

impl Ready {
    fn read(text: &str) -> Result<Ready, String> {
        let root: Json = match serde_json::from_str(text) {
            Ok(root) => root,
            Err(e) if e.is_eof() => return Err("unexpected EOF".to_owned()),
            Err(_) => {
                return Err(crate::value::json::decode(text).err().unwrap_or_else(|| "invalid JSON".to_owned()));
            }
        };
        let draft = Draft::of(&root);
        let patterns = Patterns::default();
        if let Some(problems) = Checker::run(meta::schema(draft), draft, true, &root, &patterns)? {
            return Err(format!(
                "\"{OWN}#\" is not valid against metaschema: jsonschema validation failed with '{}#'\n{}",
                draft.url(),
                problems.trim_end_matches('\n'),
            ));
        }
        Ok(Ready { root, draft, patterns })
    }
}

/// The regular expressions of a schema, each compiled once.
#[derive(Debug, Default)]
struct Patterns(RwLock<HashMap<String, Result<Tester, String>>>);

type Tester = Arc<regex_automata::meta::Regex>;

impl Patterns {
    fn get(&self, pattern: &str) -> Result<Tester, String> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
            return known.clone();
        }
        let compiled = crate::funcs::regexes::tester(pattern).map(Arc::new);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(pattern.to_owned(), compiled.clone());
        compiled
    }
}

fn has_schema(node: &Node<'_>) -> bool {
    node.chart.schema.is_some() || node.dependencies.iter().any(has_schema)
}

fn collect(node: &Node<'_>, values: &Json, report: &mut String) {
    if let Some(schema) = &node.chart.schema
        && let Err(text) = schema.check(values)
    {
        report.push_str(&format!("{}:\n{text}", node.name));
    }
    for sub in &node.dependencies {
        match values.get(&sub.name) {
            Some(below @ Json::Object(_)) => collect(sub, below, report),
            None => {}
            Some(other) => report.push_str(&format!(
                "{}:\ninvalid type for values: expected object (map), got {}\n",
                sub.name,
                words::kind(other)
            )),
        }
    }
}

/// Checks a value against the text of a schema.
///
/// # Errors
/// What does not fit, one line each.
pub fn check(schema: &str, value: &Json) -> Result<(), String> {
    Schema::new(Str::from(schema)).check(value)
}

/// The drafts that the validator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Draft {
    D4,
    D6,
    D7,
    D2019,
    D2020,
}

impl Draft {
    const ALL: [Draft; 5] = [Draft::D4, Draft::D6, Draft::D7, Draft::D2019, Draft::D2020];

    /// The draft that a schema names; the newest when it names none that is known.
    fn of(root: &Json) -> Draft {
        let named = root.get("$schema").and_then(Json::as_str).unwrap_or("");
        Draft::by_url(named).unwrap_or(Draft::D2020)
    }

    fn by_url(url: &str) -> Option<Draft> {
        let bare = url.split('#').next().unwrap_or(url);
        let bare = bare.strip_prefix("http://").or_else(|| bare.strip_prefix("https://"))?;
        Draft::ALL.into_iter().find(|d| d.url().split_once("://").is_some_and(|(_, rest)| rest == bare))
    }

    fn url(self) -> &'static str {
        match self {
            Draft::D4 => "http://json-schema.org/draft-04/schema",
            Draft::D6 => "http://json-schema.org/draft-06/schema",
            Draft::D7 => "http://json-schema.org/draft-07/schema",
            Draft::D2019 => "https://json-schema.org/draft/2019-09/schema",
            Draft::D2020 => "https://json-schema.org/draft/2020-12/schema",
        }
    }
}

/// What a problem is, as far as it counts for the way it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A keyword that fails.
    Plain,
    /// Several problems of one schema: at the root they stand alone.
    Group,
    /// What is wrong with a schema that was referred to.
    Reference,
}

/// Something that does not fit, with what it comes from.
#[derive(Debug)]
struct Problem {
    at: String,
    text: String,
    sort: Sort,
    causes: Vec<Problem>,
}

impl Problem {
    fn new(at: &str, text: String) -> Problem {
        Problem { at: at.to_owned(), text, sort: Sort::Plain, causes: Vec::new() }
    }

    fn under(at: &str, text: impl Into<String>, causes: Vec<Problem>) -> Problem {
        Problem { at: at.to_owned(), text: text.into(), sort: Sort::Plain, causes }
    }

    /// One problem, or several as one.
    fn together(at: &str, mut problems: Vec<Problem>) -> Option<Problem> {
        if problems.len() < 2 {
            return problems.pop();
        }
        Some(Problem { at: at.to_owned(), text: String::new(), sort: Sort::Group, causes: problems })
    }

    /// The problems of a group, or the one that is none.
    fn parts(self) -> Vec<Problem> {
        if self.sort == Sort::Group { self.causes } else { vec![self] }
    }

    /// As a problem of a schema referred to.
    fn referred(self, at: &str) -> Problem {
        Problem { at: at.to_owned(), text: String::new(), sort: Sort::Reference, causes: self.parts() }
    }

    fn write(&self, out: &mut String, depth: usize) {
        if self.sort != Sort::Plain
            && let [only] = self.causes.as_slice()
        {
            return only.write(out, depth);
        }
        let text = if self.sort == Sort::Plain { &self.text } else { "validation failed" };
        out.push_str(&format!("{}- at {}: {text}\n", "  ".repeat(depth), words::quote(&self.at)));
        self.causes.iter().for_each(|c| c.write(out, depth + 1));
    }
}
