//! The files of a definition as groups and targets: variables, functions, matrices, references between blocks. Pure.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::target::Target;
use crate::hcl::eval::{self, Locals, Names, eval};
use crate::hcl::{Block, Body, Expr};

/// A group.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub(super) struct Group {
    #[serde(skip)]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub targets: Vec<String>,
}

/// A variable, for people.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    pub name: String,
    pub description: String,
    pub value: Option<String>,
}

/// All that the files say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Definition {
    pub groups: Vec<Group>,
    pub targets: Vec<Target>,
    pub variables: Vec<Variable>,
    /// What has no effect.
    pub warnings: Vec<String>,
}

/// What variables are set to from outside.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Blocks by kind, in order, and what expressions may name.
struct World<'a> {
    attributes: BTreeMap<&'a str, &'a Expr>,
    variables: BTreeMap<&'a str, &'a Body>,
    functions: BTreeMap<&'a str, &'a Body>,
    blocks: Vec<&'a Block>,
    builtins: &'a BTreeMap<String, String>,
    lookup: Lookup<'a>,
    known: RefCell<BTreeMap<String, Value>>,
    busy: RefCell<BTreeSet<String>>,
}

/// Kinds of blocks in a file; all have one label.
pub(super) const BLOCKS: &[&str] = &["function", "group", "target", "variable"];

impl Definition {
    /// Adds what files in HCL or JSON say. `builtins` are variables that files cannot set.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn add(
        &mut self,
        bodies: &[(String, Body)],
        builtins: &BTreeMap<String, String>,
        lookup: Lookup<'_>,
    ) -> Result<(), String> {
        let mut world = World {
            attributes: BTreeMap::new(),
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            blocks: Vec::new(),
            builtins,
            lookup,
            known: RefCell::default(),
            busy: RefCell::default(),
        };
        for (file, body) in bodies {
            for attribute in &body.attributes {
                world.attributes.insert(&attribute.name, &attribute.value);
            }
            for block in &body.blocks {
                let at = format!("{file}:{}", block.line);
                if !BLOCKS.contains(&block.kind.as_str()) {
                    return Err(format!("{at}: blocks of type {:?} are not expected here", block.kind));
                }
                let [label] = block.labels.as_slice() else {
                    return Err(format!("{at}: {} takes one name, as in {} \"name\" {{", block.kind, block.kind));
                };
                match block.kind.as_str() {
                    "variable" => drop(world.variables.insert(label, &block.body)),
                    "function" => drop(world.functions.insert(label, &block.body)),
                    _ => {
                        let matrix = block.body.attribute("matrix").is_some();
                        if !matrix || block.kind == "group" {
                            valid(label).map_err(|why| format!("{at}: {why}"))?;
                        }
                        world.blocks.push(block);
                    }
                }
            }
        }
        for (name, body) in &world.variables {
            let value = world.value(name)?;
            world.validate(name, body)?;
            let description = match body.attribute("description") {
                Some(text) => eval::text(&eval(text, &world, &Locals::new())?)?,
                None => String::new(),
            };
            let sensitive = body.attribute("sensitive") == Some(&Expr::Literal(true.into()));
            let shown = match value {
                _ if sensitive => Some("<sensitive>".to_owned()),
                Value::Null => None,
                Value::String(text) => Some(text),
                other => Some(other.to_string()),
            };
            self.variables.push(Variable { name: (*name).to_owned(), description, value: shown });
        }
        for block in &world.blocks {
            let said = match block.kind.as_str() {
                "group" => self.add_group(&world, block),
                _ => self.add_target(&world, block),
            };
            said.map_err(|why| format!("{} {:?}: {why}", block.kind, block.labels[0]))?;
        }
        Ok(())
    }

    fn add_group(&mut self, world: &World<'_>, block: &Block) -> Result<(), String> {
        let mut group = Group { name: block.labels[0].clone(), ..Group::default() };
        for attribute in &block.body.attributes {
            match attribute.name.as_str() {
                "description" => group.description = eval::text(&eval(&attribute.value, world, &Locals::new())?)?,
                "targets" => match eval(&attribute.value, world, &Locals::new())? {
                    Value::Array(items) => group.targets = items.iter().map(eval::text).collect::<Result<_, _>>()?,
                    other => return Err(format!("targets: {} is not a list", eval::kind(&other))),
                },
                other => return Err(format!("{other} is not supported for groups")),
            }
        }
        let mut seen = BTreeSet::new();
        group.targets.retain(|target| seen.insert(target.clone()));
        match self.groups.iter_mut().find(|known| known.name == group.name) {
            Some(known) => *known = group,
            None => self.groups.push(group),
        }
        Ok(())
    }

    fn add_target(&mut self, world: &World<'_>, block: &Block) -> Result<(), String> {
        let label = &block.labels[0];
        let rows = match block.body.attribute("matrix") {
            None => vec![Locals::new()],
            Some(matrix) => combinations(eval(matrix, world, &Locals::new())?)?,
        };
        let mut names = Vec::new();
        for locals in rows {
            let name = match (block.body.attribute("name"), block.body.attribute("matrix")) {
                (Some(_), None) => return Err("name requires matrix".to_owned()),
                (Some(name), Some(_)) => eval::text(&eval(name, world, &locals)?)?,
                (None, _) => label.clone(),
            };
            valid(&name)?;
            if names.contains(&name) {
                return Err(format!(
                    "name {name:?} is made more than once; name= must tell the elements of the matrix apart"
                ));
            }
            let target = world.target(block, &name, &locals, &mut self.warnings)?;
            names.push(name);
            match self.targets.iter_mut().find(|known| known.name == target.name) {
                Some(known) => known.merge(&target),
                None => self.targets.push(target),
            }
        }
        if names != [label.clone()] {
            match self.groups.iter_mut().find(|group| group.name == *label) {
                Some(group) => group.targets.extend(names),
                None => self.groups.push(Group { name: label.clone(), description: String::new(), targets: names }),
            }
        }
        Ok(())
    }
}

/// Each combination of a matrix's values.
fn combinations(matrix: Value) -> Result<Vec<Locals>, String> {
    let Value::Object(matrix) = matrix else { return Err("matrix must be a map".to_owned()) };
    let mut rows = vec![Locals::new()];
    for (key, values) in matrix {
        let Value::Array(values) = values else { return Err("matrix values must be a list".to_owned()) };
        if rows.len() * values.len() > 4096 {
            return Err("the matrix has more than 4096 elements".to_owned());
        }
        let with = |row: &Locals, value: &Value| {
            let mut row = row.clone();
            row.insert(key.clone(), value.clone());
            row
        };
        rows = values.iter().flat_map(|value| rows.iter().map(|row| with(row, value)).collect::<Vec<_>>()).collect();
    }
    Ok(rows)
}

/// Names of targets and groups.
///
/// # Errors
/// What they may be made of.
pub(super) fn valid(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if fits { Ok(()) } else { Err(format!("invalid name {name:?}: only \"[a-zA-Z0-9_-]+\" are allowed")) }
}

impl World<'_> {
    fn target(&self, block: &Block, name: &str, locals: &Locals, warnings: &mut Vec<String>) -> Result<Target, String> {
        let mut target = Target { name: name.to_owned(), ..Target::default() };
        for attribute in &block.body.attributes {
            if matches!(attribute.name.as_str(), "name" | "matrix") {
                continue;
            }
            let value = eval(&attribute.value, self, locals).map_err(|why| format!("{}: {why}", attribute.name))?;
            if !target.set(&attribute.name, &value).map_err(|why| format!("{}: {why}", attribute.name))? {
                warnings.push(format!("target {name}: {} is no field of a target and has no effect", attribute.name));
            }
        }
        let inner = block.body.blocks.iter();
        warnings.extend(inner.map(|inner| format!("target {name}: a block {} has no effect there", inner.kind)));
        Ok(target)
    }

    /// The value of a variable or top-level attribute that is there.
    fn value(&self, name: &str) -> Result<Value, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        if !self.busy.borrow_mut().insert(name.to_owned()) {
            return Err(format!("variable cycle not allowed for {name}"));
        }
        let found = self.find(name);
        self.busy.borrow_mut().remove(name);
        let found = found?;
        self.known.borrow_mut().insert(name.to_owned(), found.clone());
        Ok(found)
    }

    fn find(&self, name: &str) -> Result<Value, String> {
        let none = Locals::new();
        if let Some(expr) = self.attributes.get(name).filter(|_| !self.variables.contains_key(name)) {
            return eval(expr, self, &none);
        }
        if let Some(value) = self.builtins.get(name) {
            return Ok(value.clone().into());
        }
        let body = self.variables.get(name).ok_or_else(|| format!("undefined variable {name:?}"))?;
        // An attribute of the same name is the variable's value, unless the surroundings say another.
        let default = self.attributes.get(name).copied().or(body.attribute("default"));
        let default = default.map(|expr| eval(expr, self, &none)).transpose()?;
        let wanted = body.attribute("type");
        let given = match ((self.lookup)(name), default) {
            (None, None) if wanted.is_some() => Value::Null,
            (None, None) => Value::String(String::new()),
            (None, Some(default)) => default,
            (Some(text), default) => from_text(name, &text, wanted, default.as_ref())?,
        };
        match wanted {
            Some(wanted) => eval::converted(given, wanted).map_err(|why| format!("variable {name}: {why}")),
            None => Ok(given),
        }
    }

    fn validate(&self, name: &str, body: &Body) -> Result<(), String> {
        for rule in body.blocks.iter().filter(|block| block.kind == "validation") {
            let Some(condition) = rule.body.attribute("condition") else { continue };
            if !eval::boolean(&eval(condition, self, &Locals::new())?)? {
                let message = match rule.body.attribute("error_message") {
                    Some(message) => eval::text(&eval(message, self, &Locals::new())?)?,
                    None => "the condition is not met".to_owned(),
                };
                return Err(format!("variable {name:?}: validation failed: {message}"));
            }
        }
        Ok(())
    }
}

/// A variable's value from the surroundings, as its type or its default has it.
fn from_text(name: &str, text: &str, wanted: Option<&Expr>, default: Option<&Value>) -> Result<Value, String> {
    let kind = match (wanted, default) {
        (Some(Expr::Variable(kind)), _) => kind.as_str(),
        (Some(Expr::Call(kind, ..)), _) => kind.as_str(),
        (None, Some(Value::Bool(_))) => "bool",
        (None, Some(Value::Number(_))) => "number",
        (None, Some(Value::Array(_))) => "list",
        (None, Some(Value::Object(_))) => "object",
        _ => "string",
    };
    Ok(match kind {
        "bool" => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true.into(),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false.into(),
            other => return Err(format!("failed to parse {name} as bool: {other:?}")),
        },
        "number" => {
            let found = text.parse::<f64>().ok().filter(|number| number.is_finite());
            eval::number(found.ok_or_else(|| format!("failed to parse {name} as number: {text:?}"))?)
        }
        "list" | "set" | "tuple" if wanted.is_some() => {
            let items = crate::dockerfile::csv(text).map_err(|why| format!("failed to parse {name}: {why}"))?;
            items.into_iter().map(Value::from).collect::<Vec<_>>().into()
        }
        "map" | "object" if wanted.is_some() => {
            serde_json::from_str(text).map_err(|why| format!("failed to parse {name} as JSON: {why}"))?
        }
        "list" | "object" => return Err(format!("unsupported type of variable {name}; give it a type")),
        _ => text.into(),
    })
}

impl Names for World<'_> {
    fn variable(&self, name: &str) -> Result<Option<Value>, String> {
        let there =
            self.attributes.contains_key(name) || self.variables.contains_key(name) || self.builtins.contains_key(name);
        if there { self.value(name).map(Some) } else { Ok(None) }
    }

    fn block(&self, kind: &str, name: &str, attribute: &str) -> Result<Option<Value>, String> {
        if !matches!(kind, "target" | "group")
            || self.variables.contains_key(kind)
            || self.attributes.contains_key(kind)
        {
            return Ok(None);
        }
        let path = format!("{kind}.{name}.{attribute}");
        let named = |block: &&&Block| block.kind == kind && block.labels[0] == name;
        let block = self.blocks.iter().rev().filter(named).find(|block| block.body.attribute(attribute).is_some());
        let expr =
            block.and_then(|block| block.body.attribute(attribute)).ok_or_else(|| format!("there is no {path}"))?;
        if !self.busy.borrow_mut().insert(path.clone()) {
            return Err(format!("reference cycle not allowed for {path}"));
        }
        let found = eval(expr, self, &Locals::new());
        self.busy.borrow_mut().remove(&path);
        found.map(Some)
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
        let Some(body) = self.functions.get(name) else { return Ok(None) };
        let bare = |expr: &Expr| match expr {
            Expr::Variable(name) => Ok(name.clone()),
            Expr::Literal(Value::String(name)) => Ok(name.clone()),
            _ => Err(format!("function {name}: each parameter must be a name")),
        };
        let params = match body.attribute("params") {
            Some(Expr::List(items)) => items.iter().map(bare).collect::<Result<Vec<_>, _>>()?,
            _ => return Err(format!("function {name}: params must be a list of names")),
        };
        let rest = body.attribute("variadic_params").map(bare).transpose()?;
        let fits = if rest.is_some() { arguments.len() >= params.len() } else { arguments.len() == params.len() };
        if !fits {
            return Err(format!("function {name} takes {} arguments, not {}", params.len(), arguments.len()));
        }
        let mut locals: Locals = params.iter().cloned().zip(arguments.iter().cloned()).collect();
        if let Some(rest) = rest {
            locals.insert(rest, arguments[params.len()..].to_vec().into());
        }
        let result = body.attribute("result").ok_or_else(|| format!("function {name} has no result"))?;
        let key = format!("{name}()");
        if !self.busy.borrow_mut().insert(key.clone()) {
            return Err(format!("function cycle not allowed for {name}"));
        }
        let found = eval(result, self, &locals);
        self.busy.borrow_mut().remove(&key);
        found.map(Some)
    }
}
