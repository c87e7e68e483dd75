//! URLs.

use super::{Answer, Func, Ty, f, s};
use crate::template::error::Fault;
use crate::value::convert::to_text;
use crate::value::{Entries, Value, quote};

/// The functions.
pub const FUNCS: &[Func] =
    &[f("urlParse", &[Ty::Str], |_, a| parse(s(a, 0))), f("urlJoin", &[Ty::Map], |_, a| join(&a[0]))];

fn hex(b: u8) -> bool {
    b.is_ascii_hexdigit()
}

/// `url.QueryEscape`
pub fn query_escape(t: &str) -> String {
    let mut out = String::new();
    for &b in crate::value::text::to_bytes(t).iter() {
        match b {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') => out.push(b as char),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn unescape(t: &str, host: bool) -> Result<String, String> {
    let bytes = t.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' {
            if i + 2 >= bytes.len() || !hex(bytes[i + 1]) || !hex(bytes[i + 2]) {
                let piece = &t[i..(i + 3).min(t.len())];
                return Err(format!("invalid URL escape {}", quote::quote(piece)));
            }
            out.push(u8::from_str_radix(&t[i + 1..i + 3], 16).unwrap_or(0));
            i += 3;
        } else {
            if host
                && bytes[i] < 0x80
                && (bytes[i] == b' '
                    || matches!(bytes[i], b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'))
            {
                return Err(format!("invalid character {} in host name", quote::quote(&t[i..=i])));
            }
            out.push(bytes[i]);
            i += 1;
        }
    }
    Ok(crate::value::text::from_bytes(&out).into_owned())
}

fn escape(t: &str, keep: &str) -> String {
    let mut out = String::new();
    for &b in t.as_bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || keep.as_bytes().contains(&b) {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn failure(raw: &str, message: &str) -> Fault {
    Fault::Text(format!("unable to parse url: parse {}: {message}", quote::quote(raw)))
}

/// Why Go does not read a text as a URL; `None` when it does.
pub(crate) fn refuse(raw: &str) -> Option<String> {
    match parse(raw) {
        Err(Fault::Text(text)) => Some(text.trim_start_matches("unable to parse url: ").to_owned()),
        _ => None,
    }
}

fn parse(raw: &str) -> Answer {
    let whole = raw;
    let (raw, fragment) = raw.split_once('#').unwrap_or((raw, ""));
    // Go parses what stands before the fragment first, and shows only that.
    let fail = |message: &str| Err(failure(raw, message));
    if raw.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return fail("net/url: invalid control character in URL");
    }
    // Scheme.
    let mut scheme = String::new();
    let mut rest = raw;
    for (i, b) in rest.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return fail("missing protocol scheme"),
            b':' => {
                scheme = rest[..i].to_ascii_lowercase();
                rest = &rest[i + 1..];
                break;
            }
            _ => break,
        }
    }
    let (body, query) = match rest.split_once('?') {
        Some((b, q)) => (b, q),
        None => (rest, ""),
    };
    let mut rest = body;
    let mut opaque = String::new();
    let mut user = String::new();
    let mut host = String::new();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            opaque = rest.to_owned();
            rest = "";
        } else if rest.split('/').next().is_some_and(|s| s.contains(':')) {
            return fail("first path segment in URL cannot contain colon");
        }
    }
    if opaque.is_empty() && (!scheme.is_empty() || !rest.starts_with("///")) && rest.starts_with("//") {
        let authority_end = rest[2..].find('/').map_or(rest.len(), |at| at + 2);
        let authority = &rest[2..authority_end];
        rest = &rest[authority_end..];
        let host_part = match authority.rsplit_once('@') {
            Some((info, host)) => {
                let mut parts = info.splitn(2, ':');
                let name = parts.next().unwrap_or("");
                let decoded = unescape(name, false).map_err(|m| failure(raw, &m))?;
                user = escape(&decoded, "$&+,;=");
                if let Some(password) = parts.next() {
                    let decoded = unescape(password, false).map_err(|m| failure(raw, &m))?;
                    user.push(':');
                    user.push_str(&escape(&decoded, "$&+,;="));
                }
                host
            }
            None => authority,
        };
        let port_at = if host_part.starts_with('[') {
            let Some(close) = host_part.rfind(']') else { return fail("missing ']' in host") };
            close + 1
        } else {
            host_part.rfind(':').unwrap_or(host_part.len())
        };
        let port = &host_part[port_at..];
        if !port.is_empty() && !(port.starts_with(':') && port[1..].bytes().all(|b| b.is_ascii_digit())) {
            return fail(&format!("invalid port {} after host", quote::quote(port)));
        }
        host = unescape(host_part, true).map_err(|m| failure(raw, &m))?;
    }
    let path = unescape(rest, false).map_err(|m| failure(raw, &m))?;
    let fragment = unescape(fragment, false).map_err(|m| failure(whole, &m))?;
    let hostname = match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or("").to_owned(),
        None => host.rsplit_once(':').map_or(host.clone(), |(h, _)| h.to_owned()),
    };
    let entries: Entries = [
        ("scheme", scheme),
        ("host", host),
        ("hostname", hostname),
        ("path", path),
        ("query", query.to_owned()),
        ("opaque", opaque),
        ("fragment", fragment),
        ("userinfo", user),
    ]
    .into_iter()
    .map(|(k, v)| (k.into(), Value::str(v)))
    .collect();
    Ok(Value::map(entries))
}

fn join(map: &Value) -> Answer {
    let get = |key: &str| -> Result<String, Fault> {
        match map.as_map().and_then(|m| m.get(key)) {
            None => Ok(String::new()),
            Some(Value::Str(s)) => Ok(s.to_string()),
            Some(v) => Err(Fault::Text(format!(
                "unable to parse {key} key, must be of type string, but {} found",
                v.kind_name()
            ))),
        }
    };
    let _ = to_text;
    let (scheme, host, path, query) = (get("scheme")?, get("host")?, get("path")?, get("query")?);
    let (opaque, fragment, user) = (get("opaque")?, get("fragment")?, get("userinfo")?);
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(&scheme);
        out.push(':');
    }
    if opaque.is_empty() {
        if !scheme.is_empty() || !host.is_empty() || !user.is_empty() {
            if !host.is_empty() || !path.is_empty() || !user.is_empty() {
                out.push_str("//");
            }
            if !user.is_empty() {
                out.push_str(&user);
                out.push('@');
            }
            out.push_str(&escape(&host, "!$&'()*+,;=:[]<>\""));
        }
        let path = escape(&path, "$&+,/:;=@!'()*");
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            out.push('/');
        }
        if out.is_empty() && path.split('/').next().is_some_and(|s| s.contains(':')) {
            out.push_str("./");
        }
        out.push_str(&path);
    } else {
        out.push_str(&opaque);
    }
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query);
    }
    if !fragment.is_empty() {
        out.push('#');
        out.push_str(&escape(&fragment, "!$&'()*+,/:;=?@"));
    }
    Ok(Value::str(out))
}
