//! The native syntax, read by descent.

use serde_json::Value;

use super::{Attribute, Block, Body, Expr, For, ParseError};

/// How deep expressions and blocks may be inside each other.
const DEEPEST: usize = 100;

/// Operators of two sides, the loosest first.
const LEVELS: [&[&str]; 6] = [&["||"], &["&&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

/// Reads a file. `name` is how errors call it.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str, name: &str) -> Result<Body, ParseError> {
    let mut parser = Parser::new(text);
    let body = parser.body(false);
    body.map_err(|message| place(text, name, parser.at, message))
}

/// Reads a text as a template, as the strings of JSON are.
pub(super) fn template(text: &str, name: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text);
    let parts = parser.template(super::template::End::Text);
    parts.map(super::template::simple).map_err(|message| place(text, name, parser.at, message))
}

pub(super) fn place(text: &str, name: &str, at: usize, message: String) -> ParseError {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ParseError { file: name.to_owned(), line, column, message }
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Whether a new line ends an expression.
    lines: bool,
    depth: usize,
}

type Read<T> = Result<T, String>;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parser<'a> {
        Parser { text, at: 0, lines: true, depth: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(super) fn need(&mut self, text: &str) -> Read<()> {
        match self.take(text) {
            true => Ok(()),
            false => Err(format!("expected {text:?}, found {}", self.shown())),
        }
    }

    fn shown(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(_) => format!("{:?}", self.rest().chars().take(12).collect::<String>()),
        }
    }

    /// Passes over what means nothing: spaces and comments, and new lines where they do not count.
    pub(super) fn space(&mut self) {
        loop {
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else {
                match self.peek() {
                    Some(' ' | '\t' | '\r' | '\u{feff}') => self.at += self.peek().map_or(0, char::len_utf8),
                    Some('\n') if !self.lines => self.at += 1,
                    _ => return,
                }
            }
        }
    }

    /// Passes over empty lines too.
    fn blank(&mut self) {
        self.space();
        while self.take("\n") {
            self.space();
        }
    }

    /// Reads something in which new lines count, or do not.
    pub(super) fn with_lines<T>(&mut self, lines: bool, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEEPEST {
            return Err(format!("more than {DEEPEST} levels inside each other"));
        }
        let before = std::mem::replace(&mut self.lines, lines);
        self.depth += 1;
        let found = read(self);
        self.lines = before;
        self.depth -= 1;
        found
    }

    pub(super) fn name(&mut self) -> Option<String> {
        let starts = |c: char| c.is_alphabetic() || c == '_';
        let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let rest = self.rest();
        if !rest.starts_with(starts) {
            return None;
        }
        let end = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
        self.at += end;
        Some(rest[..end].to_owned())
    }

    /// Takes a word, when it is this one.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let before = self.at;
        let found = self.name().is_some_and(|name| name == word);
        if !found {
            self.at = before;
        }
        found
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn body(&mut self, inside: bool) -> Read<Body> {
        let mut body = Body::default();
        loop {
            self.blank();
            if self.peek().is_none() {
                return if inside { Err("a block is not closed".to_owned()) } else { Ok(body) };
            }
            if inside && self.take("}") {
                return Ok(body);
            }
            let line = self.line();
            let name = self.name().ok_or_else(|| format!("expected a name, found {}", self.shown()))?;
            self.space();
            if self.rest().starts_with('=') && !self.rest().starts_with("==") {
                self.at += 1;
                if body.attribute(&name).is_some() {
                    return Err(format!("attribute {name:?} is set twice"));
                }
                let value = self.expression()?;
                body.attributes.push(Attribute { name, value, line });
            } else {
                body.blocks.push(self.block(name, line)?);
            }
            self.space();
            let ended =
                self.peek().is_none() || self.rest().starts_with('\n') || inside && self.rest().starts_with('}');
            if !ended {
                return Err(format!("expected the end of the line, found {}", self.shown()));
            }
        }
    }

    fn block(&mut self, kind: String, line: usize) -> Read<Block> {
        let mut labels = Vec::new();
        loop {
            self.space();
            if self.take("{") {
                let body = self.with_lines(true, |parser| {
                    parser.space();
                    // What begins on the line of its block is alone in it.
                    match parser.rest().starts_with(['\n', '}']) {
                        true => parser.body(true),
                        false => parser.single(line),
                    }
                })?;
                return Ok(Block { kind, labels, body, line });
            }
            match self.peek() {
                Some('"') => match self.primary()? {
                    Expr::Literal(Value::String(label)) => labels.push(label),
                    _ => return Err("a label must be a plain text".to_owned()),
                },
                _ => match self.name() {
                    Some(label) => labels.push(label),
                    None => return Err(format!("expected \"=\" or a block, found {}", self.shown())),
                },
            }
        }
    }

    fn single(&mut self, line: usize) -> Read<Body> {
        let name = self.name().ok_or_else(|| format!("expected a name, found {}", self.shown()))?;
        self.space();
        self.need("=")?;
        let value = self.expression()?;
        self.space();
        match self.take("}") {
            true => Ok(Body { attributes: vec![Attribute { name, value, line }], blocks: Vec::new() }),
            false => {
                Err("an argument on the line of its block must be its only one, with the brace after it".to_owned())
            }
        }
    }

    pub(super) fn expression(&mut self) -> Read<Expr> {
        self.with_lines(self.lines, |parser| {
            let condition = parser.binary(0)?;
            parser.space();
            if !parser.take("?") {
                return Ok(condition);
            }
            let yes = parser.expression()?;
            parser.space();
            parser.need(":")?;
            let no = parser.expression()?;
            Ok(Expr::Conditional(Box::new(condition), Box::new(yes), Box::new(no)))
        })
    }

    fn binary(&mut self, level: usize) -> Read<Expr> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            self.space();
            let Some(operator) = operators.iter().copied().find(|operator| self.rest().starts_with(*operator)) else {
                return Ok(left);
            };
            self.at += operator.len();
            let right = self.binary(level + 1)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self) -> Read<Expr> {
        self.space();
        for operator in ['!', '-'] {
            if self.peek() == Some(operator) {
                self.at += 1;
                return self.with_lines(self.lines, |parser| Ok(Expr::Unary(operator, Box::new(parser.unary()?))));
            }
        }
        let mut expr = self.primary()?;
        loop {
            if self.rest().starts_with("...") {
                return Ok(expr);
            }
            if self.take(".*") || self.take("[*]") {
                expr = Expr::Splat(Box::new(expr), self.names_after_splat()?);
            } else if self.take(".") {
                let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
                expr = match digits.parse::<u64>() {
                    Ok(number) => {
                        self.at += digits.len();
                        Expr::Index(Box::new(expr), Box::new(Expr::Literal(number.into())))
                    }
                    Err(_) => {
                        let name = self.name().ok_or_else(|| format!("expected a name, found {}", self.shown()))?;
                        Expr::Attribute(Box::new(expr), name)
                    }
                };
            } else if self.take("[") {
                let index = self.with_lines(false, |parser| {
                    let index = parser.expression()?;
                    parser.space();
                    parser.need("]")?;
                    Ok(index)
                })?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else {
                return Ok(expr);
            }
        }
    }

    fn names_after_splat(&mut self) -> Read<Vec<String>> {
        let mut names = Vec::new();
        while self.take(".") {
            names.push(self.name().ok_or_else(|| format!("expected a name, found {}", self.shown()))?);
        }
        Ok(names)
    }

    fn primary(&mut self) -> Read<Expr> {
        self.space();
        match self.peek() {
            Some('"') => {
                self.at += 1;
                Ok(super::template::simple(self.template(super::template::End::Quote)?))
            }
            Some('(') => {
                self.at += 1;
                self.with_lines(false, |parser| {
                    let inner = parser.expression()?;
                    parser.space();
                    parser.need(")")?;
                    Ok(inner)
                })
            }
            Some('[') => {
                self.at += 1;
                self.with_lines(false, Self::list)
            }
            Some('{') => {
                self.at += 1;
                self.with_lines(true, Self::object)
            }
            Some('<') => self.heredoc(),
            Some(c) if c.is_ascii_digit() => self.number(),
            _ => self.named(),
        }
    }

    fn number(&mut self) -> Read<Expr> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(0);
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let last = digits(end + 1 + sign);
            end = if last > end + 1 + sign { last } else { end };
        }
        self.at += end;
        let number: f64 = rest[..end].parse().map_err(|_| format!("{:?} is not a number", &rest[..end]))?;
        Ok(Expr::Literal(super::eval::number(number)))
    }

    fn named(&mut self) -> Read<Expr> {
        let mut name = self.name().ok_or_else(|| format!("expected a value, found {}", self.shown()))?;
        while self.take("::") {
            let more = self.name().ok_or_else(|| format!("expected a name, found {}", self.shown()))?;
            name = format!("{name}::{more}");
        }
        if self.take("(") {
            return self.with_lines(false, |parser| parser.arguments(name));
        }
        Ok(match name.as_str() {
            "true" => Expr::Literal(true.into()),
            "false" => Expr::Literal(false.into()),
            "null" => Expr::Literal(Value::Null),
            _ => Expr::Variable(name),
        })
    }

    fn arguments(&mut self, name: String) -> Read<Expr> {
        let mut arguments = Vec::new();
        let mut spread = false;
        loop {
            self.space();
            if self.take(")") {
                return Ok(Expr::Call(name, arguments, spread));
            }
            arguments.push(self.expression()?);
            self.space();
            if self.take("...") {
                spread = true;
                self.space();
            } else if self.take(",") {
                continue;
            }
            self.space();
            self.need(")")?;
            return Ok(Expr::Call(name, arguments, spread));
        }
    }

    fn list(&mut self) -> Read<Expr> {
        self.space();
        if self.word("for") {
            let found = self.for_head(|parser| Ok((None, parser.expression()?)))?;
            self.space();
            self.need("]")?;
            return Ok(found);
        }
        let mut items = Vec::new();
        loop {
            self.space();
            if self.take("]") {
                return Ok(Expr::List(items));
            }
            items.push(self.expression()?);
            self.space();
            if !self.take(",") {
                self.space();
                self.need("]")?;
                return Ok(Expr::List(items));
            }
        }
    }

    fn object(&mut self) -> Read<Expr> {
        self.blank();
        if self.word("for") {
            return self.with_lines(false, |parser| {
                let found = parser.for_head(|parser| {
                    let key = parser.expression()?;
                    parser.space();
                    parser.need("=>")?;
                    Ok((Some(key), parser.expression()?))
                })?;
                parser.space();
                parser.need("}")?;
                Ok(found)
            });
        }
        let mut items = Vec::new();
        loop {
            self.blank();
            if self.take("}") {
                return Ok(Expr::Object(items));
            }
            // A bare name is itself, one in parentheses is what it names.
            let named = self.peek() != Some('(');
            let key = match self.expression()? {
                Expr::Variable(name) if named => Expr::Literal(name.into()),
                other => other,
            };
            self.space();
            if !self.take("=") && !self.take(":") {
                return Err(format!("expected \"=\" after a key, found {}", self.shown()));
            }
            self.space();
            let value = self.expression()?;
            items.push((key, value));
            self.space();
            if !self.take(",") && !self.rest().starts_with(['\n', '}']) {
                return Err(format!("expected \",\" or the end of the line, found {}", self.shown()));
            }
        }
    }

    /// `k, v in over`
    pub(super) fn walk(&mut self) -> Read<(Option<String>, String, Expr)> {
        let missing = |parser: &Self| format!("expected a name, found {}", parser.shown());
        self.space();
        let first = self.name().ok_or_else(|| missing(self))?;
        self.space();
        let (key, value) = match self.take(",") {
            true => {
                self.space();
                (Some(first), self.name().ok_or_else(|| missing(self))?)
            }
            false => (None, first),
        };
        self.space();
        if !self.word("in") {
            return Err(format!("expected \"in\", found {}", self.shown()));
        }
        Ok((key, value, self.expression()?))
    }

    fn for_head(&mut self, result: impl FnOnce(&mut Self) -> Read<(Option<Expr>, Expr)>) -> Read<Expr> {
        let (key, value, over) = self.walk()?;
        self.space();
        self.need(":")?;
        let (result_key, result) = result(self)?;
        self.space();
        let group = self.take("...");
        self.space();
        let condition = if self.word("if") { Some(self.expression()?) } else { None };
        Ok(Expr::For(Box::new(For { key, value, over, result_key, result, condition, group })))
    }
}
