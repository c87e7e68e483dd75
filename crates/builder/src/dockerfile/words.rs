//! Shell-like word expansion: quotes, escapes, `$name`, `${name:-word}`, `${name#pattern}`, `${name/pattern/with}`.
//!
//! Follows `shell/lex.go` of BuildKit. Pure: values come from a lookup function.

use regex::Regex;

use super::pattern::{shell_to_regex, trim, unescape};

/// What happens to quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// Removed; single quotes stop expansion.
    Process,
    /// Kept in the result, still obeyed.
    Keep,
    /// Ordinary characters: heredoc bodies.
    Ignore,
}

/// How to expand.
#[derive(Debug, Clone, Copy)]
pub struct Lex {
    /// The escape character.
    pub escape: char,
    /// Treatment of quotes.
    pub quotes: Quotes,
    /// Keep escape characters in the result.
    pub raw_escapes: bool,
    /// Leave references to unset variables as they are.
    pub skip_unset: bool,
}

impl Lex {
    /// The way instructions are expanded.
    pub fn new(escape: char) -> Lex {
        Lex { escape, quotes: Quotes::Process, raw_escapes: false, skip_unset: false }
    }

    /// The way heredoc bodies are expanded: quotes mean nothing.
    pub fn heredoc(escape: char) -> Lex {
        Lex { quotes: Quotes::Ignore, ..Lex::new(escape) }
    }

    /// Expands to one text.
    ///
    /// # Errors
    /// What is malformed: an unclosed quote or brace, an unknown modifier, or an unset variable under `:?`.
    pub fn word(&self, text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        self.run(text, lookup).map(|(whole, _)| whole)
    }

    /// Expands and splits at white space that is not quoted.
    ///
    /// # Errors
    /// As [`Lex::word`].
    pub fn words(&self, text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
        self.run(text, lookup).map(|(_, words)| words)
    }

    fn run(&self, text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(String, Vec<String>), String> {
        let mut scan = Scan { lex: *self, chars: text.chars().collect(), at: 0, lookup, depth: 0 };
        scan.until(None, self.raw_escapes).map_err(|wrong| match wrong {
            Stop::End(looking_for) => format!("unexpected end of statement while looking for matching {looking_for}"),
            Stop::Message(message) => format!("failed to process {text:?}: {message}"),
        })
    }
}

enum Stop {
    End(&'static str),
    Message(String),
}

struct Scan<'a> {
    lex: Lex,
    chars: Vec<char>,
    at: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

/// Collects words beside the whole text.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
    open: bool,
}

impl Words {
    fn raw(&mut self, text: &str) {
        self.current.push_str(text);
        self.open = true;
    }

    fn split(&mut self, c: char) {
        if c.is_whitespace() {
            if self.open {
                self.done.push(std::mem::take(&mut self.current));
                self.open = false;
            }
        } else {
            self.current.push(c);
            self.open = true;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.open {
            self.done.push(self.current);
        }
        self.done
    }
}

impl Scan<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), Stop> {
        let mut whole = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.at += 1;
                return Ok((whole, words.finish()));
            }
            match c {
                '$' => {
                    let text = self.dollar()?;
                    text.chars().for_each(|c| words.split(c));
                    whole.push_str(&text);
                }
                '\'' if self.lex.quotes != Quotes::Ignore => {
                    let text = self.single_quote()?;
                    words.raw(&text);
                    whole.push_str(&text);
                }
                '"' if self.lex.quotes != Quotes::Ignore => {
                    let text = self.double_quote()?;
                    words.raw(&text);
                    whole.push_str(&text);
                }
                c if c == self.lex.escape => {
                    self.at += 1;
                    if raw_escapes {
                        words.raw(&c.to_string());
                        whole.push(c);
                    }
                    if let Some(next) = self.next() {
                        // In a heredoc only `$` and the escape itself are escaped; otherwise the escape stays.
                        let literal = self.lex.quotes == Quotes::Ignore && next != '$' && next != self.lex.escape;
                        if literal {
                            words.raw(&c.to_string());
                            whole.push(c);
                        }
                        words.raw(&next.to_string());
                        whole.push(next);
                    }
                }
                c => {
                    self.at += 1;
                    words.split(c);
                    whole.push(c);
                }
            }
        }
        match stop {
            Some(_) => Err(Stop::End("}")),
            None => Ok((whole, words.finish())),
        }
    }

    fn single_quote(&mut self) -> Result<String, Stop> {
        let mut out = String::new();
        self.at += 1;
        let keep = self.lex.quotes == Quotes::Keep;
        if keep {
            out.push('\'');
        }
        loop {
            match self.next() {
                None => return Err(Stop::End("single-quote")),
                Some('\'') => {
                    if keep {
                        out.push('\'');
                    }
                    return Ok(out);
                }
                Some(c) => out.push(c),
            }
        }
    }

    fn double_quote(&mut self) -> Result<String, Stop> {
        let mut out = String::new();
        self.at += 1;
        let keep = self.lex.quotes == Quotes::Keep;
        if keep {
            out.push('"');
        }
        loop {
            match self.peek() {
                None => return Err(Stop::End("double-quote")),
                Some('"') => {
                    self.at += 1;
                    if keep {
                        out.push('"');
                    }
                    return Ok(out);
                }
                Some('$') => out.push_str(&self.dollar()?),
                Some(c) => {
                    self.at += 1;
                    if c != self.lex.escape {
                        out.push(c);
                        continue;
                    }
                    if self.lex.raw_escapes {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) => {
                            let special = matches!(next, '"' | '$') || next == self.lex.escape;
                            if !special && !self.lex.raw_escapes {
                                out.push(c);
                            }
                            self.at += 1;
                            out.push(next);
                        }
                    }
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, Stop> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match (self.lookup)(&name) {
                Some(value) => value,
                None if self.lex.skip_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.at += 1;
        self.depth += 1;
        if self.depth > 64 {
            return Err(Stop::Message("substitutions are nested too deeply".to_owned()));
        }
        let out = self.braces();
        self.depth -= 1;
        out
    }

    fn braces(&mut self) -> Result<String, Stop> {
        let message = |text: &str| Stop::Message(text.to_owned());
        match self.peek() {
            None => return Err(message("syntax error: missing '}'")),
            Some('{' | '}' | ':') => return Err(message("syntax error: bad substitution")),
            _ => {}
        }
        let name = self.name();
        let value = (self.lookup)(&name);
        let Some(first) = self.next() else { return Err(message("syntax error: missing '}'")) };
        let mut operator = first.to_string();
        let mut null_is_unset = false;
        let mut modifier = first;
        if first == '}' {
            return Ok(match value {
                Some(value) => value,
                None if self.lex.skip_unset => format!("${{{name}}}"),
                None => String::new(),
            });
        }
        if first == ':' {
            null_is_unset = true;
            let Some(next) = self.next() else { return Err(message("syntax error: missing '}'")) };
            modifier = next;
            operator.push(next);
        }
        let missing = value.is_none() || (null_is_unset && value.as_deref() == Some(""));
        let allowed = match modifier {
            '+' | '-' | '?' => true,
            '#' | '%' | '/' => !null_is_unset,
            _ => false,
        };
        if !allowed {
            return Err(Stop::Message(format!("unsupported modifier ({operator}) in substitution")));
        }
        if modifier == '/' {
            return self.replace(&name, value);
        }
        let raw = matches!(modifier, '#' | '%');
        let (word, _) = self.until(Some('}'), raw || self.lex.raw_escapes).map_err(|wrong| match wrong {
            Stop::End("}") => message("syntax error: missing '}'"),
            other => other,
        })?;
        if self.lex.skip_unset && value.is_none() {
            return Ok(format!("${{{name}{operator}{word}}}"));
        }
        match modifier {
            '-' => Ok(if missing { word } else { value.unwrap_or_default() }),
            '+' => Ok(if missing { String::new() } else { word }),
            '?' => {
                if !missing {
                    return Ok(value.unwrap_or_default());
                }
                let why = match (&value, word.is_empty()) {
                    (_, false) => word,
                    (None, true) => "is not allowed to be unset".to_owned(),
                    (Some(_), true) => "is not allowed to be empty".to_owned(),
                };
                Err(Stop::Message(format!("{name}: {why}")))
            }
            side => {
                let value = value.unwrap_or_default();
                let (greedy, pattern) = match word.strip_prefix(side) {
                    Some(rest) => (true, rest.to_owned()),
                    None => (false, word),
                };
                trim(&value, &pattern, side == '#', greedy).map_err(Stop::Message)
            }
        }
    }

    fn replace(&mut self, name: &str, value: Option<String>) -> Result<String, Stop> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let missing = |wrong| match wrong {
            Stop::End(_) => Stop::Message("syntax error: missing '/' in ${".to_owned()),
            other => other,
        };
        let (pattern, _) = self.until(Some('/'), true).map_err(missing)?;
        let (with, _) = self.until(Some('}'), true).map_err(|wrong| match wrong {
            Stop::End(_) => Stop::Message("syntax error: missing '}'".to_owned()),
            other => other,
        })?;
        let Some(value) = value else {
            let slash = if all { "//" } else { "/" };
            return Ok(if self.lex.skip_unset { format!("${{{name}{slash}{pattern}/{with}}}") } else { String::new() });
        };
        let regex = Regex::new(&shell_to_regex(&pattern, true)).map_err(|wrong| Stop::Message(wrong.to_string()))?;
        let with = unescape(&with, self.lex.escape);
        let with = regex::NoExpand(&with);
        Ok(if all { regex.replace_all(&value, with).into_owned() } else { regex.replace(&value, with).into_owned() })
    }

    fn name(&mut self) -> String {
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if out.is_empty() {
                if c.is_ascii_digit() {
                    while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
                        self.at += 1;
                        out.push(digit);
                    }
                    return out;
                }
                if matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                    self.at += 1;
                    return c.to_string();
                }
            }
            if !(c.is_alphanumeric() || c == '_') {
                break;
            }
            self.at += 1;
            out.push(c);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "PWD" => Some("/home".to_owned()),
            "KOREAN" => Some("한국어".to_owned()),
            "NULL" => Some(String::new()),
            "two" => Some("a b".to_owned()),
            "f" => Some("foobarfoobaz".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn expands_as_the_reference_does() {
        let cases = [
            ("hello", "hello"),
            ("he'll'o", "hello"),
            ("he'llo$PWD'", "hello$PWD"),
            ("'hello\\there'", "hello\\there"),
            ("\"\"", ""),
            ("\"$PWD\"", "/home"),
            ("\"hello\\\"x\"", "hello\"x"),
            ("\"a\\z\"", "a\\z"),
            ("$", "$"),
            ("$PWD1x", ""),
            ("${PWD}x", "/homex"),
            ("\\$PWD", "$PWD"),
            ("he\\$PWD", "he$PWD"),
            ("he$1xx", "hexx"),
            ("he$.", "he$."),
            ("${XX:-${PWD}:AA}", "/home:AA"),
            ("${PWD:+${KOREAN}}", "한국어"),
            ("${NULL-x}", ""),
            ("${NULL:-x}", "x"),
            ("${NULL+x}", "x"),
            ("${NULL:+x}", ""),
            ("${f#foo*}", "barfoobaz"),
            ("${f##*foo}", "baz"),
            ("${f%foo*}", "foobar"),
            ("${f%%foo*}", ""),
            ("${f/foo/X}", "Xbarfoobaz"),
            ("${f//foo/X}", "XbarXbaz"),
            ("${f//ba?/}", "foofoo"),
            ("안녕${XX:-\\$PWD:}xx", "안녕$PWD:xx"),
        ];
        let lex = Lex::new('\\');
        for (input, expected) in cases {
            assert_eq!(lex.word(input, &lookup).unwrap(), expected, "{input}");
        }
    }

    #[test]
    fn refuses_what_the_reference_refuses() {
        let lex = Lex::new('\\');
        for wrong in ["'a", "\"a", "${", "${}", "${:x}", "${a", "${XX:?}", "${XX?told}", "${a:z}", "${a!b}", "${a:#b}"]
        {
            assert!(lex.word(wrong, &lookup).is_err(), "{wrong}");
        }
        assert!(lex.word("${XX?told}", &lookup).unwrap_err().contains("XX: told"));
    }

    #[test]
    fn splits_expanded_words_but_not_quoted_ones() {
        let lex = Lex::new('\\');
        assert_eq!(lex.words("$two \"$two\" c\\ d", &lookup).unwrap(), ["a", "b", "a b", "c d"]);
        assert_eq!(lex.words("  ", &lookup).unwrap(), Vec::<String>::new());
        assert_eq!(lex.words("'' x", &lookup).unwrap(), ["", "x"]);
    }

    #[test]
    fn heredoc_bodies_keep_quotes() {
        let lex = Lex::heredoc('\\');
        assert_eq!(lex.word("it's \"$PWD\" \\$PWD \\n", &lookup).unwrap(), "it's \"/home\" $PWD \\n");
    }
}
