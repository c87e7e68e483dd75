//! The lexer of Go's `text/template`: text and actions to tokens.

use crate::value::text;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Comment,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    fn is_keyword(self) -> bool {
        matches!(
            self,
            Kind::Block
                | Kind::Break
                | Kind::Continue
                | Kind::Dot
                | Kind::Define
                | Kind::Else
                | Kind::End
                | Kind::If
                | Kind::Nil
                | Kind::Range
                | Kind::Template
                | Kind::With
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub kind: Kind,
    pub pos: usize,
    pub end: usize,
    pub line: u32,
    /// The message of an error.
    pub message: String,
}

pub(crate) struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    start: usize,
    line: u32,
    start_line: u32,
    paren_depth: i32,
    inside: bool,
    failed: bool,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || (c.is_numeric() && (c.is_ascii_digit() || unicode_digit(c)))
}

fn unicode_digit(c: char) -> bool {
    !c.is_ascii() && c.is_numeric() && !c.is_alphabetic()
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Self {
        Lexer { input, pos: 0, start: 0, line: 1, start_line: 1, paren_depth: 0, inside: false, failed: false }
    }

    pub(crate) fn text(&self, item: &Item) -> &'a str {
        self.input.get(item.pos..item.end).unwrap_or("")
    }

    fn rest(&self) -> &'a str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn item(&mut self, kind: Kind) -> Item {
        let item = Item { kind, pos: self.start, end: self.pos, line: self.start_line, message: String::new() };
        self.start = self.pos;
        self.start_line = self.line;
        item
    }

    fn count_lines(&mut self) {
        self.line += self.input[self.start..self.pos].bytes().filter(|&b| b == b'\n').count() as u32;
    }

    fn ignore(&mut self) {
        self.count_lines();
        self.start = self.pos;
        self.start_line = self.line;
    }

    fn error(&mut self, message: impl Into<String>) -> Item {
        self.failed = true;
        Item { kind: Kind::Error, pos: self.start, end: self.start, line: self.start_line, message: message.into() }
    }

    pub(crate) fn next_item(&mut self) -> Item {
        if self.failed {
            return Item { kind: Kind::Eof, pos: 0, end: 0, line: self.start_line, message: String::new() };
        }
        if self.inside { self.inside_action() } else { self.lex_text() }
    }

    fn lex_text(&mut self) -> Item {
        loop {
            let Some(x) = self.rest().find("{{") else {
                self.pos = self.input.len();
                if self.pos > self.start {
                    self.count_lines();
                    return self.item(Kind::Text);
                }
                return self.item(Kind::Eof);
            };
            if x > 0 {
                self.pos += x;
                let piece = &self.input[self.start..self.pos];
                let trimmed = if left_trim(&self.input[self.pos + 2..]) {
                    piece.len() - piece.trim_end_matches(is_space).len()
                } else {
                    0
                };
                self.pos -= trimmed;
                self.count_lines();
                let item = self.item(Kind::Text);
                self.pos += trimmed;
                self.ignore();
                if item.end > item.pos {
                    return item;
                }
            }
            // At a left delimiter.
            self.pos += 2;
            let trim = left_trim(self.rest());
            let marker = if trim { 2 } else { 0 };
            if self.input[self.pos + marker..].starts_with("/*") {
                self.pos += marker;
                self.ignore();
                self.pos += 2;
                let Some(x) = self.rest().find("*/") else { return self.error("unclosed comment") };
                self.pos += x + 2;
                let (delim, trim) = self.at_right_delim();
                if !delim {
                    return self.error("comment ends before closing delimiter");
                }
                self.count_lines();
                let _ = self.item(Kind::Comment);
                if trim {
                    self.pos += 2;
                }
                self.pos += 2;
                if trim {
                    self.skip_spaces();
                }
                self.ignore();
                continue;
            }
            let item = self.item(Kind::LeftDelim);
            self.inside = true;
            self.pos += marker;
            self.ignore();
            self.paren_depth = 0;
            return item;
        }
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start_matches(is_space).len();
    }

    fn at_right_delim(&self) -> (bool, bool) {
        let rest = self.rest();
        if right_trim(rest) && rest[2..].starts_with("}}") {
            return (true, true);
        }
        (rest.starts_with("}}"), false)
    }

    fn right_delim(&mut self) -> Item {
        let (_, trim) = self.at_right_delim();
        if trim {
            self.pos += 2;
            self.ignore();
        }
        self.pos += 2;
        let item = self.item(Kind::RightDelim);
        if trim {
            self.skip_spaces();
            self.ignore();
        }
        self.inside = false;
        item
    }

    fn inside_action(&mut self) -> Item {
        if self.at_right_delim().0 {
            if self.paren_depth == 0 {
                return self.right_delim();
            }
            return self.error("unclosed left paren");
        }
        let Some(c) = self.next() else { return self.error("unclosed action") };
        match c {
            c if is_space(c) => self.space(),
            '=' => self.item(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return self.error("expected :=");
                }
                self.item(Kind::Declare)
            }
            '|' => self.item(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => loop {
                match self.next() {
                    None => break self.error("unterminated raw quoted string"),
                    Some('`') => break self.item(Kind::RawString),
                    Some(_) => {}
                }
            },
            '$' => self.field_or_variable(Kind::Variable),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '.' if self.pos < self.input.len() && !self.rest().as_bytes()[0].is_ascii_digit() => {
                self.field_or_variable(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.pos -= 1;
                self.number()
            }
            c if is_alphanumeric(c) => self.identifier(),
            '(' => {
                self.paren_depth += 1;
                self.item(Kind::LeftParen)
            }
            ')' => {
                self.paren_depth -= 1;
                if self.paren_depth < 0 {
                    return self.error("unexpected right paren");
                }
                self.item(Kind::RightParen)
            }
            c if c.is_ascii_graphic() => self.item(Kind::Char),
            c => self.error(format!("unrecognized character in action: {}", code_point(Some(c)))),
        }
    }

    fn space(&mut self) -> Item {
        let mut spaces = 1;
        while self.peek().is_some_and(is_space) {
            self.next();
            spaces += 1;
        }
        let before = &self.input[self.pos - 1..];
        if right_trim(before) && before[2..].starts_with("}}") {
            self.pos -= 1;
            if self.input.as_bytes()[self.pos] == b'\n' {
                self.line -= 1;
            }
            if spaces == 1 {
                return self.right_delim();
            }
        }
        self.item(Kind::Space)
    }

    fn identifier(&mut self) -> Item {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        let word = &self.input[self.start..self.pos];
        if !self.at_terminator() {
            let c = self.peek();
            return self.error(format!("bad character {}", code_point(c)));
        }
        let kind = match word {
            "block" => Kind::Block,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "define" => Kind::Define,
            "else" => Kind::Else,
            "end" => Kind::End,
            "if" => Kind::If,
            "range" => Kind::Range,
            "nil" => Kind::Nil,
            "template" => Kind::Template,
            "with" => Kind::With,
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.item(kind)
    }

    fn field_or_variable(&mut self, kind: Kind) -> Item {
        if self.at_terminator() {
            return self.item(if kind == Kind::Variable { Kind::Variable } else { Kind::Dot });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            let c = self.peek();
            return self.error(format!("bad character {}", code_point(c)));
        }
        self.item(kind)
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) if is_space(c) => true,
            Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            _ => self.rest().starts_with("}}"),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, message: &str) -> Item {
        loop {
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return self.error(message);
                    }
                }
                None | Some('\n') => return self.error(message),
                Some(c) if c == quote => return self.item(kind),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Item {
        let bad = |l: &mut Self| {
            let text = crate::value::quote::quote(&l.input[l.start..l.pos]);
            l.error(format!("bad number syntax: {text}"))
        };
        if !self.scan_number() {
            return bad(self);
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.input[..self.pos].ends_with('i') {
                return bad(self);
            }
            return self.item(Kind::Complex);
        }
        self.item(Kind::Number)
    }

    fn accept(&mut self, valid: &str) -> bool {
        match self.peek() {
            Some(c) if valid.contains(c) => {
                self.next();
                true
            }
            _ => false,
        }
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if digits.len() == 11 && self.accept("eE") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        if digits.len() == 23 && self.accept("pP") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

/// How an item reads in a message of the parser.
pub(crate) fn describe(item: &Item, value: &str) -> String {
    let quote = |s: &str| crate::value::quote::quote(s);
    match item.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Error => item.message.clone(),
        kind if kind.is_keyword() && kind != Kind::Dot => format!("<{value}>"),
        Kind::Dot => "<.>".to_owned(),
        _ if value.len() > 10 => {
            let cut: String = text::slice(value, 0, 10);
            format!("{}...", quote(&cut))
        }
        _ => quote(value),
    }
}

fn left_trim(s: &str) -> bool {
    let b = s.as_bytes();
    b.len() >= 2 && b[0] == b'-' && is_space(b[1] as char)
}

fn right_trim(s: &str) -> bool {
    let b = s.as_bytes();
    b.len() >= 2 && is_space(b[0] as char) && b[1] == b'-'
}

/// `%#U`
fn code_point(c: Option<char>) -> String {
    match c {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c) if crate::value::quote::is_print(c) => format!("U+{:04X} '{c}'", c as u32),
        Some(c) => format!("U+{:04X}", c as u32),
    }
}
