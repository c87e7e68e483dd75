//! Labels and people of a thread: who is to see to it, and whose review is asked for.

use super::{Done, Thread};
use crate::model::Repo;
use crate::push::Actor;
use crate::{Error, Forge, shape};

impl Forge {
    /// Those of the logins who can be given something to do: they must be able to see the repository.
    pub(crate) async fn assignable(&self, repo: &Repo, logins: &[String]) -> Result<Vec<String>, Error> {
        let mut known = Vec::new();
        for login in logins {
            let user = self.user(login).await?;
            let role = user.as_ref().and_then(|user| crate::auth::Principal::user(user).role(repo, false));
            match (user, role) {
                (Some(user), Some(_)) if !known.contains(&user.login) => known.push(user.login),
                (Some(_), Some(_)) => {}
                _ => return Err(Error::invalid("assignees", format!("'{login}' cannot be assigned here"))),
            }
        }
        Ok(known)
    }

    /// Makes a thread's labels what a function makes of them.
    pub(crate) async fn set_labels(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        wanted: impl FnOnce(&[String]) -> Vec<String>,
    ) -> Result<Thread, Error> {
        // Two may change the same list at once: what it is is looked at under the lock.
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let before = self.need_thread(repo, number).await?;
        let names = wanted(before.labels());
        let id = repo.id;
        let labels = self.store().write(move |tx| tx.ensure_labels(id, &names)).await?;
        let gone: Vec<String> =
            before.labels().iter().filter(|name| !labels.iter().any(|label| label.name == **name)).cloned().collect();
        let gone = self.labels_named(repo, &gone).await?;
        let urls = self.canonical();
        self.change_held(repo, number, actor, |thread| {
            let mut done: Vec<Done> = Vec::new();
            for label in labels {
                if !thread.has_label(&label.name) {
                    done.push(("labeled", vec![("label", shape::label(urls.urls(), repo, &label))]));
                    thread.labels_mut().push(label.name);
                }
            }
            for label in gone {
                if thread.has_label(&label.name) {
                    done.push(("unlabeled", vec![("label", shape::label(urls.urls(), repo, &label))]));
                    thread.labels_mut().retain(|name| !name.eq_ignore_ascii_case(&label.name));
                }
            }
            done
        })
        .await
    }

    /// What is told of a list of people that becomes another: an action for each who left and each who came, with the person as `role`.
    async fn moved(
        &self,
        before: &[String],
        after: &[String],
        [left, came]: [&'static str; 2],
        role: &'static str,
    ) -> Result<Vec<Done>, Error> {
        let mut done: Vec<Done> = Vec::new();
        for login in before.iter().chain(after) {
            let action = match (before.contains(login), after.contains(login)) {
                (true, false) => left,
                (false, true) => came,
                _ => continue,
            };
            let user = self.user_or_ghost(login).await?;
            done.push((action, vec![(role, shape::user(self.canonical().urls(), &user))]));
        }
        Ok(done)
    }

    /// Makes those who are to see to a thread what a function makes of them.
    pub(crate) async fn set_assignees(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        wanted: impl FnOnce(&[String]) -> Vec<String>,
    ) -> Result<Thread, Error> {
        // Two may change the same list at once: what it is is looked at under the lock.
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let before = self.need_thread(repo, number).await?;
        let wanted = self.assignable(repo, &wanted(before.assignees())).await?;
        let done = self.moved(before.assignees(), &wanted, ["unassigned", "assigned"], "assignee").await?;
        self.change_held(repo, number, actor, |thread| {
            *thread.assignees_mut() = wanted;
            done
        })
        .await
    }

    /// Asks for reviews of a pull request, or no longer: `wanted` is given whose review is asked for and says whose is to be.
    ///
    /// # Errors
    /// When it is closed, or names its author or somebody who cannot see the repository.
    pub(crate) async fn set_reviewers(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        wanted: impl FnOnce(&[String]) -> Vec<String>,
    ) -> Result<Thread, Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let before = self.need_pull(repo, number).await?;
        let wanted = wanted(&before.reviewers);
        if wanted.iter().any(|login| login.eq_ignore_ascii_case(&before.author)) {
            return Err(Error::invalid("reviewers", "Review cannot be requested from pull request author."));
        }
        let wanted = self.assignable(repo, &wanted).await.map_err(|error| match error {
            Error::Invalid { .. } => Error::invalid(
                "reviewers",
                "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the repository.",
            ),
            other => other,
        })?;
        let actions = ["review_request_removed", "review_requested"];
        let done = self.moved(&before.reviewers, &wanted, actions, "requested_reviewer").await?;
        self.change_held(repo, number, actor, |thread| {
            if let Thread::Pull(pull) = thread {
                pull.reviewers = wanted;
            }
            done
        })
        .await
    }
}
