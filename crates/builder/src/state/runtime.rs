//! What a configuration says about running: ports, signals, health checks.

use oci::Healthcheck;

use super::{Inputs, State, quote, quote_list};
use crate::dockerfile::ast::{Command, Health};
use crate::duration;

impl State {
    pub(super) fn healthcheck(&mut self, health: &Health, inputs: &Inputs) {
        let check = match health {
            Health::None => Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() },
            Health::Check { command, interval, timeout, start_period, start_interval, retries } => {
                let nanos = |value: &Option<std::time::Duration>| value.map(|value| value.as_nanos() as i64);
                let test = match command {
                    Command::Exec(words) => [vec!["CMD".to_owned()], words.clone()].concat(),
                    Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                };
                Healthcheck {
                    test,
                    interval: nanos(interval),
                    timeout: nanos(timeout),
                    start_period: nanos(start_period),
                    start_interval: nanos(start_interval),
                    retries: retries.map(i64::from),
                    ..Healthcheck::default()
                }
            }
        };
        let go =
            |nanos: Option<i64>| quote(&duration::format(std::time::Duration::from_nanos(nanos.unwrap_or(0) as u64)));
        let retries = match check.retries.unwrap_or(0) {
            7 => "'\\a'".to_owned(),
            8 => "'\\b'".to_owned(),
            9 => "'\\t'".to_owned(),
            10 => "'\\n'".to_owned(),
            small @ 0..32 => format!("'\\x{small:02x}'"),
            other => format!("{:?}", char::from_u32(other as u32).unwrap_or('\u{fffd}')),
        };
        let shown = format!(
            "HEALTHCHECK &{{{} {} {} {} {retries}}}",
            quote_list(&check.test),
            go(check.interval),
            go(check.timeout),
            go(check.start_period),
        );
        self.image.config.healthcheck = Some(check);
        self.history(shown, true, inputs);
    }
}

/// The ports of one word of `EXPOSE`: `80`, `80/udp`, `9000-9002`.
pub(super) fn expand_ports(spec: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("invalid containerPort: {spec}");
    let (range, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let range = range.rsplit(':').next().unwrap_or(range);
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let low: u16 = low.parse().map_err(|_| wrong())?;
    let high: u16 = high.parse().map_err(|_| wrong())?;
    if low > high {
        return Err(format!("invalid range format for port: {spec}"));
    }
    Ok((low..=high).map(|port| format!("{port}/{protocol}")).collect())
}

/// Whether a text names a signal.
pub(super) fn check_signal(signal: &str) -> Result<(), String> {
    const NAMES: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ";
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = signal.parse::<u8>().is_ok_and(|n| n > 0 && n <= 64);
    if number || NAMES.split(' ').any(|known| known == name) || name.starts_with("RTMIN") || name.starts_with("RTMAX") {
        return Ok(());
    }
    Err(format!("invalid signal: {signal}"))
}
