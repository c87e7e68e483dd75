//! What `uses` names, and the model of `action.yml`.

use indexmap::IndexMap;

use crate::expr::Template;
use crate::workflow::{Findings, Place, Step, Tree};
use crate::yaml::{self, Kind, Node};

/// What a step's `uses` refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `./path`: a directory of the work space.
    Local(String),
    /// `docker://image`.
    Docker(String),
    /// `owner/repo/path@ref`.
    Repository {
        /// `owner/repo`.
        repository: String,
        /// The directory in it; empty for the root.
        path: String,
        /// The branch, tag or commit.
        reference: String,
    },
}

impl Reference {
    /// Parses `uses`; the error says what form is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(image) = text.strip_prefix("docker://") {
            return if image.is_empty() {
                Err(format!("'{text}' names no image"))
            } else {
                Ok(Self::Docker(image.to_owned()))
            };
        }
        if text.starts_with("./") || text.starts_with(".\\") || text == "." {
            return Ok(Self::Local(text.to_owned()));
        }
        let wrong = || {
            format!(
                "Expected format {{org}}/{{repo}}[/path]@ref. Actual '{text}'. Input string was not in a correct format."
            )
        };
        let (path, reference) = text.rsplit_once('@').ok_or_else(wrong)?;
        let mut parts = path.splitn(3, '/');
        let (owner, repo, rest) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if owner.is_empty() || repo.is_empty() || reference.is_empty() || rest.split('/').any(|part| part == "..") {
            return Err(wrong());
        }
        Ok(Self::Repository {
            repository: format!("{owner}/{repo}"),
            path: rest.trim_matches('/').to_owned(),
            reference: reference.to_owned(),
        })
    }
}

/// An `action.yml`.
#[derive(Debug, Clone)]
pub struct ActionFile {
    /// `name`.
    pub name: String,
    /// Inputs by name.
    pub inputs: IndexMap<String, ActionInput>,
    /// Outputs by name; with a value in composite actions.
    pub outputs: IndexMap<String, Option<Tree>>,
    /// `runs`.
    pub runs: Runs,
}

/// An input of an action.
#[derive(Debug, Clone)]
pub struct ActionInput {
    /// Whether it must be given.
    pub required: bool,
    /// Its default.
    pub default: Option<Template>,
    /// What to tell who uses it.
    pub deprecation: Option<String>,
}

/// How an action runs.
#[derive(Debug, Clone)]
pub enum Runs {
    /// `using: nodeNN`.
    Node {
        /// The major version asked for.
        version: u32,
        /// Script of the main step.
        main: String,
        /// Script that runs before all steps, with its condition.
        pre: Option<(String, Option<Template>)>,
        /// Script that runs after all steps, with its condition.
        post: Option<(String, Option<Template>)>,
    },
    /// `using: composite`.
    Composite(Vec<Step>),
    /// `using: docker`.
    Docker {
        /// `Dockerfile` path or `docker://image`.
        image: String,
        /// `entrypoint`.
        entrypoint: Option<String>,
        /// `pre-entrypoint` with its condition.
        pre: Option<(String, Option<Template>)>,
        /// `post-entrypoint` with its condition.
        post: Option<(String, Option<Template>)>,
        /// `args`.
        args: Vec<Template>,
        /// `env`.
        env: Option<Tree>,
    },
}

impl ActionFile {
    /// Reads an `action.yml`.
    pub fn read(source: &str) -> (Option<Self>, Findings) {
        let mut findings = Findings::default();
        let action = read_into(source, &mut findings);
        let action = if findings.has_errors() { None } else { action };
        (action, findings)
    }
}

fn mapping<'a>(node: Option<&'a Node>, findings: &mut Findings) -> &'a [(Node, Node)] {
    match node.map(|node| (&node.kind, node.at)) {
        Some((Kind::Mapping(entries), _)) => entries,
        None | Some((Kind::Scalar { value: crate::expr::Value::Null, .. }, _)) => &[],
        Some((_, at)) => {
            findings.error(at, "A mapping was expected");
            &[]
        }
    }
}

fn template(node: &Node, place: Place, findings: &mut Findings) -> Option<Template> {
    let text = node.text().unwrap_or_default();
    Template::parse(text, place.allowed()).map_err(|error| findings.error(node.at, error.error.message)).ok()
}

fn condition(node: Option<&Node>, findings: &mut Findings) -> Option<Template> {
    let node = node?;
    Template::condition(node.text().unwrap_or_default(), Place::ActionRunsIf.allowed())
        .map_err(|error| findings.error(node.at, error.error.message))
        .ok()
}

fn read_into(source: &str, findings: &mut Findings) -> Option<ActionFile> {
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(error) => {
            findings.error(error.at, error.message);
            return None;
        }
    };
    for (key, _) in mapping(Some(&root), findings) {
        let name = key.text().unwrap_or_default();
        if !["name", "author", "description", "inputs", "outputs", "runs", "branding"].contains(&name) {
            findings.error(key.at, format!("Unexpected value '{name}'"));
        }
    }
    let mut inputs = IndexMap::new();
    for (key, value) in mapping(root.get("inputs"), findings) {
        let mut input = ActionInput { required: false, default: None, deprecation: None };
        for (field, value) in mapping(Some(value), findings) {
            match field.text().unwrap_or_default() {
                "required" => input.required = value.text() == Some("true"),
                "default" => input.default = template(value, Place::ActionInputDefault, findings),
                "deprecationMessage" => input.deprecation = value.text().map(str::to_owned),
                // Actions in the wild carry `type`, `options` and others here; the runner reads none of them.
                _ => {}
            }
        }
        inputs.insert(key.text().unwrap_or_default().to_owned(), input);
    }
    let runs_node = root.get("runs");
    let runs = match runs_node {
        Some(node) => read_runs(node, findings)?,
        None => {
            findings.error(root.at, "Required property is missing: runs");
            return None;
        }
    };
    let mut outputs = IndexMap::new();
    for (key, value) in mapping(root.get("outputs"), findings) {
        let tree = value.get("value").map(|node| Tree::read(node, Place::ActionOutput, findings));
        outputs.insert(key.text().unwrap_or_default().to_owned(), tree);
    }
    Some(ActionFile {
        name: root.get("name").and_then(Node::text).unwrap_or_default().to_owned(),
        inputs,
        outputs,
        runs,
    })
}

fn read_runs(node: &Node, findings: &mut Findings) -> Option<Runs> {
    let using = node.get("using").and_then(Node::text).unwrap_or_default().to_owned();
    let keys: &[&str] = match using.as_str() {
        "composite" => &["using", "steps"],
        "docker" => {
            &["using", "image", "env", "entrypoint", "pre-entrypoint", "pre-if", "post-entrypoint", "post-if", "args"]
        }
        _ => &["using", "main", "pre", "pre-if", "post", "post-if"],
    };
    for (key, _) in mapping(Some(node), findings) {
        let name = key.text().unwrap_or_default();
        if !keys.contains(&name) {
            findings.error(key.at, format!("Unexpected value '{name}'"));
        }
    }
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let stage = |key: &str, guard: &str, findings: &mut Findings| {
        text(key).map(|script| (script, condition(node.get(guard), findings)))
    };
    match using.as_str() {
        "composite" => match node.get("steps") {
            Some(steps) => Some(Runs::Composite(crate::workflow::read_steps(steps, true, findings))),
            None => {
                findings.error(node.at, "Required property is missing: steps");
                None
            }
        },
        "docker" => {
            let Some(image) = text("image") else {
                findings.error(node.at, "Required property is missing: image");
                return None;
            };
            let args = match node.get("args").map(|node| &node.kind) {
                Some(Kind::Sequence(items)) => {
                    items.iter().filter_map(|item| template(item, Place::ActionDocker, findings)).collect()
                }
                _ => Vec::new(),
            };
            Some(Runs::Docker {
                image,
                entrypoint: text("entrypoint"),
                pre: stage("pre-entrypoint", "pre-if", findings),
                post: stage("post-entrypoint", "post-if", findings),
                args,
                env: node.get("env").map(|node| Tree::read(node, Place::ActionDocker, findings)),
            })
        }
        other => {
            let version = other.strip_prefix("node").and_then(|version| version.parse().ok());
            let (Some(version), Some(main)) = (version, text("main")) else {
                findings.error(
                    node.at,
                    format!(
                        "'using: {other}' is not supported, use one of 'docker', 'composite', 'node20' or 'node24'"
                    ),
                );
                return None;
            };
            Some(Runs::Node {
                version,
                main,
                pre: stage("pre", "pre-if", findings),
                post: stage("post", "post-if", findings),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let repository = |repository: &str, path: &str, reference: &str| Reference::Repository {
            repository: repository.into(),
            path: path.into(),
            reference: reference.into(),
        };
        assert_eq!(Reference::parse("actions/checkout@v4"), Ok(repository("actions/checkout", "", "v4")));
        assert_eq!(Reference::parse("a/b/c/d@feature/x"), Ok(repository("a/b", "c/d", "feature/x")));
        assert_eq!(Reference::parse("./.github/actions/x"), Ok(Reference::Local("./.github/actions/x".into())));
        assert_eq!(Reference::parse("docker://alpine:3.20"), Ok(Reference::Docker("alpine:3.20".into())));
        for bad in ["actions/checkout", "checkout@v4", "@v4", "a/b@", "docker://", "a/b/../../c@v1"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn action_files() {
        let (action, findings) = ActionFile::read(
            "name: Hello\ninputs:\n  who:\n    default: ${{ github.actor }}\noutputs:\n  x:\n    value: ${{ steps.a.outputs.x }}\nruns:\n  using: composite\n  steps:\n    - id: a\n      run: echo \"x=${{ inputs.who }}\" >> $GITHUB_OUTPUT\n      shell: bash\n",
        );
        assert!(findings.0.is_empty(), "{findings:?}");
        assert!(matches!(action.unwrap().runs, Runs::Composite(steps) if steps.len() == 1));
        let (action, findings) = ActionFile::read("name: x\nruns:\n  using: perl\n  main: x\n");
        assert!(action.is_none() && findings.has_errors());
    }
}
