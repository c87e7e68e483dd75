//! Times of `schedule`: POSIX cron with five fields, names of months and days, lists, ranges and steps.

use jiff::civil::DateTime;
use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// A parsed cron line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    /// Parses `minute hour day month weekday`; the error says which field is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("'{text}' has {} fields, not five", fields.len()));
        };
        let mut weekdays = field(weekday, "day of the week", 0, 7, &DAYS, 0)?;
        if weekdays & (1 << 7) != 0 {
            weekdays |= 1;
        }
        Ok(Self {
            minutes: field(minute, "minute", 0, 59, &[], 0)?,
            hours: field(hour, "hour", 0, 23, &[], 0)?,
            days: field(day, "day of the month", 1, 31, &[], 0)?,
            months: field(month, "month", 1, 12, &MONTHS, 1)?,
            weekdays,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        })
    }

    fn matches_day(&self, at: DateTime) -> bool {
        let day = self.days & (1 << at.day()) != 0;
        let weekday = self.weekdays & (1 << at.weekday().to_sunday_zero_offset()) != 0;
        match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        }
    }

    /// The next time after `after` at which it fires in a time zone; none when there is none within eight years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(after);
        let mut at = start.date().at(start.hour(), start.minute(), 0, 0).checked_add(1.minute()).ok()?;
        let end = at.checked_add(8.years()).ok()?;
        while at < end {
            if self.months & (1 << at.month()) == 0 {
                at = at.date().first_of_month().at(0, 0, 0, 0).checked_add(1.month()).ok()?;
            } else if !self.matches_day(at) {
                at = at.date().at(0, 0, 0, 0).checked_add(1.day()).ok()?;
            } else if self.hours & (1 << at.hour()) == 0 {
                at = at.date().at(at.hour(), 0, 0, 0).checked_add(1.hour()).ok()?;
            } else if self.minutes & (1 << at.minute()) == 0 {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                let found = zone.to_timestamp(at).ok()?;
                if found > after {
                    return Some(found);
                }
                at = at.checked_add(1.minute()).ok()?;
            }
        }
        None
    }
}

fn field(text: &str, name: &str, min: u32, max: u32, names: &[&str], first: u32) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a {name}");
    let number = |text: &str| -> Option<u32> {
        if let Some(i) = names.iter().position(|n| n.eq_ignore_ascii_case(text)) {
            return Some(u32::try_from(i).ok()? + first);
        }
        text.parse().ok().filter(|n| (min..=max).contains(n))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|s| *s > 0).ok_or_else(bad)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (min, if max == 7 { 6 } else { max }),
            Some((from, to)) => (number(from).ok_or_else(bad)?, number(to).ok_or_else(bad)?),
            None => {
                let at = number(range).ok_or_else(bad)?;
                (at, if part.contains('/') { max } else { at })
            }
        };
        if from > to {
            return Err(bad());
        }
        for n in (from..=to).step_by(step as usize) {
            bits |= 1 << n;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_times() {
        for (cron, after, expected) in [
            ("30 5 * * 1,3", "2026-11-23T05:30:00Z", "2026-11-25T05:30:00Z"),
            ("*/15 * * * *", "2026-11-23T05:31:10Z", "2026-11-23T05:45:00Z"),
            ("0 0 1 JAN *", "2026-11-23T05:31:10Z", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2026-11-23T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 13 * FRI", "2026-11-23T00:00:00Z", "2026-11-27T00:00:00Z"),
            ("5 4 * * 7", "2026-11-23T00:00:00Z", "2026-11-29T04:05:00Z"),
        ] {
            let found = Cron::parse(cron).unwrap().next(after.parse().unwrap(), &TimeZone::UTC).unwrap();
            assert_eq!(found.to_string(), expected, "{cron}");
        }
        for bad in ["", "* * * *", "60 * * * *", "* * * * * *", "@daily", "5-1 * * * *", "*/0 * * * *"] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
        assert!(
            Cron::parse("0 0 31 2 *").unwrap().next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC).is_none()
        );
    }
}
