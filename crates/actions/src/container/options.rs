//! `options` of `container` and `services`: flags of `docker create`. Pure. A flag that cannot be honoured is refused by name.

use std::time::Duration;

use crate::job::shell::words;

/// What the flags say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    pub env: Vec<(String, String)>,
    pub volumes: Vec<String>,
    pub ports: Vec<String>,
    pub tmpfs: Vec<String>,
    pub hosts: Vec<(String, String)>,
    pub aliases: Vec<String>,
    pub hostname: Option<String>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub entrypoint: Option<String>,
    pub health: Health,
    pub memory: Option<u64>,
    pub cpu_millis: Option<u64>,
    pub pids: Option<u64>,
    pub shm: Option<u64>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub read_only: bool,
    pub init: bool,
    pub no_new_privileges: bool,
    pub seccomp_off: bool,
}

/// A health check; unset parts come from the image.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Health {
    pub none: bool,
    pub command: Option<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub start_period: Option<Duration>,
}

/// Flags with a value.
const VALUED: &[&str] = &[
    "env",
    "volume",
    "publish",
    "tmpfs",
    "mount",
    "add-host",
    "network-alias",
    "net-alias",
    "hostname",
    "name",
    "label",
    "user",
    "workdir",
    "entrypoint",
    "health-cmd",
    "health-interval",
    "health-timeout",
    "health-retries",
    "health-start-period",
    "health-start-interval",
    "memory",
    "memory-reservation",
    "cpus",
    "cpu-shares",
    "pids-limit",
    "shm-size",
    "cap-add",
    "cap-drop",
    "security-opt",
    "pull",
    "platform",
    "restart",
    "stop-signal",
    "stop-timeout",
    "log-driver",
    "log-opt",
    "expose",
    "network",
    "net",
];
/// Flags without one.
const SWITCHES: &[&str] = &[
    "privileged",
    "read-only",
    "init",
    "no-healthcheck",
    "tty",
    "interactive",
    "rm",
    "detach",
    "publish-all",
    "quiet",
    "oom-kill-disable",
];

fn long(letter: char) -> Option<&'static str> {
    Some(match letter {
        'e' => "env",
        'v' => "volume",
        'p' => "publish",
        'h' => "hostname",
        'l' => "label",
        'u' => "user",
        'w' => "workdir",
        'm' => "memory",
        'c' => "cpu-shares",
        't' => "tty",
        'i' => "interactive",
        'd' => "detach",
        'P' => "publish-all",
        'q' => "quiet",
        _ => return None,
    })
}

/// Reads the flags.
pub(crate) fn parse(text: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let (name, inline) = if let Some(flag) = word.strip_prefix("--") {
            match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (flag.to_owned(), None),
            }
        } else if let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) {
            let letter = flag.chars().next().unwrap_or_default();
            let Some(name) = long(letter) else {
                return Err(format!("the option '{word}' is not supported for containers here"));
            };
            let rest = &flag[letter.len_utf8()..];
            if SWITCHES.contains(&name) {
                // `-it`: the rest are switches too.
                if let Some(bad) = rest.chars().find(|c| long(*c).is_none_or(|name| !SWITCHES.contains(&name))) {
                    return Err(format!("the option '-{bad}' in '{word}' is not supported for containers here"));
                }
                (name.to_owned(), None)
            } else {
                (name.to_owned(), Some(rest.trim_start_matches('=').to_owned()).filter(|rest| !rest.is_empty()))
            }
        } else {
            return Err(format!("'{word}' in the options of a container is not a flag"));
        };
        if SWITCHES.contains(&name.as_str()) {
            options.switch(&name, inline.as_deref() != Some("false"));
        } else if VALUED.contains(&name.as_str()) {
            let value = inline.or_else(|| words.next()).ok_or_else(|| format!("the option --{name} needs a value"))?;
            options.value(&name, &value)?;
        } else {
            return Err(format!("the option '--{name}' is not supported for containers here"));
        }
    }
    Ok(options)
}

impl Options {
    fn switch(&mut self, name: &str, on: bool) {
        match name {
            "privileged" => self.privileged = on,
            "read-only" => self.read_only = on,
            "init" => self.init = on,
            "no-healthcheck" => self.health.none = on,
            // Terminals, removal and detachment are the runner's business.
            _ => {}
        }
    }

    fn value(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| {
            text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| bad(name, value))
        };
        match name {
            "env" => {
                let (key, value) = value.split_once('=').ok_or_else(|| {
                    format!("the option --env {value} takes its value from the runner, which is not supported: write {value}=VALUE")
                })?;
                self.env.push((key.to_owned(), value.to_owned()));
            }
            "volume" => self.volumes.push(value.to_owned()),
            "publish" => self.ports.push(value.to_owned()),
            "tmpfs" => self.tmpfs.push(value.split(':').next().unwrap_or(value).to_owned()),
            "mount" => self.mount(value)?,
            "add-host" => {
                let (host, address) = value.split_once([':', '=']).ok_or_else(|| bad(name, value))?;
                let address = if address == "host-gateway" { "127.0.0.1" } else { address };
                self.hosts.push((host.to_owned(), address.to_owned()));
            }
            "network-alias" | "net-alias" | "name" => self.aliases.push(value.to_owned()),
            "hostname" => self.hostname = Some(value.to_owned()),
            "user" => self.user = Some(value.to_owned()),
            "workdir" => self.workdir = Some(value.to_owned()),
            "entrypoint" => self.entrypoint = Some(value.to_owned()),
            "health-cmd" => self.health.command = Some(value.to_owned()),
            "health-interval" => self.health.interval = Some(duration(value).ok_or_else(|| bad(name, value))?),
            "health-timeout" => self.health.timeout = Some(duration(value).ok_or_else(|| bad(name, value))?),
            "health-start-period" => self.health.start_period = Some(duration(value).ok_or_else(|| bad(name, value))?),
            "health-retries" => self.health.retries = Some(value.parse().map_err(|_| bad(name, value))?),
            "memory" => self.memory = Some(bytes(value).ok_or_else(|| bad(name, value))?),
            "shm-size" => self.shm = Some(bytes(value).ok_or_else(|| bad(name, value))?),
            "cpus" => self.cpu_millis = Some((number(value)? * 1000.0) as u64),
            "pids-limit" => self.pids = value.parse().ok(),
            "cap-add" => self.cap_add.push(value.trim_start_matches("CAP_").to_ascii_uppercase()),
            "cap-drop" => self.cap_drop.push(value.trim_start_matches("CAP_").to_ascii_uppercase()),
            "security-opt" => match value.replace(':', "=").as_str() {
                "seccomp=unconfined" => self.seccomp_off = true,
                "no-new-privileges" | "no-new-privileges=true" => self.no_new_privileges = true,
                text if text.starts_with("apparmor=") || text.starts_with("label=") => {}
                _ => return Err(bad(name, value)),
            },
            "network" | "net" => {
                return Err(format!(
                    "the option --{name} {value} is not supported: the runner itself connects the containers of a job"
                ));
            }
            // What changes nothing for a container that lives as long as its job.
            _ => {}
        }
        Ok(())
    }

    fn mount(&mut self, text: &str) -> Result<(), String> {
        let get = |names: &[&str]| {
            text.split(',')
                .filter_map(|part| part.split_once('='))
                .find(|(name, _)| names.contains(name))
                .map(|(_, value)| value.to_owned())
        };
        let target = get(&["target", "dst", "destination"]).ok_or_else(|| bad("mount", text))?;
        match get(&["type"]).as_deref().unwrap_or("volume") {
            "tmpfs" => self.tmpfs.push(target),
            "bind" | "volume" => {
                let readonly =
                    text.split(',').any(|part| ["readonly", "ro", "readonly=true", "ro=true"].contains(&part));
                let suffix = if readonly { ":ro" } else { "" };
                self.volumes.push(match get(&["source", "src"]) {
                    Some(source) => format!("{source}:{target}{suffix}"),
                    None => target,
                });
            }
            _ => return Err(bad("mount", text)),
        }
        Ok(())
    }
}

fn bad(name: &str, value: &str) -> String {
    format!("the option --{name} {value} is not supported for containers here")
}

/// `1m30s`, `500ms`, `10s`; a bare number is seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += number
            * match &rest[digits..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok().filter(|_| !text.is_empty())
}

/// `512m`, `1g`, `1073741824`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_end_matches('b').trim_end_matches('i');
    let (number, factor) = match lower.chars().last()? {
        'k' => (&lower[..lower.len() - 1], 1 << 10),
        'm' => (&lower[..lower.len() - 1], 1 << 20),
        'g' => (&lower[..lower.len() - 1], 1 << 30),
        't' => (&lower[..lower.len() - 1], 1_u64 << 40),
        _ => (lower, 1),
    };
    let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    Some((number * factor as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_githubs_documentation() {
        let found = parse(
            "--health-cmd \"redis-cli ping\" --health-interval 10s --health-timeout=1m5s --health-retries 5 -e A=b --cpus 1.5 -m 512m --hostname db -v data:/var/lib/x --user 1000:1000 -it --init",
        )
        .unwrap();
        assert_eq!(found.health.command.as_deref(), Some("redis-cli ping"));
        assert_eq!(found.health.interval, Some(Duration::from_secs(10)));
        assert_eq!(found.health.timeout, Some(Duration::from_secs(65)));
        assert_eq!(found.health.retries, Some(5));
        assert_eq!(found.env, [("A".to_owned(), "b".to_owned())]);
        assert_eq!((found.cpu_millis, found.memory), (Some(1500), Some(512 << 20)));
        assert_eq!(found.hostname.as_deref(), Some("db"));
        assert_eq!(found.volumes, ["data:/var/lib/x"]);
        assert_eq!(found.user.as_deref(), Some("1000:1000"));
        assert!(found.init);
        assert_eq!(parse("").unwrap(), Options::default());
        assert_eq!(parse("--mount type=bind,src=/a,dst=/b,readonly").unwrap().volumes, ["/a:/b:ro"]);
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        for (text, part) in [
            ("--gpus all", "--gpus"),
            ("--network host", "--network host"),
            ("--device /dev/kvm", "--device"),
            ("-z", "'-z'"),
            ("redis", "not a flag"),
            ("--health-interval soon", "soon"),
            ("--env HOME", "HOME=VALUE"),
            ("--memory", "needs a value"),
            ("--ulimit nofile=1", "--ulimit"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
