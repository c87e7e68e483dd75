//! Numbers.

use super::decimal::Decimal;
use super::{Answer, Func, Ty, f, n, v};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::convert::{to_float, to_int};
use crate::value::{ListTy, Value};

const A: &[Ty] = &[Ty::Any];
const AA: &[Ty] = &[Ty::Any, Ty::Any];
const I: &[Ty] = &[Ty::Int];

fn int(n: i64) -> Answer {
    Ok(Value::int64(n))
}

fn ints(args: &[Value]) -> impl Iterator<Item = i64> + '_ {
    args.iter().map(to_int)
}

fn floats(args: &[Value]) -> impl Iterator<Item = f64> + '_ {
    args.iter().map(to_float)
}

/// `strconv.Atoi`, whose error is not looked at: what is too large is the largest, also where no number follows.
fn atoi(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut size: u64 = 0;
    for digit in digits.bytes() {
        if !digit.is_ascii_digit() {
            return 0;
        }
        match size.checked_mul(10).and_then(|size| size.checked_add(u64::from(digit - b'0'))) {
            Some(more) => size = more,
            None => {
                size = u64::MAX;
                break;
            }
        }
    }
    match (i64::try_from(size), negative) {
        (Ok(n), false) => n,
        (Ok(n), true) => -n,
        (Err(_), false) => i64::MAX,
        (Err(_), true) => i64::MIN,
    }
}

/// The functions.
pub const FUNCS: &[Func] = &[
    f("atoi", &[Ty::Str], |_, a| Ok(Value::int(atoi(super::s(a, 0))))),
    f("int64", A, |_, a| int(to_int(&a[0]))),
    f("int", A, |_, a| Ok(Value::int(to_int(&a[0])))),
    f("float64", A, |_, a| Ok(Value::Float(to_float(&a[0])))),
    v("seq", I, seq),
    f("toDecimal", A, |_, a| {
        let text = crate::value::fmt::to_string(&a[0]);
        int(i64::from_str_radix(&text, 8).unwrap_or(0))
    }),
    f("until", I, |e, a| {
        let count = n(a, 0);
        range(e, 0, count, if count < 0 { -1 } else { 1 })
    }),
    f("untilStep", &[Ty::Int, Ty::Int, Ty::Int], |e, a| range(e, n(a, 0), n(a, 1), n(a, 2))),
    f("add1", A, |_, a| int(to_int(&a[0]).wrapping_add(1))),
    v("add", A, |_, a| int(ints(a).fold(0, i64::wrapping_add))),
    f("sub", AA, |_, a| int(to_int(&a[0]).wrapping_sub(to_int(&a[1])))),
    f("div", AA, |_, a| match to_int(&a[1]) {
        0 => Err(Fault::text("runtime error: integer divide by zero")),
        d => int(to_int(&a[0]).wrapping_div(d)),
    }),
    f("mod", AA, |_, a| match to_int(&a[1]) {
        0 => Err(Fault::text("runtime error: integer divide by zero")),
        d => int(to_int(&a[0]).wrapping_rem(d)),
    }),
    v("mul", AA, |_, a| int(ints(a).fold(1, i64::wrapping_mul))),
    f("add1f", A, |_, a| Ok(Value::Float(decimal(1.0, a, Decimal::add)))),
    v("addf", A, |_, a| Ok(Value::Float(decimal(0.0, a, Decimal::add)))),
    v("subf", AA, |_, a| Ok(Value::Float(decimal(to_float(&a[0]), &a[1..], Decimal::sub)))),
    v("divf", AA, |_, a| {
        if floats(&a[1..]).any(|d| d == 0.0) {
            return Err(Fault::text("decimal division by 0"));
        }
        Ok(Value::Float(decimal(to_float(&a[0]), &a[1..], Decimal::div)))
    }),
    v("mulf", AA, |_, a| Ok(Value::Float(decimal(to_float(&a[0]), &a[1..], Decimal::mul)))),
    v("biggest", AA, |_, a| int(ints(a).max().unwrap_or(0))),
    v("max", AA, |_, a| int(ints(a).max().unwrap_or(0))),
    v("min", AA, |_, a| int(ints(a).min().unwrap_or(0))),
    v("maxf", AA, |_, a| Ok(Value::Float(floats(a).fold(f64::NEG_INFINITY, f64::max)))),
    v("minf", AA, |_, a| Ok(Value::Float(floats(a).fold(f64::INFINITY, f64::min)))),
    f("ceil", A, |_, a| Ok(Value::Float(to_float(&a[0]).ceil()))),
    f("floor", A, |_, a| Ok(Value::Float(to_float(&a[0]).floor()))),
    v("round", &[Ty::Any, Ty::Int, Ty::Float], |_, a| Ok(Value::Float(round(a)))),
    f("randInt", &[Ty::Int, Ty::Int], |e, a| {
        let (min, max) = (n(a, 0), n(a, 1));
        if max <= min {
            return Err(Fault::text("invalid argument to Intn"));
        }
        let span = max.wrapping_sub(min) as u64;
        Ok(Value::int(min.wrapping_add(e.host.random.below(span) as i64)))
    }),
];

/// Sprig computes these in decimals: the result is what decimals give, as the nearest float.
fn decimal(first: f64, rest: &[Value], op: fn(&Decimal, &Decimal) -> Decimal) -> f64 {
    let first = Decimal::from_float(first);
    rest.iter().fold(first, |total, v| op(&total, &Decimal::from_float(to_float(v)))).to_float()
}

fn range(e: &mut Exec<'_>, start: i64, stop: i64, step: i64) -> Answer {
    let mut out = Vec::new();
    if (step > 0 && stop > start) || (step < 0 && stop < start) {
        let count = (i128::from(stop) - i128::from(start)).unsigned_abs() / i128::from(step).unsigned_abs();
        e.charge(usize::try_from(count.saturating_mul(32)).unwrap_or(usize::MAX / 2).min(usize::MAX / 2))?;
        let mut i = start;
        while if step > 0 { i < stop } else { i > stop } {
            out.push(Value::int(i));
            i = match i.checked_add(step) {
                Some(i) => i,
                None => break,
            };
        }
    }
    Ok(Value::list_of(ListTy::Int, out))
}

fn seq(e: &mut Exec<'_>, a: &[Value]) -> Answer {
    let (start, step, stop) = match a.len() {
        0 => return Ok(Value::str("")),
        1 => {
            let end = n(a, 0);
            (1, if end < 1 { -1 } else { 1 }, end)
        }
        2 => {
            let (start, end) = (n(a, 0), n(a, 1));
            (start, if end < start { -1 } else { 1 }, end)
        }
        3 => {
            let (start, step, end) = (n(a, 0), n(a, 1), n(a, 2));
            if end < start && step > 0 {
                return Ok(Value::str(""));
            }
            (start, step, end)
        }
        _ => return Ok(Value::str("")),
    };
    let stop = stop.saturating_add(if step < 0 { -1 } else { 1 });
    let list = range(e, start, stop, step)?;
    let Value::List(list) = list else { return Ok(Value::str("")) };
    let texts: Vec<String> = list.items().iter().map(crate::value::fmt::to_string).collect();
    Ok(Value::str(texts.join(" ")))
}

fn round(a: &[Value]) -> f64 {
    let round_on = match a.get(2) {
        Some(Value::Float(f)) => *f,
        _ => 0.5,
    };
    let value = to_float(&a[0]);
    let pow = 10f64.powi(n(a, 1).clamp(-400, 400) as i32);
    let digit = pow * value;
    let fraction = digit.fract();
    let rounded = if fraction >= round_on { digit.ceil() } else { digit.floor() };
    rounded / pow
}
