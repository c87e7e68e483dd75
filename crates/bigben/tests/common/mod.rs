//! What the tests of the command share: the repository's own files, git without anybody's configuration, programs in a directory of their own.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The top of this repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The `bigben` program.
pub fn bigben() -> &'static str {
    env!("CARGO_BIN_EXE_bigben")
}

/// Takes away what a person's or a machine's configuration would change about git, and says who commits.
pub fn without_configuration(command: &mut Command) -> &mut Command {
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "tester")
        .env("GIT_AUTHOR_EMAIL", "tester@localhost")
        .env("GIT_COMMITTER_NAME", "tester")
        .env("GIT_COMMITTER_EMAIL", "tester@localhost")
}

/// What a command printed, on both streams, for messages.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs git and gives its output; fails the test where it fails.
pub fn git<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> String {
    let mut command = Command::new("git");
    let output = without_configuration(command.arg("-C").arg(dir).args(args)).output().unwrap();
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    assert!(output.status.success(), "git {args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Copies a directory, with the files' rights.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// This repository's standard files, without the sources of services and platform, in a new repository with one commit.
pub fn standard_files(dir: &Path) {
    let top = top();
    copy_tree(&top.join("backstage"), &dir.join("backstage"));
    copy_tree(&top.join(".github"), &dir.join(".github"));
    for app in fs::read_dir(top.join("app")).unwrap() {
        let app = app.unwrap();
        let config = app.path().join("deploy-config");
        if config.is_dir() {
            copy_tree(&config, &dir.join("app").join(app.file_name()).join("deploy-config"));
        }
    }
    commit_all(dir);
}

/// Makes a repository of a directory, with everything in it in one commit on `main`.
pub fn commit_all(dir: &Path) {
    git(dir, &["init", "--quiet", "--initial-branch=main"]);
    git(dir, &["add", "--all"]);
    git(dir, &["commit", "--quiet", "--message", "first"]);
}

/// A program of this machine, by name.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Makes a directory that holds just these programs of the machine, for a `PATH` without surprises.
pub fn programs(dir: &Path, names: &[&str]) {
    fs::create_dir_all(dir).unwrap();
    for name in names {
        std::os::unix::fs::symlink(program(name), dir.join(name)).unwrap();
    }
}
