//! Paths and queries, parsed once for all requests.

use std::borrow::Cow;

use oci::{Digest, reference};

use super::error::{ApiError, Code};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Base,
    Catalog,
    Tags { name: String },
    Referrers { name: String, digest: Digest },
    Manifest { name: String, reference: Reference },
    Blob { name: String, digest: Digest },
    Uploads { name: String },
    Upload { name: String, id: String },
}

/// A tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// May be no valid tag: nothing is found under such a name, and nothing can be pushed to it.
    Tag(String),
    Digest(Digest),
}

impl Reference {
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Tag(tag) => reference::valid_tag(tag),
            Self::Digest(_) => true,
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => f.write_str(digest.as_str()),
        }
    }
}

pub(crate) fn parse(path: &str) -> Result<Route, ApiError> {
    let not_found = || ApiError::new(Code::NotFound, "no such path; the registry is below /v2/");
    let rest = path.strip_prefix("/v2").ok_or_else(not_found)?;
    if rest.is_empty() || rest == "/" {
        return Ok(Route::Base);
    }
    let rest = decode(rest.strip_prefix('/').ok_or_else(not_found)?);
    if rest == "_catalog" {
        return Ok(Route::Catalog);
    }
    let name = |name: &str| {
        if reference::valid_repository(name) {
            return Ok(name.to_owned());
        }
        let shown: String = name.chars().take(255).collect();
        Err(ApiError::new(Code::NameInvalid, format!("repository name {shown:?} is not valid")))
    };
    if let Some(found) = rest.strip_suffix("/tags/list") {
        return Ok(Route::Tags { name: name(found)? });
    }
    if let Some(found) = rest.strip_suffix("/blobs/uploads").or_else(|| rest.strip_suffix("/blobs/uploads/")) {
        return Ok(Route::Uploads { name: name(found)? });
    }
    let (before, last) = rest.rsplit_once('/').ok_or_else(not_found)?;
    if let Some(found) = before.strip_suffix("/blobs/uploads") {
        return Ok(Route::Upload { name: name(found)?, id: last.to_owned() });
    }
    if let Some(found) = before.strip_suffix("/blobs") {
        return Ok(Route::Blob { name: name(found)?, digest: digest(last)? });
    }
    if let Some(found) = before.strip_suffix("/referrers") {
        return Ok(Route::Referrers { name: name(found)?, digest: digest(last)? });
    }
    if let Some(found) = before.strip_suffix("/manifests") {
        let name = name(found)?;
        if last.contains(':') {
            return Ok(Route::Manifest { name, reference: Reference::Digest(digest(last)?) });
        }
        return Ok(Route::Manifest { name, reference: Reference::Tag(last.to_owned()) });
    }
    Err(not_found())
}

pub(crate) fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|e: oci::DigestError| ApiError::new(Code::DigestInvalid, e.to_string()))
}

/// Query parameters, in order, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(64).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")).into_owned(), decode(&value.replace('+', " ")).into_owned())
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// Decodes `%xx`; what is not valid stays as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let decoded = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match decoded {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Encodes a query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(byte.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_paths() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let parsed = |path: &str| parse(path).map_err(|e| e.code);
        assert_eq!(parsed("/v2/"), Ok(Route::Base));
        assert_eq!(parsed("/v2/a/b/c/tags/list"), Ok(Route::Tags { name: "a/b/c".into() }));
        // Names may contain the words that paths are made of.
        assert_eq!(
            parsed("/v2/manifests/blobs/manifests/latest"),
            Ok(Route::Manifest { name: "manifests/blobs".into(), reference: Reference::Tag("latest".into()) })
        );
        assert!(matches!(parsed(&format!("/v2/a/blobs/sha256:{hex}")), Ok(Route::Blob { .. })));
        assert!(matches!(parsed(&format!("/v2/a/blobs/sha256%3A{hex}")), Ok(Route::Blob { .. })));
        assert_eq!(parsed("/v2/a/blobs/uploads/"), Ok(Route::Uploads { name: "a".into() }));
        assert_eq!(parsed("/v2/a/blobs/uploads/x"), Ok(Route::Upload { name: "a".into(), id: "x".into() }));
        assert_eq!(parsed("/v2/a/blobs/sha256:zz"), Err(Code::DigestInvalid));
        assert_eq!(parsed("/v2/A/tags/list"), Err(Code::NameInvalid));
        assert_eq!(parsed("/v2/../x/tags/list"), Err(Code::NameInvalid));
        let none = parsed("/v2/a/manifests/-x").expect("a route");
        assert!(matches!(none, Route::Manifest { reference, .. } if !reference.is_valid()));
        assert_eq!(parsed("/v1/"), Err(Code::NotFound));
        assert_eq!(parsed("/v2/a"), Err(Code::NotFound));
    }

    #[test]
    fn queries() {
        let query = Query::parse("digest=sha256%3Aab&n=1&n=2&last=a+b&&=");
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.all("n").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("last"), Some("a b"));
        assert_eq!(Query::parse(&format!("k={}", encode("a b&c=d%"))).get("k"), Some("a b&c=d%"));
    }

    proptest! {
        #[test]
        fn never_panics(path in "/v2/\\PC{0,80}", query in "\\PC{0,80}") {
            let _ = parse(&path);
            let _ = Query::parse(&query);
        }

        #[test]
        fn near_misses(path in "/v2/[a-z%./:@-]{0,40}/(blobs|manifests|tags|uploads|referrers)/[a-z0-9:%./]{0,80}") {
            let _ = parse(&path);
        }
    }
}
