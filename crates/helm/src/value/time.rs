//! Go's `time`: instants in zones, layouts, durations.

use std::fmt::{self, Display, Formatter};

use super::Str;

/// An instant shown in a zone.
#[derive(Debug, Clone)]
pub struct Time {
    /// Nanoseconds since 1970.
    pub nanos: i128,
    /// The zone it is shown in.
    pub zone: Zone,
}

impl PartialEq for Time {
    fn eq(&self, other: &Time) -> bool {
        self.nanos == other.nanos
    }
}

/// A zone.
#[derive(Debug, Clone)]
pub enum Zone {
    /// UTC.
    Utc,
    /// A fixed offset in seconds, with its abbreviation (may be empty).
    Fixed(i32, Str),
    /// A zone of the database.
    Named(jiff::tz::TimeZone),
}

impl Zone {
    /// A zone by name: `UTC`, `Local` (taken as UTC), or one of the database.
    pub fn load(name: &str) -> Option<Zone> {
        match name {
            "" | "UTC" | "Local" => Some(Zone::Utc),
            name => jiff::tz::TimeZone::get(name).ok().map(Zone::Named),
        }
    }

    fn at(&self, nanos: i128) -> (i32, Str) {
        match self {
            Zone::Utc => (0, Str::from("UTC")),
            Zone::Fixed(offset, name) => (*offset, name.clone()),
            Zone::Named(tz) => match jiff::Timestamp::from_nanosecond(nanos) {
                Ok(t) => {
                    let info = tz.to_offset_info(t);
                    (info.offset().seconds(), Str::from(info.abbreviation()))
                }
                Err(_) => (0, Str::from("UTC")),
            },
        }
    }
}

/// The parts of an instant in its zone.
#[derive(Debug, Clone)]
pub struct Civil {
    /// Year.
    pub year: i64,
    /// Month from 1.
    pub month: i64,
    /// Day of the month from 1.
    pub day: i64,
    /// Hour.
    pub hour: i64,
    /// Minute.
    pub minute: i64,
    /// Second.
    pub second: i64,
    /// Nanosecond.
    pub nano: i64,
    /// Day of the week, Sunday is 0.
    pub weekday: usize,
    /// Day of the year from 1.
    pub year_day: i64,
    /// Offset in seconds.
    pub offset: i32,
    /// Abbreviation of the zone.
    pub zone: Str,
}

/// Days since 1970 of a date of the proleptic Gregorian calendar.
pub fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

fn civil_from_days(z: i64) -> (i64, i64, i64) {
    let z = z + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// The months' names.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Time {
    /// An instant in UTC.
    pub fn utc(nanos: i128) -> Time {
        Time { nanos, zone: Zone::Utc }
    }

    /// Go's zero time: the first of January of the year 1.
    pub fn zero() -> Time {
        Time::utc(-62_135_596_800_000_000_000)
    }

    /// The parts in its zone.
    pub fn civil(&self) -> Civil {
        let (offset, zone) = self.zone.at(self.nanos);
        let seconds = self.nanos.div_euclid(1_000_000_000) as i64 + i64::from(offset);
        let nano = self.nanos.rem_euclid(1_000_000_000) as i64;
        let days = seconds.div_euclid(86_400);
        let of_day = seconds.rem_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            nano,
            weekday: (days + 4).rem_euclid(7) as usize,
            year_day: days - days_from_civil(year, 1, 1) + 1,
            offset,
            zone,
        }
    }

    /// `Format(time.RFC3339Nano)`
    pub fn rfc3339_nano(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }

    /// Whole seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.nanos.div_euclid(1_000_000_000) as i64
    }

    /// `Format`
    pub fn format(&self, layout: &str) -> String {
        let c = self.civil();
        let mut out = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            let (prefix, chunk, suffix) = next_chunk(rest);
            out.push_str(prefix);
            rest = suffix;
            let Some(chunk) = chunk else { break };
            match chunk {
                Chunk::Year => out.push_str(&format!("{:04}", c.year)),
                Chunk::Year2 => out.push_str(&format!("{:02}", c.year.rem_euclid(100))),
                Chunk::LongMonth => out.push_str(MONTHS[(c.month - 1) as usize]),
                Chunk::Month => out.push_str(&MONTHS[(c.month - 1) as usize][..3]),
                Chunk::NumMonth => out.push_str(&c.month.to_string()),
                Chunk::ZeroMonth => out.push_str(&format!("{:02}", c.month)),
                Chunk::LongWeekday => out.push_str(DAYS[c.weekday]),
                Chunk::Weekday => out.push_str(&DAYS[c.weekday][..3]),
                Chunk::Day => out.push_str(&c.day.to_string()),
                Chunk::UnderDay => out.push_str(&format!("{:>2}", c.day)),
                Chunk::ZeroDay => out.push_str(&format!("{:02}", c.day)),
                Chunk::UnderYearDay => out.push_str(&format!("{:>3}", c.year_day)),
                Chunk::ZeroYearDay => out.push_str(&format!("{:03}", c.year_day)),
                Chunk::Hour => out.push_str(&format!("{:02}", c.hour)),
                Chunk::Hour12 => out.push_str(&((c.hour + 11) % 12 + 1).to_string()),
                Chunk::ZeroHour12 => out.push_str(&format!("{:02}", (c.hour + 11) % 12 + 1)),
                Chunk::Minute => out.push_str(&c.minute.to_string()),
                Chunk::ZeroMinute => out.push_str(&format!("{:02}", c.minute)),
                Chunk::Second => out.push_str(&c.second.to_string()),
                Chunk::ZeroSecond => out.push_str(&format!("{:02}", c.second)),
                Chunk::Pm => out.push_str(if c.hour >= 12 { "PM" } else { "AM" }),
                Chunk::LowPm => out.push_str(if c.hour >= 12 { "pm" } else { "am" }),
                Chunk::Offset { z, parts, colon } => {
                    if z && c.offset == 0 {
                        out.push('Z');
                    } else {
                        let (sign, o) = if c.offset < 0 { ('-', -c.offset) } else { ('+', c.offset) };
                        let sep = if colon { ":" } else { "" };
                        out.push_str(&format!("{sign}{:02}", o / 3600));
                        if parts > 1 {
                            out.push_str(&format!("{sep}{:02}", o / 60 % 60));
                        }
                        if parts > 2 {
                            out.push_str(&format!("{sep}{:02}", o % 60));
                        }
                    }
                }
                Chunk::ZoneName => {
                    if c.zone.is_empty() {
                        let (sign, o) = if c.offset < 0 { ('-', -c.offset) } else { ('+', c.offset) };
                        out.push_str(&format!("{sign}{:02}{:02}", o / 3600, o / 60 % 60));
                    } else {
                        out.push_str(&c.zone);
                    }
                }
                Chunk::Fraction { digits, trim, separator } => {
                    let text = format!("{:09}", c.nano);
                    let mut text = text[..digits.min(9)].to_owned();
                    if trim {
                        text.truncate(text.trim_end_matches('0').len());
                    }
                    if !text.is_empty() {
                        out.push(separator);
                        out.push_str(&text);
                    }
                }
            }
        }
        out
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Chunk {
    Year,
    Year2,
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    Pm,
    LowPm,
    Offset { z: bool, parts: u8, colon: bool },
    ZoneName,
    Fraction { digits: usize, trim: bool, separator: char },
}

/// What stands before the first element of a layout, the element, and what follows.
fn next_chunk(layout: &str) -> (&str, Option<Chunk>, &str) {
    let offset = |z, parts, colon| Chunk::Offset { z, parts, colon };
    // Longer texts first.
    let table: [(&str, Chunk); 37] = [
        ("January", Chunk::LongMonth),
        ("Jan", Chunk::Month),
        ("Monday", Chunk::LongWeekday),
        ("Mon", Chunk::Weekday),
        ("MST", Chunk::ZoneName),
        ("2006", Chunk::Year),
        ("002", Chunk::ZeroYearDay),
        ("01", Chunk::ZeroMonth),
        ("02", Chunk::ZeroDay),
        ("03", Chunk::ZeroHour12),
        ("04", Chunk::ZeroMinute),
        ("05", Chunk::ZeroSecond),
        ("06", Chunk::Year2),
        ("15", Chunk::Hour),
        ("__2", Chunk::UnderYearDay),
        ("_2", Chunk::UnderDay),
        ("1", Chunk::NumMonth),
        ("2", Chunk::Day),
        ("3", Chunk::Hour12),
        ("4", Chunk::Minute),
        ("5", Chunk::Second),
        ("PM", Chunk::Pm),
        ("pm", Chunk::LowPm),
        ("-070000", offset(false, 3, false)),
        ("-07:00:00", offset(false, 3, true)),
        ("-0700", offset(false, 2, false)),
        ("-07:00", offset(false, 2, true)),
        ("-07", offset(false, 1, false)),
        ("Z070000", offset(true, 3, false)),
        ("Z07:00:00", offset(true, 3, true)),
        ("Z0700", offset(true, 2, false)),
        ("Z07:00", offset(true, 2, true)),
        ("Z07", offset(true, 1, false)),
        ("\u{0}1", Chunk::Year),
        ("\u{0}2", Chunk::Year),
        ("\u{0}3", Chunk::Year),
        ("\u{0}4", Chunk::Year),
    ];
    let bytes = layout.as_bytes();
    for i in 0..bytes.len() {
        if !layout.is_char_boundary(i) {
            continue;
        }
        let rest = &layout[i..];
        if matches!(bytes[i], b'.' | b',') && matches!(bytes.get(i + 1), Some(b'0' | b'9')) {
            let digit = bytes[i + 1];
            let digits = bytes[i + 1..].iter().take_while(|&&b| b == digit).count();
            if !bytes.get(i + 1 + digits).is_some_and(u8::is_ascii_digit) {
                let chunk = Chunk::Fraction { digits, trim: digit == b'9', separator: bytes[i] as char };
                return (&layout[..i], Some(chunk), &layout[i + 1 + digits..]);
            }
        }
        if rest.starts_with("_2006") {
            return (&layout[..i + 1], Some(Chunk::Year), &layout[i + 5..]);
        }
        for (text, chunk) in &table {
            if rest.starts_with(text) {
                if *text == "Jan" && rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) {
                    continue;
                }
                if *text == "Mon" && rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) {
                    continue;
                }
                return (&layout[..i], Some(*chunk), &layout[i + text.len()..]);
            }
        }
    }
    (layout, None, "")
}

/// `time.ParseInLocation`
///
/// # Errors
/// Go's message.
pub fn parse(layout: &str, value: &str, zone: &Zone) -> Result<Time, String> {
    let q = super::quote::quote;
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

/// `time.Duration.String`
pub fn duration_string(n: i64) -> String {
    if n == 0 {
        return "0s".to_owned();
    }
    let sign = if n < 0 { "-" } else { "" };
    let u = n.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let whole = value / unit;
        let rest = value % unit;
        if rest == 0 {
            return whole.to_string();
        }
        let width = unit.ilog10() as usize;
        let text = format!("{rest:0width$}");
        format!("{whole}.{}", text.trim_end_matches('0'))
    };
    if u < 1_000 {
        return format!("{sign}{u}ns");
    }
    if u < 1_000_000 {
        return format!("{sign}{}µs", decimal(u, 1_000));
    }
    if u < 1_000_000_000 {
        return format!("{sign}{}ms", decimal(u, 1_000_000));
    }
    let minutes = u / 60_000_000_000;
    let seconds = decimal(u % 60_000_000_000, 1_000_000_000);
    if minutes == 0 {
        return format!("{sign}{seconds}s");
    }
    let hours = minutes / 60;
    if hours == 0 {
        return format!("{sign}{minutes}m{seconds}s");
    }
    format!("{sign}{hours}h{}m{seconds}s", minutes % 60)
}

/// `time.ParseDuration`
///
/// # Errors
/// Go's message.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let q = super::quote::quote;
    let invalid = || format!("time: invalid duration {}", q(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let n = rest.bytes().take_while(u8::is_ascii_digit).count();
        let whole = &rest[..n];
        rest = &rest[n..];
        let mut part = "";
        if rest.starts_with('.') {
            let n = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
            part = &rest[1..1 + n];
            rest = &rest[1 + n..];
        }
        if whole.is_empty() && part.is_empty() {
            return Err(invalid());
        }
        let unit_len = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..unit_len];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", q(text)));
        }
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {} in duration {}", q(unit), q(text))),
        };
        rest = &rest[unit_len..];
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = total.checked_add(whole.checked_mul(scale).ok_or_else(invalid)?).ok_or_else(invalid)?;
        if !part.is_empty() {
            let f: f64 = format!("0.{part}").parse().unwrap_or(0.0);
            total += (f * scale as f64) as u128;
        }
        if total > 1 << 63 {
            return Err(invalid());
        }
    }
    if negative { Ok((total as i128).wrapping_neg() as i64) } else { i64::try_from(total).map_err(|_| invalid()) }
}
