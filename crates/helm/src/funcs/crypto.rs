//! Keys, certificates, passwords and ciphers.

use super::Func;

/// The functions.
pub const FUNCS: &[Func] = &[];
