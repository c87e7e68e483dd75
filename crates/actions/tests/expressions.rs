//! Known answers of the expression language, from GitHub's documentation of it: literals, operators, coercions, functions, filters,
//! and the kind of each refusal. A line is `expression => value as JSON` or `expression => ! kind: part of the message`.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use actions::expr::{Contexts, ErrorKind, evaluate};
use serde_json::json;

const CASES: &str = r#"
# Literals.
null => null
true => true
FALSE => ! parsing: Unrecognized named-value
711 => 711
-9.2 => -9.2
+1.5 => 1.5
.5 => 0.5
0xff => 255
0xFF => 255
0o17 => 15
-2.99e-2 => -0.0299
1E3 => 1000
'Mona the Octocat' => "Mona the Octocat"
'It''s open source!' => "It's open source!"
'' => ""
"double" => ! lexing: Unexpected symbol: '"double"'
'open => ! lexing: Unexpected symbol
0xZZ => ! lexing: Unexpected symbol: '0xZZ'
1.2.3 => ! lexing: Unexpected symbol: '1.2.3'
1e => ! lexing: Unexpected symbol: '1e'

# What a number looks like as text.
format('{0}', 1) => "1"
format('{0}', -0) => "0"
format('{0}', 1.10) => "1.1"
format('{0}', 1e21) => "1E+21"
format('{0}', 0.1) => "0.1"
format('{0}', 123456.789) => "123456.789"
format('{0}', 1e-7) => "1E-07"
format('{0}', Infinity) => "Infinity"
format('{0}', -Infinity) => "-Infinity"
format('{0}', NaN) => "NaN"
format('{0}', list) => "Array"
format('{0}', object) => "Object"
format('[{0}]', null) => "[]"

# Loose equality: null 0, true 1, false 0, '' 0, text as the number that it is in JSON, else NaN; objects by identity.
null == 0 => true
null == '' => true
null == false => true
'' == false => true
true == 1 => true
true == '1' => true
true == 'true' => false
'1' == 1 => true
'0x10' == 16 => true
'0o10' == 8 => true
' 7 ' == 7 => true
'1e2' == 100 => true
'seven' == 7 => false
'seven' != 7 => true
NaN == NaN => false
NaN != NaN => true
'ABC' == 'abc' => true
'ß' == 'SS' => false
list == list => true
fromJSON('[1]') == fromJSON('[1]') => false
object == list => false
object == '' => false

# Order.
1 < 2 => true
2 <= 2 => true
'10' > 9 => true
'a' < 'B' => true
'b' > 'A' => true
'abc' >= 'ABC' => true
null < 1 => true
'x' > 1 => false
'x' <= 1 => false
NaN < 1 => false
NaN >= NaN => false
true > false => true
list > 1 => false

# Logic gives the value itself.
true && 'a' => "a"
'' && 'a' => ""
0 && 'a' => 0
null || 'a' => "a"
'a' || 'b' => "a"
false || 0 => 0
!0 => true
!'false' => false
!!list => true
!NaN => true
!-0 => true
true || nothing.at.all => ! parsing: Unrecognized named-value: 'nothing'
false && fromJSON('{') => false
true || fromJSON('{') => true

# Precedence: ( ) [ ] . then ! then < <= > >= then == != then && then ||.
!true == false => true
1 == 1 && 2 == 3 || 4 == 4 => true
true || false && false => true
(true || false) && false => false
1 < 2 == true => true
!(1 == 2) => true
1 < 2 < 3 => true

# Properties, indexes, filters.
object.a.n => 1
object['a']['n'] => 1
object.A.N => 1
object.nothing => null
object.nothing.more => null
object['no-such'] => null
list[0] => 1
list[1.9] => "two"
list['1'] => "two"
list[99] => null
list[-1] => null
list.x => null
'text'.length => ! lexing: Unexpected symbol
('text').length => null
object.*.n => [1, 2]
object[*].n => [1, 2]
list.* => [1, "two", null, true, {"k": [5, 6]}]
list.*.k => [[5, 6]]
list.*.k.* => [5, 6]
join(object.*.n, '+') => "1+2"
object.*.n[0] => []
text.* => []
dashed.a-b_c => "yes"
object.true => "kept"
object. => ! parsing: Unexpected end of expression
object.1 => ! parsing: Unexpected symbol: '1'
object[ => ! parsing: Unexpected end of expression
list[0 => ! parsing: Unexpected end of expression
(1 => ! parsing: Unexpected end of expression
1) => ! parsing: Unexpected symbol: ')'
1 2 => ! parsing: Unexpected symbol: '2'
&& 1 => ! parsing: Unexpected symbol: '&&'
1 + 1 => ! lexing: Unexpected symbol: '+'
1 & 1 => ! lexing: Unexpected symbol: '&'
1 === 1 => ! lexing
'ı' == 'I' => false
'i' == 'İ' => false
'ς' == 'Σ' => true
'ü' == 'Ü' => true
'a' < '[' => true
a.b => ! parsing: Unrecognized named-value: 'a'
$x => ! lexing: Unexpected symbol: '$x'

# contains
contains('Hello world', 'llo') => true
contains('Hello world', 'LLO') => true
contains('abc', '') => true
contains(123, 2) => true
contains(true, 'RU') => true
contains(list, 'TWO') => true
contains(list, 1) => true
contains(list, '1') => true
contains(list, 'tw') => false
contains(list, null) => true
contains(object, 'a') => false
contains(object.*.n, 2) => true
contains(fromJSON('["push", "pull_request"]'), 'push') => true
contains('a') => ! parsing: Too few parameters
contains('a', 'b', 'c') => ! parsing: Too many parameters
# startsWith, endsWith
startsWith('Hello world', 'he') => true
startsWith(123, 12) => true
startsWith(list, 'A') => false
endsWith('Hello world', 'LD') => true
endsWith('Hello', '') => true
endsWith(null, '') => true
# format
format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat') => "Hello Mona the Octocat"
format('{{Hello {0}!}}', 'Mona') => "{Hello Mona!}"
format('{{{0}}}', 'x') => "{x}"
format('{1}{0}{1}', 'a', 'b') => "bab"
format('plain') => "plain"
format('{0}{1}{2}{3}{4}{5}{6}{7}{8}{9}{10}', 0,1,2,3,4,5,6,7,8,9,10) => "012345678910"
format('{2}', 1) => ! parsing: references {2}
format('{') => ! parsing: Invalid format string
format('}') => ! parsing: Invalid format string
format('{x}', 1) => ! parsing: Invalid format string
format('{-1}', 1) => ! parsing: Invalid format string
format() => ! parsing: Too few parameters
format(text, 1) => "text"
# join
join(list, '|') => "1|two||true|Object"
join(fromJSON('["a"]')) => "a"
join(fromJSON('["a", "b"]')) => "a,b"
join('a', 'x') => "a"
join(fromJSON('[]'), '-') => ""
join(object, '-') => ""
# toJSON, fromJSON
toJSON('a"b') => "\"a\\\"b\""
toJSON(1.0) => "1"
toJSON(null) => "null"
toJSON(fromJSON('[]')) => "[]"
toJSON(fromJSON('{}')) => "{}"
toJSON(fromJSON('[1, {"a": []}]')) => "[\n  1,\n  {\n    \"a\": []\n  }\n]"
fromJSON('{"a": [1, {"b": null}]}').a[1] => {"b": null}
fromJSON('true') => true
fromJSON('1e2') => 100
fromJSON(' "x" ') => "x"
fromJSON('') => ! evaluation
fromJSON('{a: 1}') => ! evaluation
fromJSON('[1,]') => ! evaluation
fromJSON(null) => ! evaluation
fromJSON('{"A": 1}').a => 1
# case
case(true, 1, 2) => 1
case(false, 1, 2) => 2
case(false, 1, true, 2, 3) => 2
case(false, 1, 1 == 2, 2, 3) => 3
case('true', 1, 2) => ! evaluation: boolean
case(true, 1) => ! parsing
case(true, 1, false, 2) => ! parsing
case(true, 'a', fromJSON('{')) => "a"
# Names of functions and contexts in any case; names that are not known.
FROMJSON('1') => 1
ToJson(1) => "1"
OBJECT.a.n => 1
nothing() => ! parsing: Unrecognized function: 'nothing'
nothing => ! parsing: Unrecognized named-value: 'nothing'
success() => ! parsing: Unrecognized function: 'success'
hashFiles('x') => ! parsing: Unrecognized function: 'hashFiles'
format => ! parsing
"#;

#[test]
fn known_answers() {
    let mut contexts = Contexts::new();
    let list = json!([1, "two", null, true, {"k": [5, 6]}]);
    contexts.set("list", &list);
    contexts.set("object", json!({"a": {"n": 1}, "b": {"n": 2}, "c": {"m": 3}, "true": "kept"}));
    contexts.set("dashed", json!({"a-b_c": "yes"}));
    contexts.set("text", json!("text"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let (expression, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("{line}"));
        let found = evaluate(expression, &contexts);
        count += 1;
        let fits = match (&found, expected.strip_prefix("! ")) {
            (Ok(value), None) => {
                let expected: serde_json::Value =
                    serde_json::from_str(expected).unwrap_or_else(|error| panic!("{line}: {error}"));
                // JSON has two ways to write a whole number.
                value.to_json().to_string().replace(".0", "") == expected.to_string().replace(".0", "")
            }
            (Err(error), Some(refusal)) => {
                let kind = match error.kind {
                    ErrorKind::Lexing => "lexing",
                    ErrorKind::Parsing => "parsing",
                    ErrorKind::Evaluation => "evaluation",
                };
                let (wanted, part) = refusal.split_once(": ").unwrap_or((refusal, ""));
                kind == wanted && error.message.contains(part)
            }
            _ => false,
        };
        if !fits {
            wrong.push(match found {
                Ok(value) => format!("{line}\n    is {}", value.to_json_text()),
                Err(error) => format!("{line}\n    is ! {:?}: {}", error.kind, error.message),
            });
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// Each is refused with the place of the first thing that is wrong with it.
#[test]
fn refusals_of_workflows() {
    let job = |body: &str| format!("on: push\njobs:\n  build:\n    runs-on: x\n{body}");
    let steps = "    steps: [{run: a}]\n";
    let step = |body: &str| job(&format!("    steps:\n      - {body}\n"));
    let cases: Vec<(String, (usize, usize), &str)> = vec![
        (job(&format!("{steps}    unknown: 1\n")), (6, 5), "Unexpected value 'unknown'"),
        (
            job(&format!("    container: {{image: a, credentials: {{badkey: b}}}}\n{steps}")),
            (5, 41),
            "Unexpected value 'badkey'",
        ),
        (job(&format!("    container:\n      image:\n{steps}")), (6, 13), "Unexpected value ''"),
        (job(&format!("    services: {{db: {{badkey: b}}}}\n{steps}")), (5, 21), "Unexpected value 'badkey'"),
        (job(&format!("    continue-on-error: maybe\n{steps}")), (5, 24), "Unexpected value 'maybe'"),
        (job(&format!("    timeout-minutes: [1]\n{steps}")), (5, 22), "A sequence was not expected"),
        (job(&format!("    strategy: {{matrix: {{}}, max-parallel: a}}\n{steps}")), (5, 42), "Unexpected value 'a'"),
        (job(&format!("    strategy: {{fail: 1, matrix: {{a: [1]}}}}\n{steps}")), (5, 16), "Unexpected value 'fail'"),
        (job(&format!("    environment: {{url: x}}\n{steps}")), (5, 18), "name"),
        (job(&format!("    defaults: {{run: {{shel: x}}}}\n{steps}")), (5, 22), "Unexpected value 'shel'"),
        (job(&format!("    permissions: {{content: read}}\n{steps}")), (5, 19), "Unexpected value 'content'"),
        (job(&format!("    concurrency: {{cancel-in-progress: true}}\n{steps}")), (5, 18), "group"),
        (
            job(&format!("    concurrency: {{group: a, queue: max, cancel-in-progress: true}}\n{steps}")),
            (5, 18),
            "is not allowed",
        ),
        (job(&format!("    concurrency: {{group: a, cancel: true}}\n{steps}")), (5, 29), "Unexpected value 'cancel'"),
        (job(&format!("    if: ${{{{ steps.a.outcome }}}}\n{steps}")), (5, 9), "Unrecognized named-value: 'steps'"),
        (job(&format!("    env: [a]\n{steps}")), (5, 10), "A sequence was not expected"),
        (job(&format!("    outputs: {{a: [1]}}\n{steps}")), (5, 18), "A sequence was not expected"),
        (job("    steps: {run: a}\n"), (5, 12), "A mapping was not expected"),
        (step("name: a"), (6, 9), "run"),
        (step("{run: a, with: {b: c}}"), (6, 18), "with"),
        (step("{run: a, wrong: b}"), (6, 18), "Unexpected value 'wrong'"),
        (step("{run: a, id: '1x'}"), (6, 22), "identifier '1x' is invalid"),
        (step("{run: a, id: __x}"), (6, 22), "reserved"),
        (step("{uses: a/b}"), (6, 16), "Expected format"),
        (step("{run: '${{ secrets.X'}"), (6, 15), "not closed"),
        (step("{run: '${{ nothing.X }}'}"), (6, 15), "Unrecognized named-value: 'nothing'"),
        (step("{run: a, if: '${{ always( }}'}"), (6, 22), "Unexpected"),
        (step("{run: a, timeout-minutes: x}"), (6, 35), "Unexpected value 'x'"),
        ("on: push\njobs:\n  __a: {runs-on: x, steps: [{run: a}]}\n".into(), (3, 3), "reserved"),
        ("on: push\njobs:\n  'a b': {runs-on: x, steps: [{run: a}]}\n".into(), (3, 3), "invalid"),
        ("on: push\njobs: {}\n".into(), (2, 7), "at least one job"),
        ("on: push\njobs: []\n".into(), (2, 7), "A sequence was not expected"),
        ("on: []\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(), (1, 5), "No event triggers defined"),
        ("on: {push: {branches: main, tagz: x}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(), (1, 29), "tagz"),
        (
            "on: {workflow_dispatch: {inputs: {a: {type: choice}}}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n"
                .into(),
            (1, 38),
            "options",
        ),
        (
            "on: {workflow_dispatch: {inputs: {a: {type: word}}}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(),
            (1, 45),
            "word",
        ),
        (
            "on: {workflow_call: {inputs: {a: {default: x}}}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(),
            (1, 34),
            "type",
        ),
        (
            "on: push\nname: [a]\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(),
            (2, 7),
            "A sequence was not expected",
        ),
        ("on: push\nrun: a\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(), (2, 1), "Unexpected value 'run'"),
        ("on: push\njobs:\n  a:\n    needs: a\n    runs-on: x\n    steps: [{run: a}]\n".into(), (4, 12), ""),
        ("on: push\njobs:\n\ta: 1\n".into(), (3, 2), "tabs"),
        ("on: push\njobs: {a: {runs-on: x, steps: [{run: *nothing}]}}\n".into(), (2, 38), ""),
    ];
    let mut wrong = Vec::new();
    for (source, (line, column), part) in &cases {
        let (_, findings) = actions::workflow::read("ci.yml", source);
        let fits = findings
            .0
            .iter()
            .any(|finding| (finding.at.line, finding.at.column) == (*line, *column) && finding.message.contains(part));
        if !fits {
            let found: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
            wrong.push(format!("{source}  wanted (Line: {line}, Col: {column}): {part}\n  found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
