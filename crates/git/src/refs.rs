//! Refs: listing, and updates by compare-and-swap.

use crate::process::{Call, checked};
use crate::{Error, Repository, ZERO, is_oid};

impl Repository {
    /// All refs below `prefix` (`refs/heads/`, or `""` for all), sorted by name.
    ///
    /// # Errors
    /// When git fails.
    pub async fn refs(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let mut call = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        // for-each-ref matches whole path components; a trailing slash is not one.
        let trimmed = prefix.trim_end_matches('/');
        if !trimmed.is_empty() {
            call = call.arg(checked(trimmed)?);
        }
        let text = call.text().await?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, oid)| (name.to_owned(), oid.to_owned()))
            .collect())
    }

    /// Moves `name` to `new` if it still is at `expected_old` (`None`: it must not exist yet). `false` means that somebody else
    /// moved it first; nothing has changed then.
    ///
    /// # Errors
    /// When the name is not a valid ref, the object is missing, or git fails for another reason than the race.
    pub async fn update_ref(&self, name: &str, new: &str, expected_old: Option<&str>) -> Result<bool, Error> {
        self.swap_ref(name, new, expected_old).await
    }

    /// Deletes `name` if it still is at `expected_old`. `false` means that somebody else moved it first.
    ///
    /// # Errors
    /// As [`Repository::update_ref`].
    pub async fn delete_ref(&self, name: &str, expected_old: &str) -> Result<bool, Error> {
        self.swap_ref(name, ZERO, Some(expected_old)).await
    }

    async fn swap_ref(&self, name: &str, new: &str, expected_old: Option<&str>) -> Result<bool, Error> {
        if !name.starts_with("refs/") {
            return Err(Error::BadName(name.to_owned()));
        }
        checked(name)?;
        if !is_oid(new) || expected_old.is_some_and(|old| !is_oid(old)) {
            return Err(Error::BadName(new.to_owned()));
        }
        let old = expected_old.unwrap_or(ZERO);
        let line = format!("update {name}\0{new}\0{old}\0");
        // A short-lived lock of another writer is not a lost race: the expected value may still stand after it.
        let mut tries = 0;
        loop {
            let output =
                self.git(&["update-ref", "--no-deref", "--stdin", "-z"]).stdin(line.as_bytes()).output().await?;
            if output.status == 0 {
                return Ok(true);
            }
            let current = self.rev_parse(name).await?;
            if current.as_deref() != expected_old.filter(|old| *old != ZERO) {
                return Ok(false);
            }
            let locked = output.stderr.contains(".lock': File exists");
            tries += 1;
            if !locked || tries == 20 {
                return Err(output.failure("update-ref", self.dir()));
            }
            tokio::time::sleep(std::time::Duration::from_millis(5 << tries.min(5))).await;
        }
    }

    /// The branch that HEAD names, born or not (`refs/heads/main`); `None` when HEAD is detached.
    ///
    /// # Errors
    /// When git fails.
    pub async fn head(&self) -> Result<Option<String>, Error> {
        let output = self.git(&["symbolic-ref", "--quiet", "HEAD"]).output().await?;
        match output.status {
            0 => Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())),
            1 => Ok(None),
            _ => Err(output.failure("symbolic-ref", self.dir())),
        }
    }

    /// Points HEAD at a branch, given as `refs/heads/...`, which need not exist yet.
    ///
    /// # Errors
    /// When the name is not a branch or git fails.
    pub async fn set_head(&self, branch: &str) -> Result<(), Error> {
        if !branch.starts_with("refs/heads/") {
            return Err(Error::BadName(branch.to_owned()));
        }
        self.git(&["symbolic-ref", "HEAD", branch]).run().await.map(drop)
    }

    /// Whether git would accept `name` as a full ref name (`git check-ref-format`).
    ///
    /// # Errors
    /// When git cannot run.
    pub async fn is_valid_ref(&self, name: &str) -> Result<bool, Error> {
        if checked(name).is_err() {
            return Ok(false);
        }
        let output = Call::new(self.dir(), &["check-ref-format", name]).output().await?;
        Ok(output.status == 0)
    }
}
