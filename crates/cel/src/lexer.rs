//! The words of an expression.

use crate::quote;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Ident(String),
    /// A name in backticks.
    Quoted(String),
    Int(u64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Op(&'static str),
    End,
}

/// What is wrong, and where.
pub(crate) type Wrong = (String, usize);

/// Longer ones first.
const OPERATORS: [&str; 26] = [
    "&&", "||", "==", "!=", "<=", ">=", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%",
    "<", ">", "=", "&",
];

/// Takes an expression apart: tokens with their byte offsets.
pub(crate) fn tokens(source: &str) -> Result<Vec<(Token, usize)>, Wrong> {
    let mut out = Vec::new();
    let bytes = source.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let c = bytes[i];
        if c.is_ascii_whitespace() {
            i += 1;
            continue;
        }
        if source[i..].starts_with("//") {
            i += source[i..].find('\n').unwrap_or(source.len() - i);
            continue;
        }
        let start = i;
        let token = if let Some((token, length)) = quote::literal(&source[i..]).map_err(|m| (m, start))? {
            i += length;
            token
        } else if c.is_ascii_digit() || (c == b'.' && bytes.get(i + 1).is_some_and(u8::is_ascii_digit)) {
            let (token, length) = number(&source[i..]).map_err(|m| (m, start))?;
            i += length;
            token
        } else if c.is_ascii_alphabetic() || c == b'_' {
            let end = source[i..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(source.len() - i);
            i += end;
            Token::Ident(source[start..i].to_owned())
        } else if c == b'`' {
            let end = source[i + 1..].find('`').ok_or_else(|| ("unterminated `".to_owned(), start))?;
            i += end + 2;
            Token::Quoted(source[start + 1..i - 1].to_owned())
        } else if let Some(op) = OPERATORS.iter().find(|op| source[i..].starts_with(**op)) {
            i += op.len();
            Token::Op(op)
        } else {
            let c = source[i..].chars().next().unwrap_or(' ');
            return Err((format!("Syntax error: token recognition error at: {c:?}"), start));
        };
        out.push((token, start));
    }
    out.push((Token::End, source.len()));
    Ok(out)
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let bytes = text.as_bytes();
    let suffix = |end: usize| matches!(bytes.get(end), Some(b'u' | b'U'));
    if text.starts_with("0x") || text.starts_with("0X") {
        let digits = bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let end = 2 + digits;
        let value =
            u64::from_str_radix(&text[2..end], 16).map_err(|_| format!("invalid int literal {}", &text[..end]))?;
        return Ok(if suffix(end) { (Token::Uint(value), end + 1) } else { (Token::Int(value), end) });
    }
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    let mut double = false;
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        double = true;
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            double = true;
            end += 1 + sign + exponent;
        }
    }
    let bad = || format!("invalid number literal {}", &text[..end]);
    if double {
        return Ok((Token::Double(text[..end].parse().map_err(|_| bad())?), end));
    }
    let value: u64 = text[..end].parse().map_err(|_| bad())?;
    Ok(if suffix(end) { (Token::Uint(value), end + 1) } else { (Token::Int(value), end) })
}
