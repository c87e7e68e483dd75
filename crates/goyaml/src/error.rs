//! The error of every reading function, worded as go-yaml words it.

/// Why a text is not the YAML that was asked for.
///
/// The text is go-yaml's own (`yaml: line 3: did not find expected key`), so that a search for it finds the same
/// answers. [`Error::line`] and [`Error::column`] give the place for callers that point at it themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{prefix}{}{problem}", Where(*.shown_line))]
pub struct Error {
    /// What is wrong, as go-yaml says it, without the position.
    pub problem: String,
    prefix: &'static str,
    /// Line shown in the message: go-yaml's own counting, 0 where it shows none.
    shown_line: usize,
    /// Line of the problem, counted from 1; 0 when it belongs to no line.
    line: usize,
    /// Column of the problem in characters, counted from 1; 0 when unknown.
    column: usize,
}

struct Where(usize);

impl std::fmt::Display for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, "line {}: ", self.0) }
    }
}

impl Error {
    /// A problem of the text that go-yaml reports without a line.
    pub(crate) fn at(problem: impl Into<String>, shown_line: usize, line: usize, column: usize) -> Self {
        Error { problem: problem.into(), prefix: "yaml: ", shown_line, line, column }
    }

    /// A problem found after the YAML was understood: it cannot be said in JSON.
    pub(crate) fn json(problem: impl Into<String>, line: usize, column: usize) -> Self {
        Error { problem: problem.into(), prefix: "", shown_line: 0, line, column }
    }

    /// Whether go-yaml would have read the text.
    pub(crate) fn is_of_json(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Line of the problem, counted from 1; 0 when it belongs to no line.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column of the problem in characters, counted from 1; 0 when unknown.
    pub fn column(&self) -> usize {
        self.column
    }
}
