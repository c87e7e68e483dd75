//! What goes wrong while a template runs, with the chain of calls.

use std::fmt::{self, Display, Formatter};

use crate::value::quote::quote;

/// A failure during execution: Go's chain of wrapped errors.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A plain message of a function.
    Text(String),
    /// `template: LOCATION: executing "NAME" at <CONTEXT>: ...`
    Exec(Box<ExecFault>),
    /// A message before another failure.
    Wrap(String, Box<Fault>),
    /// A bound was reached: never caught, shown as it is.
    Limit(String),
}

/// A failure at a place in a template.
#[derive(Debug, Clone)]
pub struct ExecFault {
    /// `file:line:column`
    pub location: String,
    /// The template that was executing.
    pub template: String,
    /// The piece of template it happened in.
    pub context: String,
    /// What is wrong; with a cause, the words before it.
    pub message: String,
    /// What the called function said.
    pub cause: Option<Fault>,
}

impl Fault {
    /// A plain message.
    pub fn text(message: impl Into<String>) -> Fault {
        Fault::Text(message.into())
    }

    /// The messages of the chain, outermost first, as `errors.Unwrap` walks it.
    fn chain(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut next = Some(self);
        while let Some(fault) = next {
            out.push(fault.to_string());
            next = match fault {
                Fault::Text(_) | Fault::Limit(_) => None,
                Fault::Exec(e) => e.cause.as_ref(),
                Fault::Wrap(_, inner) => Some(inner),
            };
        }
        out
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault::Text(text)
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Fault {
        Fault::Text(text.to_owned())
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Text(text) | Fault::Limit(text) => f.write_str(text),
            Fault::Exec(e) => {
                write!(
                    f,
                    "template: {}: executing {} at <{}>: {}",
                    e.location,
                    quote(&e.template),
                    e.context,
                    e.message
                )?;
                match &e.cause {
                    Some(cause) => write!(f, "{cause}"),
                    None => Ok(()),
                }
            }
            Fault::Wrap(text, inner) => write!(f, "{text}{inner}"),
        }
    }
}

/// Marks the message of `fail` and `required`, which stands alone in the end.
pub(crate) const WARN_START: &str = "HELM_ERR_START";
/// The end of the mark.
pub(crate) const WARN_END: &str = "HELM_ERR_END";

/// Helm's message for a failed rendering.
pub fn explain(fault: &Fault) -> String {
    let whole = fault.to_string();
    let Fault::Exec(_) = fault else { return whole };
    let mut parts = whole.splitn(3, ": ");
    let (_, Some(location), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return whole };
    if let (Some(from), Some(to)) = (rest.find(WARN_START), rest.rfind(WARN_END))
        && from + WARN_START.len() <= to
    {
        return format!("execution error at ({location}): {}", &rest[from + WARN_START.len()..to]);
    }
    let mut steps: Vec<Step> = Vec::new();
    for message in fault.chain() {
        let Some(step) = Step::parse(&message) else { return whole };
        if steps.last() != Some(&step) {
            steps.push(step);
        }
    }
    let text: String = steps.iter().map(Step::to_string).collect();
    text.trim().to_owned()
}

/// One line of the call chain.
#[derive(Debug, PartialEq)]
struct Step {
    location: String,
    executed: String,
    message: String,
}

impl Step {
    fn parse(text: &str) -> Option<Step> {
        let rest = text.strip_prefix("template: ")?;
        if rest.starts_with("no template ") {
            return Some(Step { location: String::new(), executed: String::new(), message: text.to_owned() });
        }
        let (location, rest) = rest.split_once(": ")?;
        if rest.starts_with("executing ") {
            let (executed, message) = rest.split_once(">: ")?;
            // What the called template said follows on lines of its own.
            let message = match message.find(": template: ") {
                Some(at) => &message[..=at],
                None => message,
            };
            return Some(Step {
                location: location.to_owned(),
                executed: format!("{executed}>:"),
                message: message.trim().to_owned(),
            });
        }
        Some(Step { location: location.to_owned(), executed: String::new(), message: rest.trim().to_owned() })
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.location.is_empty() {
            write!(f, "{}\n  ", self.location)?;
        }
        if !self.executed.is_empty() {
            write!(f, "{}\n    ", self.executed)?;
        }
        if !self.message.is_empty() {
            writeln!(f, "{}", self.message)?;
        }
        Ok(())
    }
}
