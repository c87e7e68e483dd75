//! Versions of Kubernetes, as `--kube-version` takes them.

/// A version of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeVersion {
    /// As it is given, with a `v`: `v1.33.4-gke.1245000`.
    pub version: String,
    /// Without what follows the numbers: `v1.33.4`. Charts' `kubeVersion` is compared with it.
    pub normalized: String,
    /// The first number.
    pub major: String,
    /// The second number.
    pub minor: String,
}

impl KubeVersion {
    /// Reads a version: at least two numbers, with or without a `v`, and anything after them.
    ///
    /// # Errors
    /// What is no version, in the words of Kubernetes' own reader.
    pub fn parse(text: &str) -> Result<KubeVersion, String> {
        let shown = crate::value::quote::quote(text);
        let bare = text.trim_start();
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        let mut numbers: Vec<&str> = Vec::new();
        let mut rest = bare;
        loop {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                break;
            }
            numbers.push(&rest[..digits]);
            rest = &rest[digits..];
            match rest.strip_prefix('.') {
                Some(after) if after.starts_with(|c: char| c.is_ascii_digit()) => rest = after,
                _ => break,
            }
        }
        let [first, second, ..] = numbers.as_slice() else {
            return Err(match numbers.is_empty() {
                true => format!("could not parse {shown} as version"),
                false => format!("illegal version string {shown}"),
            });
        };
        if first.len() > 1 && first.starts_with('0') {
            let first = crate::value::quote::quote(first);
            return Err(format!("illegal zero-prefixed version component {first} in {shown}"));
        }
        let plain = |n: &str| match n.trim_start_matches('0') {
            "" => "0".to_owned(),
            n => n.to_owned(),
        };
        let all: Vec<String> = numbers.iter().map(|n| plain(n)).collect();
        Ok(KubeVersion {
            version: if text.starts_with('v') { text.to_owned() } else { format!("v{text}") },
            normalized: format!("v{}", all.join(".")),
            major: plain(first),
            minor: plain(second),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::KubeVersion;

    #[test]
    fn versions_are_read_as_kubernetes_reads_them() {
        let read = |text: &str| KubeVersion::parse(text).map(|v| (v.version, v.normalized, v.major, v.minor));
        let owned = |a: &str, b: &str, c: &str, d: &str| Ok((a.into(), b.into(), c.into(), d.into()));
        assert_eq!(read("1.20"), owned("v1.20", "v1.20", "1", "20"));
        assert_eq!(read("v1.33.4-gke.1245000"), owned("v1.33.4-gke.1245000", "v1.33.4", "1", "33"));
        assert_eq!(read("abc"), Err("could not parse \"abc\" as version".to_owned()));
        assert_eq!(read("1"), Err("illegal version string \"1\"".to_owned()));
        assert_eq!(read("01.2"), Err("illegal zero-prefixed version component \"01\" in \"01.2\"".to_owned()));
    }
}
