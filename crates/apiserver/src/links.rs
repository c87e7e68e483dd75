//! The links of pages that come through the proxy of pods, services and nodes: a page that names `/style.css` means its own
//! server, so that the browser has to ask for it below the proxy's path. As Kubernetes has it, links of HTML and the
//! `Location` of redirects are rewritten; what scripts make of paths is theirs.

use axum::body::Body;
use futures::StreamExt;
use http::{HeaderValue, Response, header};

/// Attributes that hold a link, by the element that they stand in.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "formaction", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// The longest tag that is looked into, in bytes.
const MAX_TAG: usize = 64 * 1024;

/// A link as it is below `prefix` (a path without a slash at its end), where it means a path of `host` (`NAME:PORT`).
pub(crate) fn below(prefix: &str, host: &str, link: &str) -> String {
    let path = match link.split_once("://") {
        Some(("http" | "https", rest)) => match rest.strip_prefix(host) {
            Some("") => "/",
            Some(path) if path.starts_with('/') => path,
            _ => return link.to_owned(),
        },
        Some(_) => return link.to_owned(),
        // `//host/path` names a host.
        None if link.starts_with('/') && !link.starts_with("//") => link,
        None => return link.to_owned(),
    };
    if path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
        return path.to_owned();
    }
    format!("{prefix}{path}")
}

/// Rewrites HTML as it flows by; a tag that is not yet whole is held back.
#[derive(Debug)]
pub(crate) struct Rewriter {
    prefix: String,
    host: String,
    held: Vec<u8>,
}

impl Rewriter {
    pub(crate) fn new(prefix: &str, host: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned(), host: host.to_owned(), held: Vec::new() }
    }

    /// Takes in a part of the page and gives what can be passed on.
    pub(crate) fn feed(&mut self, part: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(part);
        let text = std::mem::take(&mut self.held);
        let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
        while let Some(open) = memchr::memchr(b'<', &text[at..]).map(|found| at + found) {
            out.extend_from_slice(&text[at..open]);
            at = open;
            if text.get(open + 1).is_some_and(|next| !next.is_ascii_alphabetic() && *next != b'!') {
                // An end or a sign: nothing with a link.
                out.push(b'<');
                at += 1;
                continue;
            }
            match tag_end(&text[open..]) {
                Some(length) => {
                    self.tag(&text[open..open + length], &mut out);
                    at += length;
                }
                None if text.len() - open < MAX_TAG => {
                    self.held = text[open..].to_vec();
                    return out;
                }
                None => {
                    out.push(b'<');
                    at += 1;
                }
            }
        }
        out.extend_from_slice(&text[at..]);
        out
    }

    /// What is still held back when the page is over.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn tag(&self, tag: &[u8], out: &mut Vec<u8>) {
        let Some((known, text)) = std::str::from_utf8(tag).ok().and_then(|text| Some((attributes_of(text)?, text)))
        else {
            return out.extend_from_slice(tag);
        };
        let mut passed = 0;
        for (name, value) in values(text) {
            if !known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                continue;
            }
            out.extend_from_slice(&tag[passed..value.start]);
            out.extend_from_slice(below(&self.prefix, &self.host, &text[value.clone()]).as_bytes());
            passed = value.end;
        }
        out.extend_from_slice(&tag[passed..]);
    }
}

/// The length of the tag or comment that the text begins with, if it is whole.
fn tag_end(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"<!--") {
        return memchr::memmem::find(&text[4..], b"-->").map(|found| 4 + found + 3);
    }
    let mut quote = None;
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') if at > 0 && text[..at].trim_ascii_end().ends_with(b"=") => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

fn attributes_of(tag: &str) -> Option<&'static [&'static str]> {
    let name = tag.strip_prefix('<')?;
    let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric())?];
    LINKS.iter().find(|(element, _)| element.eq_ignore_ascii_case(name)).map(|(_, attributes)| *attributes)
}

/// The attributes of a tag that have values, with where those stand.
fn values(tag: &str) -> Vec<(&str, std::ops::Range<usize>)> {
    let (bytes, mut found, mut at) = (tag.as_bytes(), Vec::new(), 0);
    let space = |byte: u8| byte.is_ascii_whitespace() || byte == b'/';
    while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
        at += 1;
    }
    while at < bytes.len() {
        while at < bytes.len() && space(bytes[at]) {
            at += 1;
        }
        let begin = at;
        while at < bytes.len() && !space(bytes[at]) && !matches!(bytes[at], b'=' | b'>') {
            at += 1;
        }
        let name = &tag[begin..at];
        let mut next = at;
        while next < bytes.len() && bytes[next].is_ascii_whitespace() {
            next += 1;
        }
        if bytes.get(next) != Some(&b'=') {
            at = at.max(begin + 1);
            continue;
        }
        next += 1;
        while next < bytes.len() && bytes[next].is_ascii_whitespace() {
            next += 1;
        }
        let (from, to) = match bytes.get(next) {
            Some(quote @ (b'"' | b'\'')) => {
                let length = memchr::memchr(*quote, &bytes[next + 1..]).unwrap_or(bytes.len() - next - 1);
                (next + 1, next + 1 + length)
            }
            _ => {
                let end = bytes[next..].iter().position(|b| b.is_ascii_whitespace() || *b == b'>');
                (next, end.map_or(bytes.len(), |end| next + end))
            }
        };
        found.push((name, from..to));
        at = to + 1;
    }
    found
}

/// An answer whose links are those below `prefix`.
pub(crate) fn rewritten(response: Response<Body>, prefix: &str, host: &str) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(place) = parts.headers.get(header::LOCATION).and_then(|place| place.to_str().ok())
        && let Ok(place) = HeaderValue::from_str(&below(prefix.trim_end_matches('/'), host, place))
    {
        parts.headers.insert(header::LOCATION, place);
        return Response::from_parts(parts, body);
    }
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = parts.headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    if !plain || !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html")) {
        return Response::from_parts(parts, body);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let state = (body.into_data_stream(), Some(Rewriter::new(prefix, host)));
    let pages = futures::stream::unfold(state, |(mut parts, rewriter)| async move {
        let mut rewriter = rewriter?;
        match parts.next().await {
            Some(Ok(part)) => Some((Ok(rewriter.feed(&part)), (parts, Some(rewriter)))),
            Some(Err(error)) => Some((Err(error), (parts, None))),
            None => Some((Ok(rewriter.end()), (parts, None))),
        }
    });
    Response::from_parts(parts, Body::from_stream(pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        for (link, expected) in [
            ("/a", "/p/proxy/a"),
            ("/", "/p/proxy/"),
            ("/p/proxy/a", "/p/proxy/a"),
            ("/p/proxyother", "/p/proxy/p/proxyother"),
            ("a/b", "a/b"),
            ("#here", "#here"),
            ("//elsewhere/a", "//elsewhere/a"),
            ("https://elsewhere/a", "https://elsewhere/a"),
            ("http://10.0.0.1:80/a?b", "/p/proxy/a?b"),
            ("http://10.0.0.1:8080/a", "http://10.0.0.1:8080/a"),
            ("mailto:a@b", "mailto:a@b"),
        ] {
            assert_eq!(below("/p/proxy", "10.0.0.1:80", link), expected, "{link}");
        }
    }

    #[test]
    fn pages_in_any_pieces() {
        let page = "<!doctype html><!-- <a href=\"/no\"> --><A class=x HREF='/one' >1 < 2 <img src='/in'></A><img alt=\"a > b\" src=/two><p href=\"/not\"><a href = \"rel\"/><script>if (a < b) go(\"/x\")</script><a";
        let wanted = "<!doctype html><!-- <a href=\"/no\"> --><A class=x HREF='/q/one' >1 < 2 <img src='/q/in'></A><img alt=\"a > b\" src=/q/two><p href=\"/not\"><a href = \"rel\"/><script>if (a < b) go(\"/x\")</script><a";
        for size in [1, 2, 7, 1000] {
            let mut rewriter = Rewriter::new("/q/", "h:1");
            let mut out: Vec<u8> = page.as_bytes().chunks(size).flat_map(|part| rewriter.feed(part)).collect();
            out.extend(rewriter.end());
            assert_eq!(String::from_utf8_lossy(&out), wanted, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_tag_is_not_kept_for_ever() {
        let mut rewriter = Rewriter::new("/q", "h:1");
        let long = vec![b'x'; MAX_TAG];
        assert!(rewriter.feed(b"<a ").is_empty());
        assert_eq!(rewriter.feed(&long).len(), MAX_TAG + 3);
        assert!(rewriter.end().is_empty());
    }
}
