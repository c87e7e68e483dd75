//! The name syntaxes of Kubernetes. Each check answers the reason, worded as Kubernetes words it.

/// RFC 1123 label: at most 63 of `[a-z0-9-]`, alphanumeric at both ends.
///
/// # Errors
/// Why the text is none.
pub fn dns1123_label(text: &str) -> Result<(), String> {
    let ok = !text.is_empty() && text.bytes().all(|b| lower_alnum(b) || b == b'-') && ends(text, lower_alnum);
    match (ok, text.len() <= 63) {
        (true, true) => Ok(()),
        (true, false) => Err("must be no more than 63 characters".into()),
        _ => Err(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                  end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                  '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        ),
    }
}

/// RFC 1035 label: like [`dns1123_label`] but starting with a letter (Service names).
///
/// # Errors
/// Why the text is none.
pub fn dns1035_label(text: &str) -> Result<(), String> {
    if dns1123_label(text).is_ok() && text.as_bytes()[0].is_ascii_lowercase() {
        return Ok(());
    }
    if text.len() > 63 {
        return Err("must be no more than 63 characters".into());
    }
    Err("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and \
         end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
         '[a-z]([-a-z0-9]*[a-z0-9])?')"
        .into())
}

/// RFC 1123 subdomain: at most 253, labels joined by dots.
///
/// # Errors
/// Why the text is none.
pub fn dns1123_subdomain(text: &str) -> Result<(), String> {
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| lower_alnum(b) || b == b'-') && ends(l, lower_alnum);
    match (text.split('.').all(label), text.len() <= 253) {
        (true, true) => Ok(()),
        (true, false) => Err("must be no more than 253 characters".into()),
        _ => Err("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
                  and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                  '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .into()),
    }
}

/// A name that can be one segment of a path (RBAC objects).
///
/// # Errors
/// Why the text is none.
pub fn path_segment(text: &str) -> Result<(), String> {
    match text {
        "." | ".." => Err(format!("may not be '{text}'")),
        _ if text.contains('/') => Err("may not contain '/'".into()),
        _ if text.contains('%') => Err("may not contain '%'".into()),
        _ => Ok(()),
    }
}

/// A qualified name: label and annotation keys, `[PREFIX/]NAME`.
///
/// # Errors
/// Why the text is none.
pub fn qualified_name(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Err("prefix part must be non-empty".into()),
        Some(prefix) => dns1123_subdomain(prefix).map_err(|e| format!("prefix part {e}"))?,
        None => {}
    }
    if name.is_empty() {
        return Err("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Err("name part must be no more than 63 characters".into());
    }
    if label_characters(name) {
        return Ok(());
    }
    Err("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
         character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        .into())
}

/// A label value: empty, or at most 63 of alphanumerics, `-`, `_`, `.`.
///
/// # Errors
/// Why the text is none.
pub fn label_value(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("must be no more than 63 characters".into());
    }
    if text.is_empty() || label_characters(text) {
        return Ok(());
    }
    Err("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
         with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        .into())
}

/// A key of a ConfigMap or Secret.
///
/// # Errors
/// Why the text is none.
pub fn config_key(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err("must be no more than 253 characters".into());
    }
    if text == "." || text == ".." || text.starts_with("..") {
        return Err(format!("must not be or start with '..' or be '.': {text:?}"));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Ok(());
    }
    Err("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
         'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        .into())
}

/// The name of a container port: at most 15 of `[a-z0-9-]` with at least one letter, no doubled or outer `-`.
///
/// # Errors
/// Why the text is none.
pub fn port_name(text: &str) -> Result<(), String> {
    if text.len() > 15 {
        return Err("must be no more than 15 characters".into());
    }
    if !text.bytes().all(|b| lower_alnum(b) || b == b'-') {
        return Err("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        return Err("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("must not begin or end with a hyphen".into());
    }
    Ok(())
}

fn lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn ends(text: &str, ok: fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(ok) && text.bytes().next_back().is_some_and(ok)
}

fn label_characters(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_alphanumeric();
    text.bytes().all(|b| alnum(b) || b"-_.".contains(&b)) && ends(text, |b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let long = "a".repeat(64);
        for (text, label, subdomain, qualified) in [
            ("a", true, true, true),
            ("a-b1", true, true, true),
            ("1a", true, true, true),
            ("a.b", false, true, true),
            ("A", false, false, true),
            ("", false, false, false),
            ("-a", false, false, false),
            ("a.", false, false, false),
            ("a..b", false, false, true),
            ("x.io/a_b", false, false, true),
            ("/a", false, false, false),
            ("a/", false, false, false),
            (&long, false, true, false),
            ("ä", false, false, false),
        ] {
            assert_eq!(dns1123_label(text).is_ok(), label, "label {text}");
            assert_eq!(dns1123_subdomain(text).is_ok(), subdomain, "subdomain {text}");
            assert_eq!(qualified_name(text).is_ok(), qualified, "qualified {text}");
        }
        assert!(dns1035_label("1a").is_err() && dns1035_label("a1").is_ok());
        assert!(port_name("http").is_ok() && port_name("80").is_err() && port_name("a--b").is_err());
        assert!(config_key("a.txt").is_ok() && config_key("..").is_err() && config_key("a/b").is_err());
    }
}
