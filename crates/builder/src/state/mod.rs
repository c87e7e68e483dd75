//! What a stage has become so far: its image configuration, its layers, its arguments. Pure.
//!
//! [`State::apply`] handles every instruction that only changes the configuration; those that touch files come back as
//! [`Effect`] with all words expanded. History entries have the shape that BuildKit gives them.

mod expand;
mod runtime;

use std::collections::{BTreeMap, HashMap};

use oci::{Descriptor, Digest, History, ImageConfig, Platform};
use serde_json::json;

use runtime::{check_signal, expand_ports};

use crate::dockerfile::ast::{Command, KeyValue, Mount, Network};
use crate::dockerfile::words::Lex;
use crate::dockerfile::{AddCopy, Heredoc, Instruction, Kind};

/// The search path of an image that says nothing else.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments that `RUN` sees without a declaration and that never reach cache keys or history.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// A stage on its way.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Layers by diff id, base first.
    pub layers: Vec<Digest>,
    /// Blobs of the base image's layers, so that they are published as they came.
    pub blobs: HashMap<Digest, Descriptor>,
    /// Configuration and history.
    pub image: ImageConfig,
    /// Arguments that this stage declared, in order, each time it did.
    pub args: Vec<(String, Option<String>)>,
    /// Variables as instructions and commands see them: those of the configuration, with every `ARG` and `ENV` since. Stages that
    /// start from this one see them too.
    vars: Vec<(String, String)>,
    /// Whether this stage has had its own `CMD`.
    cmd_set: bool,
}

/// Values that come from outside the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// `--build-arg`; no value means take none.
    pub build_args: BTreeMap<String, Option<String>>,
    /// Values of `ARG`s before the first `FROM` and of the predefined platform arguments.
    pub global: BTreeMap<String, String>,
    /// Time of everything that is made, RFC 3339.
    pub created: String,
    /// The Dockerfile's escape character.
    pub escape: char,
}

/// Work on files that an instruction asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// `COPY` or `ADD`, expanded.
    Copy {
        /// Flags and words, expanded; the destination is absolute and keeps its trailing slash.
        copy: AddCopy,
        /// Whether it is `ADD`.
        add: bool,
        /// History text.
        shown: String,
    },
    /// `RUN`.
    Run {
        /// Program and arguments.
        args: Vec<String>,
        /// What a person wrote.
        display: String,
        /// Bodies of the heredocs, expanded where they ask for it, by file descriptor and name.
        heredocs: Vec<Heredoc>,
        /// Mounts, expanded.
        mounts: Vec<Mount>,
        /// Network.
        network: Network,
        /// Without confinement.
        insecure: bool,
    },
    /// `WORKDIR`: the directory to be there.
    Workdir(String),
}

/// Go's `%q` of a string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `NAME=value` texts as pairs.
fn pairs(env: &[String]) -> Vec<(String, String)> {
    let split = |pair: &String| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    env.iter().filter_map(split).collect()
}

fn quote_list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))
}

impl State {
    /// `FROM scratch`.
    pub fn scratch(platform: &Platform) -> State {
        let mut image = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        image.config.env = vec![format!("PATH={DEFAULT_PATH}")];
        image.config.working_dir = "/".to_owned();
        State { vars: pairs(&image.config.env), image, ..State::default() }
    }

    /// `FROM` an image: its configuration is inherited, its triggers are taken off and given back.
    pub fn from_image(mut image: ImageConfig, layers: Vec<(Digest, Descriptor)>) -> (State, Vec<String>) {
        let triggers = std::mem::take(&mut image.config.on_build);
        for stale in ["container", "container_config", "docker_version", "id", "parent", "throwaway"] {
            image.extra.remove(stale);
        }
        for stale in [
            "Hostname",
            "Domainname",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Image",
        ] {
            image.config.extra.remove(stale);
        }
        if image.config.working_dir.is_empty() {
            image.config.working_dir = "/".to_owned();
        }
        if !image.config.env.iter().any(|pair| pair.starts_with("PATH=")) {
            image.config.env.insert(0, format!("PATH={DEFAULT_PATH}"));
        }
        let blobs = layers.iter().cloned().collect();
        let layers = layers.into_iter().map(|(layer, _)| layer).collect();
        (State { layers, blobs, vars: pairs(&image.config.env), image, ..State::default() }, triggers)
    }

    /// `FROM` an earlier stage. What its arguments were is seen here too.
    pub fn from_stage(&self) -> (State, Vec<String>) {
        let mut state = State { args: Vec::new(), cmd_set: false, ..self.clone() };
        let triggers = std::mem::take(&mut state.image.config.on_build);
        (state, triggers)
    }

    /// A variable as instructions see it: what the last `ENV` or `ARG` said.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// The names of all variables that instructions see.
    pub fn names(&self) -> Vec<String> {
        let declared = self.args.iter().map(|(key, _)| key.clone());
        self.vars.iter().map(|(key, _)| key.clone()).chain(declared).chain(PROXY_ARGS.map(str::to_owned)).collect()
    }

    fn set_var(&mut self, key: &str, value: &str) {
        match self.vars.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.vars.push((key.to_owned(), value.to_owned())),
        }
    }

    fn set_env(&mut self, key: &str, value: &str) {
        self.set_var(key, value);
        let pair = format!("{key}={value}");
        let prefix = format!("{key}=");
        match self.image.config.env.iter_mut().find(|pair| pair.starts_with(&prefix)) {
            Some(old) => *old = pair,
            None => self.image.config.env.push(pair),
        }
    }

    /// Adds a history entry.
    pub fn history(&mut self, created_by: String, empty: bool, inputs: &Inputs) {
        self.image.history.push(History {
            created: Some(inputs.created.clone()),
            created_by: Some(created_by),
            author: None,
            comment: Some("buildkit.dockerfile.v0".to_owned()),
            empty_layer: empty.then_some(true),
            extra: serde_json::Map::new(),
        });
    }

    /// The shell of the shell form.
    pub fn shell(&self) -> Vec<String> {
        self.image.config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()])
    }

    fn with_shell(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let mut words = self.shell();
                words.push(text.clone());
                words
            }
        }
    }

    /// Environment of a `RUN`: all variables, and the proxies that were given without a declaration.
    pub fn run_env(&self, inputs: &Inputs) -> Vec<(String, String)> {
        let mut env = self.vars.clone();
        for name in PROXY_ARGS {
            if let Some(Some(value)) = inputs.build_args.get(name)
                && !env.iter().any(|(key, _)| key == name)
            {
                env.push((name.to_owned(), value.clone()));
            }
        }
        env
    }

    /// Whether this stage declared an argument.
    pub fn declares(&self, name: &str) -> bool {
        self.args.iter().any(|(key, _)| key == name)
    }

    /// An absolute path for a word, against the working directory; a trailing slash is kept.
    pub fn absolute(&self, path: &str) -> String {
        let joined =
            if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.image.config.working_dir) };
        let cleaned = crate::ignore::clean(&format!("/{joined}"));
        let directory = path.ends_with('/') || path.ends_with("/.") || path == "." || path.is_empty();
        if directory && cleaned != "/" { format!("{cleaned}/") } else { cleaned }
    }

    /// Applies one instruction. History of file effects is added by whoever performs them.
    ///
    /// # Errors
    /// What is wrong with it, as docker says it.
    pub fn apply(&mut self, instruction: &Instruction, inputs: &Inputs) -> Result<Option<Effect>, String> {
        let lex = Lex::new(inputs.escape);
        let before = self.clone();
        let word = |text: &str| lex.word(text, &|name| before.variable(name));
        match &instruction.kind {
            Kind::Arg(list) => self.declare(list, inputs, &word)?,
            Kind::Env(list) => {
                let mut text = "ENV".to_owned();
                for pair in list {
                    let (key, value) = expand_pair(pair, &word)?;
                    self.set_env(&key, &value);
                    text.push_str(&format!(" {key}={value}"));
                }
                self.history(text, true, inputs);
            }
            Kind::Label(list) => {
                let mut text = "LABEL".to_owned();
                for pair in list {
                    let (key, value) = expand_pair(pair, &word)?;
                    text.push_str(&format!(" {key}={value}"));
                    self.image.config.labels.insert(key, value);
                }
                self.history(text, true, inputs);
            }
            Kind::Maintainer(name) => {
                let name = word(name)?;
                self.image.author = Some(name.clone());
                self.history(format!("MAINTAINER {name}"), true, inputs);
            }
            Kind::Cmd(command) => {
                let args = self.with_shell(command);
                self.history(format!("CMD {}", quote_list(&args)), true, inputs);
                self.image.config.cmd = Some(args);
                self.image.config.args_escaped = Some(true);
                self.cmd_set = true;
            }
            Kind::Entrypoint(command) => {
                let args = self.with_shell(command);
                self.history(format!("ENTRYPOINT {}", quote_list(&args)), true, inputs);
                self.image.config.entrypoint = Some(args);
                if !self.cmd_set {
                    self.image.config.cmd = None;
                }
            }
            Kind::Expose(list) => self.expose(list, inputs, &lex)?,
            Kind::Healthcheck(health) => self.healthcheck(health, inputs),
            Kind::Onbuild(text) => {
                self.image.config.on_build.push(text.clone());
            }
            Kind::Shell(words) => {
                self.image.config.shell = Some(words.clone());
                self.history(format!("SHELL [{}]", words.join(" ")), true, inputs);
            }
            Kind::Stopsignal(signal) => {
                let signal = word(signal)?;
                check_signal(&signal)?;
                self.history(format!("STOPSIGNAL {signal}"), true, inputs);
                self.image.config.stop_signal = Some(signal);
            }
            Kind::User(user) => {
                let user = word(user)?;
                self.history(format!("USER {user}"), true, inputs);
                self.image.config.user = user;
            }
            Kind::Volume(list) => {
                let mut paths = Vec::new();
                for path in list {
                    let path = word(path)?;
                    if path.is_empty() {
                        return Err("VOLUME specified can not be an empty string".to_owned());
                    }
                    self.image.config.volumes.insert(path.clone(), json!({}));
                    paths.push(path);
                }
                self.history(format!("VOLUME [{}]", paths.join(" ")), true, inputs);
            }
            Kind::Workdir(path) => {
                let path = word(path)?;
                let absolute = self.absolute(&path);
                let absolute = if absolute.len() > 1 { absolute.trim_end_matches('/') } else { &absolute };
                self.image.config.working_dir = absolute.to_owned();
                return Ok(Some(Effect::Workdir(absolute.to_owned())));
            }
            Kind::Add(copy) => return self.expand_copy(copy, true, inputs, &word).map(Some),
            Kind::Copy(copy) => return self.expand_copy(copy, false, inputs, &word).map(Some),
            Kind::Run { command, heredocs, mounts, network, insecure } => {
                return Ok(Some(self.expand_run(command, heredocs, mounts, *network, *insecure, &word)?));
            }
        }
        Ok(None)
    }

    fn declare(
        &mut self,
        list: &[KeyValue],
        inputs: &Inputs,
        word: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), String> {
        let mut text = "ARG".to_owned();
        for pair in list {
            let key = word(&pair.key)?;
            let default = pair.value.as_deref().map(word).transpose()?;
            let value = match inputs.build_args.get(&key) {
                Some(given) => given.clone(),
                None => default.or_else(|| inputs.global.get(&key).cloned()),
            };
            match &value {
                Some(value) => text.push_str(&format!(" {key}={value}")),
                None => text.push_str(&format!(" {key}")),
            }
            if let Some(value) = &value {
                self.set_var(&key, value);
            }
            self.args.push((key, value));
        }
        self.history(text, true, inputs);
        Ok(())
    }

    fn expose(&mut self, list: &[String], inputs: &Inputs, lex: &Lex) -> Result<(), String> {
        let mut ports = Vec::new();
        for text in list {
            for spec in lex.words(text, &|name| self.variable(name))? {
                ports.extend(expand_ports(&spec)?);
            }
        }
        ports.sort();
        ports.dedup();
        for port in &ports {
            self.image.config.exposed_ports.insert(port.clone(), json!({}));
        }
        let shown: Vec<String> = ports.iter().map(|port| format!("{port}:{{}}")).collect();
        self.history(format!("EXPOSE map[{}]", shown.join(" ")), true, inputs);
        Ok(())
    }

    /// The history text of a `RUN`: used arguments are counted in front.
    pub fn run_text(&self, args: &[String]) -> String {
        let mut words = Vec::new();
        let used: Vec<String> = self
            .args
            .iter()
            .map(|(key, value)| format!("{key}={}", self.variable(key).or_else(|| value.clone()).unwrap_or_default()))
            .collect();
        if !used.is_empty() {
            words.push(format!("|{}", used.len()));
            words.extend(used);
        }
        words.extend(args.iter().cloned());
        format!("RUN {} # buildkit", words.join(" "))
    }
}

fn expand_pair(pair: &KeyValue, word: &dyn Fn(&str) -> Result<String, String>) -> Result<(String, String), String> {
    let key = word(&pair.key)?;
    if key.is_empty() {
        return Err("names can not be blank".to_owned());
    }
    Ok((key, word(pair.value.as_deref().unwrap_or_default())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    fn run(text: &str, build_args: &[(&str, &str)]) -> (State, Vec<Effect>) {
        let file = parse(&format!("FROM scratch\n{text}")).unwrap();
        let mut inputs = Inputs { escape: '\\', created: "1970-01-01T00:00:00Z".to_owned(), ..Inputs::default() };
        inputs.build_args = build_args.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
        let mut state = State::scratch(&Platform::parse("linux/amd64").unwrap());
        let effects = file.stages[0].instructions.iter().filter_map(|one| state.apply(one, &inputs).unwrap()).collect();
        (state, effects)
    }

    fn history(state: &State) -> Vec<&str> {
        state.image.history.iter().map(|one| one.created_by.as_deref().unwrap_or("")).collect()
    }

    #[test]
    fn history_reads_as_buildkit_writes_it() {
        let (state, _) = run(
            "ARG A=1\nENV B=$A C=\"x y\"\nLABEL l=$B\nEXPOSE 90/udp 80\nVOLUME /a /b\nUSER 1000\nCMD echo hi\nENTRYPOINT [\"/x\"]\n\
             HEALTHCHECK --interval=90s --retries=3 CMD true\nSHELL [\"/bin/bash\",\"-c\"]\nSTOPSIGNAL SIGTERM\nONBUILD RUN x\nMAINTAINER me",
            &[],
        );
        insta::assert_snapshot!(history(&state).join("\n"), @r#"
        ARG A=1
        ENV B=1 C=x y
        LABEL l=1
        EXPOSE map[80/tcp:{} 90/udp:{}]
        VOLUME [/a /b]
        USER 1000
        CMD ["/bin/sh" "-c" "echo hi"]
        ENTRYPOINT ["/x"]
        HEALTHCHECK &{["CMD-SHELL" "true"] "1m30s" "0s" "0s" '\x03'}
        SHELL [/bin/bash -c]
        STOPSIGNAL SIGTERM
        MAINTAINER me
        "#);
    }

    #[test]
    fn the_last_of_env_and_arg_wins_and_one_line_uses_old_values() {
        let (state, _) = run("ARG A=arg\nENV A=env\nARG A=again\nENV X=1\nENV X=2 Y=$X Z=$A", &[("A", "given")]);
        assert_eq!(state.variable("Z").as_deref(), Some("given"));
        assert!(state.image.config.env.contains(&"A=env".to_owned()), "the image keeps what ENV said");
        assert_eq!(state.variable("Y").as_deref(), Some("1"));
    }

    #[test]
    fn paths_follow_the_working_directory() {
        let (state, effects) = run("WORKDIR /a\nWORKDIR b\nCOPY x y/\nCOPY x .", &[]);
        assert_eq!(state.image.config.working_dir, "/a/b");
        let dests: Vec<&str> = effects
            .iter()
            .filter_map(|e| if let Effect::Copy { copy, .. } = e { Some(copy.dest.as_str()) } else { None })
            .collect();
        assert_eq!(dests, ["/a/b/y/", "/a/b/"]);
    }

    #[test]
    fn run_text_counts_arguments() {
        let (state, effects) = run("ARG A=1\nARG B\nRUN echo", &[("B", "2")]);
        let Effect::Run { args, .. } = &effects[0] else { panic!() };
        assert_eq!(state.run_text(args), "RUN |2 A=1 B=2 /bin/sh -c echo # buildkit");
        assert_eq!(state.run_env(&Inputs::default()).iter().filter(|(k, _)| k != "PATH").count(), 2);
    }
}
