//! Reads `RUN --mount=...`: one comma-separated record of `key=value` fields.

use super::ast::{Mount, MountKind, Sharing};

/// Reads the value of one `--mount` flag.
pub(super) fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount::default();
    let fields = fields(text)?;
    for field in &fields {
        if let Some(kind) = field.strip_prefix("type=") {
            mount.kind = match kind.to_ascii_lowercase().as_str() {
                "bind" => MountKind::Bind,
                "cache" => MountKind::Cache,
                "tmpfs" => MountKind::Tmpfs,
                "secret" => MountKind::Secret,
                "ssh" => MountKind::Ssh,
                _ => return Err(format!("unsupported mount type {kind:?}")),
            };
        }
    }
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let needed = || value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"));
        let flag = || match value {
            None => Ok(true),
            Some(text) => boolean(text).ok_or_else(|| format!("invalid value for {key}: {text}")),
        };
        let owned = |text: &str| Some(text.to_owned());
        match key.as_str() {
            "type" => {}
            "from" => mount.from = owned(needed()?),
            "source" | "src" => mount.source = owned(needed()?),
            "target" | "dst" | "destination" => mount.target = owned(needed()?),
            "id" => mount.id = owned(needed()?),
            "env" => mount.env = owned(needed()?),
            "readonly" | "ro" => mount.readonly = Some(flag()?),
            "readwrite" | "rw" => mount.readonly = Some(!flag()?),
            "required" => mount.required = flag()?,
            "sharing" => {
                mount.sharing = match needed()? {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    other => return Err(format!("unsupported sharing value {other:?}")),
                }
            }
            "mode" => {
                let text = needed()?;
                let mode = u32::from_str_radix(text, 8).map_err(|_| format!("invalid value {text} for mode"))?;
                mount.mode = Some(mode);
            }
            "uid" | "gid" => {
                let text = needed()?;
                let id = text.parse().map_err(|_| format!("invalid value {text} for {key}"))?;
                if key == "uid" { mount.uid = Some(id) } else { mount.gid = Some(id) }
            }
            "size" => mount.size = Some(size(needed()?)?),
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    check(&mount)?;
    Ok(mount)
}

fn check(mount: &Mount) -> Result<(), String> {
    let file_like = matches!(mount.kind, MountKind::Secret | MountKind::Ssh);
    if mount.target.is_none() && !file_like {
        return Err(format!("target is required in {} mount", mount.kind.name()));
    }
    if mount.size.is_some() && mount.kind != MountKind::Tmpfs {
        return Err(format!("size not allowed in {} mount", mount.kind.name()));
    }
    if mount.sharing != Sharing::Shared && mount.kind != MountKind::Cache {
        return Err(format!("sharing not allowed in {} mount", mount.kind.name()));
    }
    if mount.from.is_some() && file_like {
        return Err(format!("from not allowed in {} mount", mount.kind.name()));
    }
    if mount.env.is_some() && mount.kind != MountKind::Secret {
        return Err(format!("env not allowed in {} mount", mount.kind.name()));
    }
    if mount.kind == MountKind::Secret && mount.id.is_none() && mount.source.is_none() && mount.target.is_none() {
        return Err("invalid secret mount. one of source, target required".to_owned());
    }
    Ok(())
}

impl MountKind {
    /// The word used in `type=`.
    pub fn name(self) -> &'static str {
        match self {
            MountKind::Bind => "bind",
            MountKind::Cache => "cache",
            MountKind::Tmpfs => "tmpfs",
            MountKind::Secret => "secret",
            MountKind::Ssh => "ssh",
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number of bytes with a unit of 1024: `64m`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid value for size: {text}");
    let lower = text.to_ascii_lowercase();
    let digits = lower.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = lower[..digits].parse().map_err(|_| wrong())?;
    let shift = match lower[digits..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// One CSV record: commas separate, double quotes group, `""` is a quote.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut out = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let last = out.last_mut().expect("there is always one field");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                last.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if last.is_empty() => quoted = true,
            ',' if !quoted => out.push(String::new()),
            c => last.push(c),
        }
    }
    if quoted {
        return Err(format!("failed to parse csv: unclosed quote in {text:?}"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_of_each_kind() {
        let cache = parse("type=cache,target=/c,id=x,sharing=locked,mode=0700,uid=5").unwrap();
        assert_eq!(
            (cache.kind, cache.sharing, cache.mode, cache.uid),
            (MountKind::Cache, Sharing::Locked, Some(0o700), Some(5))
        );
        let bind = parse("target=/src,from=base,rw").unwrap();
        assert_eq!((bind.kind, bind.readonly, bind.from.as_deref()), (MountKind::Bind, Some(false), Some("base")));
        assert_eq!(parse("type=tmpfs,target=/t,size=2m").unwrap().size, Some(2 << 20));
        assert_eq!(parse("type=secret,id=k,required=true,env=K").unwrap().env.as_deref(), Some("K"));
        assert_eq!(parse("type=bind,\"source=a,b\",target=/x").unwrap().source.as_deref(), Some("a,b"));
    }

    #[test]
    fn refuses_what_does_not_belong() {
        for wrong in
            ["type=odd", "type=cache", "type=cache,target=/c,size=3", "type=bind,target=/x,color=red", "type=secret"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
