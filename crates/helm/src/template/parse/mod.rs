//! Tokens to trees: the grammar of Go's `text/template` with its messages.

mod numbers;

use std::sync::Arc;

use self::numbers::number;
pub(crate) use self::numbers::{parse_float, parse_int};
use super::ast::{Branch, Command, Expr, ExprKind, FuncId, Pipe, Source, Stmt, Tree};
use super::lex::{Item, Kind, Lexer, describe};
use crate::value::{Str, quote};

/// Deepest nesting of parentheses and of control structures. Go allows 10,000 parentheses; the stack is ours here.
const MAX_NESTING: usize = 500;

/// Parses a text; the first tree is the text itself, then its `define`s in the order in which they end.
///
/// # Errors
/// Go's message: `template: NAME:LINE: what is wrong`.
pub fn parse(name: &str, text: &str, lookup: &dyn Fn(&str) -> Option<FuncId>) -> Result<Vec<Tree>, String> {
    let source = Arc::new(Source { name: Str::from(name), text: Str::from(text) });
    let mut parser = Parser {
        lex: Lexer::new(text),
        source: source.clone(),
        lookup,
        tokens: Vec::new(),
        line: 1,
        vars: vec![Str::from("$")],
        action_line: 0,
        range_depth: 0,
        nesting: 0,
        trees: Vec::new(),
    };
    let root = parser.top()?;
    let empty = is_empty(&root);
    parser.add(Tree { name: source.name.clone(), source, root, empty })?;
    Ok(parser.trees)
}

struct Parser<'a> {
    lex: Lexer<'a>,
    source: Arc<Source>,
    lookup: &'a dyn Fn(&str) -> Option<FuncId>,
    /// Tokens given back, the next one last.
    tokens: Vec<Item>,
    /// Line of the token last read, for messages.
    line: u32,
    vars: Vec<Str>,
    action_line: u32,
    range_depth: usize,
    nesting: usize,
    trees: Vec<Tree>,
}

enum Parsed {
    Stmt(Stmt),
    End,
    /// `else`, with the position of what follows.
    Else,
}

type Result_<T> = Result<T, String>;

impl Parser<'_> {
    fn next(&mut self) -> Item {
        match self.tokens.pop() {
            Some(item) => item,
            None => {
                let item = self.lex.next_item();
                self.line = item.line;
                item
            }
        }
    }

    fn back(&mut self, item: Item) {
        self.tokens.push(item);
    }

    fn peek(&mut self) -> Kind {
        let item = self.next();
        let kind = item.kind;
        self.back(item);
        kind
    }

    fn next_non_space(&mut self) -> Item {
        loop {
            let item = self.next();
            if item.kind != Kind::Space {
                return item;
            }
        }
    }

    fn peek_non_space(&mut self) -> Kind {
        let item = self.next_non_space();
        let kind = item.kind;
        self.back(item);
        kind
    }

    fn error<T>(&self, message: impl AsRef<str>) -> Result_<T> {
        Err(format!("template: {}:{}: {}", self.source.name, self.line, message.as_ref()))
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Result_<T> {
        if item.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != item.line {
                extra = format!(" in action started at {}:{}", self.source.name, self.action_line);
                if item.message.ends_with(" action") {
                    extra = extra[" in action".len()..].to_owned();
                }
            }
            return self.error(format!("{}{extra}", item.message));
        }
        self.error(format!("unexpected {} in {context}", describe(item, self.lex.text(item))))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result_<Item> {
        let item = self.next_non_space();
        if item.kind != kind {
            return self.unexpected(&item, context);
        }
        Ok(item)
    }

    fn deeper(&mut self) -> Result_<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.error("max expression depth exceeded");
        }
        Ok(())
    }

    fn add(&mut self, tree: Tree) -> Result_<()> {
        match self.trees.iter_mut().find(|t| t.name == tree.name) {
            None => self.trees.push(tree),
            Some(old) if old.empty => *old = tree,
            Some(_) if tree.empty => {}
            Some(_) => {
                return self.error(format!("template: multiple definition of template {}", quote::quote(&tree.name)));
            }
        }
        Ok(())
    }

    fn top(&mut self) -> Result_<Vec<Stmt>> {
        let mut root = Vec::new();
        loop {
            match self.peek() {
                Kind::Eof => return Ok(root),
                Kind::LeftDelim => {
                    let delim = self.next();
                    let item = self.next_non_space();
                    if item.kind == Kind::Define {
                        self.definition()?;
                        continue;
                    }
                    self.back(item);
                    self.back(delim);
                }
                _ => {}
            }
            match self.text_or_action()? {
                Parsed::Stmt(s) => root.push(s),
                Parsed::End => return self.error("unexpected {{end}}"),
                Parsed::Else => return self.error("unexpected {{else}}"),
            }
        }
    }

    fn template_name(&mut self, item: &Item, context: &str) -> Result_<Str> {
        match item.kind {
            Kind::String | Kind::RawString => match quote::unquote(self.lex.text(item)) {
                Some(name) => Ok(Str::from(name)),
                None => self.error("invalid syntax"),
            },
            _ => self.unexpected(item, context),
        }
    }

    fn definition(&mut self) -> Result_<()> {
        let context = "define clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, context)?;
        self.expect(Kind::RightDelim, context)?;
        let vars = std::mem::replace(&mut self.vars, vec![Str::from("$")]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let action_line = std::mem::take(&mut self.action_line);
        let (root, end) = self.item_list()?;
        if let Parsed::Else = end {
            return self.error(format!("unexpected {{{{else}}}} in {context}"));
        }
        let empty = is_empty(&root);
        let source = self.source.clone();
        self.add(Tree { name, source, root, empty })?;
        self.vars = vars;
        self.range_depth = range_depth;
        self.action_line = action_line;
        Ok(())
    }

    fn item_list(&mut self) -> Result_<(Vec<Stmt>, Parsed)> {
        self.deeper()?;
        let mut list = Vec::new();
        while self.peek_non_space() != Kind::Eof {
            match self.text_or_action()? {
                Parsed::Stmt(s) => list.push(s),
                end => {
                    self.nesting -= 1;
                    return Ok((list, end));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result_<Parsed> {
        let item = self.next_non_space();
        match item.kind {
            Kind::Text => Ok(Parsed::Stmt(Stmt::Text(Str::from(self.lex.text(&item))))),
            Kind::LeftDelim => {
                self.action_line = item.line;
                let parsed = self.action()?;
                self.action_line = 0;
                Ok(parsed)
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Result_<Parsed> {
        let item = self.next_non_space();
        let pos = item.pos as u32;
        let stmt = match item.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => {
                let word = if item.kind == Kind::Break { "break" } else { "continue" };
                let context = format!("{{{{{word}}}}}");
                let after = self.next_non_space();
                if after.kind != Kind::RightDelim {
                    return self.unexpected(&after, &context);
                }
                if self.range_depth == 0 {
                    return self.error(format!("{context} outside {{{{range}}}}"));
                }
                if item.kind == Kind::Break { Stmt::Break } else { Stmt::Continue }
            }
            Kind::Else => {
                if !matches!(self.peek_non_space(), Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Parsed::Else);
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Parsed::End);
            }
            Kind::If => self.control("if")?,
            Kind::Range => self.control("range")?,
            Kind::With => self.control("with")?,
            Kind::Template => {
                let context = "template clause";
                let name_item = self.next_non_space();
                let pos = name_item.pos as u32;
                let name = self.template_name(&name_item, context)?;
                let after = self.next_non_space();
                let pipe = if after.kind == Kind::RightDelim {
                    None
                } else {
                    self.back(after);
                    Some(self.pipeline(context, Kind::RightDelim)?)
                };
                Stmt::Template(pos, name, pipe)
            }
            _ => {
                self.back(item);
                Stmt::Action(pos, self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Parsed::Stmt(stmt))
    }

    fn block(&mut self) -> Result_<Stmt> {
        let context = "block clause";
        let item = self.next_non_space();
        let pos = item.pos as u32;
        let name = self.template_name(&item, context)?;
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let vars = std::mem::replace(&mut self.vars, vec![Str::from("$")]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (root, end) = self.item_list()?;
        if let Parsed::Else = end {
            return self.error(format!("unexpected {{{{else}}}} in {context}"));
        }
        let empty = is_empty(&root);
        let source = self.source.clone();
        self.add(Tree { name: name.clone(), source, root, empty })?;
        self.vars = vars;
        self.range_depth = range_depth;
        Ok(Stmt::Template(pos, name, Some(pipe)))
    }

    fn control(&mut self, context: &'static str) -> Result_<Stmt> {
        self.deeper()?;
        let mark = self.vars.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let pos = pipe.pos;
        if context == "range" {
            self.range_depth += 1;
        }
        let (list, next) = self.item_list()?;
        if context == "range" {
            self.range_depth -= 1;
        }
        let mut other = None;
        if let Parsed::Else = next {
            let kind = self.peek();
            if context == "if" && kind == Kind::If {
                self.next();
                other = Some(vec![self.control("if")?]);
            } else if context == "with" && kind == Kind::With {
                self.next();
                other = Some(vec![self.control("with")?]);
            } else {
                let (list, next) = self.item_list()?;
                if let Parsed::Else = next {
                    return self.error("expected end; found {{else}}");
                }
                other = Some(list);
            }
        }
        self.vars.truncate(mark);
        self.nesting -= 1;
        let branch = Box::new(Branch { pipe, list, other });
        Ok(match context {
            "if" => Stmt::If(pos, branch),
            "range" => Stmt::Range(pos, branch),
            _ => Stmt::With(pos, branch),
        })
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result_<Pipe> {
        let first = self.next_non_space();
        let mut pipe = Pipe { pos: first.pos as u32, assign: false, decl: Vec::new(), cmds: Vec::new() };
        self.back(first);
        // Declarations.
        while self.peek_non_space() == Kind::Variable {
            let variable = self.next_non_space();
            let name: Str = Str::from(self.lex.text(&variable));
            let after = self.next();
            let space = after.kind == Kind::Space;
            let (space_item, next) = if space { (Some(after), self.next_non_space()) } else { (None, after) };
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.assign = next.kind == Kind::Assign;
                    pipe.decl.push(name.clone());
                    self.vars.push(name);
                    break;
                }
                Kind::Char if self.lex.text(&next) == "," => {
                    pipe.decl.push(name.clone());
                    self.vars.push(name);
                    if context == "range" && pipe.decl.len() < 2 {
                        match self.peek_non_space() {
                            Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                            _ => return self.error("range can only initialize variables"),
                        }
                    }
                    return self.error(format!("too many declarations in {context}"));
                }
                _ => {
                    self.back(next);
                    if let Some(item) = space_item {
                        self.back(item);
                    }
                    self.back(variable);
                    break;
                }
            }
        }
        loop {
            let item = self.next_non_space();
            match item.kind {
                kind if kind == end => {
                    if pipe.cmds.is_empty() {
                        return self.error(format!("missing value for {context}"));
                    }
                    for (i, cmd) in pipe.cmds.iter().enumerate().skip(1) {
                        if matches!(
                            cmd.args[0].kind,
                            ExprKind::Bool(_)
                                | ExprKind::Dot
                                | ExprKind::Nil
                                | ExprKind::Number(_)
                                | ExprKind::String(..)
                        ) {
                            return self.error(format!("non executable command in pipeline stage {}", i + 1));
                        }
                    }
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back(item);
                    let cmd = self.command()?;
                    pipe.cmds.push(cmd);
                }
                _ => return self.unexpected(&item, context),
            }
        }
    }

    fn command(&mut self) -> Result_<Command> {
        let first = self.next_non_space();
        let mut cmd = Command { pos: first.pos as u32, args: Vec::new() };
        self.back(first);
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                cmd.args.push(operand);
            }
            let item = self.next();
            match item.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.back(item),
                Kind::Pipe => {}
                _ => return self.unexpected(&item, "operand"),
            }
            break;
        }
        if cmd.args.is_empty() {
            return self.error("empty command");
        }
        Ok(cmd)
    }

    fn operand(&mut self) -> Result_<Option<Expr>> {
        let Some(node) = self.term()? else { return Ok(None) };
        if self.peek() != Kind::Field {
            return Ok(Some(node));
        }
        let mut fields: Vec<Str> = Vec::new();
        let mut pos = None;
        while self.peek() == Kind::Field {
            let item = self.next();
            pos.get_or_insert(item.pos as u32);
            fields.push(Str::from(&self.lex.text(&item)[1..]));
        }
        let pos = pos.unwrap_or(node.pos);
        let join = |names: Box<[Str]>, fields: Vec<Str>| -> Box<[Str]> {
            names.into_vec().into_iter().chain(fields).collect()
        };
        let kind = match node.kind {
            ExprKind::Field(names) => ExprKind::Field(join(names, fields)),
            ExprKind::Variable(names) => ExprKind::Variable(join(names, fields)),
            ExprKind::Bool(_) | ExprKind::String(..) | ExprKind::Number(_) | ExprKind::Nil | ExprKind::Dot => {
                let text = quote::quote(&node.to_string());
                return self.error(format!("unexpected . after term {text}"));
            }
            _ => ExprKind::Chain(Box::new(node), fields.into()),
        };
        Ok(Some(Expr { pos, kind }))
    }

    fn term(&mut self) -> Result_<Option<Expr>> {
        let item = self.next_non_space();
        let text = self.lex.text(&item);
        let kind = match item.kind {
            Kind::Identifier => match (self.lookup)(text) {
                Some(id) => ExprKind::Func(Str::from(text), id),
                None => return self.error(format!("function {} not defined", quote::quote(text))),
            },
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                if !self.vars.iter().any(|v| v.as_ref() == text) {
                    return self.error(format!("undefined variable {}", quote::quote(text)));
                }
                ExprKind::Variable(Box::new([Str::from(text)]))
            }
            Kind::Field => ExprKind::Field(Box::new([Str::from(&text[1..])])),
            Kind::Bool => ExprKind::Bool(text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match number(text, item.kind) {
                Ok(n) => ExprKind::Number(Box::new(n)),
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                self.deeper()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.nesting -= 1;
                let pos = pipe.pos;
                return Ok(Some(Expr { pos, kind: ExprKind::Pipe(Box::new(pipe)) }));
            }
            Kind::String | Kind::RawString => match quote::unquote(text) {
                Some(meant) => ExprKind::String(Str::from(text), Str::from(meant)),
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.back(item);
                return Ok(None);
            }
        };
        Ok(Some(Expr { pos: item.pos as u32, kind }))
    }
}

fn is_empty(list: &[Stmt]) -> bool {
    list.iter().all(|s| matches!(s, Stmt::Text(t) if t.trim().is_empty()))
}
