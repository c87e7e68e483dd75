//! Texts with values in them: `"a ${b} %{ if c }d%{ endif }"` and heredocs.

use super::parse::Parser;
use super::{Expr, Part};

/// Where a template ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At a quote; backslashes mean something.
    Quote,
    /// With the text.
    Text,
}

/// What ended a run of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    Else,
    Endif,
    Endfor,
}

/// A template of one text is that text, and one of a single value is that value.
pub(super) fn simple(mut parts: Vec<Part>) -> Expr {
    match parts.as_mut_slice() {
        [] => Expr::Literal("".into()),
        [Part::Text(text)] => Expr::Literal(std::mem::take(text).into()),
        [Part::Value(_)] => match parts.remove(0) {
            Part::Value(value) => value,
            other => Expr::Template(vec![other]),
        },
        _ => Expr::Template(parts),
    }
}

impl Parser<'_> {
    /// Reads up to the end and past it.
    pub(super) fn template(&mut self, end: End) -> Result<Vec<Part>, String> {
        let mut trim = false;
        match self.parts(end, &mut trim)? {
            (parts, Stop::End) => Ok(parts),
            (_, stop) => Err(format!("%{{ {} }} without its beginning", format!("{stop:?}").to_lowercase())),
        }
    }

    fn parts(&mut self, end: End, trim: &mut bool) -> Result<(Vec<Part>, Stop), String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                if end == End::Quote {
                    return Err("a text is not closed".to_owned());
                }
                push(&mut parts, &mut text, trim);
                return Ok((parts, Stop::End));
            };
            if end == End::Quote && c == '"' {
                self.at += 1;
                push(&mut parts, &mut text, trim);
                return Ok((parts, Stop::End));
            }
            if self.take("$${") {
                text.push_str("${");
            } else if self.take("%%{") {
                text.push_str("%{");
            } else if self.take("${") {
                if self.take("~") {
                    text.truncate(text.trim_end().len());
                }
                push(&mut parts, &mut text, trim);
                let value = self.with_lines(false, |parser| {
                    let value = parser.expression()?;
                    parser.space();
                    *trim = parser.take("~");
                    parser.need("}")?;
                    Ok(value)
                })?;
                parts.push(Part::Value(value));
            } else if self.take("%{") {
                if self.take("~") {
                    text.truncate(text.trim_end().len());
                }
                push(&mut parts, &mut text, trim);
                if let Some(stop) = self.directive(end, trim, &mut parts)? {
                    return Ok((parts, stop));
                }
            } else if end == End::Quote && c == '\\' {
                self.at += 1;
                text.push(self.escaped()?);
            } else if end == End::Quote && c == '\n' {
                return Err("a text goes on after the end of its line; use a heredoc".to_owned());
            } else {
                self.at += c.len_utf8();
                text.push(c);
            }
        }
    }

    /// Reads the end of a directive's braces.
    fn close(&mut self, trim: &mut bool) -> Result<(), String> {
        self.space();
        *trim = self.take("~");
        self.need("}")
    }

    /// Reads a directive after its `%{`; what it stops, when it stops something.
    fn directive(&mut self, end: End, trim: &mut bool, parts: &mut Vec<Part>) -> Result<Option<Stop>, String> {
        self.with_lines(false, |parser| {
            parser.space();
            for (word, stop) in [("else", Stop::Else), ("endif", Stop::Endif), ("endfor", Stop::Endfor)] {
                if parser.word(word) {
                    parser.close(trim)?;
                    return Ok(Some(stop));
                }
            }
            if parser.word("if") {
                let condition = parser.expression()?;
                parser.close(trim)?;
                let (yes, stop) = parser.parts(end, trim)?;
                let (no, stop) = match stop {
                    Stop::Else => parser.parts(end, trim)?,
                    stop => (Vec::new(), stop),
                };
                if stop != Stop::Endif {
                    return Err("%{ if } without %{ endif }".to_owned());
                }
                parts.push(Part::If(condition, yes, no));
                return Ok(None);
            }
            if parser.word("for") {
                let (key, value, over) = parser.walk()?;
                parser.close(trim)?;
                let (body, stop) = parser.parts(end, trim)?;
                if stop != Stop::Endfor {
                    return Err("%{ for } without %{ endfor }".to_owned());
                }
                parts.push(Part::For(key, value, over, body));
                return Ok(None);
            }
            Err("a directive must be if, else, endif, for or endfor".to_owned())
        })
    }

    fn escaped(&mut self) -> Result<char, String> {
        let c = self.peek().ok_or("a text is not closed")?;
        self.at += c.len_utf8();
        let digits = match c {
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            '"' | '\\' => return Ok(c),
            'u' => 4,
            'U' => 8,
            other => return Err(format!("\\{other} is not an escape")),
        };
        let hex: String = self.rest().chars().take(digits).collect();
        let found = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32).filter(|_| hex.len() == digits);
        self.at += if found.is_some() { digits } else { 0 };
        found.ok_or_else(|| format!("\\{c} takes {digits} hexadecimal digits of a character"))
    }

    /// `<<NAME` or `<<-NAME`, up to the line that is the name.
    pub(super) fn heredoc(&mut self) -> Result<Expr, String> {
        self.need("<<")?;
        let indented = self.take("-");
        let name = self.name().ok_or("expected the name that ends the text after <<")?;
        self.take("\r");
        self.need("\n")?;
        let mut lines: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Err(format!("the text is not closed by a line {name}"));
            }
            let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
            let line = &rest[..length];
            if line.trim() == name {
                // The new line after the name ends the attribute.
                self.at += line.trim_end_matches(['\n', '\r']).len();
                break;
            }
            lines.push(line);
            self.at += length;
        }
        let indent = |line: &&&str| line.len() - line.trim_start_matches([' ', '\t']).len();
        let least = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(&line)).min().unwrap_or(0);
        let cut = if indented { least } else { 0 };
        let text: String = lines.iter().map(|line| line.get(cut..).unwrap_or("\n")).collect();
        let mut inner = Parser::new(&text);
        Ok(simple(inner.template(End::Text)?))
    }
}

fn push(parts: &mut Vec<Part>, text: &mut String, trim: &mut bool) {
    let mut taken = std::mem::take(text);
    if std::mem::take(trim) {
        taken = taken.trim_start().to_owned();
    }
    if !taken.is_empty() {
        parts.push(Part::Text(taken));
    }
}
