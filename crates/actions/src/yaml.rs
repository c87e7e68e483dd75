//! Workflow files as a tree that keeps line and column, resolved by the YAML 1.2 core schema as GitHub's parser does
//! (`on` is a string, `yes` is a string). Aliases are expanded within a bound; tags, merge keys and several documents are refused.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::expr::Value;

/// The largest file accepted, in bytes.
pub const MAX_SIZE: usize = 1024 * 1024;
const MAX_DEPTH: usize = 100;
const MAX_NODES: usize = 200_000;

/// A place in a file, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A null, boolean, number or string; with the text as written.
    Scalar {
        /// The resolved value.
        value: Value,
        /// The text.
        text: String,
        /// Whether it is a block scalar, whose content starts on the next line.
        block: bool,
    },
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping in order of writing; keys are unique.
    Mapping(Vec<(Node, Node)>),
}

/// Why a file is not YAML that a workflow may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub at: Position,
    /// What.
    pub message: String,
}

impl Node {
    /// The scalar's text, when it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is an explicit or implicit null.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { value: Value::Null, .. })
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Parses one document. An empty text gives a null node.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    if text.len() > MAX_SIZE {
        return Err(SyntaxError {
            at: Position { line: 1, column: 1 },
            message: format!("the file has {} bytes; at most {MAX_SIZE} are allowed", text.len()),
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: Vec::new(), nodes: 0 };
    builder.document()
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: Vec<(usize, Node, usize)>,
    nodes: usize,
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn count(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } => 0,
        Kind::Sequence(items) => items.iter().map(count).sum(),
        Kind::Mapping(entries) => entries.iter().map(|(key, value)| count(key) + count(value)).sum(),
    }
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(SyntaxError {
                at: Position { line: error.marker().line(), column: error.marker().col() + 1 },
                message: error.info().to_owned(),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, SyntaxError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(SyntaxError {
                        at: position(span),
                        message: "a second document starts here; a workflow file holds one".into(),
                    });
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                _ => break,
            }
        }
        Ok(root.unwrap_or(Node {
            at: Position { line: 1, column: 1 },
            kind: Kind::Scalar { value: Value::Null, text: String::new(), block: false },
        }))
    }

    fn charge(&mut self, nodes: usize, at: Position) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(SyntaxError { at, message: format!("the file expands to more than {MAX_NODES} values") });
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        let at = position(span);
        if depth > MAX_DEPTH {
            return Err(SyntaxError { at, message: format!("nested deeper than {MAX_DEPTH} levels") });
        }
        self.charge(1, at)?;
        let refuse_tag = |suffix: &str| SyntaxError {
            at,
            message: format!("the tag '!{suffix}' is not supported in workflow files"),
        };
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = match &tag {
                    Some(tag) if tag.suffix == "str" => Value::string(&text),
                    Some(tag) => match (tag.suffix.as_str(), resolve(&text)) {
                        ("bool", value @ Value::Bool(_))
                        | ("int" | "float", value @ Value::Number(_))
                        | ("null", value @ Value::Null) => value,
                        ("bool" | "int" | "float" | "null", _) => {
                            let message = format!("The value '{text}' is invalid for the type '!!{}'", tag.suffix);
                            return Err(SyntaxError { at, message });
                        }
                        _ => return Err(refuse_tag(&tag.suffix)),
                    },
                    _ if style == ScalarStyle::Plain => resolve(&text),
                    _ => Value::string(&text),
                };
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                (Kind::Scalar { value, text: text.into_owned(), block }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                if let Some(tag) = tag
                    && tag.suffix != "seq"
                {
                    return Err(refuse_tag(&tag.suffix));
                }
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
                (Kind::Sequence(items), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                if let Some(tag) = tag
                    && tag.suffix != "map"
                {
                    return Err(refuse_tag(&tag.suffix));
                }
                (self.mapping(depth)?, anchor)
            }
            Event::Alias(id) => {
                let Some((_, node, size)) = self.anchors.iter().find(|(anchor, ..)| *anchor == id) else {
                    return Err(SyntaxError { at, message: "this alias stands inside its own anchor".into() });
                };
                let (node, size) = (node.clone(), *size);
                self.charge(size, at)?;
                return Ok(node);
            }
            other => return Err(SyntaxError { at, message: format!("unexpected {other:?}") }),
        };
        let node = Node { at, kind };
        if anchor > 0 {
            self.anchors.push((anchor, node.clone(), count(&node)));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Kind::Mapping(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let Some(name) = key.text() else {
                return Err(SyntaxError { at: key.at, message: "a key must be a string".into() });
            };
            if name == "<<" {
                return Err(SyntaxError {
                    at: key.at,
                    message: "merge keys ('<<') are not supported in workflow files".into(),
                });
            }
            if entries.iter().any(|(other, _)| other.text() == Some(name)) {
                return Err(SyntaxError { at: key.at, message: format!("'{name}' is already defined") });
            }
            let (event, span) = self.next()?;
            let mut value = self.node(event, span, depth + 1)?;
            // What is not there begins behind the colon.
            if matches!(&value.kind, Kind::Scalar { text, value: Value::Null, .. } if text.is_empty())
                && value.at.line == key.at.line
            {
                value.at.column += 1;
            }
            entries.push((key, value));
        }
    }
}

/// A plain scalar by the core schema.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Number(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Number(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Number(f64::NAN),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).map_or_else(|_| Value::string(text), |n| Value::Number(n as f64));
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).map_or_else(|_| Value::string(text), |n| Value::Number(n as f64));
    }
    if is_number(text) { text.parse().map_or_else(|_| Value::string(text), Value::Number) } else { Value::string(text) }
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Value {
        match parse(text).unwrap().kind {
            Kind::Scalar { value, .. } => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn core_schema() {
        assert_eq!(scalar("on"), Value::from("on"));
        assert_eq!(scalar("yes"), Value::from("yes"));
        assert_eq!(scalar("True"), Value::Bool(true));
        assert_eq!(scalar("0o17"), Value::Number(15.0));
        assert_eq!(scalar("0755"), Value::Number(755.0));
        assert_eq!(scalar("12e4567"), Value::Number(f64::INFINITY));
        assert_eq!(scalar("'1234567'"), Value::from("1234567"));
        assert_eq!(scalar("1.2.3"), Value::from("1.2.3"));
        assert_eq!(scalar("~"), Value::Null);
    }

    #[test]
    fn places_are_counted_from_one() {
        let root = parse("a:\n  - b: c\n").unwrap();
        let Kind::Sequence(items) = &root.get("a").unwrap().kind else { panic!() };
        assert_eq!(items[0].get("b").unwrap().at, Position { line: 2, column: 8 });
    }

    #[test]
    fn hostile_files_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("expands to more than"));
        assert!(parse(&"[".repeat(5_000)).is_err());
        assert!(parse(&"- ".repeat(5_000)).unwrap_err().message.contains("nested deeper"));
        assert!(parse("a: 1\na: 2").unwrap_err().message.contains("already defined"));
        assert!(parse("a: &x [*x]").is_err());
        assert!(parse("a: !custom 1").is_err());
        assert!(parse("a: !!float test").unwrap_err().message.contains("'!!float'"));
    }
}
