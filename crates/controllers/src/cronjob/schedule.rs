//! Cron schedules as Kubernetes reads them: five fields, names, ranges, steps, `@daily` and friends, `@every`. Pure.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// How far ahead a next time is looked for: five years, as no schedule that ever fires is rarer than every leap day but one.
const HORIZON_DAYS: usize = 366 * 5;

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Five fields as bit sets.
    Fields(Fields),
    /// A fixed pause.
    Every(SignedDuration),
}

/// The fields of a schedule; bit n stands for the value n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Either day field is a star: then both must match, else one is enough.
    any_day: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Parses a schedule.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('@') {
            let fields = match name {
                "yearly" | "annually" => "0 0 1 1 *",
                "monthly" => "0 0 1 * *",
                "weekly" => "0 0 * * 0",
                "daily" | "midnight" => "0 0 * * *",
                "hourly" => "0 * * * *",
                _ => {
                    let every =
                        name.strip_prefix("every ").ok_or_else(|| format!("unrecognized descriptor: @{name}"))?;
                    return duration(every.trim()).map(Schedule::Every);
                }
            };
            return Schedule::parse(fields);
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: {text}", parts.len()));
        };
        let star = |field: &str| field.split(',').any(|p| p.starts_with(['*', '?']));
        Ok(Schedule::Fields(Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 6, &WEEKDAYS)?,
            any_day: star(days) || star(weekdays),
        }))
    }

    /// The first time after `after`; `None` when there is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Every(pause) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*pause).ok()
            }
            Schedule::Fields(fields) => fields.next(after, zone),
        }
    }

    /// The last time in `(after, until]`, and how many there are, counted up to a hundred and one.
    pub fn latest(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<(Timestamp, usize)> {
        let mut found = self.next(after, zone).filter(|t| *t <= until)?;
        let mut count = 1;
        while let Some(next) = self.next(found, zone).filter(|t| *t <= until) {
            found = next;
            count += 1;
            if count > 100 {
                break;
            }
        }
        if count <= 100 {
            return Some((found, count));
        }
        // Too many to step through: look back from the end in growing windows.
        for hours in [1, 24, 24 * 31, 24 * 366] {
            let from = until.checked_sub(SignedDuration::from_hours(hours)).ok()?.max(found);
            let mut last = None;
            let mut at = from;
            while let Some(next) = self.next(at, zone).filter(|t| *t <= until) {
                (last, at) = (Some(next), next);
            }
            if let Some(last) = last {
                return Some((last, count));
            }
        }
        Some((found, count))
    }
}

impl Fields {
    fn day_matches(&self, date: Date) -> bool {
        let day = self.days & (1 << date.day()) != 0;
        let weekday = self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) != 0;
        self.months & (1 << date.month()) != 0 && if self.any_day { day && weekday } else { day || weekday }
    }

    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start: Zoned = after.to_zoned(zone.clone());
        let mut date = start.date();
        for _ in 0..HORIZON_DAYS {
            if self.day_matches(date) {
                for hour in (0..24i8).filter(|h| self.hours & (1 << h) != 0) {
                    if date == start.date() && hour < start.hour() - 1 {
                        continue;
                    }
                    for minute in (0..60i8).filter(|m| self.minutes & (1 << m) != 0) {
                        let time = date.to_datetime(Time::constant(hour, minute, 0, 0));
                        let Ok(at) = zone.to_ambiguous_zoned(time).compatible() else { continue };
                        if at.timestamp() > after {
                            return Some(at.timestamp());
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }
}

fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0u64;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse::<u32>().map_err(|_| format!("failed to parse int from {step}"))?))
            }
            None => (part, None),
        };
        let value = |text: &str| -> Result<u32, String> {
            let named = names.iter().position(|n| n.eq_ignore_ascii_case(text));
            match named {
                Some(i) => Ok(u32::try_from(i).unwrap_or(0) + min),
                None => text.parse().map_err(|_| format!("failed to parse int from {text}")),
            }
        };
        let (from, to) = if range == "*" || range == "?" {
            (min, max)
        } else if let Some((from, to)) = range.split_once('-') {
            (value(from)?, value(to)?)
        } else {
            let single = value(range)?;
            (single, if step.is_some() { max } else { single })
        };
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        if from < min || to > max {
            return Err(format!("value out of range [{min}, {max}]: {part}"));
        }
        if from > to {
            return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
        }
        for i in (from..=to).step_by(step as usize) {
            bits |= 1 << i;
        }
    }
    Ok(bits)
}

/// A Go duration, at least a second.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let bad = || format!("failed to parse duration @every {text}");
    let parsed: SignedDuration = text.parse().map_err(|_| bad())?;
    if parsed <= SignedDuration::ZERO { Err(bad()) } else { Ok(parsed.max(SignedDuration::from_secs(1))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn next_times() {
        let cases = [
            ("* * * * *", "2026-03-01T10:00:30Z", "2026-03-01T10:01:00Z"),
            ("*/15 * * * *", "2026-03-01T10:46:00Z", "2026-03-01T11:00:00Z"),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("30 4 1,15 * 5", "2026-03-02T00:00:00Z", "2026-03-06T04:30:00Z"),
            ("0 9 * * MON-FRI", "2026-03-06T10:00:00Z", "2026-03-09T09:00:00Z"),
            ("5/20 * * * *", "2026-03-01T10:06:00Z", "2026-03-01T10:25:00Z"),
            ("@hourly", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            ("@every 1h30m", "2026-03-01T10:00:00Z", "2026-03-01T11:30:00Z"),
            ("0 0 1 jan ?", "2026-03-01T10:00:00Z", "2027-01-01T00:00:00Z"),
        ];
        for (text, after, expected) in cases {
            let schedule = Schedule::parse(text).expect(text);
            assert_eq!(schedule.next(at(after), &TimeZone::UTC), Some(at(expected)), "{text}");
        }
        assert_eq!(
            Schedule::parse("0 0 30 2 *").expect("valid").next(at("2026-03-01T00:00:00Z"), &TimeZone::UTC),
            None
        );
    }

    #[test]
    fn zones_shift_times() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let schedule = Schedule::parse("0 0 * * *").expect("valid");
        assert_eq!(schedule.next(at("2026-03-01T00:00:00Z"), &zone), Some(at("2026-03-01T22:00:00Z")));
    }

    #[test]
    fn bad_schedules_are_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "@often",
            "@every x",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_latest_is_found_however_many_were_missed() {
        let schedule = Schedule::parse("* * * * *").expect("valid");
        let few = schedule.latest(at("2026-03-01T10:00:00Z"), at("2026-03-01T10:03:30Z"), &TimeZone::UTC);
        assert_eq!(few, Some((at("2026-03-01T10:03:00Z"), 3)));
        let many = schedule.latest(at("2020-03-01T10:00:00Z"), at("2026-03-01T10:03:30Z"), &TimeZone::UTC);
        assert_eq!(many, Some((at("2026-03-01T10:03:00Z"), 101)));
    }
}
