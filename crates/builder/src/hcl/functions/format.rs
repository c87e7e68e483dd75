//! Texts made after a pattern: `format`, `formatlist`, `formatdate`, `timeadd`.

use serde_json::Value;

use super::super::eval::{MOST, boolean, float, number, text};
use super::{Result, word};

/// Time and text in either order: `formatdate(FORMAT, TIME)`, `timeadd(TIME, DURATION)`.
pub(super) fn two_times(args: &[Value], then: impl FnOnce(jiff::Timestamp, &str) -> Result<String>) -> Result<Value> {
    let (a, b) = (word(args, 0)?, word(args, 1)?);
    match (a.parse::<jiff::Timestamp>(), b.parse::<jiff::Timestamp>()) {
        (Ok(time), _) => then(time, &b).map(Value::from),
        (_, Ok(time)) => then(time, &a).map(Value::from),
        _ => Err("needs a time such as 2006-01-02T15:04:05Z".to_owned()),
    }
}

/// A time written as `YYYY-MM-DD'T'hh:mm:ssZ` says.
pub(super) fn date(time: jiff::Timestamp, format: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let (text, after) = quoted.split_once('\'').ok_or("a quote is not closed")?;
            out.push_str(text);
            rest = after;
            continue;
        }
        let run = rest.len() - rest.trim_start_matches(c).len();
        let word = &rest[..run];
        rest = &rest[run..];
        let directive = match word {
            "YYYY" => "%Y",
            "YY" => "%y",
            "MMMM" => "%B",
            "MMM" => "%b",
            "MM" => "%m",
            "M" => "%-m",
            "DD" => "%d",
            "D" => "%-d",
            "EEEE" => "%A",
            "EEE" => "%a",
            "hh" => "%H",
            "h" => "%-H",
            "HH" => "%I",
            "H" => "%-I",
            "AA" => "%p",
            "aa" => "%P",
            "mm" => "%M",
            "m" => "%-M",
            "ss" => "%S",
            "s" => "%-S",
            "Z" => "Z",
            "ZZZZ" => "+0000",
            "ZZZZZ" => "+00:00",
            word if c.is_ascii_alphabetic() => return Err(format!("{word:?} is no part of a date")),
            word => {
                out.push_str(word);
                continue;
            }
        };
        out.push_str(&time.strftime(directive).to_string());
    }
    Ok(out)
}

/// `%s`, `%d`, `%q`, `%v`, `%t`, `%f`, `%x` and the like, with widths.
pub(super) fn format(format: &str, args: &[Value]) -> Result<String> {
    let mut out = String::new();
    let mut next = args.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic() || c == '%').ok_or("a verb is not finished")?;
        let (flags, verb) = (&after[..end], after.as_bytes()[end]);
        rest = &after[end + 1..];
        if verb == b'%' {
            out.push('%');
            continue;
        }
        let value = next.next().ok_or("not enough arguments")?;
        let (width, precision) = match flags.split_once('.') {
            Some((width, precision)) => (width, precision.parse::<usize>().ok()),
            None => (flags, None),
        };
        let shown = match verb {
            b'd' => format!("{:.0}", float(value)?.trunc()),
            b'x' => format!("{:x}", float(value)?.trunc() as i64),
            b'X' => format!("{:X}", float(value)?.trunc() as i64),
            b'o' => format!("{:o}", float(value)?.trunc() as i64),
            b'b' => format!("{:b}", float(value)?.trunc() as i64),
            b'f' => format!("{:.*}", precision.unwrap_or(6), float(value)?),
            b'g' | b'e' => text(&number(float(value)?))?,
            b's' => {
                let text = text(value)?;
                precision.map_or(text.clone(), |most| text.chars().take(most).collect())
            }
            b't' => boolean(value)?.to_string(),
            b'q' => Value::from(text(value)?).to_string(),
            b'v' => match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
            other => return Err(format!("%{} is not a verb that is known", char::from(other))),
        };
        let plain = width.trim_start_matches(['-', '+', '#', ' ']);
        let columns = plain.trim_start_matches('0').parse::<usize>().unwrap_or(0).min(MOST);
        let fill = columns.saturating_sub(shown.chars().count());
        match (width.contains('-'), plain.starts_with('0')) {
            (true, _) => out.push_str(&format!("{shown}{}", " ".repeat(fill))),
            (false, true) => match shown.strip_prefix('-') {
                Some(digits) => out.push_str(&format!("-{}{digits}", "0".repeat(fill))),
                None => out.push_str(&format!("{}{shown}", "0".repeat(fill))),
            },
            (false, false) => out.push_str(&format!("{}{shown}", " ".repeat(fill))),
        }
    }
    out.push_str(rest);
    match next.next() {
        None => Ok(out),
        Some(_) => Err("too many arguments".to_owned()),
    }
}

pub(super) fn formatlist(args: &[Value]) -> Result<Value> {
    let verbs = word(args, 0)?;
    let lengths = args[1..].iter().filter_map(|value| value.as_array().map(Vec::len));
    let length = lengths.max().unwrap_or(1);
    let rows = (0..length).map(|row| {
        let values: Result<Vec<Value>> = args[1..]
            .iter()
            .map(|value| match value {
                Value::Array(items) => items.get(row).cloned().ok_or_else(|| "the lists differ in length".to_owned()),
                one => Ok(one.clone()),
            })
            .collect();
        format(&verbs, &values?).map(Value::from)
    });
    Ok(Value::Array(rows.collect::<Result<_>>()?))
}
