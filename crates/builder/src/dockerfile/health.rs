//! Reads `HEALTHCHECK`.

use super::ast::Health;
use super::flags::Flag;
use super::instruction::{command, required, split_keyword, unknown_flag};

/// Reads the flags and arguments of a `HEALTHCHECK`.
pub(super) fn health(flags: &[Flag], args: &str) -> Result<Health, String> {
    let (word, rest) = split_keyword(args);
    match word.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => {
            return match flags.is_empty() {
                true => Ok(Health::None),
                false => Err("HEALTHCHECK NONE takes no flags".to_owned()),
            };
        }
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if rest.is_empty() => return Err("Missing command after HEALTHCHECK CMD".to_owned()),
        "CMD" => {}
        "" => return Err("HEALTHCHECK requires at least one argument".to_owned()),
        other => return Err(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
    }
    let (mut interval, mut timeout, mut start_period, mut start_interval, mut retries) = (None, None, None, None, None);
    for flag in flags {
        let duration = || {
            let text = required(flag)?;
            let parsed = crate::duration::parse(&text)
                .ok_or_else(|| format!("invalid duration {text:?} for --{}", flag.name))?;
            match parsed.as_nanos() {
                0 => Ok(None),
                1..1_000_000 => Err(format!("Interval {:?} cannot be less than 1ms", flag.name)),
                _ => Ok(Some(parsed)),
            }
        };
        match flag.name.as_str() {
            "interval" => interval = duration()?,
            "timeout" => timeout = duration()?,
            "start-period" => start_period = duration()?,
            "start-interval" => start_interval = duration()?,
            "retries" => {
                let text = required(flag)?;
                let count: i64 = text.parse().map_err(|_| format!("invalid value {text:?} for --retries"))?;
                let count = u32::try_from(count).map_err(|_| format!("--retries cannot be negative ({count})"))?;
                retries = (count > 0).then_some(count);
            }
            _ => return Err(unknown_flag(flag, &["interval", "timeout", "start-period", "start-interval", "retries"])),
        }
    }
    Ok(Health::Check { command: command(rest), interval, timeout, start_period, start_interval, retries })
}
