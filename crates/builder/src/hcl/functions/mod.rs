//! The functions that every file has.

mod format;

use serde_json::{Map, Value};
use sha2::Digest as _;

use format::{date, format, formatlist, two_times};

use super::eval::{MOST, boolean, equal, float, kind, number, text};

type Result<T> = std::result::Result<T, String>;

/// Calls a function; none when there is none of that name.
pub(super) fn call(name: &str, args: &[Value]) -> Option<Result<Value>> {
    texts(name, args).or_else(|| collections(name, args)).or_else(|| numbers(name, args))
}

fn nth(args: &[Value], at: usize) -> Result<&Value> {
    args.get(at).ok_or_else(|| format!("needs at least {} arguments", at + 1))
}

fn word(args: &[Value], at: usize) -> Result<String> {
    text(nth(args, at)?)
}

fn num(args: &[Value], at: usize) -> Result<f64> {
    float(nth(args, at)?)
}

fn whole(args: &[Value], at: usize) -> Result<i64> {
    let found = num(args, at)?;
    if found.fract() == 0.0 { Ok(found as i64) } else { Err(format!("{found} is not a whole number")) }
}

fn list(args: &[Value], at: usize) -> Result<&Vec<Value>> {
    match nth(args, at)? {
        Value::Array(items) => Ok(items),
        other => Err(format!("{} is not a list", kind(other))),
    }
}

fn object(args: &[Value], at: usize) -> Result<&Map<String, Value>> {
    match nth(args, at)? {
        Value::Object(object) => Ok(object),
        other => Err(format!("{} is not an object", kind(other))),
    }
}

/// The elements, each once.
pub(super) fn distinct(items: &[Value]) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !out.iter().any(|known| equal(known, item)) {
            out.push(item.clone());
        }
    }
    out
}

fn pattern(text: &str) -> Result<regex::Regex> {
    regex::Regex::new(text).map_err(|wrong| format!("{text:?} is not a regular expression: {wrong}"))
}

/// What a match is worth: the match, or its groups.
fn captured(pattern: &regex::Regex, found: &regex::Captures<'_>) -> Value {
    let value = |group: Option<regex::Match<'_>>| group.map_or(Value::Null, |group| group.as_str().into());
    let named: Map<String, Value> =
        pattern.capture_names().flatten().map(|name| (name.to_owned(), value(found.name(name)))).collect();
    match (named.is_empty(), found.len()) {
        (false, _) => Value::Object(named),
        (true, 1) => value(found.get(0)),
        _ => Value::Array((1..found.len()).map(|group| value(found.get(group))).collect()),
    }
}

fn texts(name: &str, args: &[Value]) -> Option<Result<Value>> {
    let one = |change: &dyn Fn(&str) -> String| word(args, 0).map(|text| change(&text).into());
    let two = |change: &dyn Fn(&str, &str) -> Value| Ok(change(&word(args, 0)?, &word(args, 1)?));
    let hash = |bytes: Vec<u8>| Value::String(hex::encode(bytes));
    Some(match name {
        "lower" => one(&|text| text.to_lowercase()),
        "upper" => one(&|text| text.to_uppercase()),
        "title" => one(&|text| {
            let mut begins = true;
            text.chars()
                .map(|c| {
                    let shown = if begins { c.to_uppercase().next().unwrap_or(c) } else { c };
                    begins = c.is_whitespace();
                    shown
                })
                .collect()
        }),
        "reverse" => match args.first() {
            Some(Value::Array(items)) => Ok(Value::Array(items.iter().rev().cloned().collect())),
            _ => one(&|text| text.chars().rev().collect()),
        },
        "chomp" => one(&|text| text.trim_end_matches(['\n', '\r']).to_owned()),
        "trimspace" => one(&|text| text.trim().to_owned()),
        "trim" => two(&|text, set| text.trim_matches(|c| set.contains(c)).into()),
        "trimprefix" => two(&|text, prefix| text.strip_prefix(prefix).unwrap_or(text).into()),
        "trimsuffix" => two(&|text, suffix| text.strip_suffix(suffix).unwrap_or(text).into()),
        "strlen" => word(args, 0).map(|text| text.chars().count().into()),
        "byteslen" => word(args, 0).map(|text| text.len().into()),
        "substr" => substr(args),
        "split" => two(&|separator, text| match separator {
            "" => text.chars().map(|c| Value::from(c.to_string())).collect::<Vec<_>>().into(),
            separator => text.split(separator).map(Value::from).collect::<Vec<_>>().into(),
        }),
        "join" => join(args),
        "replace" => (|| {
            let (text, from, to) = (word(args, 0)?, word(args, 1)?, word(args, 2)?);
            Ok(text.replace(&from, &to).into())
        })(),
        "regex_replace" => (|| {
            let (text, from, to) = (word(args, 0)?, word(args, 1)?, word(args, 2)?);
            Ok(pattern(&from)?.replace_all(&text, to).into_owned().into())
        })(),
        "regex" => (|| {
            let pattern = pattern(&word(args, 0)?)?;
            let text = word(args, 1)?;
            let found = pattern.captures(&text).ok_or("the text does not match")?;
            Ok(captured(&pattern, &found))
        })(),
        "regexall" => (|| {
            let pattern = pattern(&word(args, 0)?)?;
            let text = word(args, 1)?;
            Ok(pattern.captures_iter(&text).map(|found| captured(&pattern, &found)).collect::<Vec<_>>().into())
        })(),
        "format" => word(args, 0).and_then(|text| format(&text, args.get(1..).unwrap_or_default())).map(Value::from),
        "formatlist" => formatlist(args),
        "indent" => (|| {
            let space = " ".repeat(whole(args, 0)?.clamp(0, 1000) as usize);
            Ok(word(args, 1)?.replace('\n', &format!("\n{space}")).into())
        })(),
        "sanitize" => one(&|text| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            text.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
        }),
        "basename" => one(&|text| match text.trim_end_matches('/') {
            "" => {
                if text.is_empty() {
                    ".".to_owned()
                } else {
                    "/".to_owned()
                }
            }
            path => path.rsplit('/').next().unwrap_or(path).to_owned(),
        }),
        "dirname" => one(&|text| match text.rsplit_once('/') {
            None => ".".to_owned(),
            Some((dir, _)) => {
                let clean = crate::ignore::clean(dir);
                match (clean.is_empty(), text.starts_with('/')) {
                    (true, true) => "/".to_owned(),
                    (true, false) => ".".to_owned(),
                    _ => clean,
                }
            }
        }),
        "urlencode" => one(&|text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            text.bytes()
                .map(|byte| match byte {
                    b' ' => "+".to_owned(),
                    byte if plain(byte) => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect()
        }),
        "base64encode" => one(&|text| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text)),
        "base64decode" => word(args, 0).and_then(|text| {
            let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text);
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            text.map(Value::from).ok_or_else(|| "the text is not base64 of a text".to_owned())
        }),
        "sha256" => word(args, 0).map(|text| hash(sha2::Sha256::digest(text).to_vec())),
        "sha512" => word(args, 0).map(|text| hash(sha2::Sha512::digest(text).to_vec())),
        "sha1" => word(args, 0).map(|text| {
            let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
            hash(digest.as_ref().to_vec())
        }),
        "jsonencode" => nth(args, 0).map(|value| value.to_string().into()),
        "jsondecode" => word(args, 0)
            .and_then(|text| serde_json::from_str(&text).map_err(|wrong| format!("the text is not JSON: {wrong}"))),
        "timestamp" => Ok(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()),
        "formatdate" => two_times(args, date),
        "timeadd" => two_times(args, |time, by| {
            let span: jiff::SignedDuration = by.parse().map_err(|_| format!("{by:?} is not a duration"))?;
            let later = time.checked_add(span).map_err(|wrong| wrong.to_string())?;
            Ok(later.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        }),
        "homedir" => Ok(std::env::var("HOME").unwrap_or_default().into()),
        _ => return None,
    })
}

fn substr(args: &[Value]) -> Result<Value> {
    let chars: Vec<char> = word(args, 0)?.chars().collect();
    let (offset, length) = (whole(args, 1)?, whole(args, 2)?);
    let from = if offset < 0 { (chars.len() as i64 + offset).max(0) } else { offset } as usize;
    let rest = chars.get(from..).unwrap_or_default();
    let length = if length < 0 { rest.len() } else { rest.len().min(length as usize) };
    Ok(rest[..length].iter().collect::<String>().into())
}

fn join(args: &[Value]) -> Result<Value> {
    let separator = word(args, 0)?;
    let mut parts = Vec::new();
    for at in 1..args.len() {
        for item in list(args, at)? {
            parts.push(text(item)?);
        }
    }
    Ok(parts.join(&separator).into())
}

fn collections(name: &str, args: &[Value]) -> Option<Result<Value>> {
    let items = |change: &dyn Fn(&[Value]) -> Vec<Value>| list(args, 0).map(|items| Value::Array(change(items)));
    let within = |value: &Value, all: &[Value]| all.iter().any(|one| equal(one, value));
    Some(match name {
        "length" => nth(args, 0).and_then(|value| match value {
            Value::Array(items) => Ok(items.len().into()),
            Value::Object(object) => Ok(object.len().into()),
            Value::String(text) => Ok(text.chars().count().into()),
            other => Err(format!("{} has no length", kind(other))),
        }),
        "concat" => (0..args.len())
            .try_fold(Vec::new(), |mut all, at| {
                all.extend(list(args, at)?.iter().cloned());
                Ok(all)
            })
            .map(Value::Array),
        "merge" => (0..args.len())
            .filter(|at| !args[*at].is_null())
            .try_fold(Map::new(), |mut all, at| {
                all.extend(object(args, at)?.iter().map(|(key, value)| (key.clone(), value.clone())));
                Ok(all)
            })
            .map(Value::Object),
        "flatten" => {
            fn flat(items: &[Value], out: &mut Vec<Value>) {
                for item in items {
                    match item {
                        Value::Array(inner) => flat(inner, out),
                        one => out.push(one.clone()),
                    }
                }
            }
            items(&|items| {
                let mut out = Vec::new();
                flat(items, &mut out);
                out
            })
        }
        "distinct" | "unique" => items(&distinct),
        "compact" => items(&|items| items.iter().filter(|item| !item.is_null() && *item != "").cloned().collect()),
        "reverselist" => items(&|items| items.iter().rev().cloned().collect()),
        "sort" => list(args, 0).and_then(|items| {
            let mut texts = items.iter().map(text).collect::<Result<Vec<_>>>()?;
            texts.sort();
            Ok(texts.into())
        }),
        "slice" => (|| {
            let (items, from, to) = (list(args, 0)?, whole(args, 1)?, whole(args, 2)?);
            let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
            let part = range.and_then(|(from, to)| items.get(from..to));
            part.map(|part| part.to_vec().into()).ok_or_else(|| format!("the list has no part {from}..{to}"))
        })(),
        "chunklist" => (|| match (list(args, 0)?, whole(args, 1)?) {
            (items, 0) => Ok(Value::Array(vec![items.clone().into()])),
            (items, size) if size > 0 => {
                Ok(items.chunks(size as usize).map(|part| part.to_vec()).collect::<Vec<_>>().into())
            }
            _ => Err("the size is negative".to_owned()),
        })(),
        "element" => (|| {
            let (items, at) = (list(args, 0)?, whole(args, 1)?);
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            if length == 0 {
                Err("the list is empty".to_owned())
            } else {
                Ok(items[at.rem_euclid(length) as usize].clone())
            }
        })(),
        "index" => (|| match (nth(args, 0)?, nth(args, 1)?) {
            (Value::Array(items), at) => {
                items.get(float(at)? as usize).cloned().ok_or_else(|| format!("there is no element {at}"))
            }
            (Value::Object(object), key) => {
                object.get(&text(key)?).cloned().ok_or_else(|| format!("there is no key {key}"))
            }
            (other, _) => Err(format!("{} has no elements", kind(other))),
        })(),
        "hasindex" => (|| {
            Ok(match (nth(args, 0)?, nth(args, 1)?) {
                (Value::Array(items), at) => float(at).is_ok_and(|at| at >= 0.0 && (at as usize) < items.len()),
                (Value::Object(object), key) => text(key).is_ok_and(|key| object.contains_key(&key)),
                _ => false,
            }
            .into())
        })(),
        "indexof" => (|| {
            let (items, wanted) = (list(args, 0)?, nth(args, 1)?);
            let at = items.iter().position(|item| equal(item, wanted));
            at.map(Value::from).ok_or_else(|| "the list does not have it".to_owned())
        })(),
        "contains" => (|| Ok(within(nth(args, 1)?, list(args, 0)?).into()))(),
        "keys" => object(args, 0).map(|object| object.keys().cloned().collect::<Vec<_>>().into()),
        "values" => nth(args, 0).and_then(|value| match value {
            Value::Array(items) => Ok(items.clone().into()),
            _ => object(args, 0).map(|object| object.values().cloned().collect::<Vec<_>>().into()),
        }),
        "lookup" => (|| {
            let key = word(args, 1)?;
            let found = object(args, 0)?.get(&key).or(args.get(2));
            found.cloned().ok_or_else(|| format!("there is no key {key:?}"))
        })(),
        "zipmap" => (|| {
            let (keys, values) = (list(args, 0)?, list(args, 1)?);
            if keys.len() != values.len() {
                return Err("the lists differ in length".to_owned());
            }
            let pairs = keys.iter().zip(values).map(|(key, value)| Ok((text(key)?, value.clone())));
            Ok(Value::Object(pairs.collect::<Result<_>>()?))
        })(),
        "range" => range(args),
        "coalesce" => {
            let found = args.iter().find(|value| !value.is_null());
            found.cloned().ok_or_else(|| "all arguments are null".to_owned())
        }
        "coalescelist" => {
            let found = args.iter().find(|value| value.as_array().is_some_and(|items| !items.is_empty()));
            found.cloned().ok_or_else(|| "all lists are empty".to_owned())
        }
        "setproduct" => setproduct(args),
        "setunion" => (0..args.len())
            .try_fold(Vec::new(), |mut all, at| {
                all.extend(list(args, at)?.iter().cloned());
                Ok(all)
            })
            .map(|all| distinct(&all).into()),
        "setintersection" => (|| {
            let mut all = distinct(list(args, 0)?);
            for at in 1..args.len() {
                let other = list(args, at)?;
                all.retain(|item| within(item, other));
            }
            Ok(all.into())
        })(),
        "setsubtract" => (|| {
            let (from, taken) = (list(args, 0)?, list(args, 1)?);
            Ok(distinct(from).into_iter().filter(|item| !within(item, taken)).collect::<Vec<_>>().into())
        })(),
        "sethaselement" => (|| Ok(within(nth(args, 1)?, list(args, 0)?).into()))(),
        _ => return None,
    })
}

fn range(args: &[Value]) -> Result<Value> {
    let (from, to) = if args.len() > 1 { (num(args, 0)?, num(args, 1)?) } else { (0.0, num(args, 0)?) };
    let step = if args.len() > 2 {
        num(args, 2)?
    } else if to < from {
        -1.0
    } else {
        1.0
    };
    if step == 0.0 || (to > from) != (step > 0.0) && to != from {
        return Err("the step never reaches the end".to_owned());
    }
    if ((to - from) / step).abs() > MOST as f64 {
        return Err(format!("more than {MOST} elements"));
    }
    let mut out = Vec::new();
    let mut at = from;
    while if step > 0.0 { at < to } else { at > to } {
        out.push(number(at));
        at += step;
    }
    Ok(out.into())
}

fn setproduct(args: &[Value]) -> Result<Value> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..args.len() {
        let items = list(args, at)?;
        if rows.len() * items.len() > MOST {
            return Err(format!("more than {MOST} elements"));
        }
        rows = rows
            .iter()
            .flat_map(|row| items.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat()))
            .collect();
    }
    Ok(rows.into())
}

fn numbers(name: &str, args: &[Value]) -> Option<Result<Value>> {
    let two = |change: &dyn Fn(f64, f64) -> Value| Ok(change(num(args, 0)?, num(args, 1)?));
    let one = |change: &dyn Fn(f64) -> f64| num(args, 0).map(|value| number(change(value)));
    let all = |pick: fn(f64, f64) -> f64| {
        let values = args.iter().map(float).collect::<Result<Vec<_>>>()?;
        values.into_iter().reduce(pick).map(number).ok_or_else(|| "needs an argument".to_owned())
    };
    let both =
        |change: &dyn Fn(bool, bool) -> bool| Ok(change(boolean(nth(args, 0)?)?, boolean(nth(args, 1)?)?).into());
    Some(match name {
        "add" => two(&|a, b| number(a + b)),
        "subtract" => two(&|a, b| number(a - b)),
        "multiply" => two(&|a, b| number(a * b)),
        "divide" | "modulo" if num(args, 1).is_ok_and(|by| by == 0.0) => Err("division by zero".to_owned()),
        "divide" => two(&|a, b| number(a / b)),
        "modulo" => two(&|a, b| number(a % b)),
        "pow" => two(&|a, b| number(a.powf(b))),
        "log" => two(&|a, b| number(a.log(b))),
        "lessthan" => two(&|a, b| (a < b).into()),
        "lessthanorequalto" => two(&|a, b| (a <= b).into()),
        "greaterthan" => two(&|a, b| (a > b).into()),
        "greaterthanorequalto" => two(&|a, b| (a >= b).into()),
        "equal" => (|| Ok(equal(nth(args, 0)?, nth(args, 1)?).into()))(),
        "notequal" => (|| Ok((!equal(nth(args, 0)?, nth(args, 1)?)).into()))(),
        "and" => both(&|a, b| a && b),
        "or" => both(&|a, b| a || b),
        "not" => nth(args, 0).and_then(boolean).map(|value| (!value).into()),
        "absolute" | "abs" => one(&f64::abs),
        "negate" => one(&|value| -value),
        "ceil" => one(&f64::ceil),
        "floor" => one(&f64::floor),
        "int" => one(&f64::trunc),
        "signum" => one(&|value| if value == 0.0 { 0.0 } else { value.signum() }),
        "max" => all(f64::max),
        "min" => all(f64::min),
        "parseint" => (|| {
            let (text, base) = (word(args, 0)?, whole(args, 1)?);
            let base =
                u32::try_from(base).ok().filter(|base| (2..=36).contains(base)).ok_or("the base must be 2 to 36")?;
            i64::from_str_radix(&text, base)
                .map(Value::from)
                .map_err(|_| format!("{text:?} is not a number of base {base}"))
        })(),
        _ => return None,
    })
}
