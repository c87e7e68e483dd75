//! Users and groups of a root file system: `/etc/passwd` and `/etc/group`.

/// A user as a process has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<String>,
}

/// Resolves `uid`, `uid:gid`, `name` or `name:group`. `Err` names what is missing.
pub(crate) fn resolve(user: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (who, which) = match user.split_once(':') {
        Some((who, which)) => (who, Some(which).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let who = if who.is_empty() { "0" } else { who };
    let entries = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 6);
    let entry = match who.parse::<u32>() {
        Ok(uid) => entries().find(|fields| fields[2].parse() == Ok(uid)),
        Err(_) => {
            Some(entries().find(|fields| fields[0] == who).ok_or_else(|| format!("no user {who:?} in /etc/passwd"))?)
        }
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("bad number {text:?} in /etc/passwd"));
    let uid = match &entry {
        Some(fields) => number(fields[2])?,
        None => number(who)?,
    };
    let groups_of = || group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4);
    let gid = match which {
        Some(which) => match which.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => {
                let fields = groups_of()
                    .find(|fields| fields[0] == which)
                    .ok_or_else(|| format!("no group {which:?} in /etc/group"))?;
                number(fields[2])?
            }
        },
        None => entry.as_ref().map(|fields| number(fields[3])).transpose()?.unwrap_or(0),
    };
    let mut groups = Vec::new();
    if let (Some(fields), None) = (&entry, which) {
        for candidate in groups_of() {
            if candidate[3].split(',').any(|member| member == fields[0])
                && let Ok(extra) = candidate[2].parse()
                && extra != gid
            {
                groups.push(extra);
            }
        }
    }
    Ok(User { uid, gid, groups, home: entry.map(|fields| fields[5].to_owned()).filter(|home| !home.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/var/web:/sbin/nologin\n";
        let group = "root:x:0:\nweb:x:102:\nlog:x:7:web,other\n";
        let user = |uid, gid, groups: &[u32], home: Option<&str>| {
            Ok(User { uid, gid, groups: groups.to_vec(), home: home.map(str::to_owned) })
        };
        for (text, expected) in [
            ("", user(0, 0, &[], Some("/root"))),
            ("web", user(101, 102, &[7], Some("/var/web"))),
            ("101", user(101, 102, &[7], Some("/var/web"))),
            ("web:log", user(101, 7, &[], Some("/var/web"))),
            ("1000", user(1000, 0, &[], None)),
            ("1000:1001", user(1000, 1001, &[], None)),
            ("ghost", Err("no user \"ghost\" in /etc/passwd".into())),
            ("web:ghost", Err("no group \"ghost\" in /etc/group".into())),
        ] {
            assert_eq!(resolve(text, passwd, group), expected, "{text}");
        }
        assert_eq!(resolve("65532", "", ""), user(65532, 0, &[], None));
    }
}
