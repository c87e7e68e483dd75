//! Known answers of Helm's `toYaml`.

use serde_json::json;

#[test]
fn texts_are_quoted_as_go_yaml_quotes() {
    let cases = [
        ("", "\"\""),
        ("abc", "abc"),
        ("yes", "\"yes\""),
        ("n", "\"n\""),
        ("0755", "\"0755\""),
        ("1e3", "\"1e3\""),
        ("12:30", "\"12:30\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("~", "\"~\""),
        ("<<", "<<"),
        ("- x", "'- x'"),
        ("x: y", "'x: y'"),
        ("x #y", "'x #y'"),
        ("a\tb", "\"a\\tb\""),
        (" lead", "' lead'"),
        ("x\ny", "|-\n  x\n  y"),
        ("x\n", "|\n  x"),
        ("x\n\n", "|+\n  x\n"),
        (" x\ny", "|2-\n   x\n  y"),
        ("x \ny", "\"x \\ny\""),
        ("\u{1F600}", "\"\\U0001F600\""),
        ("é", "é"),
    ];
    for (text, want) in cases {
        assert_eq!(goyaml::to_string(&json!({"k": text})), format!("k: {want}\n"), "{text:?}");
    }
}

#[test]
fn numbers_pass_through_json() {
    for (value, want) in
        [(json!(1_000_000.0), "1000000"), (json!(1e21), "1e+21"), (json!(0.000_001), "1e-06"), (json!(1.5), "1.5")]
    {
        assert_eq!(goyaml::to_string(&value), format!("{want}\n"));
    }
}

#[test]
fn long_lines_are_folded_after_column_80() {
    let words = "word ".repeat(40);
    let text = goyaml::to_string(&json!({"a": words.trim_end()}));
    assert!(text.starts_with("a: word"));
    assert_eq!(text.lines().count(), 3);
    assert_eq!(goyaml::from_str(&text).unwrap()["a"], words.trim_end());
}

#[test]
fn keys_are_in_natural_order() {
    let value = json!({"z10": 1, "z2": 2, "z-1": 3, "Z": 4, "1": 5, "10": 6, "2": 7});
    assert_eq!(goyaml::to_string(&value), "\"1\": 5\n\"2\": 7\n\"10\": 6\nZ: 4\nz-1: 3\nz2: 2\nz10: 1\n");
}

#[test]
fn collections_are_in_block_style_with_dashes_under_the_key() {
    let value = json!({"a": [[], {}, [[]], [{}], {"b": [], "c": "x\ny"}], "d": [1, [2, [3]]]});
    let want = "a:\n- []\n- {}\n- - []\n- - {}\n- b: []\n  c: |-\n    x\n    y\nd:\n- 1\n- - 2\n  - - 3\n";
    assert_eq!(goyaml::to_string(&value), want);
}
