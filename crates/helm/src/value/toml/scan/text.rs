//! Strings, in each of their four forms.

use super::{Scan, Taken, Wrong, is_blank, is_break};
use crate::value::quote::quote;

impl Scan<'_> {
    pub(super) fn raw_string(&mut self) -> Taken<String> {
        let from = self.pos;
        loop {
            match self.next()? {
                None => return self.wrong_last("unexpected EOF; expected \"'\""),
                Some('\'') => return Ok(self.text[from..self.pos - 1].to_owned()),
                Some(c) if is_break(c) => return self.newline_in_string(),
                Some(_) => {}
            }
        }
    }

    pub(super) fn string(&mut self) -> Taken<String> {
        let mut out = String::new();
        loop {
            match self.next()? {
                None => return self.wrong_last("unexpected EOF; expected '\"'"),
                Some('"') => return Ok(out),
                Some('\\') => self.escape(&mut out)?,
                Some(c) if is_break(c) => return self.newline_in_string(),
                Some(c) => out.push(c),
            }
        }
    }

    /// What follows a backslash.
    pub(super) fn escape(&mut self, out: &mut String) -> Taken<()> {
        let from = self.pos;
        let c = self.next()?;
        out.push(match c {
            Some('b') => '\x08',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('f') => '\x0c',
            Some('r') => '\r',
            Some('e') => '\x1b',
            Some('"') => '"',
            Some('\\') => '\\',
            Some('x') => return self.code(from, 2, "two", out),
            Some('u') => return self.code(from, 4, "four", out),
            Some('U') => return self.code(from, 8, "eight", out),
            Some(c @ (' ' | '\t')) => {
                // The reader says so at the end of the text, not here.
                self.finish_string()?;
                return self.wrong(format!("invalid escape: '\\{c}'"));
            }
            c => return self.wrong(format!("invalid escape in string '\\{}'", c.unwrap_or('\0'))),
        });
        Ok(())
    }

    /// Goes on to the end of a text with an escape that is none.
    pub(super) fn finish_string(&mut self) -> Taken<()> {
        loop {
            match self.next()? {
                None => return self.wrong_last("unexpected EOF; expected '\"'"),
                Some('"') => return Ok(()),
                Some('\\') => {
                    self.next()?;
                }
                Some(c) if is_break(c) => return self.newline_in_string(),
                Some(_) => {}
            }
        }
    }

    pub(super) fn code(&mut self, from: usize, digits: usize, name: &str, out: &mut String) -> Taken<()> {
        for _ in 0..digits {
            if !self.next()?.is_some_and(|c| c.is_ascii_hexdigit()) {
                let what = &self.text[from..from + 1];
                // What was read of the text so far is in the message.
                let so_far = quote(&self.text[self.string_start(from)..self.pos]);
                return self
                    .wrong(format!("expected {name} hexadecimal digits after '\\{what}', but got {so_far} instead"));
            }
        }
        let hex = &self.text[from + 1..self.pos];
        match u32::from_str_radix(hex, 16).ok().and_then(char::from_u32) {
            Some(c) => out.push(c),
            None => return self.wrong(format!("Escaped character '\\u{hex}' is not valid UTF-8.")),
        }
        Ok(())
    }

    /// Where the text began in which there is a bad escape.
    pub(super) fn string_start(&self, at: usize) -> usize {
        let line = self.text[..at].rfind('\n').map_or(0, |n| n + 1);
        self.text[line..at].find('"').map_or(line, |n| line + n + 1)
    }

    /// A text between three quotes; they are taken.
    pub(super) fn long_string(&mut self) -> Taken<String> {
        let from = self.pos;
        loop {
            match self.next()? {
                None => return self.wrong_last("unexpected EOF; expected '\"\"\"'"),
                Some('\\') => match self.next()? {
                    Some(c) if is_break(c) || is_blank(c) => {}
                    Some('x' | 'u' | 'U' | 'b' | 't' | 'n' | 'f' | 'r' | 'e' | '"' | '\\') => {}
                    c => return self.wrong(format!("invalid escape in string '\\{}'", c.unwrap_or('\0'))),
                },
                Some('"') => {
                    if let Some(end) = self.closes('"')? {
                        return unescape(&joined(first_break(&self.text[from..end])), self.line);
                    }
                }
                Some(_) => {}
            }
        }
    }

    pub(super) fn long_raw_string(&mut self) -> Taken<String> {
        let from = self.pos;
        loop {
            match self.next()? {
                None => return self.wrong_last("unexpected EOF; expected \"'''\""),
                Some('\'') => {
                    if let Some(end) = self.closes('\'')? {
                        return Ok(first_break(&self.text[from..end]).to_owned());
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// After a quote: whether it is the first of the three that close; up to two more may belong to the text.
    pub(super) fn closes(&mut self, quote: char) -> Taken<Option<usize>> {
        let rest = &self.text[self.pos - 1..];
        let count = rest.bytes().take_while(|b| *b == quote as u8).count();
        if count < 3 {
            return Ok(None);
        }
        if count > 5 {
            let text = if quote == '"' { "unexpected '\"\"\"\"\"\"'" } else { "unexpected \"''''''\"" };
            return self.wrong(text);
        }
        let end = self.pos - 1 + count - 3;
        self.pos = end + 3;
        Ok(Some(end))
    }
}

/// Without the line break that a text begins with.
fn first_break(text: &str) -> &str {
    text.strip_prefix('\n').or_else(|| text.strip_prefix("\r\n")).unwrap_or(text)
}

/// Without what follows a backslash at the end of a line.
fn joined(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let blanks = after.len() - after.trim_start_matches([' ', '\t', '\r', '\n']).len();
        if let Some(more) = after.strip_prefix('\\') {
            out.push_str("\\\\");
            rest = more;
        } else if blanks > 0 && after[..blanks].contains('\n') {
            rest = &after[blanks..];
        } else {
            out.push('\\');
            rest = after;
        }
    }
    out + rest
}

/// The escapes of a long text, which were looked over before.
fn unescape(text: &str, line: usize) -> Taken<String> {
    let mut scan = Scan { text, pos: 0, line, at_end: false };
    let mut out = String::new();
    let said = |e: Wrong| Wrong { line, ..e };
    while let Some(c) = scan.text[scan.pos..].chars().next() {
        scan.pos += c.len_utf8();
        match c {
            '\\' => match scan.text[scan.pos..].chars().next() {
                Some(c) if is_blank(c) => return Err(Wrong { line, message: format!("invalid escape: '\\{c}'") }),
                _ => scan.escape(&mut out).map_err(said)?,
            },
            c => out.push(c),
        }
    }
    Ok(out)
}
