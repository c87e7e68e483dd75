//! Regular expressions with Go's syntax and meaning.

use super::strings::go_split;
use super::{Answer, Func, Ty, f, n, s};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::quote::quote;
use crate::value::{ListTy, Str, Value, budget};

const SS: &[Ty] = &[Ty::Str, Ty::Str];
const SSI: &[Ty] = &[Ty::Str, Ty::Str, Ty::Int];
const SSS: &[Ty] = &[Ty::Str, Ty::Str, Ty::Str];

/// The functions. Those without `must` panic in Go on a bad expression: the message is the same but for its prefix.
pub const FUNCS: &[Func] = &[
    f("regexMatch", SS, |e, a| Ok(Value::Bool(get(e, a, false).map(|r| r.is_match(s(a, 1))).unwrap_or(false)))),
    f("mustRegexMatch", SS, |e, a| Ok(Value::Bool(get(e, a, true)?.is_match(s(a, 1))))),
    f("regexFind", SS, |e, a| find(e, a, false)),
    f("mustRegexFind", SS, |e, a| find(e, a, true)),
    f("regexFindAll", SSI, |e, a| find_all(e, a, false)),
    f("mustRegexFindAll", SSI, |e, a| find_all(e, a, true)),
    f("regexReplaceAll", SSS, |e, a| replace(e, a, false, false)),
    f("mustRegexReplaceAll", SSS, |e, a| replace(e, a, true, false)),
    f("regexReplaceAllLiteral", SSS, |e, a| replace(e, a, false, true)),
    f("mustRegexReplaceAllLiteral", SSS, |e, a| replace(e, a, true, true)),
    f("regexSplit", SSI, |e, a| split(e, a, false)),
    f("mustRegexSplit", SSI, |e, a| split(e, a, true)),
    f("regexQuoteMeta", &[Ty::Str], |_, a| Ok(Value::str(quote_meta(s(a, 0))))),
];

fn get(e: &mut Exec<'_>, a: &[Value], must: bool) -> Result<std::rc::Rc<regex::Regex>, Fault> {
    let Value::Str(pattern) = &a[0] else { return Err(Fault::text("no expression")) };
    e.regex(pattern).map_err(|message| {
        if must {
            Fault::Text(message)
        } else {
            Fault::Text(format!("regexp: Compile({}): {message}", go_quote(pattern)))
        }
    })
}

/// How `regexp.MustCompile` quotes: in backquotes where that is possible.
fn go_quote(pattern: &Str) -> String {
    if !pattern.contains('`') && pattern.chars().all(|c| c == '\t' || !c.is_control()) {
        format!("`{pattern}`")
    } else {
        quote(pattern)
    }
}

fn find(e: &mut Exec<'_>, a: &[Value], must: bool) -> Answer {
    Ok(Value::str(get(e, a, must)?.find(s(a, 1)).map_or("", |m| m.as_str())))
}

fn find_all(e: &mut Exec<'_>, a: &[Value], must: bool) -> Answer {
    let regex = get(e, a, must)?;
    let limit = usize::try_from(n(a, 2)).unwrap_or(usize::MAX);
    let mut out = Vec::new();
    for found in matches(&regex, s(a, 1)).take(limit) {
        out.push(Value::str(found.as_str()));
        if !budget::goes_on(size_of_val(out.as_slice())) {
            break;
        }
    }
    Ok(Value::list_or_nil(ListTy::Str, out))
}

/// Go does not give an empty match right after another match.
fn matches<'t>(regex: &'t regex::Regex, text: &'t str) -> impl Iterator<Item = regex::Match<'t>> {
    let mut last_end = None;
    regex.find_iter(text).filter(move |m| {
        let keep = !(m.is_empty() && last_end == Some(m.start()));
        last_end = Some(m.end());
        keep
    })
}

fn replace(e: &mut Exec<'_>, a: &[Value], must: bool, literal: bool) -> Answer {
    let regex = get(e, a, must)?;
    let (text, with) = (s(a, 1), s(a, 2));
    let mut out = String::new();
    let mut end = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[end..whole.start()]);
        end = whole.end();
        if literal {
            out.push_str(with);
        } else {
            found.expand(with, &mut out);
        }
        if !budget::goes_on(out.len()) {
            return Ok(Value::Nil);
        }
    }
    out.push_str(&text[end..]);
    Ok(Value::str(out))
}

fn split(e: &mut Exec<'_>, a: &[Value], must: bool) -> Answer {
    let regex = get(e, a, must)?;
    let (text, count) = (s(a, 1), n(a, 2));
    if count == 0 {
        return Ok(Value::list_or_nil(ListTy::Str, Vec::new()));
    }
    if !s(a, 0).is_empty() && text.is_empty() {
        return Ok(Value::strings([""]));
    }
    if s(a, 0).is_empty() {
        return Ok(Value::strings(go_split(text, "", count)));
    }
    let mut out: Vec<&str> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for m in matches(&regex, text) {
        if count > 0 && out.len() as i64 == count - 1 {
            break;
        }
        end = m.start();
        if m.end() != 0 {
            out.push(&text[begin..end]);
        }
        begin = m.end();
        if !budget::goes_on(out.len() * 128) {
            break;
        }
    }
    if end != text.len() {
        out.push(&text[begin..]);
    }
    Ok(Value::strings(out))
}

fn quote_meta(t: &str) -> String {
    let mut out = String::new();
    for c in t.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Compiles an expression of Go's syntax.
///
/// # Errors
/// Go's message.
pub fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let compiled = regex::RegexBuilder::new(&translated(pattern)?).size_limit(SIZE).build();
    compiled.map_err(|e| in_go(pattern, explain(pattern, &e)))
}

/// Compiles an expression that is only asked whether it matches: at a fraction of the cost, without the machines that find
/// where.
pub(crate) fn tester(pattern: &str) -> Result<regex_automata::meta::Regex, String> {
    use regex_automata::meta::{Config, Regex};
    let config = Config::new()
        .which_captures(regex_automata::nfa::thompson::WhichCaptures::None)
        .nfa_size_limit(Some(SIZE))
        .auto_prefilter(false)
        .hybrid(false)
        .onepass(false);
    match Regex::builder().configure(config).build(&translated(pattern)?) {
        Ok(regex) => Ok(regex),
        Err(other) => Err(compile(pattern).err().unwrap_or_else(|| other.to_string())),
    }
}

/// Most bytes of a compiled expression.
const SIZE: usize = 4 << 20;

/// An expression of Go in the syntax of this platform's engine.
fn translated(pattern: &str) -> Result<String, String> {
    // Go counts what repetitions of repetitions make.
    if pattern.matches('{').count() > 1
        && let Some(message) = super::regex_errors::of(pattern)
    {
        return Err(message);
    }
    translate(pattern).map_err(|other| in_go(pattern, other))
}

/// What Go says of an expression that cannot be compiled.
fn in_go(pattern: &str, other: String) -> String {
    super::regex_errors::of(pattern).unwrap_or(other)
}

pub(super) const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// The rest of `{n}`, `{n,}`, `{n,m}` after its brace, and whether the counts are in Go's bounds.
fn counts(rest: &str) -> Option<(&str, bool)> {
    let end = rest.find('}')?;
    let inner = &rest[..end];
    let (least, most) = inner.split_once(',').map_or((inner, None), |(a, b)| (a, Some(b)));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(least) || most.is_some_and(|m| !m.is_empty() && !digits(m)) {
        return None;
    }
    let number = |t: &str| t.parse::<u32>().unwrap_or(u32::MAX);
    let least = number(least);
    let most = most.filter(|m| !m.is_empty()).map(number);
    let valid = least <= 1000 && most.is_none_or(|m| m <= 1000 && m >= least);
    Some((&rest[..=end], valid))
}

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0c\r ";
const WORD: &str = "0-9A-Za-z_";

/// Go's classes `\d`, `\s`, `\w`, `\b` are ASCII; `\Q...\E` quotes.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    let mut class_start = false;
    let mut names: Vec<String> = Vec::new();
    // The quantifier just read, as written.
    let mut quantifier = String::new();
    let bad = |kind: &str, piece: &str| Err(format!("error parsing regexp: {kind}: `{piece}`"));
    while let Some(c) = chars.next() {
        let begins = std::mem::take(&mut class_start);
        let before = std::mem::take(&mut quantifier);
        if !in_class && matches!(c, '*' | '+' | '?' | '{') {
            let mut text = c.to_string();
            if c == '{' {
                let rest: String = chars.clone().collect();
                match counts(&rest) {
                    None => {
                        out.push_str("\\{");
                        continue;
                    }
                    Some((piece, valid)) => {
                        text.push_str(piece);
                        (0..piece.len()).for_each(|_| {
                            chars.next();
                        });
                        if !valid {
                            return bad("invalid repeat count", &text);
                        }
                    }
                }
            }
            if c == '?' && !before.is_empty() && !before.ends_with("??") && !(before.len() > 1 && before.ends_with('?'))
            {
                // Lazy.
                quantifier = format!("{before}?");
                out.push('?');
                continue;
            }
            if !before.is_empty() {
                return bad("invalid nested repetition operator", &format!("{before}{text}"));
            }
            out.push_str(&text);
            quantifier = text;
            continue;
        }
        match c {
            '(' if !in_class => {
                let rest: String = chars.clone().collect();
                let named = rest.strip_prefix("?P<").or_else(|| rest.strip_prefix("?<"));
                if let Some((name, _)) = named.and_then(|r| r.split_once('>'))
                    && !name.starts_with(['=', '!'])
                {
                    let prefix = rest.len() - named.map_or(0, str::len);
                    if names.iter().any(|n| n == name) || name.starts_with(|c: char| c.is_ascii_digit()) {
                        // Go takes the first of a name; one that is a number is not a name for others.
                        (0..prefix + name.len() + 1).for_each(|_| {
                            chars.next();
                        });
                    } else {
                        names.push(name.to_owned());
                    }
                }
                out.push('(');
            }
            '\\' => {
                let Some(e) = chars.next() else {
                    return Err("error parsing regexp: trailing backslash at end of expression: ``".to_owned());
                };
                match e {
                    'd' | 's' | 'w' => {
                        let set = match e {
                            'd' => DIGIT,
                            's' => SPACE,
                            _ => WORD,
                        };
                        out.push_str(&if in_class { set.to_owned() } else { format!("[{set}]") });
                    }
                    'D' | 'S' | 'W' => {
                        let set = match e {
                            'D' => DIGIT,
                            'S' => SPACE,
                            _ => WORD,
                        };
                        out.push_str(&format!("[^{set}]"));
                    }
                    'b' if !in_class => out.push_str("(?-u:\\b)"),
                    'B' if !in_class => out.push_str("(?-u:\\B)"),
                    'Q' if !in_class => {
                        let rest: String = chars.by_ref().collect();
                        let (quoted, after) = rest.split_once("\\E").unwrap_or((&rest, ""));
                        out.push_str(&regex::escape(quoted));
                        out.push_str(&translate(after)?);
                        return Ok(out);
                    }
                    '0'..='7' if e == '0' || matches!(chars.peek(), Some('0'..='7')) => {
                        let mut value = e.to_digit(8).unwrap_or(0);
                        for _ in 0..2 {
                            if let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) {
                                value = value * 8 + digit;
                                chars.next();
                            }
                        }
                        out.push_str(&format!("\\x{{{value:x}}}"));
                    }
                    'Z' | 'G' | 'h' | 'H' | 'R' | 'X' | 'K' | 'e' | 'c' | 'N' | 'u' | 'U' | '<' | '>' | '1'..='9' => {
                        return Err(format!("error parsing regexp: invalid escape sequence: `\\{e}`"));
                    }
                    'p' | 'P' | 'x' if chars.peek() == Some(&'{') => {
                        out.push('\\');
                        out.push(e);
                        for c in chars.by_ref() {
                            out.push(c);
                            if c == '}' {
                                break;
                            }
                        }
                    }
                    e => {
                        out.push('\\');
                        out.push(e);
                    }
                }
            }
            '[' if !in_class => {
                in_class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' => {
                let rest: String = chars.clone().collect();
                if rest.starts_with(':')
                    && let Some(end) = rest.find(":]").filter(|&e| e > 0)
                {
                    let name = rest[1..end].trim_start_matches('^');
                    if !POSIX.contains(&name) {
                        return bad("invalid character class range", &format!("[{}", &rest[..end + 2]));
                    }
                    out.push('[');
                    out.push_str(&rest[..end + 2]);
                    (0..end + 2).for_each(|_| {
                        chars.next();
                    });
                } else {
                    out.push_str("\\[");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // Rust has set operations in classes; Go does not.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && !begins && chars.peek() == Some(&'-') => out.push_str("\\-"),
            c if in_class && c.is_alphanumeric() => {
                let mut ahead = chars.clone();
                if ahead.next() == Some('-')
                    && let Some(to) = ahead.next()
                    && to.is_alphanumeric()
                    && to < c
                {
                    return bad("invalid character class range", &format!("{c}-{to}"));
                }
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn explain(pattern: &str, error: &regex::Error) -> String {
    let piece = match error {
        regex::Error::CompiledTooBig(_) => "expression too large",
        _ => "invalid regular expression",
    };
    format!("error parsing regexp: {piece}: `{pattern}`")
}
