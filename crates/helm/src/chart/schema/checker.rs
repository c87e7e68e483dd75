//! One schema against one value: references, types, and the keywords of plain values.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::words::{count, kind, number, quote, quoted, shown};
use super::{Draft, OWN, Patterns, Problem, formats, meta, words};

/// Deepest nesting of schemas.
const MAX_DEPTH: usize = 200;
/// Subschemas that one validation may visit.
const MAX_STEPS: usize = 2_000_000;

/// Properties and items that some keyword looked at, for `unevaluated...`.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) properties: BTreeSet<String>,
    /// So many from the first.
    pub(super) items: usize,
    /// And these.
    pub(super) single: BTreeSet<usize>,
    pub(super) all_items: bool,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.properties.extend(other.properties);
        self.items = self.items.max(other.items);
        self.single.extend(other.single);
        self.all_items |= other.all_items;
    }
}

/// A step from one schema to the next, as a keyword location names it.
#[derive(Clone, Copy)]
pub(super) enum Scope<'s> {
    Root,
    Key(&'static str),
    Name(&'static str, &'s str),
    Index(&'static str, usize),
}

/// Where a schema stands: the value's place, and the schemas on the way to it.
#[derive(Clone, Copy)]
pub(super) struct Place<'p, 's> {
    pub(super) at: &'p str,
    pub(super) draft: Draft,
    scope: Scope<'s>,
    schema: &'s Json,
    /// The schema before, and whether it looks at the same value.
    before: Option<(&'p Place<'p, 's>, bool)>,
    depth: usize,
}

impl<'s> Place<'_, 's> {
    /// The keywords that led here.
    fn keywords(&self) -> String {
        let mut steps = Vec::new();
        let mut here = Some(self);
        while let Some(place) = here {
            steps.push(match place.scope {
                Scope::Root => String::new(),
                Scope::Key(key) => format!("/{key}"),
                Scope::Name(key, name) => format!("/{key}/{name}"),
                Scope::Index(key, i) => format!("/{key}/{i}"),
            });
            here = place.before.map(|(before, _)| before);
        }
        steps.into_iter().rev().collect()
    }

    /// The same schema looking at the same value before.
    fn cycle(&self) -> Option<&Self> {
        let mut here = self;
        while let Some((before, true)) = here.before {
            if std::ptr::eq(before.schema, self.schema) {
                return Some(before);
            }
            here = before;
        }
        None
    }
}

pub(super) struct Checker<'s> {
    root: &'s Json,
    assert_format: bool,
    pub(super) patterns: &'s Patterns,
    steps: usize,
    pub(super) fatal: Option<String>,
}

impl<'s> Checker<'s> {
    /// What is wrong with a value, as lines; the error is a schema that cannot be used.
    pub(super) fn run(
        root: &'s Json,
        draft: Draft,
        assert_format: bool,
        value: &Json,
        patterns: &'s Patterns,
    ) -> Result<Option<String>, String> {
        let mut checker = Checker { root, assert_format, patterns, steps: 0, fatal: None };
        let place = Place { at: "", draft, scope: Scope::Root, schema: root, before: None, depth: 0 };
        let problem = checker.schema(value, place, &mut Seen::default());
        if let Some(fatal) = checker.fatal {
            return Err(fatal);
        }
        let Some(problem) = problem else { return Ok(None) };
        let mut out = String::new();
        problem.parts().iter().for_each(|p| p.write(&mut out, 0));
        Ok(Some(out))
    }

    /// Another schema for the same value.
    pub(super) fn same(
        &mut self,
        schema: &'s Json,
        value: &Json,
        place: Place<'_, 's>,
        scope: Scope<'s>,
        seen: &mut Seen,
    ) -> Option<Problem> {
        let mut own = Seen::default();
        let next = Place { scope, schema, before: Some((&place, true)), depth: place.depth + 1, ..place };
        let problem = self.schema(value, next, &mut own);
        if problem.is_none() {
            seen.add(own);
        }
        problem
    }

    /// A schema for a part of the value.
    pub(super) fn below(
        &mut self,
        schema: &'s Json,
        value: &Json,
        at: &str,
        scope: Scope<'s>,
        place: Place<'_, 's>,
    ) -> Option<Problem> {
        let next =
            Place { at, scope, schema, before: Some((&place, false)), depth: place.depth + 1, draft: place.draft };
        self.schema(value, next, &mut Seen::default())
    }

    fn schema(&mut self, value: &Json, place: Place<'_, 's>, seen: &mut Seen) -> Option<Problem> {
        self.steps += 1;
        if place.depth > MAX_DEPTH || self.steps > MAX_STEPS {
            self.fatal.get_or_insert_with(|| "schema is nested too deep".to_owned());
            return None;
        }
        let at = place.at;
        let map = match place.schema {
            Json::Bool(false) => return Some(Problem::new(at, "false schema".to_owned())),
            Json::Object(map) => map,
            _ => return None,
        };
        if let Some(before) = place.cycle() {
            let text = format!(
                "both {} and {} resolve to \"{OWN}#{}\" causing reference cycle",
                place.keywords(),
                before.keywords(),
                self.pointer(place.schema),
            );
            return Some(Problem::new(at, text));
        }
        if let Some(text) = wrong_type(map, value).or_else(|| wrong_value(map, value, place.draft)) {
            return Some(Problem::new(at, text));
        }
        if self.assert_format
            && let (Some(Json::String(format)), Json::String(text)) = (map.get("format"), value)
            && let Some(reason) = self.refuse_format(format, text)
        {
            return Some(Problem::new(at, format!("{} is not valid {format}: {reason}", quote(text))));
        }
        let mut out = Vec::new();
        if let Some(Json::String(reference)) = map.get("$ref") {
            let problem = self.referred(reference, "$ref", value, place, seen);
            if place.draft < Draft::D2019 {
                return problem;
            }
            out.extend(problem);
        }
        match value {
            Json::Object(object) => self.object(map, object, value, place, &mut out, seen),
            Json::Array(items) => self.array(map, items, place, &mut out, seen),
            Json::String(text) => self.text(map, text, at, &mut out),
            Json::Number(n) => numbers(map, n.as_f64().unwrap_or(0.0), place, &mut out),
            _ => {}
        }
        for key in ["$recursiveRef", "$dynamicRef"] {
            if let Some(Json::String(reference)) = map.get(key) {
                out.extend(self.referred(reference, key, value, place, seen));
            }
        }
        self.combined(map, value, place, &mut out, seen);
        self.unevaluated(map, value, place, &mut out, seen);
        Problem::together(at, out)
    }

    fn refuse_format(&self, format: &str, text: &str) -> Option<String> {
        // An expression that is asked for here is used later.
        if format == "regex" { self.patterns.get(text).err() } else { formats::refuse(format, text) }
    }

    fn text(&mut self, map: &serde_json::Map<String, Json>, text: &str, at: &str, out: &mut Vec<Problem>) {
        let mut add = |text: String| out.push(Problem::new(at, text));
        let length = text.chars().count();
        bounds(map, "minLength", "maxLength", length, &mut add);
        if let Some(Json::String(pattern)) = map.get("pattern") {
            match self.patterns.get(pattern) {
                Ok(regex) if regex.is_match(text) => {}
                Ok(_) => add(format!("{} does not match pattern {}", quote(text), quote(pattern))),
                Err(e) => {
                    self.fatal.get_or_insert(e);
                }
            }
        }
    }

    fn referred(
        &mut self,
        reference: &str,
        key: &'static str,
        value: &Json,
        place: Place<'_, 's>,
        seen: &mut Seen,
    ) -> Option<Problem> {
        match self.resolve(reference) {
            Ok(target) => {
                let problem = self.same(target, value, place, Scope::Key(key), seen)?;
                Some(problem.referred(place.at))
            }
            Err(text) => {
                self.fatal.get_or_insert(text);
                None
            }
        }
    }

    fn resolve(&self, reference: &str) -> Result<&'s Json, String> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let root = if base.is_empty() {
            self.root
        } else if let Some(draft) = Draft::by_url(base) {
            meta::schema(draft)
        } else {
            find(self.root, &|map| identity(map).is_some_and(|id| id == base || id.ends_with(&format!("/{base}"))), 0)
                .ok_or_else(|| format!("failing loading \"{reference}\": schemas are not fetched from elsewhere"))?
        };
        let found = match fragment {
            "" => Some(root),
            pointer if pointer.starts_with('/') => {
                root.pointer(&pointer.replace("%25", "%").replace("%20", " ").replace("%22", "\""))
            }
            anchor => find(root, &|map| names(map, anchor), 0),
        };
        found.ok_or_else(|| match fragment.starts_with('/') {
            true => format!("json-pointer in \"{OWN}#{fragment}\" not found"),
            false => format!("anchor in \"{OWN}#{fragment}\" not found"),
        })
    }

    /// The pointer of a schema from the root.
    fn pointer(&self, schema: &Json) -> String {
        fn search(here: &Json, wanted: &Json, path: &str) -> Option<String> {
            if std::ptr::eq(here, wanted) {
                return Some(path.to_owned());
            }
            match here {
                Json::Object(map) => map.iter().find_map(|(k, v)| search(v, wanted, &words::join(path, k))),
                Json::Array(items) => {
                    items.iter().enumerate().find_map(|(i, v)| search(v, wanted, &format!("{path}/{i}")))
                }
                _ => None,
            }
        }
        search(self.root, schema, "").unwrap_or_default()
    }
}

/// The name that a schema gives itself.
fn identity(map: &serde_json::Map<String, Json>) -> Option<&str> {
    map.get("$id").or_else(|| map.get("id")).and_then(Json::as_str).map(|id| id.trim_end_matches('#'))
}

/// Whether a schema has this anchor.
fn names(map: &serde_json::Map<String, Json>, anchor: &str) -> bool {
    let named = |key: &str| map.get(key).and_then(Json::as_str) == Some(anchor);
    named("$anchor")
        || named("$dynamicAnchor")
        || ["$id", "id"]
            .iter()
            .any(|k| map.get(*k).and_then(Json::as_str).and_then(|v| v.strip_prefix('#')) == Some(anchor))
}

fn find<'s>(
    schema: &'s Json,
    wanted: &dyn Fn(&serde_json::Map<String, Json>) -> bool,
    depth: usize,
) -> Option<&'s Json> {
    if depth > MAX_DEPTH {
        return None;
    }
    match schema {
        Json::Object(map) if wanted(map) => Some(schema),
        Json::Object(map) => map.values().find_map(|v| find(v, wanted, depth + 1)),
        Json::Array(items) => items.iter().find_map(|v| find(v, wanted, depth + 1)),
        _ => None,
    }
}

/// A number of things against the least and the most.
pub(super) fn bounds(
    map: &serde_json::Map<String, Json>,
    least: &str,
    most: &str,
    got: usize,
    add: &mut impl FnMut(String),
) {
    let size = |key: &str| map.get(key).and_then(Json::as_f64).map(|f| f as usize);
    if let Some(want) = size(least).filter(|&want| got < want) {
        add(format!("{least}: got {}, want {}", count(got), count(want)));
    }
    if let Some(want) = size(most).filter(|&want| got > want) {
        add(format!("{most}: got {}, want {}", count(got), count(want)));
    }
}

fn is_type(v: &Json, name: &str) -> bool {
    match name {
        "integer" => v.as_f64().is_some_and(|f| f.fract() == 0.0),
        name => kind(v) == name,
    }
}

fn wrong_type(map: &serde_json::Map<String, Json>, value: &Json) -> Option<String> {
    let names: Vec<&str> = match map.get("type")? {
        Json::String(name) => vec![name.as_str()],
        Json::Array(items) => items.iter().filter_map(Json::as_str).collect(),
        _ => return None,
    };
    if names.is_empty() || names.iter().any(|name| is_type(value, name)) {
        return None;
    }
    let wanted: Vec<&str> = words::TYPES.into_iter().filter(|t| names.contains(t)).collect();
    Some(format!("got {}, want {}", kind(value), wanted.join(" or ")))
}

fn wrong_value(map: &serde_json::Map<String, Json>, value: &Json, draft: Draft) -> Option<String> {
    if draft >= Draft::D6
        && let Some(wanted) = map.get("const")
        && !equal(wanted, value)
    {
        return Some(shown(wanted).map_or("'const' failed".to_owned(), |s| format!("value must be {s}")));
    }
    let Some(Json::Array(options)) = map.get("enum") else { return None };
    if options.iter().any(|o| equal(o, value)) {
        return None;
    }
    let texts: Option<Vec<String>> = options.iter().map(shown).collect();
    Some(match texts {
        None => "'enum' failed".to_owned(),
        Some(t) if t.len() == 1 => format!("value must be {}", t[0]),
        Some(t) => format!("value must be one of {}", t.join(", ")),
    })
}

pub(super) fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| equal(v, w)))
        }
        _ => a == b,
    }
}

fn numbers(map: &serde_json::Map<String, Json>, got: f64, place: Place<'_, '_>, out: &mut Vec<Problem>) {
    let float = |key: &str| map.get(key).and_then(Json::as_f64);
    let strict = |key: &str| map.get(key) == Some(&Json::Bool(true));
    let mut test = |name: &str, want: Option<f64>, wrong: fn(f64, f64) -> bool| {
        if let Some(want) = want.filter(|&want| wrong(got, want)) {
            out.push(Problem::new(place.at, format!("{name}: got {}, want {}", number(got), number(want))));
        }
    };
    let old = place.draft == Draft::D4;
    if old && strict("exclusiveMinimum") {
        test("exclusiveMinimum", float("minimum"), |got, want| got <= want);
    } else {
        test("minimum", float("minimum"), |got, want| got < want);
    }
    if old && strict("exclusiveMaximum") {
        test("exclusiveMaximum", float("maximum"), |got, want| got >= want);
    } else {
        test("maximum", float("maximum"), |got, want| got > want);
    }
    if !old {
        test("exclusiveMinimum", float("exclusiveMinimum"), |got, want| got <= want);
        test("exclusiveMaximum", float("exclusiveMaximum"), |got, want| got >= want);
    }
    test("multipleOf", float("multipleOf"), |got, unit| {
        let ratio = got / unit;
        unit > 0.0 && (ratio - ratio.round()).abs() > 1e-9 * ratio.abs().max(1.0)
    });
}

/// What is said of properties that others ask for.
pub(super) fn asked_for(missing: Vec<&str>, by: &str) -> String {
    format!("properties {} required, if {} exists", quoted(missing), quote(by))
}
