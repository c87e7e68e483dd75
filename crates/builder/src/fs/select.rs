//! What a source of `COPY` and `ADD` names: paths and Go's patterns, `--parents` and its pivot. Pure apart from reading.

use super::{Error, FileTree, join, resolve};

/// One chosen source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Where it is, links followed.
    pub path: String,
    /// As named, links not followed, relative to the root of the source tree.
    pub named: String,
    /// With `--parents`: the part that is kept below the destination.
    pub kept: Option<String>,
}

/// Chooses what a source pattern names.
///
/// # Errors
/// When a source without wildcards is not there.
pub fn select(tree: &dyn FileTree, pattern: &str, parents: bool) -> Result<Vec<Selected>, Error> {
    let pivot = pattern.find("/./").filter(|_| parents);
    let cleaned = crate::ignore::clean(&format!("/{pattern}"))[1..].to_owned();
    let dropped =
        pivot.map_or(String::new(), |at| crate::ignore::clean(&format!("/{}", &pattern[..at]))[1..].to_owned());
    let mut found = Vec::new();
    if has_wildcard(&cleaned) {
        let parts: Vec<&str> = cleaned.split('/').collect();
        glob(tree, "", "", &parts, parents, &mut found)?;
    } else {
        let path = resolve(tree, &cleaned, true)?;
        if tree.get(&path)?.is_none() {
            return Err(Error::NotFound { path: format!("/{cleaned}") });
        }
        found.push((path, cleaned));
    }
    Ok(found
        .into_iter()
        .map(|(path, named)| {
            let kept =
                parents.then(|| named.strip_prefix(&dropped).unwrap_or(&named).trim_start_matches('/').to_owned());
            Selected { path, named, kept }
        })
        .collect())
}

fn has_wildcard(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

fn glob(
    tree: &dyn FileTree,
    real: &str,
    named: &str,
    parts: &[&str],
    deep: bool,
    found: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    let Some((part, rest)) = parts.split_first() else {
        let path = resolve(tree, real, true)?;
        match tree.get(&path)? {
            Some(_) => found.push((path, named.to_owned())),
            // A link that matches and leads nowhere.
            None if tree.get(real)?.is_some() => return Err(Error::NotFound { path: format!("/{path}") }),
            None => {}
        }
        return Ok(());
    };
    let here = resolve(tree, real, true)?;
    if !tree.get(&here)?.is_some_and(|node| node.is_dir()) {
        return Ok(());
    }
    if !has_wildcard(part) {
        let name = part.replace('\\', "");
        return glob(tree, &join(&here, &name), &join(named, &name), rest, deep, found);
    }
    if deep && *part == "**" {
        glob(tree, &here, named, rest, deep, found)?;
        for name in tree.list(&here)? {
            let child = join(&here, &name);
            if tree.get(&child)?.is_some_and(|node| node.is_dir()) {
                glob(tree, &child, &join(named, &name), parts, deep, found)?;
            }
        }
        return Ok(());
    }
    for name in tree.list(&here)? {
        if component(part, &name) {
            glob(tree, &join(&here, &name), &join(named, &name), rest, deep, found)?;
        }
    }
    Ok(())
}

/// Go's `filepath.Match` for one path component.
fn component(pattern: &str, name: &str) -> bool {
    fn go(p: &[char], n: &[char]) -> bool {
        match p.split_first() {
            None => n.is_empty(),
            Some(('*', rest)) => (0..=n.len()).any(|at| go(rest, &n[at..])),
            Some(('?', rest)) => !n.is_empty() && go(rest, &n[1..]),
            Some(('[', rest)) => {
                let Some((&c, after)) = n.split_first() else { return false };
                let negated = rest.first() == Some(&'^');
                let mut at = usize::from(negated);
                let mut hit = false;
                let take = |at: &mut usize| {
                    if matches!(rest.get(*at), Some('-' | ']')) {
                        return None;
                    }
                    *at += usize::from(rest.get(*at) == Some(&'\\'));
                    let c = rest.get(*at).copied();
                    *at += 1;
                    c
                };
                let mut first = true;
                while first || rest.get(at) != Some(&']') {
                    first = false;
                    let Some(low) = take(&mut at) else { return false };
                    let mut high = low;
                    if rest.get(at) == Some(&'-') {
                        at += 1;
                        let Some(end) = take(&mut at) else { return false };
                        high = end;
                    }
                    hit |= (low..=high).contains(&c);
                }
                hit != negated && go(&rest[at + 1..], after)
            }
            Some(('\\', rest)) => rest.first().is_some_and(|c| n.first() == Some(c)) && go(&rest[1..], &n[1..]),
            Some((c, rest)) => n.first() == Some(c) && go(rest, &n[1..]),
        }
    }
    go(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_path_components_as_go_does() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXbYc", true),
            ("[]a]", "a", false),
            ("x[", "x[", false),
        ] {
            assert_eq!(component(pattern, name), expected, "{pattern} {name}");
        }
    }
}
