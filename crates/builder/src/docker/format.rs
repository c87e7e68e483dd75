//! `--format` templates (the part that scripts use) and human sizes.

use serde_json::Value;

use super::Failure;

/// Bytes as docker prints them: decimal units, four significant digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    // Go's %.4g of docker's units, three digits for images.
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// Renders a Go template on a value: field paths, `json`, `index`, `len`, `upper`, `lower`, `join`, `println`, text.
///
/// # Errors
/// Anything else is refused by name.
pub(super) fn template(text: &str, value: &Value) -> Result<String, Failure> {
    if text == "json" {
        return Ok(value.to_string());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        out.push_str(&rest[..at]);
        let end = rest[at..]
            .find("}}")
            .ok_or_else(|| Failure::new(format!("template parsing error: unclosed action in {text:?}")))?;
        let action = rest[at + 2..at + end].trim().trim_start_matches("- ").trim_end_matches(" -");
        out.push_str(&evaluate(action.trim(), value)?);
        rest = &rest[at + end + 2..];
    }
    out.push_str(rest);
    Ok(out.replace("\\t", "\t").replace("\\n", "\n"))
}

fn evaluate(action: &str, value: &Value) -> Result<String, Failure> {
    let words: Vec<&str> = action.split_whitespace().collect();
    let show = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "<no value>".to_owned(),
        Value::Array(list) => format!(
            "[{}]",
            list.iter()
                .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(" ")
        ),
        Value::Object(map) => format!(
            "map[{}]",
            map.iter()
                .map(|(k, v)| format!(
                    "{k}:{}",
                    v.as_str().map_or_else(
                        || if v == &serde_json::json!({}) { "{}".to_owned() } else { v.to_string() },
                        str::to_owned
                    )
                ))
                .collect::<Vec<_>>()
                .join(" ")
        ),
        other => other.to_string(),
    };
    match words.as_slice() {
        [path] if path.starts_with('.') => Ok(show(&lookup(path, value)?)),
        ["json", path] => Ok(lookup(path, value)?.to_string()),
        ["len", path] => Ok(match lookup(path, value)? {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
        .to_string()),
        ["upper", path] => Ok(show(&lookup(path, value)?).to_uppercase()),
        ["lower", path] => Ok(show(&lookup(path, value)?).to_lowercase()),
        ["println", path] => Ok(format!("{}\n", show(&lookup(path, value)?))),
        ["index", path, key] => {
            let found = lookup(path, value)?;
            let key = key.trim_matches('"');
            let item = match &found {
                Value::Array(list) => key.parse::<usize>().ok().and_then(|at| list.get(at)).cloned(),
                Value::Object(map) => Some(map.get(key).cloned().unwrap_or(Value::String(String::new()))),
                _ => None,
            };
            item.map(|item| show(&item))
                .ok_or_else(|| Failure::new(format!("template: error calling index: index out of range: {key}")))
        }
        ["join", path, separator] => match lookup(path, value)? {
            Value::Array(list) => Ok(list.iter().map(&show).collect::<Vec<_>>().join(separator.trim_matches('"'))),
            other => Ok(show(&other)),
        },
        _ => Err(Failure::new(format!(
            "template: {{{{{action}}}}} is not supported here; use field paths, json, index, len, join, upper, lower"
        ))),
    }
}

fn lookup(path: &str, value: &Value) -> Result<Value, Failure> {
    let mut at = value;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        match at {
            Value::Object(map) => match map.get(part) {
                Some(next) => at = next,
                None => return Err(Failure::new(format!("template: map has no entry for key {part:?}"))),
            },
            _ => return Err(Failure::new(format!("template: can't evaluate field {part}"))),
        }
    }
    Ok(at.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_read_as_docker_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (5_613_130, "5.61MB"),
            (77_900_000, "77.9MB"),
            (1_234_000_000, "1.23GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn renders_the_usual_templates() {
        let value = json!({"Id": "sha256:1", "Config": {"Env": ["A=b", "C=d"], "Labels": {"a.b": "c"}}, "RepoDigests": ["x@1"]});
        for (text, expected) in [
            ("{{.Id}}", "sha256:1"),
            ("{{ json .Config.Env }}", "[\"A=b\",\"C=d\"]"),
            ("{{index .RepoDigests 0}}", "x@1"),
            ("{{index .Config.Labels \"a.b\"}}", "c"),
            ("x {{len .Config.Env}}", "x 2"),
            ("{{.Config.Env}}", "[A=b C=d]"),
        ] {
            assert_eq!(template(text, &value).unwrap(), expected, "{text}");
        }
        assert!(template("{{range .Config.Env}}", &value).is_err());
        assert!(template("{{.Nope}}", &value).is_err());
    }
}
