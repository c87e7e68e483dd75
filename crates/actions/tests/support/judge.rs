//! Installing reference programs from the package registries, pinned, once for all test runs.

use std::path::{Path, PathBuf};
use std::process::Command;

static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn judges() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("judges");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A note outside CI, a failure there.
fn unavailable(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} cannot be installed");
    eprintln!("skipped: {what} cannot be installed here");
}

/// A program of a pinned Python package. `None` (with a note) when it cannot be installed; a failure in CI.
pub fn python(package: &str, version: &str, program: &str) -> Option<PathBuf> {
    let dir = judges().join(format!("{package}-{version}"));
    let path = dir.join("bin").join(program);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if path.exists() {
        return Some(path);
    }
    let scratch = tempfile::Builder::new().prefix("venv").tempdir_in(judges()).unwrap();
    let venv = scratch.path().join("venv");
    let made = runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        && runs(Command::new(venv.join("bin/pip")).args(["install", "-q", &format!("{package}=={version}")]));
    if !made || !venv.join("bin").join(program).exists() {
        unavailable(&format!("{package} {version}"));
        return None;
    }
    // Another test may have been first.
    assert!(std::fs::rename(&venv, &dir).is_ok() || path.exists());
    let script = std::fs::read(&path).unwrap();
    if script.starts_with(b"#!") {
        // A script names its interpreter by its path.
        let (from, to) = (venv.to_string_lossy().into_owned(), dir.to_string_lossy().into_owned());
        std::fs::write(&path, String::from_utf8_lossy(&script).replace(&from, &to)).unwrap();
    }
    Some(path)
}

/// A directory with `node_modules` of these pinned packages.
pub fn node(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let dir = judges().join(format!("npm-{name}-{}", packages.join("-").replace(['/', '@'], "_")));
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if dir.join("node_modules").is_dir() {
        return Some(dir);
    }
    let scratch = tempfile::Builder::new().prefix("npm").tempdir_in(judges()).unwrap();
    std::fs::write(scratch.path().join("package.json"), "{\"private\": true}").unwrap();
    let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
    if !runs(Command::new("npm").args(install).args(packages).current_dir(scratch.path())) {
        unavailable(&packages.join(", "));
        return None;
    }
    let path = scratch.keep();
    assert!(std::fs::rename(&path, &dir).is_ok() || dir.is_dir());
    Some(dir)
}
