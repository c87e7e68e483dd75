//! The formats that older drafts of JSON Schema assert.

/// Why a text is not of a format, of all but `regex`; `None` when it is, or when the format is not known.
pub(crate) fn refuse(format: &str, text: &str) -> Option<String> {
    let reason = |r: &str| Some(r.to_owned());
    match format {
        "ipv4" => {
            let parts: Vec<&str> = text.split('.').collect();
            if parts.len() != 4 {
                return reason("expected four decimals");
            }
            for part in parts {
                if part.len() > 1 && part.starts_with('0') {
                    return reason("leading zeros");
                }
                match part.parse::<u32>() {
                    Ok(n) if n <= 255 => {}
                    Ok(_) => return reason("decimal must be between 0 and 255"),
                    Err(_) => return reason("expected four decimals"),
                }
            }
            None
        }
        "ipv6" => {
            if !text.contains(':') {
                return reason("missing colon");
            }
            if text.parse::<std::net::Ipv6Addr>().is_err() { reason("not an IPv6 address") } else { None }
        }
        "email" => match text.rsplit_once('@') {
            None => reason("missing @"),
            Some(("", _)) => reason("local part is empty"),
            Some((local, _)) if local.len() > 64 => reason("local part more than 64 characters long"),
            Some((_, "")) => reason("invalid domain: label is empty"),
            Some(_) => None,
        },
        "hostname" => {
            if text.len() > 253 {
                return reason("more than 253 characters long");
            }
            for label in text.trim_end_matches('.').split('.') {
                if label.is_empty() || label.len() > 63 {
                    return reason("label must be 1 to 63 characters long");
                }
                if label.starts_with('-') || label.ends_with('-') {
                    return reason("label starts or ends with hyphen");
                }
                if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                    return reason("invalid character in label");
                }
            }
            None
        }
        "date-time" | "date" | "time" => {
            let ok = match format {
                "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
                "time" => {
                    let upper = text.to_ascii_uppercase();
                    let zoned = upper.ends_with('Z') || upper.rfind(['+', '-']).is_some_and(|at| at > 5);
                    zoned && text.get(..8).is_some_and(|t| t.parse::<jiff::civil::Time>().is_ok())
                }
                _ => text.parse::<jiff::Timestamp>().is_ok(),
            };
            if ok { None } else { reason(&format!("not a {format}")) }
        }
        "uri" => {
            if let Some(why) = crate::funcs::urls::refuse(text) {
                return Some(why);
            }
            let scheme = text.split_once(':').map(|(s, _)| s);
            match scheme {
                Some(s) if s.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains(' ') => None,
                _ => reason("relative url"),
            }
        }
        "uuid" => {
            if uuid::Uuid::parse_str(text).is_ok() && text.len() == 36 {
                None
            } else {
                reason("must be 36 characters long")
            }
        }
        _ => None,
    }
}
