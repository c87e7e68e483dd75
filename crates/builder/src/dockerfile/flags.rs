//! Splits the `--flag[=value]` words off the front of an instruction's arguments.

/// One flag: name without dashes, and its value when there was an `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    pub name: String,
    pub value: Option<String>,
}

/// Flags at the start of `line`, and the rest. Quotes group, the escape character `\` takes the next character as it is.
pub(super) fn extract(line: &str) -> (Vec<Flag>, String) {
    let mut flags = Vec::new();
    let mut rest = line.trim_start();
    loop {
        if !rest.starts_with("--") {
            return (flags, rest.trim().to_owned());
        }
        let (word, after) = word(rest);
        if word == "--" {
            return (flags, after.trim().to_owned());
        }
        let body = word.trim_start_matches("--");
        flags.push(match body.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Flag { name: body.to_owned(), value: None },
        });
        rest = after.trim_start();
    }
}

fn word(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => return (out, &text[at..]),
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (_, '\\') => match chars.next() {
                Some((_, next)) => out.push(next),
                None => break,
            },
            (_, c) => out.push(c),
        }
    }
    (out, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_flags_until_the_first_other_word() {
        let (flags, rest) = extract("--from=a --link \"--chown=x y\" --not");
        assert_eq!(flags.len(), 2);
        assert_eq!(rest, "\"--chown=x y\" --not");
        let (flags, rest) = extract("--a='b c' -- --d");
        assert_eq!(flags[0].value.as_deref(), Some("b c"));
        assert_eq!(rest, "--d");
    }
}
