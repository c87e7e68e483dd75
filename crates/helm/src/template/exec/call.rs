//! Calls: arguments, and what Go says of those that do not fit.

use super::{Dot, Exec, Frame, Node, Result};
use crate::funcs::{self, Func, Ty};
use crate::template::ast::{Expr, ExprKind};
use crate::template::error::Fault;
use crate::value::{IntTy, Value};

impl Exec<'_> {
    #[expect(clippy::too_many_arguments, reason = "Go's evaluator has the same state")]
    pub(super) fn function<'t>(
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

    pub(super) fn and_or<'t>(
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
    pub(super) fn call<'t>(
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

    pub(super) fn arg<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, ty: Ty, node: &'t Expr) -> Result<Value> {
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

    pub(super) fn wrong_constant<T>(&self, frame: &Frame<'_>, ty: Ty, node: &Expr) -> Result<T> {
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

    pub(super) fn validate(&self, frame: &Frame<'_>, value: Dot, ty: Ty) -> Result<Value> {
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
