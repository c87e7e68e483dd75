//! Expressions and what they are.

use std::collections::BTreeMap;

use cel::{Budget, Fault, Program, StructType, Ty, Value, Variable};
use serde_json::json;

fn eval(source: &str) -> Result<Value, String> {
    let self_ = json!({
        "a": 1, "b": [1, 2, 3], "s": "héllo", "m": {"x": 1, "y-z": 2, "namespace": "n"}, "f": 1.5, "none": null,
        "names": ["a", "b", "c"], "pairs": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]
    });
    let program = Program::compile(source, &[Variable::new("self", Ty::Dyn)]).map_err(|e| e.to_string())?;
    let variables = BTreeMap::from([("self".to_owned(), Value::from_json(&self_))]);
    program.eval(&variables, &mut Budget::new(100_000)).map_err(|e| e.to_string())
}

/// Each holds.
#[test]
fn truths() {
    for source in [
        "1 + 2 * 3 == 7 && 7 % 4 == 3 && -7 / 2 == -3",
        "1u + 2u == 3u && 0x10 == 16 && 1e3 == 1000.0 && dyn(1) == 1.0 && dyn(1u) == 1 && 2 > 1.5",
        "-9223372036854775808 < 0",
        "'a' + \"b\" == r'ab' && '''x\ny''' == 'x\\ny' && b'ab' == bytes('ab')",
        "'\\u00e9' == 'é' && '\\x41\\101' == 'AA'",
        "self.a == 1 && self['a'] == 1 && self.s.size() == 5 && size(self.b) == 3",
        "has(self.a) && !has(self.q) && !has(self.m.q) && has(self.m.y__dash__z) && self.m.__namespace__ == 'n'",
        "self.none == null && self.?q.orValue(4) == 4 && self.?a.hasValue() && !self.?q.?r.hasValue()",
        "self.m[?'x'].orValue(0) == 1 && self.b[?9].orValue(7) == 7 && optional.none().or(optional.of(3)).value() == 3",
        "[1, ?optional.none(), 2] == [1, 2] && {'a': 1, ?'b': optional.none()} == {'a': 1}",
        "self.?a.optMap(x, x + 1).value() == 2 && self.?a.optFlatMap(x, optional.of(x)).value() == 1",
        "self.b.all(x, x > 0) && self.b.exists(x, x == 2) && self.b.exists_one(x, x > 2) && !self.b.exists(x, x > 9)",
        "self.b.map(x, x * 2) == [2, 4, 6] && self.b.map(x, x > 1, x) == [2, 3] && self.b.filter(x, x < 3) == [1, 2]",
        "self.m.all(k, k != '') && self.m.exists(k, k == 'x') && self.m.map(k, k).size() == 3",
        "self.b.all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "self.b.transformList(i, v, i * v) == [0, 2, 6] && {'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
        "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'} && self.b.transformList(i, v, i > 0, v) == [2, 3]",
        "cel.bind(x, self.a + 1, x * x) == 4",
        "2 in self.b && 'x' in self.m && !('q' in self.m) && dyn(1.0) in [1, 2]",
        "(true || 1 / 0 == 1) && !(1 / 0 == 1 && false) && (1 / 0 == 1 || true)",
        "[0, 1].exists(x, 1 / x == 1) && ![1, 0].all(x, 1 / x == 2)",
        "self.s.startsWith('h') && self.s.endsWith('lo') && self.s.contains('él') && self.s.matches('^h.+o$')",
        "'abc'.charAt(1) == 'b' && 'tacocat'.substring(2, 4) == 'co' && 'a,b'.split(',') == ['a', 'b']",
        "'a-b-c'.replace('-', '+', 1) == 'a+b-c' && ' x '.trim() == 'x' && 'Ab'.lowerAscii() == 'ab'",
        "'héllo'.indexOf('l') == 2 && 'abcb'.lastIndexOf('b') == 3 && ['a', 'b'].join('-') == 'a-b'",
        "'%s is %d or %.2f %x %%'.format(['x', 3, 1.5, 255]) == 'x is 3 or 1.50 ff %'",
        "'%s'.format([[1, 'a', true]]) == '[1, a, true]' && '123 45'.findAll('[0-9]+') == ['123', '45']",
        "[1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2].isSorted() && ![2, 1].isSorted()",
        "sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])",
        "timestamp('2024-01-02T03:04:05Z') + duration('1h') == timestamp('2024-01-02T04:04:05Z')",
        "timestamp('2024-01-02T03:04:05Z').getMonth() == 0 && timestamp('2024-01-02T03:04:05Z').getHours('+02:00') == 5",
        "duration('90m').getHours() == 1 && string(duration('90m')) == '5400s' && duration('1.5s') > duration('1s')",
        "type(1) == int && type('') == string && type(self.b) == list && type(type(1)) == type",
        "int('42') == 42 && double('1.5') == 1.5 && string(1.5) == '1.5' && string(1e21) == '1e+21' && int(2.9) == 2",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('500m').add(quantity('0.5')).asInteger() == 1",
        "isQuantity('1k') && !isQuantity('x') && quantity('1k') == quantity('1000') && quantity('-1').sign() == -1",
        "url('https://user@h:80/p?q=1&q=2').getHostname() == 'h' && url('https://h/p?q=1&q=2').getQuery()['q'] == ['1', '2']",
        "url('http://h:8080/').getHost() == 'h:8080' && url('http://h:8080/').getPort() == '8080' && !isURL('a b')",
        "ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('1.2.3') && ip('::1').isLoopback() && ip.isCanonical('::1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !isCIDR('10.0.0.0/33')",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('::/0').prefixLength() == 0",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).minor() == 2 && !isSemver('v1')",
        "!format.dns1123Label().validate('ok').hasValue() && format.named('uuid').value().validate('x').hasValue()",
        "true ? true : 1 / 0 == 0",
        "self.pairs.filter(p, p.k == 'x').map(p, p.v) == [1] // a comment",
        "self.a.size() == 1 || true",
        ".5 < 1.0 && !!true && --1 == 1",
    ] {
        assert_eq!(eval(source), Ok(Value::Bool(true)), "{source}");
    }
}

#[test]
fn faults() {
    for (source, want) in [
        ("9223372036854775807 + 1", "integer overflow"),
        ("1u - 2u", "unsigned integer overflow"),
        ("1 / 0", "division by zero"),
        ("self.q", "no such key: q"),
        ("self.b[3]", "index out of bounds: 3"),
        ("self.a + 'x'", "no such overload"),
        ("self.b.all(x, x)", "no such overload"),
        (
            "[1, 2, 3].map(a, [1, 2, 3].map(b, self.b.map(c, self.b.map(d, self.b.map(e, self.b.map(f, self.b.map(g, self.b.map(h, self.b.map(i, self.b.map(j, 1))))))))))",
            "operation cancelled: actual cost limit exceeded",
        ),
        ("1 +", "Syntax error: mismatched input '<EOF>' expecting an expression at column 4"),
        ("q == 1", "undeclared reference to 'q' (in container '') at column 1"),
        ("self.a.nope()", "undeclared reference to 'nope' (in container '') at column 8"),
        ("1 + 'a' == 2", "found no matching overload for '_+_' applied to '(int, string)' at column 3"),
        ("'a' > 1", "found no matching overload for '_>_' applied to '(string, int)' at column 5"),
        ("namespace == 1", "reserved identifier: namespace at column 1"),
        ("has(self)", "invalid argument to has() macro at column 1"),
        ("'abc", "Syntax error: unterminated string at column 1"),
    ] {
        assert_eq!(eval(source).unwrap_err(), want, "{source}");
    }
    assert_eq!(
        eval("self.?b.map(x, x)").unwrap_err(),
        "expression of type 'optional(dyn)' cannot be range of a comprehension (must be list, map, or dynamic) at column 7"
    );
}

#[test]
fn known_types_are_checked() {
    let fields = [("count".to_owned(), Ty::Int), ("a-b".to_owned(), Ty::String)].into();
    let variables = [Variable::new("self", Ty::Struct(StructType { fields, open: false }.into()))];
    let compile =
        |source: &str| Program::compile(source, &variables).map(|p| p.result_type().clone()).map_err(|e| e.message);
    assert_eq!(compile("self.count > 1"), Ok(Ty::Bool));
    assert_eq!(compile("self.a__dash__b"), Ok(Ty::String));
    assert_eq!(compile("self.other"), Err("undefined field 'other'".into()));
    assert_eq!(
        compile("self.count == 'x'"),
        Err("found no matching overload for '_==_' applied to '(int, string)'".into())
    );
}

#[test]
fn messages_are_built() {
    let variables = [
        Variable::new("self", Ty::Dyn),
        Variable::new("Object", Ty::Message(&[])),
        Variable::new("JSONPatch", Ty::Message(&["op", "path"])),
    ];
    let run = |source: &str| {
        let program = Program::compile(source, &variables).map_err(|e| e.message)?;
        let value = program.eval(&BTreeMap::new(), &mut Budget::new(10_000)).map_err(|e| e.to_string())?;
        value.to_json().ok_or_else(|| "no JSON".to_owned())
    };
    assert_eq!(
        run("Object{spec: Object.spec{items: [Object.spec.items{name: 'a', ?no: optional.none()}]}, n: 1 + 1}"),
        Ok(serde_json::json!({"spec": {"items": [{"name": "a"}]}, "n": 2}))
    );
    assert_eq!(
        run("[JSONPatch{op: 'add', path: '/' + jsonpatch.escapeKey('a/b~c')}]"),
        Ok(serde_json::json!([{"op": "add", "path": "/a~1b~0c"}]))
    );
    assert_eq!(
        run("Object{spec: Object.other{}}").unwrap_err(),
        "unexpected type name \"Object.other\", expected \"Object.spec\", which matches field name path from root Object type"
    );
    assert_eq!(run("JSONPatch{from: 'x'}").unwrap_err(), "undefined field 'from'");
    assert_eq!(run("Other{}").unwrap_err(), "undeclared reference to 'Other' (in container '')");
    assert!(run("Object{").unwrap_err().starts_with("Syntax error"));
}

#[test]
fn hostile_expressions_are_refused() {
    for source in [
        "(".repeat(100_000),
        "!".repeat(50_000),
        format!("1{}", "+1".repeat(40_000)),
        format!("self{}", ".a".repeat(40_000)),
        "[".repeat(5_000),
        "a?".repeat(9_000),
        "-".repeat(60_000),
    ] {
        assert!(Program::compile(&source, &[Variable::new("self", Ty::Dyn)]).is_err());
    }
    let program = Program::compile("'x'.matches('(((((a{99}){99}){99}){99}){99})')", &[]).unwrap();
    assert!(matches!(program.eval(&BTreeMap::new(), &mut Budget::new(1000)), Err(Fault::Argument(_))));
}
