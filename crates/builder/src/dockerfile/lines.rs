//! Physical lines to logical ones: parser directives, comments, continuations and heredoc bodies.
//!
//! Follows `parser.go` of BuildKit's Dockerfile frontend. Knows instruction names only as far as heredocs need them.

use super::ParseError;
use super::ast::{Heredoc, Span};
use super::check::Warning;
use super::heredoc;

/// The parser directives at the top of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# escape=`: the continuation and escape character, `\` or `` ` ``.
    pub escape: char,
    /// `# syntax=`: the frontend asked for; noted and otherwise not used, because this is the frontend.
    pub syntax: Option<String>,
    /// `# check=`: settings of build checks, as written (see [`super::check::Settings`]).
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Directives { escape: '\\', syntax: None, check: None }
    }
}

/// One logical line: an instruction with its continuation lines joined and its heredocs taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub span: Span,
    /// Joined text without trailing white space.
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    /// Comments right above it, without `#`.
    pub comments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    pub directives: Directives,
    pub nodes: Vec<Node>,
    pub warnings: Vec<Warning>,
}

/// Splits a Dockerfile in logical lines.
pub(crate) fn split(text: &str) -> Result<Lines, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut physical = text.split_inclusive('\n').enumerate().map(|(at, line)| (at + 1, line));
    let mut directives = Directives::default();
    let mut directives_done = false;
    let mut seen: Vec<String> = Vec::new();
    let mut nodes = Vec::new();
    let mut warnings = Vec::new();
    let mut comments = Vec::new();
    while let Some((start, raw)) = physical.next() {
        if !directives_done {
            match directive(raw) {
                Some((key, value)) => {
                    let span = Span { start, end: start };
                    if seen.contains(&key) {
                        return Err(ParseError::new(span, format!("only one {key} parser directive can be used")));
                    }
                    match key.as_str() {
                        "escape" => directives.escape = escape_of(value, span)?,
                        "syntax" => directives.syntax = Some(value.to_owned()),
                        _ => directives.check = Some(value.to_owned()),
                    }
                    seen.push(key);
                    continue;
                }
                None => directives_done = true,
            }
        }
        if is_comment(raw) {
            match raw.trim_start()[1..].trim() {
                // Begins anew, as an empty line does.
                "" => comments.clear(),
                text => comments.push(text.to_owned()),
            }
            continue;
        }
        let (mut joined, mut complete) = continuation(trim_newline(raw).trim_start(), directives.escape);
        if complete && joined.trim().is_empty() {
            comments.clear();
            continue;
        }
        let mut end = start;
        let mut empty_continuation = false;
        while !complete {
            let Some((at, raw)) = physical.next() else { break };
            end = at;
            if is_comment(raw) {
                continue;
            }
            if raw.trim().is_empty() {
                empty_continuation = true;
                continue;
            }
            let (more, done) = continuation(trim_newline(raw), directives.escape);
            joined.push_str(&more);
            complete = done;
        }
        if empty_continuation {
            warnings.push(Warning::new("NoEmptyContinuation", Span { start, end }, "Empty continuation line"));
        }
        let text = joined.trim().to_owned();
        if text.is_empty() {
            continue;
        }
        let mut heredocs = Vec::new();
        if text.contains("<<") && heredoc::allowed(&text) {
            for mut doc in heredoc::in_line(&text) {
                let mut terminated = false;
                for (at, raw) in physical.by_ref() {
                    end = at;
                    let line = trim_newline(raw);
                    let candidate = if doc.chomp { line.trim_start_matches('\t') } else { line };
                    if candidate == doc.name {
                        terminated = true;
                        break;
                    }
                    doc.content.push_str(raw);
                }
                if !terminated {
                    return Err(ParseError::new(Span { start, end }, "unterminated heredoc"));
                }
                heredocs.push(doc);
            }
        }
        let comments = std::mem::take(&mut comments);
        nodes.push(Node { span: Span { start, end }, text, heredocs, comments });
    }
    Ok(Lines { directives, nodes, warnings })
}

/// `# key=value`, for the known keys only.
fn directive(line: &str) -> Option<(String, &str)> {
    let rest = line.strip_prefix('#')?.trim();
    let (key, value) = rest.split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    let value = value.trim();
    (matches!(key.as_str(), "escape" | "syntax" | "check") && !value.is_empty()).then_some((key, value))
}

fn escape_of(value: &str, span: Span) -> Result<char, ParseError> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(ParseError::new(span, format!("invalid ESCAPE '{other}' does not match ` or \\"))),
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without its continuation character, and whether the logical line ends here.
fn continuation(line: &str, escape: char) -> (String, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), false),
        _ => (line.to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        split(text).unwrap().nodes.into_iter().map(|node| node.text).collect()
    }

    #[test]
    fn joins_continuations_over_comments_and_blank_lines() {
        assert_eq!(texts("RUN a \\\n  # note\n\n  && b\nCMD c\n"), ["RUN a   && b", "CMD c"]);
        assert_eq!(split("RUN a \\\n\n b\n").unwrap().warnings.len(), 1);
    }

    #[test]
    fn a_doubled_escape_does_not_continue() {
        assert_eq!(texts("RUN a \\\\\nCMD b\n"), ["RUN a \\\\", "CMD b"]);
        assert_eq!(texts("RUN a \\   \n b\n"), ["RUN a  b"]);
        assert_eq!(texts("\\\nRUN a"), ["RUN a"]);
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let lines = split("# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b\n").unwrap();
        assert_eq!(lines.directives.escape, '`');
        assert_eq!(lines.directives.syntax.as_deref(), Some("docker/dockerfile:1"));
        assert_eq!(lines.nodes[0].text, "RUN a  b");
        assert_eq!(split("# about\n# escape=`\nRUN a\n").unwrap().directives.escape, '\\');
        assert_eq!(split("# unknown=x\n# escape=`\nRUN a\n").unwrap().directives.escape, '\\');
        assert!(split("# escape=x\n").is_err());
        assert!(split("# escape=`\n# escape=`\n").is_err());
    }

    #[test]
    fn heredocs_leave_the_line_and_keep_their_text() {
        let lines = split("RUN <<EOF\n# kept\n\na \\\nEOF\nCOPY <<-A <<'B' /x/\n\t1\n\tA\n$2\nB\n").unwrap();
        assert_eq!(lines.nodes[0].heredocs[0].content, "# kept\n\na \\\n");
        assert!(lines.nodes[0].heredocs[0].expand);
        let docs = &lines.nodes[1].heredocs;
        assert_eq!((docs[0].name.as_str(), docs[0].chomp, docs[0].content.as_str()), ("A", true, "\t1\n"));
        assert_eq!((docs[1].name.as_str(), docs[1].expand, docs[1].content.as_str()), ("B", false, "$2\n"));
        assert_eq!(lines.nodes[1].span, Span { start: 6, end: 10 });
        assert!(split("RUN <<EOF\nx\n").unwrap_err().message.contains("unterminated heredoc"));
    }

    #[test]
    fn carriage_returns_and_byte_order_marks_are_ignored() {
        assert_eq!(texts("\u{feff}FROM a\r\nRUN b \\\r\n c\r\n"), ["FROM a", "RUN b  c"]);
    }
}
