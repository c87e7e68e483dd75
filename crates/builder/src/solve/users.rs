//! `user[:group]` texts to numbers, with the image's own `/etc/passwd` and `/etc/group`.

use crate::build::Cause;
use crate::fs::view::View;

/// Resolves a `--chown` value or a `USER` to who owns files. A user that the image does not know is root, a group that it does not
/// know is the user's, as BuildKit has it; to *run* as one fails.
///
/// # Errors
/// When the image cannot be read.
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
        Err(_) => match field(&read("etc/passwd")?, user, &[2, 3]).as_deref() {
            Some([uid, gid]) => (*uid, *gid),
            _ => (0, 0),
        },
    };
    let gid = match group {
        None => primary,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => field(&read("etc/group")?, group, &[2]).and_then(|ids| ids.first().copied()).unwrap_or(primary),
        },
    };
    Ok((uid, gid))
}

/// Whether an image must be asked for the numbers.
pub(super) fn has_names(text: &str) -> bool {
    text.split(':').any(|part| !part.is_empty() && part != "root" && part.parse::<u32>().is_err())
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
        assert!(!has_names("10:20") && !has_names("root:root") && !has_names("7:"));
        assert!(has_names("app") && has_names("0:staff"));
        assert_eq!(field("a:x:1:2\nb:x:3:4\n", "b", &[2, 3]), Some(vec![3, 4]));
    }
}
