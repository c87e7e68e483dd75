//! Kubernetes' JSONPath templates, for `show values --jsonpath`.
//!
//! Keys of a mapping that are not named (`*`, `..`) come in their order; the reference gives them in none.

mod parse;

use crate::template::builtin;
use crate::value::json::{Style, encode};
use crate::value::{Data, Value, fmt};

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Field(String),
    /// `range` or `end`.
    Word(String),
    /// What both sides of a comparison give, and the comparison; empty for whether the left side is there.
    Filter(Vec<Node>, String, Vec<Node>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
    Slice(Slice),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
struct Slice {
    from: Option<i64>,
    to: Option<i64>,
    step: Option<i64>,
    /// Whether it is one index.
    is_one: bool,
}

/// What a template gives for values; nothing where something is not there, as Helm prints it.
///
/// # Errors
/// A template that cannot be read.
pub fn evaluate(template: &str, values: &Data) -> Result<String, String> {
    let nodes = parse::parse(template)?;
    let mut out = String::new();
    let done = run(&nodes, std::slice::from_ref(values), &mut out);
    Ok(if done.is_ok() { out } else { String::new() })
}

/// Gives each node's results; how many nodes that took: up to the `end` of the range that they are in.
fn run(nodes: &[Node], current: &[Data], out: &mut String) -> Result<usize, String> {
    let mut at = 0;
    while let Some(node) = nodes.get(at) {
        at += 1;
        match word(node) {
            Some(("range", over)) => {
                let below = walk(over, current.to_vec())?;
                let mut taken = None;
                for value in &below {
                    taken = Some(run(&nodes[at..], std::slice::from_ref(value), out)?);
                }
                at += match taken {
                    Some(taken) => taken,
                    None => end_of_range(&nodes[at..]),
                };
            }
            Some(("end", _)) => return Ok(at),
            Some((other, _)) => return Err(format!("unrecognized identifier {other}")),
            None => {
                let results = match node {
                    Node::Text(text) => vec![Data::Str(text.as_str().into())],
                    Node::List(nodes) => walk(nodes, current.to_vec())?,
                    _ => Vec::new(),
                };
                print(&results, out)?;
            }
        }
    }
    Ok(at)
}

/// The word that an action begins with, and the rest of it.
fn word(node: &Node) -> Option<(&str, &[Node])> {
    let Node::List(nodes) = node else { return None };
    let (Node::Word(word), rest) = nodes.split_first()? else { return None };
    Some((word, rest))
}

/// How many nodes there are up to and with the `end` of a range.
fn end_of_range(nodes: &[Node]) -> usize {
    let mut depth = 0;
    for (at, node) in nodes.iter().enumerate() {
        match word(node) {
            Some(("range", _)) => depth += 1,
            Some(("end", _)) if depth == 0 => return at + 1,
            Some(("end", _)) => depth -= 1,
            _ => {}
        }
    }
    nodes.len()
}

fn print(results: &[Data], out: &mut String) -> Result<(), String> {
    for (i, result) in results.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        match result {
            Data::List(_) | Data::Map(_) => {
                out.push_str(&encode(&result.to_value(), Style { html: true, pretty: false })?);
            }
            Data::Null => out.push_str("null"),
            other => out.push_str(&fmt::to_string(&other.to_value())),
        }
    }
    Ok(())
}

/// What a row of nodes leads to.
fn walk(nodes: &[Node], mut current: Vec<Data>) -> Result<Vec<Data>, String> {
    for node in nodes {
        current = step(node, current)?;
    }
    Ok(current)
}

fn step(node: &Node, current: Vec<Data>) -> Result<Vec<Data>, String> {
    let constant = |value: Data| Ok(current.iter().map(|_| value.clone()).collect());
    match node {
        Node::Text(text) => Ok(vec![Data::Str(text.as_str().into())]),
        Node::List(nodes) => walk(nodes, current),
        Node::Int(int) => constant(Data::Int(*int)),
        Node::Float(float) => constant(Data::Float(*float)),
        Node::Bool(bool) => constant(Data::Bool(*bool)),
        Node::Word(word) => Err(format!("unrecognized identifier {word}")),
        Node::Field(name) => {
            let below: Vec<Data> =
                current.iter().filter_map(|value| value.as_map().and_then(|map| map.get(name)).cloned()).collect();
            if below.is_empty() { Err(format!("{name} is not found")) } else { Ok(below) }
        }
        Node::Wildcard => Ok(current.iter().flat_map(children).collect()),
        Node::Recursive => {
            let mut all = Vec::new();
            current.iter().for_each(|value| descend(value, &mut all));
            Ok(all)
        }
        Node::Union(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(walk(part, current.clone())?);
            }
            Ok(all)
        }
        Node::Slice(slice) => {
            let mut all = Vec::new();
            for value in &current {
                all.extend(cut(value, slice)?);
            }
            Ok(all)
        }
        Node::Filter(left, operator, right) => {
            let mut all = Vec::new();
            for value in &current {
                let Data::List(items) = value else { return Err("cannot be filtered".to_owned()) };
                for item in items.iter() {
                    if passes(item, left, operator, right)? {
                        all.push(item.clone());
                    }
                }
            }
            Ok(all)
        }
    }
}

fn children(value: &Data) -> Vec<Data> {
    match value {
        Data::List(items) => items.to_vec(),
        Data::Map(map) => map.values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// A value and everything below it that has something below it.
fn descend(value: &Data, all: &mut Vec<Data>) {
    let below = children(value);
    if !below.is_empty() {
        all.push(value.clone());
        below.iter().for_each(|value| descend(value, all));
    }
}

fn cut(value: &Data, slice: &Slice) -> Result<Vec<Data>, String> {
    let Data::List(items) = value else { return Err("is not array or slice".to_owned()) };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from = slice.from.unwrap_or(0);
    let from = if from < 0 { from + length } else { from };
    let to = slice.to.unwrap_or(length);
    let to = if to < 0 || (to == 0 && slice.is_one) { to + length } else { to };
    if from == to {
        return Ok(Vec::new());
    }
    let outside = |index: i64| Err(format!("array index out of bounds: index {index}, length {length}"));
    if !(0..length).contains(&from) {
        return outside(from);
    }
    if !(0..=length).contains(&to) {
        return outside(to - 1);
    }
    if from > to {
        return Err(format!("starting index {from} is greater than ending index {to}"));
    }
    let step = match slice.step {
        None => 1,
        Some(step) => usize::try_from(step).ok().filter(|step| *step > 0).ok_or("step must be > 0")?,
    };
    let place = |index: i64| usize::try_from(index).unwrap_or(0);
    Ok(items[place(from)..place(to)].iter().step_by(step).cloned().collect())
}

fn passes(item: &Data, left: &[Node], operator: &str, right: &[Node]) -> Result<bool, String> {
    let lefts = walk(left, vec![item.clone()]);
    if operator.is_empty() {
        return Ok(lefts.is_ok_and(|lefts| !lefts.is_empty()));
    }
    let one = |found: Vec<Data>| match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.to_value())),
        _ => Err("can only compare one element at a time".to_owned()),
    };
    let Some(left) = one(lefts?)? else { return Ok(false) };
    let Some(right) = one(walk(right, vec![item.clone()])?)? else { return Ok(false) };
    let sides = [left, right];
    let answer = match operator {
        "<" => builtin::lt(&sides),
        ">" => builtin::gt(&sides),
        "==" => builtin::eq(&sides),
        "!=" => builtin::ne(&sides),
        "<=" => builtin::le(&sides),
        ">=" => builtin::ge(&sides),
        other => return Err(format!("unrecognized filter operator {other}")),
    };
    answer.map(|value| matches!(value, Value::Bool(true))).map_err(|_| "cannot be compared".to_owned())
}
