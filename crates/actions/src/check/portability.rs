//! Constructs that behave differently here than on GitHub, found in one part of a file each. Pure.

use crate::container::Definition;
use crate::expr::{Expression, Node, Template, Value};
use crate::workflow::{Tree, TreeKind};

/// A construct, and what is different about it.
pub(super) type Found = (String, String);

/// Programs that change the machine that they run on.
const MACHINE: &[&str] = &["sudo", "apt-get", "apt", "snap", "systemctl", "service"];
/// What the job's `docker` command does not do.
const DOCKER: &[&str] =
    &["run", "exec", "compose", "start", "stop", "rm", "ps", "logs", "network", "volume", "cp", "attach"];

/// What a script does that is different here: each program once.
pub(super) fn script(text: &str) -> Vec<Found> {
    let mut out: Vec<Found> = Vec::new();
    let mut add = |construct: String, difference: &str| {
        if !out.iter().any(|(known, _)| *known == construct) {
            out.push((construct, difference.to_owned()));
        }
    };
    for command in text.split(['\n', ';', '|', '&', '(']) {
        let mut words = command.split_whitespace().skip_while(|word| {
            // `VAR=value command`, `if command`
            word.contains('=') && !word.starts_with('-')
                || ["if", "then", "else", "do", "while", "!", "time"].contains(word)
        });
        let (Some(program), next) = (words.next(), words.next().unwrap_or_default()) else { continue };
        if MACHINE.contains(&program) {
            add(program.to_owned(), "changes this machine itself, not one that is thrown away");
        }
        if program == "docker" && DOCKER.contains(&next) || program == "docker-compose" {
            let construct = if program == "docker" { format!("docker {next}") } else { program.to_owned() };
            add(
                construct,
                "is refused: the job's `docker` command builds, pulls and pushes images; containers run by `container`, `services` and Docker actions",
            );
        }
    }
    out
}

/// What a shell is here.
pub(super) fn shell(shell: &Template) -> Option<Found> {
    let name = shell.source();
    let difference = match name.split_whitespace().next().unwrap_or_default() {
        "cmd" | "powershell" => "exists only on Windows: the step fails",
        "pwsh" => "needs PowerShell on this machine; GitHub's images have it",
        _ => return None,
    };
    Some((format!("shell: {name}"), difference.to_owned()))
}

/// What a label of `runs-on` means here.
pub(super) fn label(label: &str) -> Option<Found> {
    let lower = label.to_ascii_lowercase();
    let difference = if lower.starts_with("windows") || lower.starts_with("macos") {
        "this machine is Linux: the job fails at once"
    } else if lower.starts_with("ubuntu-") && lower.contains("-arm") != cfg!(target_arch = "aarch64") {
        "runs on this machine, whose processor is of another kind"
    } else if lower.starts_with("ubuntu-") {
        "runs on this machine, with the tools that it has, not in GitHub's image"
    } else if ["self-hosted", "linux", "x64", "arm64"].contains(&lower.as_str()) {
        return None;
    } else {
        "fails at once unless the platform was given this label"
    };
    Some((format!("runs-on: {label}"), difference.to_owned()))
}

/// What is refused of a container, as far as it is written down.
pub(super) fn container(tree: &Tree) -> Option<String> {
    match &tree.kind {
        // What expressions give is known when the job runs only.
        TreeKind::Mapping(entries) => {
            let known = entries.iter().filter_map(|(key, value)| Some((key.source(), value.constant()?)));
            let mut object = crate::expr::Object::new();
            known.for_each(|(key, value)| object.insert(key, value.clone()));
            if object.get("image").is_none() {
                object.insert("image", "x");
            }
            Definition::of(&Value::object(object)).err()
        }
        _ => None,
    }
}

/// What expressions of a text ask for that has another value here.
pub(super) fn expressions(template: &Template) -> Vec<Found> {
    let mut out = Vec::new();
    for expression in template.expressions() {
        for (context, key) in members(expression) {
            let difference = match (context.as_str(), key.to_ascii_lowercase().as_str()) {
                ("secrets", "github_token") | ("github", "token") => {
                    "opens the embedded forge, with the job's permissions there; nothing on GitHub"
                }
                ("runner", "environment") => "is 'self-hosted'",
                ("runner", "name") => "is the name of this platform",
                _ => continue,
            };
            out.push((format!("{context}.{key}"), difference.to_owned()));
        }
    }
    out
}

/// The members of contexts that an expression names.
pub(super) fn members(expression: &Expression) -> Vec<(String, String)> {
    fn walk(node: &Node, out: &mut Vec<(String, String)>) {
        match node {
            Node::Literal(_) | Node::Context(_) => {}
            Node::Call(_, args) | Node::And(args) | Node::Or(args) => args.iter().for_each(|arg| walk(arg, out)),
            Node::Star(inner) | Node::Not(inner) => walk(inner, out),
            Node::Compare(_, a, b) => {
                walk(a, out);
                walk(b, out);
            }
            Node::Index(inner, index) => {
                if let (Node::Context(name), Node::Literal(key)) = (&**inner, &**index) {
                    out.push((name.clone(), key.to_text()));
                }
                walk(inner, out);
                walk(index, out);
            }
        }
    }
    let mut out = Vec::new();
    if let Some(root) = expression.root() {
        walk(root, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        let found = |text: &str| script(text).into_iter().map(|(construct, _)| construct).collect::<Vec<_>>();
        assert_eq!(
            found("set -e\nsudo apt-get install x && sudo apt-get update\nDEBIAN_FRONTEND=none apt-get y"),
            ["sudo", "apt-get"]
        );
        assert_eq!(
            found("docker build . | tee log; if docker run x; then docker compose up; fi"),
            ["docker run", "docker compose"]
        );
        assert_eq!(found("docker-compose up\necho sudo\n# docker run x\ndocker push y\nservice=1"), ["docker-compose"]);
        assert!(label("ubuntu-latest").is_some());
        assert_eq!(label("self-hosted"), None);
        assert!(label("big-machine").unwrap().1.contains("given this label"));
    }
}
