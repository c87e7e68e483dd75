//! Text to tokens, with the rules and the wording of libyaml as go-yaml has them.
//!
//! The scanner owns the position, the indentation stack and the simple-key candidates. It knows nothing of documents
//! or nodes: see `parser`.

mod keys;

use std::collections::VecDeque;

use crate::error::Error;
use crate::token::{Kind, Mark, Style, Token};

/// Deepest nesting of flow or block collections. go-yaml allows 10,000; nothing real comes near this.
pub(crate) const MAX_DEPTH: usize = 1000;

/// So many bytes libyaml's reader takes at a time, and looks over before they are scanned.
const CHUNK: usize = 512;
/// So far the scanner looks ahead.
const AHEAD: usize = 4;

#[derive(Clone, Copy)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token_number: usize,
    mark: Mark,
    /// Whether the queue is held back for it: go-yaml forgets that of a collection that is closed at once.
    awaited: bool,
}

impl SimpleKey {
    fn none(token_number: usize, mark: Mark) -> SimpleKey {
        SimpleKey { possible: false, required: false, token_number, mark, awaited: false }
    }
}

pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) mark: Mark,
    tokens: VecDeque<Token<'a>>,
    tokens_parsed: usize,
    stream_start_produced: bool,
    stream_end_produced: bool,
    pub(crate) indent: isize,
    indents: Vec<isize>,
    pub(crate) flow_level: usize,
    pub(crate) simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    /// A character that is refused, and where the part of the text begins that brings it in.
    refused: Option<(usize, Error)>,
}

pub(crate) fn break_width(b: &[u8]) -> usize {
    match b {
        [b'\n' | b'\r', ..] => 1,
        [0xC2, 0x85, ..] => 2,
        [0xE2, 0x80, 0xA8 | 0xA9, ..] => 3,
        _ => 0,
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let refused = match check_characters(text) {
            Ok(()) => None,
            Err((at, error)) if at < CHUNK => return Err(error),
            Err((at, error)) => Some((at / CHUNK * CHUNK, error)),
        };
        Ok(Scanner {
            refused,
            text,
            bytes: text.as_bytes(),
            mark: Mark::default(),
            tokens: VecDeque::new(),
            tokens_parsed: 0,
            stream_start_produced: false,
            stream_end_produced: false,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::none(0, Mark::default())],
        })
    }

    // ---- characters ----

    /// The byte `n` after the position; 0 at the end (no other character is 0: they were checked).
    #[inline]
    pub(crate) fn peek(&self, n: usize) -> u8 {
        self.bytes.get(self.mark.index + n).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.mark.index..).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn is_blank(&self, n: usize) -> bool {
        matches!(self.peek(n), b' ' | b'\t')
    }

    #[inline]
    pub(crate) fn is_break(&self, n: usize) -> bool {
        match self.peek(n) {
            b'\n' | b'\r' => true,
            0xC2 | 0xE2 => break_width(self.bytes.get(self.mark.index + n..).unwrap_or(&[])) > 0,
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn is_eof(&self) -> bool {
        self.mark.index >= self.bytes.len()
    }

    #[inline]
    pub(crate) fn is_breakz(&self, n: usize) -> bool {
        self.mark.index + n >= self.bytes.len() || self.is_break(n)
    }

    #[inline]
    pub(crate) fn is_blankz(&self, n: usize) -> bool {
        self.is_blank(n) || self.is_breakz(n)
    }

    /// Steps over one character that is not a line break.
    #[inline]
    pub(crate) fn skip(&mut self) {
        let width = match self.peek(0) {
            0..=0x7F => 1,
            0x80..=0xDF => 2,
            0xE0..=0xEF => 3,
            _ => 4,
        };
        self.mark.index += width;
        self.mark.column += 1;
    }

    /// Steps over one line break and gives its normal form (`\r\n` and `\r` and NEL are `\n`).
    pub(crate) fn skip_line(&mut self) -> &'static str {
        let rest = self.rest();
        let (width, text) = match rest {
            [b'\r', b'\n', ..] => (2, "\n"),
            [b'\n' | b'\r', ..] => (1, "\n"),
            [0xC2, 0x85, ..] => (2, "\n"),
            [0xE2, 0x80, 0xA8, ..] => (3, "\u{2028}"),
            [0xE2, 0x80, 0xA9, ..] => (3, "\u{2029}"),
            _ => return "",
        };
        self.mark.index += width;
        self.mark.column = 0;
        self.mark.line += 1;
        text
    }

    pub(crate) fn error<T>(&self, problem: &str) -> Result<T, Error> {
        // go-yaml counts from 0 and adds one only when that is not 0.
        let shown = if self.mark.line == 0 { 0 } else { self.mark.line + 1 };
        Err(Error::at(problem, shown, self.mark.line + 1, self.mark.column + 1))
    }

    /// The same with a context mark: shown when the problem itself is on the first line.
    pub(crate) fn error_in<T>(&self, context: Mark, problem: &str) -> Result<T, Error> {
        let shown = match (self.mark.line, context.line) {
            (0, 0) => 0,
            (0, l) => l,
            (l, _) => l + 1,
        };
        Err(Error::at(problem, shown, self.mark.line + 1, self.mark.column + 1))
    }

    // ---- the queue ----

    /// The next token without taking it.
    pub(crate) fn peek_token(&mut self) -> Result<&Token<'a>, Error> {
        self.fetch_more()?;
        Ok(self.tokens.front().expect("fetch_more leaves a token or fails"))
    }

    /// Takes the next token.
    pub(crate) fn next_token(&mut self) -> Result<Token<'a>, Error> {
        self.fetch_more()?;
        self.tokens_parsed += 1;
        Ok(self.tokens.pop_front().expect("fetch_more leaves a token or fails"))
    }

    fn fetch_more(&mut self) -> Result<(), Error> {
        loop {
            if !self.tokens.is_empty() {
                // A candidate for a simple key at the head may still get a KEY token put before it.
                let head = self.tokens_parsed;
                let at = self.simple_keys.partition_point(|k| k.token_number < head);
                match self.simple_keys.get(at) {
                    Some(key) if key.token_number == head && key.possible && key.awaited => {
                        if !self.simple_key_valid(at)? {
                            return Ok(());
                        }
                    }
                    _ => return Ok(()),
                }
            } else if self.stream_end_produced {
                let mark = self.mark;
                self.tokens.push_back(Token { kind: Kind::StreamEnd, start: mark, end: mark });
                return Ok(());
            }
            let fetched = self.fetch_next();
            if let Some((from, error)) = &self.refused
                && self.mark.index + AHEAD > *from
            {
                return Err(error.clone());
            }
            fetched?;
        }
    }

    fn push(&mut self, kind: Kind<'a>, start: Mark) {
        let end = self.mark;
        self.tokens.push_back(Token { kind, start, end });
    }

    fn fetch_next(&mut self) -> Result<(), Error> {
        if !self.stream_start_produced {
            self.stream_start_produced = true;
            let mark = self.mark;
            self.push(Kind::StreamStart, mark);
            return Ok(());
        }
        self.scan_to_next_token();
        self.unroll_indent(self.mark.column as isize);
        if self.is_eof() {
            return self.fetch_stream_end();
        }
        let c = self.peek(0);
        if self.mark.column == 0 {
            if c == b'%' {
                self.unroll_indent(-1);
                self.remove_simple_key()?;
                self.simple_key_allowed = false;
                let token = self.scan_directive()?;
                self.tokens.push_back(token);
                return Ok(());
            }
            if self.at_document_indicator() {
                self.unroll_indent(-1);
                self.remove_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.mark;
                (0..3).for_each(|_| self.skip());
                let kind = if c == b'-' { Kind::DocumentStart } else { Kind::DocumentEnd };
                self.push(kind, start);
                return Ok(());
            }
        }
        let flow = self.flow_level > 0;
        match c {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                let start = self.mark;
                self.skip();
                self.push(Kind::FlowEntry, start);
                Ok(())
            }
            b'-' if self.is_blankz(1) => self.fetch_block_entry(),
            b'?' if flow || self.is_blankz(1) => self.fetch_key(),
            b':' if flow || self.is_blankz(1) => self.fetch_value(),
            b'*' | b'&' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let token = self.scan_anchor(c == b'*')?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'!' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let token = self.scan_tag()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'|' | b'>' if !flow => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                let token = self.scan_block_scalar(c == b'|')?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\'' | b'"' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let style = if c == b'\'' { Style::SingleQuoted } else { Style::DoubleQuoted };
                let token = self.scan_flow_scalar(style)?;
                self.tokens.push_back(token);
                Ok(())
            }
            _ => {
                let indicator = self.is_blankz(0)
                    || matches!(
                        c,
                        b'-' | b'?'
                            | b':'
                            | b','
                            | b'['
                            | b']'
                            | b'{'
                            | b'}'
                            | b'#'
                            | b'&'
                            | b'*'
                            | b'!'
                            | b'|'
                            | b'>'
                            | b'\''
                            | b'"'
                            | b'%'
                            | b'@'
                            | b'`'
                    );
                if !indicator
                    || (c == b'-' && !self.is_blank(1))
                    || (!flow && (c == b'?' || c == b':') && !self.is_blankz(1))
                {
                    self.save_simple_key()?;
                    self.simple_key_allowed = false;
                    let token = self.scan_plain_scalar()?;
                    self.tokens.push_back(token);
                    return Ok(());
                }
                self.error("found character that cannot start any token")
            }
        }
    }

    pub(crate) fn at_document_indicator(&self) -> bool {
        self.mark.column == 0
            && matches!(self.rest(), [b'-', b'-', b'-', ..] | [b'.', b'.', b'.', ..])
            && self.is_blankz(3)
    }

    fn scan_to_next_token(&mut self) {
        loop {
            while self.peek(0) == b' ' || ((self.flow_level > 0 || !self.simple_key_allowed) && self.peek(0) == b'\t') {
                self.skip();
            }
            if self.peek(0) == b'#' {
                while !self.is_breakz(0) {
                    self.skip();
                }
            }
            if self.is_eof() || !self.is_break(0) {
                return;
            }
            self.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    // ---- simple keys ----

    fn fetch_stream_end(&mut self) -> Result<(), Error> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.stream_end_produced = true;
        let mark = self.mark;
        self.push(Kind::StreamEnd, mark);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.save_simple_key()?;
        self.flow_level += 1;
        if self.flow_level > MAX_DEPTH {
            return self.error(&format!("exceeded max depth of {MAX_DEPTH}"));
        }
        let token_number = self.tokens_parsed + self.tokens.len();
        self.simple_keys.push(SimpleKey::none(token_number, self.mark));
        self.simple_key_allowed = true;
        let start = self.mark;
        self.skip();
        self.push(kind, start);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            let closed = self.simple_keys.pop();
            if let (Some(closed), Some(outer)) = (closed, self.simple_keys.last_mut())
                && closed.token_number == outer.token_number
            {
                outer.awaited = false;
            }
        }
        self.simple_key_allowed = false;
        let start = self.mark;
        self.skip();
        self.push(kind, start);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), Error> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return self.error("block sequence entries are not allowed in this context");
            }
            self.roll_indent(self.mark.column, None, Kind::BlockSequenceStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        let start = self.mark;
        self.skip();
        self.push(Kind::BlockEntry, start);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Error> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return self.error("mapping keys are not allowed in this context");
            }
            self.roll_indent(self.mark.column, None, Kind::BlockMappingStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        let start = self.mark;
        self.skip();
        self.push(Kind::Key, start);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Error> {
        let top = self.simple_keys.len() - 1;
        if self.simple_key_valid(top)? {
            let key = self.simple_keys[top];
            let token = Token { kind: Kind::Key, start: key.mark, end: key.mark };
            self.insert(key.token_number, token);
            self.roll_indent(key.mark.column, Some(key.token_number), Kind::BlockMappingStart, key.mark)?;
            self.simple_keys[top].possible = false;
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return self.error("mapping values are not allowed in this context");
                }
                self.roll_indent(self.mark.column, None, Kind::BlockMappingStart, self.mark)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        let start = self.mark;
        self.skip();
        self.push(Kind::Value, start);
        Ok(())
    }
}

/// What libyaml's reader refuses, and where it stands.
fn check_characters(text: &str) -> Result<(), (usize, Error)> {
    let bad = |c: char| {
        !matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}'
            | '\u{10000}'..='\u{10ffff}')
    };
    // One pass over bytes decides nearly always.
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t' | b'\r')) {
        return Ok(());
    }
    match text.char_indices().find(|&(_, c)| bad(c)) {
        None => Ok(()),
        Some((at, _)) => {
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            Err((at, Error::at("control characters are not allowed", 0, line, column)))
        }
    }
}
