//! What each command takes, as its messages say it.

use super::Failure;

/// The words after `docker`, by command.
const COMMANDS: &[(&str, &str)] = &[
    ("", "[OPTIONS] COMMAND [ARG...]"),
    ("build", "[OPTIONS] PATH | URL | -"),
    ("builder prune", ""),
    ("buildx bake", "[OPTIONS] [TARGET...]"),
    ("buildx build", "[OPTIONS] PATH | URL | -"),
    ("buildx create", "[OPTIONS] [CONTEXT|ENDPOINT]"),
    ("buildx du", ""),
    ("buildx imagetools create", "[OPTIONS] [SOURCE...]"),
    ("buildx imagetools inspect", "[OPTIONS] NAME"),
    ("buildx inspect", "[NAME]"),
    ("buildx ls", ""),
    ("buildx rm", "[OPTIONS] [NAME...]"),
    ("buildx stop", "[NAME]"),
    ("buildx use", "[OPTIONS] NAME"),
    ("context inspect", "[OPTIONS] [CONTEXT] [CONTEXT...]"),
    ("context ls", "[OPTIONS]"),
    ("context show", ""),
    ("context use", "CONTEXT"),
    ("history", "[OPTIONS] IMAGE"),
    ("image inspect", "[OPTIONS] IMAGE [IMAGE...]"),
    ("image prune", "[OPTIONS]"),
    ("images", "[OPTIONS] [REPOSITORY[:TAG]]"),
    ("info", "[OPTIONS]"),
    ("inspect", "[OPTIONS] NAME|ID [NAME|ID...]"),
    ("load", "[OPTIONS]"),
    ("login", "[OPTIONS] [SERVER]"),
    ("logout", "[SERVER]"),
    ("manifest annotate", "[OPTIONS] MANIFEST_LIST MANIFEST"),
    ("manifest create", "MANIFEST_LIST MANIFEST [MANIFEST...]"),
    ("manifest inspect", "[OPTIONS] [MANIFEST_LIST] MANIFEST"),
    ("manifest push", "[OPTIONS] MANIFEST_LIST"),
    ("manifest rm", "MANIFEST_LIST [MANIFEST_LIST...]"),
    ("pull", "[OPTIONS] NAME[:TAG|@DIGEST]"),
    ("push", "[OPTIONS] NAME[:TAG]"),
    ("rmi", "[OPTIONS] IMAGE [IMAGE...]"),
    ("save", "[OPTIONS] IMAGE [IMAGE...]"),
    ("system df", "[OPTIONS]"),
    ("system prune", "[OPTIONS]"),
    ("tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"),
    ("version", "[OPTIONS]"),
];

/// `docker tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]`.
pub(super) fn usage(command: &str) -> String {
    let words = COMMANDS.iter().find(|(name, _)| *name == command).map_or("[OPTIONS]", |(_, words)| words);
    format!("docker {command} {words}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many arguments a command takes.
pub(super) enum Count {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
}

/// Checks the number of arguments.
///
/// # Errors
/// What docker says when there are more or fewer.
pub(super) fn takes(command: &str, args: &[String], count: Count) -> Result<(), Failure> {
    let (ok, need) = match count {
        Count::None => (args.is_empty(), "accepts no arguments".to_owned()),
        Count::Exactly(one) => (args.len() == one, format!("requires {one} argument{}", plural(one))),
        Count::AtLeast(one) => (args.len() >= one, format!("requires at least {one} argument{}", plural(one))),
        Count::AtMost(one) => (args.len() <= one, format!("requires at most {one} argument{}", plural(one))),
    };
    let see = if matches!(count, Count::AtLeast(_)) { "See" } else { "Run" };
    match ok {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "docker: 'docker {command}' {need}\n\nUsage:  {}\n\n{see} 'docker {command} --help' for more information",
            usage(command)
        ))),
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
