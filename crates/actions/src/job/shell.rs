//! The shells of `run`: how each is called, with GitHub's flags.

use std::path::{Path, PathBuf};

use super::process::which;

/// How to run a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// The template that the log shows, with `{0}` for the script.
    pub template: String,
    /// The script file's extension.
    pub extension: &'static str,
    /// What is put before the script.
    pub prefix: &'static str,
    /// What is put after the script.
    pub suffix: &'static str,
    /// Where its program is, when that was looked up to choose it.
    pub program: Option<PathBuf>,
}

impl Shell {
    /// The shell of a `shell:` value on Linux; none given means `bash -e`, or `sh -e` without bash on the path.
    pub fn named(name: Option<&str>, path: &str) -> Result<Self, String> {
        let plain = |template: &str| Shell {
            template: template.to_owned(),
            extension: ".sh",
            prefix: "",
            suffix: "",
            program: None,
        };
        let Some(name) = name else {
            let bash = which("bash", path);
            let shell = plain(if bash.is_some() { "bash -e {0}" } else { "sh -e {0}" });
            return Ok(Shell { program: bash, ..shell });
        };
        Ok(match name {
            "bash" => plain("bash --noprofile --norc -e -o pipefail {0}"),
            "sh" => plain("sh -e {0}"),
            "python" => Shell { extension: ".py", ..plain("python {0}") },
            "pwsh" => Shell {
                template: "pwsh -command \". '{0}'\"".to_owned(),
                extension: ".ps1",
                prefix: "$ErrorActionPreference = 'stop'\n",
                suffix: "\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }",
                program: None,
            },
            "powershell" | "cmd" => {
                return Err(format!("the shell '{name}' exists only on Windows; use bash, sh, pwsh or python"));
            }
            custom if custom.contains("{0}") => plain(custom),
            unknown => {
                return Err(format!(
                    "Invalid shell option. Shell must be a valid built-in (bash, sh, cmd, powershell, pwsh) or a format string containing '{{0}}': '{unknown}'"
                ));
            }
        })
    }

    /// The words of the command for a script file.
    pub fn command(&self, script: &Path) -> Vec<String> {
        let script = script.to_string_lossy();
        words(&self.template).into_iter().map(|word| word.replace("{0}", &script)).collect()
    }
}

/// Splits a command line at blanks outside quotes.
pub fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            // Apostrophes stay: `pwsh -command ". '{0}'"` needs them, and they stand inside the double quotes.
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let command = |name: Option<&str>| Shell::named(name, "/usr/bin:/bin").unwrap().command(Path::new("/t/a b.sh"));
        assert_eq!(command(None), ["bash", "-e", "/t/a b.sh"]);
        assert_eq!(command(Some("bash")), ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "/t/a b.sh"]);
        assert_eq!(command(Some("pwsh")), ["pwsh", "-command", ". '/t/a b.sh'"]);
        assert_eq!(command(Some("perl -w {0}")), ["perl", "-w", "/t/a b.sh"]);
        assert_eq!(Shell::named(None, "/nowhere").unwrap().template, "sh -e {0}");
        assert!(Shell::named(Some("cmd"), "").unwrap_err().contains("Windows"));
        assert!(Shell::named(Some("fish"), "").unwrap_err().contains("Invalid shell option"));
    }
}
