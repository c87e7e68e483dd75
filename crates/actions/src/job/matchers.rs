//! Problem matchers: they read annotations off a tool's output, line by line, as GitHub's runner does. Pure.

use regex::Regex;
use serde::Deserialize;

/// The problem matchers in force, the newest first.
#[derive(Debug, Default, Clone)]
pub struct Matchers {
    list: Vec<Matcher>,
}

/// A problem that a tool told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// `error`, `warning`, `notice` or what else the tool said; empty for an error.
    pub severity: Option<String>,
    /// The file as the tool named it.
    pub file: Option<String>,
    /// A file that `file` is relative to.
    pub from_path: Option<String>,
    /// The line, as text.
    pub line: Option<String>,
    /// The column, as text.
    pub column: Option<String>,
    /// The tool's name for this kind of problem.
    pub code: Option<String>,
    /// What is wrong.
    pub message: Option<String>,
}

#[derive(Debug, Clone)]
struct Matcher {
    owner: String,
    severity: String,
    patterns: Vec<(Regex, Pattern)>,
    /// What each pattern but the last has found, together with those before it.
    found: Vec<Option<Problem>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MatcherFile {
    #[serde(default)]
    problem_matcher: Vec<MatcherConfig>,
}

#[derive(Deserialize)]
struct MatcherConfig {
    #[serde(default)]
    owner: String,
    #[serde(default)]
    severity: Option<String>,
    #[serde(default)]
    pattern: Vec<Pattern>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pattern {
    regexp: String,
    file: Option<usize>,
    from_path: Option<usize>,
    line: Option<usize>,
    column: Option<usize>,
    severity: Option<usize>,
    code: Option<usize>,
    message: Option<usize>,
    #[serde(rename = "loop")]
    repeat: bool,
}

impl Pattern {
    fn groups(&self) -> [(&'static str, Option<usize>); 7] {
        [
            ("file", self.file),
            ("line", self.line),
            ("column", self.column),
            ("severity", self.severity),
            ("code", self.code),
            ("message", self.message),
            ("fromPath", self.from_path),
        ]
    }
}

impl Matchers {
    /// Adds the matchers of a file; a matcher of the same owner is replaced. The error says what is wrong with the file; what is
    /// given back are warnings about matchers that cannot be used here.
    pub fn add(&mut self, text: &str) -> Result<Vec<String>, String> {
        let configs = read(text)?;
        let mut warnings = Vec::new();
        let mut added = Vec::new();
        for config in configs {
            match compile(config)? {
                Ok(matcher) => added.push(matcher),
                Err(warning) => warnings.push(warning),
            }
        }
        for matcher in added {
            self.remove(&matcher.owner);
            self.list.insert(0, matcher);
        }
        Ok(warnings)
    }

    /// Adds the matchers of owners that have none here.
    pub fn join(&mut self, other: Self) {
        for matcher in other.list {
            if !self.list.iter().any(|known| known.owner.eq_ignore_ascii_case(&matcher.owner)) {
                self.list.push(matcher);
            }
        }
    }

    /// Takes the matchers of an owner away.
    pub fn remove(&mut self, owner: &str) {
        self.list.retain(|matcher| !matcher.owner.eq_ignore_ascii_case(owner));
    }

    /// Takes the matchers of all owners in a file away.
    pub fn remove_file(&mut self, text: &str) -> Result<(), String> {
        let file: MatcherFile =
            serde_json::from_str(text).map_err(|error| format!("the problem matcher is not valid: {error}"))?;
        file.problem_matcher.iter().for_each(|config| self.remove(&config.owner));
        Ok(())
    }

    /// A step begins: what earlier output came to does not count.
    pub fn reset(&mut self) {
        self.list.iter_mut().for_each(Matcher::reset);
    }

    /// What a line of output tells of.
    pub fn read(&mut self, line: &str) -> Option<Problem> {
        if self.list.is_empty() {
            return None;
        }
        let line = strip_colours(line);
        let (at, found) =
            self.list.iter_mut().enumerate().find_map(|(at, matcher)| Some((at, matcher.read(&line)?)))?;
        let others = self.list.iter_mut().enumerate().filter(|(other, _)| *other != at);
        others.for_each(|(_, matcher)| matcher.reset());
        Some(found)
    }
}

fn read(text: &str) -> Result<Vec<MatcherConfig>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let file: MatcherFile =
        serde_json::from_str(text).map_err(|error| format!("the problem matcher is not valid: {error}"))?;
    let mut owners: Vec<String> = Vec::new();
    for config in &file.problem_matcher {
        let owner = &config.owner;
        if owner.is_empty() {
            return Err("Owner must not be empty".to_owned());
        }
        let severity = config.severity.as_deref().unwrap_or_default().to_ascii_lowercase();
        if !["", "error", "warning", "notice"].contains(&severity.as_str()) {
            return Err(format!("Matcher '{owner}' contains unexpected default severity '{severity}'"));
        }
        if config.pattern.is_empty() {
            return Err(format!("Matcher '{owner}' does not contain any patterns"));
        }
        let last = config.pattern.len() - 1;
        let mut set: Vec<&str> = Vec::new();
        for (i, pattern) in config.pattern.iter().enumerate() {
            if pattern.repeat && (i == 0 || i != last) {
                return Err("Only the last pattern in a multiline matcher may set 'loop'".to_owned());
            }
            if pattern.repeat && pattern.message.is_none() {
                return Err("The loop pattern must set 'message'".to_owned());
            }
            for (name, _) in pattern.groups().into_iter().filter(|(_, group)| group.is_some()) {
                if set.contains(&name) {
                    return Err(format!("The property '{name}' is set twice"));
                }
                set.push(name);
            }
        }
        if !set.contains(&"message") {
            return Err("At least one pattern must set 'message'".to_owned());
        }
        if owners.contains(&owner.to_ascii_lowercase()) {
            return Err(format!("Duplicate owner name '{owner}'"));
        }
        owners.push(owner.to_ascii_lowercase());
    }
    Ok(file.problem_matcher)
}

/// The inner error is about a pattern that is good JavaScript and that the engine for patterns here does not have.
fn compile(config: MatcherConfig) -> Result<Result<Matcher, String>, String> {
    let mut patterns = Vec::new();
    for pattern in config.pattern {
        let regex = match Regex::new(&pattern.regexp) {
            Ok(regex) => regex,
            Err(error) => {
                let short = error.to_string();
                let short = short.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return Ok(Err(format!(
                    "The problem matcher '{}' is left out: its pattern '{}' is not supported here ({short})",
                    config.owner, pattern.regexp
                )));
            }
        };
        for (name, group) in pattern.groups() {
            if group.is_some_and(|group| group >= regex.captures_len()) {
                return Err(format!(
                    "The property '{name}' is set to {} which is greater than the number of capture groups",
                    group.unwrap_or_default()
                ));
            }
        }
        patterns.push((regex, pattern));
    }
    let found = vec![None; patterns.len().saturating_sub(1)];
    Ok(Ok(Matcher { owner: config.owner, severity: config.severity.unwrap_or_default(), patterns, found }))
}

impl Matcher {
    fn reset(&mut self) {
        self.found.fill(None);
    }

    /// A later pattern has the first word, and goes on from what those before it have found.
    fn read(&mut self, line: &str) -> Option<Problem> {
        let last = self.patterns.len().checked_sub(1)?;
        for i in (0..=last).rev() {
            let before = match i {
                0 => None,
                _ => match self.found[i - 1].clone() {
                    Some(found) => Some(found),
                    None => continue,
                },
            };
            let (regex, pattern) = &self.patterns[i];
            let found = regex.captures(line).map(|groups| joined(before.clone(), pattern, &groups));
            if i < last {
                self.found[i] = found;
                continue;
            }
            let Some(mut found) = found else {
                if i > 0 {
                    self.found[i - 1] = None;
                }
                continue;
            };
            let repeat = pattern.repeat;
            self.reset();
            if repeat && i > 0 {
                self.found[i - 1] = before;
            }
            if found.severity.as_ref().is_none_or(String::is_empty) && !self.severity.is_empty() {
                found.severity = Some(self.severity.clone());
            }
            return Some(found);
        }
        None
    }
}

fn joined(before: Option<Problem>, pattern: &Pattern, groups: &regex::Captures<'_>) -> Problem {
    let before = before.unwrap_or_default();
    let group =
        |index: Option<usize>| index.map(|index| groups.get(index).map_or("", |found| found.as_str()).to_owned());
    Problem {
        severity: before.severity.or_else(|| group(pattern.severity)),
        file: before.file.or_else(|| group(pattern.file)),
        from_path: before.from_path.or_else(|| group(pattern.from_path)),
        line: before.line.or_else(|| group(pattern.line)),
        column: before.column.or_else(|| group(pattern.column)),
        code: before.code.or_else(|| group(pattern.code)),
        message: before.message.or_else(|| group(pattern.message)),
    }
}

/// The line without what colours it on a terminal.
pub fn strip_colours(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.peek() == Some(&'[') {
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Matchers {
        let mut matchers = Matchers::default();
        assert_eq!(matchers.add(json), Ok(Vec::new()), "{json}");
        matchers
    }

    fn text(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or("-")
    }

    #[test]
    fn one_line_and_looped_patterns() {
        let mut matchers = of(
            r#"{"problemMatcher": [{"owner": "gcc", "pattern": [{"regexp": "^(.*):(\\d+):(\\d+): (warning|error): (.*)$", "file": 1, "line": 2, "column": 3, "severity": 4, "message": 5}]},
                {"owner": "eslint", "pattern": [{"regexp": "^(\\S+\\.js)$", "file": 1}, {"regexp": "^\\s+(\\d+):(\\d+)\\s+(error|warning)\\s+(.*)$", "line": 1, "column": 2, "severity": 3, "message": 4, "loop": true}]}]}"#,
        );
        let found = matchers.read("\u{1b}[31ma.c:3:4: warning: odd\u{1b}[0m").unwrap();
        assert_eq!((text(&found.file), text(&found.line), text(&found.severity)), ("a.c", "3", "warning"));
        assert_eq!(matchers.read("test.js"), None);
        assert_eq!(text(&matchers.read("  1:0  error  one").unwrap().file), "test.js");
        assert_eq!(text(&matchers.read("  2:0  warning  two").unwrap().line), "2");
        assert_eq!(matchers.read(""), None);
        assert_eq!(matchers.read("  2:0  warning  two"), None);
        // A match of one matcher breaks off what others have begun.
        assert_eq!(matchers.read("test.js"), None);
        assert!(matchers.read("a.c:3:4: warning: odd").is_some());
        assert_eq!(matchers.read("  1:0  error  one"), None);
        matchers.remove("GCC");
        assert_eq!(matchers.read("a.c:3:4: warning: odd"), None);
        assert_eq!(matchers.read("test.js"), None);
        matchers.reset();
        assert_eq!(matchers.read("  1:0  error  one"), None);
    }

    #[test]
    fn three_patterns_overlap() {
        let mut matchers = of(r#"{"problemMatcher": [{"owner": "o", "severity": "notice", "pattern": [
            {"regexp": "^file (.*)$", "file": 1}, {"regexp": "^code (.*)$", "code": 1}, {"regexp": "^message (.*)$", "message": 1}]}]}"#);
        for line in ["file a", "code 1", "file b", "code 2"] {
            assert_eq!(matchers.read(line), None);
        }
        let found = matchers.read("message m").unwrap();
        assert_eq!((text(&found.file), text(&found.code), text(&found.severity)), ("b", "2", "notice"));
        assert_eq!(matchers.read("message again"), None);
        // The newest matcher of an owner counts, and newer ones are asked first.
        let newer = r#"{"problemMatcher": [{"owner": "p", "pattern": [{"regexp": "^(mess.*)$", "message": 1}]}]}"#;
        matchers.add(newer).unwrap();
        assert_eq!(text(&matchers.read("message x").unwrap().message), "message x");
        matchers.remove_file(newer).unwrap();
        assert_eq!(matchers.read("message x"), None);
    }

    #[test]
    fn what_is_wrong_with_a_file() {
        for (json, problem) in [
            ("7", "not valid"),
            (
                r#"{"problemMatcher": [{"owner": "", "pattern": [{"regexp": "(.)", "message": 1}]}]}"#,
                "Owner must not be empty",
            ),
            (r#"{"problemMatcher": [{"owner": "a", "pattern": []}]}"#, "does not contain any patterns"),
            (
                r#"{"problemMatcher": [{"owner": "a", "severity": "bad", "pattern": [{"regexp": "(.)", "message": 1}]}]}"#,
                "severity 'bad'",
            ),
            (
                r#"{"problemMatcher": [{"owner": "a", "pattern": [{"regexp": "(.)", "file": 1}]}]}"#,
                "must set 'message'",
            ),
            (
                r#"{"problemMatcher": [{"owner": "a", "pattern": [{"regexp": "(.)", "message": 2}]}]}"#,
                "'message' is set to 2",
            ),
            (
                r#"{"problemMatcher": [{"owner": "a", "pattern": [{"regexp": "(.)", "message": 1, "loop": true}]}]}"#,
                "Only the last",
            ),
            (
                r#"{"problemMatcher": [{"owner": "a", "pattern": [{"regexp": "(.)", "file": 1}, {"regexp": "(.)", "file": 1, "message": 1}]}]}"#,
                "'file' is set twice",
            ),
            (
                r#"{"problemMatcher": [{"owner": "a", "pattern": [{"regexp": "(.)", "message": 1}]}, {"owner": "A", "pattern": [{"regexp": "(.)", "message": 1}]}]}"#,
                "Duplicate owner",
            ),
        ] {
            let error = Matchers::default().add(json).unwrap_err();
            assert!(error.contains(problem), "{json}: {error}");
        }
        let mut matchers = Matchers::default();
        let warnings = matchers
            .add(r#"{"problemMatcher": [{"owner": "a", "pattern": [{"regexp": "^(?!x)(.*)$", "message": 1}]}]}"#);
        assert!(warnings.unwrap()[0].contains("'a' is left out"));
        assert_eq!(matchers.add("{}"), Ok(Vec::new()));
    }
}
