//! Label selectors as controllers use them: what cannot be understood selects nothing.

use objects::labels;
use serde_json::{Map, Value};

/// A compiled selector. An empty one matches everything; `nothing` matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    base: labels::Selector,
    /// Further requirements: the label has this value, or has it not.
    more: Vec<(String, String, bool)>,
}

impl From<labels::Selector> for Selector {
    fn from(base: labels::Selector) -> Selector {
        Selector { base, more: Vec::new() }
    }
}

impl Selector {
    /// Matches nothing: what a missing selector means.
    pub fn nothing() -> Selector {
        labels::Selector::nothing().into()
    }

    /// Compiles a `LabelSelector`; null matches nothing, `{}` everything, what is not valid nothing.
    pub fn from_label_selector(selector: &Value) -> Selector {
        labels::Selector::from_label_selector(selector).map_or_else(|_| Selector::nothing(), Selector::from)
    }

    /// Compiles a plain map of labels, as Services have it. An empty map matches everything.
    pub fn from_map(labels: &Map<String, Value>) -> Selector {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        labels::Selector::from_map(&labels.iter().map(|(k, v)| (k.clone(), text(v))).collect()).into()
    }

    /// Compiles the `matchExpressions` of a node selector term; what is not valid matches nothing.
    pub fn from_expressions(expressions: &[Value]) -> Selector {
        labels::Selector::from_expressions(expressions).map_or_else(|_| Selector::nothing(), Selector::from)
    }

    /// Compiles the text form; what is not valid matches nothing.
    pub fn parse(text: &str) -> Selector {
        labels::Selector::parse(text).map_or_else(|_| Selector::nothing(), Selector::from)
    }

    /// Requires a label to have a value as well.
    pub fn and_in(mut self, key: &str, value: &str) -> Selector {
        self.more.push((key.to_owned(), value.to_owned(), true));
        self
    }

    /// Requires a label not to have a value as well.
    pub fn and_not_in(mut self, key: &str, value: &str) -> Selector {
        self.more.push((key.to_owned(), value.to_owned(), false));
        self
    }

    /// Whether there is no requirement at all.
    pub fn is_empty(&self) -> bool {
        self.base.is_everything() && self.more.is_empty()
    }

    /// Whether labels satisfy the selector.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        struct View<'a>(Option<&'a Map<String, Value>>);
        impl labels::Labels for View<'_> {
            fn value(&self, key: &str) -> Option<&str> {
                self.0?.get(key)?.as_str()
            }
        }
        let value = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        self.base.matches(&View(labels))
            && self.more.iter().all(|(key, wanted, has)| (value(key) == Some(wanted)) == *has)
    }

    /// Whether an object's labels satisfy the selector.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(crate::meta::labels(object))
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
            (json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["web"]}]}), true),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["4"]}]}), true),
            (json!({"matchExpressions": [{"key": "n", "operator": "Lt", "values": ["5"]}]}), false),
            (json!({"matchExpressions": [{"key": "n", "operator": "Near", "values": ["5"]}]}), false),
        ];
        for (selector, expected) in cases {
            assert_eq!(Selector::from_label_selector(&selector).matches(labels.as_object()), expected, "{selector}");
        }
    }
}
