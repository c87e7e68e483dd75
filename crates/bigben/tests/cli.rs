//! The words of the command line: the help of every command, and the errors that people meet first.
//!
//! After a wanted change: `INSTA_UPDATE=always cargo test -p bigben --test cli`, and look the difference over.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod common;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{bigben, commit_all, git, programs, without_configuration};
use tempfile::TempDir;

/// A machine on which nothing was ever set up.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Self { dir };
        programs(&machine.path("usr"), &["git"]);
        for name in ["home", "nowhere", "empty", "plain"] {
            fs::create_dir(machine.path(name)).unwrap();
        }
        git(&machine.path("empty"), &["init", "--quiet", "--initial-branch=main"]);
        fs::write(machine.path("plain/README"), "nothing to deliver\n").unwrap();
        commit_all(&machine.path("plain"));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, dir: &str, args: &[&str]) -> Output {
        let mut command = Command::new(bigben());
        command.env_clear().env("PATH", self.path("usr")).env("HOME", self.path("home"));
        command.env("GIT_CEILING_DIRECTORIES", self.dir.path()).env("LC_ALL", "C");
        without_configuration(&mut command);
        command.current_dir(self.path(dir)).args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// A command, its exit code and what it says, without what differs from run to run.
    fn session(&self, dir: &str, args: &[&str]) -> String {
        let output = self.run(dir, args);
        let mut text = format!("{dir}$ bigben {}\n", args.join(" "));
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        writeln!(text, "[exit code {}]", output.status.code().unwrap()).unwrap();
        let real = self.dir.path().canonicalize().unwrap();
        let text = text.replace(real.to_str().unwrap(), "TMP").replace(self.dir.path().to_str().unwrap(), "TMP");
        // The state directory of a repository ends in a hash of its path.
        let states = "/bigben/";
        let mut clean = String::new();
        let mut rest = text.as_str();
        while let Some(place) = rest.find(states) {
            let (before, after) = rest.split_at(place + states.len());
            clean.push_str(before);
            let name = after.split(['/', ' ', ';', '\n']).next().unwrap_or_default();
            let hash = name.rfind('-').map_or(name.len(), |dash| dash);
            clean.push_str(&name[..hash]);
            if hash < name.len() {
                clean.push_str("-HASH");
            }
            rest = &after[name.len()..];
        }
        clean.push_str(rest);
        clean
    }
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn help_of_every_command() {
    let machine = Machine::new();
    let mut text = String::new();
    let mut waiting = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(words) = waiting.pop() {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let output = machine.run("nowhere", &args);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}");
        let below = commands(&help).into_iter().filter(|name| name != "help");
        let below: Vec<Vec<String>> = below.map(|name| words.iter().cloned().chain([name]).collect()).collect();
        waiting.extend(below.into_iter().rev());
        write!(text, "$ bigben {}\n{help}\n", args.join(" ")).unwrap();
        seen += 1;
    }
    assert!(seen > 20, "only {seen} commands were found");
    insta::assert_snapshot!("help", text);
}

#[test]
fn errors_that_people_meet_first() {
    let machine = Machine::new();
    fs::create_dir(machine.path("photos")).unwrap();
    fs::write(machine.path("photos/cat.jpeg"), "miaow").unwrap();
    let photos = machine.path("photos");
    let missing = machine.path("missing");
    let (photos, missing) = (photos.to_str().unwrap(), missing.to_str().unwrap());
    let sessions: &[(&str, &[&str])] = &[
        // Where there is no repository, or nothing in it.
        ("nowhere", &["up"]),
        ("nowhere", &["status"]),
        ("empty", &["up", "--on", "kind"]),
        ("plain", &["up", "--on", "kind"]),
        ("plain", &["workflow", "check"]),
        ("nowhere", &["up", "--repo", missing]),
        // Where nothing is up.
        ("plain", &["status"]),
        ("plain", &["deliveries"]),
        ("plain", &["delivery", "1234567"]),
        ("plain", &["logs", "shop"]),
        ("plain", &["runs"]),
        ("plain", &["release", "v1.0.0"]),
        ("plain", &["rollback", "shop"]),
        ("plain", &["pr", "create"]),
        ("plain", &["secret", "set", "TOKEN"]),
        ("plain", &["hosts", "--write", "--file", "README"]),
        ("plain", &["kubeconfig"]),
        ("plain", &["kubeconfig", "--path"]),
        ("plain", &["down"]),
        ("plain", &["status", "--state", missing]),
        // What would be a mistake.
        ("plain", &["down", "--purge", "--state", photos]),
        ("plain", &["hosts", "--remove", "--file", missing]),
        // Wrong usage.
        ("plain", &["up", "--timeout", "soon"]),
        ("plain", &["up", "--http", "80000"]),
        ("plain", &["up", "--output", "xml"]),
        ("plain", &["hosts"]),
        ("plain", &["hosts", "--write", "--remove"]),
        ("plain", &["rollback"]),
        ("plain", &["stauts"]),
    ];
    let texts: Vec<String> = sessions.iter().map(|(dir, args)| machine.session(dir, args)).collect();
    insta::assert_snapshot!("errors", texts.join("\n"));
    assert!(Path::new(photos).join("cat.jpeg").exists(), "a directory that is no state was deleted");
    assert!(!Path::new(missing).exists(), "a question made a directory");
}
