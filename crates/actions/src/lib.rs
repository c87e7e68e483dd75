//! Runs GitHub Actions workflow files.
