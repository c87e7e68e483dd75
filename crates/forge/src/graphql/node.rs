//! The things that fields are asked of.

use serde_json::{Value, json};

use crate::issues::Thread;
use crate::model::{CheckRun, Comment, Issue, Label, Pull, Release, Repo, Status, User};

/// A thing of a type.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Query,
    Mutation,
    Repository(Repo),
    Pull(Repo, Pull),
    Release(Repo, Release),
    User(User),
    /// A ref: repository, full name, object.
    Ref(Repo, String, String),
    Commit(Repo, git::Commit),
    Check(Repo, CheckRun),
    Status(Status),
    Comment(Repo, Box<Thread>, Comment),
    Issue(Repo, Box<Issue>),
    Label(Repo, Label),
    /// A commit in the list of a pull request.
    PullCommit(Repo, git::Commit),
    /// All checks of a commit.
    Rollup(Repo, String),
    /// A thing in a list, with its cursor.
    Edge(Box<Node>, String),
    /// What making a repository answers.
    Created(Repo),
    /// What a mutation of a pull request answers.
    Payload(Repo, Pull),
    /// A list with its page: type, things, how many there are in all, whether more follow, the last one's cursor.
    Connection(&'static str, Vec<Node>, usize, bool, String),
    /// An object of a type with things for members, as mutations answer.
    Fields(&'static str, Vec<(&'static str, Node)>),
    /// A plain object of a type: what it has is what can be asked.
    Plain(&'static str, Value),
}

impl Node {
    /// The name of its type.
    pub fn type_name(&self) -> String {
        match self {
            Node::Query => "Query".to_owned(),
            Node::Mutation => "Mutation".to_owned(),
            Node::Repository(_) => "Repository".to_owned(),
            Node::Pull(..) => "PullRequest".to_owned(),
            Node::Release(..) => "Release".to_owned(),
            Node::User(user) if user.login.ends_with("[bot]") => "Bot".to_owned(),
            Node::User(user) if user.organization => "Organization".to_owned(),
            Node::User(_) => "User".to_owned(),
            Node::Ref(..) => "Ref".to_owned(),
            Node::Commit(..) => "Commit".to_owned(),
            Node::Check(..) => "CheckRun".to_owned(),
            Node::Status(_) => "StatusContext".to_owned(),
            Node::Comment(..) => "IssueComment".to_owned(),
            Node::Issue(..) => "Issue".to_owned(),
            Node::Label(..) => "Label".to_owned(),
            Node::PullCommit(..) => "PullRequestCommit".to_owned(),
            Node::Rollup(..) => "StatusCheckRollup".to_owned(),
            Node::Edge(..) => "Edge".to_owned(),
            Node::Created(_) => "CreateRepositoryPayload".to_owned(),
            Node::Payload(..) => "PullRequestPayload".to_owned(),
            Node::Connection(name, ..) => format!("{name}Connection"),
            Node::Plain(name, _) | Node::Fields(name, _) => (*name).to_owned(),
        }
    }

    /// Whether a fragment on a type or interface is about it.
    pub fn is(&self, type_name: &str) -> bool {
        let own = self.type_name();
        own == type_name
            || match type_name {
                "Actor" | "RepositoryOwner" | "Assignee" | "RequestedReviewer" => {
                    matches!(own.as_str(), "User" | "Bot" | "Organization")
                }
                "Node" => !matches!(self, Node::Query | Node::Mutation | Node::Connection(..)),
                "IssueOrPullRequest" | "Labelable" | "Assignable" | "Lockable" | "Closable" | "SearchResultItem" => {
                    matches!(own.as_str(), "PullRequest" | "Issue")
                }
                "Comment" => matches!(own.as_str(), "PullRequest" | "Issue" | "IssueComment"),
                "StatusCheckRollupContext" => matches!(self, Node::Check(..) | Node::Status(_)),
                "GitObject" => matches!(self, Node::Commit(..)),
                _ => false,
            }
    }

    /// One page of a list, as `first`, `last` and `after` ask for it.
    pub fn connection(name: &'static str, nodes: Vec<Node>, arguments: &Value) -> Self {
        let total = nodes.len();
        let number = |key: &str| arguments[key].as_u64().and_then(|n| usize::try_from(n).ok());
        if let (Some(last), None) = (number("last"), number("first")) {
            let skip = total.saturating_sub(last);
            return Node::Connection(name, nodes.into_iter().skip(skip).collect(), total, false, total.to_string());
        }
        let skip = arguments["after"].as_str().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0).min(total);
        let take = number("first").unwrap_or(100).min(1000);
        let page: Vec<Node> = nodes.into_iter().skip(skip).take(take).collect();
        let end = skip + page.len();
        Node::Connection(name, page, total, end < total, end.to_string())
    }

    /// A list with nothing in it.
    pub fn none(name: &'static str) -> Self {
        Node::Connection(name, Vec::new(), 0, false, String::new())
    }
}

/// What a field comes to.
pub(crate) enum Resolved {
    Value(Value),
    Node(Box<Node>),
    Nodes(Vec<Node>),
}

impl Resolved {
    pub fn value(value: impl Into<Value>) -> Self {
        Resolved::Value(value.into())
    }

    pub fn node(node: Node) -> Self {
        Resolved::Node(Box::new(node))
    }

    pub fn maybe(node: Option<Node>) -> Self {
        node.map_or(Resolved::Value(Value::Null), Self::node)
    }

    pub const NULL: Self = Resolved::Value(Value::Null);

    /// What a member of plain JSON comes to.
    pub fn plain(name: &'static str, value: &Value) -> Self {
        match value {
            Value::Object(_) => Self::node(Node::Plain(name, value.clone())),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                Resolved::Nodes(items.iter().map(|item| Node::Plain(name, item.clone())).collect())
            }
            other => Resolved::Value(other.clone()),
        }
    }
}

/// Why a field has no value.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The schema has no such field.
    Undefined,
    /// GitHub's `type` and message.
    Said(&'static str, String),
}

impl Problem {
    pub fn not_found(message: impl Into<String>) -> Self {
        Problem::Said("NOT_FOUND", message.into())
    }

    pub fn unprocessable(message: impl Into<String>) -> Self {
        Problem::Said("UNPROCESSABLE", message.into())
    }
}

impl From<crate::Error> for Problem {
    fn from(error: crate::Error) -> Self {
        crate::api_error::ApiError::from(error).into()
    }
}

impl From<git::Error> for Problem {
    fn from(error: git::Error) -> Self {
        crate::Error::from(error).into()
    }
}

impl From<crate::api_error::ApiError> for Problem {
    fn from(error: crate::api_error::ApiError) -> Self {
        let kind = match error.status.as_u16() {
            401 | 403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            500.. => "INTERNAL",
            _ => "UNPROCESSABLE",
        };
        let detail = error.errors.first().and_then(|entry| entry["message"].as_str().map(str::to_owned));
        Problem::Said(kind, detail.unwrap_or(error.message))
    }
}

/// GitHub's enum words.
pub(crate) fn upper(word: &str) -> Value {
    json!(word.to_uppercase())
}
