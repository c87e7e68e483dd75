//! The characters of a TOML text, taken one by one, with the line that a message names.

mod text;

use super::super::quote::{quote, quote_with};

/// What is wrong, and the line it is said of.
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) message: String,
}

pub(super) type Taken<T> = Result<T, Wrong>;

/// How a value was written.
pub(super) enum Token {
    Text(String),
    Bool(bool),
    Integer(String),
    Float(String),
    Date(String),
    Array,
    Table,
}

pub(super) struct Scan<'t> {
    text: &'t str,
    pos: usize,
    line: usize,
    at_end: bool,
}

pub(super) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

pub(super) fn is_break(c: char) -> bool {
    c == '\n' || c == '\r'
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// A character, or what stands for the end, as `%q` has it.
fn shown(c: Option<char>) -> String {
    quote_with(&c.unwrap_or('\0').to_string(), '\'', false)
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Scan<'t> {
        Scan { text, pos: 0, line: 1, at_end: false }
    }

    /// A message of where the scan is.
    pub(super) fn wrong<T>(&self, message: impl Into<String>) -> Taken<T> {
        Err(Wrong { line: self.line, message: message.into() })
    }

    /// A message of what was just taken: of a line break, the line that it ends.
    pub(super) fn wrong_last<T>(&self, message: impl Into<String>) -> Taken<T> {
        let broken = self.text[..self.pos].ends_with('\n');
        Err(Wrong { line: self.line - usize::from(broken), message: message.into() })
    }

    fn newline_in_string<T>(&self) -> Taken<T> {
        let message = "strings cannot contain newlines".to_owned();
        Err(Wrong { line: self.line.saturating_sub(1), message })
    }

    pub(super) fn next(&mut self) -> Taken<Option<char>> {
        let Some(c) = self.text[self.pos..].chars().next() else {
            self.at_end = true;
            return Ok(None);
        };
        if c == '\n' {
            self.line += 1;
        }
        let lone = c == '\r' && self.text.as_bytes().get(self.pos + 1) != Some(&b'\n');
        if (c as u32) < 0x20 && !matches!(c, '\t' | '\n' | '\r') || c == '\x7f' || lone {
            let message = format!("TOML files cannot contain control characters: '0x{:02x}'", c as u32);
            return Err(Wrong { line: self.line, message });
        }
        self.pos += c.len_utf8();
        Ok(Some(c))
    }

    pub(super) fn back(&mut self) {
        if std::mem::take(&mut self.at_end) {
            return;
        }
        let Some(c) = self.text[..self.pos].chars().next_back() else { return };
        self.pos -= c.len_utf8();
        if c == '\n' {
            self.line -= 1;
        }
    }

    pub(super) fn peek(&mut self) -> Taken<Option<char>> {
        let c = self.next()?;
        self.back();
        Ok(c)
    }

    pub(super) fn accept(&mut self, wanted: char) -> Taken<bool> {
        if self.next()? == Some(wanted) {
            return Ok(true);
        }
        self.back();
        Ok(false)
    }

    pub(super) fn skip(&mut self, skipped: impl Fn(char) -> bool) -> Taken<()> {
        while self.next()?.is_some_and(&skipped) {}
        self.back();
        Ok(())
    }

    /// The rest of a comment; the line break stays.
    pub(super) fn comment(&mut self) -> Taken<()> {
        self.skip(|c| !is_break(c))
    }

    /// What follows a table's head or a value at the top.
    pub(super) fn end_of_line(&mut self) -> Taken<()> {
        self.skip(is_blank)?;
        match self.next()? {
            None => Ok(()),
            Some(c) if is_break(c) => Ok(()),
            Some('#') => self.comment(),
            c => self.wrong(format!(
                "expected a top-level item to end with a newline, comment, or EOF, but got {} instead",
                shown(c)
            )),
        }
    }

    /// The parts of a key up to its `=`, and the line of the first.
    pub(super) fn key(&mut self) -> Taken<(Vec<String>, usize)> {
        let mut parts = Vec::new();
        let mut first = self.line;
        loop {
            self.skip(is_blank)?;
            let start = parts.is_empty();
            let part = match self.peek()? {
                Some('=') | None if start => return self.wrong("unexpected '=': key name appears blank"),
                Some('.') if start => return self.wrong("unexpected '.': keys cannot start with a '.'"),
                Some('=') | None => return self.wrong("unexpected '='"),
                Some('.') => return self.wrong("unexpected '.'"),
                Some('"' | '\'') => self.quoted_name()?,
                _ => self.bare_name()?,
            };
            if start {
                first = self.line;
            }
            parts.push(part);
            self.skip(is_blank)?;
            match self.next()? {
                None => return self.wrong_last("unexpected EOF; expected key separator '='"),
                Some('.') => {}
                Some('=') => return Ok((parts, first)),
                c => return self.wrong_last(format!("expected '.' or '=', but got {} instead", shown(c))),
            }
        }
    }

    /// The parts of a table's name; its first bracket is taken. Says whether it is one of a list of tables.
    pub(super) fn table_name(&mut self) -> Taken<(Vec<String>, usize, bool)> {
        let listed = self.accept('[')?;
        let mut parts = Vec::new();
        let mut first = self.line;
        loop {
            self.skip(is_blank)?;
            let part = match self.peek()? {
                Some(']') | None => return self.wrong("unexpected end of table name (table names cannot be empty)"),
                Some('.') => return self.wrong("unexpected table separator (table names cannot be empty)"),
                Some('"' | '\'') => self.quoted_name()?,
                _ => self.bare_name()?,
            };
            if parts.is_empty() {
                first = self.line;
            }
            parts.push(part);
            self.skip(is_blank)?;
            match self.next()? {
                Some('.') => {}
                Some(']') => break,
                c => {
                    return self.wrong(format!("expected '.' or ']' to end table name, but got {} instead", shown(c)));
                }
            }
        }
        if listed {
            match self.next()? {
                Some(']') => {}
                c => {
                    let text = format!("expected end of table array name delimiter ']', but got {} instead", shown(c));
                    return self.wrong(text);
                }
            }
        }
        Ok((parts, first, listed))
    }

    fn bare_name(&mut self) -> Taken<String> {
        let from = self.pos;
        self.skip(is_bare)?;
        Ok(self.text[from..self.pos].to_owned())
    }

    fn quoted_name(&mut self) -> Taken<String> {
        match self.next()? {
            Some('"') => self.string(),
            _ => self.raw_string(),
        }
    }

    /// The next value's first piece: all of it, or for lists and tables the bracket.
    pub(super) fn value(&mut self) -> Taken<Token> {
        self.skip(is_blank)?;
        let from = self.pos;
        let c = self.next()?;
        match c {
            Some('0'..='9') => {
                self.back();
                return self.number(from);
            }
            Some('[') => return Ok(Token::Array),
            Some('{') => return Ok(Token::Table),
            Some('"') => {
                if self.accept('"')? {
                    if self.accept('"')? {
                        return self.long_string().map(Token::Text);
                    }
                    self.back();
                }
                return self.string().map(Token::Text);
            }
            Some('\'') => {
                if self.accept('\'')? {
                    if self.accept('\'')? {
                        return self.long_raw_string().map(Token::Text);
                    }
                    self.back();
                }
                return self.raw_string().map(Token::Text);
            }
            Some('.') => return self.wrong("floats must start with a digit, not '.'"),
            Some('i' | 'n') => {
                if self.accept('n')? && self.accept('f')? || self.accept('a')? && self.accept('n')? {
                    return Ok(Token::Float(self.text[from..self.pos].to_owned()));
                }
            }
            Some('-' | '+') => return self.signed(from),
            _ => {}
        }
        match c {
            None => self.wrong_last("unexpected EOF; expected value"),
            Some(c) if c.is_alphabetic() => {
                self.back();
                let from = self.pos;
                self.skip(char::is_alphabetic)?;
                match &self.text[from..self.pos] {
                    "true" => Ok(Token::Bool(true)),
                    "false" => Ok(Token::Bool(false)),
                    word => self.wrong(format!("expected value but found {} instead", quote(word))),
                }
            }
            c => self.wrong_last(format!("expected value but found {} instead", shown(c))),
        }
    }

    fn signed(&mut self, from: usize) -> Taken<Token> {
        let c = self.next()?;
        for (first, rest) in [('i', ['n', 'f']), ('n', ['a', 'n'])] {
            if c == Some(first) {
                if !self.accept(rest[0])? || !self.accept(rest[1])? {
                    return self.wrong(format!("invalid float: '{}'", &self.text[from..self.pos]));
                }
                return Ok(Token::Float(self.text[from..self.pos].to_owned()));
            }
        }
        match c {
            Some('0') => {
                if let Some(base @ ('b' | 'o' | 'x')) = self.peek()? {
                    let so_far = &self.text[from..self.pos];
                    return self.wrong(format!("cannot use sign with non-decimal numbers: '{so_far}{base}'"));
                }
                self.decimal(from)
            }
            Some('1'..='9') => self.decimal(from),
            Some('.') => self.wrong("floats must start with a digit, not '.'"),
            c => self.wrong(format!("expected a digit but got {}", shown(c))),
        }
    }

    /// A number, or a date, that begins with a digit.
    fn number(&mut self, from: usize) -> Taken<Token> {
        if self.next()? == Some('0') {
            let base = self.next()?;
            let (name, is_digit): (&str, fn(char) -> bool) = match base {
                Some('b') => ("not a binary number", |c| matches!(c, '0' | '1')),
                Some('o') => ("not an octal number", |c| matches!(c, '0'..='7')),
                Some('x') => ("not a hexadecimal number", |c| c.is_ascii_hexdigit()),
                _ => {
                    self.back();
                    return self.plain(from);
                }
            };
            let digit = self.peek()?;
            if !digit.is_some_and(is_digit) {
                let so_far = &self.text[from..self.pos];
                return self.wrong(format!("{name}: '{so_far}{}'", digit.unwrap_or('\0')));
            }
            self.skip(|c| is_digit(c) || c == '_')?;
            return Ok(Token::Integer(self.text[from..self.pos].to_owned()));
        }
        self.plain(from)
    }

    fn plain(&mut self, from: usize) -> Taken<Token> {
        self.skip(|c| c.is_ascii_digit())?;
        match self.next()? {
            Some('-' | ':') => {
                let rest = |c: char| c.is_ascii_digit() || "-:Tt .Zz+".contains(c);
                self.skip(rest)?;
                Ok(Token::Date(self.text[from..self.pos].trim().to_owned()))
            }
            _ => {
                self.back();
                self.decimal(from)
            }
        }
    }

    fn decimal(&mut self, from: usize) -> Taken<Token> {
        self.skip(|c| c.is_ascii_digit() || c == '_')?;
        if let Some('.' | 'e' | 'E') = self.peek()? {
            self.skip(|c| c.is_ascii_digit() || "_.-+eE".contains(c))?;
            return Ok(Token::Float(self.text[from..self.pos].to_owned()));
        }
        Ok(Token::Integer(self.text[from..self.pos].to_owned()))
    }
}
