//! Reading a time by a layout.

use super::layout::{Chunk, next_chunk};
use super::{DAYS, MONTHS, Time, Zone, days_from_civil};
use crate::value::Str;

/// `time.ParseInLocation`
///
/// # Errors
/// Go's message.
pub fn parse(layout: &str, value: &str, zone: &Zone) -> Result<Time, String> {
    let q = crate::value::quote::quote;
    let bad = |element: &str, rest: &str, extra: &str| {
        format!("parsing time {} as {}: cannot parse {} as {}{extra}", q(value), q(layout), q(rest), q(element))
    };
    let (mut year, mut month, mut day, mut hour, mut minute, mut second, mut nano) =
        (0i64, 1i64, 1i64, 0i64, 0i64, 0i64, 0i64);
    let mut pm: Option<bool> = None;
    let mut year_day: Option<i64> = None;
    let mut offset: Option<i32> = None;
    let mut zone_name: Option<String> = None;
    let mut utc = false;
    let mut rest = value;
    let mut layout_rest = layout;
    loop {
        let (prefix, chunk, suffix) = next_chunk(layout_rest);
        let element = layout_rest[prefix.len()..layout_rest.len() - suffix.len()].to_owned();
        let Some(after) = rest.strip_prefix(prefix) else { return Err(bad(prefix, rest, "")) };
        rest = after;
        layout_rest = suffix;
        let Some(chunk) = chunk else {
            if !rest.is_empty() {
                return Err(format!("parsing time {}: extra text: {}", q(value), q(rest)));
            }
            break;
        };
        let hold = rest;
        let fixed = |rest: &mut &str, n: usize| -> Option<i64> {
            let digits = rest.get(..n)?;
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *rest = &rest[n..];
            digits.parse().ok()
        };
        let up_to_two = |rest: &mut &str, both: bool| -> Option<i64> {
            let b = rest.as_bytes();
            if !b.first()?.is_ascii_digit() {
                return None;
            }
            if !b.get(1).is_some_and(u8::is_ascii_digit) {
                if both {
                    return None;
                }
                return fixed(rest, 1);
            }
            fixed(rest, 2)
        };
        let name_of = |rest: &mut &str, names: &[&str], short: bool| -> Option<i64> {
            for (i, name) in names.iter().enumerate() {
                let name = if short { &name[..3] } else { name };
                if rest.get(..name.len()).is_some_and(|r| r.eq_ignore_ascii_case(name)) {
                    *rest = &rest[name.len()..];
                    return Some(i as i64 + 1);
                }
            }
            None
        };
        let range = |what: &str| format!("parsing time {}: {what} out of range", q(value));
        macro_rules! need {
            ($e:expr) => {
                match $e {
                    Some(n) => n,
                    None => return Err(bad(&element, hold, "")),
                }
            };
        }
        match chunk {
            Chunk::Year => year = need!(fixed(&mut rest, 4)),
            Chunk::Year2 => {
                let n = need!(fixed(&mut rest, 2));
                year = if n >= 69 { n + 1900 } else { n + 2000 };
            }
            Chunk::LongMonth => month = need!(name_of(&mut rest, &MONTHS, false)),
            Chunk::Month => month = need!(name_of(&mut rest, &MONTHS, true)),
            Chunk::NumMonth | Chunk::ZeroMonth => {
                month = need!(up_to_two(&mut rest, chunk == Chunk::ZeroMonth));
                if !(1..=12).contains(&month) {
                    return Err(range("month"));
                }
            }
            Chunk::LongWeekday => {
                need!(name_of(&mut rest, &DAYS, false));
            }
            Chunk::Weekday => {
                need!(name_of(&mut rest, &DAYS, true));
            }
            Chunk::Day | Chunk::UnderDay | Chunk::ZeroDay => {
                if chunk == Chunk::UnderDay {
                    rest = rest.strip_prefix(' ').unwrap_or(rest);
                }
                day = need!(up_to_two(&mut rest, chunk == Chunk::ZeroDay));
            }
            Chunk::UnderYearDay | Chunk::ZeroYearDay => {
                while chunk == Chunk::UnderYearDay && rest.starts_with(' ') {
                    rest = &rest[1..];
                }
                let n = rest.bytes().take_while(u8::is_ascii_digit).count().min(3);
                year_day = Some(need!(fixed(&mut rest, n.max(1))));
            }
            Chunk::Hour => {
                hour = need!(up_to_two(&mut rest, false));
                if hour > 23 {
                    return Err(range("hour"));
                }
            }
            Chunk::Hour12 | Chunk::ZeroHour12 => {
                hour = need!(up_to_two(&mut rest, chunk == Chunk::ZeroHour12));
                if hour > 12 {
                    return Err(range("hour"));
                }
            }
            Chunk::Minute | Chunk::ZeroMinute => {
                minute = need!(up_to_two(&mut rest, chunk == Chunk::ZeroMinute));
                if minute > 59 {
                    return Err(range("minute"));
                }
            }
            Chunk::Second | Chunk::ZeroSecond => {
                second = need!(up_to_two(&mut rest, chunk == Chunk::ZeroSecond));
                if second > 59 {
                    return Err(range("second"));
                }
                // A fraction may follow though the layout has none.
                if matches!(rest.as_bytes(), [b'.' | b',', d, ..] if d.is_ascii_digit())
                    && !matches!(next_chunk(layout_rest), ("", Some(Chunk::Fraction { .. }), _))
                {
                    let n = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                    nano = fraction(&rest[1..1 + n]);
                    rest = &rest[1 + n..];
                }
            }
            Chunk::Pm | Chunk::LowPm => {
                let (p, a) = if chunk == Chunk::Pm { ("PM", "AM") } else { ("pm", "am") };
                let word = need!(rest.get(..2));
                pm = Some(need!(if word == p {
                    Some(true)
                } else if word == a {
                    Some(false)
                } else {
                    None
                }));
                rest = &rest[2..];
            }
            Chunk::Offset { z, parts, colon } => {
                if z && rest.starts_with('Z') {
                    rest = &rest[1..];
                    utc = true;
                } else {
                    let sign = need!(match rest.as_bytes().first() {
                        Some(b'+') => Some(1),
                        Some(b'-') => Some(-1),
                        _ => None,
                    });
                    rest = &rest[1..];
                    let mut total = need!(fixed(&mut rest, 2)) * 3600;
                    for scale in [60, 1].iter().take(usize::from(parts) - 1) {
                        if colon {
                            rest = need!(rest.strip_prefix(':'));
                        }
                        total += need!(fixed(&mut rest, 2)) * scale;
                    }
                    offset = Some(sign * total as i32);
                }
            }
            Chunk::ZoneName => {
                let n = rest.bytes().take_while(u8::is_ascii_uppercase).count();
                if !(3..=5).contains(&n) {
                    return Err(bad(&element, hold, ""));
                }
                if &rest[..n] == "UTC" {
                    utc = true;
                } else {
                    zone_name = Some(rest[..n].to_owned());
                }
                rest = &rest[n..];
            }
            Chunk::Fraction { digits, trim, separator: _ } => {
                let n = rest.get(1..).map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
                let present = matches!(rest.as_bytes().first(), Some(b'.' | b',')) && n > 0;
                if trim {
                    if present {
                        nano = fraction(&rest[1..1 + n]);
                        rest = &rest[1 + n..];
                    }
                } else {
                    if !present || n < digits {
                        return Err(bad(&element, hold, ""));
                    }
                    nano = fraction(&rest[1..1 + digits]);
                    rest = &rest[1 + digits..];
                }
            }
        }
    }
    match pm {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut days = days_from_civil(year, month, day);
    if let Some(n) = year_day {
        days = days_from_civil(year, 1, 1) + n - 1;
    } else if day < 1 || day > lengths[(month - 1) as usize] {
        return Err(format!("parsing time {}: day out of range", q(value)));
    }
    let local = i128::from(days * 86_400 + hour * 3600 + minute * 60 + second);
    let at = |offset: i32| (local - i128::from(offset)) * 1_000_000_000 + i128::from(nano);
    Ok(match (utc, offset, zone_name) {
        (true, ..) => Time::utc(at(0)),
        (_, Some(0), None) => Time { nanos: at(0), zone: Zone::Fixed(0, Str::from("UTC")) },
        (_, Some(o), name) => Time { nanos: at(o), zone: Zone::Fixed(o, Str::from(name.unwrap_or_default())) },
        (_, None, Some(name)) => Time { nanos: at(0), zone: Zone::Fixed(0, Str::from(name)) },
        (_, None, None) => {
            let (guess, _) = zone.at(at(0));
            let (settled, _) = zone.at(at(guess));
            Time { nanos: at(settled), zone: zone.clone() }
        }
    })
}

fn fraction(digits: &str) -> i64 {
    let text: String = digits.chars().chain("000000000".chars()).take(9).collect();
    text.parse().unwrap_or(0)
}
