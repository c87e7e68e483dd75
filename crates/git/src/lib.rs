//! Git repositories on disk, through the git program.
