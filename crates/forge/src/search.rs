//! GitHub's search language, for issues, pull requests and repositories: words, qualifiers, `AND`, `OR`, `NOT`, brackets. Pure.

use crate::issues::Thread;
use crate::model::Repo;

/// How deep brackets may be nested.
const DEEPEST: usize = 20;

/// A search as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    All(Vec<Query>),
    Any(Vec<Query>),
    Not(Box<Query>),
    /// `KEY:VALUE`, the key in lower case.
    Is(String, String),
    /// A word or phrase, in lower case.
    Word(String),
}

#[derive(Debug, PartialEq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Term(String),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&first) = chars.peek() {
        match first {
            c if c.is_whitespace() => drop(chars.next()),
            '(' => {
                chars.next();
                tokens.push(Token::Open);
            }
            ')' => {
                chars.next();
                tokens.push(Token::Close);
            }
            _ => {
                let mut term = String::new();
                let mut quoted = false;
                while let Some(&c) = chars.peek() {
                    if !quoted && (c.is_whitespace() || c == ')') {
                        break;
                    }
                    quoted ^= c == '"';
                    term.push(c);
                    chars.next();
                }
                tokens.push(match term.as_str() {
                    "AND" => Token::And,
                    "OR" => Token::Or,
                    "NOT" => Token::Not,
                    _ => Token::Term(term),
                });
            }
        }
    }
    tokens
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn any(&mut self, depth: usize) -> Query {
        let mut parts = vec![self.all(depth)];
        while self.tokens.next_if_eq(&Token::Or).is_some() {
            parts.push(self.all(depth));
        }
        if parts.len() == 1 { parts.remove(0) } else { Query::Any(parts) }
    }

    fn all(&mut self, depth: usize) -> Query {
        let mut parts = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !matches!(token, Token::Or | Token::Close)) {
            if token != Token::And {
                parts.extend(self.one(token, depth));
            }
        }
        Query::All(parts)
    }

    fn one(&mut self, token: Token, depth: usize) -> Option<Query> {
        match token {
            Token::Open if depth < DEEPEST => {
                let inner = self.any(depth + 1);
                self.tokens.next_if_eq(&Token::Close);
                Some(inner)
            }
            Token::Not => {
                let next = self.tokens.next_if(|token| !matches!(token, Token::Or | Token::Close))?;
                Some(Query::Not(Box::new(self.one(next, depth)?)))
            }
            Token::Term(term) => Some(term_query(&term)),
            _ => None,
        }
    }
}

fn term_query(term: &str) -> Query {
    if let Some(rest) = term.strip_prefix('-').filter(|rest| !rest.is_empty()) {
        return Query::Not(Box::new(term_query(rest)));
    }
    match term.split_once(':') {
        Some((key, value)) if !key.is_empty() && !key.starts_with('"') && !value.is_empty() => {
            Query::Is(key.to_ascii_lowercase(), value.replace('"', ""))
        }
        _ => Query::Word(term.trim_matches('"').to_lowercase()),
    }
}

/// Reads a search. What cannot be meant is taken for words.
pub(crate) fn parse(text: &str) -> Query {
    let mut parser = Parser { tokens: tokens(text).into_iter().peekable() };
    let mut parts = vec![parser.any(0)];
    // Brackets that close what was not opened.
    while parser.tokens.next().is_some() {
        parts.push(parser.any(0));
    }
    Query::All(parts)
}

/// What is compared with a search.
pub(crate) struct About<'a> {
    pub repo: &'a Repo,
    pub thread: &'a Thread,
    /// Who searches.
    pub me: &'a str,
}

impl Query {
    /// The first value of a qualifier, wherever it stands.
    pub fn value(&self, key: &str) -> Option<&str> {
        match self {
            Query::Is(own, value) if own == key => Some(value),
            Query::All(parts) | Query::Any(parts) => parts.iter().find_map(|part| part.value(key)),
            _ => None,
        }
    }

    /// Whether it holds, by what says whether a word or qualifier does. Several repositories or owners beside each other mean any of them.
    fn holds(&self, test: &dyn Fn(&Query) -> bool) -> bool {
        match self {
            Query::All(parts) => {
                let place = |part: &&Query| matches!(part, Query::Is(key, _) if ["repo", "user", "org"].contains(&key.as_str()));
                let mut places = parts.iter().filter(place).peekable();
                let there = places.peek().is_none() || places.any(|part| part.holds(test));
                there && parts.iter().filter(|part| !place(part)).all(|part| part.holds(test))
            }
            Query::Any(parts) => parts.iter().any(|part| part.holds(test)),
            Query::Not(part) => !part.holds(test),
            leaf => test(leaf),
        }
    }

    /// Whether an issue or pull request is meant.
    pub fn finds(&self, about: &About) -> bool {
        let within = self.value("in").unwrap_or("title,body,comments");
        self.holds(&|leaf| match leaf {
            Query::Word(word) => has_word(about.thread, within, word),
            Query::Is(key, value) => qualifies(about, key, value)
                .unwrap_or_else(|| has_word(about.thread, within, &format!("{key}:{value}").to_lowercase())),
            _ => true,
        })
    }

    /// Whether what is in a repository can be meant, by the qualifiers of place.
    pub fn is_within(&self, repo: &Repo) -> bool {
        self.holds(&|leaf| match leaf {
            Query::Is(key, name) if key == "repo" => repo.full_name().eq_ignore_ascii_case(name),
            Query::Is(key, owner) if key == "user" || key == "org" => repo.owner.eq_ignore_ascii_case(owner),
            _ => true,
        })
    }

    /// Whether a commit is meant.
    pub fn finds_commit(&self, repo: &Repo, commit: &git::Commit) -> bool {
        let same = |text: &str, value: &str| text.eq_ignore_ascii_case(value);
        let contains = |text: &str, value: &str| text.to_lowercase().contains(&value.to_lowercase());
        self.holds(&|leaf| match leaf {
            Query::Word(word) => contains(&commit.message, word),
            Query::Is(key, value) => match key.as_str() {
                "repo" => same(&repo.full_name(), value),
                "user" | "org" => same(&repo.owner, value),
                "is" => same(value, if repo.private { "private" } else { "public" }),
                "hash" => commit.id.starts_with(value.as_str()),
                "tree" => commit.tree == *value,
                "parent" => commit.parents.contains(value),
                "merge" => (commit.parents.len() > 1) == (value == "true"),
                "author-name" => contains(&commit.author.name, value),
                "committer-name" => contains(&commit.committer.name, value),
                "author-email" => same(&commit.author.email, value),
                "committer-email" => same(&commit.committer.email, value),
                // Who a login is among git's authors is known by name alone.
                "author" => same(&commit.author.name, value),
                "committer" => same(&commit.committer.name, value),
                "author-date" => in_time(Some(commit.author.time), value),
                "committer-date" => in_time(Some(commit.committer.time), value),
                "sort" => true,
                _ => contains(&commit.message, &format!("{key}:{value}")),
            },
            _ => true,
        })
    }

    /// Whether a repository is meant.
    pub fn finds_repository(&self, repo: &Repo) -> bool {
        let within = self.value("in").unwrap_or("name,description");
        let contains = |word: &str| {
            (within.contains("name") && repo.full_name().to_lowercase().contains(word))
                || (within.contains("description")
                    && repo.description.as_deref().is_some_and(|text| text.to_lowercase().contains(word)))
        };
        self.holds(&|leaf| match leaf {
            Query::Word(word) => contains(word),
            Query::Is(key, value) => match (key.as_str(), value.as_str()) {
                ("repo", name) => repo.full_name().eq_ignore_ascii_case(name),
                ("user" | "org", owner) => repo.owner.eq_ignore_ascii_case(owner),
                ("is", "public") => !repo.private,
                ("is", "private") => repo.private,
                ("fork", "only") => repo.parent.is_some(),
                ("archived", "true") => false,
                ("created", value) => in_time(Some(repo.created_at), value),
                ("pushed", value) => in_time(Some(repo.pushed_at), value),
                ("fork" | "sort" | "in" | "archived", _) => true,
                // Stars, topics, languages and licences are not kept: none has any.
                _ => false,
            },
            _ => true,
        })
    }
}

fn has_word(thread: &Thread, within: &str, word: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(word);
    (within.contains("title") && contains(thread.title()))
        || (within.contains("body") && thread.body().as_deref().is_some_and(contains))
        || (within.contains("comments") && thread.comments().iter().any(|comment| contains(&comment.body)))
}

fn mentions(thread: &Thread, login: &str) -> bool {
    let name = format!("@{}", login.to_lowercase());
    let mentioned = |text: &str| {
        let text = text.to_lowercase();
        text.match_indices(&name)
            .any(|(at, _)| !text[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
    };
    thread.body().as_deref().is_some_and(mentioned) || thread.comments().iter().any(|c| mentioned(&c.body))
}

/// Whether a qualifier holds; none for one that GitHub does not know either, which is then text.
fn qualifies(about: &About, key: &str, value: &str) -> Option<bool> {
    let (repo, thread) = (about.repo, about.thread);
    let pull = match thread {
        Thread::Pull(pull) => Some(&**pull),
        Thread::Issue(_) => None,
    };
    let who = if value == "@me" { about.me } else { value };
    let is = |login: &String| login.eq_ignore_ascii_case(who);
    let commented = |login: &str| thread.comments().iter().any(|c| c.author.eq_ignore_ascii_case(login));
    let reviewed = || pull.is_some_and(|pull| pull.reviews.iter().any(|review| is(&review.author)));
    let requested = || pull.is_some_and(|pull| pull.reviewers.iter().any(is));
    Some(match (key, value) {
        ("repo", name) => repo.full_name().eq_ignore_ascii_case(name),
        ("user" | "org", _) => is(&repo.owner),
        ("is" | "type", "pr" | "pull-request") => pull.is_some(),
        ("is" | "type", "issue") => pull.is_none(),
        ("is" | "state", "open") => *thread.open(),
        ("is" | "state", "closed") => !thread.open(),
        ("is", "merged") => pull.is_some_and(|pull| pull.merged.is_some()),
        ("is", "unmerged") => pull.is_some_and(|pull| pull.merged.is_none()),
        ("is", "draft") | ("draft", "true") => pull.is_some_and(|pull| pull.draft),
        ("draft", _) => pull.is_some_and(|pull| !pull.draft),
        ("is", "public") => !repo.private,
        ("is", "private") => repo.private,
        ("is", "locked") => thread.locked().is_some(),
        ("is", "unlocked") => thread.locked().is_none(),
        ("author", _) => is(thread.author()),
        ("assignee", "*") => !thread.assignees().is_empty(),
        ("assignee", _) => thread.assignees().iter().any(is),
        ("mentions", _) => mentions(thread, who),
        ("commenter", _) => commented(who),
        ("involves", _) => {
            is(thread.author()) || thread.assignees().iter().any(is) || mentions(thread, who) || commented(who)
        }
        ("label", names) => names.split(',').any(|name| thread.has_label(name)),
        ("no", "label") => thread.labels().is_empty(),
        ("no", "assignee") => thread.assignees().is_empty(),
        ("no", "milestone" | "project") => true,
        ("reason", reason) => match thread {
            Thread::Issue(issue) => {
                !issue.open && issue.state_reason.as_deref() == Some(reason.replace(' ', "_").as_str())
            }
            Thread::Pull(_) => false,
        },
        ("head", branch) => pull.is_some_and(|pull| pull.head_ref == branch),
        ("base", branch) => pull.is_some_and(|pull| pull.base_ref == branch),
        ("review-requested" | "user-review-requested", _) => requested(),
        ("reviewed-by", _) => reviewed(),
        ("review", state) => {
            let decision = pull.map(crate::rest::decision);
            match state {
                "none" => pull.is_some_and(|pull| pull.reviews.is_empty()),
                "approved" => decision == Some("APPROVED"),
                "changes_requested" => decision == Some("CHANGES_REQUESTED"),
                _ => false,
            }
        }
        ("created", value) => in_time(Some(*thread.created_at()), value),
        ("updated", value) => in_time(Some(*thread.updated_at()), value),
        ("closed", value) => in_time(*thread.closed_at(), value),
        ("merged", value) => in_time(pull.and_then(|pull| pull.merged.as_ref()).map(|merged| merged.at), value),
        ("comments", value) => in_range(thread.comments().len() as i64, value, |text| {
            let number: i64 = text.parse().ok()?;
            Some((number, number))
        }),
        ("sort" | "archived" | "in", _) => true,
        // Nobody has any: they are not kept here.
        ("milestone" | "project" | "team" | "team-review-requested" | "linked" | "status" | "reactions", _) => false,
        _ => return None,
    })
}

/// Whether a moment is what `>=2026-01-01`, `2026-01-01..2026-02-01` or a day alone asks for.
fn in_time(at: Option<i64>, wanted: &str) -> bool {
    at.is_some_and(|at| in_range(at, wanted, moment))
}

/// The first and last second of a day, or a moment.
fn moment(text: &str) -> Option<(i64, i64)> {
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        let start = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
        return Some((start, start + 86_399));
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| (at.as_second(), at.as_second()))
}

fn in_range(at: i64, wanted: &str, read: impl Fn(&str) -> Option<(i64, i64)>) -> bool {
    if let Some((from, to)) = wanted.split_once("..") {
        let from = if from == "*" { Some(i64::MIN) } else { read(from).map(|(first, _)| first) };
        let to = if to == "*" { Some(i64::MAX) } else { read(to).map(|(_, last)| last) };
        return from.zip(to).is_some_and(|(from, to)| (from..=to).contains(&at));
    }
    let compared = |sign: &str| wanted.strip_prefix(sign).and_then(&read);
    if let Some((first, _)) = compared(">=") {
        return at >= first;
    }
    if let Some((_, last)) = compared("<=") {
        return at <= last;
    }
    if let Some((_, last)) = compared(">") {
        return at > last;
    }
    if let Some((first, _)) = compared("<") {
        return at < first;
    }
    read(wanted).is_some_and(|(first, last)| (first..=last).contains(&at))
}

/// Puts what was found in the order asked for: `created` (the usual), `updated` or `comments`, the greatest first.
pub(crate) fn sort(found: &mut [(Repo, Thread)], by: Option<&str>, ascending: bool) {
    found.sort_by_key(|(_, thread)| match by {
        Some("updated") => *thread.updated_at(),
        Some("comments") => thread.comments().len() as i64,
        _ => *thread.created_at(),
    });
    if !ascending {
        found.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(key: &str, value: &str) -> Query {
        Query::Is(key.into(), value.into())
    }

    #[test]
    fn language() {
        for (text, truth) in [
            ("a", "a"),
            ("a b", "(a b)"),
            ("a OR b c", "(a|(b c))"),
            ("(a OR b) AND c", "((a|b) c)"),
            ("-a NOT b", "(!a !b)"),
            ("label:\"good first issue\" -label:bug", "(label=good first issue !label=bug)"),
            ("\"two words\" state:open", "(two words state=open)"),
            (") a ( b", "(a b)"),
            ("", ""),
        ] {
            assert_eq!(shown(&parse(text)), truth, "{text}");
        }
    }

    fn shown(query: &Query) -> String {
        let joined = |parts: &[Query], by: &str| {
            let parts: Vec<String> = parts.iter().map(shown).filter(|part| !part.is_empty()).collect();
            if parts.len() == 1 {
                parts.concat()
            } else if parts.is_empty() {
                String::new()
            } else {
                format!("({})", parts.join(by))
            }
        };
        match query {
            Query::All(parts) => joined(parts, " "),
            Query::Any(parts) => joined(parts, "|"),
            Query::Not(part) => format!("!{}", shown(part)),
            Query::Is(key, value) => format!("{key}={value}"),
            Query::Word(word) => word.clone(),
        }
    }

    #[test]
    fn ranges() {
        let noon = moment("2026-03-05T12:00:00Z").expect("a moment").0;
        for (wanted, truth) in [
            ("2026-03-05", true),
            ("2026-03-04", false),
            (">=2026-03-05", true),
            (">2026-03-05", false),
            ("<2026-03-06", true),
            ("<=2026-03-05", true),
            ("2026-03-01..2026-03-05", true),
            ("*..2026-03-04", false),
            ("2026-03-05..*", true),
            ("soon", false),
        ] {
            assert_eq!(in_time(Some(noon), wanted), truth, "{wanted}");
        }
        assert_eq!(parse("a:b").value("a"), Some("b"));
        assert_ne!(leaf("a", "b"), leaf("a", "c"));
    }
}
