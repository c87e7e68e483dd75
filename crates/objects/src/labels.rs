//! Label selectors: the text form of query strings and the `LabelSelector` object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::names;

/// A conjunction of requirements on labels. The empty selector matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
}

/// What a requirement asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// The label is there with one of these values.
    In(BTreeSet<String>),
    /// The label is missing or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The label is an integer above this (node affinity and text selectors only).
    Gt(i64),
    /// The label is an integer below this.
    Lt(i64),
}

/// A selector that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not follow the grammar.
    #[error("unable to parse requirement: {0}")]
    Syntax(String),
    /// A key is no qualified name.
    #[error("invalid label key {key:?}: {reason}")]
    Key {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// A value is no label value.
    #[error("invalid label value {value:?}: {reason}")]
    Value {
        /// The value.
        value: String,
        /// Why.
        reason: String,
    },
    /// The object is no `LabelSelector`.
    #[error("invalid label selector: {0}")]
    Object(String),
}

/// Labels that a selector can look at.
pub trait Labels {
    /// The value of a label.
    fn value(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// A JSON object of strings; anything else has no labels.
impl Labels for Value {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for [(Box<str>, Box<str>)] {
    fn value(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
}

impl Selector {
    /// Matches everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches nothing.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Parses the text form, such as `app=web,tier in (a,b),!canary`.
    ///
    /// # Errors
    /// The text does not follow the grammar, or a key or value is not valid.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { tokens: lex(text)?, at: 0 };
        let mut requirements = Vec::new();
        if parser.peek() == &Token::End {
            return Ok(Self::default());
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.next() {
                Token::End => break,
                Token::Comma => {
                    if parser.peek() == &Token::End {
                        return Err(Error::Syntax("found ',', expected an identifier after it".into()));
                    }
                }
                other => return Err(Error::Syntax(format!("found '{other}', expected: ',' or 'end of string'"))),
            }
        }
        Ok(Self { requirements, nothing: false })
    }

    /// From a `LabelSelector` object (`matchLabels`, `matchExpressions`). `null` (a nil pointer) matches nothing, the
    /// empty object everything, as in Kubernetes.
    ///
    /// # Errors
    /// An operator is unknown, or values do not fit it.
    pub fn from_label_selector(selector: &Value) -> Result<Self, Error> {
        let map = match selector {
            Value::Null => return Ok(Self::nothing()),
            Value::Object(map) => map,
            _ => return Err(Error::Object("not an object".into())),
        };
        let mut requirements = Vec::new();
        if let Some(Value::Object(labels)) = map.get("matchLabels") {
            for (key, value) in labels {
                let value = value.as_str().ok_or_else(|| Error::Object(format!("value of {key:?} is not a string")))?;
                requirements
                    .push(Requirement { key: key.clone(), operator: Operator::In(BTreeSet::from([value.to_owned()])) });
            }
        }
        if let Some(Value::Array(list)) = map.get("matchExpressions") {
            for expression in list {
                requirements.push(Requirement::from_expression(expression)?);
            }
        }
        Ok(Self { requirements, nothing: false })
    }

    /// From a plain map of labels (a Service's or ReplicationController's selector).
    pub fn from_map(map: &BTreeMap<String, String>) -> Self {
        let requirement = |(k, v): (&String, &String)| Requirement {
            key: k.clone(),
            operator: Operator::In(BTreeSet::from([v.clone()])),
        };
        Self { requirements: map.iter().map(requirement).collect(), nothing: false }
    }

    /// From a list of expressions (`NodeSelectorTerm.matchExpressions`), `Gt` and `Lt` included.
    ///
    /// # Errors
    /// An operator is unknown, or values do not fit it.
    pub fn from_expressions(list: &[Value]) -> Result<Self, Error> {
        let requirements = list.iter().map(Requirement::from_expression).collect::<Result<_, _>>()?;
        Ok(Self { requirements, nothing: false })
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether an object's `metadata.labels` satisfy every requirement.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(object.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    /// Whether it has no requirement and so matches everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Its requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    fn from_expression(expression: &Value) -> Result<Self, Error> {
        let field = |name: &str| expression.get(name).and_then(Value::as_str);
        let key = field("key").ok_or_else(|| Error::Object("expression without key".into()))?;
        let values: BTreeSet<String> = match expression.get("values") {
            None | Some(Value::Null) => BTreeSet::new(),
            Some(Value::Array(list)) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            Some(_) => return Err(Error::Object(format!("values of {key:?} are not a list"))),
        };
        let number = || {
            let only = values.iter().next().filter(|_| values.len() == 1);
            only.and_then(|v| v.parse().ok()).ok_or_else(|| Error::Object(format!("{key:?} needs exactly one integer")))
        };
        let operator = match field("operator") {
            Some("In" | "NotIn") if values.is_empty() => {
                return Err(Error::Object(format!(
                    "for 'in', 'notin' operators, values set of {key:?} can't be empty"
                )));
            }
            Some("Exists" | "DoesNotExist") if !values.is_empty() => {
                return Err(Error::Object(format!(
                    "values set of {key:?} must be empty for exists and does not exist"
                )));
            }
            Some("In") => Operator::In(values),
            Some("NotIn") => Operator::NotIn(values),
            Some("Exists") => Operator::Exists,
            Some("DoesNotExist") => Operator::DoesNotExist,
            Some("Gt") => Operator::Gt(number()?),
            Some("Lt") => Operator::Lt(number()?),
            other => {
                return Err(Error::Object(format!("{:?} is not a valid label selector operator", other.unwrap_or(""))));
            }
        };
        Ok(Self { key: key.to_owned(), operator })
    }

    /// Whether the labels satisfy it.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let value = labels.value(&self.key);
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|v| values.contains(v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt(than) => number().is_some_and(|n| n > *than),
            Operator::Lt(than) => number().is_some_and(|n| n < *than),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Operator::In(values) => write!(f, "{key} in ({})", list(values)),
            Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Gt(n) => write!(f, "{key}>{n}"),
            Operator::Lt(n) => write!(f, "{key}<{n}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Equals,
    NotEquals,
    Not,
    Greater,
    Less,
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Token::Word(word) => word,
            Token::Comma => ",",
            Token::Open => "(",
            Token::Close => ")",
            Token::Equals => "=",
            Token::NotEquals => "!=",
            Token::Not => "!",
            Token::Greater => ">",
            Token::Less => "<",
            Token::End => "",
        })
    }
}

fn lex(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        chars.next();
        tokens.push(match c {
            c if c.is_whitespace() => continue,
            ',' => Token::Comma,
            '(' => Token::Open,
            ')' => Token::Close,
            '>' => Token::Greater,
            '<' => Token::Less,
            '=' => {
                chars.next_if_eq(&'=');
                Token::Equals
            }
            '!' => match chars.next_if_eq(&'=') {
                Some(_) => Token::NotEquals,
                None => Token::Not,
            },
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !",()><=!".contains(*c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
        });
    }
    tokens.push(Token::End);
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        if self.peek() == &Token::Not {
            self.next();
            let key = self.key()?;
            return Ok(Requirement { key, operator: Operator::DoesNotExist });
        }
        let key = self.key()?;
        let operator = match self.peek().clone() {
            Token::End | Token::Comma => return Ok(Requirement { key, operator: Operator::Exists }),
            Token::Equals => {
                self.next();
                Operator::In(BTreeSet::from([self.value()?]))
            }
            Token::NotEquals => {
                self.next();
                Operator::NotIn(BTreeSet::from([self.value()?]))
            }
            Token::Greater | Token::Less => {
                let greater = self.next() == Token::Greater;
                let value = self.value()?;
                let number = value.parse().map_err(|_| Error::Syntax(format!("{value:?} is not an integer")))?;
                if greater { Operator::Gt(number) } else { Operator::Lt(number) }
            }
            Token::Word(word) if word == "in" => {
                self.next();
                Operator::In(self.values()?)
            }
            Token::Word(word) if word == "notin" => {
                self.next();
                Operator::NotIn(self.values()?)
            }
            other => {
                return Err(Error::Syntax(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")));
            }
        };
        Ok(Requirement { key, operator })
    }

    fn key(&mut self) -> Result<String, Error> {
        match self.next() {
            Token::Word(key) => match names::qualified_name(&key) {
                Ok(()) => Ok(key),
                Err(reason) => Err(Error::Key { key, reason }),
            },
            other => Err(Error::Syntax(format!("found '{other}', expected: !, identifier, or 'end of string'"))),
        }
    }

    fn value(&mut self) -> Result<String, Error> {
        let value = match self.peek() {
            Token::End | Token::Comma | Token::Close => return Ok(String::new()),
            Token::Word(word) => word.clone(),
            other => return Err(Error::Syntax(format!("found '{other}', expected: identifier"))),
        };
        self.next();
        match names::label_value(&value) {
            Ok(()) => Ok(value),
            Err(reason) => Err(Error::Value { value, reason }),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, Error> {
        let open = self.next();
        if open != Token::Open {
            return Err(Error::Syntax(format!("found '{open}' expected: '('")));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(Error::Syntax(format!("found '{other}', expected: ',' or ')'"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn text_form() {
        let have = labels(&[("app", "web"), ("tier", "a"), ("n", "5"), ("empty", "")]);
        for (text, want) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier in (a, b)", true),
            ("app!=web", false),
            ("missing!=x", true),
            ("tier notin (a)", false),
            ("!missing", true),
            ("!app", false),
            ("app", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("empty=", true),
            ("app in (,x)", false),
            ("example.com/x", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&have), want, "{text}");
        }
        for text in
            ["a=b=c", "a in b", "a in (b", "=x", ",", "a,", "!", "a b", "-x", "a=-x", "n>x", "a//b", "(", "x/y/z=1"]
        {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_parses() {
        for text in ["a=b", "a in (b,c),!d,e", "a!=b", "a notin (b,c)"] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn object_form() {
        let have = labels(&[("app", "web")]);
        for (selector, want) in [
            (json!(null), false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "web"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false),
        ] {
            assert_eq!(Selector::from_label_selector(&selector).unwrap().matches(&have), want, "{selector}");
        }
        for selector in [
            json!([]),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            json!({"matchLabels": {"a": 1}}),
        ] {
            assert!(Selector::from_label_selector(&selector).is_err(), "{selector}");
        }
    }
}
