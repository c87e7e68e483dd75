//! `--ulimit`: limits of the processes of a `RUN`.

use std::fmt;

use runtime::container::{self, Container, ExitStatus, Spec, Stdio};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// One limit: `nofile=1024:2048`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    name: &'static str,
    resource: Resource,
    soft: Option<u64>,
    hard: Option<u64>,
}

const NAMES: &[(&str, Resource)] = &[
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

impl Ulimit {
    /// Reads `NAME=SOFT[:HARD]`; -1 is no limit.
    ///
    /// # Errors
    /// What is wrong with it, in docker's words.
    pub fn parse(text: &str) -> Result<Ulimit, String> {
        let wrong = || format!("invalid ulimit argument: {text}");
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let (name, resource) = NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .copied()
            .ok_or_else(|| format!("invalid ulimit type: {name}"))?;
        let number = |text: &str| match text.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(value) => u64::try_from(value).map(Some).map_err(|_| wrong()),
            Err(_) => Err(wrong()),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        let above = match (soft, hard) {
            (Some(soft), Some(hard)) => soft > hard,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if above {
            return Err(format!("ulimit soft limit must be less than or equal to hard limit: {text}"));
        }
        Ok(Ulimit { name, resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: Option<u64>| value.map_or("-1".to_owned(), |value| value.to_string());
        write!(f, "{}={}:{}", self.name, text(self.soft), text(self.hard))
    }
}

/// Runs a container to its end, its first process under these limits.
pub(super) async fn run(spec: &Spec, stdio: Stdio, limits: &[Ulimit]) -> runtime::Result<ExitStatus> {
    if limits.is_empty() {
        return container::run_once(spec, stdio).await;
    }
    let mut container = Container::create(spec, stdio).await?;
    let limited = limit(container.pid(), limits);
    let status = match limited {
        Ok(()) => match container.start().await {
            Ok(()) => container.wait().await,
            Err(wrong) => Err(wrong),
        },
        Err(wrong) => Err(wrong),
    };
    container.delete().await?;
    status
}

fn limit(pid: i32, limits: &[Ulimit]) -> runtime::Result<()> {
    for one in limits {
        let new = Rlimit { current: one.soft, maximum: one.hard };
        prlimit(Pid::from_raw(pid), one.resource, new)
            .map_err(|wrong| runtime::Error::io(format!("set --ulimit {one}"), wrong))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        for (text, shown) in
            [("nofile=1024", "nofile=1024:1024"), ("nproc=5:10", "nproc=5:10"), ("core=-1", "core=-1:-1")]
        {
            assert_eq!(Ulimit::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["nofile", "what=1", "nofile=x", "nofile=2:1", "nofile=-1:5", "nofile=-2"] {
            assert!(Ulimit::parse(wrong).is_err(), "{wrong}");
        }
    }
}
