//! Every function that templates can call: Go's own, Sprig's and Helm's.
//!
//! A function is a row: its name, the Go types of its parameters (messages show them, and constants are converted to
//! them), and a Rust function. `and` and `or` are evaluated by the executor, since they do not evaluate all arguments.

pub mod crypto;
pub mod dates;
pub mod decimal;
pub mod defaults;
pub mod dicts;
pub mod docker;
pub mod encoding;
pub mod helm;
pub(crate) mod keys;
pub mod lists;
pub mod math;
pub mod methods;
pub mod paths;
pub mod random;
mod regex_errors;
pub mod regexes;
pub mod semver;
pub mod strings;
pub mod urls;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::template::ast::FuncId;
use crate::template::builtin;
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::Value;

/// What a function gives.
pub type Answer = Result<Value, Fault>;

/// A Go type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    /// `interface {}`
    Any,
    /// `reflect.Value`: the builtins take anything and see nil as it is.
    Reflect,
    /// `string`
    Str,
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `uint32`
    Uint32,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `time.Time`
    Time,
    /// `time.Duration`
    Duration,
    /// A type of one name.
    Named(&'static str),
}

impl Ty {
    /// Go's name.
    pub fn name(self) -> &'static str {
        match self {
            Ty::Any => "interface {}",
            Ty::Reflect => "reflect.Value",
            Ty::Str => "string",
            Ty::Int => "int",
            Ty::Int64 => "int64",
            Ty::Uint32 => "uint32",
            Ty::Float => "float64",
            Ty::Bool => "bool",
            Ty::Map => "map[string]interface {}",
            Ty::List => "[]interface {}",
            Ty::Time => "time.Time",
            Ty::Duration => "time.Duration",
            Ty::Named(name) => name,
        }
    }

    /// Whether nil can be given.
    pub fn can_be_nil(self) -> bool {
        match self {
            Ty::Any | Ty::Reflect | Ty::Map | Ty::List => true,
            Ty::Named(name) => name.starts_with('*'),
            _ => false,
        }
    }
}

/// A function.
pub struct Func {
    /// Its name.
    pub name: &'static str,
    /// The types of its parameters; of a variadic one the last repeats.
    pub params: &'static [Ty],
    /// Whether the last parameter repeats.
    pub variadic: bool,
    /// Whether the executor evaluates it.
    pub lazy: bool,
    /// The function.
    pub run: for<'r> fn(&mut Exec<'r>, &[Value]) -> Answer,
}

/// A function of fixed parameters.
pub(crate) const fn f(
    name: &'static str,
    params: &'static [Ty],
    run: for<'r> fn(&mut Exec<'r>, &[Value]) -> Answer,
) -> Func {
    Func { name, params, variadic: false, lazy: false, run }
}

/// A function whose last parameter repeats.
pub(crate) const fn v(
    name: &'static str,
    params: &'static [Ty],
    run: for<'r> fn(&mut Exec<'r>, &[Value]) -> Answer,
) -> Func {
    Func { name, params, variadic: true, lazy: false, run }
}

const ONE: &[Ty] = &[Ty::Reflect];
const TWO: &[Ty] = &[Ty::Reflect, Ty::Reflect];
const ANYS: &[Ty] = &[Ty::Any];

const BUILTINS: &[Func] = &[
    Func { name: "and", params: TWO, variadic: true, lazy: true, run: |_, _| Ok(Value::Invalid) },
    Func { name: "or", params: TWO, variadic: true, lazy: true, run: |_, _| Ok(Value::Invalid) },
    v("call", TWO, |_, a| builtin::call(a)),
    v("html", ANYS, |_, a| builtin::html(a)),
    v("index", TWO, |_, a| builtin::index(a)),
    v("js", ANYS, |_, a| builtin::js(a)),
    f("len", ONE, |_, a| builtin::len(a)),
    f("not", ONE, |_, a| Ok(Value::Bool(!a[0].truth()))),
    v("print", ANYS, |_, a| Ok(Value::str(crate::value::fmt::sprint(a)))),
    v("printf", &[Ty::Str, Ty::Any], |_, a| Ok(Value::str(crate::value::fmt::sprintf(s(a, 0), &a[1..])))),
    v("println", ANYS, |_, a| Ok(Value::str(crate::value::fmt::sprintln(a)))),
    v("urlquery", ANYS, |_, a| Ok(Value::str(urls::query_escape(&builtin::joined(a))))),
    v("eq", TWO, |_, a| builtin::eq(a)),
    f("ge", TWO, |_, a| builtin::ge(a)),
    f("gt", TWO, |_, a| builtin::gt(a)),
    f("le", TWO, |_, a| builtin::le(a)),
    f("lt", TWO, |_, a| builtin::lt(a)),
    f("ne", TWO, |_, a| builtin::ne(a)),
];

/// The tables, of which a later one takes precedence over an earlier one for a name both have.
const TABLES: &[&[Func]] = &[
    BUILTINS,
    crypto::FUNCS,
    dates::FUNCS,
    defaults::FUNCS,
    dicts::FUNCS,
    encoding::FUNCS,
    lists::FUNCS,
    math::FUNCS,
    paths::FUNCS,
    random::FUNCS,
    regexes::FUNCS,
    semver::FUNCS,
    strings::FUNCS,
    urls::FUNCS,
    helm::FUNCS,
];

struct Table {
    funcs: Vec<&'static Func>,
    by_name: HashMap<&'static str, FuncId>,
    of_docker: HashMap<&'static str, FuncId>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut funcs = Vec::new();
    let mut by_name = HashMap::new();
    for func in TABLES.iter().flat_map(|t| t.iter()) {
        by_name.insert(func.name, funcs.len() as FuncId);
        funcs.push(func);
    }
    // The builtins stand first, so their place is their id.
    let mut of_docker: HashMap<_, _> =
        BUILTINS.iter().enumerate().map(|(id, func)| (func.name, id as FuncId)).collect();
    for func in docker::FUNCS {
        of_docker.insert(func.name, funcs.len() as FuncId);
        funcs.push(func);
    }
    Table { funcs, by_name, of_docker }
});

/// The function of a name.
pub fn lookup(name: &str) -> Option<FuncId> {
    TABLE.by_name.get(name).copied()
}

/// The function of a name in the templates of `docker --format`.
pub fn docker_lookup(name: &str) -> Option<FuncId> {
    TABLE.of_docker.get(name).copied()
}

/// The function of an id that [`lookup`] or [`docker_lookup`] gave.
pub fn get(id: FuncId) -> &'static Func {
    TABLE.funcs[usize::from(id)]
}

/// The names of all functions, sorted.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.by_name.keys().copied().collect();
    names.sort_unstable();
    names
}

/// The text of an argument that the executor checked to be one.
pub(crate) fn s(args: &[Value], i: usize) -> &str {
    args.get(i).and_then(Value::as_str).unwrap_or("")
}

/// The integer of an argument that the executor checked to be one.
pub(crate) fn n(args: &[Value], i: usize) -> i64 {
    match args.get(i) {
        Some(Value::Int(_, n)) => *n,
        _ => 0,
    }
}
