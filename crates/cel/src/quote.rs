//! Literals of strings and bytes: quotes, prefixes, escapes.

use crate::lexer::Token;

/// A string or bytes literal at the beginning of a text, with its length; `None` where there is none.
pub(crate) fn literal(text: &str) -> Result<Option<(Token, usize)>, String> {
    let prefix = text.bytes().take(2).take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).count();
    let (flags, rest) = text.split_at(prefix);
    let Some(mark) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
    let flags = flags.to_ascii_lowercase();
    if !matches!(flags.as_str(), "" | "r" | "b" | "rb" | "br") {
        return Ok(None);
    }
    let (raw, bytes) = (flags.contains('r'), flags.contains('b'));
    let triple = [mark; 3].iter().collect::<String>();
    let fence = if rest.starts_with(&triple) { triple } else { mark.to_string() };
    let body = &rest[fence.len()..];
    let end = end(body, &fence, raw).ok_or("Syntax error: unterminated string")?;
    if fence.len() == 1 && body[..end].contains('\n') {
        return Err("Syntax error: a string in single quotes does not span lines".into());
    }
    let length = prefix + 2 * fence.len() + end;
    let body = &body[..end];
    let token = match (raw, bytes) {
        (true, true) => Token::Bytes(body.as_bytes().to_vec()),
        (true, false) => Token::String(body.to_owned()),
        (false, true) => Token::Bytes(unescape(body, true)?),
        (false, false) => Token::String(String::from_utf8(unescape(body, false)?).map_err(|e| e.to_string())?),
    };
    Ok(Some((token, length)))
}

fn end(body: &str, fence: &str, raw: bool) -> Option<usize> {
    let mut i = 0;
    while i < body.len() {
        if body[i..].starts_with(fence) {
            return Some(i);
        }
        let c = body[i..].chars().next()?;
        i += c.len_utf8();
        if c == '\\' && !raw {
            i += body[i..].chars().next()?.len_utf8();
        }
    }
    None
}

fn unescape(body: &str, bytes: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escaped = chars.next().ok_or("unterminated escape")?;
        let mut digits = |count: usize, radix: u32, first: Option<char>| -> Result<u32, String> {
            let text: String = first.into_iter().chain(chars.by_ref().take(count)).collect();
            let wanted = count + usize::from(first.is_some());
            if text.len() != wanted {
                return Err(format!("invalid escape \\{escaped}"));
            }
            u32::from_str_radix(&text, radix).map_err(|_| format!("invalid escape \\{escaped}{text}"))
        };
        let code = match escaped {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '\'' | '"' | '`' | '?' => escaped as u32,
            'x' | 'X' => digits(2, 16, None)?,
            'u' if !bytes => digits(4, 16, None)?,
            'U' if !bytes => digits(8, 16, None)?,
            '0'..='3' => digits(2, 8, Some(escaped))?,
            other => return Err(format!("Syntax error: invalid escape \\{other}")),
        };
        match escaped {
            _ if bytes => out.push(u8::try_from(code).map_err(|_| "escape out of range".to_owned())?),
            _ => {
                let c = char::from_u32(code).ok_or_else(|| format!("invalid unicode code point {code:#x}"))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Ok(out)
}
