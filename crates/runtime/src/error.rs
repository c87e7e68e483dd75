//! The errors of this crate.

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a container, a machine or a link could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or a file operation failed.
    #[error("{operation}")]
    Io {
        /// What was being done, naming the object.
        operation: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The helper process reported a failure while it set a container up.
    #[error("container {id}: {step}: {message}")]
    Setup {
        /// The container's id.
        id: String,
        /// The step that failed.
        step: String,
        /// The system's reason.
        message: String,
        /// The error number, 0 when there is none.
        errno: i32,
    },
    /// The program of a container could not be executed.
    #[error("container {id}: cannot execute {program:?}: {message}")]
    Exec {
        /// The container's id.
        id: String,
        /// The program that was looked for.
        program: String,
        /// The system's reason.
        message: String,
        /// The error number (`ENOENT`, `EACCES`, `ENOEXEC`).
        errno: i32,
    },
    /// The helper ended without an answer.
    #[error("{0}: the helper process ended without an answer (does main call runtime::reexec::init first?)")]
    HelperGone(String),
}

impl Error {
    /// An [`Error::Io`] of `operation`.
    pub fn io(operation: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Error::Io { operation: operation.into(), source: source.into() }
    }

    /// The exit code that a shell gives for this failure: 127 for a program that does not exist, 126 for one that cannot be
    /// executed, 128 (as container engines do) for everything else.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Exec { errno, .. } if *errno == libc::ENOENT => 127,
            Error::Exec { .. } => 126,
            _ => 128,
        }
    }

    /// What the user can do about it, when that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Setup { step, errno, .. }
                if step.contains("user namespace")
                    && matches!(*errno, libc::EPERM | libc::ENOSPC | libc::EACCES | libc::EUSERS) =>
            {
                Some(
                    "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=15000, or run as root",
                )
            }
            Error::Setup { step, errno, .. } if step.starts_with("mount proc") && *errno == libc::EPERM => Some(
                "this host hides parts of /proc (a container without --privileged?); run outside of it, or as root",
            ),
            _ => None,
        }
    }
}

/// Adds the name of the operation to a failure.
pub(crate) trait Context<T> {
    /// Names the operation.
    fn context(self, operation: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, operation: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::io(operation(), error))
    }
}
