//! The `bigben` command.
fn main() {}
