//! Expressions made from the grammar, with a part of them broken.

use actions::expr::{Contexts, ErrorKind, Value, evaluate};
use serde_json::json;

use crate::Dice;

/// Not among them: numbers whose text has an exponent and hexadecimal ones above 31 bits, which GitHub's runner and package write differently.
const LITERALS: &[&str] = &[
    "null",
    "true",
    "false",
    "True",
    "0",
    "-0",
    "1",
    "-1",
    "2.5",
    "1e3",
    "0x1F",
    "0xff",
    "0o17",
    "0o8",
    "+7",
    ".5",
    "5.",
    "1e400",
    "0.1",
    "NaN",
    "Infinity",
    "-Infinity",
    "+Infinity",
    "nan",
    "''",
    "'a'",
    "'A'",
    "'it''s'",
    "' '",
    "'1'",
    "' 1 '",
    "'0x1F'",
    "'1e3'",
    "'true'",
    "'é'",
    "'SS'",
    "'{0}'",
    "'{1} {0}'",
    "'{{{0}}}'",
    "'{'",
    "'}'",
    "'{0'",
    "'{a}'",
    "'{2147483648}'",
    "'[1, \"a\", null]'",
    "'{\"a\": {\"b\": [1]}}'",
    "'nope'",
    "'-Infinity'",
    "'+1'",
    "'0o17'",
    "'-0x1'",
];
const PATHS: &[&str] = &[
    "o",
    "l",
    "n",
    "o.a",
    "o.A",
    "o['a']",
    "o.b.c",
    "o.missing",
    "o.missing.deep",
    "o.*",
    "o.*.name",
    "l.*.name",
    "l[0]",
    "l[-1]",
    "l['0']",
    "l[1.9]",
    "l[true]",
    "l[99]",
    "l.*",
    "l.*.deep.*",
    "o[l]",
    "o[null]",
    "o[0]",
    "o.true",
    "o.null",
    "n.*",
    "n.x",
    "n[0]",
    "l.*.*",
    "O.a",
    "s",
    "s.x",
    "s[0]",
    "s.*",
    "o.list[1]",
    "o.list.*",
    "o['list'][*]",
    "unknown",
    "o.a-b",
    "o._x",
    "l[*].name",
    "l.0",
    "o .a",
    "(o).a",
    "(o.*).name",
    "fromJSON('[{\"a\":1}]')[0].a",
    "fromJSON('{\"a\":[1,2]}').a[1]",
];
const BINARY: &[&str] = &["==", "!=", "<", "<=", ">", ">=", "&&", "||", "==", "&&", "||"];
const NOISE: &[&str] = &[
    "(", ")", "[", "]", ".", ",", "!", "*", "=", "&", "|", "'", "\"", "+", "-", "%", "?", " ", "==", "&&", "a", "1",
    "$", "{", "\t", "\n",
];

fn expression(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return if dice.below(3) == 0 { dice.pick(PATHS) } else { dice.pick(LITERALS) }.to_owned();
    }
    let mut inner = || expression(dice, depth - 1);
    let (a, b, c) = (inner(), inner(), inner());
    match dice.below(14) {
        0..=4 => format!("{a} {} {b}", dice.pick(BINARY)),
        5 => format!("({a}) {} {b} {} {c}", dice.pick(BINARY), dice.pick(BINARY)),
        6 => format!("!{a}"),
        7 => format!("{}({a}, {b})", dice.pick(&["contains", "startsWith", "endsWith", "CONTAINS", "join", "format"])),
        8 => format!("{}({a})", dice.pick(&["toJSON", "fromJSON", "join", "format", "tojson", "contains", "success"])),
        9 => format!("format({a}, {b}, {c})"),
        10 => format!("case({a}, {b}, {c})"),
        11 => format!("join({}, {b})", dice.pick(PATHS)),
        12 => format!("contains({}, {b})", dice.pick(PATHS)),
        _ => format!("toJSON({})", dice.pick(PATHS)),
    }
}

fn broken(dice: &mut Dice, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = dice.below(chars.len() + 1);
    match dice.below(3) {
        0 if at < chars.len() => drop(chars.remove(at)),
        1 => chars.truncate(at),
        _ => chars.splice(at..at, dice.pick(NOISE).chars()).for_each(drop),
    }
    chars.into_iter().collect()
}

fn contexts() -> serde_json::Value {
    json!({
        "o": {"a": "x", "b": {"c": 3}, "list": [1, "two", null, [4]], "name": {"name": "deep"}, "true": true, "null": "none", "_x": 1, "a-b": "dash"},
        "l": [{"name": "one", "deep": {"p": 1}}, {"name": "two", "deep": {"q": 2}}, "text", 4, null, [{"name": "inner"}]],
        "n": null,
        "s": "text",
    })
}

#[test]
fn generated_expressions_have_githubs_values() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut cases: Vec<String> = LITERALS.iter().chain(PATHS).map(|text| (*text).to_owned()).collect();
    for a in LITERALS {
        for b in LITERALS.iter().chain(PATHS) {
            cases.push(format!("{a} {} {b}", dice.pick(BINARY)));
        }
        for function in ["toJSON", "fromJSON", "format"] {
            cases.push(format!("{function}({a})"));
        }
        cases.push(format!("format('{{0}}', {a})"));
    }
    for _ in 0..12_000 {
        let depth = 1 + dice.below(3);
        let text = expression(&mut dice, depth);
        let text = if dice.below(4) == 0 { broken(&mut dice, &text) } else { text };
        cases.push(text);
    }
    // The package evaluates every argument of `case` and writes `null` for numbers that JSON has not; GitHub's runner does neither.
    cases.retain(|text| text.matches("case(").count() < 2 && !text.trim().is_empty());
    cases.retain(|text| {
        !["NaN", "Infinity", "1e400"]
            .iter()
            .any(|number| text.to_lowercase().contains("tojson(") && text.contains(number))
    });
    let given = contexts();
    let asked: Vec<_> = cases.iter().map(|text| json!({"expression": text, "contexts": given})).collect();
    let Some(answers) = crate::judged("expressions.mjs", &json!(asked)) else { return };
    let mut scope = Contexts::new();
    for (name, value) in given.as_object().unwrap() {
        scope.set(name, value.clone());
    }
    let mut differences = Vec::new();
    for (text, answer) in cases.iter().zip(&answers) {
        let ours = match evaluate(text, &scope) {
            // JSON has no NaN and no infinity; the text tells them.
            Ok(Value::Number(number)) if !number.is_finite() => {
                json!({"value": null, "text": Value::Number(number).to_text()})
            }
            Ok(value) => json!({"value": plain(&value), "text": value.is_primitive().then(|| value.to_text())}),
            Err(error) => json!({"stage": match error.kind {
                ErrorKind::Lexing => "lexing", ErrorKind::Parsing => "parsing", ErrorKind::Evaluation => "evaluation",
            }}),
        };
        let mut theirs = answer.clone();
        let message = theirs.as_object_mut().unwrap().remove("message");
        // A format string that stands in the expression is looked at when it is parsed, as GitHub's published cases have it.
        let format = message
            .as_ref()
            .and_then(|message| message.as_str())
            .is_some_and(|message| message.starts_with("The following format string"));
        let format = ours["stage"] == "parsing"
            && text.to_lowercase().contains("format(")
            && (format || theirs.get("stage").is_none());
        let case = text.contains("case(") && theirs["stage"] == "evaluation";
        if ours != theirs && !format && !case {
            differences.push(format!("{text:?}\n  here   {ours}\n  GitHub {theirs} {}", message.unwrap_or_default()));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        cases.len(),
        differences.iter().take(60).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// The value as GitHub's package writes it.
fn plain(value: &Value) -> serde_json::Value {
    serde_json::from_str(&value.to_json().to_string()).unwrap()
}
