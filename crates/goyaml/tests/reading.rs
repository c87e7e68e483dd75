//! Known answers of go-yaml v2 behind `sigs.k8s.io/yaml`.

use serde_json::{Value, json};

#[test]
fn scalars_follow_yaml_1_1() {
    let cases: &[(&str, Value)] = &[
        ("yes", json!(true)),
        ("n", json!(false)),
        ("'yes'", json!("yes")),
        ("0755", json!(493)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("1_000", json!(1000)),
        ("08", json!(8.0)),
        ("1e3", json!(1000.0)),
        ("12e4567", json!("12e4567")),
        ("2001-01-01", json!("2001-01-01")),
        ("12:30", json!("12:30")),
        ("~", Value::Null),
        ("!!str 1", json!("1")),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
    ];
    for (text, want) in cases {
        assert_eq!(goyaml::from_str(&format!("k: {text}\n")).unwrap()["k"], *want, "{text}");
    }
}

#[test]
fn errors_are_in_go_yamls_words() {
    let cases = [
        ("a: b: c\n", "yaml: mapping values are not allowed in this context"),
        ("a: 1\nb: c: d\n", "yaml: line 2: mapping values are not allowed in this context"),
        ("a: [1\n", "yaml: line 1: did not find expected ',' or ']'"),
        ("a: *nope\n", "yaml: unknown anchor 'nope' referenced"),
        ("a: &a [*a]\n", "yaml: anchor 'a' value contains itself"),
        ("a: 1\n\tb: 2\n", "yaml: line 2: found a tab character that violates indentation"),
        ("a: .nan\n", "json: unsupported value: NaN"),
    ];
    for (text, want) in cases {
        assert_eq!(goyaml::from_str(text).unwrap_err().to_string(), want, "{text:?}");
    }
}

#[test]
fn of_equal_keys_the_last_wins_unless_strict() {
    assert_eq!(goyaml::from_str("a: 1\na: 2\n").unwrap(), json!({"a": 2}));
    let error = goyaml::from_str_strict("a: 1\na: 2\n").unwrap_err();
    assert_eq!(error.to_string(), "yaml: unmarshal errors:\n  line 2: key \"a\" already set in map");
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (p, c) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        text.push_str(&format!("{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"));
    }
    let want = "yaml: document contains excessive aliasing";
    assert_eq!(goyaml::from_str(&text).unwrap_err().to_string(), want);
    assert_eq!(goyaml::tree::parse(&text).unwrap_err().to_string(), want);
}

#[test]
fn deep_nesting_is_refused_without_a_deep_stack() {
    let text = "[".repeat(100_000);
    assert!(goyaml::from_str(&text).is_err());
    let text = "- ".repeat(100_000);
    assert!(goyaml::from_str(&text).is_err());
}

#[test]
fn documents_leave_out_the_empty_ones() {
    let text = "---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n";
    assert_eq!(goyaml::documents(text).unwrap(), [json!({"a": 1}), json!({"b": 2})]);
}

#[test]
fn the_tree_keeps_positions_and_order() {
    let nodes = goyaml::tree::parse("on: push\njobs:\n  z: 'a'\n  a: |\n    x\n").unwrap();
    let pairs = nodes[0].as_mapping().unwrap();
    assert_eq!((pairs[0].0.as_str(), pairs[0].1.as_str()), (Some("on"), Some("push")));
    let jobs = pairs[1].1.as_mapping().unwrap();
    assert_eq!((jobs[0].1.span.line, jobs[0].1.span.column), (3, 6));
    assert_eq!(jobs[1].1.as_str(), Some("x\n"));
}
