//! Secrets, variables, environments and protection, by whoever runs the forge.

use super::*;

impl Forge {
    /// The logins of those who must approve a deployment to an environment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reviewers(&self, environment: &Environment) -> Result<Vec<String>, Error> {
        let mut logins = Vec::new();
        for reviewer in &environment.reviewers {
            if let Some(login) = reviewer["login"].as_str() {
                logins.push(login.to_owned());
            } else if let Some(id) = reviewer["id"].as_u64()
                && let Some(user) = self.store().by_id::<User>(0, id).await?
            {
                logins.push(user.login);
            }
        }
        Ok(logins)
    }

    /// Sets the protection of an environment, which is made when absent: minutes to wait, and who must approve, by login.
    ///
    /// # Errors
    /// When the repository or a reviewer does not exist.
    pub async fn protect_environment(
        &self,
        full_name: &str,
        name: &str,
        wait_timer: u64,
        reviewers: &[String],
    ) -> Result<Environment, Error> {
        let repo = self.need_repository(full_name).await?;
        let mut environment = self.ensure_environment(&repo, name).await?;
        environment.wait_timer = wait_timer;
        environment.reviewers = Vec::new();
        for login in reviewers {
            let user = self.user(login).await?.ok_or_else(|| Error::not_found("user", login.clone()))?;
            environment.reviewers.push(serde_json::json!({"type": "User", "id": user.id}));
        }
        environment.updated_at = time::now();
        self.store().put(repo.id, environment).await
    }

    /// The secrets that a job sees: the repository's, and over them those of its environment.
    ///
    /// # Errors
    /// When the repository does not exist or a secret cannot be opened.
    pub async fn secrets(&self, full_name: &str, environment: Option<&str>) -> Result<BTreeMap<String, String>, Error> {
        let repo = self.need_repository(full_name).await?;
        let environment = environment.unwrap_or("").to_lowercase();
        let mut all: Vec<Secret> = self.store().list(repo.id, "/").await?;
        if !environment.is_empty() {
            all.extend(self.store().list::<Secret>(repo.id, format!("{environment}/")).await?);
        }
        all.into_iter()
            .map(|secret| {
                let bytes = self.inner().keys.open_sealed(&secret.name, &secret.sealed)?;
                Ok((secret.name, String::from_utf8_lossy(&bytes).into_owned()))
            })
            .collect()
    }

    /// Sets a secret of a repository (environment `None`) or of one of its environments, which is made when absent.
    ///
    /// # Errors
    /// When the repository does not exist or the name is not one.
    pub async fn set_secret(
        &self,
        full_name: &str,
        environment: Option<&str>,
        name: &str,
        value: &str,
    ) -> Result<(), Error> {
        let repo = self.need_repository(full_name).await?;
        let sealed = self.inner().keys.seal(value.as_bytes())?;
        self.put_secret(&repo, environment, name, sealed).await.map(drop)
    }

    /// Stores a sealed secret; `true` when it is new.
    pub(crate) async fn put_secret(
        &self,
        repo: &Repo,
        environment: Option<&str>,
        name: &str,
        sealed: String,
    ) -> Result<bool, Error> {
        let name = setting_name(name)?;
        self.inner().keys.open_sealed(&name, &sealed)?;
        if let Some(environment) = environment {
            self.ensure_environment(repo, environment).await?;
        }
        let now = time::now();
        let secret = Secret {
            environment: environment.unwrap_or("").to_owned(),
            name,
            sealed,
            created_at: now,
            updated_at: now,
        };
        let id = repo.id;
        self.store()
            .write(move |tx| {
                let mut secret = secret;
                let existing: Option<Secret> = tx.get(id, &crate::store::Doc::key(&secret))?;
                if let Some(existing) = &existing {
                    secret.created_at = existing.created_at;
                }
                tx.put(id, &secret)?;
                Ok(existing.is_none())
            })
            .await
    }

    /// The variables that a job sees: the repository's, and over them those of its environment.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn variables(
        &self,
        full_name: &str,
        environment: Option<&str>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let repo = self.need_repository(full_name).await?;
        let environment = environment.unwrap_or("").to_lowercase();
        let mut all: Vec<Variable> = self.store().list(repo.id, "/").await?;
        if !environment.is_empty() {
            all.extend(self.store().list::<Variable>(repo.id, format!("{environment}/")).await?);
        }
        Ok(all.into_iter().map(|variable| (variable.name, variable.value)).collect())
    }

    /// Sets a variable of a repository or of one of its environments, which is made when absent. `true` when it is new.
    ///
    /// # Errors
    /// When the repository does not exist or the name is not one.
    pub async fn set_variable(
        &self,
        full_name: &str,
        environment: Option<&str>,
        name: &str,
        value: &str,
    ) -> Result<bool, Error> {
        let repo = self.need_repository(full_name).await?;
        let name = setting_name(name)?;
        if let Some(environment) = environment {
            self.ensure_environment(&repo, environment).await?;
        }
        let now = time::now();
        let variable = Variable {
            environment: environment.unwrap_or("").to_owned(),
            name,
            value: value.to_owned(),
            created_at: now,
            updated_at: now,
        };
        let id = repo.id;
        self.store()
            .write(move |tx| {
                let mut variable = variable;
                let existing: Option<Variable> = tx.get(id, &crate::store::Doc::key(&variable))?;
                if let Some(existing) = &existing {
                    variable.created_at = existing.created_at;
                }
                tx.put(id, &variable)?;
                Ok(existing.is_none())
            })
            .await
    }

    /// An environment by name.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn environment(&self, full_name: &str, name: &str) -> Result<Option<Environment>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.store().get(repo.id, name.to_lowercase()).await
    }

    /// Makes an environment where it is absent, as GitHub does when a job first names it.
    ///
    /// # Errors
    /// When the repository does not exist or the name is empty.
    pub async fn create_environment(&self, full_name: &str, name: &str) -> Result<Environment, Error> {
        let repo = self.need_repository(full_name).await?;
        self.ensure_environment(&repo, name).await
    }

    pub(crate) async fn ensure_environment(&self, repo: &Repo, name: &str) -> Result<Environment, Error> {
        if name.trim().is_empty() || name.len() > 255 {
            return Err(Error::invalid("environment", "needs a name of 1 to 255 characters"));
        }
        let (id, name) = (repo.id, name.to_owned());
        self.store()
            .write(move |tx| {
                if let Some(existing) = tx.get::<Environment>(id, &name.to_lowercase())? {
                    return Ok(existing);
                }
                let now = time::now();
                let environment = Environment {
                    id: tx.next("environment")?,
                    name,
                    wait_timer: 0,
                    prevent_self_review: false,
                    reviewers: Vec::new(),
                    deployment_branch_policy: serde_json::Value::Null,
                    branch_patterns: Vec::new(),
                    created_at: now,
                    updated_at: now,
                };
                tx.put(id, &environment)?;
                Ok(environment)
            })
            .await
    }

    /// The rules of a protected branch; `None` when it has none.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn protection(&self, full_name: &str, branch: &str) -> Result<Option<Protection>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.store().get(repo.id, branch).await
    }

    /// Sets the rules of a branch.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn protect(&self, full_name: &str, protection: Protection) -> Result<(), Error> {
        let repo = self.need_repository(full_name).await?;
        self.store().put(repo.id, protection).await.map(drop)
    }
}
