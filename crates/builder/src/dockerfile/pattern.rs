//! Shell patterns in substitutions: `${name#pattern}`, `${name%pattern}`, `${name/pattern/with}`.

use regex::Regex;

/// Text without its escape characters.
pub(super) fn unescape(text: &str, escape: char) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match chars.clone().next() {
            Some(next) if c == escape => {
                chars.next();
                out.push(next);
            }
            _ => out.push(c),
        }
    }
    out
}

pub(super) fn trim(value: &str, pattern: &str, prefix: bool, greedy: bool) -> Result<String, String> {
    if prefix {
        let regex =
            Regex::new(&format!("^(?:{})", shell_to_regex(pattern, greedy))).map_err(|wrong| wrong.to_string())?;
        return Ok(regex.replace(value, "").into_owned());
    }
    let regex = Regex::new(&format!("^(?s:{})$", shell_to_regex(pattern, true))).map_err(|wrong| wrong.to_string())?;
    let starts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    let found = |at: &&usize| regex.is_match(&value[**at..]);
    let cut = if greedy { starts.iter().find(found) } else { starts.iter().rev().find(found) };
    Ok(cut.map_or(value, |at| &value[..*at]).to_owned())
}

/// A shell pattern (`*`, `?`, `\x`) as a regular expression.
pub(super) fn shell_to_regex(pattern: &str, greedy: bool) -> String {
    let mut out = String::from("(?s)");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' if greedy => out.push_str(".*"),
            '*' => out.push_str(".*?"),
            '?' => out.push('.'),
            '\\' => match chars.next() {
                Some(next) => out.push_str(&regex::escape(&next.to_string())),
                None => out.push_str("\\\\"),
            },
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out
}
