//! Reads a template of Kubernetes' JSONPath.

use super::{Node, Slice};

/// The nodes of a template.
///
/// # Errors
/// In the words of the reference.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { text, at: 0 };
    let mut nodes = Vec::new();
    while parser.at < text.len() {
        let rest = parser.rest();
        let end = rest.find('{').unwrap_or(rest.len());
        if end > 0 {
            nodes.push(Node::Text(rest[..end].to_owned()));
        }
        parser.at += end;
        if parser.eat("{") {
            nodes.push(Node::List(parser.action()?));
        }
    }
    Ok(nodes)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

/// Whether a character ends a field.
fn ends(c: char) -> bool {
    matches!(c, ' ' | '\r' | '\n' | '\t' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// Everything up to `}`.
    fn action(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        loop {
            if self.eat("}") {
                return Ok(nodes);
            }
            if self.eat("[?(") {
                nodes.push(self.filter()?);
                continue;
            }
            if self.eat("..") {
                if matches!(nodes.last(), Some(Node::Recursive)) {
                    return Err("invalid multiple recursive descent".to_owned());
                }
                nodes.push(Node::Recursive);
                if self.rest().starts_with(is_word) {
                    nodes.push(self.field());
                }
                continue;
            }
            let Some(c) = self.rest().chars().next() else { return Err("unclosed action".to_owned()) };
            match c {
                '\r' | '\n' => return Err("unclosed action".to_owned()),
                ' ' | '@' | '$' => self.at += 1,
                '[' => self.array(&mut nodes)?,
                '"' | '\'' => nodes.push(self.quote(c)?),
                '.' => {
                    self.at += 1;
                    nodes.push(self.field());
                }
                c if matches!(c, '+' | '-') || c.is_ascii_digit() => nodes.push(self.number()?),
                c if is_word(c) => {
                    let end = self.rest().find(ends).unwrap_or(self.rest().len());
                    let word = &self.rest()[..end];
                    self.at += end;
                    nodes.push(match word {
                        "true" => Node::Bool(true),
                        "false" => Node::Bool(false),
                        word => Node::Word(word.to_owned()),
                    });
                }
                c => return Err(format!("unrecognized character in action: U+{:04X} '{c}'", u32::from(c))),
            }
        }
    }

    fn field(&mut self) -> Node {
        let mut name = String::new();
        let mut chars = self.rest().char_indices();
        let mut end = self.rest().len();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                name.extend(chars.next().map(|(_, escaped)| escaped));
            } else if ends(c) {
                end = at;
                break;
            } else {
                name.push(c);
            }
        }
        self.at += end;
        if name == "*" { Node::Wildcard } else { Node::Field(name) }
    }

    fn number(&mut self) -> Result<Node, String> {
        let sign = usize::from(self.rest().starts_with(['+', '-']));
        let digits = self.rest()[sign..].find(|c: char| !c.is_ascii_digit() && c != '.');
        let end = digits.map_or(self.rest().len(), |end| end + sign);
        let text = &self.rest()[..end];
        self.at += end;
        if let Ok(int) = text.parse() {
            return Ok(Node::Int(int));
        }
        text.parse().map(Node::Float).map_err(|_| format!("cannot parse number {text}"))
    }

    fn quote(&mut self, end: char) -> Result<Node, String> {
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                    None => break,
                },
                c if c == end => {
                    self.at += at + 2;
                    return Ok(Node::Text(text));
                }
                '\r' | '\n' => break,
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    /// `[...]`: indexes, slices, keys, and unions of those.
    fn array(&mut self, nodes: &mut Vec<Node>) -> Result<(), String> {
        let close = self.rest().find([']', '\n', '\r']).filter(|at| self.rest()[*at..].starts_with(']'));
        let close = close.ok_or("unterminated array")?;
        let text = &self.rest()[1..close];
        self.at += close + 1;
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > 1 {
            let union = parts.iter().map(|part| {
                let mut nodes = Vec::new();
                Parser { text: &format!("[{}]", part.trim_matches(' ')), at: 0 }.array(&mut nodes)?;
                Ok(nodes)
            });
            nodes.push(Node::Union(union.collect::<Result<_, String>>()?));
            return Ok(());
        }
        let text = if text == "*" { ":" } else { text };
        if let Some(key) =
            text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).filter(|k| !k.contains('\''))
        {
            let mut below = Parser { text: &format!(".{key}}}"), at: 0 }.action()?;
            nodes.append(&mut below);
            return Ok(());
        }
        let invalid = || format!("invalid array index {text}");
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() > 3 {
            return Err(invalid());
        }
        let number = |part: Option<&&str>| match part {
            None | Some(&"") => Ok(None),
            Some(part) if part.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) => {
                part.parse::<i64>().map(Some).map_err(|_| invalid())
            }
            Some(_) => Err(invalid()),
        };
        let from = number(parts.first())?;
        let to = if parts.len() > 1 { number(parts.get(1))? } else { Some(from.unwrap_or(0) + 1) };
        let is_one = parts.len() == 1;
        nodes.push(Node::Slice(Slice { from, to, step: number(parts.get(2))?, is_one }));
        Ok(())
    }

    /// What stands in `[?(...)]`.
    fn filter(&mut self) -> Result<Node, String> {
        let mut quote = None;
        let mut end = None;
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(_), '\\') => drop(chars.next()),
                (Some(open), c) if c == open => quote = None,
                (None, ')') => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let end = end.ok_or("unterminated filter")?;
        let text = &self.rest()[..end];
        self.at += end + 1;
        if !self.eat("]") {
            return Err("unclosed array expect ]".to_owned());
        }
        let side = |text: &str| Parser { text: &format!("{text}}}"), at: 0 }.action();
        let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let Some(start) = text.find(is_operator).filter(|start| *start > 0) else {
            return Ok(Node::Filter(side(text)?, String::new(), Vec::new()));
        };
        let length = text[start..].find(|c| !is_operator(c)).unwrap_or(text.len() - start);
        let (left, operator, right) = (&text[..start], &text[start..start + length], &text[start + length..]);
        Ok(Node::Filter(side(left)?, operator.to_owned(), side(right)?))
    }
}
