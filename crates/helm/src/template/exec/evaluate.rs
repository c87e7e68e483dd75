//! Pipelines, commands, constants, variables and fields.

use std::rc::Rc;

use super::{Dot, Exec, Frame, Node, Result, quoted};
use crate::funcs::{self};
use crate::template::ast::{Command, Expr, ExprKind, Number, Pipe};
use crate::value::{Object, Str, Value};

impl Exec<'_> {
    pub(super) fn pipeline<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, pipe: &'t Pipe) -> Result<Value> {
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

    pub(super) fn command<'t>(
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

    pub(super) fn not_a_function(&self, frame: &Frame<'_>, cmd: &Command, last: &Option<Value>) -> Result<()> {
        if cmd.args.len() > 1 || last.is_some() {
            return self.fail(frame, format!("can't give argument to non-function {}", cmd.args[0]));
        }
        Ok(())
    }

    pub(super) fn variable(&self, frame: &Frame<'_>, name: &str) -> Result<Dot> {
        match frame.vars.iter().rev().find(|(n, _)| n.as_ref() == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(frame, format!("undefined variable: {name}")),
        }
    }

    pub(super) fn ideal(&self, frame: &Frame<'_>, n: &Number) -> Result<Value> {
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
    pub(super) fn chain<'t>(
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
    pub(super) fn untyped<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, node: &'t Expr) -> Result<Dot> {
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

    pub(super) fn field_chain<'t>(
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

    pub(super) fn field<'t>(
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

    pub(super) fn no_field<T>(&self, frame: &Frame<'_>, name: &str, receiver: &Dot) -> Result<T> {
        let ty = if receiver.any { "interface {}" } else { receiver.value.type_name() };
        self.fail(frame, format!("can't evaluate field {name} in type {ty}"))
    }

    // ---- calls ----
}
