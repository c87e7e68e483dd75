//! Simple keys, and the indentation that opens and closes collections.

use super::{MAX_DEPTH, Scanner, SimpleKey};
use crate::error::Error;
use crate::token::{Kind, Mark, Token};

impl<'a> Scanner<'a> {
    pub(super) fn simple_key_valid(&mut self, at: usize) -> Result<bool, Error> {
        let key = self.simple_keys[at];
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < self.mark.line || key.mark.index + 1024 < self.mark.index {
            if key.required {
                return self.error_in(key.mark, "could not find expected ':'");
            }
            self.simple_keys[at].possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn save_simple_key(&mut self) -> Result<(), Error> {
        let required = self.flow_level == 0 && self.indent == self.mark.column as isize;
        if self.simple_key_allowed {
            let key = SimpleKey {
                possible: true,
                required,
                token_number: self.tokens_parsed + self.tokens.len(),
                mark: self.mark,
                awaited: true,
            };
            self.remove_simple_key()?;
            *self.simple_keys.last_mut().expect("one per flow level") = key;
        }
        Ok(())
    }

    pub(super) fn remove_simple_key(&mut self) -> Result<(), Error> {
        let key = *self.simple_keys.last().expect("one per flow level");
        if key.possible && key.required {
            return self.error_in(key.mark, "could not find expected ':'");
        }
        self.simple_keys.last_mut().expect("one per flow level").possible = false;
        Ok(())
    }

    // ---- indentation ----

    pub(super) fn roll_indent(
        &mut self,
        column: usize,
        number: Option<usize>,
        kind: Kind<'a>,
        mark: Mark,
    ) -> Result<(), Error> {
        if self.flow_level > 0 || self.indent >= column as isize {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column as isize;
        if self.indents.len() > MAX_DEPTH {
            return self.error(&format!("exceeded max depth of {MAX_DEPTH}"));
        }
        let token = Token { kind, start: mark, end: mark };
        match number {
            None => self.tokens.push_back(token),
            Some(n) => self.insert(n, token),
        }
        Ok(())
    }

    /// Puts a token before the one of a number; one that is taken already cannot be preceded: then it comes last.
    pub(super) fn insert(&mut self, number: usize, token: Token<'a>) {
        match number.checked_sub(self.tokens_parsed) {
            Some(at) if at <= self.tokens.len() => self.tokens.insert(at, token),
            _ => self.tokens.push_back(token),
        }
    }

    pub(super) fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            let mark = self.mark;
            self.push(Kind::BlockEnd, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    // ---- fetching ----
}
