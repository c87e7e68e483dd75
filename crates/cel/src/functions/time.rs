//! Times and durations.

use jiff::tz::{Offset, TimeZone};

use super::{Answer, argument};
use crate::eval::Fault;
use crate::value::Value;

pub(super) fn method(name: &str, target: &Value, args: &[Value]) -> Answer {
    match (target, args) {
        (Value::Duration(nanos), []) => Some(Ok(Value::Int(match name {
            "getHours" => nanos / 3_600_000_000_000,
            "getMinutes" => nanos / 60_000_000_000,
            "getSeconds" => nanos / 1_000_000_000,
            "getMilliseconds" => nanos / 1_000_000 % 1_000,
            _ => return None,
        }))),
        (Value::Timestamp(at), []) => part(name, *at, &TimeZone::UTC).map(Ok),
        (Value::Timestamp(at), [Value::String(zone)]) => match self::zone(zone) {
            Ok(zone) => part(name, *at, &zone).map(Ok),
            Err(fault) => Some(Err(fault)),
        },
        _ => None,
    }
}

fn part(name: &str, at: jiff::Timestamp, zone: &TimeZone) -> Option<Value> {
    let at = at.to_zoned(zone.clone());
    let value = match name {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return None,
    };
    Some(Value::Int(value))
}

fn zone(text: &str) -> Result<TimeZone, Fault> {
    let unknown = || argument(format!("unknown time zone {text}"));
    if text == "UTC" || text.is_empty() {
        return Ok(TimeZone::UTC);
    }
    if let Some((hours, minutes)) = text.split_once(':') {
        let negative = hours.starts_with('-');
        let hours: i32 = hours.trim_start_matches(['+', '-']).parse().map_err(|_| unknown())?;
        let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
        let seconds = (hours.min(99) * 60 + minutes.clamp(0, 99)) * 60;
        let offset = Offset::from_seconds(if negative { -seconds } else { seconds }).map_err(|_| unknown())?;
        return Ok(TimeZone::fixed(offset));
    }
    TimeZone::get(text).map_err(|_| unknown())
}
