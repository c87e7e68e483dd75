//! `setup-*` and the Rust toolchain actions: they use what the machine has, and fail clearly when the version asked for is not
//! there. Nothing is downloaded but Rust toolchains, by rustup itself.

use std::path::{Path, PathBuf};

use super::{Builtin, Inputs};
use crate::job::Executor;
use crate::job::process::Command;
use crate::job::steps_api::{Current, Frame};

struct Tool {
    name: &'static str,
    programs: &'static [&'static str],
    version_args: &'static [&'static str],
    version_input: &'static str,
    file_input: &'static str,
    output: &'static str,
    /// Inputs that are understood.
    known: &'static [&'static str],
    /// Inputs of the original that would need what is not here.
    refused: &'static [&'static str],
    /// Inputs that change nothing here, and may be given.
    harmless: &'static [&'static str],
}

const NODE: Tool = Tool {
    name: "Node.js",
    programs: &["node"],
    version_args: &["--version"],
    version_input: "node-version",
    file_input: "node-version-file",
    output: "node-version",
    known: &["node-version", "node-version-file", "registry-url", "scope"],
    refused: &["mirror", "mirror-token"],
    harmless: &[
        "check-latest",
        "cache",
        "cache-dependency-path",
        "token",
        "always-auth",
        "architecture",
        "package-manager-cache",
    ],
};
const PYTHON: Tool = Tool {
    name: "Python",
    programs: &["python3", "python"],
    version_args: &["--version"],
    version_input: "python-version",
    file_input: "python-version-file",
    output: "python-version",
    known: &["python-version", "python-version-file"],
    refused: &["pip-version", "pip-install"],
    harmless: &[
        "check-latest",
        "cache",
        "cache-dependency-path",
        "token",
        "architecture",
        "update-environment",
        "allow-prereleases",
        "freethreaded",
    ],
};
const GO: Tool = Tool {
    name: "Go",
    programs: &["go"],
    version_args: &["version"],
    version_input: "go-version",
    file_input: "go-version-file",
    output: "go-version",
    known: &["go-version", "go-version-file"],
    refused: &["go-download-base-url"],
    harmless: &["check-latest", "cache", "cache-dependency-path", "token", "architecture"],
};
const JAVA: Tool = Tool {
    name: "Java",
    programs: &["java"],
    version_args: &["-version"],
    version_input: "java-version",
    file_input: "java-version-file",
    output: "version",
    known: &["java-version", "java-version-file", "distribution"],
    refused: &[
        "jdkFile",
        "server-id",
        "server-username",
        "server-password",
        "settings-path",
        "gpg-private-key",
        "gpg-passphrase",
        "mvn-toolchain-id",
        "mvn-toolchain-vendor",
    ],
    harmless: &[
        "check-latest",
        "cache",
        "cache-dependency-path",
        "token",
        "architecture",
        "java-package",
        "overwrite-settings",
    ],
};

/// The first dotted number in a text.
fn version_in(text: &str) -> Option<Vec<u64>> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let number: String = text[start..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    Some(number.split('.').filter_map(|part| part.parse().ok()).collect())
}

/// Whether a version fits a request such as `20`, `3.12`, `>=1.22`, `^18`, `20.x`, `lts/*`.
pub(super) fn fits(have: &[u64], wanted: &str) -> bool {
    let wanted = wanted.trim();
    if wanted.is_empty() || ["*", "x", "latest", "stable", "node", "current", "lts/*", "lts"].contains(&wanted) {
        return true;
    }
    if let Some((a, b)) = wanted.split_once("||") {
        return fits(have, a) || fits(have, b);
    }
    if wanted.contains(' ') {
        return wanted.split_whitespace().all(|part| fits(have, part));
    }
    let (operator, number) = wanted.split_at(wanted.find(|c: char| c.is_ascii_digit()).unwrap_or(wanted.len()));
    let parts: Vec<&str> = number.split(['.', '-']).take_while(|part| !matches!(*part, "x" | "X" | "*")).collect();
    let Ok(parts) = parts.iter().map(|part| part.parse()).collect::<Result<Vec<u64>, _>>() else { return false };
    let prefix = |n: usize| have.len() >= n && have[..n] == parts[..n];
    match operator.trim_end_matches('v') {
        "" | "=" | "go" => prefix(parts.len()),
        "^" => prefix(1) && have >= parts.as_slice(),
        "~" => prefix(parts.len().min(2)) && have >= parts.as_slice(),
        ">=" => have >= parts.as_slice(),
        ">" => have > parts.as_slice() && !prefix(parts.len()),
        "<=" => have <= parts.as_slice() || prefix(parts.len()),
        "<" => have < parts.as_slice(),
        _ => false,
    }
}

impl Executor {
    async fn program(
        &mut self,
        program: &Path,
        args: &[&str],
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<String, String> {
        let env = self.process_env(env, frame, current)?;
        let command = Command {
            program: program.as_os_str().to_owned(),
            args: args.iter().map(Into::into).collect(),
            env,
            cwd: self.workspace.workspace.clone(),
            ..Command::default()
        };
        let (end, text) = self.capture(&command, current.deadline).await;
        match end.message() {
            None => Ok(text),
            Some(message) => Err(format!("{} {}: {message}\n{text}", program.display(), args.join(" "))),
        }
    }

    pub(super) async fn setup(
        &mut self,
        builtin: Builtin,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        let tool = match builtin {
            Builtin::SetupNode => &NODE,
            Builtin::SetupPython => &PYTHON,
            Builtin::SetupGo => &GO,
            _ => &JAVA,
        };
        let mut known = tool.known.to_vec();
        known.extend(tool.harmless.iter().chain(tool.refused));
        inputs.check(&known, &[], self)?;
        for name in tool.refused {
            inputs.only(name, &[])?;
        }
        let mut wanted = inputs.lines(tool.version_input);
        if wanted.is_empty() && !inputs.get(tool.file_input).is_empty() {
            wanted.push(self.version_file(inputs.get(tool.file_input))?);
        }
        if wanted.is_empty() {
            wanted.push("*".to_owned());
        }
        let path = self.path_variable(env);
        let mut seen = Vec::new();
        let mut chosen: Option<(PathBuf, Vec<u64>)> = None;
        for wanted in &wanted {
            // Version managers put `python3.12` and the like beside `python3`.
            let short = wanted.trim_start_matches(|c: char| !c.is_ascii_digit());
            let mut programs: Vec<String> = Vec::new();
            if tool.name == "Python" && !short.is_empty() {
                programs.push(format!("python{}", short.split('.').take(2).collect::<Vec<_>>().join(".")));
            }
            programs.extend(tool.programs.iter().map(|name| (*name).to_owned()));
            for name in programs {
                let Some(program) = self.find_program(&name, &path).await else { continue };
                let Ok(text) = self.program(&program, tool.version_args, env, frame, current).await else { continue };
                let Some(version) = version_in(&text) else { continue };
                if fits(&version, wanted) {
                    chosen = Some((program, version));
                    break;
                }
                seen.push(dotted(&version));
            }
        }
        let Some((program, version)) = chosen else {
            seen.dedup();
            let have = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
            return Err(format!(
                "{} {} is not on this machine (found: {have}). Install it and put it on PATH, or ask for a version that is there.",
                tool.name,
                wanted.join(" or ")
            ));
        };
        let dir = program.parent().unwrap_or(Path::new("/")).to_owned();
        let directory = dir.to_string_lossy().into_owned();
        // On the path already, unless something stands before it.
        let name = program.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if self.find_program(name, &path).await.is_none() {
            self.path.insert(0, directory.clone());
        }
        self.log.line(&format!("{} {} at {}", tool.name, dotted(&version), program.display()));
        if matches!(builtin, Builtin::SetupPython) {
            // `python` must be the interpreter that was asked for.
            let bin = self.workspace.temp.join("python-bin");
            std::fs::create_dir_all(&bin).map_err(|error| format!("cannot create {}: {error}", bin.display()))?;
            for name in ["python", "python3"] {
                let link = bin.join(name);
                let _ = std::fs::remove_file(&link);
                let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
                crate::files::write_executable(&link, &script)
                    .map_err(|error| format!("cannot write {}: {error}", link.display()))?;
            }
            self.path.insert(0, bin.to_string_lossy().into_owned());
            Self::outputs(current, [("python-path", program.to_string_lossy().into_owned())]);
        }
        if matches!(builtin, Builtin::SetupJava) {
            let home = program
                .canonicalize()
                .ok()
                .and_then(|path| Some(path.parent()?.parent()?.to_string_lossy().into_owned()))
                .unwrap_or_default();
            self.env.insert("JAVA_HOME".to_owned(), home.clone());
            Self::outputs(current, [("path", home), ("distribution", inputs.get("distribution").to_owned())]);
        }
        if !inputs.get("registry-url").is_empty() {
            self.npm_registry(inputs.get("registry-url"), inputs.get("scope"))?;
        }
        if !inputs.get("cache").is_empty() && inputs.get("cache") != "false" {
            self.log.line("The package manager's cache is the machine's own; nothing is saved or restored.");
        }
        Self::outputs(current, [(tool.output, dotted(&version)), ("cache-hit", "false".to_owned())]);
        Ok(())
    }

    /// Makes npm use a registry, with a token that a step gives it in `NODE_AUTH_TOKEN`.
    fn npm_registry(&mut self, url: &str, scope: &str) -> Result<(), String> {
        let Some((_, place)) = url.split_once("://") else {
            return Err(format!("the input 'registry-url' is '{url}', which is not a URL"));
        };
        let (url, place) = (url.trim_end_matches('/'), place.trim_end_matches('/'));
        let own = match (scope.is_empty(), scope.starts_with('@')) {
            (true, _) => String::new(),
            (false, true) => format!("{scope}:"),
            (false, false) => format!("@{scope}:"),
        };
        let path = self.workspace.temp.join(".npmrc");
        let text = format!("//{place}/:_authToken=${{NODE_AUTH_TOKEN}}\n{own}registry={url}/\n");
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        self.env.insert("NPM_CONFIG_USERCONFIG".to_owned(), path.to_string_lossy().into_owned());
        self.env.entry("NODE_AUTH_TOKEN".to_owned()).or_insert_with(|| "XXXXX-XXXXX-XXXXX-XXXXX".to_owned());
        Ok(())
    }

    fn version_file(&self, name: &str) -> Result<String, String> {
        let path = self.workspace.workspace.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("The specified version file at {} does not exist: {error}", path.display()))?;
        if name.ends_with("package.json") {
            let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
            let found = ["/volta/node", "/engines/node"]
                .iter()
                .find_map(|pointer| json.pointer(pointer))
                .and_then(serde_json::Value::as_str);
            return found.map(str::to_owned).ok_or_else(|| format!("{name} names no version of Node.js"));
        }
        if name.ends_with("go.mod") || name.ends_with("go.work") {
            let line =
                text.lines().find_map(|line| line.strip_prefix("toolchain go").or_else(|| line.strip_prefix("go ")));
            return line
                .map(|version| format!(">={}", version.trim()))
                .ok_or_else(|| format!("{name} names no version of Go"));
        }
        let line =
            text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        Ok(line.rsplit([' ', '=']).next().unwrap_or(line).trim_matches('"').to_owned())
    }

    pub(super) async fn setup_rust(
        &mut self,
        builtin: Builtin,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        let harmless = [
            "cache",
            "cache-directories",
            "cache-workspaces",
            "cache-on-failure",
            "cache-key",
            "cache-shared-key",
            "cache-bin",
            "cache-provider",
            "cache-all-crates",
            "cache-workspace-crates",
            "matcher",
            "problem-matcher",
            "override",
            "rust-src-dir",
            "use-rustup-dist",
        ];
        inputs.check(&["toolchain", "targets", "target", "components", "rustflags"], &harmless, self)?;
        let reference = match &frame.action {
            _ if !inputs.get("toolchain").is_empty() => inputs.get("toolchain").to_owned(),
            _ => self.rust_reference(builtin),
        };
        let path = self.path_variable(env);
        let rustup = self.find_program("rustup", &path).await;
        let list = |text: &str| {
            text.split([',', ' ', '\n'])
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut targets = list(inputs.get("targets"));
        targets.extend(list(inputs.get("target")));
        let components = list(inputs.get("components"));
        if let Some(rustup) = rustup {
            let installed = self.program(&rustup, &["toolchain", "list"], env, frame, current).await?;
            let has = |name: &str| {
                installed.lines().any(|line| {
                    line == name || line.starts_with(&format!("{name}-")) || line.starts_with(&format!("{name} "))
                })
            };
            let toolchain = if has(&reference) {
                reference.clone()
            } else if let Some(line) = installed
                .lines()
                .find(|line| line.contains("default") || line.contains("active"))
                .filter(|_| reference == "stable")
            {
                // Offline, the machine's default serves for `stable`.
                line.split_whitespace().next().unwrap_or("stable").to_owned()
            } else {
                self.log.line(&format!("The toolchain {reference} is not installed; asking rustup for it."));
                self.program(
                    &rustup,
                    &["toolchain", "install", &reference, "--profile", "minimal", "--no-self-update"],
                    env,
                    frame,
                    current,
                )
                .await
                .map_err(|error| format!("the Rust toolchain {reference} cannot be had: {error}"))?;
                reference.clone()
            };
            for (kind, names) in [("target", &targets), ("component", &components)] {
                let have = self
                    .program(&rustup, &[kind, "list", "--installed", "--toolchain", &toolchain], env, frame, current)
                    .await
                    .unwrap_or_default();
                for name in names.iter().filter(|name| {
                    !have.lines().any(|line| line == name.as_str() || line.starts_with(&format!("{name}-")))
                }) {
                    self.program(&rustup, &[kind, "add", name, "--toolchain", &toolchain], env, frame, current)
                        .await
                        .map_err(|error| format!("the {kind} {name} of {toolchain} cannot be had: {error}"))?;
                }
            }
            self.env.insert("RUSTUP_TOOLCHAIN".to_owned(), toolchain.clone());
            Self::outputs(current, [("name", toolchain)]);
        }
        let rustc = self
            .find_program("rustc", &path)
            .await
            .ok_or("there is no Rust on this machine: install rustup, or put rustc and cargo on PATH")?;
        let version = self.program(&rustc, &["--version"], env, frame, current).await?;
        self.log.line(version.trim());
        if !inputs.get("rustflags").is_empty() || builtin == Builtin::SetupRustToolchain {
            let flags = inputs.or("rustflags", "-D warnings");
            if self.env.get("RUSTFLAGS").is_none_or(String::is_empty) && builtin == Builtin::SetupRustToolchain {
                self.env.insert("RUSTFLAGS".to_owned(), flags.to_owned());
            }
        }
        for (name, value) in [("CARGO_INCREMENTAL", "0"), ("CARGO_TERM_COLOR", "always")] {
            if !self.env.contains_key(name) && !self.base_env.iter().any(|(known, _)| known == name) {
                self.env.insert(name.to_owned(), value.to_owned());
            }
        }
        Self::outputs(
            current,
            [("rustc-version", version.trim().to_owned()), ("cachekey", crate::builtin::short_digest(&version))],
        );
        Ok(())
    }

    /// `dtolnay/rust-toolchain@1.80` names the toolchain by the action's ref; the other action reads rust-toolchain.toml.
    fn rust_reference(&self, builtin: Builtin) -> String {
        if builtin == Builtin::RustToolchain {
            let reference = self.uses_reference.as_str();
            return match reference {
                "" | "master" | "main" | "v1" => "stable".to_owned(),
                other if git::is_oid(other) => "stable".to_owned(),
                other => other.to_owned(),
            };
        }
        let file = ["rust-toolchain.toml", "rust-toolchain"]
            .iter()
            .find_map(|name| std::fs::read_to_string(self.workspace.workspace.join(name)).ok());
        file.and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with("channel"))
                .map(|line| line.split('"').nth(1).unwrap_or_default().to_owned());
            line.or_else(|| {
                text.lines().next().filter(|line| !line.contains(['[', '='])).map(|line| line.trim().to_owned())
            })
        })
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "stable".to_owned())
    }
}

fn dotted(version: &[u64]) -> String {
    version.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (have, wanted, expected) in [
            ("20.20.2", "20", true),
            ("20.20.2", "20.x", true),
            ("20.20.2", "v20.20.2", true),
            ("20.20.2", "18", false),
            ("20.20.2", ">=18", true),
            ("20.20.2", "^18", false),
            ("20.20.2", "18 || 20", true),
            ("20.20.2", ">=18 <20", false),
            ("20.20.2", "lts/*", true),
            ("3.12.1", "3.12", true),
            ("3.12.1", "3.1", false),
            ("1.22.3", "~1.22.0", true),
            ("1.22.3", "stable", true),
            ("17.0.2", "17", true),
        ] {
            assert_eq!(fits(&version_in(have).unwrap(), wanted), expected, "{have} {wanted}");
        }
        assert_eq!(version_in("go version go1.22.3 linux/amd64"), Some(vec![1, 22, 3]));
        assert_eq!(version_in("openjdk version \"17.0.2\" 2022"), Some(vec![17, 0, 2]));
    }
}
