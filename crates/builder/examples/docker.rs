//! The `docker` command as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::reexec::init();
    builder::docker::main(std::env::args().collect(), std::env::vars().collect(), builder::docker::Stdio::inherit())
}
