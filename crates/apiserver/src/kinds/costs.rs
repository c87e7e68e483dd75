//! What the CEL rules of a schema may cost at most: rules that are too costly for the largest objects that the schema admits
//! are refused with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::{Extent, Program, Ty, Variable};
use objects::schema::{SchemaRef, Type};
use objects::status::Cause;

use super::values;

/// What one rule may cost.
const RULE: u64 = 10_000_000;
/// What all rules of a schema may cost together.
const SCHEMA: u64 = 100_000_000;
/// The largest request, in bytes: it bounds what has no bound of its own.
const REQUEST: u64 = 3 << 20;
const MAX_DEPTH: usize = 64;

/// The faults of a schema's rules that cost too much; the paths are below `path`.
pub fn faults(schema: SchemaRef<'_>, path: &str) -> Vec<Cause> {
    let mut walk = Walk { causes: Vec::new(), total: 0 };
    walk.schema(schema, path, 1, 0);
    if walk.total > SCHEMA {
        let text = too_much(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
            walk.total,
            SCHEMA,
        );
        walk.causes.push(Cause::forbidden(path, text));
    }
    walk.causes
}

fn too_much(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

struct Walk {
    causes: Vec<Cause>,
    total: u64,
}

impl Walk {
    /// `times`: how many values of this schema an object may have.
    fn schema(&mut self, schema: SchemaRef<'_>, path: &str, times: u64, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let rules = schema.node().validation.as_ref().map(|v| v.rules.as_slice()).unwrap_or_default();
        if !rules.is_empty() {
            let (of, extent) = (values::declared(schema, depth == 0), extent(schema, depth));
            for (i, rule) in rules.iter().enumerate() {
                let optional = rule.optional_old_self == Some(true);
                let old = if optional { Ty::Optional(Box::new(of.clone())) } else { of.clone() };
                let variables = [Variable::new("self", of.clone()), Variable::new("oldSelf", old)];
                // What does not compile is told elsewhere.
                let Ok(program) = Program::compile(&rule.rule, &variables) else { continue };
                let cost = program.cost(&[("self", Arc::clone(&extent)), ("oldSelf", Arc::clone(&extent))]);
                let cost = cost.saturating_mul(times);
                if cost > RULE {
                    let field = format!("{path}.x-kubernetes-validations[{i}].rule");
                    self.causes.push(Cause::forbidden(field, too_much("estimated rule cost", cost, RULE)));
                }
                self.total = self.total.saturating_add(cost);
            }
        }
        for (name, field) in schema.fields() {
            self.schema(field, &format!("{path}.properties[{name}]"), times, depth + 1);
        }
        let many = times.saturating_mul(most(schema));
        if let Some(additional) = schema.additional() {
            self.schema(additional, &format!("{path}.additionalProperties"), many, depth + 1);
        }
        if let Some(items) = schema.items() {
            self.schema(items, &format!("{path}.items"), many, depth + 1);
        }
    }
}

/// How large the values of a schema may be.
fn extent(schema: SchemaRef<'_>, depth: usize) -> Arc<Extent> {
    let mut out = Extent { most: most(schema), ..Extent::default() };
    if depth <= MAX_DEPTH {
        out.of = schema.items().or_else(|| schema.additional()).map(|s| extent(s, depth + 1));
        out.fields = schema.fields().map(|(n, s)| (n.to_owned(), extent(s, depth + 1))).collect::<BTreeMap<_, _>>();
    }
    Arc::new(out)
}

/// Most items, entries or characters of a value.
fn most(schema: SchemaRef<'_>) -> u64 {
    let validation = schema.node().validation.as_ref();
    match schema.kind() {
        Type::Array => {
            let least = schema.items().map_or(1, |s| least_size(s, 0));
            validation.and_then(|v| v.max_items).unwrap_or((REQUEST - 2) / (least + 1))
        }
        Type::Object => match schema.additional() {
            Some(additional) => {
                let least = least_size(additional, 0);
                validation.and_then(|v| v.max_properties).unwrap_or((REQUEST - 2) / (least + 6))
            }
            None => 0,
        },
        Type::String | Type::Bytes => {
            let listed = validation.and_then(|v| v.allowed.iter().filter_map(|a| a.as_str().map(str::len)).max());
            let listed = listed.map(|l| l as u64);
            listed.or(validation.and_then(|v| v.max_length)).unwrap_or(REQUEST - 2)
        }
        _ => 0,
    }
}

/// The fewest bytes that a value takes as JSON.
fn least_size(schema: SchemaRef<'_>, depth: usize) -> u64 {
    if depth > MAX_DEPTH {
        return 2;
    }
    match schema.kind() {
        Type::Object => {
            let node = schema.node();
            let required = |name: &str| node.required.iter().any(|r| **r == *name);
            let fields = schema.fields().filter(|(name, s)| required(name) && s.node().default.is_none());
            2 + fields.map(|(name, s)| name.len() as u64 + 4 + least_size(s, depth + 1)).sum::<u64>()
        }
        Type::Boolean => 4,
        Type::Int32 | Type::Int64 | Type::Number | Type::IntOrString | Type::Any => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use objects::schema::Types;
    use serde_json::json;

    #[test]
    fn costs() {
        let rule = json!([{"rule": "self.all(s, s == 'string constant')"}]);
        let lists = |outer: serde_json::Value| {
            let inner = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rule});
            let mut list = json!({"type": "array", "items": inner});
            for (name, value) in outer.as_object().into_iter().flatten() {
                list[name] = value.clone();
            }
            Types::custom(&json!({"type": "object", "properties": {"x": list}})).unwrap()
        };
        let causes = faults(lists(json!({})).root(), "schema");
        assert_eq!(causes[0].field, "schema.properties[x].items.x-kubernetes-validations[0].rule");
        assert!(causes[0].message.contains("exceeds budget by factor of more than 100x"), "{}", causes[0]);
        assert_eq!(faults(lists(json!({"maxItems": 2})).root(), "schema"), []);
    }

    #[test]
    fn what_is_bounded_is_cheap() {
        let rules = json!([{"rule": "self.names.all(a, self.names.exists_one(b, a == b))"}]);
        let schema = json!({"type": "object", "x-kubernetes-validations": rules, "properties": {"names": {"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 63}}}});
        assert_eq!(faults(Types::custom(&schema).unwrap().root(), ""), []);
        let plain = json!([{"rule": "self.replicas <= self.max && self.name.startsWith('a')"}]);
        let schema = json!({"type": "object", "x-kubernetes-validations": plain, "properties": {"replicas": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"}}});
        assert_eq!(faults(Types::custom(&schema).unwrap().root(), ""), []);
    }
}
