//! Writing scalars in each of their styles.

use super::Emitter;
use super::style::{is_break, is_printable};

impl Emitter {
    pub(super) fn plain_scalar(&mut self, text: &str) {
        if self.column() + text.len() <= self.width() {
            return self.push_text(text);
        }
        let indent = self.scalar_indent();
        let bytes = text.as_bytes();
        let mut spaces = false;
        for (i, c) in text.char_indices() {
            if c == ' ' {
                if !spaces && self.column() > self.width() && bytes.get(i + 1) != Some(&b' ') {
                    self.break_line(indent);
                } else {
                    self.out.push(' ');
                }
                spaces = true;
            } else {
                self.push_char(c);
                spaces = false;
            }
        }
    }

    pub(super) fn single_quoted(&mut self, text: &str, allow_breaks: bool) {
        let indent = self.scalar_indent();
        let bytes = text.as_bytes();
        self.out.push('\'');
        let (mut spaces, mut breaks) = (false, false);
        for (i, c) in text.char_indices() {
            if c == ' ' {
                if allow_breaks
                    && !spaces
                    && self.column() > self.width()
                    && i > 0
                    && i < text.len() - 1
                    && bytes.get(i + 1) != Some(&b' ')
                {
                    self.break_line(indent);
                } else {
                    self.out.push(' ');
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.newline();
                }
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.indent_to(indent);
                }
                if c == '\'' {
                    self.out.push('\'');
                }
                self.push_char(c);
                spaces = false;
                breaks = false;
            }
        }
        self.out.push('\'');
    }

    pub(super) fn double_quoted(&mut self, text: &str, allow_breaks: bool) {
        let indent = self.scalar_indent();
        let bytes = text.as_bytes();
        self.out.push('"');
        let mut spaces = false;
        // go-yaml looks for the mark at the start only, and then takes every character for one.
        let marked = text.starts_with('\u{feff}');
        for (i, c) in text.char_indices() {
            if !is_printable(c) || marked || is_break(c) || c == '"' || c == '\\' {
                self.out.push('\\');
                match c {
                    '\0' => self.out.push('0'),
                    '\x07' => self.out.push('a'),
                    '\x08' => self.out.push('b'),
                    '\t' => self.out.push('t'),
                    '\n' => self.out.push('n'),
                    '\x0b' => self.out.push('v'),
                    '\x0c' => self.out.push('f'),
                    '\r' => self.out.push('r'),
                    '\x1b' => self.out.push('e'),
                    '"' => self.out.push('"'),
                    '\\' => self.out.push('\\'),
                    '\u{85}' => self.out.push('N'),
                    '\u{a0}' => self.out.push('_'),
                    '\u{2028}' => self.out.push('L'),
                    '\u{2029}' => self.out.push('P'),
                    c => {
                        let n = c as u32;
                        let text = match n {
                            0..=0xFF => format!("x{n:02X}"),
                            0x100..=0xFFFF => format!("u{n:04X}"),
                            _ => format!("U{n:08X}"),
                        };
                        self.out.push_str(&text);
                    }
                }
                spaces = false;
            } else if c == ' ' {
                if allow_breaks && !spaces && self.column() > self.width() && i > 0 && i < text.len() - 1 {
                    self.break_line(indent);
                    if bytes.get(i + 1) == Some(&b' ') {
                        self.out.push('\\');
                    }
                } else {
                    self.out.push(' ');
                }
                spaces = true;
            } else {
                self.push_char(c);
                spaces = false;
            }
        }
        self.out.push('"');
    }

    pub(super) fn write_break(&mut self, c: char) {
        if c == '\n' {
            self.newline();
        } else {
            self.out.push(c);
            self.line_start = self.out.len();
            self.wide = 0;
        }
    }

    pub(super) fn literal(&mut self, text: &str) {
        let indent = self.scalar_indent();
        self.out.push('|');
        let first = text.chars().next().unwrap_or(' ');
        if first == ' ' || is_break(first) {
            self.out.push('2');
        }
        let mut back = text.chars().rev();
        match back.next() {
            Some(last) if !is_break(last) => self.out.push('-'),
            Some(_) => match back.next() {
                None => self.out.push('+'),
                Some(c) if is_break(c) => self.out.push('+'),
                Some(_) => {}
            },
            None => self.out.push('-'),
        }
        self.newline();
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.indent_to(indent);
                }
                self.push_char(c);
                breaks = false;
            }
        }
        // The caller ends the line; the text already has.
        if breaks && self.out.ends_with('\n') {
            self.out.pop();
        } else if breaks {
            self.line_ended = true;
        }
    }
}
