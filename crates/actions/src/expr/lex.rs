//! Splits an expression into tokens.

use super::value::parse_number;
use super::{Error, MAX_LENGTH};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Dot,
    Bang,
    BangEqual,
    EqualEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    And,
    Or,
    Star,
    Number(f64),
    String(String),
    Identifier,
    True,
    False,
    Null,
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub lexeme: &'a str,
    pub offset: usize,
}

/// GitHub counts positions from one, in UTF-16 units.
pub(super) fn position(input: &str, offset: usize) -> usize {
    input[..offset].encode_utf16().count() + 1
}

pub(super) fn located(what: &str, lexeme: &str, input: &str, offset: usize) -> String {
    format!("{what}: '{lexeme}'. Located at position {} within expression: {input}", position(input, offset))
}

pub(super) fn tokens(input: &str) -> Result<Vec<Token<'_>>, Error> {
    if input.len() > MAX_LENGTH && input.encode_utf16().count() > MAX_LENGTH {
        return Err(Error::lexing(format!("Exceeded max expression length {MAX_LENGTH}")));
    }
    let mut lexer = Lexer { input, at: 0, tokens: Vec::new() };
    while let Some(c) = lexer.peek() {
        lexer.token(c)?;
    }
    lexer.tokens.push(Token { kind: Kind::End, lexeme: "", offset: input.len() });
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    input: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn peek(&self) -> Option<char> {
        self.input[self.at..].chars().next()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, lexeme: &self.input[start..self.at], offset: start });
    }

    fn follows(&self, text: &str) -> bool {
        self.input[self.at..].starts_with(text)
    }

    fn token(&mut self, c: char) -> Result<(), Error> {
        let start = self.at;
        let two = [
            ("!=", Kind::BangEqual),
            ("==", Kind::EqualEqual),
            (">=", Kind::GreaterEqual),
            ("<=", Kind::LessEqual),
            ("&&", Kind::And),
            ("||", Kind::Or),
        ];
        if let Some((text, kind)) = two.into_iter().find(|(text, _)| self.follows(text)) {
            self.at += text.len();
            self.push(kind, start);
            return Ok(());
        }
        let one = match c {
            '(' => Some(Kind::LeftParen),
            ')' => Some(Kind::RightParen),
            '[' => Some(Kind::LeftBracket),
            ']' => Some(Kind::RightBracket),
            ',' => Some(Kind::Comma),
            '!' => Some(Kind::Bang),
            '>' => Some(Kind::Greater),
            '<' => Some(Kind::Less),
            '*' => Some(Kind::Star),
            '.' if matches!(
                self.tokens.last().map(|t| &t.kind),
                Some(Kind::Identifier | Kind::RightBracket | Kind::RightParen | Kind::Star)
            ) =>
            {
                Some(Kind::Dot)
            }
            _ => None,
        };
        if let Some(kind) = one {
            self.at += 1;
            self.push(kind, start);
            return Ok(());
        }
        match c {
            c if c.is_whitespace() => {
                self.at += c.len_utf8();
                Ok(())
            }
            '\'' => self.string(start),
            '.' | '-' | '+' | '0'..='9' => self.number(start),
            _ => self.identifier(start, c),
        }
    }

    fn advance_to_boundary(&mut self, dots: bool) {
        while let Some(c) = self.peek() {
            let boundary = c.is_whitespace() || "([)],.!><=&|".contains(c);
            if boundary && !(dots && c == '.') {
                break;
            }
            self.at += c.len_utf8();
        }
    }

    fn unexpected(&self, start: usize) -> Error {
        Error::lexing(located("Unexpected symbol", &self.input[start..self.at], self.input, start))
    }

    fn string(&mut self, start: usize) -> Result<(), Error> {
        let mut value = String::new();
        let mut rest = self.input[start + 1..].char_indices().peekable();
        while let Some((i, c)) = rest.next() {
            if c != '\'' {
                value.push(c);
            } else if rest.peek().is_some_and(|(_, c)| *c == '\'') {
                value.push('\'');
                rest.next();
            } else {
                self.at = start + 1 + i + 1;
                self.push(Kind::String(value), start);
                return Ok(());
            }
        }
        self.at = self.input.len();
        Err(self.unexpected(start))
    }

    fn number(&mut self, start: usize) -> Result<(), Error> {
        self.at += 1;
        self.advance_to_boundary(true);
        let value = parse_number(&self.input[start..self.at]);
        if value.is_nan() {
            return Err(self.unexpected(start));
        }
        self.push(Kind::Number(value), start);
        Ok(())
    }

    fn identifier(&mut self, start: usize, first: char) -> Result<(), Error> {
        self.at += first.len_utf8();
        self.advance_to_boundary(false);
        let lexeme = &self.input[start..self.at];
        let legal = lexeme.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && lexeme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !legal {
            return Err(self.unexpected(start));
        }
        let property = matches!(self.tokens.last().map(|t| &t.kind), Some(Kind::Dot));
        let kind = match lexeme {
            _ if property => Kind::Identifier,
            "true" => Kind::True,
            "false" => Kind::False,
            "null" => Kind::Null,
            "NaN" => Kind::Number(f64::NAN),
            "Infinity" => Kind::Number(f64::INFINITY),
            _ => Kind::Identifier,
        };
        self.push(kind, start);
        Ok(())
    }
}
