//! What Go's parser of regular expressions refuses, and with which words. Only asked when an expression does not compile.

/// The first thing that Go finds wrong, as its error says it; `None` when it would take the expression.
pub(super) fn of(pattern: &str) -> Option<String> {
    let mut parser = Parser { whole: pattern, groups: vec![Group::default()] };
    parser.run().err().map(|(kind, piece)| format!("error parsing regexp: {kind}: `{piece}`"))
}

type Wrong<'p> = (&'static str, &'p str);

const CLASS: &str = "invalid character class range";
const ESCAPE: &str = "invalid escape sequence";
const NAME: &str = "invalid named capture";
const PERL: &str = "invalid or unsupported Perl syntax";
const OPERATOR: &str = "invalid nested repetition operator";
const COUNT: &str = "invalid repeat count";
const ARGUMENT: &str = "missing argument to repetition operator";

/// Most repetitions of one thing, those of what it stands in counted too.
const MOST: u64 = 1000;

/// What stands in one group so far.
#[derive(Default)]
struct Group {
    /// Repetitions within the last thing; `None` when there is none that can be repeated.
    last: Option<u64>,
    /// The most repetitions within any of them.
    most: u64,
}

struct Parser<'p> {
    whole: &'p str,
    groups: Vec<Group>,
}

fn first(text: &str) -> Option<char> {
    text.chars().next()
}

fn skip(text: &str) -> &str {
    first(text).map_or("", |c| &text[c.len_utf8()..])
}

/// What stands before the rest.
fn upto<'p>(text: &'p str, rest: &str) -> &'p str {
    &text[..text.len() - rest.len()]
}

impl<'p> Parser<'p> {
    fn item(&mut self, repeats: u64) {
        if let Some(group) = self.groups.last_mut() {
            group.last = Some(repeats);
            group.most = group.most.max(repeats);
        }
    }

    fn run(&mut self) -> Result<(), Wrong<'p>> {
        let mut rest = self.whole;
        let mut last_repeat = "";
        while let Some(c) = first(rest) {
            let mut repeat = "";
            match c {
                '(' if rest[1..].starts_with('?') => rest = self.flags(rest)?,
                '(' => {
                    self.groups.push(Group::default());
                    rest = &rest[1..];
                }
                '|' => {
                    if let Some(group) = self.groups.last_mut() {
                        group.last = None;
                    }
                    rest = &rest[1..];
                }
                ')' => {
                    let closed = self.groups.pop().filter(|_| !self.groups.is_empty());
                    let Some(closed) = closed else { return Err(("unexpected )", self.whole)) };
                    self.item(closed.most);
                    rest = &rest[1..];
                }
                '[' => {
                    rest = class(rest)?;
                    self.item(1);
                }
                '*' | '+' | '?' => {
                    repeat = rest;
                    rest = self.repeat(rest, &rest[1..], 1, last_repeat)?;
                }
                '{' => match counts(rest) {
                    None => {
                        self.item(1);
                        rest = &rest[1..];
                    }
                    Some((least, most, after)) => {
                        if least > MOST || most.is_some_and(|most| most > MOST || least > most) {
                            return Err((COUNT, upto(rest, after)));
                        }
                        repeat = rest;
                        rest = self.repeat(rest, after, most.unwrap_or(least), last_repeat)?;
                    }
                },
                '\\' => {
                    rest = self.escaped(rest)?;
                }
                _ => {
                    self.item(1);
                    rest = skip(rest);
                }
            }
            last_repeat = repeat;
        }
        if self.groups.len() > 1 { Err(("missing closing )", self.whole)) } else { Ok(()) }
    }

    fn repeat(&mut self, before: &'p str, after: &'p str, times: u64, last: &'p str) -> Result<&'p str, Wrong<'p>> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if !last.is_empty() {
            return Err((OPERATOR, upto(last, after)));
        }
        let Some(inner) = self.groups.last().and_then(|g| g.last) else { return Err((ARGUMENT, upto(before, after))) };
        let repeats = inner * times.max(1);
        if repeats > MOST {
            return Err((COUNT, upto(before, after)));
        }
        self.item(repeats);
        Ok(after)
    }

    fn escaped(&mut self, text: &'p str) -> Result<&'p str, Wrong<'p>> {
        let rest = match text[1..].chars().next() {
            Some('A' | 'b' | 'B' | 'z') => &text[2..],
            Some('C') => return Err((ESCAPE, &text[..2])),
            Some('Q') => {
                let (literal, rest) = text[2..].split_once("\\E").unwrap_or((&text[2..], ""));
                if !literal.is_empty() {
                    self.item(1);
                }
                return Ok(rest);
            }
            Some('p' | 'P') => property(text)?,
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => &text[2..],
            _ => escape(text)?,
        };
        self.item(1);
        Ok(rest)
    }

    /// `(?`: a name, or flags.
    fn flags(&mut self, text: &'p str) -> Result<&'p str, Wrong<'p>> {
        let name = match text.as_bytes() {
            [_, _, b'P', b'<', _, ..] => Some(4),
            [_, _, b'<', _, ..] => Some(3),
            _ => None,
        };
        if let Some(from) = name {
            let Some(end) = text.find('>') else { return Err((NAME, text)) };
            let name = text.get(from..end).unwrap_or("");
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err((NAME, &text[..=end]));
            }
            self.groups.push(Group::default());
            return Ok(&text[end + 1..]);
        }
        let mut rest = &text[2..];
        let (mut minus, mut any) = (false, false);
        while let Some(c) = first(rest) {
            rest = skip(rest);
            match c {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if !minus => (minus, any) = (true, false),
                ':' | ')' if !minus || any => {
                    if c == ':' {
                        self.groups.push(Group::default());
                    }
                    return Ok(rest);
                }
                _ => break,
            }
        }
        Err((PERL, upto(text, rest)))
    }
}

/// `{n}`, `{n,}`, `{n,m}`: the counts and the rest.
fn counts(text: &str) -> Option<(u64, Option<u64>, &str)> {
    let (inner, after) = text[1..].split_once('}')?;
    let (least, most) =
        inner.split_once(',').map_or((inner, Some(inner)), |(l, m)| (l, Some(m).filter(|m| !m.is_empty())));
    let number = |t: &str| -> Option<u64> {
        let plain = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()) && (t.len() == 1 || !t.starts_with('0'));
        plain.then(|| t.parse().unwrap_or(u64::MAX))
    };
    let least = number(least)?;
    match most {
        None => Some((least, None, after)),
        Some(most) => Some((least, Some(number(most)?), after)),
    }
}

fn class(whole: &str) -> Result<&str, Wrong<'_>> {
    let mut rest = whole[1..].strip_prefix('^').unwrap_or(&whole[1..]);
    let mut begun = false;
    while !rest.starts_with(']') || !begun {
        begun = true;
        if rest.len() > 2
            && rest.starts_with("[:")
            && let Some(end) = rest[2..].find(":]")
        {
            let name = &rest[..end + 4];
            if !super::regexes::POSIX.contains(&name[2..name.len() - 2].trim_start_matches('^')) {
                return Err((CLASS, name));
            }
            rest = &rest[name.len()..];
            continue;
        }
        match rest.as_bytes() {
            [b'\\', b'p' | b'P', ..] => {
                rest = property(rest)?;
                continue;
            }
            [b'\\', b'd' | b'D' | b's' | b'S' | b'w' | b'W', ..] => {
                rest = &rest[2..];
                continue;
            }
            _ => {}
        }
        let range = rest;
        let (low, after) = member(rest, whole)?;
        rest = after;
        if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
            let (high, after) = member(&rest[1..], whole)?;
            rest = after;
            if high < low {
                return Err((CLASS, upto(range, rest)));
            }
        }
    }
    Ok(&rest[1..])
}

/// One character of a class.
fn member<'p>(text: &'p str, whole: &'p str) -> Result<(u32, &'p str), Wrong<'p>> {
    match first(text) {
        None => Err(("missing closing ]", whole)),
        Some('\\') => {
            let rest = escape(text)?;
            Ok((value(upto(text, rest)), rest))
        }
        Some(c) => Ok((c as u32, skip(text))),
    }
}

/// `\p{...}`, `\pL`
fn property(text: &str) -> Result<&str, Wrong<'_>> {
    let after = &text[2..];
    let (piece, name, rest) = if after.starts_with('{') {
        let Some(end) = text.find('}') else { return Err((CLASS, text)) };
        (&text[..=end], &text[3..end], &text[end + 1..])
    } else {
        let rest = skip(after);
        (upto(text, rest), upto(after, rest), rest)
    };
    let name = name.strip_prefix('^').unwrap_or(name);
    let known = name.chars().all(char::is_alphanumeric)
        && !name.is_empty()
        && (name == "Any" || regex::Regex::new(&format!("\\p{{{name}}}")).is_ok());
    if known { Ok(rest) } else { Err((CLASS, piece)) }
}

fn octal(c: Option<char>) -> bool {
    c.is_some_and(|c| ('0'..='7').contains(&c))
}

/// An escaped character: the rest after it.
fn escape(text: &str) -> Result<&str, Wrong<'_>> {
    let after = &text[1..];
    let Some(c) = first(after) else { return Err(("trailing backslash at end of expression", "")) };
    let mut rest = skip(after);
    match c {
        'a' | 'f' | 'n' | 'r' | 't' | 'v' => return Ok(rest),
        '0' | '1'..='7' if c == '0' || octal(first(rest)) => {
            for _ in 0..2 {
                if octal(first(rest)) {
                    rest = skip(rest);
                }
            }
            return Ok(rest);
        }
        'x' => {
            let mut digits = 0;
            if let Some(inner) = rest.strip_prefix('{') {
                rest = inner;
                let mut value = 0u32;
                while let Some(c) = first(rest) {
                    rest = skip(rest);
                    match c.to_digit(16) {
                        _ if c == '}' && digits > 0 => return Ok(rest),
                        Some(d) if value * 16 + d <= 0x10ffff => value = value * 16 + d,
                        _ => break,
                    }
                    digits += 1;
                }
            } else {
                let one = first(rest).and_then(|c| c.to_digit(16));
                rest = skip(rest);
                let other = first(rest).and_then(|c| c.to_digit(16));
                if !text[2..].is_empty() {
                    rest = skip(rest);
                }
                if one.is_some() && other.is_some() {
                    return Ok(rest);
                }
            }
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(rest),
        _ => {}
    }
    Err((ESCAPE, upto(text, rest)))
}

/// The character that an escape stands for.
fn value(escape: &str) -> u32 {
    let inner = escape.trim_start_matches('\\');
    match first(inner) {
        Some('a') => 7,
        Some('f') => 12,
        Some('n') => 10,
        Some('r') => 13,
        Some('t') => 9,
        Some('v') => 11,
        Some('x') => u32::from_str_radix(inner[1..].trim_matches(['{', '}']), 16).unwrap_or(0),
        Some('0'..='7') => u32::from_str_radix(inner, 8).unwrap_or(0),
        Some(c) => c as u32,
        None => u32::from('\\'),
    }
}
