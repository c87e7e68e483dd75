//! What can go wrong, in Helm's words.

/// Why a chart was not loaded or rendered. The text is Helm's own where Helm has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files are no chart.
    #[error("{0}")]
    Load(String),
    /// A path could not be read.
    #[error("cannot read {path}: {reason}")]
    Io {
        /// What was read.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The values are not what the chart takes.
    #[error("{0}")]
    Values(String),
    /// A template is not parsed or fails.
    #[error("{0}")]
    Render(String),
    /// The output is no YAML or no object.
    #[error("{0}")]
    Output(String),
    /// The chart cannot be installed here (library chart, wrong version of Kubernetes).
    #[error("{0}")]
    Refused(String),
}
