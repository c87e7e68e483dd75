//! Annotations: from commands, and from problem matchers that read them off a tool's output.

use regex::Regex;
use serde::Deserialize;

use crate::commands::Command;
use crate::model::Annotation;

/// An annotation with nothing but a message.
pub fn plain(level: &str, message: &str) -> Annotation {
    Annotation {
        level: level.to_owned(),
        message: message.to_owned(),
        title: None,
        file: None,
        line: None,
        end_line: None,
        column: None,
        end_column: None,
    }
}

/// The annotation of an `error`, `warning` or `notice` command.
pub fn from_command(command: &Command) -> Annotation {
    let number = |name: &str| command.property(name).and_then(|text| text.parse().ok());
    Annotation {
        level: level(&command.name).to_owned(),
        message: command.data.clone(),
        title: command.property("title").map(str::to_owned),
        file: command.property("file").map(str::to_owned),
        line: number("line"),
        end_line: number("endLine"),
        column: number("col"),
        end_column: number("endColumn"),
    }
}

fn level(word: &str) -> &'static str {
    match word {
        "error" => "failure",
        "warning" => "warning",
        _ => "notice",
    }
}

/// The problem matchers in force.
#[derive(Debug, Default, Clone)]
pub struct Matchers {
    list: Vec<Matcher>,
}

#[derive(Debug, Clone)]
struct Matcher {
    owner: String,
    severity: String,
    patterns: Vec<(Regex, Pattern)>,
    /// What the patterns before the last found so far.
    state: Vec<Annotation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MatcherFile {
    problem_matcher: Vec<MatcherConfig>,
}

#[derive(Deserialize)]
struct MatcherConfig {
    owner: String,
    #[serde(default)]
    severity: Option<String>,
    pattern: Vec<Pattern>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pattern {
    regexp: String,
    #[serde(default)]
    file: Option<usize>,
    #[serde(default)]
    line: Option<usize>,
    #[serde(default)]
    column: Option<usize>,
    #[serde(default)]
    severity: Option<usize>,
    #[serde(default)]
    code: Option<usize>,
    #[serde(default)]
    message: Option<usize>,
    #[serde(default, rename = "loop")]
    repeat: bool,
}

impl Matchers {
    /// Adds the matchers of a file; a matcher of the same owner is replaced.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let file: MatcherFile =
            serde_json::from_str(text).map_err(|error| format!("the problem matcher is not valid: {error}"))?;
        for config in file.problem_matcher {
            let mut patterns = Vec::new();
            for pattern in config.pattern {
                let regex = Regex::new(&pattern.regexp).map_err(|error| {
                    format!("the problem matcher '{}' has a pattern that is not supported: {error}", config.owner)
                })?;
                patterns.push((regex, pattern));
            }
            self.remove(&config.owner);
            self.list.push(Matcher {
                owner: config.owner,
                severity: config.severity.unwrap_or_else(|| "error".to_owned()),
                patterns,
                state: Vec::new(),
            });
        }
        Ok(())
    }

    /// Adds the matchers of owners that have none here.
    pub fn join(&mut self, other: Self) {
        for matcher in other.list {
            if !self.list.iter().any(|known| known.owner == matcher.owner) {
                self.list.push(matcher);
            }
        }
    }

    /// Takes the matchers of an owner away.
    pub fn remove(&mut self, owner: &str) {
        self.list.retain(|matcher| matcher.owner != owner);
    }

    /// What a line of output announces.
    pub fn read(&mut self, line: &str) -> Option<Annotation> {
        if self.list.is_empty() {
            return None;
        }
        let line = strip_ansi(line);
        self.list.iter_mut().find_map(|matcher| matcher.read(&line))
    }
}

impl Matcher {
    fn read(&mut self, line: &str) -> Option<Annotation> {
        let last = self.patterns.len().checked_sub(1)?;
        let stage = self.state.len().min(last);
        let (regex, pattern) = &self.patterns[stage];
        let Some(found) = regex.captures(line) else {
            self.state.clear();
            if stage > 0 {
                return self.read(line);
            }
            return None;
        };
        let group = |index: Option<usize>| {
            index.and_then(|i| found.get(i)).map(|m| m.as_str().to_owned()).filter(|text| !text.is_empty())
        };
        let mut annotation = self.state.last().cloned().unwrap_or_else(|| plain(level(&self.severity), ""));
        annotation.file = group(pattern.file).or(annotation.file);
        annotation.line = group(pattern.line).and_then(|text| text.parse().ok()).or(annotation.line);
        annotation.column = group(pattern.column).and_then(|text| text.parse().ok()).or(annotation.column);
        annotation.title = group(pattern.code).or(annotation.title);
        if let Some(word) = group(pattern.severity) {
            level(&word.to_ascii_lowercase()).clone_into(&mut annotation.level);
        }
        if let Some(message) = group(pattern.message) {
            annotation.message = message;
        }
        if stage < last {
            self.state.push(annotation);
            return None;
        }
        if !pattern.repeat {
            self.state.clear();
        }
        (!annotation.message.is_empty()).then_some(annotation)
    }
}

fn strip_ansi(line: &str) -> String {
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

    #[test]
    fn one_line_and_looped_patterns() {
        let mut matchers = Matchers::default();
        matchers
            .add(r#"{"problemMatcher": [{"owner": "gcc", "pattern": [{"regexp": "^(.*):(\\d+):(\\d+): (warning|error): (.*)$", "file": 1, "line": 2, "column": 3, "severity": 4, "message": 5}]},
                {"owner": "eslint", "pattern": [{"regexp": "^(\\S+\\.js)$", "file": 1}, {"regexp": "^\\s+(\\d+):(\\d+)\\s+(error|warning)\\s+(.*)$", "line": 1, "column": 2, "severity": 3, "message": 4, "loop": true}]}]}"#)
            .unwrap();
        let found = matchers.read("\u{1b}[31ma.c:3:4: warning: odd\u{1b}[0m").unwrap();
        assert_eq!((found.file.as_deref(), found.line, found.level.as_str()), (Some("a.c"), Some(3), "warning"));
        assert_eq!(matchers.read("test.js"), None);
        assert_eq!(matchers.read("  1:0  error  one").unwrap().file.as_deref(), Some("test.js"));
        assert_eq!(matchers.read("  2:0  warning  two").unwrap().line, Some(2));
        assert_eq!(matchers.read(""), None);
        assert_eq!(matchers.read("  2:0  warning  two"), None);
        matchers.remove("gcc");
        assert_eq!(matchers.read("a.c:3:4: warning: odd"), None);
        assert!(matchers.add("{}").is_err());
    }
}
