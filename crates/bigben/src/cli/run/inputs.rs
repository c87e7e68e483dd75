//! What is given on the command line: pairs, secrets, files of variables.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

/// `KEY=VALUE` items.
pub fn pairs(items: &[String], flag: &str) -> Result<BTreeMap<String, String>> {
    let pair = |item: &String| {
        let (name, value) = item.split_once('=').ok_or_else(|| anyhow!("{flag} {item}: write {flag} {item}=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    items.iter().map(pair).collect()
}

/// `KEY:VALUE` items.
pub fn matrix(items: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |item: &String| {
        let (name, value) =
            item.split_once(':').ok_or_else(|| anyhow!("--matrix {item}: write --matrix {item}:VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    items.iter().map(pair).collect()
}

/// Secrets: given, from the environment, or asked for on the terminal.
pub fn secrets(items: &[String]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for item in items {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => match std::env::var(item) {
                Ok(value) => (item.clone(), value),
                Err(_) => (item.clone(), ask(item)?),
            },
        };
        out.insert(name, value);
    }
    Ok(out)
}

/// Reads a secret from the terminal, without showing it.
fn ask(name: &str) -> Result<String> {
    use std::io::{BufRead, IsTerminal};
    use std::os::fd::AsFd;

    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("the secret {name} is not set: set the variable {name}, or give --secret {name}=VALUE");
    }
    anstream::eprint!("{name}: ");
    let before = tcgetattr(stdin.as_fd()).context("cannot ask for a secret")?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &quiet).context("cannot ask for a secret")?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &before).context("cannot restore the terminal")?;
    anstream::eprintln!();
    read.context("cannot read the secret")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A file of `KEY=VALUE` lines, with comments and quotes as in a `.env` file.
pub fn env_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut out = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| anyhow!("{}:{}: '{line}' is not KEY=VALUE", path.display(), number + 1))?;
        out.insert(name.trim().to_owned(), unquoted(value.trim()));
    }
    Ok(out)
}

fn unquoted(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = inner('\'') {
        return text.to_owned();
    }
    if let Some(text) = inner('"') {
        return text.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
    }
    value.split(" #").next().unwrap_or(value).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        std::fs::write(&path, "# c\nA=1\nexport B='two words'\nC=\"x\\ny\"\nD=a # b\nE=\n\n").unwrap();
        let found = env_file(&path).unwrap();
        let expected = [("A", "1"), ("B", "two words"), ("C", "x\ny"), ("D", "a"), ("E", "")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        std::fs::write(&path, "A=1\nnothing\n").unwrap();
        assert!(env_file(&path).unwrap_err().to_string().ends_with(":2: 'nothing' is not KEY=VALUE"));
    }

    #[test]
    fn items() {
        assert_eq!(pairs(&["a=b=c".into()], "--var").unwrap()["a"], "b=c");
        assert!(pairs(&["a".into()], "--var").unwrap_err().to_string().contains("--var a=VALUE"));
        assert_eq!(matrix(&["os:linux".into()]).unwrap(), [("os".to_owned(), "linux".to_owned())]);
        assert!(matrix(&["os".into()]).is_err());
        assert_eq!(secrets(&["S=x".into()]).unwrap()["S"], "x");
    }
}
