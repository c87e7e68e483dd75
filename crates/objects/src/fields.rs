//! Field selectors: `metadata.name=x,status.phase!=Running`.

use std::fmt;

/// A conjunction of equalities and inequalities on fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Dotted field path, such as `spec.nodeName`.
    pub field: String,
    /// The value to compare with.
    pub value: String,
    /// Whether the field must equal the value (or must not).
    pub equal: bool,
}

/// A field selector that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid selector: {text:?}; can't understand {part:?}")]
pub struct Error {
    /// The whole selector.
    pub text: String,
    /// The part at fault.
    pub part: String,
}

impl FieldSelector {
    /// Parses the text form; the empty text selects everything. `\\`, `\,` and `\=` escape in values.
    ///
    /// # Errors
    /// A part has no operator or a bad escape.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let fail = || Error { text: text.to_owned(), part: part.to_owned() };
            let at = part.find(['=', '!']).ok_or_else(fail)?;
            let (field, rest) = part.split_at(at);
            let (equal, raw) = if let Some(raw) = rest.strip_prefix("!=") {
                (false, raw)
            } else if let Some(raw) = rest.strip_prefix("==") {
                (true, raw)
            } else if let Some(raw) = rest.strip_prefix('=') {
                (true, raw)
            } else {
                return Err(fail());
            };
            terms.push(Term { field: field.trim().to_owned(), value: unescape(raw).ok_or_else(fail)?, equal });
        }
        Ok(Self { terms })
    }

    /// Whether every term holds, with the field's value looked up by path. A field that is missing is the empty string.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|t| (lookup(&t.field).unwrap_or("") == t.value) == t.equal)
    }

    /// Its terms.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that this field must equal, when a term says so.
    pub fn requires(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.field == field).map(|t| t.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('\\' | ',' | '=') => out.push(c),
                _ => return None,
            },
            '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let lookup = |f: &str| match f {
            "metadata.name" => Some("a"),
            "v" => Some("x,y=z\\"),
            _ => None,
        };
        for (text, want) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,spec.nodeName=", true),
            ("metadata.name!=a", false),
            ("spec.nodeName!=", false),
            ("v=x\\,y\\=z\\\\", true),
        ] {
            let selector = FieldSelector::parse(text).unwrap();
            assert_eq!(selector.matches(lookup), want, "{text}");
            assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }
        for text in ["a", "a!b", "a=b=c", "a=\\x", "a=\\"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
    }
}
