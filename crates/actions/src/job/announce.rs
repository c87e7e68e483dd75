//! Annotations: from commands, and from what problem matchers read off a tool's output. Pure.

use super::matchers::Problem;
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

/// How many characters of a message an annotation keeps, as on GitHub; the log has all of it.
const LONGEST: usize = 4096;

/// The annotation of an `error`, `warning` or `notice` command.
pub fn from_command(command: &Command) -> Annotation {
    let number = |name: &str| command.property(name).and_then(|text| text.parse().ok());
    let place = placed([number("line"), number("endLine"), number("col"), number("endColumn")]);
    Annotation {
        level: level(&command.name).to_owned(),
        message: shortened(&command.data),
        title: command.property("title").map(str::to_owned),
        file: command.property("file").filter(|file| !file.is_empty()).map(str::to_owned),
        line: place[0],
        end_line: place[1],
        column: place[2],
        end_column: place[3],
    }
}

/// The annotation of a problem, without its file; none when it has no message or an unknown severity.
pub fn from_problem(problem: &Problem) -> Option<Annotation> {
    let number = |text: &Option<String>| {
        text.as_ref().filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok())
    };
    let message = problem.message.as_deref().filter(|message| !message.trim().is_empty())?;
    let severity = problem.severity.as_deref().unwrap_or_default().to_ascii_lowercase();
    let level = match severity.as_str() {
        "" => "failure",
        "error" | "warning" | "notice" => level(&severity),
        _ => return None,
    };
    let code = problem.code.as_deref().map(str::trim).filter(|code| !code.is_empty());
    Some(Annotation {
        title: code.map(str::to_owned),
        line: number(&problem.line),
        column: number(&problem.column),
        ..plain(level, &shortened(message))
    })
}

/// First line, last line, first column, last column: what contradicts itself is left out.
fn placed([mut line, mut end_line, mut column, mut end_column]: [Option<u64>; 4]) -> [Option<u64>; 4] {
    line = line.or(end_line);
    column = column.or(end_column);
    if line.is_none() || end_line.is_some_and(|end| Some(end) != line) {
        (column, end_column) = (None, None);
    }
    if end_line.is_some_and(|end| line.is_some_and(|line| end < line)) {
        (line, end_line) = (None, None);
    }
    if end_column.is_some_and(|end| column.is_some_and(|column| end < column)) {
        (column, end_column) = (None, None);
    }
    [line, end_line, column, end_column]
}

fn shortened(message: &str) -> String {
    message.chars().take(LONGEST).collect()
}

fn level(word: &str) -> &'static str {
    match word {
        "error" => "failure",
        "warning" => "warning",
        _ => "notice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_contradict_themselves() {
        let place = |line: &str| {
            let found = from_command(&crate::commands::parse(line).unwrap());
            [found.line, found.end_line, found.column, found.end_column]
        };
        for (properties, expected) in [
            ("line=1,endLine=2", [Some(1), Some(2), None, None]),
            ("line=1,endLine=2,col=3", [Some(1), Some(2), None, None]),
            ("line=1,endLine=1,col=3,endColumn=5", [Some(1), Some(1), Some(3), Some(5)]),
            ("line=1,col=5,endColumn=3", [Some(1), None, None, None]),
            ("line=2,endLine=1", [None, None, None, None]),
            ("endLine=4", [Some(4), Some(4), None, None]),
            ("line=1,endColumn=4", [Some(1), None, Some(4), Some(4)]),
            ("col=1", [None, None, None, None]),
            ("line=x,col=1", [None, None, None, None]),
        ] {
            assert_eq!(place(&format!("::error {properties}::x")), expected, "{properties}");
        }
    }

    #[test]
    fn problems() {
        let of = |severity: &str, message: &str| {
            let text = |text: &str| Some(text.to_owned());
            from_problem(&Problem {
                severity: text(severity),
                message: text(message),
                line: text("12"),
                column: text("x"),
                code: text(" E1 "),
                ..Problem::default()
            })
        };
        let found = of("Warning", "odd").unwrap();
        assert_eq!(
            (found.level.as_str(), found.line, found.column, found.title.as_deref()),
            ("warning", Some(12), None, Some("E1"))
        );
        assert_eq!(of("", "odd").unwrap().level, "failure");
        assert_eq!(of("info", "odd"), None);
        assert_eq!(of("error", " "), None);
    }
}
