//! Starting this executable again as a single-threaded helper.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// `argv[0]` of a helper.
pub(crate) const HELPER_NAME: &str = "bigben-runtime";

/// The descriptor number on which a helper finds its socket.
pub(crate) const SOCKET_FD: i32 = 3;

static HELPER: OnceLock<PathBuf> = OnceLock::new();

/// Must be the first statement of `main` of every program that uses this crate.
///
/// Returns at once in an ordinary process. In a helper (this executable re-executed by this crate) it does the helper's
/// work and ends the process: it never returns. No thread may have been started before.
pub fn init() {
    let mut arguments = std::env::args_os();
    if arguments.next().is_none_or(|name| name != HELPER_NAME) {
        return;
    }
    let mode = arguments.next().unwrap_or_default();
    let code = match mode.to_str() {
        Some("container") => crate::container::helper_create(),
        Some("pause") => crate::container::helper_pause(),
        Some("exec") => crate::container::helper_exec(),
        Some("machine") => crate::machine::helper(),
        Some("remove") => crate::machine::helper_remove(),
        Some("probe") => crate::caps_probe::helper(),
        Some("visit") => crate::net::visit::helper(),
        _ => {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"bigben-runtime is an internal helper, not a command\n",
            );
            64
        }
    };
    crate::sys::exit_now(code)
}

/// Names another executable as the helper: one whose `main` calls [`init`] first. For test programs, whose own `main` does not.
/// The first call wins.
pub fn set_helper(program: impl Into<PathBuf>) {
    let _ = HELPER.set(program.into());
}

/// The executable that is started as helper.
pub(crate) fn helper() -> &'static Path {
    HELPER.get_or_init(|| PathBuf::from("/proc/self/exe"))
}
