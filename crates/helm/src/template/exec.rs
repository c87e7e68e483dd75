//! Running templates.
//!
//! One [`Exec`] serves one rendering on one thread. It owns the output, the bounds (time, output, stack) and the
//! counters of `include`; the trees are shared. Go's rules for types are kept where they show: which arguments a
//! function takes, what is nil, and what messages say.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::ast::{Command, Expr, ExprKind, Number, Pipe, Stmt, Tree};
use super::error::{ExecFault, Fault};
use crate::funcs::{self, Func, Ty};
use crate::value::{IntTy, Object, Str, Value, budget, fmt};

type Result<T> = std::result::Result<T, Box<Fault>>;

/// Bounds of one rendering.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that all templates together may write, those of `include` counted each time.
    pub output: usize,
    /// Bytes of values that may be held at the same time: texts, lists and maps that functions make.
    pub memory: usize,
    /// Time for the whole rendering.
    pub time: Duration,
    /// Bytes of stack that nested calls may use.
    pub stack: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { output: 256 << 20, memory: 256 << 20, time: Duration::from_secs(60), stack: 192 << 20 }
    }
}

/// The templates that `template`, `include` and `tpl` can name. `tpl` adds its own on top.
#[derive(Debug, Default)]
pub struct Set {
    /// What lies below.
    pub parent: Option<Rc<Set>>,
    /// Templates by name.
    pub trees: HashMap<Str, Arc<Tree>>,
}

impl Set {
    /// The template of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Tree>> {
        match self.trees.get(name) {
            Some(tree) => Some(tree),
            None => self.parent.as_ref()?.get(name),
        }
    }

    /// Adds a parsed template; an empty one does not replace another.
    pub fn add(&mut self, tree: Arc<Tree>) {
        if tree.empty && self.get(&tree.name).is_some() {
            return;
        }
        self.trees.insert(tree.name.clone(), tree);
    }
}

/// What a rendering is told from outside.
pub struct Host<'r> {
    /// Fail on missing keys.
    pub strict: bool,
    /// `required` and `fail` pass.
    pub lint: bool,
    /// Answers `lookup`.
    pub lookup: Option<&'r dyn crate::Lookup>,
    /// Answers `getHostByName`, when allowed.
    pub resolve_host: Option<&'r dyn Fn(&str) -> String>,
    /// Source of randomness.
    pub random: crate::funcs::random::Random,
    /// Now, in nanoseconds since 1970.
    pub now: i128,
    /// Bounds.
    pub limits: Limits,
}

/// One rendering.
pub struct Exec<'r> {
    /// What it is told from outside.
    pub host: Host<'r>,
    /// Templates in reach.
    pub set: Rc<Set>,
    out: String,
    written: usize,
    included: HashMap<Str, usize>,
    parsed: HashMap<Str, Rc<Parsed>>,
    parsed_bytes: usize,
    regexes: HashMap<Str, std::result::Result<Rc<regex::Regex>, String>>,
    stack_base: usize,
    /// Maps into which containers were put: they may have become part of themselves.
    pub cyclic: Vec<std::rc::Weak<crate::value::Table>>,
}

/// A text given to `tpl`, parsed.
struct Parsed {
    main: Arc<Tree>,
    others: Vec<Arc<Tree>>,
}

#[derive(Clone, Copy)]
enum Node<'t> {
    None,
    Expr(&'t Expr),
    Pipe(&'t Pipe),
    Cmd(&'t Command),
    Stmt(&'t Stmt, u32),
}

/// A value with whether its static type is `interface {}`.
#[derive(Clone)]
struct Dot {
    value: Value,
    any: bool,
}

struct Frame<'t> {
    tree: &'t Tree,
    node: Node<'t>,
    vars: Vec<(Str, Dot)>,
}

enum Flow {
    Next,
    Break,
    Continue,
}

/// What a parsed action takes.
const ACTION: usize = 600;
/// Bytes of texts whose trees `tpl` keeps.
const PARSED_BYTES: usize = 1 << 20;
/// Regular expressions that are kept.
const REGEXES: usize = 64;

/// What replaces Go's `<no value>`.
pub(crate) const NO_VALUE: &str = "<no value>";

fn here() -> usize {
    let marker = 0u8;
    std::ptr::from_ref(&marker) as usize
}

impl<'r> Exec<'r> {
    /// A rendering with these templates.
    pub fn new(host: Host<'r>, set: Rc<Set>) -> Self {
        budget::start(host.limits.memory, host.limits.time);
        Exec {
            host,
            set,
            out: String::new(),
            written: 0,
            included: HashMap::new(),
            parsed: HashMap::new(),
            parsed_bytes: 0,
            regexes: HashMap::new(),
            stack_base: here(),
            cyclic: Vec::new(),
        }
    }

    /// Runs a template and gives its output.
    ///
    /// # Errors
    /// What the template does wrong, or a bound it reached.
    pub fn execute(&mut self, name: &str, data: Value) -> std::result::Result<String, Fault> {
        let Some(tree) = self.set.get(name).cloned() else {
            let name = crate::value::quote::quote(name);
            return Err(Fault::Text(format!("template: no template {name} associated with template \"gotpl\"")));
        };
        self.run(&tree, data).map_err(|e| *e)
    }

    fn run(&mut self, tree: &Arc<Tree>, data: Value) -> Result<String> {
        let tree = tree.clone();
        let outer = std::mem::take(&mut self.out);
        let result = self.run_in_place(&tree, data);
        let text = std::mem::replace(&mut self.out, outer);
        result.map(|()| text)
    }

    fn run_in_place(&mut self, tree: &Tree, data: Value) -> Result<()> {
        // What is passed as data loses the static type of an interface: a nil is no value at all.
        let data = if let Value::Nil = data { Value::Invalid } else { data };
        let dot = Dot { value: data, any: false };
        let mut frame = Frame { tree, node: Node::None, vars: vec![(Str::from("$"), dot.clone())] };
        self.walk(&mut frame, &dot, &tree.root).map(|_| ())
    }

    /// `include`
    pub(crate) fn include(&mut self, name: &Str, data: Value) -> std::result::Result<Value, Fault> {
        let count = self.included.entry(name.clone()).or_insert(0);
        if *count > 1000 {
            let text = format!("rendering template has a nested reference name: {name}: ");
            return Err(Fault::Wrap(text, Box::new(Fault::text("unable to execute template"))));
        }
        *count += 1;
        let result = self.execute(name, data);
        if let Some(count) = self.included.get_mut(name) {
            *count = count.saturating_sub(1);
        }
        Ok(Value::Str(Str::from(result?)))
    }

    /// `tpl`
    pub(crate) fn tpl(&mut self, text: &Str, data: Value) -> std::result::Result<Value, Fault> {
        if !text.contains("{{") {
            return Ok(Value::Str(text.clone()));
        }
        let quoted = |what: &str| format!("{what} {}: ", crate::value::quote::quote(text));
        let parsed = match self.parsed.get(text) {
            Some(parsed) => parsed.clone(),
            None => {
                // A tree is far bigger than its text.
                self.charge(text.len() * 2 + text.matches("{{").count() * ACTION)?;
                let mut trees = super::parse::parse("gotpl", text, &funcs::lookup)
                    .map_err(|e| Fault::Wrap(quoted("cannot parse template"), Box::new(Fault::Text(e))))?;
                let main = trees.pop().unwrap_or_default();
                let others = trees.into_iter().map(Arc::new).collect();
                let parsed = Rc::new(Parsed { main: Arc::new(main), others });
                self.parsed_bytes += text.len() + 256;
                if self.parsed_bytes > PARSED_BYTES {
                    self.parsed.clear();
                    self.parsed_bytes = text.len();
                }
                self.parsed.insert(text.clone(), parsed.clone());
                parsed
            }
        };
        let outer = (!parsed.others.is_empty()).then(|| {
            let mut set = Set { parent: Some(self.set.clone()), trees: HashMap::new() };
            parsed.others.iter().for_each(|tree| set.add(tree.clone()));
            std::mem::replace(&mut self.set, Rc::new(set))
        });
        let result = self.run(&parsed.main, data);
        if let Some(outer) = outer {
            self.set = outer;
        }
        match result {
            Ok(text) if text.contains(NO_VALUE) => Ok(Value::str(text.replace(NO_VALUE, ""))),
            Ok(text) => Ok(Value::Str(Str::from(text))),
            Err(e) => Err(match *e {
                limit @ Fault::Limit(_) => limit,
                e => Fault::Wrap(quoted("error during tpl function execution for"), Box::new(e)),
            }),
        }
    }

    /// A compiled expression, kept for the rendering.
    pub(crate) fn regex(&mut self, pattern: &Str) -> std::result::Result<Rc<regex::Regex>, String> {
        match self.regexes.get(pattern) {
            Some(found) => found.clone(),
            None => {
                let made = funcs::regexes::compile(pattern).map(Rc::new);
                budget::look();
                if self.regexes.len() >= REGEXES {
                    self.regexes.clear();
                }
                self.regexes.insert(pattern.clone(), made.clone());
                made
            }
        }
    }

    /// Counts work, and says whether a bound of memory or time was reached.
    fn tick(&self) -> Result<()> {
        budget::work(4);
        self.within().map_err(Box::new)
    }

    fn within(&self) -> std::result::Result<(), Fault> {
        match budget::spent() {
            None => Ok(()),
            Some(budget::Spent::Memory) => {
                Err(Fault::Limit(format!("rendering needs more than {} bytes of memory", self.host.limits.memory)))
            }
            Some(budget::Spent::Time) => {
                let seconds = self.host.limits.time.as_secs_f64();
                Err(Fault::Limit(format!("rendering takes longer than {seconds} s")))
            }
        }
    }

    /// Asks for bytes that a function is about to make.
    ///
    /// # Errors
    /// The bound of memory.
    pub(crate) fn charge(&mut self, bytes: usize) -> std::result::Result<(), Fault> {
        budget::fits(bytes);
        self.within()
    }

    /// Remembers a map that may become part of itself.
    pub(crate) fn suspect(&mut self, map: &crate::value::Map) {
        if !map.entries.suspect.replace(true) {
            self.cyclic.push(Rc::downgrade(&map.entries));
        }
    }

    fn wrote(&mut self, before: usize) -> Result<()> {
        self.written += self.out.len() - before;
        if self.written > self.host.limits.output {
            let text = format!("rendering writes more than {} bytes", self.host.limits.output);
            return Err(Box::new(Fault::Limit(text)));
        }
        self.within().map_err(Box::new)
    }

    fn check_stack(&self) -> Result<()> {
        if self.stack_base.abs_diff(here()) > self.host.limits.stack {
            return Err(Box::new(Fault::Limit("templates are nested too deep".to_owned())));
        }
        Ok(())
    }

    // ---- failing ----

    fn fail<T>(&self, frame: &Frame<'_>, message: impl Into<String>) -> Result<T> {
        Err(self.fault(frame, message.into(), None))
    }

    fn fault(&self, frame: &Frame<'_>, message: String, cause: Option<Fault>) -> Box<Fault> {
        if let Some(limit @ Fault::Limit(_)) = cause {
            return Box::new(limit);
        }
        let (pos, context) = match frame.node {
            Node::None => (0, String::new()),
            Node::Expr(e) => (e.pos, e.to_string()),
            Node::Pipe(p) => (p.pos, p.to_string()),
            Node::Cmd(c) => (c.pos, c.to_string()),
            Node::Stmt(s, pos) => (pos, s.context()),
        };
        Box::new(Fault::Exec(Box::new(ExecFault {
            location: frame.tree.source.location(pos),
            template: frame.tree.name.to_string(),
            context,
            message,
            cause,
        })))
    }

    // ---- statements ----

    fn walk<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, list: &'t [Stmt]) -> Result<Flow> {
        self.check_stack()?;
        for stmt in list {
            match stmt {
                Stmt::Text(text) => {
                    self.out.push_str(text);
                    self.wrote(self.out.len() - text.len())?;
                }
                Stmt::Action(pos, pipe) => {
                    let value = self.pipeline(frame, dot, pipe)?;
                    if pipe.decl.is_empty() {
                        frame.node = Node::Stmt(stmt, *pos);
                        let before = self.out.len();
                        fmt::print(&mut self.out, &value);
                        self.wrote(before)?;
                    }
                }
                Stmt::If(_, branch) => {
                    let mark = frame.vars.len();
                    let value = self.pipeline(frame, dot, &branch.pipe)?;
                    let flow = if value.truth() {
                        self.walk(frame, dot, &branch.list)?
                    } else if let Some(other) = &branch.other {
                        self.walk(frame, dot, other)?
                    } else {
                        Flow::Next
                    };
                    frame.vars.truncate(mark);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Stmt::With(_, branch) => {
                    let mark = frame.vars.len();
                    let value = self.pipeline(frame, dot, &branch.pipe)?;
                    let flow = if value.truth() {
                        self.walk(frame, &Dot { value, any: false }, &branch.list)?
                    } else if let Some(other) = &branch.other {
                        self.walk(frame, dot, other)?
                    } else {
                        Flow::Next
                    };
                    frame.vars.truncate(mark);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Stmt::Range(_, branch) => {
                    let mark = frame.vars.len();
                    let flow = self.range(frame, dot, branch)?;
                    frame.vars.truncate(mark);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Stmt::Template(pos, name, pipe) => {
                    frame.node = Node::Stmt(stmt, *pos);
                    let Some(tree) = self.set.get(name).cloned() else {
                        return self.fail(frame, format!("template {} not defined", crate::value::quote::quote(name)));
                    };
                    if self.stack_base.abs_diff(here()) > self.host.limits.stack {
                        return self.fail(frame, "exceeded maximum template depth (100000)");
                    }
                    let value = match pipe {
                        Some(pipe) => self.pipeline(frame, dot, pipe)?,
                        None => Value::Invalid,
                    };
                    self.tick()?;
                    self.run_in_place(&tree, value)?;
                }
                Stmt::Break => return Ok(Flow::Break),
                Stmt::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn range<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, branch: &'t super::ast::Branch) -> Result<Flow> {
        let value = self.pipeline(frame, dot, &branch.pipe)?;
        let mut run = false;
        match &value {
            Value::Int(ty, n) => {
                if branch.pipe.decl.len() > 1 {
                    return self.fail(frame, format!("can't use {n} to iterate over more than one variable"));
                }
                for i in 0..*n {
                    run = true;
                    let item = Dot { value: Value::Int(*ty, i), any: false };
                    match self.iteration(frame, branch, Value::Invalid, item)? {
                        Flow::Break => break,
                        _ => continue,
                    }
                }
            }
            Value::Duration(n) => {
                for i in 0..*n {
                    run = true;
                    let item = Dot { value: Value::Duration(i), any: false };
                    if let Flow::Break = self.iteration(frame, branch, Value::Invalid, item)? {
                        break;
                    }
                }
            }
            Value::List(list) => {
                for (i, item) in list.items().iter().enumerate() {
                    run = true;
                    let item = Dot { value: item.clone(), any: list.holds_any() };
                    if let Flow::Break = self.iteration(frame, branch, Value::int(i as i64), item)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                // The keys and values of the beginning: the body may change the map.
                let entries: Vec<(Str, Value)> =
                    map.entries.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                for (key, value) in entries {
                    run = true;
                    let item = Dot { value, any: map.holds_any() };
                    if let Flow::Break = self.iteration(frame, branch, Value::Str(key), item)? {
                        break;
                    }
                }
            }
            Value::Invalid | Value::Nil => {}
            other => {
                let shown = fmt::to_string(other);
                return self.fail(frame, format!("range can't iterate over {shown}"));
            }
        }
        if run {
            return Ok(Flow::Next);
        }
        match &branch.other {
            Some(other) => self.walk(frame, dot, other),
            None => Ok(Flow::Next),
        }
    }

    fn iteration<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        branch: &'t super::ast::Branch,
        index: Value,
        item: Dot,
    ) -> Result<Flow> {
        self.tick()?;
        let mark = frame.vars.len();
        let decl = &branch.pipe.decl;
        let index = Dot { value: index, any: false };
        if branch.pipe.assign {
            if decl.len() > 1 {
                self.set_var(frame, &decl[0], index)?;
                self.set_var(frame, &decl[1], item.clone())?;
            } else if let Some(name) = decl.first() {
                self.set_var(frame, name, item.clone())?;
            }
        } else if decl.len() > 1 {
            frame.vars[mark - 1].1 = item.clone();
            frame.vars[mark - 2].1 = index;
        } else if !decl.is_empty() {
            frame.vars[mark - 1].1 = item.clone();
        }
        let flow = self.walk(frame, &item, &branch.list)?;
        frame.vars.truncate(mark);
        Ok(flow)
    }

    fn set_var(&self, frame: &mut Frame<'_>, name: &str, value: Dot) -> Result<()> {
        match frame.vars.iter_mut().rev().find(|(n, _)| n.as_ref() == name) {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => self.fail(frame, format!("undefined variable: {name}")),
        }
    }

    // ---- pipelines and commands ----

    fn pipeline<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, pipe: &'t Pipe) -> Result<Value> {
        self.check_stack()?;
        frame.node = Node::Pipe(pipe);
        let mut value = None;
        for cmd in &pipe.cmds {
            let v = self.command(frame, dot, cmd, value.take())?;
            value = Some(if let Value::Nil = v { Value::Invalid } else { v });
        }
        let value = value.unwrap_or(Value::Invalid);
        for name in &pipe.decl {
            let item = Dot { value: value.clone(), any: false };
            if pipe.assign {
                self.set_var(frame, name, item)?;
            } else {
                frame.vars.push((name.clone(), item));
            }
        }
        Ok(value)
    }

    fn command<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        cmd: &'t Command,
        last: Option<Value>,
    ) -> Result<Value> {
        let word = &cmd.args[0];
        match &word.kind {
            ExprKind::Field(names) => {
                frame.node = Node::Expr(word);
                self.field_chain(frame, dot, dot.clone(), names, Some(&cmd.args), last).map(|d| d.value)
            }
            ExprKind::Chain(node, names) => self.chain(frame, dot, word, node, names, Some(&cmd.args), last),
            ExprKind::Func(name, id) => {
                frame.node = Node::Expr(word);
                self.function(frame, dot, Node::Cmd(cmd), name, *id, &cmd.args[1..], last)
            }
            ExprKind::Pipe(pipe) => {
                self.not_a_function(frame, cmd, &last)?;
                self.pipeline(frame, dot, pipe)
            }
            ExprKind::Variable(names) => {
                frame.node = Node::Expr(word);
                let value = self.variable(frame, &names[0])?;
                if names.len() == 1 {
                    self.not_a_function(frame, cmd, &last)?;
                    return Ok(value.value);
                }
                self.field_chain(frame, dot, value, &names[1..], Some(&cmd.args), last).map(|d| d.value)
            }
            _ => {
                frame.node = Node::Expr(word);
                self.not_a_function(frame, cmd, &last)?;
                match &word.kind {
                    ExprKind::Bool(b) => Ok(Value::Bool(*b)),
                    ExprKind::Dot => Ok(dot.value.clone()),
                    ExprKind::Number(n) => self.ideal(frame, n),
                    ExprKind::String(_, s) => Ok(Value::Str(s.clone())),
                    _ => self.fail(frame, "nil is not a command"),
                }
            }
        }
    }

    fn not_a_function(&self, frame: &Frame<'_>, cmd: &Command, last: &Option<Value>) -> Result<()> {
        if cmd.args.len() > 1 || last.is_some() {
            return self.fail(frame, format!("can't give argument to non-function {}", cmd.args[0]));
        }
        Ok(())
    }

    fn variable(&self, frame: &Frame<'_>, name: &str) -> Result<Dot> {
        match frame.vars.iter().rev().find(|(n, _)| n.as_ref() == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(frame, format!("undefined variable: {name}")),
        }
    }

    fn ideal(&self, frame: &Frame<'_>, n: &Number) -> Result<Value> {
        if let Some((re, im)) = n.complex {
            return Ok(Value::Object(Rc::new(Object::Complex(re, im))));
        }
        let text = n.text.as_ref();
        let hex = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        if let Some(f) = n.float
            && !hex
            && !text.starts_with('\'')
            && text.contains(['.', 'e', 'E', 'p', 'P'])
        {
            return Ok(Value::Float(f));
        }
        match n.int {
            Some(i) => Ok(Value::int(i)),
            None => self.fail(frame, format!("{text} overflows int")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "Go's evaluator has the same state")]
    fn chain<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        word: &'t Expr,
        node: &'t Expr,
        names: &'t [Str],
        args: Option<&'t [Expr]>,
        last: Option<Value>,
    ) -> Result<Value> {
        frame.node = Node::Expr(word);
        if let ExprKind::Nil = node.kind {
            return self.fail(frame, format!("indirection through explicit nil in {word}"));
        }
        let value = self.untyped(frame, dot, node)?;
        self.field_chain(frame, dot, value, names, args, last).map(|d| d.value)
    }

    /// The value of a word where no type is asked for.
    fn untyped<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, node: &'t Expr) -> Result<Dot> {
        frame.node = Node::Expr(node);
        let value = match &node.kind {
            ExprKind::Dot => return Ok(dot.clone()),
            ExprKind::Nil => Value::Nil,
            ExprKind::Field(names) => return self.field_chain(frame, dot, dot.clone(), names, None, None),
            ExprKind::Variable(names) => {
                let value = self.variable(frame, &names[0])?;
                if names.len() == 1 {
                    return Ok(value);
                }
                return self.field_chain(frame, dot, value, &names[1..], None, None);
            }
            ExprKind::Pipe(pipe) => self.pipeline(frame, dot, pipe)?,
            ExprKind::Func(name, id) => self.function(frame, dot, Node::Expr(node), name, *id, &[], None)?,
            ExprKind::Chain(inner, names) => self.chain(frame, dot, node, inner, names, None, None)?,
            ExprKind::Bool(b) => Value::Bool(*b),
            ExprKind::Number(n) => self.ideal(frame, n)?,
            ExprKind::String(_, s) => Value::Str(s.clone()),
        };
        Ok(Dot { value, any: false })
    }

    // ---- fields ----

    fn field_chain<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        mut receiver: Dot,
        names: &'t [Str],
        args: Option<&'t [Expr]>,
        last: Option<Value>,
    ) -> Result<Dot> {
        let (end, path) = names.split_last().expect("a chain has a name");
        for name in path {
            receiver = self.field(frame, dot, name, None, None, receiver)?;
        }
        self.field(frame, dot, end, args, last, receiver)
    }

    fn field<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        name: &'t Str,
        args: Option<&'t [Expr]>,
        last: Option<Value>,
        receiver: Dot,
    ) -> Result<Dot> {
        match &receiver.value {
            Value::Invalid => {
                if self.host.strict {
                    return self.fail(frame, format!("nil data; no entry for key {}", quoted(name)));
                }
                return Ok(Dot { value: Value::Invalid, any: false });
            }
            Value::Nil => return self.fail(frame, format!("nil pointer evaluating interface {{}}.{name}")),
            _ => {}
        }
        if let Some(method) = funcs::methods::find(&receiver.value, name) {
            let mut values = vec![receiver.value.clone()];
            let args = args.map_or(&[][..], |a| &a[1..]);
            // The node of a failing method is the field itself.
            let node = frame.node;
            return self
                .call(frame, dot, node, name, method, args, last, &mut values)
                .map(|value| Dot { value, any: false });
        }
        let has_args = args.is_some_and(|a| a.len() > 1) || last.is_some();
        match &receiver.value {
            Value::Map(map) => {
                if has_args {
                    return self.fail(frame, format!("{name} is not a method but has arguments"));
                }
                let any = map.holds_any();
                match map.entries.borrow().get(name.as_ref()) {
                    Some(value) => Ok(Dot { value: value.clone(), any }),
                    None if self.host.strict => self.fail(frame, format!("map has no entry for key {}", quoted(name))),
                    None => Ok(Dot { value: map.zero(), any }),
                }
            }
            Value::Object(object) => {
                if let crate::value::Object::Struct(s) = object.as_ref()
                    && let Some(field) = s.fields.iter().find(|f| f.name == name.as_ref())
                {
                    if !field.name.starts_with(|c: char| c.is_ascii_uppercase()) {
                        let text = format!("{name} is an unexported field of struct type {}", s.name);
                        return self.fail(frame, text);
                    }
                    if has_args {
                        return self.fail(frame, format!("{name} has arguments but cannot be invoked as function"));
                    }
                    return Ok(Dot { value: field.value.clone(), any: false });
                }
                self.no_field(frame, name, &receiver)
            }
            _ => self.no_field(frame, name, &receiver),
        }
    }

    fn no_field<T>(&self, frame: &Frame<'_>, name: &str, receiver: &Dot) -> Result<T> {
        let ty = if receiver.any { "interface {}" } else { receiver.value.type_name() };
        self.fail(frame, format!("can't evaluate field {name} in type {ty}"))
    }

    // ---- calls ----

    #[expect(clippy::too_many_arguments, reason = "Go's evaluator has the same state")]
    fn function<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        node: Node<'t>,
        name: &str,
        id: u16,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        let func = funcs::get(id);
        if func.lazy {
            return self.and_or(frame, dot, name, args, last);
        }
        self.call(frame, dot, node, name, func, args, last, &mut Vec::with_capacity(args.len() + 1))
    }

    fn and_or<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        name: &str,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        if args.is_empty() && last.is_none() {
            return self.fail(frame, format!("wrong number of args for {name}: want at least 1 got 0"));
        }
        let mut value = Value::Invalid;
        for arg in args {
            value = self.arg(frame, dot, Ty::Reflect, arg)?;
            if value.truth() == (name == "or") {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Calls a function or method; `values` holds the receiver of a method.
    #[expect(clippy::too_many_arguments, reason = "Go's evaluator has the same state")]
    fn call<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Dot,
        node: Node<'t>,
        name: &str,
        func: &'static Func,
        args: &'t [Expr],
        last: Option<Value>,
        values: &mut Vec<Value>,
    ) -> Result<Value> {
        let given = args.len() + usize::from(last.is_some());
        let fixed = func.params.len() - usize::from(func.variadic);
        if func.variadic {
            if given < fixed {
                let text = format!("wrong number of args for {name}: want at least {fixed} got {}", args.len());
                return self.fail(frame, text);
            }
        } else if given != fixed {
            return self.fail(frame, format!("wrong number of args for {name}: want {fixed} got {given}"));
        }
        let ty_of = |i: usize| if i < fixed { func.params[i] } else { func.params[func.params.len() - 1] };
        for (i, arg) in args.iter().enumerate() {
            let value = self.arg(frame, dot, ty_of(i), arg)?;
            values.push(value);
        }
        if let Some(last) = last {
            let ty = ty_of(args.len());
            let value = self.validate(frame, Dot { value: last, any: false }, ty)?;
            values.push(value);
        }
        self.tick()?;
        if name == "call" && values.first().is_some_and(|v| !v.is_nil()) {
            let ty = values[0].type_name();
            let piped = || values[0].as_str().map_or_else(|| format!("<{ty} Value>"), str::to_owned);
            let text = format!("non-function {} of type {ty}", args.first().map_or_else(piped, Expr::to_string));
            frame.node = node;
            return Err(self.fault(frame, "error calling call: ".to_owned(), Some(Fault::Text(text))));
        }
        if func.variadic {
            // What joins its arguments makes something of their size.
            let size = values.iter().map(Value::shallow_size).sum();
            self.charge(size).map_err(Box::new)?;
        }
        let result = (func.run)(self, values);
        self.within().map_err(Box::new)?;
        match result {
            Ok(value) => Ok(value),
            Err(cause) => {
                frame.node = node;
                Err(self.fault(frame, format!("error calling {name}: "), Some(cause)))
            }
        }
    }

    fn arg<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, ty: Ty, node: &'t Expr) -> Result<Value> {
        frame.node = Node::Expr(node);
        match &node.kind {
            ExprKind::Nil => {
                if ty.can_be_nil() {
                    return Ok(if ty == Ty::Reflect { Value::Invalid } else { Value::Nil });
                }
                self.fail(frame, format!("cannot assign nil to {}", ty.name()))
            }
            ExprKind::Dot
            | ExprKind::Field(_)
            | ExprKind::Variable(_)
            | ExprKind::Pipe(_)
            | ExprKind::Func(..)
            | ExprKind::Chain(..) => {
                let value = self.untyped(frame, dot, node)?;
                self.validate(frame, value, ty)
            }
            ExprKind::Bool(b) => match ty {
                Ty::Any | Ty::Reflect | Ty::Bool => Ok(Value::Bool(*b)),
                _ => self.wrong_constant(frame, ty, node),
            },
            ExprKind::String(_, s) => match ty {
                Ty::Any | Ty::Reflect | Ty::Str => Ok(Value::Str(s.clone())),
                _ => self.wrong_constant(frame, ty, node),
            },
            ExprKind::Number(n) => match ty {
                Ty::Any | Ty::Reflect => self.ideal(frame, n),
                Ty::Int if n.int.is_some() => Ok(Value::int(n.int.unwrap_or(0))),
                Ty::Int64 if n.int.is_some() => Ok(Value::int64(n.int.unwrap_or(0))),
                Ty::Duration if n.int.is_some() => Ok(Value::Duration(n.int.unwrap_or(0))),
                Ty::Uint32 if n.uint.is_some() => Ok(Value::int(n.uint.unwrap_or(0) as i64)),
                Ty::Float if n.float.is_some() => Ok(Value::Float(n.float.unwrap_or(0.0))),
                _ => self.wrong_constant(frame, ty, node),
            },
        }
    }

    fn wrong_constant<T>(&self, frame: &Frame<'_>, ty: Ty, node: &Expr) -> Result<T> {
        let expected = match ty {
            Ty::Bool => "bool",
            Ty::Str => "string",
            Ty::Int | Ty::Int64 | Ty::Duration => "integer",
            Ty::Uint32 => "unsigned integer",
            Ty::Float => "float",
            other => return self.fail(frame, format!("can't handle {node} for arg of type {}", other.name())),
        };
        self.fail(frame, format!("expected {expected}; found {node}"))
    }

    fn validate(&self, frame: &Frame<'_>, value: Dot, ty: Ty) -> Result<Value> {
        let v = value.value;
        let fits = match (&v, ty) {
            (_, Ty::Any | Ty::Reflect) => true,
            (Value::Invalid, _) => {
                if ty.can_be_nil() {
                    return Ok(Value::Nil);
                }
                return self.fail(frame, format!("invalid value; expected {}", ty.name()));
            }
            (Value::Str(_), Ty::Str) | (Value::Bool(_), Ty::Bool) | (Value::Float(_), Ty::Float) => true,
            (Value::Int(IntTy::Int, _), Ty::Int) | (Value::Int(IntTy::Int64, _), Ty::Int64) => true,
            (Value::Time(_), Ty::Time) | (Value::Duration(_), Ty::Duration) => true,
            (Value::Map(m), Ty::Map) => m.holds_any(),
            (Value::List(l), Ty::List) => l.ty == crate::value::ListTy::Any,
            (Value::Object(_), Ty::Named(name)) => v.type_name() == name,
            _ => false,
        };
        if fits {
            return Ok(v);
        }
        let got = if let Value::Nil = v { "interface {}" } else { v.type_name() };
        self.fail(frame, format!("wrong type for value; expected {}; got {got}", ty.name()))
    }
}

fn quoted(name: &str) -> String {
    crate::value::quote::quote(name)
}
