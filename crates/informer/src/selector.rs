//! Label selectors against JSON labels, without building maps.

use serde_json::{Map, Value};

use crate::meta;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// A compiled selector. An empty one matches everything; `nothing` matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Selector {
    /// Matches nothing: what a missing selector means.
    pub fn nothing() -> Selector {
        Selector {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Compiles a `LabelSelector`; null matches nothing, `{}` everything. An operator that is not known matches nothing.
    pub fn from_label_selector(selector: &Value) -> Selector {
        let Some(object) = selector.as_object() else {
            return Selector::nothing();
        };
        let mut compiled = match object.get("matchLabels") {
            Some(Value::Object(labels)) => Selector::from_map(labels),
            _ => Selector {
                requirements: Vec::new(),
                nothing: false,
            },
        };
        compiled.add_expressions(meta::list(selector, &["matchExpressions"]));
        compiled
    }

    /// Compiles a plain map of labels, as Services have it. An empty map matches everything.
    pub fn from_map(labels: &Map<String, Value>) -> Selector {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![value.as_str().unwrap_or("").to_owned()],
            })
            .collect();
        Selector {
            requirements,
            nothing: false,
        }
    }

    /// Compiles the `matchExpressions` of a node selector term.
    pub fn from_expressions(expressions: &[Value]) -> Selector {
        let mut compiled = Selector {
            requirements: Vec::new(),
            nothing: false,
        };
        compiled.add_expressions(expressions);
        compiled
    }

    fn add_expressions(&mut self, expressions: &[Value]) {
        for expression in expressions {
            let operator = match meta::text(expression, &["operator"]) {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                "Gt" => Operator::Gt,
                "Lt" => Operator::Lt,
                _ => {
                    self.nothing = true;
                    return;
                }
            };
            self.requirements.push(Requirement {
                key: meta::text(expression, &["key"]).to_owned(),
                operator,
                values: meta::list(expression, &["values"])
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            });
        }
    }

    /// Requires `key` to be one of `values` as well.
    pub fn and_in(mut self, key: &str, value: &str) -> Selector {
        self.requirements.push(Requirement {
            key: key.to_owned(),
            operator: Operator::In,
            values: vec![value.to_owned()],
        });
        self
    }

    /// Requires `key` not to be `value` as well.
    pub fn and_not_in(mut self, key: &str, value: &str) -> Selector {
        self.requirements.push(Requirement {
            key: key.to_owned(),
            operator: Operator::NotIn,
            values: vec![value.to_owned()],
        });
        self
    }

    /// Whether there is no requirement at all.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether labels satisfy the selector.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|r| {
                let value = labels.and_then(|l| l.get(&r.key)).and_then(Value::as_str);
                r.matches(value)
            })
    }

    /// Whether an object's labels satisfy the selector.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(meta::labels(object))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let contained = |v: &str| self.values.iter().any(|x| x == v);
        let compare = |f: fn(&i64, &i64) -> bool| {
            let left = value.and_then(|v| v.parse::<i64>().ok());
            let right = self.values.first().and_then(|v| v.parse::<i64>().ok());
            matches!((left, right), (Some(l), Some(r)) if f(&l, &r))
        };
        match self.operator {
            Operator::In => value.is_some_and(contained),
            Operator::NotIn => !value.is_some_and(contained),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compare(i64::gt),
            Operator::Lt => compare(i64::lt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selector_table() {
        let labels = json!({"app": "web", "n": "5"});
        let cases = [
            (json!(null), false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["4"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "n", "operator": "Lt", "values": ["5"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "n", "operator": "Near", "values": ["5"]}]}),
                false,
            ),
        ];
        for (selector, expected) in cases {
            assert_eq!(
                Selector::from_label_selector(&selector).matches(labels.as_object()),
                expected,
                "{selector}"
            );
        }
    }
}
