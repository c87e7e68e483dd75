//! `values.schema.json`: JSON Schema with the words that Helm's validator uses.
//!
//! Drafts 4 to 2020-12 are read alike; references are resolved inside the schema only, as nothing is fetched.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::formats;
use crate::error::Error;
use crate::value::Data;
use crate::values::process::Node;

/// Deepest nesting of schemas.
const MAX_DEPTH: usize = 200;
/// Subschemas that one validation may visit.
const MAX_STEPS: usize = 2_000_000;

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

fn has_schema(node: &Node<'_>) -> bool {
    node.chart.schema.is_some() || node.dependencies.iter().any(has_schema)
}

fn collect(node: &Node<'_>, values: &Json, report: &mut String) {
    if let Some(schema) = &node.chart.schema
        && let Err(text) = check(schema, values)
    {
        report.push_str(&format!("{}:\n{text}", node.name));
    }
    for sub in &node.dependencies {
        match values.get(&sub.name) {
            Some(below @ Json::Object(_)) => collect(sub, below, report),
            None => {}
            Some(_) => report.push_str(&format!(
                "{}:\ninvalid type for values: expected object (map), got {}\n",
                sub.name,
                kind(values.get(&sub.name).unwrap_or(&Json::Null))
            )),
        }
    }
}

/// Checks a value against the text of a schema.
///
/// # Errors
/// What does not fit, one line each.
pub fn check(schema: &str, value: &Json) -> Result<(), String> {
    let root: Json = match serde_json::from_str(schema) {
        Ok(root) => root,
        Err(e) if e.is_eof() => return Err("unexpected EOF".to_owned()),
        Err(_) => return Err(crate::value::json::decode(schema).err().unwrap_or_else(|| "invalid JSON".to_owned())),
    };
    if !matches!(root, Json::Object(_) | Json::Bool(_)) {
        return Err(format!(
            "\"file:///values.schema.json#\" is not valid against metaschema: jsonschema validation failed with 'https://json-schema.org/draft/2020-12/schema#'\n- at '': got {}, want boolean or object",
            kind(&root)
        ));
    }
    let draft = root.get("$schema").and_then(Json::as_str).unwrap_or("");
    let assert_format = ["draft-04", "draft-06", "draft-07"].iter().any(|d| draft.contains(d));
    let mut checker = Checker { root: &root, assert_format, steps: 0, fatal: None };
    let mut problems = Vec::new();
    checker.schema(&root, value, "", 0, &mut problems, &mut Seen::default());
    if let Some(fatal) = checker.fatal {
        return Err(fatal);
    }
    if problems.is_empty() {
        return Ok(());
    }
    // A group that stands alone is not shown as one.
    while let [only] = problems.as_mut_slice()
        && only.text == GROUP
    {
        problems = std::mem::take(&mut only.causes);
    }
    let mut out = String::new();
    problems.iter().for_each(|p| p.write(&mut out, 0));
    Err(out)
}

fn kind(v: &Json) -> &'static str {
    match v {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// What several problems of one value are put under.
const GROUP: &str = "validation failed";

struct Problem {
    at: String,
    text: String,
    causes: Vec<Problem>,
}

impl Problem {
    fn write(&self, out: &mut String, depth: usize) {
        out.push_str(&format!("{}- at '{}': {}\n", "  ".repeat(depth), self.at, self.text));
        self.causes.iter().for_each(|c| c.write(out, depth + 1));
    }
}

/// Properties and items that some keyword looked at, for `unevaluated...`.
#[derive(Default)]
struct Seen {
    properties: BTreeSet<String>,
    items: usize,
    all_items: bool,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.properties.extend(other.properties);
        self.items = self.items.max(other.items);
        self.all_items |= other.all_items;
    }
}

struct Checker<'s> {
    root: &'s Json,
    assert_format: bool,
    steps: usize,
    fatal: Option<String>,
}

fn number(v: f64) -> String {
    goyaml::format_float(v)
}

fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| equal(v, w)))
        }
        _ => a == b,
    }
}

fn is_type(v: &Json, name: &str) -> bool {
    match name {
        "integer" => v.as_f64().is_some_and(|f| f.fract() == 0.0),
        name => kind(v) == name,
    }
}

fn shown(v: &Json) -> Option<String> {
    match v {
        Json::String(s) => Some(format!("'{s}'")),
        Json::Null => Some("<nil>".to_owned()),
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

fn quoted<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    names.into_iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
}

fn join(at: &str, part: &str) -> String {
    format!("{at}/{}", part.replace('~', "~0").replace('/', "~1"))
}

impl<'s> Checker<'s> {
    /// Runs a subschema by itself.
    fn probe(&mut self, schema: &'s Json, value: &Json, at: &str, depth: usize) -> (Vec<Problem>, Seen) {
        let mut problems = Vec::new();
        let mut seen = Seen::default();
        self.schema(schema, value, at, depth + 1, &mut problems, &mut seen);
        (problems, seen)
    }

    /// Several problems of one subschema count as one with causes.
    fn grouped(at: &str, mut problems: Vec<Problem>) -> Option<Problem> {
        match problems.len() {
            0 => None,
            1 => problems.pop(),
            _ => Some(Problem { at: at.to_owned(), text: GROUP.to_owned(), causes: problems }),
        }
    }

    fn schema(
        &mut self,
        schema: &'s Json,
        value: &Json,
        at: &str,
        depth: usize,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        self.steps += 1;
        if depth > MAX_DEPTH || self.steps > MAX_STEPS {
            self.fatal.get_or_insert_with(|| "schema is nested too deep".to_owned());
            return;
        }
        let add = |out: &mut Vec<Problem>, text: String| {
            out.push(Problem { at: at.to_owned(), text, causes: Vec::new() });
        };
        let map = match schema {
            Json::Bool(true) => return,
            Json::Bool(false) => return add(out, "false schema".to_owned()),
            Json::Object(map) => map,
            _ => return,
        };
        let get = |key: &str| map.get(key);
        let float = |key: &str| map.get(key).and_then(Json::as_f64);
        let size = |key: &str| map.get(key).and_then(Json::as_f64).map(|f| f as usize);
        if let Some(ty) = get("type") {
            let names: Vec<&str> = match ty {
                Json::String(s) => vec![s.as_str()],
                Json::Array(items) => items.iter().filter_map(Json::as_str).collect(),
                other => {
                    self.fatal.get_or_insert_with(|| format!(
                        "\"file:///values.schema.json#\" is not valid against metaschema: jsonschema validation failed with 'https://json-schema.org/draft/2020-12/schema#'\n- at '': 'allOf' failed\n  - at '/type': 'anyOf' failed\n    - at '/type': value must be one of 'array', 'boolean', 'integer', 'null', 'number', 'object', 'string'\n    - at '/type': got {}, want array",
                        kind(other)
                    ));
                    return;
                }
            };
            if !names.iter().any(|n| is_type(value, n)) {
                // What is of the wrong type is not looked into further.
                return add(out, format!("got {}, want {}", kind(value), names.join(" or ")));
            }
        }
        if let Some(wanted) = get("const")
            && !equal(wanted, value)
        {
            add(out, shown(wanted).map_or("'const' failed".to_owned(), |s| format!("value must be {s}")));
        }
        if let Some(Json::Array(options)) = get("enum")
            && !options.iter().any(|o| equal(o, value))
        {
            let texts: Option<Vec<String>> = options.iter().map(shown).collect();
            add(
                out,
                match texts {
                    None => "'enum' failed".to_owned(),
                    Some(t) if t.len() == 1 => format!("value must be {}", t[0]),
                    Some(t) => format!("value must be one of {}", t.join(", ")),
                },
            );
        }
        if self.assert_format
            && let (Some(Json::String(format)), Json::String(text)) = (get("format"), value)
            && let Some(reason) = formats::refuse(format, text)
        {
            add(out, format!("'{text}' is not valid {format}: {reason}"));
        }
        match value {
            Json::Object(object) => self.object(map, object, at, depth, out, seen),
            Json::Array(items) => self.array(map, items, at, depth, out, seen),
            Json::String(text) => {
                let length = text.chars().count();
                if let Some(least) = size("minLength").filter(|&n| length < n) {
                    add(out, format!("minLength: got {length}, want {least}"));
                }
                if let Some(most) = size("maxLength").filter(|&n| length > n) {
                    add(out, format!("maxLength: got {length}, want {most}"));
                }
                if let Some(Json::String(pattern)) = get("pattern") {
                    match crate::funcs::regexes::compile(pattern) {
                        Ok(regex) if regex.is_match(text) => {}
                        Ok(_) => add(out, format!("'{text}' does not match pattern '{pattern}'")),
                        Err(e) => {
                            self.fatal.get_or_insert(e);
                        }
                    }
                }
            }
            Json::Number(n) => {
                let got = n.as_f64().unwrap_or(0.0);
                let say = |name: &str, want: f64| format!("{name}: got {}, want {}", number(got), number(want));
                let strict = |key: &str| get(key) == Some(&Json::Bool(true));
                if let Some(least) = float("minimum") {
                    if strict("exclusiveMinimum") {
                        if got <= least {
                            add(out, say("exclusiveMinimum", least));
                        }
                    } else if got < least {
                        add(out, say("minimum", least));
                    }
                }
                if let Some(most) = float("maximum") {
                    if strict("exclusiveMaximum") {
                        if got >= most {
                            add(out, say("exclusiveMaximum", most));
                        }
                    } else if got > most {
                        add(out, say("maximum", most));
                    }
                }
                if let Some(least) = float("exclusiveMinimum").filter(|&n| got <= n) {
                    add(out, say("exclusiveMinimum", least));
                }
                if let Some(most) = float("exclusiveMaximum").filter(|&n| got >= n) {
                    add(out, say("exclusiveMaximum", most));
                }
                if let Some(unit) = float("multipleOf").filter(|&u| u > 0.0) {
                    let ratio = got / unit;
                    if (ratio - ratio.round()).abs() > 1e-9 * ratio.abs().max(1.0) {
                        add(out, say("multipleOf", unit));
                    }
                }
            }
            _ => {}
        }
        for key in ["$ref", "$recursiveRef", "$dynamicRef"] {
            if let Some(Json::String(reference)) = get(key) {
                match self.resolve(reference) {
                    Some(target) => {
                        let (problems, below) = self.probe(target, value, at, depth);
                        out.extend(problems);
                        seen.add(below);
                    }
                    None => {
                        let text = if reference.starts_with('#') {
                            format!("json-pointer in \"file:///values.schema.json{reference}\" not found")
                        } else {
                            format!("failing loading \"{reference}\": schemas are not fetched from elsewhere")
                        };
                        self.fatal.get_or_insert(text);
                    }
                }
            }
        }
        self.combined(map, value, at, depth, out, seen);
        self.unevaluated(map, value, at, depth, out, seen);
    }

    fn resolve(&self, reference: &str) -> Option<&'s Json> {
        let pointer = reference.strip_prefix('#')?;
        if pointer.is_empty() {
            return Some(self.root);
        }
        if !pointer.starts_with('/') {
            return find_anchor(self.root, pointer, 0);
        }
        let decoded = pointer.replace("%25", "%").replace("%20", " ").replace("%22", "\"");
        self.root.pointer(&decoded)
    }

    fn combined(
        &mut self,
        map: &'s serde_json::Map<String, Json>,
        value: &Json,
        at: &str,
        depth: usize,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let problem = |text: String, causes| Problem { at: at.to_owned(), text, causes };
        if let Some(Json::Array(all)) = map.get("allOf") {
            let mut causes = Vec::new();
            for sub in all {
                let (problems, below) = self.probe(sub, value, at, depth);
                seen.add(below);
                causes.extend(Self::grouped(at, problems));
            }
            if !causes.is_empty() {
                out.push(problem("'allOf' failed".to_owned(), causes));
            }
        }
        if let Some(Json::Array(any)) = map.get("anyOf") {
            let mut causes = Vec::new();
            let mut matched = false;
            for sub in any {
                let (problems, below) = self.probe(sub, value, at, depth);
                if problems.is_empty() {
                    matched = true;
                    seen.add(below);
                } else {
                    causes.extend(Self::grouped(at, problems));
                }
            }
            if !matched {
                out.push(problem("'anyOf' failed".to_owned(), causes));
            }
        }
        if let Some(Json::Array(one)) = map.get("oneOf") {
            let mut causes = Vec::new();
            let mut matched = Vec::new();
            for (i, sub) in one.iter().enumerate() {
                let (problems, below) = self.probe(sub, value, at, depth);
                if problems.is_empty() {
                    matched.push(i.to_string());
                    seen.add(below);
                    if matched.len() == 2 {
                        break;
                    }
                } else {
                    causes.extend(Self::grouped(at, problems));
                }
            }
            match matched.len() {
                0 => out.push(problem("'oneOf' failed, none matched".to_owned(), causes)),
                1 => {}
                _ => {
                    out.push(problem(format!("'oneOf' failed, subschemas {} matched", matched.join(", ")), Vec::new()))
                }
            }
        }
        if let Some(not) = map.get("not")
            && self.probe(not, value, at, depth).0.is_empty()
        {
            out.push(problem("'not' failed".to_owned(), Vec::new()));
        }
        if let Some(condition) = map.get("if") {
            let (problems, below) = self.probe(condition, value, at, depth);
            let holds = problems.is_empty();
            if holds {
                seen.add(below);
            }
            if let Some(branch) = map.get(if holds { "then" } else { "else" }) {
                let (problems, below) = self.probe(branch, value, at, depth);
                out.extend(problems);
                seen.add(below);
            }
        }
    }

    fn unevaluated(
        &mut self,
        map: &'s serde_json::Map<String, Json>,
        value: &Json,
        at: &str,
        depth: usize,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        if let (Some(rest), Json::Object(object)) = (map.get("unevaluatedProperties"), value) {
            for (name, value) in object {
                if seen.properties.insert(name.clone()) {
                    out.extend(self.probe(rest, value, &join(at, name), depth).0);
                }
            }
        }
        if let (Some(rest), Json::Array(items)) = (map.get("unevaluatedItems"), value)
            && !seen.all_items
        {
            for (i, value) in items.iter().enumerate().skip(seen.items) {
                out.extend(self.probe(rest, value, &join(at, &i.to_string()), depth).0);
            }
            seen.all_items = true;
        }
    }

    fn object(
        &mut self,
        map: &'s serde_json::Map<String, Json>,
        object: &serde_json::Map<String, Json>,
        at: &str,
        depth: usize,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let size = |key: &str| map.get(key).and_then(Json::as_f64).map(|f| f as usize);
        let add = |out: &mut Vec<Problem>, text: String| {
            out.push(Problem { at: at.to_owned(), text, causes: Vec::new() });
        };
        if let Some(least) = size("minProperties").filter(|&n| object.len() < n) {
            add(out, format!("minProperties: got {}, want {least}", object.len()));
        }
        if let Some(most) = size("maxProperties").filter(|&n| object.len() > n) {
            add(out, format!("maxProperties: got {}, want {most}", object.len()));
        }
        let absent = |list: &'s Json| -> Vec<&'s str> {
            let names = list.as_array().into_iter().flatten().filter_map(Json::as_str);
            names.filter(|n| !object.contains_key(*n)).collect()
        };
        if let Some(list) = map.get("required") {
            let missing = absent(list);
            match missing.len() {
                0 => {}
                1 => add(out, format!("missing property '{}'", missing[0])),
                _ => add(out, format!("missing properties {}", quoted(missing))),
            }
        }
        for key in ["dependencies", "dependentRequired", "dependentSchemas"] {
            let Some(Json::Object(all)) = map.get(key) else { continue };
            for (name, rule) in all.iter().filter(|(n, _)| object.contains_key(*n)) {
                if rule.is_array() {
                    let missing = absent(rule);
                    if !missing.is_empty() {
                        add(out, format!("properties {} required, if '{name}' exists", quoted(missing)));
                    }
                } else {
                    let (problems, below) = self.probe(rule, &Json::Object(object.clone()), at, depth);
                    out.extend(problems);
                    seen.add(below);
                }
            }
        }
        let patterns: Vec<(Option<regex::Regex>, &'s Json)> = match map.get("patternProperties") {
            Some(Json::Object(all)) => all.iter().map(|(p, s)| (crate::funcs::regexes::compile(p).ok(), s)).collect(),
            _ => Vec::new(),
        };
        let mut additional: Vec<&str> = Vec::new();
        for (name, value) in object {
            let below = join(at, name);
            let mut known = false;
            if let Some(schema) = map.get("properties").and_then(|p| p.get(name)) {
                known = true;
                out.extend(Self::grouped(&below, self.probe(schema, value, &below, depth).0));
            }
            for (pattern, schema) in &patterns {
                if pattern.as_ref().is_some_and(|p| p.is_match(name)) {
                    known = true;
                    out.extend(Self::grouped(&below, self.probe(schema, value, &below, depth).0));
                }
            }
            if !known && let Some(rest) = map.get("additionalProperties") {
                known = true;
                match rest {
                    Json::Bool(false) => additional.push(name),
                    rest => out.extend(Self::grouped(&below, self.probe(rest, value, &below, depth).0)),
                }
            }
            if known {
                seen.properties.insert(name.clone());
            }
        }
        if !additional.is_empty() {
            add(out, format!("additional properties {} not allowed", quoted(additional)));
        }
        if let Some(rule) = map.get("propertyNames") {
            for name in object.keys() {
                let causes = self.probe(rule, &Json::String(name.clone()), at, depth).0;
                if !causes.is_empty() {
                    out.push(Problem { at: at.to_owned(), text: format!("invalid propertyName '{name}'"), causes });
                }
            }
        }
    }

    fn array(
        &mut self,
        map: &'s serde_json::Map<String, Json>,
        items: &[Json],
        at: &str,
        depth: usize,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let size = |key: &str| map.get(key).and_then(Json::as_f64).map(|f| f as usize);
        let add = |out: &mut Vec<Problem>, text: String| {
            out.push(Problem { at: at.to_owned(), text, causes: Vec::new() });
        };
        if let Some(least) = size("minItems").filter(|&n| items.len() < n) {
            add(out, format!("minItems: got {}, want {least}", items.len()));
        }
        if let Some(most) = size("maxItems").filter(|&n| items.len() > n) {
            add(out, format!("maxItems: got {}, want {most}", items.len()));
        }
        if map.get("uniqueItems") == Some(&Json::Bool(true)) && items.len() < 2000 {
            let pair =
                (1..items.len()).flat_map(|j| (0..j).map(move |i| (i, j))).find(|&(i, j)| equal(&items[i], &items[j]));
            if let Some((i, j)) = pair {
                add(out, format!("items at {i} and {j} are equal"));
            }
        }
        // A list of schemas by position, and one for the rest.
        let (first, rest, old): (&'s [Json], Option<&'s Json>, bool) = match (map.get("prefixItems"), map.get("items"))
        {
            (Some(Json::Array(first)), rest) => (first, rest, false),
            (_, Some(Json::Array(first))) => (first, map.get("additionalItems"), true),
            (_, rest) => (&[], rest, false),
        };
        for (i, value) in items.iter().enumerate() {
            let below = join(at, &i.to_string());
            if let Some(schema) = first.get(i) {
                out.extend(Self::grouped(&below, self.probe(schema, value, &below, depth).0));
                seen.items = seen.items.max(i + 1);
                continue;
            }
            match rest {
                Some(Json::Bool(false)) if old => {
                    add(out, format!("last {} additionalItem(s) not allowed", items.len() - i));
                    break;
                }
                Some(schema) => {
                    // The validator counts what follows the first items from 0 again.
                    let below = join(at, &(i - if old { 0 } else { first.len() }).to_string());
                    out.extend(Self::grouped(&below, self.probe(schema, value, &below, depth).0));
                    seen.all_items = true;
                }
                None => break,
            }
        }
        if let Some(rule) = map.get("contains") {
            let least = size("minContains").unwrap_or(1);
            let mut causes = Vec::new();
            let mut matched = 0;
            for (i, value) in items.iter().enumerate() {
                let problems = self.probe(rule, value, &join(at, &i.to_string()), depth).0;
                if problems.is_empty() {
                    matched += 1;
                } else {
                    causes.extend(problems);
                }
            }
            if matched < least {
                let text = if map.contains_key("minContains") && matched > 0 {
                    format!("min {least} items required to match contains schema, but matched {matched} items")
                } else {
                    "no items match contains schema".to_owned()
                };
                out.push(Problem { at: at.to_owned(), text, causes });
            }
            if let Some(most) = size("maxContains").filter(|&n| matched > n) {
                add(out, format!("max {most} items required to match contains schema, but matched {matched} items"));
            }
        }
    }
}

fn find_anchor<'s>(schema: &'s Json, name: &str, depth: usize) -> Option<&'s Json> {
    if depth > MAX_DEPTH {
        return None;
    }
    match schema {
        Json::Object(map) => {
            let own = map.get("$anchor").and_then(Json::as_str) == Some(name)
                || map.get("$id").or_else(|| map.get("id")).and_then(Json::as_str) == Some(&format!("#{name}"));
            if own {
                return Some(schema);
            }
            map.values().find_map(|v| find_anchor(v, name, depth + 1))
        }
        Json::Array(items) => items.iter().find_map(|v| find_anchor(v, name, depth + 1)),
        _ => None,
    }
}
