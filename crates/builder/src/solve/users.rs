//! `user[:group]` texts to numbers, with the image's own `/etc/passwd` and `/etc/group`.

use crate::build::Cause;
use crate::fs::view::View;

/// Resolves a `--chown` value or a `USER`.
///
/// # Errors
/// When a name is not known in the image.
pub(crate) fn resolve(
    text: &str,
    view: &dyn Fn() -> Result<std::sync::Arc<View>, crate::fs::Error>,
) -> Result<(u32, u32), Cause> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let read = |path: &str| -> Result<String, Cause> {
        let view = view().map_err(Cause::Files)?;
        Ok(view.read_text(path).map_err(Cause::Files)?.unwrap_or_default())
    };
    let (uid, primary) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) if user.is_empty() || user == "root" && group.is_none() => (0, 0),
        Err(_) => field(&read("etc/passwd")?, user, &[2, 3])
            .and_then(|ids| Some((*ids.first()?, *ids.get(1)?)))
            .ok_or_else(|| Cause::Message(format!("unable to convert uid/gid chown string to host mapping: can't find uid for user {user}: no such user: {user}")))?,
    };
    let gid = match group {
        None => primary,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => field(&read("etc/group")?, group, &[2])
                .and_then(|ids| ids.first().copied())
                .ok_or_else(|| Cause::Message(format!("unable to convert uid/gid chown string to host mapping: can't find gid for group {group}: no such group: {group}")))?,
        },
    };
    Ok((uid, gid))
}

fn field(text: &str, name: &str, columns: &[usize]) -> Option<Vec<u32>> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    let parts: Vec<&str> = line.split(':').collect();
    columns.iter().map(|column| parts.get(*column)?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_need_no_image() {
        let none = || -> Result<std::sync::Arc<View>, crate::fs::Error> { panic!("not asked") };
        assert_eq!(resolve("10", &none).unwrap(), (10, 10));
        assert_eq!(resolve("10:20", &none).unwrap(), (10, 20));
        assert_eq!(resolve("root", &none).unwrap(), (0, 0));
        assert_eq!(field("a:x:1:2\nb:x:3:4\n", "b", &[2, 3]), Some(vec![3, 4]));
    }
}
