//! Command line flags as docker's own parser takes them: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-qf`.

use std::collections::BTreeMap;

use super::Failure;
use crate::dockerfile::edit_distance;

/// One flag that a command knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub takes: bool,
}

/// A flag with a value.
pub(super) const fn value(name: &'static str, short: Option<char>) -> Flag {
    Flag { name, short, takes: true }
}

/// A flag that is on or off.
pub(super) const fn switch(name: &'static str, short: Option<char>) -> Flag {
    Flag { name, short, takes: false }
}

/// What was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    pub args: Vec<String>,
}

impl Parsed {
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// Whether a flag was given at all.
    pub fn given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub fn on(&self, name: &str) -> bool {
        self.last(name).is_some_and(|value| value == "true")
    }
}

/// Reads the arguments of `docker COMMAND`. Flags may stand after arguments unless `interspersed` is off.
pub(super) fn parse(command: &str, flags: &'static [Flag], args: &[String]) -> Result<Parsed, Failure> {
    let mut out = Parsed::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            out.args.extend(rest.cloned());
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = match long.split_once('=') {
                Some((name, given)) => (name, Some(given.to_owned())),
                None => (long, None),
            };
            if name == "help" {
                return Err(Failure::help(command, flags));
            }
            let flag = flags.iter().find(|flag| flag.name == name).ok_or_else(|| unknown(command, flags, name))?;
            let given = match (given, flag.takes) {
                (Some(given), true) => given,
                (Some(given), false) => boolean(&given).ok_or_else(|| {
                    let what = format!("invalid argument {given:?} for \"--{name}\" flag: strconv.ParseBool: parsing {given:?}: invalid syntax");
                    Failure::usage(command, what)
                })?,
                (None, false) => "true".to_owned(),
                (None, true) => rest
                    .next()
                    .cloned()
                    .ok_or_else(|| Failure::usage(command, format!("flag needs an argument: --{name}")))?,
            };
            out.values.entry(flag.name).or_default().push(given);
        } else if arg.len() > 1 && arg.starts_with('-') {
            let chars = arg[1..].char_indices();
            for (at, c) in chars {
                if c == 'h' && !flags.iter().any(|flag| flag.short == Some('h')) {
                    return Err(Failure::help(command, flags));
                }
                let flag = flags
                    .iter()
                    .find(|flag| flag.short == Some(c))
                    .ok_or_else(|| Failure::usage(command, format!("unknown shorthand flag: '{c}' in {arg}")))?;
                if !flag.takes {
                    out.values.entry(flag.name).or_default().push("true".to_owned());
                    continue;
                }
                let tail = &arg[1 + at + c.len_utf8()..];
                let given = match tail.strip_prefix('=').unwrap_or(tail) {
                    "" => rest
                        .next()
                        .cloned()
                        .ok_or_else(|| Failure::usage(command, format!("flag needs an argument: '{c}' in {arg}")))?,
                    tail => tail.to_owned(),
                };
                out.values.entry(flag.name).or_default().push(given);
                break;
            }
        } else {
            out.args.push(arg.clone());
        }
    }
    Ok(out)
}

/// A switch as Go reads it.
fn boolean(text: &str) -> Option<String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true".to_owned()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false".to_owned()),
        _ => None,
    }
}

fn unknown(command: &str, flags: &[Flag], name: &str) -> Failure {
    let near = flags
        .iter()
        .map(|flag| flag.name)
        .filter(|known| edit_distance(known, name) <= 2)
        .min_by_key(|known| edit_distance(known, name));
    let hint = near.map(|known| format!("\nDid you mean --{known}?")).unwrap_or_default();
    Failure::usage(command, format!("unknown flag: --{name}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[value("tag", Some('t')), switch("quiet", Some('q')), switch("no-cache", None)];

    fn given(text: &str) -> Result<Parsed, Failure> {
        parse("build", FLAGS, &text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_every_spelling() {
        for text in ["-t a -q .", "--tag a --quiet .", "--tag=a -q .", ". -qta", "-t=a -q .", "-ta --quiet=true -- ."] {
            let parsed = given(text).unwrap();
            assert_eq!(
                (parsed.last("tag"), parsed.on("quiet"), parsed.args.as_slice()),
                (Some("a"), true, &[".".to_owned()][..]),
                "{text}"
            );
        }
        assert!(!given("--quiet=false .").unwrap().on("quiet"));
    }

    #[test]
    fn refuses_by_name() {
        assert!(given("--no-cash").unwrap_err().message.contains("Did you mean --no-cache?"));
        assert!(given("-x").unwrap_err().message.contains("'x'"));
        assert!(given("--tag").unwrap_err().message.contains("needs an argument"));
        assert_eq!(given("--nothing").unwrap_err().code, 125);
    }
}
