//! Image references, normalised as Docker does: `nginx` is `docker.io/library/nginx:latest`.
//!
//! The grammar is that of distribution's `reference` package. Short names keep their meaning when printed in full
//! and can be printed short again with [`Reference::familiar`].

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The registry that short names mean.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing there.
    #[error("image reference is empty")]
    Empty,
    /// Repository part has characters outside the grammar.
    #[error("image reference {0:?}: repository name {1:?} must be lower-case letters, digits and separators . _ - /")]
    Repository(String, String),
    /// More than 255 characters.
    #[error("image reference {0:?}: repository name has more than 255 characters")]
    TooLong(String),
    /// Registry host part is malformed.
    #[error("image reference {0:?}: {1:?} is not a registry host")]
    Registry(String, String),
    /// Tag is malformed.
    #[error("image reference {0:?}: tag {1:?} must match [A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}")]
    Tag(String, String),
    /// Digest is malformed.
    #[error("image reference {0:?}: invalid digest")]
    Digest(String, #[source] crate::digest::Error),
    /// A bare 64-character identifier, which is ambiguous.
    #[error("image reference {0:?}: a 64-character hexadecimal name is ambiguous; write sha256:{0} after an @")]
    Identifier(String),
}

/// A normalised image reference: registry, repository and a tag, a digest, both or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses and normalises `text` (`nginx`, `user/app:1`, `ghcr.io/a/b@sha256:...`).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let shown = || text.chars().take(300).collect::<String>();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(Error::Identifier(shown()));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|e| Error::Digest(shown(), e))?)),
            None => (text, None),
        };
        let (registry, remote) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        // A host that only its capitals tell from a part of the repository keeps them.
        let lower = Some(registry.to_ascii_lowercase()).filter(|lower| is_registry(lower));
        let registry = match lower.as_deref().unwrap_or(registry) {
            "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DEFAULT_REGISTRY,
            other => other,
        };
        if !valid_host(registry) {
            return Err(Error::Registry(shown(), registry.into()));
        }
        let (repository, tag) = match remote.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (remote, None),
        };
        if let Some(tag) = tag
            && !valid_tag(tag)
        {
            return Err(Error::Tag(shown(), tag.chars().take(160).collect()));
        }
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        if !valid_repository(&repository) {
            return Err(Error::Repository(shown(), repository.chars().take(300).collect()));
        }
        if registry.len() + 1 + repository.len() > 255 {
            return Err(Error::TooLong(shown()));
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    /// Registry host and optional port, `docker.io` for short names.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Repository within the registry, such as `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Tag as written, if any.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Digest as written, if any.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub fn reference(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }

    /// The same repository with another tag and no digest. The tag must be valid.
    pub fn with_tag(&self, tag: &str) -> Result<Self, Error> {
        if !valid_tag(tag) {
            return Err(Error::Tag(self.to_string(), tag.chars().take(160).collect()));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Adds `:latest` when there is neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }

    /// Registry and repository without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// As a person writes it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(rest) = full.strip_prefix("docker.io/") else { return full };
        let short = match rest.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short,
            _ => rest,
        };
        // One whose first part looks like a host keeps its own.
        if Self::parse(short).is_ok_and(|read| read == *self) { short.to_owned() } else { full }
    }

    /// Repository part of [`familiar`](Self::familiar), without tag and digest.
    pub fn familiar_name(&self) -> String {
        Self { tag: None, digest: None, ..self.clone() }.familiar()
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn valid_host(host: &str) -> bool {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match after {
            "" => return true,
            _ => match after.strip_prefix(':') {
                Some(port) => return port.parse::<u16>().is_ok(),
                None => return false,
            },
        }
    } else {
        match host.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label)
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Whether `name` is a repository name of the distribution specification (at most 255 characters).
pub fn valid_repository(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.split('/').all(valid_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|b| !alphanumeric(*b)) {
        let end = rest[start..].iter().position(|b| alphanumeric(*b)).map_or(rest.len(), |n| start + n);
        let separator = &rest[start..end];
        let fine = matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-');
        if !fine {
            return false;
        }
        rest = &rest[end..];
    }
    true
}

/// Whether `tag` is a tag of the distribution specification.
pub fn valid_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&bytes.len()) && word(bytes[0]) && bytes.iter().all(|b| word(*b) || *b == b'.' || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalises_like_docker() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let with_digest = format!("a/b:1@{digest}");
        let table = [
            ("nginx", "docker.io/library/nginx", "nginx"),
            ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
            ("user/app:12e4567", "docker.io/user/app:12e4567", "user/app:12e4567"),
            ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx", "nginx"),
            ("registry-1.docker.io/user/app", "docker.io/user/app", "user/app"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
            ("127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t"),
            ("ghcr.io/A", "", ""),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("A/0", "A/0", "A/0"),
            ("GHCR.io/a", "ghcr.io/a", "ghcr.io/a"),
            ("Docker.IO/a", "docker.io/library/a", "a"),
            ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
            ("a__b/c-----d", "docker.io/a__b/c-----d", "a__b/c-----d"),
            (&with_digest, &format!("docker.io/{with_digest}"), &with_digest),
        ];
        for (text, full, familiar) in table {
            match Reference::parse(text) {
                Ok(reference) => {
                    assert_eq!(reference.to_string(), full, "{text}");
                    assert_eq!(reference.familiar(), familiar, "{text}");
                }
                Err(_) => assert_eq!(full, "", "{text}"),
            }
        }
    }

    #[test]
    fn refuses_bad_names() {
        for bad in [
            "",
            "A",
            "a b",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a_",
            "a___b",
            "a..b",
            "a:",
            "a:-x",
            "a@",
            "a@sha256:1",
            "../x",
            "x:5000x/y",
            "ex ample.com/y",
            "a.b:99999/y",
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(Reference::parse(&"a".repeat(64)), Err(Error::Identifier(_))));
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "\\PC{0,80}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).expect("canonical form parses"), reference);
            }
        }

        #[test]
        fn near_misses(text in "[a-zA-Z0-9.:/@_\\[\\]-]{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.familiar()).expect("familiar form parses"), reference);
            }
        }
    }
}
