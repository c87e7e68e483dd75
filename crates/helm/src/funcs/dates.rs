//! Dates.

use std::rc::Rc;

use super::{Answer, Func, Ty, f, s};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::convert::to_int;
use crate::value::time::{Time, Zone, duration_string, parse, parse_duration};
use crate::value::{IntTy, Value};

const A: &[Ty] = &[Ty::Any];
const SS: &[Ty] = &[Ty::Str, Ty::Str];
const SA: &[Ty] = &[Ty::Str, Ty::Any];
const ST: &[Ty] = &[Ty::Str, Ty::Time];
const SAS: &[Ty] = &[Ty::Str, Ty::Any, Ty::Str];

/// The functions.
pub const FUNCS: &[Func] = &[
    f("now", &[], |e, _| Ok(time(Time::utc(e.host.now)))),
    f("ago", A, |e, a| {
        let then = match &a[0] {
            Value::Time(t) => t.nanos,
            Value::Int(IntTy::Int64 | IntTy::Int, n) => i128::from(*n) * 1_000_000_000,
            _ => e.host.now,
        };
        let seconds = (e.host.now - then).div_euclid(1_000_000_000);
        Ok(Value::str(duration_string(i64::try_from(seconds * 1_000_000_000).unwrap_or(i64::MAX))))
    }),
    f("date", SA, |e, a| in_zone(e, s(a, 0), &a[1], "Local")),
    f("dateInZone", SAS, |e, a| in_zone(e, s(a, 0), &a[1], s(a, 2))),
    f("date_in_zone", SAS, |e, a| in_zone(e, s(a, 0), &a[1], s(a, 2))),
    f("htmlDate", A, |e, a| in_zone(e, "2006-01-02", &a[0], "Local")),
    f("htmlDateInZone", &[Ty::Any, Ty::Str], |e, a| in_zone(e, "2006-01-02", &a[0], s(a, 1))),
    f("dateModify", ST, |_, a| Ok(modify(a).unwrap_or_else(|_| a[1].clone()))),
    f("date_modify", ST, |_, a| Ok(modify(a).unwrap_or_else(|_| a[1].clone()))),
    f("mustDateModify", ST, |_, a| modify(a)),
    f("must_date_modify", ST, |_, a| modify(a)),
    f("toDate", SS, |_, a| Ok(time(parse(s(a, 0), s(a, 1), &Zone::Utc).unwrap_or_else(|_| Time::zero())))),
    f("mustToDate", SS, |_, a| Ok(time(parse(s(a, 0), s(a, 1), &Zone::Utc).map_err(Fault::Text)?))),
    f("unixEpoch", &[Ty::Time], |_, a| match &a[0] {
        Value::Time(t) => Ok(Value::str(t.unix().to_string())),
        _ => Ok(Value::str("")),
    }),
    f("duration", A, |_, a| {
        let seconds = match &a[0] {
            Value::Str(s) => s.parse().unwrap_or(0),
            Value::Int(IntTy::Int64, n) => *n,
            _ => 0,
        };
        Ok(Value::str(duration_string(seconds.wrapping_mul(1_000_000_000))))
    }),
    f("durationRound", A, |e, a| {
        let nanos = match &a[0] {
            Value::Str(s) => parse_duration(s).unwrap_or(0),
            Value::Int(IntTy::Int64, n) => *n,
            Value::Time(t) => i64::try_from(e.host.now - t.nanos).unwrap_or(i64::MAX),
            _ => 0,
        };
        Ok(Value::str(round(nanos)))
    }),
];

fn time(t: Time) -> Value {
    Value::Time(Rc::new(t))
}

/// The greatest unit that fits.
fn round(nanos: i64) -> String {
    let n = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    const SECOND: u64 = 1_000_000_000;
    let units = [
        (SECOND * 3600 * 24 * 365, "y"),
        (SECOND * 3600 * 24 * 30, "mo"),
        (SECOND * 3600 * 24, "d"),
        (SECOND * 3600, "h"),
        (SECOND * 60, "m"),
        (SECOND, "s"),
    ];
    for (size, name) in units {
        if n > size {
            return format!("{sign}{}{name}", n / size);
        }
    }
    "0s".to_owned()
}

fn modify(a: &[Value]) -> Answer {
    let nanos = parse_duration(s(a, 0)).map_err(Fault::Text)?;
    match &a[1] {
        Value::Time(t) => Ok(time(Time { nanos: t.nanos + i128::from(nanos), zone: t.zone.clone() })),
        v => Ok(v.clone()),
    }
}

fn in_zone(e: &mut Exec<'_>, layout: &str, value: &Value, zone: &str) -> Answer {
    let nanos = match value {
        Value::Time(t) => t.nanos,
        Value::Int(IntTy::Int64 | IntTy::Int | IntTy::Int32, _) => i128::from(to_int(value)) * 1_000_000_000,
        _ => e.host.now,
    };
    let zone = Zone::load(zone).unwrap_or(Zone::Utc);
    Ok(Value::str(Time { nanos, zone }.format(layout)))
}
