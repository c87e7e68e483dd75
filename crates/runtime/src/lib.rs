//! Runs a root file system in namespaces and a cgroup, as root or as an ordinary user.
//!
//! Everything that must happen in a single-threaded process (user namespaces, forks, mounts) happens in a *helper*: this
//! same executable, started again with `argv[0] == "bigben-runtime"` and caught by [`reexec::init`], the first statement of
//! `main`. The helper gets its orders over a socket, makes the namespaces, leaves one child (the container's first process,
//! a child of the caller, see [`container`]) and ends.
//!
//! * [`container`]: one root file system, one process tree; [`container::run_once`] for the simple case.
//! * [`machine`]: a child process in namespaces of its own, which ends with its parent and takes everything with it.
//! * [`link`]: dialling TCP in another process's network namespace, the descriptor handed over by `SCM_RIGHTS`.
//! * [`net`]: network namespaces, links, addresses and routes over netlink; sockets in a container's network, from outside.
//! * [`cgroup`], [`capability`], [`seccomp`]: limits and restrictions.
//! * [`caps_probe`]: what this host allows, for `doctor`.
//!
//! It does not know images, Pods or builds. It is the only crate with `unsafe`.

pub mod capability;
pub mod caps_probe;
pub mod cgroup;
pub mod container;
mod error;
mod ipc;
pub mod link;
pub mod machine;
pub mod net;
mod process;
pub mod reexec;
pub mod seccomp;
mod spawner;
pub mod sys;
mod userns;

pub use error::{Error, Result};
pub use process::{ExitStatus, Process, Pty};
