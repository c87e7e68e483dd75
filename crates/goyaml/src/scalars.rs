//! The part of the scanner that reads scalars, anchors, tags and directives.

use std::borrow::Cow;

use crate::error::Error;
use crate::scanner::Scanner;
use crate::token::{Kind, Style, Token};

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'-'
}

impl<'a> Scanner<'a> {
    fn token(&self, kind: Kind<'a>, start: crate::token::Mark) -> Token<'a> {
        Token { kind, start, end: self.mark }
    }

    fn slice(&self, from: usize) -> &'a str {
        &self.text[from..self.mark.index]
    }

    // ---- directives ----

    pub(crate) fn scan_directive(&mut self) -> Result<Token<'a>, Error> {
        let start = self.mark;
        self.skip();
        let from = self.mark.index;
        while is_word(self.peek(0)) {
            self.skip();
        }
        let name = self.slice(from);
        if name.is_empty() {
            return self.error_in(start, "could not find expected directive name");
        }
        if !self.is_blankz(0) {
            return self.error_in(start, "found unexpected non-alphabetical character");
        }
        let kind = match name {
            "YAML" => {
                self.skip_blanks();
                let major = self.scan_version_number(start)?;
                if self.peek(0) != b'.' {
                    return self.error_in(start, "did not find expected digit or '.' character");
                }
                self.skip();
                let minor = self.scan_version_number(start)?;
                if (major, minor) != (1, 1) && (major, minor) != (1, 2) {
                    return self.error_in(start, "found incompatible YAML document");
                }
                Kind::VersionDirective
            }
            "TAG" => {
                self.skip_blanks();
                let handle = self.scan_tag_handle(true, start)?;
                if !self.is_blank(0) {
                    return self.error_in(start, "did not find expected whitespace");
                }
                self.skip_blanks();
                let prefix = self.scan_tag_uri("", start)?;
                if !self.is_blankz(0) {
                    return self.error_in(start, "did not find expected whitespace or line break");
                }
                Kind::TagDirective(handle, prefix)
            }
            _ => return self.error_in(start, "found unknown directive name"),
        };
        let token = self.token(kind, start);
        self.finish_line(start)?;
        Ok(token)
    }

    fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.skip();
        }
    }

    /// Blanks, an optional comment and the line break that must follow.
    fn finish_line(&mut self, context: crate::token::Mark) -> Result<(), Error> {
        self.skip_blanks();
        if self.peek(0) == b'#' {
            while !self.is_breakz(0) {
                self.skip();
            }
        }
        if !self.is_breakz(0) {
            return self.error_in(context, "did not find expected comment or line break");
        }
        self.skip_line();
        Ok(())
    }

    fn scan_version_number(&mut self, start: crate::token::Mark) -> Result<u32, Error> {
        let mut value = 0u32;
        let mut length = 0;
        while self.peek(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return self.error_in(start, "found extremely long version number");
            }
            value = value * 10 + u32::from(self.peek(0) - b'0');
            self.skip();
        }
        if length == 0 {
            return self.error_in(start, "did not find expected version number");
        }
        Ok(value)
    }

    // ---- anchors and tags ----

    pub(crate) fn scan_anchor(&mut self, alias: bool) -> Result<Token<'a>, Error> {
        let start = self.mark;
        self.skip();
        let from = self.mark.index;
        while is_word(self.peek(0)) {
            self.skip();
        }
        let name = self.slice(from);
        let ends = self.is_blankz(0) || matches!(self.peek(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return self.error_in(start, "did not find expected alphabetic or numeric character");
        }
        Ok(self.token(if alias { Kind::Alias(name) } else { Kind::Anchor(name) }, start))
    }

    pub(crate) fn scan_tag(&mut self) -> Result<Token<'a>, Error> {
        let start = self.mark;
        let (mut handle, mut suffix);
        if self.peek(1) == b'<' {
            self.skip();
            self.skip();
            handle = String::new();
            suffix = self.scan_tag_uri("", start)?;
            if self.peek(0) != b'>' {
                return self.error_in(start, "did not find the expected '>'");
            }
            self.skip();
        } else {
            handle = self.scan_tag_handle(false, start)?;
            if handle.len() >= 2 && handle.starts_with('!') && handle.ends_with('!') {
                suffix = self.scan_tag_uri("", start)?;
            } else {
                suffix = self.scan_tag_uri(&handle, start)?;
                handle = "!".to_owned();
                if suffix.is_empty() {
                    std::mem::swap(&mut handle, &mut suffix);
                }
            }
        }
        if !self.is_blankz(0) {
            return self.error_in(start, "did not find expected whitespace or line break");
        }
        Ok(self.token(Kind::Tag(handle, suffix), start))
    }

    fn scan_tag_handle(&mut self, directive: bool, start: crate::token::Mark) -> Result<String, Error> {
        if self.peek(0) != b'!' {
            return self.error_in(start, "did not find expected '!'");
        }
        let from = self.mark.index;
        self.skip();
        while is_word(self.peek(0)) {
            self.skip();
        }
        if self.peek(0) == b'!' {
            self.skip();
        } else if directive && self.slice(from) != "!" {
            return self.error_in(start, "did not find expected '!'");
        }
        Ok(self.slice(from).to_owned())
    }

    fn scan_tag_uri(&mut self, head: &str, start: crate::token::Mark) -> Result<String, Error> {
        let mut out: Vec<u8> = head.as_bytes().get(1..).unwrap_or(&[]).to_vec();
        let mut any = !head.is_empty();
        loop {
            let c = self.peek(0);
            let uri = is_word(c)
                || matches!(
                    c,
                    b';' | b'/'
                        | b'?'
                        | b':'
                        | b'@'
                        | b'&'
                        | b'='
                        | b'+'
                        | b'$'
                        | b'.'
                        | b'%'
                        | b'!'
                        | b'~'
                        | b'*'
                        | b'\''
                        | b'('
                        | b')'
                        | b','
                        | b'['
                        | b']'
                );
            if !uri {
                break;
            }
            if c == b'%' {
                let hex = |c: u8| (c as char).to_digit(16);
                let (Some(a), Some(b)) = (hex(self.peek(1)), hex(self.peek(2))) else {
                    return self.error_in(start, "did not find URI escaped octet");
                };
                out.push((a * 16 + b) as u8);
                (0..3).for_each(|_| self.skip());
            } else {
                out.push(c);
                self.skip();
            }
            any = true;
        }
        if !any {
            return self.error_in(start, "did not find expected tag URI");
        }
        match String::from_utf8(out) {
            Ok(s) => Ok(s),
            Err(_) => self.error_in(start, "found an incorrect leading UTF-8 octet"),
        }
    }

    // ---- block scalars ----

    pub(crate) fn scan_block_scalar(&mut self, literal: bool) -> Result<Token<'a>, Error> {
        let start = self.mark;
        self.skip();
        let mut chomping = 0i8;
        let mut increment = 0usize;
        for _ in 0..2 {
            match self.peek(0) {
                b'+' if chomping == 0 => {
                    chomping = 1;
                    self.skip();
                }
                b'-' if chomping == 0 => {
                    chomping = -1;
                    self.skip();
                }
                b'0' if increment == 0 => {
                    return self.error_in(start, "found an indentation indicator equal to 0");
                }
                c @ b'1'..=b'9' if increment == 0 => {
                    increment = usize::from(c - b'0');
                    self.skip();
                }
                _ => break,
            }
        }
        self.finish_line(start)?;
        let mut indent = if increment == 0 { 0 } else { increment + usize::try_from(self.indent).unwrap_or(0) };
        let mut out = String::new();
        let mut leading_break = "";
        let mut trailing = String::new();
        let mut leading_blank = false;
        self.scan_block_breaks(&mut indent, &mut trailing, start)?;
        let mut end = self.mark;
        while self.mark.column == indent && !self.is_eof() {
            let trailing_blank = self.is_blank(0);
            if !literal && leading_break == "\n" && !leading_blank && !trailing_blank {
                if trailing.is_empty() {
                    out.push(' ');
                }
            } else {
                out.push_str(leading_break);
            }
            out.push_str(&trailing);
            trailing.clear();
            leading_blank = self.is_blank(0);
            let from = self.mark.index;
            while !self.is_breakz(0) {
                self.skip();
            }
            out.push_str(self.slice(from));
            leading_break = self.skip_line();
            end = self.mark;
            self.scan_block_breaks(&mut indent, &mut trailing, start)?;
        }
        if chomping != -1 {
            out.push_str(leading_break);
        }
        if chomping == 1 {
            out.push_str(&trailing);
        }
        let style = if literal { Style::Literal } else { Style::Folded };
        Ok(Token { kind: Kind::Scalar(Cow::Owned(out), style), start, end })
    }

    fn scan_block_breaks(
        &mut self,
        indent: &mut usize,
        breaks: &mut String,
        start: crate::token::Mark,
    ) -> Result<(), Error> {
        let mut max_indent = 0;
        loop {
            while (*indent == 0 || self.mark.column < *indent) && self.peek(0) == b' ' {
                self.skip();
            }
            max_indent = max_indent.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.peek(0) == b'\t' {
                return self.error_in(start, "found a tab character where an indentation space is expected");
            }
            if self.is_eof() || !self.is_break(0) {
                break;
            }
            breaks.push_str(self.skip_line());
        }
        if *indent == 0 {
            *indent = max_indent.max(usize::try_from(self.indent + 1).unwrap_or(0)).max(1);
        }
        Ok(())
    }

    // ---- quoted scalars ----

    pub(crate) fn scan_flow_scalar(&mut self, style: Style) -> Result<Token<'a>, Error> {
        let single = style == Style::SingleQuoted;
        let quote = if single { b'\'' } else { b'"' };
        let start = self.mark;
        self.skip();
        // Nearly always: one line, nothing to unescape, nothing to fold.
        let rest = self.rest();
        if let Some(n) = rest.iter().position(|&c| !(b' '..=b'~').contains(&c) || c == quote || (c == b'\\' && !single))
            && rest[n] == quote
            && !(single && rest.get(n + 1) == Some(&b'\''))
        {
            let from = self.mark.index;
            self.mark.index += n;
            self.mark.column += n;
            let text = self.slice(from);
            self.skip();
            return Ok(self.token(Kind::Scalar(Cow::Borrowed(text), style), start));
        }
        let mut out = String::new();
        loop {
            if self.at_document_indicator() {
                return self.error_in(start, "found unexpected document indicator");
            }
            if self.is_eof() {
                return self.error_in(start, "found unexpected end of stream");
            }
            let mut leading_blanks = false;
            while !self.is_blankz(0) {
                let c = self.peek(0);
                if single && c == b'\'' && self.peek(1) == b'\'' {
                    out.push('\'');
                    self.skip();
                    self.skip();
                } else if c == quote {
                    break;
                } else if !single && c == b'\\' && self.is_break(1) {
                    self.skip();
                    self.skip_line();
                    leading_blanks = true;
                    break;
                } else if !single && c == b'\\' {
                    self.scan_escape(&mut out, start)?;
                } else {
                    let from = self.mark.index;
                    self.skip();
                    out.push_str(self.slice(from));
                }
            }
            if self.peek(0) == quote && !self.is_eof() {
                break;
            }
            let mut spaces = String::new();
            let mut leading_break = "";
            let mut trailing = String::new();
            while self.is_blank(0) || (!self.is_eof() && self.is_break(0)) {
                if self.is_blank(0) {
                    if !leading_blanks {
                        spaces.push(self.peek(0) as char);
                    }
                    self.skip();
                } else if leading_blanks {
                    trailing.push_str(self.skip_line());
                } else {
                    spaces.clear();
                    leading_break = self.skip_line();
                    leading_blanks = true;
                }
            }
            if leading_blanks {
                if leading_break == "\n" {
                    out.push_str(if trailing.is_empty() { " " } else { &trailing });
                } else {
                    out.push_str(leading_break);
                    out.push_str(&trailing);
                }
            } else {
                out.push_str(&spaces);
            }
        }
        self.skip();
        Ok(self.token(Kind::Scalar(Cow::Owned(out), style), start))
    }

    fn scan_escape(&mut self, out: &mut String, start: crate::token::Mark) -> Result<(), Error> {
        let mut digits = 0;
        match self.peek(1) {
            b'0' => out.push('\0'),
            b'a' => out.push('\x07'),
            b'b' => out.push('\x08'),
            b't' | b'\t' => out.push('\t'),
            b'n' => out.push('\n'),
            b'v' => out.push('\x0b'),
            b'f' => out.push('\x0c'),
            b'r' => out.push('\r'),
            b'e' => out.push('\x1b'),
            b' ' => out.push(' '),
            b'"' => out.push('"'),
            b'\'' => out.push('\''),
            b'\\' => out.push('\\'),
            b'N' => out.push('\u{85}'),
            b'_' => out.push('\u{a0}'),
            b'L' => out.push('\u{2028}'),
            b'P' => out.push('\u{2029}'),
            b'x' => digits = 2,
            b'u' => digits = 4,
            b'U' => digits = 8,
            _ => return self.error_in(start, "found unknown escape character"),
        }
        self.skip();
        self.skip();
        if digits > 0 {
            let mut value = 0u32;
            for n in 0..digits {
                let Some(d) = (self.peek(n) as char).to_digit(16) else {
                    return self.error_in(start, "did not find expected hexdecimal number");
                };
                value = (value << 4) + d;
            }
            let Some(c) = char::from_u32(value) else {
                return self.error_in(start, "found invalid Unicode character escape code");
            };
            out.push(c);
            (0..digits).for_each(|_| self.skip());
        }
        Ok(())
    }

    // ---- plain scalars ----

    pub(crate) fn scan_plain_scalar(&mut self) -> Result<Token<'a>, Error> {
        let start = self.mark;
        let mut end = self.mark;
        let mut out: Cow<'a, str> = Cow::Borrowed("");
        let indent = self.indent + 1;
        let mut leading_blanks = false;
        let mut spaces_from = self.mark.index;
        let mut leading_break = "";
        let mut trailing = String::new();
        loop {
            if self.at_document_indicator() || self.peek(0) == b'#' {
                break;
            }
            let from = self.mark.index;
            while !self.is_blankz(0) {
                let c = self.peek(0);
                if c == b':' && self.is_blankz(1) {
                    break;
                }
                if self.flow_level > 0 && matches!(c, b',' | b'?' | b'[' | b']' | b'{' | b'}') {
                    break;
                }
                self.skip();
            }
            if self.mark.index > from {
                if leading_blanks {
                    let out = out.to_mut();
                    if leading_break == "\n" {
                        out.push_str(if trailing.is_empty() { " " } else { &trailing });
                    } else {
                        out.push_str(leading_break);
                        out.push_str(&trailing);
                    }
                    trailing.clear();
                    leading_blanks = false;
                    out.push_str(self.slice(from));
                } else {
                    match &mut out {
                        // Still one unbroken piece of the text.
                        Cow::Borrowed(b) => *b = self.slice(start.index),
                        Cow::Owned(o) => {
                            o.push_str(&self.text[spaces_from..from]);
                            o.push_str(self.slice(from));
                        }
                    }
                }
                end = self.mark;
            }
            if self.is_eof() || !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            spaces_from = self.mark.index;
            while self.is_blank(0) || (!self.is_eof() && self.is_break(0)) {
                if self.is_blank(0) {
                    if leading_blanks && (self.mark.column as isize) < indent && self.peek(0) == b'\t' {
                        return self.error_in(start, "found a tab character that violates indentation");
                    }
                    self.skip();
                } else if leading_blanks {
                    trailing.push_str(self.skip_line());
                } else {
                    leading_break = self.skip_line();
                    leading_blanks = true;
                }
            }
            if self.flow_level == 0 && (self.mark.column as isize) < indent {
                break;
            }
        }
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        Ok(Token { kind: Kind::Scalar(out, Style::Plain), start, end })
    }
}
