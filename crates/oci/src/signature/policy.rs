//! Which images must be signed, and by whom.

use super::{Error, VerifyingKey, verify};
use crate::client::Client;
use crate::{Digest, Reference};

/// Rules in order; the first whose pattern matches an image decides. An image that no rule matches needs no signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: String,
    /// Any one of them is enough; with none, no signature is needed.
    keys: Vec<VerifyingKey>,
}

impl Policy {
    /// Requires a signature by any one of `keys` for the images whose full name (`docker.io/library/nginx`) matches
    /// `pattern`: `*` stands for one part of a name, `**` for any number. Without keys the images are exempt.
    #[must_use]
    pub fn require(mut self, pattern: impl Into<String>, keys: Vec<VerifyingKey>) -> Self {
        self.0.push(Rule { pattern: pattern.into(), keys });
        self
    }

    /// Reads lines `PATTERN FILE[,FILE]`, or `PATTERN none`; empty lines and those that begin with `#` are left out. `read`
    /// gives the PEM text of a file, or says why it cannot.
    ///
    /// # Errors
    ///
    /// Names the line that is not understood, or the key that cannot be read.
    pub fn parse(text: &str, read: impl Fn(&str) -> Result<String, String>) -> Result<Self, Error> {
        let mut policy = Self::default();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: String| Error::Key(format!("line {number}: {what}"));
            let (pattern, files) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong(format!("{line:?} is not PATTERN and key files, or PATTERN and none")))?;
            let key =
                |file: &str| VerifyingKey::from_pem(&read(file).map_err(wrong)?).map_err(|e| wrong(e.to_string()));
            let keys = match files.trim() {
                "none" => Vec::new(),
                files => files.split(',').map(|file| key(file.trim())).collect::<Result<_, _>>()?,
            };
            policy = policy.require(pattern, keys);
        }
        Ok(policy)
    }

    /// Whether any image needs a signature.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|rule| rule.keys.is_empty())
    }

    /// Keys of which one must have signed the image; none when it needs no signature.
    pub fn keys(&self, image: &Reference) -> &[VerifyingKey] {
        let name = image.name();
        let parts: Vec<&str> = name.split('/').collect();
        let matching = |rule: &&Rule| matches(&rule.pattern.split('/').collect::<Vec<_>>(), &parts);
        self.0.iter().find(matching).map_or(&[], |rule| &rule.keys)
    }

    /// Fails unless the image, whose manifest or index in the registry has `digest`, may run. To be called with the digest
    /// that is then pulled, so that nothing else is run than what was checked.
    ///
    /// # Errors
    ///
    /// [`Error::Unsigned`], [`Error::Untrusted`], and [`Error::Registry`] when the signatures cannot be read.
    pub async fn check(&self, client: &Client, image: &Reference, digest: &Digest) -> Result<(), Error> {
        let mut last = Ok(());
        for key in self.keys(image) {
            last = verify(client, image, digest, key).await;
            if !matches!(last, Err(Error::Untrusted { .. })) {
                break;
            }
        }
        last
    }
}

fn matches(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (Some((&"**", rest)), _) => (0..=parts.len()).any(|n| matches(rest, &parts[n..])),
        (Some((p, rest)), Some((part, more))) => (*p == "*" || p == part) && matches(rest, more),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let key = || super::super::generate().expect("a key").1.verifying();
        let (ours, theirs) = (key(), key());
        let pem = |name: &str| match name {
            "ours.pub" => Ok(ours.to_pem()),
            "theirs.pub" => Ok(theirs.to_pem()),
            other => Err(format!("{other} is not there")),
        };
        let text =
            "# who signs what\n\ndocker.io/user/* ours.pub\ndocker.io/library/** none\n** ours.pub, theirs.pub\n";
        let policy = Policy::parse(text, pem).expect("parses");
        let keys = |image: &str| policy.keys(&Reference::parse(image).expect("reference")).len();
        assert_eq!((keys("user/app:1"), keys("nginx"), keys("ghcr.io/x/y/z"), keys("user/a/b")), (1, 0, 2, 2));
        assert!(!policy.is_empty() && Policy::default().is_empty());
        for (bad, said) in [("a", "line 1"), ("a lost.pub", "lost.pub is not there")] {
            let error = Policy::parse(bad, pem).expect_err(bad).to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(Policy::parse("a x", |_| Ok("no key".into())).is_err());
    }
}
