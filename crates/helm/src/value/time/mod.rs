//! Go's `time`: instants in zones, layouts, durations.

mod duration;
mod layout;
mod parse;

use std::fmt::{self, Display, Formatter};

pub use self::duration::{duration_string, parse_duration};
use self::layout::{Chunk, next_chunk};
pub use self::parse::parse;
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
