//! Statements: actions, branches, loops, variables.

use super::{Dot, Exec, Flow, Frame, Node, Result, here};
use crate::template::ast::{Branch, Stmt};
use crate::value::{Str, Value, fmt};

impl Exec<'_> {
    pub(super) fn walk<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, list: &'t [Stmt]) -> Result<Flow> {
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

    pub(super) fn range<'t>(&mut self, frame: &mut Frame<'t>, dot: &Dot, branch: &'t Branch) -> Result<Flow> {
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

    pub(super) fn iteration<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        branch: &'t Branch,
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

    pub(super) fn set_var(&self, frame: &mut Frame<'_>, name: &str, value: Dot) -> Result<()> {
        match frame.vars.iter_mut().rev().find(|(n, _)| n.as_ref() == name) {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => self.fail(frame, format!("undefined variable: {name}")),
        }
    }

    // ---- pipelines and commands ----
}
