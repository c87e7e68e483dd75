//! Whether the name of an object is one that Kubernetes takes.

use crate::value::quote::quote;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

fn label(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn subdomain(name: &str) -> bool {
    name.split('.').all(label)
}

/// What is wrong with a name of a kind, in Helm's words.
pub(super) fn problem(kind: &str, name: &str) -> Option<String> {
    let mut wrong = Vec::new();
    let mut longest = |most: usize| {
        if name.len() > most {
            wrong.push(format!("must be no more than {most} bytes"));
        }
    };
    match kind.to_lowercase().as_str() {
        "certificatesigningrequest" => {}
        "role" | "clusterrole" | "rolebinding" | "clusterrolebinding" => {
            if name == "." || name == ".." {
                wrong.push(format!("may not be '{name}'"));
            } else {
                wrong
                    .extend(["/", "%"].iter().filter(|c| name.contains(**c)).map(|c| format!("may not contain '{c}'")));
            }
        }
        "service" => {
            longest(63);
            if !label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                wrong.push(LABEL_1035.to_owned());
            }
        }
        "namespace" => {
            longest(63);
            if !label(name) {
                wrong.push(if subdomain(name) { "must not contain dots" } else { LABEL }.to_owned());
            }
        }
        _ => {
            longest(253);
            if !subdomain(name) {
                wrong.push(SUBDOMAIN.to_owned());
            }
        }
    }
    let shown: Vec<String> =
        wrong.iter().map(|w| format!("metadata.name: Invalid value: {}: {w}", quote(name))).collect();
    let all = match shown.as_slice() {
        [] => return None,
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Some(format!("object name does not conform to Kubernetes naming requirements: {}: {all}", quote(name)))
}
