//! Defaults, types and JSON.

use super::{Answer, Func, Ty, f, s, v};
use crate::template::error::Fault;
use crate::value::convert::is_empty;
use crate::value::json::{Style, encode};
use crate::value::{Value, deep_equal};

const A: &[Ty] = &[Ty::Any];
const AA: &[Ty] = &[Ty::Any, Ty::Any];
const SA: &[Ty] = &[Ty::Str, Ty::Any];

const PRETTY: Style = Style { html: true, pretty: true };
const RAW: Style = Style { html: false, pretty: false };

/// The functions.
pub const FUNCS: &[Func] = &[
    v("default", AA, |_, a| {
        if a.len() < 2 || is_empty(&a[1]) {
            return Ok(a[0].clone());
        }
        Ok(a[1].clone())
    }),
    f("empty", A, |_, a| Ok(Value::Bool(is_empty(&a[0])))),
    v("coalesce", A, |_, a| Ok(a.iter().find(|v| !is_empty(v)).cloned().unwrap_or(Value::Nil))),
    v("all", A, |_, a| Ok(Value::Bool(!a.iter().any(is_empty)))),
    v("any", A, |_, a| Ok(Value::Bool(a.iter().any(|v| !is_empty(v))))),
    f("ternary", &[Ty::Any, Ty::Any, Ty::Bool], |_, a| {
        Ok(if let Value::Bool(true) = a[2] { a[0].clone() } else { a[1].clone() })
    }),
    f("toPrettyJson", A, |_, a| Ok(Value::str(encode(&a[0], PRETTY).unwrap_or_default()))),
    f("mustToPrettyJson", A, |_, a| text(encode(&a[0], PRETTY))),
    f("toRawJson", A, |_, a| text(encode(&a[0], RAW))),
    f("mustToRawJson", A, |_, a| text(encode(&a[0], RAW))),
    f("mustFromJson", &[Ty::Str], |e, a| {
        super::helm::reads(e, a)?;
        if s(a, 0).trim().is_empty() {
            return Err(Fault::text("unexpected end of JSON input"));
        }
        crate::value::json::decode(s(a, 0)).map_err(Fault::Text)
    }),
    f("typeOf", A, |_, a| Ok(Value::str(a[0].type_name()))),
    f("typeIs", SA, |_, a| Ok(Value::Bool(a[1].type_name() == s(a, 0)))),
    f("typeIsLike", SA, |_, a| {
        let name = a[1].type_name();
        Ok(Value::Bool(name == s(a, 0) || name.strip_prefix('*') == Some(s(a, 0))))
    }),
    f("kindOf", A, |_, a| Ok(Value::str(a[0].kind_name()))),
    f("kindIs", SA, |_, a| Ok(Value::Bool(a[1].kind_name() == s(a, 0)))),
    f("deepEqual", AA, |_, a| Ok(Value::Bool(deep_equal(&a[0], &a[1])))),
];

fn text(result: Result<String, String>) -> Answer {
    result.map(Value::str).map_err(Fault::Text)
}
