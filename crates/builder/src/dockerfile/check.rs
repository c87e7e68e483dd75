//! Build checks: what is allowed in a Dockerfile and yet probably not meant. Pure.
//!
//! Names and meanings are those of Docker's published build checks. [`check`] finds what the text alone shows; what needs a
//! base image or the context is found while stages run, with [`undefined`] and the constructors here. `# check=` says which
//! are left out, and whether any of them fails the build.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{Command, Dockerfile, Instruction, Kind, Span, Stage};
use super::edit_distance;
use super::words::Lex;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where.
    pub span: Span,
    /// The name of the check.
    pub rule: &'static str,
    /// What is found.
    pub message: String,
}

impl Warning {
    pub(crate) fn new(rule: &'static str, span: Span, message: impl Into<String>) -> Warning {
        Warning { span, rule, message: message.into() }
    }

    /// Where the check is described.
    pub fn url(&self) -> String {
        let mut slug = String::new();
        let mut chars = self.rule.chars().peekable();
        let mut before = 'A';
        while let Some(c) = chars.next() {
            let ends_acronym = before.is_ascii_uppercase() && chars.peek().is_some_and(char::is_ascii_lowercase);
            if c.is_ascii_uppercase() && !slug.is_empty() && (before.is_ascii_lowercase() || ends_acronym) {
                slug.push('-');
            }
            slug.push(c.to_ascii_lowercase());
            before = c;
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{slug}/")
    }
}

/// What `# check=` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Checks that are left out; `all` for every one.
    pub skip: BTreeSet<String>,
    /// Checks beyond the usual ones.
    pub experimental: BTreeSet<String>,
    /// Findings fail the build.
    pub error: bool,
}

/// Checks that must be asked for.
const EXPERIMENTAL: &[&str] = &["CopyIgnoredFile", DESCRIPTION];

const DESCRIPTION: &str = "InvalidDefinitionDescription";

impl Settings {
    /// Reads `skip=A,B;error=true`.
    ///
    /// # Errors
    /// A word that is not known.
    pub fn parse(text: &str) -> Result<Settings, String> {
        let mut out = Settings::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("invalid check option {part:?}"))?;
            let names =
                || value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
            match key.trim() {
                "skip" => out.skip = names(),
                "experimental" => out.experimental = names(),
                "error" => {
                    out.error = match value.trim().to_ascii_lowercase().as_str() {
                        "true" | "1" | "t" => true,
                        "false" | "0" | "f" => false,
                        other => {
                            return Err(format!("failed to parse check option error={other}: expected true or false"));
                        }
                    }
                }
                other => return Err(format!("invalid check option {other:?}")),
            }
        }
        Ok(out)
    }

    /// Whether findings of a check are wanted.
    pub fn wants(&self, rule: &str) -> bool {
        let asked = |set: &BTreeSet<String>| set.contains("all") || set.contains(rule);
        !asked(&self.skip) && (!EXPERIMENTAL.contains(&rule) || asked(&self.experimental))
    }
}

/// Everything that the text alone shows, in order of lines. `globals` are the arguments that the builder sets.
pub fn check(file: &Dockerfile, globals: &BTreeMap<String, String>) -> Vec<Warning> {
    let mut out = file.warnings.clone();
    casing(file, &mut out);
    stages(file, globals, &mut out);
    for (span, args) in &file.meta_args {
        out.extend(args.iter().filter(|arg| is_secret(&arg.key)).map(|arg| secret(*span, "ARG", &arg.key)));
        described(file, *span, "ARG", args.iter().map(|arg| arg.key.as_str()), &mut out);
    }
    for stage in &file.stages {
        described(file, stage.span, "FROM", stage.name.as_deref().into_iter(), &mut out);
        instructions(file, stage, &mut out);
    }
    out.sort();
    out.dedup();
    out
}

fn keyword(source: &str) -> &str {
    source.split_whitespace().next().unwrap_or_default()
}

fn is_lower(word: &str) -> bool {
    !word.chars().any(|c| c.is_ascii_uppercase())
}

fn is_upper(word: &str) -> bool {
    !word.chars().any(|c| c.is_ascii_lowercase())
}

/// Instructions are all in the case that most of them have.
fn casing(file: &Dockerfile, out: &mut Vec<Warning>) {
    let commands: Vec<(Span, &str)> = file
        .stages
        .iter()
        .flat_map(|stage| {
            let from = (stage.span, keyword(&stage.source));
            [from].into_iter().chain(stage.instructions.iter().map(|one| (one.span, keyword(&one.source))))
        })
        .collect();
    let lower = commands.iter().filter(|(_, word)| is_lower(word)).count();
    let upper = commands.iter().filter(|(_, word)| is_upper(word)).count();
    let (majority, fits): (_, fn(&str) -> bool) =
        if lower > upper { ("lowercase", is_lower) } else { ("uppercase", is_upper) };
    for (span, word) in commands.into_iter().filter(|(_, word)| !fits(word)) {
        let message = format!("Command '{word}' should match the case of the command majority ({majority})");
        out.push(Warning::new("ConsistentInstructionCasing", span, message));
    }
}

fn stages(file: &Dockerfile, globals: &BTreeMap<String, String>, out: &mut Vec<Warning>) {
    let lex = Lex::new(file.directives.escape);
    let mut names = BTreeSet::new();
    // What the arguments before the first stage are when nobody gives any.
    let mut defaults = globals.clone();
    let mut declared: BTreeSet<String> = globals.keys().cloned().collect();
    for pair in file.meta_args.iter().flat_map(|(_, args)| args) {
        declared.insert(pair.key.clone());
        let default = pair.value.as_deref().and_then(|text| lex.word(text, &|name| defaults.get(name).cloned()).ok());
        if let Some(default) = default {
            defaults.insert(pair.key.clone(), default);
        }
    }
    for stage in &file.stages {
        let words: Vec<&str> = stage.source.split_whitespace().collect();
        if let [from, .., as_word, name] = words.as_slice()
            && stage.name.is_some()
        {
            if (is_upper(from) && !is_upper(as_word)) || (is_lower(from) && !is_lower(as_word)) {
                let message = format!("'{as_word}' and '{from}' keywords' casing do not match");
                out.push(Warning::new("FromAsCasing", stage.span, message));
            }
            if !is_lower(name) {
                let message = format!("Stage name '{name}' should be lowercase");
                out.push(Warning::new("StageNameCasing", stage.span, message));
            }
            let lower = name.to_ascii_lowercase();
            if matches!(lower.as_str(), "scratch" | "context") {
                let message = format!("Stage name should not use the same name as reserved stage {lower:?}");
                out.push(Warning::new("ReservedStageName", stage.span, message));
            }
            if !names.insert(lower.clone()) {
                let message = format!("Duplicate stage name {lower:?}, stage names should be unique");
                out.push(Warning::new("DuplicateStageName", stage.span, message));
            }
        }
        for text in [Some(&stage.base), stage.platform.as_ref()].into_iter().flatten() {
            for name in used(&lex, text).into_iter().filter(|name| !declared.contains(name)) {
                let hint = near(&name, declared.iter().map(String::as_str));
                let message = format!("FROM argument '{name}' is not declared{hint}");
                out.push(Warning::new("UndefinedArgInFrom", stage.span, message));
            }
        }
        let base = lex.word(&stage.base, &|name| defaults.get(name).cloned()).unwrap_or_default();
        if stage.base.contains('$')
            && !names.contains(&base.to_ascii_lowercase())
            && oci::Reference::parse(&base).is_err()
        {
            let message = format!("Default value for ARG {} results in empty or invalid base image name", stage.base);
            out.push(Warning::new("InvalidDefaultArgInFrom", stage.span, message));
        }
        if let Some(platform) = &stage.platform {
            from_platform(stage, platform, out);
        }
    }
}

fn from_platform(stage: &Stage, platform: &str, out: &mut Vec<Warning>) {
    if matches!(platform, "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        let message =
            format!("Setting platform to predefined {platform} in FROM is redundant as this is the default behavior");
        out.push(Warning::new("RedundantTargetPlatform", stage.span, message));
    }
    // A stage that is named after its platform is one of several.
    let named = |part: &str| stage.name.as_deref().is_some_and(|name| name.contains(part));
    if !platform.contains('$') && !platform.split('/').any(named) {
        let message = format!("FROM --platform flag should not use constant value {platform:?}");
        out.push(Warning::new("FromPlatformFlagConstDisallowed", stage.span, message));
    }
}

fn instructions(file: &Dockerfile, stage: &Stage, out: &mut Vec<Warning>) {
    let mut last: BTreeMap<&str, Span> = BTreeMap::new();
    let mut shell = false;
    let mut rooted = inherits_workdir(file, stage);
    for one in &stage.instructions {
        match &one.kind {
            Kind::Shell(_) => shell = true,
            Kind::Workdir(path) => {
                let relative = !path.starts_with('/') && !path.starts_with('$') && !path.starts_with("\"/");
                if relative && !rooted {
                    let message =
                        format!("Relative workdir {path:?} can have unexpected results if the base image changes");
                    out.push(Warning::new("WorkdirRelativePath", one.span, message));
                }
                rooted |= !relative;
            }
            Kind::Arg(args) => {
                out.extend(args.iter().filter(|arg| is_secret(&arg.key)).map(|arg| secret(one.span, "ARG", &arg.key)));
                described(file, one.span, "ARG", args.iter().map(|arg| arg.key.as_str()), out);
            }
            Kind::Env(args) => {
                out.extend(args.iter().filter(|arg| is_secret(&arg.key)).map(|arg| secret(one.span, "ENV", &arg.key)));
                legacy(one, "ENV", out);
            }
            Kind::Label(_) => legacy(one, "LABEL", out),
            Kind::Expose(ports) => ports.iter().for_each(|port| expose(one.span, port, out)),
            Kind::Cmd(command) | Kind::Entrypoint(command) => {
                let name = if matches!(one.kind, Kind::Cmd(_)) { "CMD" } else { "ENTRYPOINT" };
                if matches!(command, Command::Shell(_)) && !shell {
                    let message = format!(
                        "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
                    );
                    out.push(Warning::new("JSONArgsRecommended", one.span, message));
                }
                once(&mut last, name, one.span, out);
            }
            Kind::Healthcheck(_) => once(&mut last, "HEALTHCHECK", one.span, out),
            _ => {}
        }
    }
}

/// Whether a stage that this one starts from has an absolute working directory.
fn inherits_workdir(file: &Dockerfile, stage: &Stage) -> bool {
    let at = file.stages.iter().position(|one| std::ptr::eq(one, stage)).unwrap_or(0);
    let base = stage.base.to_ascii_lowercase();
    let before = file.stages[..at].iter().rev().find(|one| one.name.as_deref() == Some(&base));
    before.is_some_and(|one| {
        let set = |one: &Instruction| matches!(&one.kind, Kind::Workdir(path) if path.starts_with('/'));
        one.instructions.iter().any(set) || inherits_workdir(file, one)
    })
}

/// Of several only the last counts: the ones before it are reported.
fn once<'n>(last: &mut BTreeMap<&'n str, Span>, name: &'n str, span: Span, out: &mut Vec<Warning>) {
    if let Some(before) = last.insert(name, span) {
        let message = format!(
            "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
        );
        out.push(Warning::new("MultipleInstructionsDisallowed", before, message));
    }
}

fn legacy(one: &Instruction, name: &str, out: &mut Vec<Warning>) {
    let first = one.source.split_whitespace().nth(1).unwrap_or_default();
    if !first.contains('=') {
        let message = format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
        out.push(Warning::new("LegacyKeyValueFormat", one.span, message));
    }
}

/// A comment right above a definition describes it, and begins with its name.
fn described<'n>(
    file: &Dockerfile,
    span: Span,
    instruction: &str,
    mut names: impl Iterator<Item = &'n str> + Clone,
    out: &mut Vec<Warning>,
) {
    let Some(said) = file.comments.get(&span.start).and_then(|lines| lines.last()) else { return };
    let first = said.split(' ').next().unwrap_or_default();
    if names.clone().any(|name| name == first) {
        return;
    }
    let name = match (names.next(), names.next()) {
        (None, _) => return,
        (Some(one), None) => one,
        (Some(_), Some(_)) => "<arg_key>",
    };
    let message = format!("Comment for {instruction} should follow the format: `# {name} <description>`");
    out.push(Warning::new(DESCRIPTION, span, message));
}

fn expose(span: Span, port: &str, out: &mut Vec<Warning>) {
    let (ports, protocol) = port.split_once('/').unwrap_or((port, ""));
    if !is_lower(protocol) {
        let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        out.push(Warning::new("ExposeProtoCasing", span, message));
    }
    if ports.contains(':') && !ports.contains('$') {
        let message =
            format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
        out.push(Warning::new("ExposeInvalidFormat", span, message));
    }
}

/// Whether a name says that its value is to be kept from others.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 10] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
    let lower = name.to_ascii_lowercase();
    let mut parts = lower.split('_');
    !lower.split('_').any(|part| part == "public") && parts.any(|part| WORDS.contains(&part))
}

fn secret(span: Span, instruction: &str, name: &str) -> Warning {
    let message = format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
    Warning::new("SecretsUsedInArgOrEnv", span, message)
}

/// Variables that a text uses without saying what stands for one that is not set.
fn used(lex: &Lex, text: &str) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    let note = |name: &str| {
        names.borrow_mut().push(name.to_owned());
        Some(String::new())
    };
    // What is written with a default is not a mistake.
    let _ = lex.word(text, &note);
    let guarded = |name: &str| {
        [":-", "-", ":+", "+", ":?", "?"].iter().any(|operator| text.contains(&format!("${{{name}{operator}")))
    };
    let mut names = names.into_inner();
    names.retain(|name| !guarded(name) && name.starts_with(|c: char| c.is_alphabetic() || c == '_'));
    names.dedup();
    names
}

fn near<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let close = known.filter(|one| edit_distance(one, name) <= 2).min_by_key(|one| edit_distance(one, name));
    close.map(|one| format!(" (did you mean {one}?)")).unwrap_or_default()
}

/// Variables that an instruction uses and that nobody set; `known` are those that are.
pub(crate) fn undefined<'n>(
    instruction: &Instruction,
    escape: char,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Vec<Warning> {
    let lex = Lex::new(escape);
    let texts: Vec<&str> = match &instruction.kind {
        Kind::Add(copy) | Kind::Copy(copy) => {
            let flags = [&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten();
            copy.sources.iter().chain([&copy.dest]).chain(flags).map(String::as_str).collect()
        }
        Kind::Arg(list) | Kind::Env(list) | Kind::Label(list) => {
            list.iter().flat_map(|pair| [Some(pair.key.as_str()), pair.value.as_deref()]).flatten().collect()
        }
        Kind::Expose(list) | Kind::Volume(list) => list.iter().map(String::as_str).collect(),
        Kind::Stopsignal(text) | Kind::User(text) | Kind::Workdir(text) => vec![text],
        _ => Vec::new(),
    };
    let mut names: Vec<String> = texts.into_iter().flat_map(|text| used(&lex, text)).collect();
    names.sort();
    names.dedup();
    names.retain(|name| !known.clone().any(|one| one == name));
    names
        .into_iter()
        .map(|name| {
            let hint = near(&name, known.clone()).replace("mean ", "mean $");
            Warning::new("UndefinedVar", instruction.span, format!("Usage of undefined variable '${name}'{hint}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let globals = BTreeMap::from([("TARGETPLATFORM".to_owned(), "linux/amd64".to_owned())]);
        let file = parse(text).unwrap();
        check(&file, &globals).iter().map(|one| format!("{} {}: {}", one.span.start, one.rule, one.message)).collect()
    }

    #[test]
    fn finds_what_is_published() {
        insta::assert_snapshot!(
            found(
                "ARG TAG\nARG DB_PASSWORD\nFROM busybox:$TAG as Build\nRUN a \\\n\n  b\nfrom --platform=linux/amd64 x\nWorkdir app\n\
                 ENV A 1\nENV API_KEY=x PUBLIC_KEY=y\nEXPOSE 80/TCP 127.0.0.1:80:80\nCMD one\nCMD [\"two\"]\nENTRYPOINT x\n\
                 FROM --platform=$TARGETPLATFORM y AS build\nMAINTAINER me\nFROM $NOPE AS scratch\nFROM --platform=linux/arm64 z AS arm64\n"
            ).join("\n"),
            @r#"
            2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "DB_PASSWORD")
            3 FromAsCasing: 'as' and 'FROM' keywords' casing do not match
            3 InvalidDefaultArgInFrom: Default value for ARG busybox:$TAG results in empty or invalid base image name
            3 StageNameCasing: Stage name 'Build' should be lowercase
            4 NoEmptyContinuation: Empty continuation line
            7 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)
            7 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/amd64"
            8 ConsistentInstructionCasing: Command 'Workdir' should match the case of the command majority (uppercase)
            8 WorkdirRelativePath: Relative workdir "app" can have unexpected results if the base image changes
            9 LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format
            10 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "API_KEY")
            11 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'
            11 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase
            12 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
            12 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used
            14 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals
            15 DuplicateStageName: Duplicate stage name "build", stage names should be unique
            15 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior
            16 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label
            17 InvalidDefaultArgInFrom: Default value for ARG $NOPE results in empty or invalid base image name
            17 ReservedStageName: Stage name should not use the same name as reserved stage "scratch"
            17 UndefinedArgInFrom: FROM argument 'NOPE' is not declared
            "#);
    }

    #[test]
    fn comments_that_describe_nothing() {
        let text = "# A is said\n# of another\nARG A B=1\n# build: the first\nFROM x AS Build\n# C is this\nARG C\n# apart\n\nARG D\n# also\n#\nARG E\n# free\nRUN x\n# unnamed\nFROM y\n";
        let found: Vec<_> = found(text).into_iter().filter(|line| line.contains(DESCRIPTION)).collect();
        assert_eq!(
            found,
            [
                "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
                "5 InvalidDefinitionDescription: Comment for FROM should follow the format: `# build <description>`",
            ]
        );
        let file = parse(text).unwrap();
        assert_eq!(file.description(file.meta_args[0].0, "A"), "is said");
        assert_eq!(file.description(file.meta_args[0].0, "B"), "");
    }

    #[test]
    fn a_careful_file_has_no_findings() {
        let text = "# syntax=docker/dockerfile:1\nARG V=1\nFROM a:${V} AS one\nWORKDIR /a\nFROM one AS two\nWORKDIR b\nSHELL [\"/bin/sh\", \"-c\"]\nCMD x\nFROM ${BASE:-scratch}\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn settings_are_read() {
        let settings = Settings::parse("skip=JSONArgsRecommended,StageNameCasing;error=true").unwrap();
        assert!(settings.error && !settings.wants("StageNameCasing") && settings.wants("FromAsCasing"));
        assert!(!settings.wants("CopyIgnoredFile"));
        assert!(!Settings::parse("skip=all").unwrap().wants("FromAsCasing"));
        assert!(Settings::parse("experimental=all").unwrap().wants("CopyIgnoredFile"));
        assert!(Settings::parse("error=perhaps").is_err() && Settings::parse("what=1").is_err());
    }

    #[test]
    fn variables_that_nobody_set() {
        let file = parse("FROM scratch\nCOPY $SRC ${DST:-/x}/$PTH\nENV A=\\$B C=$A\n").unwrap();
        let of = |at: usize| {
            let known = ["PATH", "SRC", "A"];
            undefined(&file.stages[0].instructions[at], '\\', known.into_iter())
        };
        assert_eq!(
            of(0).iter().map(|one| one.message.as_str()).collect::<Vec<_>>(),
            ["Usage of undefined variable '$PTH' (did you mean $PATH?)"]
        );
        assert_eq!(of(1), []);
    }

    #[test]
    fn addresses_of_descriptions() {
        let url = |rule| Warning::new(rule, Span::default(), "").url();
        assert!(url("JSONArgsRecommended").ends_with("/json-args-recommended/"), "{}", url("JSONArgsRecommended"));
        assert!(url("StageNameCasing").ends_with("/stage-name-casing/"));
        assert!(url("SecretsUsedInArgOrEnv").ends_with("/secrets-used-in-arg-or-env/"));
    }
}
