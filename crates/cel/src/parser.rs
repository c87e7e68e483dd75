//! From text to a tree; macros become nodes of their own.

use crate::ast::{Binary, Comprehension, Expr, Loop, Node, Unary};
use crate::lexer::{Token, Wrong, tokens};
use crate::value::Value;

/// How deep expressions may nest.
const DEPTH: usize = 40;
/// How many operators (other than `&&` and `||`) or selections may stand in a row.
const CHAIN: usize = 100;
/// The longest expression, in bytes.
const LENGTH: usize = 100_000;
/// Words that are no names of variables.
const RESERVED: [&str; 16] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "while",
];
/// Functions whose names have dots.
const QUALIFIED: [&str; 27] = [
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "strings.quote",
    "jsonpatch.escapeKey",
    "ip.isCanonical",
    "format.named",
    "format.dns1123Label",
    "format.dns1123Subdomain",
    "format.dns1035Label",
    "format.qualifiedName",
    "format.dns1123LabelPrefix",
    "format.dns1123SubdomainPrefix",
    "format.dns1035LabelPrefix",
    "format.labelValue",
    "format.uri",
    "format.uuid",
    "format.byte",
    "format.date",
    "format.datetime",
    "base64.encode",
    "base64.decode",
    "math.greatest",
    "math.least",
];

pub(crate) fn parse(source: &str) -> Result<Expr, Wrong> {
    if source.len() > LENGTH {
        return Err((format!("the expression is longer than {LENGTH} bytes"), 0));
    }
    let mut parser = Parser { tokens: tokens(source)?, next: 0, depth: 0 };
    let root = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(root),
        _ => Err(parser.unexpected("end of the expression")),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

type Parsed = Result<Expr, Wrong>;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn at(&self) -> usize {
        self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].0.clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    fn is(&self, op: &str) -> bool {
        matches!(self.peek(), Token::Op(o) if *o == op)
    }

    fn eat(&mut self, op: &str) -> bool {
        let found = self.is(op);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, op: &str) -> Result<(), Wrong> {
        if self.eat(op) { Ok(()) } else { Err(self.unexpected(&format!("{op:?}"))) }
    }

    fn unexpected(&self, wanted: &str) -> Wrong {
        let found = match self.peek() {
            Token::End => "<EOF>".to_owned(),
            Token::Op(op) => (*op).to_owned(),
            Token::Ident(name) | Token::Quoted(name) => name.clone(),
            other => format!("{other:?}"),
        };
        (format!("Syntax error: mismatched input '{found}' expecting {wanted}"), self.at())
    }

    fn bounded(&self, expr: &Expr) -> Result<(), Wrong> {
        if expr.depth <= CHAIN + DEPTH {
            return Ok(());
        }
        Err((format!("more than {CHAIN} operators or selections in a row"), self.at()))
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err((format!("the expression is nested deeper than {DEPTH}"), self.at()));
        }
        let at = self.at();
        let condition = self.binary(0)?;
        let out = if self.eat("?") {
            let yes = self.binary(0)?;
            self.expect(":")?;
            let no = self.expression()?;
            Expr::new(Node::Ternary(Box::new([condition, yes, no])), at)
        } else {
            condition
        };
        self.depth -= 1;
        Ok(out)
    }

    /// Binary operators, by precedence.
    fn binary(&mut self, level: usize) -> Parsed {
        const LEVELS: [&[(&str, Binary)]; 5] = [
            &[("||", Binary::Or)],
            &[("&&", Binary::And)],
            &[
                ("==", Binary::Equal),
                ("!=", Binary::NotEqual),
                ("<=", Binary::LessEqual),
                (">=", Binary::GreaterEqual),
                ("<", Binary::Less),
                (">", Binary::Greater),
            ],
            &[("+", Binary::Add), ("-", Binary::Subtract)],
            &[("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Modulo)],
        ];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        if level < 2 {
            return self.logic(level, operators[0]);
        }
        let mut left = self.binary(level + 1)?;
        loop {
            let at = self.at();
            let found = match self.peek() {
                Token::Op(op) => operators.iter().find(|(name, _)| name == op).map(|(_, b)| *b),
                Token::Ident(word) if level == 2 && word == "in" => Some(Binary::In),
                _ => None,
            };
            let Some(operator) = found else { return Ok(left) };
            self.take();
            self.bounded(&left)?;
            let right = self.binary(level + 1)?;
            left = Expr::new(Node::Binary(operator, Box::new(left), Box::new(right)), at);
        }
    }

    /// `a && b && c ...`, as a balanced tree: these may be many.
    fn logic(&mut self, level: usize, (name, operator): (&str, Binary)) -> Parsed {
        let at = self.at();
        let mut terms = vec![self.binary(level + 1)?];
        while self.eat(name) {
            terms.push(self.binary(level + 1)?);
        }
        Ok(balanced(operator, terms, at))
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        let (op, unary) = if self.is("!") {
            ("!", Unary::Not)
        } else if self.is("-") {
            ("-", Unary::Negate)
        } else {
            return self.member();
        };
        let mut count = 0;
        while self.eat(op) {
            count += 1;
        }
        if unary == Unary::Negate && count % 2 == 1 {
            // The least int has no positive counterpart.
            if let Token::Int(value) = *self.peek()
                && let Ok(value) = i64::try_from(-i128::from(value))
            {
                self.take();
                let literal = Expr::new(Node::Literal(Value::Int(value)), at);
                return self.members(literal);
            }
        }
        let inner = self.member()?;
        if count % 2 == 0 {
            return Ok(inner);
        }
        Ok(Expr::new(Node::Unary(unary, Box::new(inner)), at))
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut target: Expr) -> Parsed {
        loop {
            let at = self.at();
            self.bounded(&target)?;
            if self.eat("[") {
                let optional = self.eat("?");
                let index = self.expression()?;
                self.expect("]")?;
                let node = Node::Index { target: Box::new(target), index: Box::new(index), optional };
                target = Expr::new(node, at);
                continue;
            }
            if self.is("{")
                && let Some(name) = dotted(&target)
            {
                target = self.message(name, target.at)?;
                continue;
            }
            if !self.eat(".") {
                return Ok(target);
            }
            let optional = self.eat("?");
            let at = self.at();
            let field = match self.take() {
                Token::Ident(name) | Token::Quoted(name) => name,
                _ => {
                    self.next -= 1;
                    return Err(self.unexpected("IDENTIFIER"));
                }
            };
            target = if !optional && self.is("(") {
                let args = self.arguments()?;
                method(target, field, args, at)?
            } else {
                Expr::new(Node::Select { target: Box::new(target), field, optional }, at)
            };
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Wrong> {
        self.expect("(")?;
        let mut args = Vec::new();
        while !self.is(")") {
            args.push(self.expression()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(args)
    }

    /// The fields of a message, after its name.
    fn message(&mut self, name: String, at: usize) -> Parsed {
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.is("}") {
            let optional = self.eat("?");
            let field = match self.take() {
                Token::Ident(name) | Token::Quoted(name) => name,
                _ => {
                    self.next -= 1;
                    return Err(self.unexpected("IDENTIFIER"));
                }
            };
            self.expect(":")?;
            fields.push((field, self.expression()?, optional));
            if !self.eat(",") {
                break;
            }
        }
        self.expect("}")?;
        Ok(Expr::new(Node::Message { name, fields }, at))
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        let literal = |value| Ok(Expr::new(Node::Literal(value), at));
        self.eat(".");
        match self.take() {
            Token::Int(value) => match i64::try_from(value) {
                Ok(value) => literal(Value::Int(value)),
                Err(_) => Err((format!("invalid int literal {value}"), at)),
            },
            Token::Uint(value) => literal(Value::Uint(value)),
            Token::Double(value) => literal(Value::Double(value)),
            Token::String(value) => literal(Value::String(value.into())),
            Token::Bytes(value) => literal(Value::Bytes(value.into())),
            Token::Ident(name) => match name.as_str() {
                "true" => literal(Value::Bool(true)),
                "false" => literal(Value::Bool(false)),
                "null" => literal(Value::Null),
                "in" => Err(("Syntax error: mismatched input 'in'".to_owned(), at)),
                word if RESERVED.contains(&word) => Err((format!("reserved identifier: {word}"), at)),
                _ if self.is("(") => {
                    let args = self.arguments()?;
                    call(name, args, at)
                }
                _ if self.is("{") => self.message(name, at),
                _ => Ok(Expr::new(Node::Ident(name), at)),
            },
            Token::Op("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Op("[") => {
                let mut items = Vec::new();
                while !self.is("]") {
                    let optional = self.eat("?");
                    items.push((self.expression()?, optional));
                    if !self.eat(",") {
                        break;
                    }
                }
                self.expect("]")?;
                Ok(Expr::new(Node::List(items), at))
            }
            Token::Op("{") => {
                let mut entries = Vec::new();
                while !self.is("}") {
                    let optional = self.eat("?");
                    let key = self.expression()?;
                    self.expect(":")?;
                    entries.push((key, self.expression()?, optional));
                    if !self.eat(",") {
                        break;
                    }
                }
                self.expect("}")?;
                Ok(Expr::new(Node::Map(entries), at))
            }
            _ => {
                self.next = self.next.saturating_sub(usize::from(self.next + 1 < self.tokens.len()));
                Err(self.unexpected("an expression"))
            }
        }
    }
}

/// The name that a chain of selections spells.
fn dotted(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Ident(name) => Some(name.clone()),
        Node::Select { target, field, optional: false } => Some(format!("{}.{field}", dotted(target)?)),
        _ => None,
    }
}

fn balanced(operator: Binary, mut terms: Vec<Expr>, at: usize) -> Expr {
    if terms.len() > 1 {
        let right = balanced(operator, terms.split_off(terms.len().div_ceil(2)), at);
        let left = balanced(operator, terms, at);
        return Expr::new(Node::Binary(operator, Box::new(left), Box::new(right)), at);
    }
    terms.pop().expect("a chain has at least one term")
}

/// A function, or the macro `has`.
fn call(name: String, mut args: Vec<Expr>, at: usize) -> Parsed {
    if name != "has" {
        return Ok(Expr::new(Node::Call { name, target: None, args }, at));
    }
    match (args.pop(), args.is_empty()) {
        (Some(Expr { node: Node::Select { target, field, optional: false }, .. }), true) => {
            Ok(Expr::new(Node::Has { target, field }, at))
        }
        _ => Err(("invalid argument to has() macro".to_owned(), at)),
    }
}

/// A method, a function with dots in its name, or a macro.
fn method(target: Expr, name: String, args: Vec<Expr>, at: usize) -> Parsed {
    if let Node::Ident(space) = &target.node {
        let full = format!("{space}.{name}");
        if full == "cel.bind" {
            return bind(args, at);
        }
        if QUALIFIED.contains(&full.as_str()) {
            return Ok(Expr::new(Node::Call { name: full, target: None, args }, at));
        }
    }
    let count = args.len();
    let kind = match (name.as_str(), count) {
        ("all", 2 | 3) => Loop::All,
        ("exists", 2 | 3) => Loop::Exists,
        ("exists_one" | "existsOne", 2 | 3) => Loop::ExistsOne,
        ("filter", 2) => Loop::Filter,
        ("map", 2 | 3) | ("transformList", 3 | 4) => Loop::List,
        ("transformMap", 3 | 4) => Loop::Map,
        ("transformMapEntry", 3 | 4) => Loop::Entries,
        ("optMap" | "optFlatMap", 2) => {
            let mut args = args.into_iter();
            let (Some(variable), Some(body)) = (args.next(), args.next()) else { return Err(bad(&name, at)) };
            let node = Node::OptMap {
                target: Box::new(target),
                name: variable_name(&variable)?,
                body: Box::new(body),
                flat: name == "optFlatMap",
            };
            return Ok(Expr::new(node, at));
        }
        _ => {
            return Ok(Expr::new(Node::Call { name, target: Some(Box::new(target)), args }, at));
        }
    };
    let two =
        name.starts_with("transform") || (count == 3 && matches!(kind, Loop::All | Loop::Exists | Loop::ExistsOne));
    let mut args = args.into_iter();
    let mut next = || args.next().ok_or_else(|| bad(&name, at));
    let first = variable_name(&next()?)?;
    let second = if two { Some(variable_name(&next()?)?) } else { None };
    let used = 1 + usize::from(two);
    let filter = if count - used == 2 { Some(next()?) } else { None };
    let body = next()?;
    let comprehension = Comprehension { kind, over: target, first, second, filter, body };
    Ok(Expr::new(Node::Comprehension(Box::new(comprehension)), at))
}

fn bind(args: Vec<Expr>, at: usize) -> Parsed {
    let [name, value, body] = <[Expr; 3]>::try_from(args).map_err(|_| bad("cel.bind", at))?;
    let node = Node::Bind { name: variable_name(&name)?, value: Box::new(value), body: Box::new(body) };
    Ok(Expr::new(node, at))
}

fn bad(name: &str, at: usize) -> Wrong {
    (format!("invalid arguments to {name}() macro"), at)
}

fn variable_name(expr: &Expr) -> Result<String, Wrong> {
    match &expr.node {
        Node::Ident(name) => Ok(name.clone()),
        _ => Err(("argument must be a simple name".to_owned(), expr.at)),
    }
}
