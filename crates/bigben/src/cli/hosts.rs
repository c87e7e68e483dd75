//! `bigben hosts`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::InstanceArgs;
use crate::client::Client;
use crate::daemon::Status;

/// Maintain the hosts file, for host names that do not resolve by themselves
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Write the block
    #[arg(long, conflicts_with = "remove", required_unless_present = "remove")]
    write: bool,
    /// Take it out
    #[arg(long)]
    remove: bool,
    /// The file
    #[arg(long, value_name = "FILE", default_value = "/etc/hosts")]
    file: PathBuf,
}

const BEGIN: &str = "# BEGIN bigben";
const END: &str = "# END bigben";

/// Writes or removes the marked block.
pub fn run(args: &Args) -> Result<ExitCode> {
    let old = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let rest = without_block(&old).with_context(|| format!("{} is left as it is", args.file.display()))?;
    let new = if args.write {
        let state = args.instance.state()?;
        let status: Status = Client::new(&state)?.request("GET", "/status", None)?;
        with_block(&rest, &names(&status))
    } else {
        rest
    };
    if new != old {
        write(&args.file, &new)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The names in the files: what `.localhost` stands for.
fn names(status: &Status) -> Vec<String> {
    let urls = status.applications.iter().flat_map(|app| &app.urls).chain(&status.console);
    let mut names: Vec<String> = urls
        .filter_map(|url| {
            let host = url.split("://").nth(1)?.split(['/', ':']).next()?;
            Some(format!("{}.local", host.strip_suffix(".localhost")?))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn with_block(rest: &str, names: &[String]) -> String {
    let mut text = rest.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(BEGIN);
    text.push('\n');
    for name in names {
        text.push_str(&format!("127.0.0.1 {name}\n"));
    }
    text.push_str(END);
    text.push('\n');
    text
}

fn without_block(text: &str) -> Result<String> {
    let Some(begin) = text.find(BEGIN) else { return Ok(text.to_owned()) };
    let Some(end) = text[begin..].find(END) else {
        bail!("it has a line \"{BEGIN}\" without \"{END}\"; mend it by hand");
    };
    let after = &text[begin + end + END.len()..];
    Ok(format!("{}{}", &text[..begin], after.strip_prefix('\n').unwrap_or(after)))
}

/// In place: the file may be a mount of its own, which cannot be renamed over.
fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}; it takes root's rights", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_comes_and_goes_and_the_rest_stays() {
        let rest = "127.0.0.1 localhost\n";
        let with = with_block(rest, &["a.local".to_owned()]);
        assert_eq!(with, "127.0.0.1 localhost\n# BEGIN bigben\n127.0.0.1 a.local\n# END bigben\n");
        assert_eq!(without_block(&with).unwrap(), rest);
        assert_eq!(without_block(&format!("{with}::1 x\n")).unwrap(), "127.0.0.1 localhost\n::1 x\n");
        assert_eq!(without_block(rest).unwrap(), rest);
        assert!(without_block("# BEGIN bigben\nx").is_err());
    }
}
