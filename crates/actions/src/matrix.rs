//! `strategy`: a matrix becomes combinations, each one job.

use crate::expr::{Object, Value};

/// The most jobs one matrix may make.
pub const MAX_JOBS: usize = 256;

/// An evaluated `strategy`.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// Whether the rest is cancelled when one fails.
    pub fail_fast: bool,
    /// How many may run at once; none for no bound.
    pub max_parallel: Option<usize>,
    /// The values of the `matrix` context of each job, in order. None when the job has no matrix.
    pub combinations: Vec<Option<Value>>,
}

impl Strategy {
    /// What a job without `strategy` has: one job, no matrix.
    pub fn single() -> Self {
        Self { fail_fast: true, max_parallel: None, combinations: vec![None] }
    }

    /// From the evaluated mapping of `strategy`; the error says what is wrong with it.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let mut strategy = Self::single();
        let Some(object) = value.as_object() else {
            return if *value == Value::Null {
                Ok(strategy)
            } else {
                Err("strategy: a mapping was expected".to_owned())
            };
        };
        match object.get("fail-fast") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(value)) => strategy.fail_fast = *value,
            Some(other) => {
                return Err(format!("strategy.fail-fast: a boolean was expected, not '{}'", other.to_text()));
            }
        }
        match object.get("max-parallel") {
            None | Some(Value::Null) => {}
            Some(other) => {
                let number = other.to_number();
                if number.is_nan() || number < 1.0 {
                    return Err(format!(
                        "strategy.max-parallel: a positive number was expected, not '{}'",
                        other.to_text()
                    ));
                }
                strategy.max_parallel = Some(number as usize);
            }
        }
        match object.get("matrix") {
            None | Some(Value::Null) => {}
            Some(matrix) => strategy.combinations = expand(matrix)?.into_iter().map(Some).collect(),
        }
        Ok(strategy)
    }
}

impl Strategy {
    /// Only the combinations in which these keys, where they exist, have these values.
    pub fn selected(mut self, wanted: &[(String, String)]) -> Result<Self, String> {
        let fits = |combination: &Option<Value>| {
            wanted.iter().all(|(key, _)| {
                let found = combination.as_ref().and_then(Value::as_object).and_then(|object| object.get(key));
                // Of one key any of its values will do.
                let mut values = wanted.iter().filter(|(other, _)| other == key).map(|(_, value)| value);
                found.is_none_or(|found| values.any(|value| found.to_text().eq_ignore_ascii_case(value)))
            })
        };
        let before = self.combinations.len();
        self.combinations.retain(fits);
        if self.combinations.is_empty() && before > 0 {
            let wanted: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            return Err(format!("no combination of the matrix has {}", wanted.join(", ")));
        }
        Ok(self)
    }
}

/// The combinations of a matrix in GitHub's order: the first key varies slowest, then the additions of `include`.
pub fn expand(matrix: &Value) -> Result<Vec<Value>, String> {
    let object = matrix.as_object().ok_or("strategy.matrix: a mapping was expected")?;
    let mut vectors: Vec<(&str, &[Value])> = Vec::new();
    let (mut include, mut exclude) = (&[][..], &[][..]);
    for (key, value) in object.iter() {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            _ => return Err(format!("strategy.matrix.{key}: a sequence was expected")),
        };
        match key {
            "include" => include = items,
            "exclude" => exclude = items,
            _ if items.is_empty() => return Err(format!("Matrix vector '{key}' does not contain any values")),
            _ => vectors.push((key, items)),
        }
    }
    let total = vectors.iter().try_fold(1_usize, |n, (_, items)| n.checked_mul(items.len()).filter(|n| *n <= 100_000));
    if total.is_none() {
        return Err(format!("the matrix has more than {MAX_JOBS} jobs"));
    }
    let mut originals: Vec<Vec<(String, Value)>> = if vectors.is_empty() { Vec::new() } else { vec![Vec::new()] };
    for (key, items) in &vectors {
        originals = originals
            .iter()
            .flat_map(|prefix| {
                items.iter().map(|item| {
                    let mut next = prefix.clone();
                    next.push(((*key).to_owned(), item.clone()));
                    next
                })
            })
            .collect();
    }
    for rule in exclude {
        let rule = rule.as_object().ok_or("strategy.matrix.exclude: a sequence of mappings was expected")?;
        originals.retain(|combination| {
            !(!rule.is_empty()
                && rule.iter().all(|(key, wanted)| {
                    combination.iter().any(|(name, value)| name.eq_ignore_ascii_case(key) && matches(value, wanted))
                }))
        });
    }
    let mut extended = originals.clone();
    let mut added: Vec<Vec<(String, Value)>> = Vec::new();
    for rule in include {
        let rule = rule.as_object().ok_or("strategy.matrix.include: a sequence of mappings was expected")?;
        let mut found = false;
        for (original, target) in originals.iter().zip(&mut extended) {
            let clashes = rule.iter().any(|(key, wanted)| {
                original.iter().any(|(name, value)| name.eq_ignore_ascii_case(key) && !matches(value, wanted))
            });
            if clashes {
                continue;
            }
            found = true;
            for (key, value) in rule.iter() {
                match target.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
                    Some((_, slot)) => *slot = value.clone(),
                    None => target.push((key.to_owned(), value.clone())),
                }
            }
        }
        if !found {
            added.push(rule.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect());
        }
    }
    extended.append(&mut added);
    if extended.len() > MAX_JOBS {
        return Err(format!("the matrix has {} jobs; at most {MAX_JOBS} are allowed", extended.len()));
    }
    if extended.is_empty() {
        return Err("the matrix has no jobs: it defines no values, or 'exclude' removes all of them".to_owned());
    }
    Ok(extended.into_iter().map(|pairs| Value::object(pairs.into_iter().collect::<Object>())).collect())
}

/// Whether a value fits a rule: objects by the keys the rule names, the rest by equality.
fn matches(value: &Value, rule: &Value) -> bool {
    match (value, rule) {
        (Value::Object(value), Value::Object(rule)) => {
            rule.iter().all(|(key, wanted)| value.get(key).is_some_and(|found| matches(found, wanted)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| matches(a, b)),
        _ => value.loosely_equals(rule),
    }
}

/// What GitHub appends to a job's name: the leaves of the combination.
pub fn suffix(combination: &Value) -> String {
    fn leaves(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
            Value::Object(object) => object.iter().for_each(|(_, item)| leaves(item, out)),
            other if other.to_text().is_empty() => {}
            other => out.push(other.to_text()),
        }
    }
    let mut out = Vec::new();
    leaves(combination, &mut out);
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(matrix: serde_json::Value, expected: serde_json::Value) {
        // serde_json sorts keys, so keys here are in alphabetical order.
        let found = expand(&Value::from(&matrix)).unwrap();
        assert_eq!(Value::array(found), Value::from(&expected));
    }

    #[test]
    fn chosen_combinations() {
        let json = serde_json::json!({"matrix": {"node": [8, "8.x", 10], "os": ["a", "b"]}});
        let chosen = |wanted: &[(&str, &str)]| {
            let wanted: Vec<_> = wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Strategy::from_value(&Value::from(&json))
                .unwrap()
                .selected(&wanted)
                .map(|strategy| strategy.combinations.len())
        };
        assert_eq!(chosen(&[]), Ok(6));
        assert_eq!(chosen(&[("node", "8"), ("node", "8.X"), ("os", "b")]), Ok(2));
        assert_eq!(chosen(&[("other", "x")]), Ok(6));
        assert!(chosen(&[("os", "c")]).unwrap_err().contains("os:c"));
    }

    #[test]
    fn githubs_example_of_include() {
        check(
            serde_json::json!({"animal": ["cat", "dog"], "fruit": ["apple", "pear"], "include": [
                {"color": "green"},
                {"color": "pink", "animal": "cat"},
                {"fruit": "apple", "shape": "circle"},
                {"fruit": "banana"},
                {"fruit": "banana", "animal": "cat"},
            ]}),
            serde_json::json!([
                {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
                {"fruit": "pear", "animal": "cat", "color": "pink"},
                {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
                {"fruit": "pear", "animal": "dog", "color": "green"},
                {"fruit": "banana"},
                {"fruit": "banana", "animal": "cat"},
            ]),
        );
    }

    #[test]
    fn exclude_by_part_and_include_alone() {
        check(
            serde_json::json!({"environment": ["staging", "production"], "os": ["macos-latest", "windows-latest"], "version": [12, 14, 16],
                "exclude": [{"os": "macos-latest", "version": 12, "environment": "production"}, {"os": "windows-latest", "version": 16}]}),
            serde_json::json!([
                {"environment": "staging", "os": "macos-latest", "version": 12},
                {"environment": "staging", "os": "macos-latest", "version": 14},
                {"environment": "staging", "os": "macos-latest", "version": 16},
                {"environment": "staging", "os": "windows-latest", "version": 12},
                {"environment": "staging", "os": "windows-latest", "version": 14},
                {"environment": "production", "os": "macos-latest", "version": 14},
                {"environment": "production", "os": "macos-latest", "version": 16},
                {"environment": "production", "os": "windows-latest", "version": 12},
                {"environment": "production", "os": "windows-latest", "version": 14},
            ]),
        );
        check(
            serde_json::json!({"include": [{"site": "production"}, {"site": "staging"}]}),
            serde_json::json!([{"site": "production"}, {"site": "staging"}]),
        );
    }

    #[test]
    fn bounds() {
        let long: Vec<u32> = (0..17).collect();
        assert!(expand(&Value::from(serde_json::json!({"a": long, "b": long}))).unwrap_err().contains("at most 256"));
        let huge: Vec<u32> = (0..1000).collect();
        assert!(expand(&Value::from(serde_json::json!({"a": huge, "b": huge, "c": huge}))).is_err());
        assert!(
            expand(&Value::from(serde_json::json!({"a": []}))).unwrap_err().contains("does not contain any values")
        );
        assert_eq!(suffix(&Value::from(serde_json::json!({"a": 1, "b": {"c": ["x", true]}}))), "1, x, true");
    }
}
