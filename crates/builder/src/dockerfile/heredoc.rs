//! Recognises `<<NAME` words in an instruction.

use super::ast::Heredoc;
use super::words::{Lex, Quotes};

/// Only these instructions take heredocs, and only in their shell form.
pub(super) fn allowed(line: &str) -> bool {
    let mut rest = line.trim_start();
    loop {
        let word = rest.split_whitespace().next().unwrap_or("");
        rest = rest[word.len()..].trim_start();
        match word.to_ascii_uppercase().as_str() {
            "ONBUILD" => rest = rest.trim_start(),
            "ADD" | "COPY" | "RUN" => break,
            _ => return false,
        }
    }
    while rest.starts_with("--") {
        let word = rest.split_whitespace().next().unwrap_or("");
        rest = rest[word.len()..].trim_start();
    }
    serde_json::from_str::<Vec<String>>(rest).is_err()
}

/// The heredocs that a line announces, with empty content, in order.
pub(super) fn in_line(line: &str) -> Vec<Heredoc> {
    let lex = Lex { escape: '\\', quotes: Quotes::Keep, raw_escapes: true, skip_unset: true };
    let Ok(words) = lex.words(line, &|_: &str| None) else { return Vec::new() };
    words.iter().filter_map(|word| word_heredoc(word)).collect()
}

/// Reads one word as a heredoc marker: `[fd]<<[-]NAME`, where a quoted name turns expansion off.
pub(crate) fn word_heredoc(word: &str) -> Option<Heredoc> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (fd, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let plain = Lex { escape: '\\', quotes: Quotes::Process, raw_escapes: false, skip_unset: true };
    let raw = Lex { escape: '\\', quotes: Quotes::Keep, raw_escapes: true, skip_unset: true };
    let names = plain.words(rest, &|_: &str| None).ok()?;
    let raws = raw.words(rest, &|_: &str| None).ok()?;
    let [name] = names.as_slice() else { return None };
    if name.is_empty() {
        return None;
    }
    Some(Heredoc {
        name: name.clone(),
        expand: raws.first() == Some(name),
        chomp,
        fd: fd.parse().unwrap_or(0),
        content: String::new(),
    })
}
