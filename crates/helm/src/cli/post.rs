//! Post-rendering: manifests through a program.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::value::quote::quote;

/// Gives the manifests to a program and takes what it gives back.
pub(super) fn render(program: &Path, args: &[String], text: &str) -> Result<String, Error> {
    let shown = program.display().to_string();
    let fail = |reason: String| {
        Error::Output(format!(
            "error while running post render on manifests: error while running command {shown}. {reason}"
        ))
    };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| fail(e.to_string()))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // A program that ends early is judged by its exit code.
                let _ = stdin.write_all(text.as_bytes());
            }
        });
        child.wait_with_output()
    })
    .map_err(|e| fail(e.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(fail(format!("error output:\n{said}: {}", output.status)));
    }
    if output.stdout.is_empty() && !text.is_empty() {
        return Err(Error::Output(format!(
            "error while running post render on manifests: post-renderer {} produced empty output",
            quote(&shown)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
