//! Running templates.
//!
//! One [`Exec`] serves one rendering on one thread. It owns the output, the bounds (time, output, stack) and the
//! counters of `include`; the trees are shared. Go's rules for types are kept where they show: which arguments a
//! function takes, what is nil, and what messages say.

mod call;
mod evaluate;
mod walk;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::ast::{Command, Expr, Pipe, Stmt, Tree};
use super::error::{ExecFault, Fault};
use crate::funcs::{self};
use crate::value::{Str, Value, budget};

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
}

fn quoted(name: &str) -> String {
    crate::value::quote::quote(name)
}
