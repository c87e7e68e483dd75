use super::*;

fn eval(text: &str, contexts: serde_json::Value) -> Result<Value, Error> {
    let mut scope = Contexts::new();
    for (name, value) in contexts.as_object().unwrap() {
        scope.set(name, value);
    }
    evaluate(text, &scope)
}

#[track_caller]
fn value(text: &str, contexts: serde_json::Value, expected: serde_json::Value) {
    let found = eval(text, contexts).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(found, Value::from(&expected), "{text}");
}

#[track_caller]
fn refused(text: &str, kind: ErrorKind, message: &str) {
    let error = eval(text, serde_json::json!({"foo": {}})).expect_err(text);
    assert_eq!((error.kind, error.message.as_str()), (kind, message), "{text}");
}

#[test]
fn literals_and_coercions() {
    let none = || serde_json::json!({});
    for (text, expected) in [
        ("format('{0}', null)", ""),
        ("format('{0}', true)", "true"),
        ("format('{0}', -.5)", "-0.5"),
        ("format('{0}', -0)", "0"),
        ("format('{0}', 0xff)", "255"),
        ("format('{0}', 0o10)", "8"),
        ("format('{0}', 1.2e-2)", "0.012"),
        ("format('{0}', 0.84551240822557006)", "0.84551240822557"),
        ("format('{0}', 1e15)", "1E+15"),
        ("format('{0}', 123456789012345)", "123456789012345"),
        ("format('{0}', 0.00001)", "1E-05"),
        ("format('{0}', 0.0001)", "0.0001"),
        ("format('{0}', -Infinity)", "-Infinity"),
        ("'it''s'", "it's"),
        ("format('{{0}}{0}', 'x')", "{0}x"),
        ("format(null, 'a')", ""),
        ("join(fromJSON('[1,true,null,\"a\",[],{}]'))", "1,true,,a,Array,Object"),
        ("join('abc')", "abc"),
        ("join(fromJSON('[\"a\",\"b\"]'), null)", "ab"),
        ("join(fromJSON('[\"a\",\"b\"]'), fromJSON('[]'))", "a,b"),
        ("case(false, 'a', 1 == 1, 'b', 'c')", "b"),
        ("toJSON(fromJSON('{\"b\":[1,{}],\"a\":null}'))", "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": null\n}"),
        ("false || 'default'", "default"),
        ("true && 'yes' || 'no'", "yes"),
    ] {
        value(text, none(), expected.into());
    }
}

#[test]
fn comparisons() {
    for (text, expected) in [
        ("'ABC' == 'abc'", true),
        ("'' == 0", true),
        ("null == ''", true),
        ("null == 0", true),
        ("true == 1", true),
        ("'1' == true", true),
        ("'true' == true", false),
        ("NaN == NaN", false),
        ("' 0 ' == 0", true),
        ("'0xf' == 15", true),
        ("foo == foo", true),
        ("foo == bar", false),
        ("foo > foo", false),
        ("'def' > 'abc'", true),
        ("'b' > 'A'", true),
        ("true > false", true),
        ("null >= 0", true),
        ("1 < 2 && 2 <= 2", true),
        ("!''", true),
        ("!foo", false),
        ("contains('Hello', 'LL')", true),
        ("contains(list, 'b')", true),
        ("contains(list, 'c')", false),
        ("contains(foo, 'a')", false),
        ("contains(fromJSON('[1,2]'), '2')", true),
        ("startsWith('Hello', 'he')", true),
        ("endsWith('Hello', 'LO')", true),
        ("startsWith(foo, '')", false),
        ("1 == 1 == true", true),
    ] {
        value(text, serde_json::json!({"foo": {"a": 1}, "bar": {"a": 1}, "list": ["A", "B"]}), expected.into());
    }
}

#[test]
fn dereferences() {
    let contexts = || {
        serde_json::json!({"github": {"event": {"labels": [{"name": "bug", "n": [1, 2]}, {"name": "help"}, 3]}, "b-ar": "baz"},
            "steps": {"one": {"outputs": {"x": "1"}}, "two": {"outputs": {"x": "2"}}}, "null": 1})
    };
    for (text, expected) in [
        ("github.B-AR", serde_json::json!("baz")),
        ("github['b-ar']", "baz".into()),
        ("github.event.labels.*.name", serde_json::json!(["bug", "help"])),
        ("github.event.labels[*].name", serde_json::json!(["bug", "help"])),
        ("github.event.labels.*.n.*", serde_json::json!([1, 2])),
        ("steps.*.outputs.x", serde_json::json!(["1", "2"])),
        ("github.event.labels[1].name", "help".into()),
        ("github.event.labels['1'].name", "help".into()),
        ("github.event.labels[9].name", serde_json::Value::Null),
        ("github.event.labels[-1]", serde_json::Value::Null),
        ("github.nothing.at.all", serde_json::Value::Null),
        ("github.nothing.*", serde_json::json!([])),
        ("(fromJSON('{\"one\": 1}')).one", 1.into()),
        ("fromJSON('{\"true\": 2}').true", 2.into()),
        ("", serde_json::Value::Null),
    ] {
        value(text, contexts(), expected);
    }
}

#[test]
fn refusals_name_the_place() {
    use ErrorKind::{Evaluation, Lexing, Parsing};
    for (text, kind, message) in [
        ("foo.b@r", Lexing, "Unexpected symbol: 'b@r'. Located at position 5 within expression: foo.b@r"),
        ("foo.1", Parsing, "Unexpected symbol: '1'. Located at position 5 within expression: foo.1"),
        ("fromjson('').1", Parsing, "Unexpected symbol: '1'. Located at position 14 within expression: fromjson('').1"),
        ("foo[1].2", Parsing, "Unexpected symbol: '2'. Located at position 8 within expression: foo[1].2"),
        ("\"0x\"", Lexing, "Unexpected symbol: '\"0x\"'. Located at position 1 within expression: \"0x\""),
        ("'open", Lexing, "Unexpected symbol: ''open'. Located at position 1 within expression: 'open"),
        ("env == 5", Parsing, "Unrecognized named-value: 'env'. Located at position 1 within expression: env == 5"),
        (
            "withJson()",
            Parsing,
            "Unrecognized function: 'withJson'. Located at position 1 within expression: withJson()",
        ),
        ("join()", Parsing, "Too few parameters supplied: 'join'. Located at position 1 within expression: join()"),
        (
            "join(1, 2, 3)",
            Parsing,
            "Too many parameters supplied: 'join'. Located at position 1 within expression: join(1, 2, 3)",
        ),
        ("(foo", Parsing, "Unexpected end of expression: 'foo'. Located at position 2 within expression: (foo"),
        ("1 ==", Parsing, "Unexpected end of expression: '=='. Located at position 3 within expression: 1 =="),
        ("format('{0')", Parsing, "Invalid format string"),
        ("format('{0}}}}', '')", Parsing, "Invalid format string"),
        ("format('{1}', 'a')", Parsing, "Format string references {1} but only 1 argument(s) provided"),
        ("case(1, 'first', 'default')", Evaluation, "case predicate must evaluate to a boolean value"),
        ("1 = 1", Lexing, "Unexpected symbol: '='. Located at position 3 within expression: 1 = 1"),
    ] {
        refused(text, kind, message);
    }
    assert_eq!(eval("fromJSON('{')", serde_json::json!({})).unwrap_err().kind, Evaluation);
}

#[test]
fn hostile_input_is_refused_not_fatal() {
    let deep = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(eval(&deep, serde_json::json!({})).unwrap_err().kind, ErrorKind::Parsing);
    let long = "1 || ".repeat(1_000_000);
    assert_eq!(eval(&long, serde_json::json!({})).unwrap_err().kind, ErrorKind::Lexing);
    let bangs = "!".repeat(5_000) + "1";
    assert!(eval(&bangs, serde_json::json!({})).is_err());
}

#[test]
fn templates() {
    let mut scope = Contexts::new();
    scope.set("matrix", serde_json::json!({"n": 3, "s": "x"}));
    let allowed = Allowed::new(["matrix"], &[]);
    let text = |source: &str| Template::parse(source, &allowed).unwrap().evaluate(&scope).unwrap();
    assert_eq!(text("a ${{ matrix.n }} b ${{ '}}' }}"), Value::from("a 3 b }}"));
    assert_eq!(text("${{ matrix.n }}"), Value::Number(3.0));
    assert_eq!(text("plain"), Value::from("plain"));
    let error = Template::parse("x ${{ matrix.n", &allowed).unwrap_err();
    assert_eq!(error.offset, 2);
    assert!(Template::parse("${{ }}", &allowed).unwrap_err().to_string().contains("An expression was expected"));
}

proptest::proptest! {
    #[test]
    fn any_text_gives_a_value_or_an_error(text in "\\PC{0,60}") {
        let _ = eval(&text, serde_json::json!({"github": {"a": [1]}}));
    }

    #[test]
    fn any_tokens_give_a_value_or_an_error(parts in proptest::collection::vec(proptest::sample::select(vec![
        "github", ".", "*", "[", "]", "(", ")", "'a'", "1", "&&", "||", "==", "!", "format", "join", ",", "fromJSON", "toJSON", "null", " ",
    ]), 0..30)) {
        let _ = eval(&parts.concat(), serde_json::json!({"github": {"a": [1]}}));
    }
}
