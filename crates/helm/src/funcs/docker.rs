//! The functions of the templates that `docker --format` takes: Go's own, and docker's few instead of Sprig's.

use std::rc::Rc;
use std::sync::Arc;

use super::random::Random;
use super::strings::{go_split, lower, title, upper};
use super::{Answer, Func, Ty, f, n, s, v};
use crate::template::error::Fault;
use crate::template::exec::{Exec, Host, Limits, Set};
use crate::value::convert::{as_int, to_texts};
use crate::value::json::{self, Style, encode};
use crate::value::{Value, text};

/// The functions.
pub const FUNCS: &[Func] = &[
    f("json", &[Ty::Any], |_, a| {
        encode(&a[0], Style { html: false, pretty: false }).map(Value::str).map_err(Fault::Text)
    }),
    f("split", &[Ty::Str, Ty::Str], |_, a| Ok(Value::strings(go_split(s(a, 0), s(a, 1), -1)))),
    f("join", &[Ty::Any, Ty::Str], |_, a| Ok(Value::str(to_texts(&a[0]).join(s(a, 1))))),
    f("title", &[Ty::Str], |_, a| Ok(Value::str(title(s(a, 0))))),
    f("lower", &[Ty::Str], |_, a| Ok(Value::str(lower(s(a, 0))))),
    f("upper", &[Ty::Str], |_, a| Ok(Value::str(upper(s(a, 0))))),
    f("pad", &[Ty::Str, Ty::Int, Ty::Int], |_, a| Ok(Value::str(pad(s(a, 0), n(a, 1), n(a, 2))))),
    f("truncate", &[Ty::Str, Ty::Int], |_, a| Ok(Value::str(truncate(s(a, 0), n(a, 1))))),
    v("slice", &[Ty::Reflect], |_, a| slice(a)),
];

/// The most blanks that `pad` adds on a side.
const MAX_PAD: i64 = 4096;

fn pad(source: &str, before: i64, after: i64) -> String {
    let blanks = |count: i64| " ".repeat(count.clamp(0, MAX_PAD) as usize);
    if source.is_empty() { String::new() } else { format!("{}{source}{}", blanks(before), blanks(after)) }
}

fn truncate(source: &str, length: i64) -> String {
    let length = usize::try_from(length).unwrap_or(0);
    match source.char_indices().nth(length) {
        Some((at, _)) => source[..at].to_owned(),
        None => source.to_owned(),
    }
}

/// Go's `slice`: of a list, or of the bytes of a text.
fn slice(args: &[Value]) -> Answer {
    let wrong = |what: String| Err(Fault::Text(what));
    let Some((item, bounds)) = args.split_first() else { return wrong("slice of untyped nil".to_owned()) };
    let length = match item {
        Value::Str(_) if bounds.len() > 2 => return wrong("cannot 3-index slice a string".to_owned()),
        Value::Str(t) => text::to_bytes(t).len(),
        Value::List(list) => list.items().len(),
        Value::Nil | Value::Invalid => return wrong("slice of untyped nil".to_owned()),
        other => return wrong(format!("can't slice item of type {}", other.type_name())),
    };
    if bounds.len() > 3 {
        return wrong(format!("too many slice indexes: {}", bounds.len()));
    }
    let mut at = [0, length, length];
    for (place, bound) in bounds.iter().enumerate() {
        let Some(number) = as_int(bound) else {
            return wrong(format!("cannot index slice/array with type {}", bound.type_name()));
        };
        match usize::try_from(number).ok().filter(|number| *number <= length) {
            Some(number) => at[place] = number,
            None => return wrong(format!("index out of range: {number}")),
        }
    }
    let [from, to, _] = at;
    if from > to {
        return wrong(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Value::List(list) => Value::list_of(list.ty, list.items()[from..to].to_vec()),
        item => {
            let bytes = text::to_bytes(item.as_str().unwrap_or_default());
            Value::str(String::from_utf8_lossy(&bytes[from..to]))
        }
    })
}

/// Renders one text on JSON data, in which whole numbers stay whole. A key that is missing is an error.
///
/// # Errors
/// What is wrong with the template, as Go says it.
pub fn render(template: &str, data: &serde_json::Value) -> Result<String, String> {
    let trees = crate::template::parse::parse("", template, &super::docker_lookup)?;
    let mut set = Set::default();
    for tree in trees {
        set.add(Arc::new(tree));
    }
    let limits = Limits { stack: 1 << 20, output: 64 << 20, memory: 64 << 20, ..Limits::default() };
    let host = Host {
        strict: true,
        lint: false,
        lookup: None,
        resolve_host: None,
        random: Random::new(Some(0)),
        now: 0,
        limits,
    };
    Exec::new(host, Rc::new(set)).execute("", json::from_object(data)).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn renders_what_scripts_ask_docker_for() {
        let data = json!({
            "Id": "sha256:0123", "Size": 5_613_130, "RepoDigests": ["x@1", "y@2"], "Labels": {"a.b": "c", "n": null},
            "Config": {"Env": ["A=b", "C=<d>"], "User": ""},
        });
        for (template, expected) in [
            ("{{.Id}}", "sha256:0123"),
            ("{{.Size}}", "5613130"),
            ("{{json .Config}}", "{\"Env\":[\"A=b\",\"C=<d>\"],\"User\":\"\"}"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=b\nC=<d>\n"),
            ("{{range $i, $e := .RepoDigests}}{{if $i}},{{end}}{{$e}}{{end}}", "x@1,y@2"),
            ("{{index .Labels \"a.b\"}}/{{index .RepoDigests 1}}", "c/y@2"),
            ("{{join .RepoDigests \";\" | upper}}", "X@1;Y@2"),
            ("{{index (split .Id \":\") 1}}", "0123"),
            ("{{slice .Id 7 9}}-{{truncate .Id 6}}-{{pad \"x\" 1 2}}|", "01-sha256- x  |"),
            ("{{with .Config.User}}{{.}}{{else}}root{{end}}", "root"),
            ("{{- printf \"%s:%d\" .Id (len .Config.Env) -}}  ", "sha256:0123:2"),
            ("{{.Config.Env}} {{.Labels.n}}", "[A=b C=<d>] <no value>"),
            ("{{if and (eq .Config.User \"\") (gt (len .RepoDigests) 1)}}yes{{end}}", "yes"),
        ] {
            assert_eq!(render(template, &data).unwrap(), expected, "{template}");
        }
        for (template, said) in [
            ("{{.Nope}}", "map has no entry for key \"Nope\""),
            ("{{default 1 .Size}}", "function \"default\" not defined"),
            ("{{slice .Id 7 99}}", "index out of range"),
            ("{{.Id", "unclosed action"),
        ] {
            assert!(render(template, &data).unwrap_err().contains(said), "{template}: {:?}", render(template, &data));
        }
    }
}
