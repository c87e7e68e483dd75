//! GraphQL's query language (October 2021, section 2): lexer and parser of executable documents. Pure, with bounded depth.

use std::collections::BTreeMap;

/// A text that is not a GraphQL document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("Parse error on {0:?}")]
    Unexpected(String),
    #[error("Unexpected end of document")]
    End,
    #[error("The document is nested too deeply")]
    TooDeep,
}

/// How deep selections and values may nest.
const DEEPEST: usize = 40;

/// Operations and fragments.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Document {
    pub operations: Vec<Operation>,
    pub fragments: BTreeMap<String, Fragment>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    pub mutation: bool,
    pub name: Option<String>,
    /// Variables with their default values.
    pub variables: Vec<(String, Option<Input>)>,
    pub selection: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fragment {
    pub on: String,
    pub selection: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Selection {
    Field(Field),
    Spread { name: String, directives: Vec<Directive> },
    Inline { on: Option<String>, selection: Vec<Selection>, directives: Vec<Directive> },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub alias: Option<String>,
    pub name: String,
    pub arguments: Vec<(String, Input)>,
    pub directives: Vec<Directive>,
    pub selection: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Directive {
    pub name: String,
    pub arguments: Vec<(String, Input)>,
}

/// A value in a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    Variable(String),
    /// Numbers, strings, booleans, null; enum values are strings.
    Plain(serde_json::Value),
    List(Vec<Input>),
    Object(Vec<(String, Input)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `!`, `$`, `(`, `)`, `...`, `:`, `=`, `@`, `[`, `]`, `{`, `}`, `|`, `&`
    Mark(&'static str),
    Name(String),
    Number(String),
    Text(String),
}

/// Parses a document.
pub(crate) fn document(text: &str) -> Result<Document, Error> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut document = Document::default();
    while parser.at < parser.tokens.len() {
        match parser.peek() {
            Some(Token::Mark("{")) => {
                let selection = parser.selection(0)?;
                document.operations.push(Operation { mutation: false, name: None, variables: Vec::new(), selection });
            }
            Some(Token::Name(word)) if word == "fragment" => {
                parser.at += 1;
                let name = parser.name()?;
                parser.word("on")?;
                let on = parser.name()?;
                parser.directives(0)?;
                let selection = parser.selection(0)?;
                document.fragments.insert(name, Fragment { on, selection });
            }
            Some(Token::Name(word)) if word == "query" || word == "mutation" => {
                let mutation = word == "mutation";
                parser.at += 1;
                let operation = parser.operation(mutation)?;
                document.operations.push(operation);
            }
            _ => return Err(parser.unexpected()),
        }
    }
    if document.operations.is_empty() { Err(Error::End) } else { Ok(document) }
}

fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', '\u{feff}']);
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        if first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let marks = ["...", "!", "$", "(", ")", ":", "=", "@", "[", "]", "{", "}", "|", "&"];
        if let Some(mark) = marks.into_iter().find(|mark| rest.starts_with(mark)) {
            tokens.push(Token::Mark(mark));
            rest = &rest[mark.len()..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if first.is_ascii_digit() || first == '-' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
            tokens.push(Token::Number(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(body) = rest.strip_prefix("\"\"\"") {
            let (block, after) = body.split_once("\"\"\"").ok_or(Error::End)?;
            tokens.push(Token::Text(block.to_owned()));
            rest = after;
        } else if first == '"' {
            let (text, after) = string(&rest[1..])?;
            tokens.push(Token::Text(text));
            rest = after;
        } else {
            return Err(Error::Unexpected(first.to_string()));
        }
    }
}

/// A string after its opening quote, and what follows its closing one.
fn string(text: &str) -> Result<(String, &str), Error> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[at + 1..])),
            '\n' => return Err(Error::Unexpected("newline".to_owned())),
            '\\' => match chars.next().ok_or(Error::End)?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'b' => out.push('\u{8}'),
                'f' => out.push('\u{c}'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&digits, 16).map_err(|_| Error::Unexpected(digits))?;
                    out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    Err(Error::End)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn unexpected(&self) -> Error {
        match self.peek() {
            Some(Token::Mark(mark)) => Error::Unexpected((*mark).to_owned()),
            Some(Token::Name(text) | Token::Number(text) | Token::Text(text)) => Error::Unexpected(text.clone()),
            None => Error::End,
        }
    }

    /// Takes a mark if it is next.
    fn takes(&mut self, mark: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Mark(have)) if *have == mark);
        self.at += usize::from(is);
        is
    }

    fn needs(&mut self, mark: &str) -> Result<(), Error> {
        if self.takes(mark) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn name(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        if self.name()? == word { Ok(()) } else { Err(Error::Unexpected(word.to_owned())) }
    }

    fn operation(&mut self, mutation: bool) -> Result<Operation, Error> {
        let name = match self.peek() {
            Some(Token::Name(_)) => Some(self.name()?),
            _ => None,
        };
        let mut variables = Vec::new();
        if self.takes("(") {
            while !self.takes(")") {
                self.needs("$")?;
                let variable = self.name()?;
                self.needs(":")?;
                self.a_type(0)?;
                let default = if self.takes("=") { Some(self.value(0)?) } else { None };
                self.directives(0)?;
                variables.push((variable, default));
            }
        }
        self.directives(0)?;
        let selection = self.selection(0)?;
        Ok(Operation { mutation, name, variables, selection })
    }

    fn a_type(&mut self, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::TooDeep);
        }
        if self.takes("[") {
            self.a_type(depth + 1)?;
            self.needs("]")?;
        } else {
            self.name()?;
        }
        self.takes("!");
        Ok(())
    }

    fn selection(&mut self, depth: usize) -> Result<Vec<Selection>, Error> {
        if depth > DEEPEST {
            return Err(Error::TooDeep);
        }
        self.needs("{")?;
        let mut selection = Vec::new();
        while !self.takes("}") {
            if !self.takes("...") {
                selection.push(Selection::Field(self.field(depth)?));
                continue;
            }
            match self.peek() {
                Some(Token::Name(word)) if word != "on" => {
                    let name = self.name()?;
                    selection.push(Selection::Spread { name, directives: self.directives(depth)? });
                }
                _ => {
                    let on = match self.peek() {
                        Some(Token::Name(_)) => {
                            self.word("on")?;
                            Some(self.name()?)
                        }
                        _ => None,
                    };
                    let directives = self.directives(depth)?;
                    let selected = self.selection(depth + 1)?;
                    selection.push(Selection::Inline { on, selection: selected, directives });
                }
            }
        }
        Ok(selection)
    }

    fn field(&mut self, depth: usize) -> Result<Field, Error> {
        let first = self.name()?;
        let (alias, name) = if self.takes(":") { (Some(first), self.name()?) } else { (None, first) };
        let arguments = self.arguments(depth)?;
        let directives = self.directives(depth)?;
        let selection = match self.peek() {
            Some(Token::Mark("{")) => self.selection(depth + 1)?,
            _ => Vec::new(),
        };
        Ok(Field { alias, name, arguments, directives, selection })
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<(String, Input)>, Error> {
        let mut arguments = Vec::new();
        if self.takes("(") {
            while !self.takes(")") {
                let name = self.name()?;
                self.needs(":")?;
                arguments.push((name, self.value(depth)?));
            }
        }
        Ok(arguments)
    }

    fn directives(&mut self, depth: usize) -> Result<Vec<Directive>, Error> {
        let mut directives = Vec::new();
        while self.takes("@") {
            let name = self.name()?;
            directives.push(Directive { name, arguments: self.arguments(depth)? });
        }
        Ok(directives)
    }

    fn value(&mut self, depth: usize) -> Result<Input, Error> {
        if depth > DEEPEST {
            return Err(Error::TooDeep);
        }
        if self.takes("$") {
            return Ok(Input::Variable(self.name()?));
        }
        if self.takes("[") {
            let mut items = Vec::new();
            while !self.takes("]") {
                items.push(self.value(depth + 1)?);
            }
            return Ok(Input::List(items));
        }
        if self.takes("{") {
            let mut fields = Vec::new();
            while !self.takes("}") {
                let name = self.name()?;
                self.needs(":")?;
                fields.push((name, self.value(depth + 1)?));
            }
            return Ok(Input::Object(fields));
        }
        let value = match self.peek() {
            Some(Token::Text(text)) => serde_json::Value::from(text.clone()),
            Some(Token::Number(text)) => serde_json::from_str(text).map_err(|_| Error::Unexpected(text.clone()))?,
            Some(Token::Name(name)) => match name.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                "null" => serde_json::Value::Null,
                other => other.into(),
            },
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(Input::Plain(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn documents_as_clients_send_them() {
        let text = r#"
            query PullRequestByNumber($owner: String!, $n: Int = 3, $states: [PullRequestState!]) {
              repository(owner: $owner, name: "a\nb") { # a comment
                own: pullRequest(number: $n) @include(if: true) { ...pr, id ... on Node { id } }
              }
            }
            fragment pr on PullRequest { labels(first: 100, orderBy: {field: NAME}) { nodes { name } } }
        "#;
        let document = document(text).expect("parses");
        let operation = &document.operations[0];
        assert_eq!(operation.name.as_deref(), Some("PullRequestByNumber"));
        assert_eq!(operation.variables[1], ("n".to_owned(), Some(Input::Plain(3.into()))));
        let Selection::Field(repository) = &operation.selection[0] else { panic!("a field") };
        assert_eq!(repository.arguments[1].1, Input::Plain("a\nb".into()));
        let Selection::Field(pull) = &repository.selection[0] else { panic!("a field") };
        assert_eq!((pull.alias.as_deref(), pull.name.as_str(), pull.selection.len()), (Some("own"), "pullRequest", 3));
        assert!(document.fragments.contains_key("pr"));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in ["", "{", "{ a", "{ a(b: ) }", "query { a } }", "subscription { a }", "{ a(b: \"x) }", "%"] {
            assert!(document(text).is_err(), "{text:?}");
        }
        assert_eq!(document(&"{a".repeat(1000)), Err(Error::TooDeep));
        assert_eq!(document(&format!("{{a(b: {}", "[".repeat(1000))), Err(Error::TooDeep));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[\\PC\n]{0,80}") {
            let _ = document(&text);
        }

        #[test]
        fn nothing_made_of_its_marks_does_either(text in "[{}()\\[\\]:$@!\"\\\\a1. ]{0,80}") {
            let _ = document(&text);
        }
    }
}
