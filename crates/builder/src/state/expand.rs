//! Instructions that touch files, with all their words expanded.

use super::{Effect, Inputs, State};
use crate::dockerfile::ast::{Command, Mount, Network};
use crate::dockerfile::words::Lex;
use crate::dockerfile::{AddCopy, Heredoc};

impl State {
    pub(super) fn expand_copy(
        &self,
        copy: &AddCopy,
        add: bool,
        inputs: &Inputs,
        word: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Effect, String> {
        let name = if add { "ADD" } else { "COPY" };
        let mut out = copy.clone();
        for source in &mut out.sources {
            *source = word(source)?;
        }
        out.sources.retain(|source| !source.is_empty());
        if out.sources.is_empty() && out.heredocs.is_empty() {
            return Err(format!("{name} requires at least one source that is not empty"));
        }
        let lex = Lex::heredoc(inputs.escape);
        for doc in &mut out.heredocs {
            doc.content = doc.text();
            doc.chomp = false;
            if doc.expand {
                doc.content = lex.word(&doc.content, &|name| self.variable(name))?;
            }
        }
        let dest = word(&copy.dest)?;
        out.dest = self.absolute(&dest);
        for text in [&mut out.chown, &mut out.chmod, &mut out.checksum].into_iter().flatten() {
            *text = word(text)?;
        }
        for pattern in &mut out.exclude {
            *pattern = word(pattern)?;
        }
        let mut shown = name.to_owned();
        for (flag, value) in [("chown", &out.chown), ("chmod", &out.chmod)] {
            if let Some(value) = value {
                shown.push_str(&format!(" --{flag}={value}"));
            }
        }
        for (flag, on) in [("link", out.link), ("parents", out.parents)] {
            if on {
                shown.push_str(&format!(" --{flag}"));
            }
        }
        for source in &out.sources {
            shown.push_str(&format!(" {source}"));
        }
        for doc in &out.heredocs {
            shown.push_str(&format!(" <<{}", doc.name));
        }
        shown.push_str(&format!(" {dest} # buildkit"));
        Ok(Effect::Copy { copy: out, add, shown })
    }

    pub(super) fn expand_run(
        &self,
        command: &Command,
        heredocs: &[Heredoc],
        mounts: &[Mount],
        network: Network,
        insecure: bool,
        word: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Effect, String> {
        let mut mounts = mounts.to_vec();
        for mount in &mut mounts {
            for text in [&mut mount.source, &mut mount.target, &mut mount.id, &mut mount.from].into_iter().flatten() {
                *text = word(text)?;
            }
        }
        let (args, display) = match command {
            Command::Exec(words) => (words.clone(), words.join(" ")),
            Command::Shell(text) => match heredocs {
                [] => (self.with_shell(command), text.clone()),
                [doc] if is_only_heredoc(text) => {
                    let body = doc.text();
                    if body.starts_with("#!") {
                        (vec![format!("/dev/pipes/{}", doc.name)], text.clone())
                    } else {
                        let mut args = self.shell();
                        args.push(body);
                        (args, text.clone())
                    }
                }
                docs => {
                    // The shell itself reads the heredocs: give them back to it.
                    let mut full = text.clone();
                    for doc in docs {
                        full.push('\n');
                        full.push_str(&doc.content);
                        full.push_str(&doc.name);
                    }
                    full.push('\n');
                    let mut args = self.shell();
                    args.push(full);
                    (args, text.clone())
                }
            },
        };
        Ok(Effect::Run { args, display, heredocs: heredocs.to_vec(), mounts, network, insecure })
    }
}

fn is_only_heredoc(text: &str) -> bool {
    crate::dockerfile::words::Lex::new('\\').words(text, &|_| None).is_ok_and(|words| words.len() == 1)
        && text.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("<<")
}
