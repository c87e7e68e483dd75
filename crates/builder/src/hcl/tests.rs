use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::eval::{Locals, Names, eval};
use super::{Body, parse};

/// Variables and nothing else.
struct Plain(BTreeMap<&'static str, Value>);

impl Names for Plain {
    fn variable(&self, name: &str) -> Result<Option<Value>, String> {
        Ok(self.0.get(name).cloned())
    }

    fn block(&self, _: &str, _: &str, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }

    fn call(&self, _: &str, _: &[Value]) -> Result<Option<Value>, String> {
        Ok(None)
    }
}

fn names() -> Plain {
    Plain(BTreeMap::from([
        ("a", json!("x")),
        ("n", json!(3)),
        ("t", json!(true)),
        ("l", json!(["one", "two", "three"])),
        ("o", json!({"k": "v", "deep": {"list": [1, 2]}})),
        ("none", Value::Null),
    ]))
}

fn value(expr: &str) -> Result<Value, String> {
    let body = parse(&format!("v = {expr}\n"), "test.hcl").map_err(|wrong| wrong.to_string())?;
    eval(body.attribute("v").expect("attribute"), &names(), &Locals::new())
}

#[test]
fn expressions() {
    for (expr, expected) in [
        (r#""a${a}b""#, json!("axb")),
        (r#""${n}""#, json!(3)),
        (r#""${n}${t}""#, json!("3true")),
        (r#""$${a} %%{ \"q\" \u00e9\n""#, json!("${a} %{ \"q\" é\n")),
        ("1 + 2 * 3 - 4 / 2", json!(5)),
        ("-(1 + n) % 3", json!(-1)),
        ("!t || n >= 3 && a == \"x\"", json!(true)),
        ("n == \"3\"", json!(false)),
        ("t ? \"yes\" : \"no\"", json!("yes")),
        ("a != \"\" ? [a, \"y\"] : []", json!(["x", "y"])),
        ("l[1]", json!("two")),
        ("l.2", json!("three")),
        ("o.deep.list[0]", json!(1)),
        ("o[\"k\"]", json!("v")),
        ("[o, o][*].k", json!(["v", "v"])),
        ("{ a = 1, \"b c\": 2, (a) = 3 }", json!({"a": 1, "b c": 2, "x": 3})),
        ("{\n  a = 1\n  b = 2 # two\n}", json!({"a": 1, "b": 2})),
        ("[\n  1, // one\n  2,\n]", json!([1, 2])),
        ("[for s in l : upper(s)]", json!(["ONE", "TWO", "THREE"])),
        ("[for i, s in l : \"${i}${s}\" if s != \"two\"]", json!(["0one", "2three"])),
        ("{for k, v in o : k => 1 if k == \"k\"}", json!({"k": 1})),
        ("{for s in l : substr(s, 0, 1) => s...}", json!({"o": ["one"], "t": ["two", "three"]})),
        ("\"%{ if t }yes%{ else }no%{ endif }\"", json!("yes")),
        ("\"%{ for s in l ~}  ${s},%{ endfor }\"", json!("one,two,three,")),
        ("try(o.missing, none, 1)", Value::Null),
        ("can(o.missing)", json!(false)),
        ("convert(n, string)", json!("3")),
        ("max(l...) == 1", json!(null)),
    ] {
        match value(expr) {
            Ok(found) => assert_eq!(found, expected, "{expr}"),
            Err(why) => assert_eq!(expected, json!(null), "{expr}: {why}"),
        }
    }
}

#[test]
fn functions_of_the_language() {
    for (expr, expected) in [
        ("split(\".\", \"1.2.3\")", json!(["1", "2", "3"])),
        ("join(\"-\", [\"a\", 1], [\"b\"])", json!("a-1-b")),
        ("concat([1], [2, 3])", json!([1, 2, 3])),
        ("merge({a = 1, b = 1}, {b = 2})", json!({"a": 1, "b": 2})),
        ("flatten([[1, [2]], 3])", json!([1, 2, 3])),
        ("compact([\"a\", \"\", null, \"b\"])", json!(["a", "b"])),
        ("distinct([1, 2, 1])", json!([1, 2])),
        ("contains(l, \"two\")", json!(true)),
        ("length(l) + length(o) + length(\"é\")", json!(6)),
        ("format(\"%s-%03d-%q-%t-%v\", a, n, a, t, l)", json!("x-003-\"x\"-true-[\"one\",\"two\",\"three\"]")),
        ("regex_replace(\"v1.2.3\", \"^v([0-9]+).*\", \"$1\")", json!("1")),
        ("regex(\"([0-9]+)\\\\.([0-9]+)\", \"a1.22\")", json!(["1", "22"])),
        ("replace(\"a/b/c\", \"/\", \"-\")", json!("a-b-c")),
        ("sanitize(\"a.b/c-d_e\")", json!("a_b_c-d_e")),
        ("equal(a, \"x\")", json!(true)),
        ("and(notequal(\"\", a), t)", json!(true)),
        ("substr(\"abcdef\", -3, 2)", json!("de")),
        ("lookup(o, \"none\", \"d\")", json!("d")),
        ("element(l, 4)", json!("two")),
        ("index(l, 0)", json!("one")),
        ("range(1, 4)", json!([1, 2, 3])),
        ("setproduct([1, 2], [\"a\"])", json!([[1, "a"], [2, "a"]])),
        ("coalesce(none, a)", json!("x")),
        ("formatdate(\"YYYY-MM-DD'T'hh\", \"2020-01-02T03:04:05Z\")", json!("2020-01-02T03")),
        ("timeadd(\"2020-01-02T03:04:05Z\", \"1h\")", json!("2020-01-02T04:04:05Z")),
        ("jsondecode(jsonencode(o)).deep.list", json!([1, 2])),
        ("base64decode(base64encode(\"hi\"))", json!("hi")),
        ("sha1(\"\")", json!("da39a3ee5e6b4b0d3255bfef95601890afd80709")),
        ("title(\"a bc\")", json!("A Bc")),
        ("dirname(\"/a/b\") == \"/a\" && basename(\"/a/b\") == \"b\"", json!(true)),
        ("trimprefix(\"v1\", \"v\")", json!("1")),
        ("slice(l, 1, 2)", json!(["two"])),
        ("zipmap([\"a\"], [1])", json!({"a": 1})),
        ("parseint(\"ff\", 16)", json!(255)),
        ("chunklist([1, 2, 3], 2)", json!([[1, 2], [3]])),
    ] {
        assert_eq!(value(expr), Ok(expected), "{expr}");
    }
    assert!(value("nothing(1)").is_err_and(|why| why.contains("undefined function nothing")));
    assert!(value("b").is_err_and(|why| why.contains("undefined variable \"b\"")));
}

#[test]
fn bodies_and_heredocs() {
    let text = "/* c */ group \"default\" {\n  targets = [\"a\"]\n}\ntarget a { tags = [\"x\"] }\ntext = <<-EOT\n    one ${a}\n      two\n    EOT\nplain = <<END\n  kept\nEND\n";
    let body = parse(text, "test.hcl").expect("body");
    let kinds: Vec<(&str, &str, usize)> =
        body.blocks.iter().map(|block| (block.kind.as_str(), block.labels[0].as_str(), block.line)).collect();
    assert_eq!(kinds, [("group", "default", 1), ("target", "a", 4)]);
    let at = |body: &Body, name: &str| eval(body.attribute(name).expect(name), &names(), &Locals::new());
    assert_eq!(at(&body, "text"), Ok(json!("one x\n  two\n")));
    assert_eq!(at(&body, "plain"), Ok(json!("  kept\n")));
}

#[test]
fn errors_say_where() {
    for (text, at) in [
        ("a = ", "test.hcl:1,5"),
        ("a = 1\nb = \"x", "test.hcl:2,7"),
        ("target \"a\" {\n  tags = [\"x\"\n}\n", "test.hcl:3,1"),
        ("a = 1 2\n", "test.hcl:1,7"),
        ("a = 1\na = 2\n", "test.hcl:2,4"),
    ] {
        let wrong = parse(text, "test.hcl").expect_err(text);
        assert!(wrong.to_string().starts_with(at), "{text:?}: {wrong}");
    }
    let deep = format!("a = {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(parse(&deep, "test.hcl").is_err());
    let deep = format!("a = {}", "{a = ".repeat(10_000));
    assert!(parse(&deep, "test.hcl").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_brings_it_down(text in "[a-z{}\\[\\]()\"$%=<>\\-~!?:., \n0-9E#]{0,80}") {
        if let Ok(body) = parse(&text, "test.hcl") {
            for attribute in &body.attributes {
                let _ = eval(&attribute.value, &names(), &Locals::new());
            }
        }
    }
}
