//! Templates and values that nobody wrote: generated from a grammar of types, rendered by this crate and by the real Helm.
//!
//! The cases are the same in every run; `HELM_CASES` asks for another number of them, `HELM_SEED` for others.

mod support;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

const HELPERS: &str = r#"{{- define "t.name" -}}{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}{{- end }}
{{- define "t.labels" -}}
app.kubernetes.io/name: {{ include "t.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.d }}
extra: {{ toJson . }}
{{- end }}
{{- end }}
{{- define "t.dot" }}<{{ . }}>{{ end }}
{{- define "t.tplvalue" -}}
{{- if typeIs "string" .value }}{{ tpl .value .context }}{{ else }}{{ tpl (.value | toYaml) .context }}{{ end }}
{{- end }}
"#;

const WORDS: &[&str] = &[
    "",
    "a",
    "abc",
    "Hello World",
    "foo-bar_baz",
    "10",
    "-3",
    "1.5",
    "0x1f",
    "true",
    "null",
    "~",
    "yes",
    "1e3",
    "0755",
    "a,b,,c",
    "x y  z",
    "tab\tand",
    "line\nbreak\n",
    "über",
    "日本",
    "it's",
    "\"q\"",
    "a: b",
    "- x",
    "#c",
    "{{ .Values.s }}",
    "{{ include \"t.name\" . }}",
    "v1.2.3",
    "1.2.3-beta.1+meta",
    "http://u:p@example.com:80/p?q=1#f",
    "<b>&'\"",
    "%d%%",
    "1h30m",
    "2006-01-02",
    "aGVsbG8=",
    "$1",
    "^a.*$",
    " trim ",
    "camelCaseText",
    "UPPER",
    "a/b/c.txt",
    "127.0.0.1",
    "0",
    "1_000",
    ".5",
    "12345678901234567890",
    "key=value",
    "1:30",
    "!x",
    "*x",
    "&x",
    "@x",
    "`x`",
    "very long text that goes on and on beyond the eightieth column of a line, as descriptions do",
];

/// A grammar with the state of one template.
struct Gen {
    rng: StdRng,
    vars: Vec<(String, Ty)>,
    next: usize,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Ty {
    Str,
    Int,
    Float,
    Bool,
    List,
    Dict,
    Any,
}

const TYPES: [Ty; 7] = [Ty::Str, Ty::Int, Ty::Float, Ty::Bool, Ty::List, Ty::Dict, Ty::Any];

/// Functions by what they give, with what they take. `X` is written as it stands.
const CALLS: &[(Ty, &str)] = &[
    (Ty::Str, "upper S"),
    (Ty::Str, "lower S"),
    (Ty::Str, "title S"),
    (Ty::Str, "untitle S"),
    (Ty::Str, "trim S"),
    (Ty::Str, "quote A"),
    (Ty::Str, "squote A"),
    (Ty::Str, "quote A A"),
    (Ty::Str, "toString A"),
    (Ty::Str, "trunc N S"),
    (Ty::Str, "abbrev N S"),
    (Ty::Str, "substr N N S"),
    (Ty::Str, "repeat 3 S"),
    (Ty::Str, "trimAll S S"),
    (Ty::Str, "trimSuffix S S"),
    (Ty::Str, "trimPrefix S S"),
    (Ty::Str, "nospace S"),
    (Ty::Str, "initials S"),
    (Ty::Str, "swapcase S"),
    (Ty::Str, "snakecase S"),
    (Ty::Str, "camelcase S"),
    (Ty::Str, "kebabcase S"),
    (Ty::Str, "wrap 10 S"),
    (Ty::Str, "wrapWith 5 S S"),
    (Ty::Str, "cat A A"),
    (Ty::Str, "indent 2 S"),
    (Ty::Str, "nindent 4 S"),
    (Ty::Str, "replace S S S"),
    (Ty::Str, "plural S S N"),
    (Ty::Str, "sha256sum S"),
    (Ty::Str, "sha1sum S"),
    (Ty::Str, "adler32sum S"),
    (Ty::Str, "join S L"),
    (Ty::Str, "print A A"),
    (Ty::Str, "println A A"),
    (Ty::Str, "printf \"%v\" A"),
    (Ty::Str, "printf \"%s-%s\" S S"),
    (Ty::Str, "printf \"%d\" I"),
    (Ty::Str, "printf \"%5.2f|%-8s|%08d\" F S I"),
    (Ty::Str, "printf \"%q %x %T\" S S A"),
    (Ty::Str, "printf \"%s\" A"),
    (Ty::Str, "printf \"%d\" A"),
    (Ty::Str, "printf \"%+v %#v\" A A"),
    (Ty::Str, "printf \"%t %c %U %e %g\" B I I F F"),
    (Ty::Str, "toYaml A"),
    (Ty::Str, "toJson A"),
    (Ty::Str, "toPrettyJson A"),
    (Ty::Str, "toRawJson A"),
    (Ty::Str, "toYamlPretty A"),
    (Ty::Str, "toToml D"),
    (Ty::Str, "b64enc S"),
    (Ty::Str, "b64dec S"),
    (Ty::Str, "b32enc S"),
    (Ty::Str, "b32dec S"),
    (Ty::Str, "urlquery S"),
    (Ty::Str, "html A"),
    (Ty::Str, "js S"),
    (Ty::Str, "regexReplaceAll \"[a-c]+\" S S"),
    (Ty::Str, "regexReplaceAllLiteral \"[a-c]\" S S"),
    (Ty::Str, "regexFind \"[a-z]+\" S"),
    (Ty::Str, "regexQuoteMeta S"),
    (Ty::Str, "base S"),
    (Ty::Str, "dir S"),
    (Ty::Str, "ext S"),
    (Ty::Str, "clean S"),
    (Ty::Str, "osBase S"),
    (Ty::Str, "typeOf A"),
    (Ty::Str, "kindOf A"),
    (Ty::Str, "include \"t.name\" $"),
    (Ty::Str, "include \"t.labels\" $"),
    (Ty::Str, "include \"t.dot\" A"),
    (Ty::Str, "tpl S $"),
    (Ty::Str, "include \"t.tplvalue\" (dict \"value\" A \"context\" $)"),
    (Ty::Str, "ternary S S B"),
    (Ty::Str, "default S A"),
    (Ty::Str, "duration I"),
    (Ty::Str, "durationRound S"),
    (Ty::Str, "required \"needed\" S"),
    (Ty::Str, "date \"2006-01-02\" (toDate \"2006-01-02\" S)"),
    (Ty::Int, "len A"),
    (Ty::Int, "int A"),
    (Ty::Int, "int64 A"),
    (Ty::Int, "add I I"),
    (Ty::Int, "sub I I"),
    (Ty::Int, "mul I I"),
    (Ty::Int, "div I I"),
    (Ty::Int, "mod I I"),
    (Ty::Int, "add1 A"),
    (Ty::Int, "max I I A"),
    (Ty::Int, "min I I"),
    (Ty::Int, "atoi S"),
    (Ty::Int, "toDecimal S"),
    (Ty::Int, "len S"),
    (Ty::Int, "len L"),
    (Ty::Float, "float64 A"),
    (Ty::Float, "addf F F"),
    (Ty::Float, "mulf F F"),
    (Ty::Float, "subf F F"),
    (Ty::Float, "divf F F"),
    (Ty::Float, "floor A"),
    (Ty::Float, "ceil A"),
    (Ty::Float, "round F 2"),
    (Ty::Float, "maxf F F"),
    (Ty::Float, "minf F F"),
    (Ty::Bool, "eq A A"),
    (Ty::Bool, "ne S S"),
    (Ty::Bool, "lt I I"),
    (Ty::Bool, "le F F"),
    (Ty::Bool, "gt S S"),
    (Ty::Bool, "ge A A"),
    (Ty::Bool, "not A"),
    (Ty::Bool, "empty A"),
    (Ty::Bool, "contains S S"),
    (Ty::Bool, "hasPrefix S S"),
    (Ty::Bool, "hasSuffix S S"),
    (Ty::Bool, "hasKey D S"),
    (Ty::Bool, "has A L"),
    (Ty::Bool, "kindIs \"string\" A"),
    (Ty::Bool, "typeIs \"string\" A"),
    (Ty::Bool, "typeIsLike \"map[string]interface {}\" A"),
    (Ty::Bool, "deepEqual A A"),
    (Ty::Bool, "any A A"),
    (Ty::Bool, "all A A"),
    (Ty::Bool, "regexMatch \"^[a-z]\" S"),
    (Ty::Bool, "semverCompare \">=1.2.0-0\" S"),
    (Ty::Bool, "semverCompare S \"1.2.3\""),
    (Ty::Bool, "isAbs S"),
    (Ty::Bool, "mustRegexMatch S S"),
    (Ty::Bool, "$.Capabilities.APIVersions.Has S"),
    (Ty::List, "list A A A"),
    (Ty::List, "tuple A"),
    (Ty::List, "append L A"),
    (Ty::List, "prepend L A"),
    (Ty::List, "concat L L"),
    (Ty::List, "reverse L"),
    (Ty::List, "uniq L"),
    (Ty::List, "compact L"),
    (Ty::List, "without L A"),
    (Ty::List, "rest L"),
    (Ty::List, "initial L"),
    (Ty::List, "slice L 0"),
    (Ty::List, "sortAlpha L"),
    (Ty::List, "splitList S S"),
    (Ty::List, "until 4"),
    (Ty::List, "untilStep 1 9 3"),
    (Ty::List, "keys D | sortAlpha"),
    (Ty::List, "pluck S D D"),
    (Ty::List, "regexSplit \"[,.-]\" S -1"),
    (Ty::List, "regexFindAll \"[a-z]\" S -1"),
    (Ty::List, "chunk 2 L"),
    (Ty::List, "fromYamlArray S"),
    (Ty::List, "fromJsonArray S"),
    (Ty::List, "toStrings L"),
    (Ty::List, "mustUniq L"),
    (Ty::List, "seq 3 | splitList \" \""),
    (Ty::Dict, "dict S A S A"),
    (Ty::Dict, "dict S A"),
    (Ty::Dict, "set D S S"),
    (Ty::Dict, "unset D S"),
    (Ty::Dict, "merge D D"),
    (Ty::Dict, "mergeOverwrite D D"),
    (Ty::Dict, "mustMerge (deepCopy D) D"),
    (Ty::Dict, "pick D S S"),
    (Ty::Dict, "omit D S"),
    (Ty::Dict, "deepCopy D"),
    (Ty::Dict, "fromYaml S"),
    (Ty::Dict, "fromJson S"),
    (Ty::Dict, "split S S"),
    (Ty::Dict, "urlParse S"),
    (Ty::Dict, "fromYaml (toYaml D)"),
    (Ty::Dict, "fromJson (toJson D)"),
    (Ty::Dict, "fromToml S"),
    (Ty::Dict, "splitn S 2 S"),
    (Ty::Any, "index D S"),
    (Ty::Any, "index L N"),
    (Ty::Any, "get D S"),
    (Ty::Any, "dig S S A D"),
    (Ty::Any, "first L"),
    (Ty::Any, "last L"),
    (Ty::Any, "default A A"),
    (Ty::Any, "coalesce A A A"),
    (Ty::Any, "ternary A A B"),
    (Ty::Any, "and A A"),
    (Ty::Any, "or A A"),
    (Ty::Any, "mustFromJson S"),
    (Ty::Any, "semver S"),
    (Ty::Any, "lookup \"v1\" \"Secret\" \"ns\" S"),
    (Ty::Any, "toDate \"2006-01-02\" S"),
];

impl Gen {
    fn new(seed: u64) -> Gen {
        Gen { rng: StdRng::seed_from_u64(seed), vars: Vec::new(), next: 0 }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.rng).expect("something to choose from")
    }

    fn word(&mut self) -> String {
        self.pick(WORDS).to_owned()
    }

    fn scalar(&mut self) -> Value {
        match self.rng.random_range(0..10) {
            0 => Value::Null,
            1 => self.chance(50).into(),
            2 => self.rng.random_range(-20..200).into(),
            3 => json!(self.pick(&[0.5, 1e21, 1e-7, 123456789.0, -2.25, 12345678901.0, 1e6, 3.0])),
            4 => json!({}),
            5 => json!([]),
            _ => self.word().into(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.rng.random_range(0..6) {
            0 | 1 if depth > 0 => (0..self.rng.random_range(0..4)).map(|_| self.value(depth - 1)).collect(),
            2 | 3 if depth > 0 => Value::Object(
                (0..self.rng.random_range(0..4))
                    .map(|_| (self.pick(&["a", "b", "c", "k8s.io/x", "10", "on"]).to_owned(), self.value(depth - 1)))
                    .collect(),
            ),
            _ => self.scalar(),
        }
    }

    fn list(&mut self) -> Value {
        (0..self.rng.random_range(0..4)).map(|_| self.value(1)).collect()
    }

    fn dict(&mut self) -> Value {
        let keys = ["a", "b", "c", "abc"];
        let count = self.rng.random_range(0..4);
        Value::Object((0..count).map(|_| (self.pick(&keys).to_owned(), self.value(1))).collect())
    }

    fn values(&mut self) -> Value {
        let mut all = Map::new();
        for name in ["s", "t", "u"] {
            all.insert(name.to_owned(), self.word().into());
        }
        all.insert("i".to_owned(), self.rng.random_range(-5..50).into());
        all.insert("f".to_owned(), json!(self.pick(&[0.0, 1.5, -2.0, 1e10, 0.1])));
        all.insert("b".to_owned(), self.chance(50).into());
        all.insert("l".to_owned(), self.list());
        all.insert("m".to_owned(), self.list());
        all.insert("d".to_owned(), self.dict());
        all.insert("e".to_owned(), self.dict());
        all.insert("x".to_owned(), self.value(3));
        Value::Object(all)
    }

    fn literal(text: &str) -> String {
        if text.contains('`') || text.contains('\n') || text.contains('\t') || !text.contains('"') {
            Value::from(text).to_string()
        } else {
            format!("`{text}`")
        }
    }

    fn leaf(&mut self, ty: Ty) -> String {
        let known: Vec<String> = self.vars.iter().filter(|(_, t)| *t == ty).map(|(n, _)| n.clone()).collect();
        if !known.is_empty() && self.chance(30) {
            return known.choose(&mut self.rng).expect("not empty").clone();
        }
        match ty {
            Ty::Str if self.chance(50) => Self::literal(&self.word()),
            Ty::Str => self
                .pick(&["$.Values.s", "$.Values.t", "$.Values.u", "$.Release.Name", "$.Chart.Name", "$.Template.Name"])
                .to_owned(),
            Ty::Int => self
                .pick(&["0", "1", "-7", "42", "1000000", "0x1F", "'a'", "(int $.Values.i)", "(len $.Values.s)"])
                .to_owned(),
            Ty::Float => self.pick(&["1.5", "0.0", "-2.75", "1e6", "1e-5", "$.Values.f", "$.Values.i"]).to_owned(),
            Ty::Bool => self.pick(&["true", "false", "$.Values.b", "$.Release.IsInstall"]).to_owned(),
            Ty::List => {
                self.pick(&["$.Values.l", "$.Values.m", "list", "(list 1 2 3)", "(list \"b\" \"a\" \"b\")"]).to_owned()
            }
            Ty::Dict => self.pick(&["$.Values.d", "$.Values.e", "dict", "(dict \"a\" 1 \"b\" (list))"]).to_owned(),
            Ty::Any => self
                .pick(&[
                    "$.Values.x",
                    "nil",
                    "$.Values.none",
                    "$.Values",
                    ".",
                    "$.Values.d.a",
                    "$.Values.i",
                    "$.Chart.Version",
                    "$.Values.s",
                ])
                .to_owned(),
        }
    }

    fn argument(&mut self, ty: Ty, depth: usize) -> String {
        let ty = if ty == Ty::Any { self.pick(&TYPES) } else { ty };
        // Now and then something of another type: the message counts as well.
        let ty = if self.chance(3) { self.pick(&TYPES) } else { ty };
        let text = self.expr(ty, depth);
        let simple = !text.contains(' ')
            || text.starts_with('"') && Self::literal(text.trim_matches('"')) == text
            || text.starts_with('`') && text.matches('`').count() == 2 && text.ends_with('`');
        if simple || (text.starts_with('(') && text.ends_with(')') && closes_at_end(&text)) {
            text
        } else {
            format!("({text})")
        }
    }

    fn expr(&mut self, ty: Ty, depth: usize) -> String {
        if depth == 0 || self.chance(25) {
            return self.leaf(ty);
        }
        let fitting: Vec<&str> = CALLS.iter().filter(|(t, _)| *t == ty).map(|(_, c)| *c).collect();
        let call = *fitting.choose(&mut self.rng).expect("every type has functions");
        let mut out = String::new();
        for (i, word) in call.split(' ').enumerate() {
            if i > 0 {
                out.push(' ');
            }
            let (open, core) = match word.strip_prefix('(') {
                Some(rest) => ("(", rest),
                None => ("", word),
            };
            let (core, close) = match core.find(')') {
                Some(at) => core.split_at(at),
                None => (core, ""),
            };
            out.push_str(open);
            match core {
                "S" => out.push_str(&self.argument(Ty::Str, depth - 1)),
                "I" => out.push_str(&self.argument(Ty::Int, depth - 1)),
                "N" => {
                    let n = self.rng.random_range(-2..8);
                    out.push_str(&n.to_string());
                }
                "F" => out.push_str(&self.argument(Ty::Float, depth - 1)),
                "B" => out.push_str(&self.argument(Ty::Bool, depth - 1)),
                "L" => out.push_str(&self.argument(Ty::List, depth - 1)),
                "D" => out.push_str(&self.argument(Ty::Dict, depth - 1)),
                "A" => out.push_str(&self.argument(Ty::Any, depth - 1)),
                other => out.push_str(other),
            }
            out.push_str(close);
        }
        out
    }

    fn pipeline(&mut self, ty: Ty) -> String {
        let mut out = self.expr(ty, 2);
        while self.chance(25) {
            let more = [
                "toYaml",
                "quote",
                "default \"d\"",
                "toString",
                "toJson",
                "nindent 2",
                "trunc 5",
                "len",
                "upper",
                "toYaml | nindent 4",
                "kindOf",
                "b64enc",
                "fromYaml",
                "first",
                "int",
            ];
            out.push_str(" | ");
            out.push_str(self.pick(&more));
        }
        out
    }

    fn open(&mut self) -> &'static str {
        if self.chance(30) { "{{- " } else { "{{ " }
    }

    fn close(&mut self) -> &'static str {
        if self.chance(30) { " -}}" } else { " }}" }
    }

    fn tag(&mut self, text: &str) -> String {
        format!("{}{text}{}", self.open(), self.close())
    }

    fn block(&mut self, depth: usize) -> String {
        let scope = self.vars.len();
        let count = self.rng.random_range(1..4);
        let out = (0..count).map(|_| self.statement(depth)).collect();
        self.vars.truncate(scope);
        out
    }

    fn statement(&mut self, depth: usize) -> String {
        let choice = self.rng.random_range(0..if depth > 0 { 13 } else { 5 });
        match choice {
            0 => self.pick(&["\n", " x: ", "\n  - ", "# text\n", "key: value\n"]).to_owned(),
            1 | 2 => {
                let ty = self.pick(&TYPES);
                let text = self.pipeline(ty);
                self.tag(&text)
            }
            3 => {
                let ty = self.pick(&TYPES);
                let text = self.expr(ty, 2);
                let name = format!("$v{}", self.next);
                self.next += 1;
                let out = self.tag(&format!("{name} := {text}"));
                self.vars.push((name, ty));
                out
            }
            4 => match self.vars.choose(&mut self.rng).cloned() {
                Some((name, ty)) if self.chance(50) => {
                    let text = self.expr(ty, 2);
                    self.tag(&format!("{name} = {text}"))
                }
                Some((name, _)) => self.tag(&name),
                None => self.tag("/* nothing */").replace("{{ /*", "{{/*").replace("*/ }}", "*/}}"),
            },
            5 | 6 => {
                let ty = self.pick(&[Ty::Bool, Ty::Any, Ty::Str, Ty::Dict, Ty::Int]);
                let condition = self.expr(ty, 2);
                let mut out = self.tag(&format!("if {condition}"));
                out.push_str(&self.block(depth - 1));
                if self.chance(30) {
                    let other = self.expr(Ty::Bool, 1);
                    out.push_str(&self.tag(&format!("else if {other}")));
                    out.push_str(&self.block(depth - 1));
                }
                if self.chance(50) {
                    out.push_str(&self.tag("else"));
                    out.push_str(&self.block(depth - 1));
                }
                out.push_str(&self.tag("end"));
                out
            }
            7 | 8 => {
                let (ty, declares) =
                    (self.pick(&[Ty::List, Ty::Dict, Ty::List, Ty::Int, Ty::Any]), self.rng.random_range(0..3));
                let over = if ty == Ty::Int {
                    self.pick(&["3", "(len $.Values.l)", "0"]).to_owned()
                } else {
                    self.expr(ty, 2)
                };
                let scope = self.vars.len();
                let (key, item) = (format!("$k{}", self.next), format!("$i{}", self.next));
                self.next += 1;
                let head = match declares {
                    0 => format!("range {over}"),
                    1 => format!("range {item} := {over}"),
                    _ => format!("range {key}, {item} := {over}"),
                };
                let mut out = self.tag(&head);
                if declares > 0 {
                    self.vars.push((item, Ty::Any));
                }
                if declares > 1 {
                    self.vars.push((key, Ty::Any));
                }
                out.push_str(&self.block(depth - 1));
                if self.chance(15) {
                    let word = self.pick(&["break", "continue"]);
                    let when = self.expr(Ty::Bool, 1);
                    out.push_str(&self.tag(&format!("if {when}")));
                    out.push_str(&self.tag(word));
                    out.push_str(&self.tag("end"));
                }
                self.vars.truncate(scope);
                if self.chance(20) {
                    out.push_str(&self.tag("else"));
                    out.push_str(&self.block(depth - 1));
                }
                out.push_str(&self.tag("end"));
                out
            }
            9 | 10 => {
                let ty = self.pick(&TYPES);
                let over = self.expr(ty, 2);
                let mut out = self.tag(&format!("with {over}"));
                out.push_str(&self.tag("."));
                out.push_str(&self.block(depth - 1));
                if self.chance(30) {
                    out.push_str(&self.tag("else"));
                    out.push_str(&self.block(depth - 1));
                }
                out.push_str(&self.tag("end"));
                out
            }
            11 => {
                let argument = self.argument(Ty::Any, 1);
                self.tag(&format!("template \"t.dot\" {argument}"))
            }
            _ => {
                let (ty, path) = (
                    self.pick(&TYPES),
                    self.pick(&[
                        ".Values.x.a",
                        ".Values.d.a.b",
                        "$.Values.e.c",
                        ".Chart.Annotations",
                        ".Release",
                        ".Values.x.a.b.c",
                        ".Capabilities.KubeVersion.Minor",
                        ".Values.l",
                    ]),
                );
                let _ = ty;
                self.tag(path)
            }
        }
    }

    fn case(&mut self) -> Value {
        let mut template = String::new();
        for _ in 0..self.rng.random_range(1..5) {
            template.push_str(&self.statement(2));
        }
        let values = self.values();
        json!({"files": {
            "Chart.yaml": "apiVersion: v2\nname: t\nversion: 0.1.0\nappVersion: \"1.0\"\n",
            "values.yaml": goyaml::to_string(&values),
            "templates/_helpers.tpl": HELPERS,
            "templates/a.yaml": template,
        }, "values": if self.chance(20) { self.values() } else { json!({}) }})
    }
}

/// Whether the bracket that a text begins with is closed by its last.
fn closes_at_end(text: &str) -> bool {
    let mut depth = 0;
    let mut quote = None;
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '`' => quote = Some(c),
                '(' => depth += 1,
                ')' => {
                    depth -= 1;
                    if depth == 0 {
                        return i + 1 == text.len();
                    }
                }
                _ => {}
            },
        }
    }
    false
}

/// Pointers print as their addresses: any is as good as another.
fn without_addresses(answer: &Value) -> Value {
    let text = answer.to_string();
    let mut parts = text.split("0x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str("0x");
        out.push_str(if digits >= 10 { &part[digits..] } else { part });
    }
    serde_json::from_str(&out).expect("still JSON")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn generated_templates_render_as_helm_renders_them() {
    let Some(python) = support::python() else { return };
    let (count, seed) = (number("HELM_CASES", 500), number("HELM_SEED", 0));
    let cases: Vec<Value> = (0..count).map(|i| Gen::new(seed * 1_000_003 + i).case()).collect();
    let theirs = support::judge(&python, &cases);
    assert_eq!(theirs.len(), cases.len(), "the judge answered every case");
    let mut different = Vec::new();
    let mut good = 0;
    for (case, theirs) in cases.iter().zip(&theirs) {
        let (ours, theirs) = (without_addresses(&support::ours(case)), without_addresses(theirs));
        good += usize::from(theirs.get("ok").is_some());
        if ours != theirs {
            different.push(format!(
                "TEMPLATE {}\n  VALUES {} {}\n  Helm {theirs}\n  ours {ours}",
                case["files"]["templates/a.yaml"], case["files"]["values.yaml"], case["values"]
            ));
        }
    }
    println!("{count} cases, {good} of them render, {} different", different.len());
    let shown: Vec<String> = different.iter().take(number("HELM_SHOWN", 30) as usize).cloned().collect();
    assert!(different.is_empty(), "{} different\n{}", different.len(), shown.join("\n"));
}
