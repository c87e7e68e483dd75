//! Users and grants as people write them: htpasswd lines, `PATTERN:pull,push`.

use super::{Action, Grant, Password};

/// What is wrong with a line or a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No colon, or an empty name.
    #[error("line {0} is not NAME:HASH")]
    Line(usize),
    /// A hash that is not bcrypt or PBKDF2.
    #[error(
        "line {line}: the password of {name} is not a bcrypt hash; write it with `htpasswd -B` or `bigben registry passwd`"
    )]
    Hash {
        /// Which line, from 1.
        line: usize,
        /// Whose password.
        name: String,
    },
    /// Two lines for one name.
    #[error("line {line}: {name} is there already")]
    Twice {
        /// Which line, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// A grant that is not understood.
    #[error("grant {0:?} is not PATTERN[:pull,push,delete]; * stands for one part of a name, ** for any number")]
    Grant(String),
}

/// Reads an htpasswd file with bcrypt hashes, or the lines that `bigben registry passwd` writes. Empty lines and those that
/// begin with `#` are left out.
///
/// # Errors
///
/// Names the first line that is not one. Weak hashes (MD5, SHA-1, crypt) and plain passwords are refused.
pub fn htpasswd(text: &str) -> Result<Vec<(String, Password)>, AccessError> {
    let mut users: Vec<(String, Password)> = Vec::new();
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (name, hash) = content.split_once(':').filter(|(n, _)| !n.is_empty()).ok_or(AccessError::Line(line))?;
        let name = name.to_owned();
        let Some(password) = Password::from_line(hash) else { return Err(AccessError::Hash { line, name }) };
        if users.iter().any(|(known, _)| *known == name) {
            return Err(AccessError::Twice { line, name });
        }
        users.push((name, password));
    }
    Ok(users)
}

impl Grant {
    /// Reads `PATTERN` (everything) or `PATTERN:pull,push,delete`.
    ///
    /// # Errors
    ///
    /// When an action is not known or the pattern is not made of name parts.
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let wrong = || AccessError::Grant(text.to_owned());
        let (pattern, actions) = text.split_once(':').unwrap_or((text, "pull,push,delete"));
        let part = |part: &str| matches!(part, "*" | "**") || oci::reference::valid_repository(part);
        if !pattern.split('/').all(part) {
            return Err(wrong());
        }
        let actions: Option<Vec<Action>> = actions.split(',').map(Action::parse).collect();
        Ok(Self { repository: pattern.to_owned(), actions: actions.ok_or_else(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_and_grants() {
        let hash = "$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu";
        let own = Password::hash("other").to_line().expect("a hash");
        let users = htpasswd(&format!("# people\n\nann:{hash}\n bob:{own}\n")).expect("reads");
        assert!(users[0].1.matches("password") && !users[0].1.matches("other"));
        assert!(users[1].1.matches("other"));
        assert_eq!(htpasswd("ann").expect_err("no colon"), AccessError::Line(1));
        for weak in
            ["secret", "{SHA}x", "$apr1$a$b", "", "$2y$31$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu"]
        {
            assert!(matches!(htpasswd(&format!("\nann:{weak}")), Err(AccessError::Hash { line: 2, .. })), "{weak}");
        }
        assert!(matches!(htpasswd(&format!("a:{hash}\na:{hash}")), Err(AccessError::Twice { line: 2, .. })));

        assert_eq!(Grant::parse("ann/**"), Ok(Grant::all("ann/**")));
        assert_eq!(Grant::parse("**:pull"), Ok(Grant::read("**")));
        for bad in ["", "a//b", "A", "a:write", "a:pull,", "a:pull:push", "../a"] {
            assert!(Grant::parse(bad).is_err(), "{bad}");
        }
    }
}
