//! The `name=value` words of `ENV`, `LABEL` and `ARG`, in their new and their old form.

use super::ast::KeyValue;

/// Splits at white space outside quotes; quotes and escapes stay in the words.
fn raw_words(text: &str, escape: char) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut open = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if open {
                    out.push(std::mem::take(&mut word));
                    open = false;
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (q, c) if c == escape && q != Some('\'') => {
                word.push(c);
                open = true;
                if let Some(next) = chars.next() {
                    word.push(next);
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
        open = true;
    }
    if open {
        out.push(word);
    }
    out
}

pub(super) fn pairs(name: &str, args: &str, escape: char) -> Result<Vec<KeyValue>, String> {
    let words = raw_words(args, escape);
    let first = words.first().ok_or_else(|| format!("{name} requires at least one argument"))?;
    if !first.contains('=') {
        let (key, value) =
            args.split_once(char::is_whitespace).ok_or_else(|| format!("{name} must have two arguments"))?;
        return Ok(vec![KeyValue { key: key.to_owned(), value: Some(value.trim_start().to_owned()) }]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
            Some((key, _)) if key.trim_matches(['"', '\'']).is_empty() => Err(format!("{name} names can not be blank")),
            Some((key, value)) => Ok(KeyValue { key: key.to_owned(), value: Some(value.to_owned()) }),
        })
        .collect()
}

pub(super) fn arguments(args: &str, escape: char) -> Result<Vec<KeyValue>, String> {
    raw_words(args, escape)
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err("ARG names can not be blank".to_owned()),
            Some((key, value)) => Ok(KeyValue { key: key.to_owned(), value: Some(value.to_owned()) }),
            None => Ok(KeyValue { key: word.clone(), value: None }),
        })
        .collect()
}
