//! Image layers: archives of changes, written reproducibly and unpacked safely.
//!
//! [`Writer`] makes a layer from entries or from a directory; [`unpack`] turns a layer into a directory, either on top of
//! what is there or as a lower directory for overlayfs. Whatever an archive says, nothing outside the destination is
//! touched: every path is walked from the destination's descriptor, and symbolic links on the way are read as inside it.

mod compress;
mod place;
mod tree;
mod unpack;
mod writer;

use std::io;
use std::path::PathBuf;

pub use compress::Compression;
pub use place::remove_tree;
pub use tree::{MapOwner, Skip, TreeOptions};
pub use unpack::{Limits, OverlayXattr, UnpackOptions, Unpacked, Whiteouts, unpack};
pub use writer::{Layer, Times, Writer};

use crate::tar;

/// Prefix of the name of a file that deletes its neighbour.
pub const WHITEOUT: &[u8] = b".wh.";
/// Name of the file that hides everything below its directory.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// Why a layer could not be written or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive is damaged or holds something unsupported.
    #[error("layer cannot be read")]
    Archive(#[from] tar::Error),
    /// The layer's bytes could not be read or decompressed.
    #[error("layer cannot be read or decompressed")]
    Source(#[source] io::Error),
    /// The layer's bytes could not be written.
    #[error("layer cannot be written")]
    Sink(#[source] io::Error),
    /// An entry would be dangerous.
    #[error("layer entry {entry:?} refused: {reason}")]
    Refused {
        /// The entry.
        entry: String,
        /// Why.
        reason: String,
    },
    /// More than the limits allow.
    #[error("layer exceeds the limit of {limit} {what}")]
    Limit {
        /// Entries or bytes.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// The file system refused an entry.
    #[error("layer entry {entry:?}: cannot {action} below {}", dest.display())]
    Entry {
        /// The entry.
        entry: String,
        /// What was tried.
        action: &'static str,
        /// Destination directory.
        dest: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file to be put into a layer could not be read.
    #[error("cannot {action} {}", path.display())]
    Tree {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The uncompressed content is not what the image configuration says.
    #[error("layer has diff id {found}, not {expected}")]
    DiffId {
        /// From the configuration.
        expected: crate::Digest,
        /// Of the content.
        found: crate::Digest,
    },
}
