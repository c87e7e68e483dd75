//! Logical lines to instructions and stages.

use super::ast::{AddCopy, Command, Dockerfile, Heredoc, Instruction, Kind, Network, Span, Stage};
use super::check::Warning;
use super::flags::{self, Flag};
use super::health::health;
use super::lines::{Lines, Node};
use super::pairs::{arguments, pairs};
use super::{ParseError, heredoc, mounts};

const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Builds stages from logical lines.
pub(super) fn assemble(lines: Lines) -> Result<Dockerfile, ParseError> {
    let escape = lines.directives.escape;
    let mut meta_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut warnings = lines.warnings;
    if lines.nodes.is_empty() {
        return Err(ParseError::new(Span { start: 1, end: 1 }, "file with no instructions"));
    }
    let above = lines.nodes.iter().filter(|node| !node.comments.is_empty());
    let comments = above.map(|node| (node.span.start, node.comments.clone())).collect();
    for node in &lines.nodes {
        let (keyword, _) = split_keyword(&node.text);
        if keyword.eq_ignore_ascii_case("FROM") {
            stages.push(from(node)?);
            continue;
        }
        let parsed = instruction(node, escape)?;
        if matches!(parsed.kind, Kind::Maintainer(_)) {
            let message = "Maintainer instruction is deprecated in favor of using label";
            warnings.push(Warning::new("MaintainerDeprecated", node.span, message));
        }
        match (stages.last_mut(), parsed.kind) {
            (Some(stage), kind) => stage.instructions.push(Instruction { kind, ..parsed }),
            (None, Kind::Arg(args)) => meta_args.push((node.span, args)),
            (None, _) => return Err(ParseError::new(node.span, "no build stage in current context")),
        }
    }
    if stages.is_empty() {
        let end = lines.nodes.last().map_or(1, |node| node.span.end);
        return Err(ParseError::new(Span { start: end, end }, "no build stage in current context"));
    }
    Ok(Dockerfile { directives: lines.directives, meta_args, stages, warnings, comments })
}

pub(super) fn split_keyword(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((keyword, rest)) => (keyword, rest.trim()),
        None => (text, ""),
    }
}

fn from(node: &Node) -> Result<Stage, ParseError> {
    let wrong = |message: String| ParseError::new(node.span, message);
    let (_, rest) = split_keyword(&node.text);
    let (flags, rest) = flags::extract(rest);
    let mut platform = None;
    for flag in flags {
        match flag.name.as_str() {
            "platform" => platform = Some(required(&flag).map_err(wrong)?),
            _ => return Err(wrong(unknown_flag(&flag, &["platform"]))),
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (base, name) = match words.as_slice() {
        [base] => (*base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("AS") => (*base, Some(name.to_ascii_lowercase())),
        _ => return Err(wrong("FROM requires either one or three arguments".to_owned())),
    };
    if let Some(name) = &name {
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return Err(wrong(format!(
                "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
            )));
        }
    }
    Ok(Stage {
        span: node.span,
        source: node.text.clone(),
        base: base.to_owned(),
        platform,
        name,
        instructions: Vec::new(),
    })
}

/// Reads one instruction other than `FROM`.
pub(super) fn instruction(node: &Node, escape: char) -> Result<Instruction, ParseError> {
    let (keyword, rest) = split_keyword(&node.text);
    let kind = kind(&keyword.to_ascii_uppercase(), keyword, rest, node, escape, false)
        .map_err(|message| ParseError::new(node.span, message))?;
    Ok(Instruction { span: node.span, source: node.text.clone(), kind })
}

fn kind(name: &str, written: &str, rest: &str, node: &Node, escape: char, nested: bool) -> Result<Kind, String> {
    let (flags, args) = match name {
        "HEALTHCHECK" | "ADD" | "COPY" | "RUN" => flags::extract(rest),
        _ => {
            let (flags, args) = flags::extract(rest);
            let takes_dashes = matches!(name, "CMD" | "ENTRYPOINT" | "MAINTAINER" | "ONBUILD");
            match flags.first() {
                Some(flag) if !takes_dashes && KNOWN.contains(&name) => return Err(unknown_flag(flag, &[])),
                Some(_) => (Vec::new(), rest.to_owned()),
                None => (flags, args),
            }
        }
    };
    let needs = |one: bool| match (args.is_empty(), one) {
        (true, true) => Err(format!("{name} requires exactly one argument")),
        (true, false) => Err(format!("{name} requires at least one argument")),
        _ => Ok(()),
    };
    Ok(match name {
        "ADD" => Kind::Add(add_copy(name, &flags, &args, node)?),
        "COPY" => Kind::Copy(add_copy(name, &flags, &args, node)?),
        "ARG" => {
            needs(false)?;
            Kind::Arg(arguments(&args, escape)?)
        }
        "CMD" => Kind::Cmd(command(&args)),
        "ENTRYPOINT" => Kind::Entrypoint(command(&args)),
        "ENV" => {
            needs(false)?;
            Kind::Env(pairs(name, &args, escape)?)
        }
        "LABEL" => {
            needs(false)?;
            Kind::Label(pairs(name, &args, escape)?)
        }
        "EXPOSE" => {
            needs(false)?;
            Kind::Expose(args.split_whitespace().map(str::to_owned).collect())
        }
        "HEALTHCHECK" => Kind::Healthcheck(health(&flags, &args)?),
        "MAINTAINER" => {
            needs(true)?;
            Kind::Maintainer(args)
        }
        "ONBUILD" => {
            needs(false)?;
            Kind::Onbuild(onbuild(&args, node, escape, nested)?)
        }
        "RUN" => run(&flags, &args, node)?,
        "SHELL" => match serde_json::from_str::<Vec<String>>(&args) {
            Ok(words) if words.is_empty() => return Err("SHELL requires at least one argument".to_owned()),
            Ok(words) => Kind::Shell(words),
            Err(_) => return Err(format!("SHELL requires the arguments to be in JSON form: {args}")),
        },
        "STOPSIGNAL" => {
            needs(true)?;
            Kind::Stopsignal(args)
        }
        "USER" => {
            needs(true)?;
            Kind::User(args)
        }
        "VOLUME" => {
            needs(false)?;
            let list = words_or_json(&args);
            if list.iter().any(|path| path.trim().is_empty()) {
                return Err("VOLUME specified can not be an empty string".to_owned());
            }
            Kind::Volume(list)
        }
        "WORKDIR" => {
            needs(true)?;
            Kind::Workdir(args)
        }
        _ => {
            let near = KNOWN.iter().find(|known| distance(known, name) <= 2);
            let hint = near.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default();
            return Err(format!("unknown instruction: {written}{hint}"));
        }
    })
}

fn onbuild(args: &str, node: &Node, escape: char, nested: bool) -> Result<String, String> {
    let (keyword, rest) = split_keyword(args);
    let name = keyword.to_ascii_uppercase();
    if nested || name == "ONBUILD" {
        return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned());
    }
    if matches!(name.as_str(), "MAINTAINER" | "FROM") {
        return Err(format!("{name} isn't allowed as an ONBUILD trigger"));
    }
    kind(&name, keyword, rest, node, escape, true)?;
    let mut text = args.to_owned();
    for doc in &node.heredocs {
        text.push('\n');
        text.push_str(&doc.content);
        text.push_str(&doc.name);
    }
    Ok(text)
}

pub(super) fn unknown_flag(flag: &Flag, known: &[&str]) -> String {
    let near = known.iter().find(|known| distance(known, &flag.name) <= 2);
    let hint = near.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default();
    format!("unknown flag: --{}{hint}", flag.name)
}

pub(super) fn required(flag: &Flag) -> Result<String, String> {
    match &flag.value {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => Err(format!("missing a value on flag: {}", flag.name)),
    }
}

fn boolean(flag: &Flag) -> Result<bool, String> {
    match flag.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(format!("expecting boolean value for flag {}, not: {other}", flag.name)),
    }
}

fn add_copy(name: &str, flags: &[Flag], args: &str, node: &Node) -> Result<AddCopy, String> {
    let copy = name == "COPY";
    let mut out = AddCopy::default();
    for flag in flags {
        match (flag.name.as_str(), copy) {
            ("from", true) => out.from = Some(required(flag)?),
            ("chown", _) => out.chown = Some(required(flag)?),
            ("chmod", _) => out.chmod = Some(required(flag)?),
            ("link", _) => out.link = boolean(flag)?,
            ("parents", true) => out.parents = boolean(flag)?,
            ("exclude", _) => out.exclude.push(required(flag)?),
            ("checksum", false) => out.checksum = Some(required(flag)?),
            ("keep-git-dir", false) => out.keep_git_dir = boolean(flag)?,
            ("unpack", false) => out.unpack = Some(boolean(flag)?),
            _ => return Err(unknown_flag(flag, &["from", "chown", "chmod", "link", "parents", "exclude", "checksum"])),
        }
    }
    let mut words = words_or_json(args);
    let Some(dest) = words.pop() else {
        return Err(format!(
            "{name} requires at least two arguments, but no arguments were provided. Source could not be determined"
        ));
    };
    if words.is_empty() {
        return Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        ));
    }
    let mut docs = node.heredocs.iter();
    for word in words {
        if heredoc::word_heredoc(&word).is_some()
            && !node.heredocs.is_empty()
            && let Some(doc) = docs.next()
        {
            out.heredocs.push(doc.clone());
            continue;
        }
        out.sources.push(word);
    }
    out.dest = dest;
    Ok(out)
}

fn run(flags: &[Flag], args: &str, node: &Node) -> Result<Kind, String> {
    let mut out_mounts = Vec::new();
    let mut network = Network::Default;
    let mut insecure = false;
    for flag in flags {
        match flag.name.as_str() {
            "mount" => out_mounts.push(mounts::parse(&required(flag)?)?),
            "network" => {
                network = match required(flag)?.as_str() {
                    "default" => Network::Default,
                    "none" => Network::None,
                    "host" => Network::Host,
                    other => return Err(format!("invalid network mode {other:?}")),
                }
            }
            "security" => {
                insecure = match required(flag)?.as_str() {
                    "sandbox" => false,
                    "insecure" => true,
                    other => return Err(format!("invalid security mode {other:?}")),
                }
            }
            "device" => return Err("--device is not supported by this builder: it knows no CDI devices".to_owned()),
            _ => return Err(unknown_flag(flag, &["mount", "network", "security"])),
        }
    }
    if args.is_empty() {
        return Err("RUN requires at least one argument".to_owned());
    }
    let heredocs: Vec<Heredoc> = node.heredocs.clone();
    Ok(Kind::Run { command: command(args), heredocs, mounts: out_mounts, network, insecure })
}

pub(super) fn command(args: &str) -> Command {
    match serde_json::from_str::<Vec<String>>(args) {
        Ok(words) => Command::Exec(words),
        Err(_) => Command::Shell(args.to_owned()),
    }
}

fn words_or_json(args: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(args) {
        Ok(words) => words,
        Err(_) => args.split_whitespace().map(str::to_owned).collect(),
    }
}

/// Edit distance, for hints.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn kinds(body: &str) -> Vec<Kind> {
        let file = parse(&format!("FROM scratch\n{body}")).unwrap();
        file.stages[0].instructions.iter().map(|one| one.kind.clone()).collect()
    }

    fn refused(body: &str) -> String {
        parse(&format!("FROM scratch\n{body}")).unwrap_err().to_string()
    }

    #[test]
    fn reads_each_instruction() {
        let kinds = kinds(
            "env A=1 B=\"two words\" C=a\\ b\nENV OLD way of it\nEXPOSE 80 90/udp\nVOLUME [\"/a b\"]\n\
             CMD [\"x\"]\nENTRYPOINT run it\nHEALTHCHECK --interval=5s --retries=3 CMD true\nONBUILD RUN x\n\
             ADD --chown=1:2 a b /c/\nCOPY --from=x --link --exclude=*.o a /b\nSHELL [\"/bin/bash\",\"-c\"]\nARG A B=2",
        );
        assert_eq!(kinds.len(), 12);
        let Kind::Env(pairs) = &kinds[0] else { panic!() };
        assert_eq!(pairs[1].value.as_deref(), Some("\"two words\""));
        let Kind::Env(pairs) = &kinds[1] else { panic!() };
        assert_eq!((pairs[0].key.as_str(), pairs[0].value.as_deref()), ("OLD", Some("way of it")));
        let Kind::Copy(copy) = &kinds[9] else { panic!() };
        assert_eq!((copy.from.as_deref(), copy.link, copy.exclude.len()), (Some("x"), true, 1));
        assert_eq!(kinds[7], Kind::Onbuild("RUN x".to_owned()));
    }

    #[test]
    fn stages_have_names_and_platforms() {
        let file =
            parse("ARG V=1\nFROM --platform=$P a:$V AS Build\nRUN x\nFROM scratch\nCOPY --from=build /a /a").unwrap();
        assert_eq!(file.stages[0].name.as_deref(), Some("build"));
        assert_eq!(file.stages[0].platform.as_deref(), Some("$P"));
        assert_eq!(file.stage("BUILD", 1), Some(0));
        assert_eq!(file.stage("0", 1), Some(0));
        assert_eq!(file.stage("1", 1), None);
    }

    #[test]
    fn heredocs_are_sources() {
        let kinds = kinds("COPY <<one a <<two /d/\n1\none\n2\ntwo");
        let Kind::Copy(copy) = &kinds[0] else { panic!() };
        assert_eq!(copy.sources, ["a"]);
        assert_eq!(copy.heredocs.iter().map(|doc| doc.content.as_str()).collect::<Vec<_>>(), ["1\n", "2\n"]);
    }

    #[test]
    fn errors_name_the_line_and_help() {
        insta::assert_snapshot!(
            [
                refused("COPPY a b"),
                refused("COPY a"),
                refused("COPY --frm=x a b"),
                refused("ENV A"),
                refused("ENV A=1 B"),
                refused("SHELL /bin/sh"),
                refused("ONBUILD ONBUILD RUN x"),
                refused("ONBUILD FROM x"),
                refused("HEALTHCHECK what"),
                refused("RUN --mount=type=odd x"),
                refused("EXPOSE --x 1"),
                parse("RUN x").unwrap_err().to_string(),
                parse("FROM a b").unwrap_err().to_string(),
                parse("FROM a AS 1x").unwrap_err().to_string(),
                parse("# nothing\n").unwrap_err().to_string(),
            ]
            .join("\n"),
            @r#"
            dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)
            dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined
            dockerfile parse error on line 2: unknown flag: --frm (did you mean from?)
            dockerfile parse error on line 2: ENV must have two arguments
            dockerfile parse error on line 2: Syntax error - can't find = in "B". Must be of the form: name=value
            dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form: /bin/sh
            dockerfile parse error on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed
            dockerfile parse error on line 2: FROM isn't allowed as an ONBUILD trigger
            dockerfile parse error on line 2: Unknown type "WHAT" in HEALTHCHECK (try CMD)
            dockerfile parse error on line 2: unsupported mount type "odd"
            dockerfile parse error on line 2: unknown flag: --x
            dockerfile parse error on line 1: no build stage in current context
            dockerfile parse error on line 1: FROM requires either one or three arguments
            dockerfile parse error on line 1: invalid name for build stage: "1x", name can't start with a number or contain symbols
            dockerfile parse error on line 1: file with no instructions
            "#);
    }
}
