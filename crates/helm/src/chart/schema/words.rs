//! How messages write values, numbers and names.

use serde_json::Value as Json;

/// The type of a value.
pub(super) fn kind(v: &Json) -> &'static str {
    match v {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// The order in which the types of a list are named.
pub(super) const TYPES: [&str; 7] = ["null", "boolean", "number", "integer", "string", "array", "object"];

/// A text in single quotes, with Go's escapes.
pub(super) fn quote(text: &str) -> String {
    let double = crate::value::quote::quote(text);
    let inner = double.get(1..double.len() - 1).unwrap_or("");
    format!("'{}'", inner.replace("\\\"", "\"").replace('\'', "\\'"))
}

/// Several texts in quotes.
pub(super) fn quoted<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// A value, when it is none that is too long to show.
pub(super) fn shown(v: &Json) -> Option<String> {
    match v {
        Json::String(s) => Some(quote(s)),
        Json::Null => Some("<nil>".to_owned()),
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// Digits with a comma at every third.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A count, as it is written in English.
pub(super) fn count(n: usize) -> String {
    grouped(&n.to_string())
}

/// A number, as it is written in English: `12,345.5`, `1.5×10⁰⁷`.
pub(super) fn number(v: f64) -> String {
    let plain = goyaml::format_float(v);
    if let Some((mantissa, exponent)) = plain.split_once('e') {
        let raised = exponent.chars().filter(|c| *c != '+').map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            c => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
        });
        return format!("{mantissa}×10{}", raised.collect::<String>());
    }
    let (sign, rest) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    match rest.split_once('.') {
        Some((whole, part)) => format!("{sign}{}.{part}", grouped(whole)),
        None => format!("{sign}{}", grouped(rest)),
    }
}

/// A place one step further down.
pub(super) fn join(at: &str, part: &str) -> String {
    format!("{at}/{}", part.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_english() {
        let cases = [
            (999.0, "999"),
            (1000.0, "1,000"),
            (12345.678, "12,345.678"),
            (-1000.0, "-1,000"),
            (1e6, "1×10⁰⁶"),
            (1234567.0, "1.234567×10⁰⁶"),
            (1e-5, "1×10⁻⁰⁵"),
            (1.5e21, "1.5×10²¹"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(count(1_200_000), "1,200,000");
    }

    #[test]
    fn texts_are_quoted_once() {
        assert_eq!(quote("it's \"q\"\n"), "'it\\'s \"q\"\\n'");
    }
}
