//! Builds the tree of an expression, checking names and arities.

use super::functions::{self, format_problem};
use super::lex::{self, Kind, Token, located};
use super::value::Value;
use super::{Error, MAX_DEPTH};

/// Which contexts and which functions beyond the universal ones may be named at a place of a workflow file.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    contexts: Vec<String>,
    functions: Vec<(String, usize, usize)>,
}

impl Allowed {
    /// `contexts` by name; `functions` as name and the least and most arguments.
    pub fn new<S: AsRef<str>>(contexts: impl IntoIterator<Item = S>, functions: &[(&str, usize, usize)]) -> Self {
        Self {
            contexts: contexts.into_iter().map(|name| name.as_ref().to_ascii_lowercase()).collect(),
            functions: functions.iter().map(|(name, min, max)| (name.to_ascii_lowercase(), *min, *max)).collect(),
        }
    }

    fn context(&self, name: &str) -> bool {
        self.contexts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    fn function(&self, name: &str) -> Option<(usize, usize)> {
        self.functions
            .iter()
            .find(|(allowed, ..)| allowed.eq_ignore_ascii_case(name))
            .map(|(_, min, max)| (*min, *max))
            .or_else(|| functions::arity(name))
    }
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub enum Node {
    /// A constant.
    Literal(Value),
    /// The name of a context.
    Context(String),
    /// A function by lower-case name, with arguments.
    Call(String, Vec<Node>),
    /// `a.b`, `a['b']`.
    Index(Box<Node>, Box<Node>),
    /// `a.*`.
    Star(Box<Node>),
    /// `!a`.
    Not(Box<Node>),
    /// `a && b && …`; the value is that of the deciding operand.
    And(Vec<Node>),
    /// `a || b || …`; the value is that of the deciding operand.
    Or(Vec<Node>),
    /// A comparison.
    Compare(Comparison, Box<Node>, Box<Node>),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A checked expression.
#[derive(Debug, Clone)]
pub struct Expression {
    root: Option<Node>,
}

impl Expression {
    /// The tree; none for the empty expression, whose value is null.
    pub fn root(&self) -> Option<&Node> {
        self.root.as_ref()
    }

    /// Whether a function of this name (any case) is called anywhere.
    pub fn calls(&self, names: &[&str]) -> bool {
        self.any(&|node| matches!(node, Node::Call(name, _) if names.iter().any(|n| n.eq_ignore_ascii_case(name))))
    }

    /// Whether a context of this name (any case) is used anywhere.
    pub fn uses(&self, context: &str) -> bool {
        self.any(&|node| matches!(node, Node::Context(name) if name.eq_ignore_ascii_case(context)))
    }

    fn any(&self, test: &dyn Fn(&Node) -> bool) -> bool {
        self.root.as_ref().is_some_and(|root| walk(root, test))
    }
}

fn walk(node: &Node, test: &dyn Fn(&Node) -> bool) -> bool {
    test(node)
        || match node {
            Node::Literal(_) | Node::Context(_) => false,
            Node::Call(_, args) | Node::And(args) | Node::Or(args) => args.iter().any(|arg| walk(arg, test)),
            Node::Star(inner) | Node::Not(inner) => walk(inner, test),
            Node::Index(a, b) | Node::Compare(_, a, b) => walk(a, test) || walk(b, test),
        }
}

/// Parses one expression, without `${{ }}`.
pub fn parse(text: &str, allowed: &Allowed) -> Result<Expression, Error> {
    let tokens = lex::tokens(text)?;
    let mut parser = Parser { text, tokens, at: 0, depth: 0, allowed };
    if parser.at_end() {
        return Ok(Expression { root: None });
    }
    let root = parser.or()?;
    if !parser.at_end() {
        return Err(parser.unexpected());
    }
    Ok(Expression { root: Some(root) })
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
    allowed: &'a Allowed,
}

impl<'a> Parser<'a> {
    fn at_end(&self) -> bool {
        self.peek().kind == Kind::End
    }

    fn peek(&self) -> &Token<'a> {
        &self.tokens[self.at]
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let found = self.peek().kind == *kind && !self.at_end();
        if found {
            self.at += 1;
        }
        found
    }

    fn unexpected(&self) -> Error {
        if self.at_end() {
            return self.end_of_expression();
        }
        let token = self.peek();
        Error::parsing(located("Unexpected symbol", token.lexeme, self.text, token.offset))
    }

    fn end_of_expression(&self) -> Error {
        let token = &self.tokens[self.at.saturating_sub(1)];
        Error::parsing(located("Unexpected end of expression", token.lexeme, self.text, token.offset))
    }

    fn expect(&mut self, kind: &Kind) -> Result<(), Error> {
        if self.take(kind) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn deeper<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::parsing(format!("Exceeded max expression depth {MAX_DEPTH}")));
        }
        let result = body(self);
        self.depth -= 1;
        result
    }

    fn or(&mut self) -> Result<Node, Error> {
        self.deeper(|this| {
            let first = this.and()?;
            if this.peek().kind != Kind::Or {
                return Ok(first);
            }
            let mut operands = vec![first];
            while this.take(&Kind::Or) {
                operands.push(this.and()?);
            }
            Ok(Node::Or(operands))
        })
    }

    fn and(&mut self) -> Result<Node, Error> {
        let first = self.equality()?;
        if self.peek().kind != Kind::And {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(&Kind::And) {
            operands.push(self.equality()?);
        }
        Ok(Node::And(operands))
    }

    fn equality(&mut self) -> Result<Node, Error> {
        let mut left = self.comparison()?;
        loop {
            let operator = match self.peek().kind {
                Kind::EqualEqual => Comparison::Equal,
                Kind::BangEqual => Comparison::NotEqual,
                _ => return Ok(left),
            };
            self.next();
            left = Node::Compare(operator, Box::new(left), Box::new(self.comparison()?));
        }
    }

    fn comparison(&mut self) -> Result<Node, Error> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek().kind {
                Kind::Greater => Comparison::Greater,
                Kind::GreaterEqual => Comparison::GreaterOrEqual,
                Kind::Less => Comparison::Less,
                Kind::LessEqual => Comparison::LessOrEqual,
                _ => return Ok(left),
            };
            self.next();
            left = Node::Compare(operator, Box::new(left), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Result<Node, Error> {
        if self.take(&Kind::Bang) {
            return self.deeper(|this| Ok(Node::Not(Box::new(this.unary()?))));
        }
        self.index()
    }

    fn index(&mut self) -> Result<Node, Error> {
        let indexable = matches!(self.peek().kind, Kind::LeftParen | Kind::Identifier);
        let mut node = self.call()?;
        if !indexable {
            return Ok(node);
        }
        let depth = self.depth;
        loop {
            if self.take(&Kind::LeftBracket) {
                if self.take(&Kind::Star) {
                    node = Node::Star(Box::new(node));
                } else {
                    node = Node::Index(Box::new(node), Box::new(self.or()?));
                }
                self.expect(&Kind::RightBracket)?;
            } else if self.take(&Kind::Dot) {
                if self.take(&Kind::Star) {
                    node = Node::Star(Box::new(node));
                } else if self.peek().kind == Kind::Identifier {
                    let name = self.next().lexeme;
                    node = Node::Index(Box::new(node), Box::new(Node::Literal(Value::string(name))));
                } else {
                    return Err(self.unexpected());
                }
            } else {
                break;
            }
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(Error::parsing(format!("Exceeded max expression depth {MAX_DEPTH}")));
            }
        }
        self.depth = depth;
        Ok(node)
    }

    fn call(&mut self) -> Result<Node, Error> {
        if self.peek().kind != Kind::Identifier {
            return self.primary();
        }
        let name = self.next();
        if !self.take(&Kind::LeftParen) {
            if !self.allowed.context(name.lexeme) {
                return Err(Error::parsing(located("Unrecognized named-value", name.lexeme, self.text, name.offset)));
            }
            return Ok(Node::Context(name.lexeme.to_ascii_lowercase()));
        }
        let mut args = Vec::new();
        while !self.take(&Kind::RightParen) {
            args.push(self.or()?);
            if self.peek().kind != Kind::RightParen {
                self.expect(&Kind::Comma)?;
            }
        }
        self.check_call(&name, &args)?;
        Ok(Node::Call(name.lexeme.to_ascii_lowercase(), args))
    }

    fn check_call(&self, name: &Token<'_>, args: &[Node]) -> Result<(), Error> {
        let refuse = |what: &str| Err(Error::parsing(located(what, name.lexeme, self.text, name.offset)));
        let Some((min, max)) = self.allowed.function(name.lexeme) else {
            return refuse("Unrecognized function");
        };
        if args.len() < min {
            return refuse("Too few parameters supplied");
        }
        if args.len() > max {
            return refuse("Too many parameters supplied");
        }
        if name.lexeme.eq_ignore_ascii_case("case") && args.len().is_multiple_of(2) {
            return refuse("Even number of parameters supplied, requires an odd number of parameters");
        }
        if name.lexeme.eq_ignore_ascii_case("format")
            && let Some(Node::Literal(Value::String(pattern))) = args.first()
            && let Some(problem) = format_problem(pattern, args.len() - 1)
        {
            return Err(Error::parsing(problem));
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Node, Error> {
        if self.at_end() {
            return Err(self.end_of_expression());
        }
        let literal = match &self.peek().kind {
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Null => Value::Null,
            Kind::Number(value) => Value::Number(*value),
            Kind::String(value) => Value::string(value),
            Kind::LeftParen => {
                self.next();
                let inner = self.or()?;
                if self.at_end() {
                    return Err(self.end_of_expression());
                }
                self.expect(&Kind::RightParen)?;
                return Ok(inner);
            }
            _ => return Err(self.unexpected()),
        };
        self.next();
        Ok(Node::Literal(literal))
    }
}
