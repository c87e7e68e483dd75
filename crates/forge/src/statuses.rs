//! Commit statuses and check runs.

use serde_json::{Value, json};

use crate::model::{CheckRun, Repo, Status};
use crate::outbox::Emission;
use crate::push::Actor;
use crate::{Error, Forge, shape, time};

const STATES: [&str; 4] = ["error", "failure", "pending", "success"];
const CONCLUSIONS: [&str; 8] =
    ["action_required", "cancelled", "failure", "neutral", "skipped", "stale", "success", "timed_out"];

impl Forge {
    pub(crate) async fn need_commit(&self, repo: &Repo, revision: &str) -> Result<String, Error> {
        self.git_of(repo)?
            .rev_parse(&format!("{revision}^{{commit}}"))
            .await?
            .ok_or_else(|| Error::not_found("commit", revision))
    }

    pub(crate) async fn post_status(&self, repo: &Repo, actor: &Actor, mut status: Status) -> Result<Status, Error> {
        if !STATES.contains(&status.state.as_str()) {
            return Err(Error::invalid("state", format!("{:?} is none of {}", status.state, STATES.join(", "))));
        }
        status.sha = self.need_commit(repo, &status.sha).await?;
        status.created_at = time::now();
        if status.context.is_empty() {
            status.context = "default".to_owned();
        }
        let sender = self.user_or_ghost(&actor.login).await?;
        let mut payload = self.envelope(repo, &sender).await?;
        for (key, value) in [
            ("sha", json!(status.sha)),
            ("name", json!(repo.full_name())),
            ("state", json!(status.state)),
            ("context", json!(status.context)),
            ("description", json!(status.description)),
            ("target_url", json!(status.target_url)),
            ("created_at", json!(time::rfc3339(status.created_at))),
        ] {
            payload[key] = value;
        }
        let (id, name, run) = (repo.id, repo.full_name(), actor.run.clone());
        let status = self
            .store()
            .write(move |tx| {
                status.id = tx.next("status")?;
                payload["id"] = json!(status.id);
                tx.put(id, &status)?;
                tx.emit(id, &Emission::new("status", name, payload, run))?;
                Ok(status)
            })
            .await?;
        self.ring();
        Ok(status)
    }

    pub(crate) async fn statuses_of(&self, repo: &Repo, sha: &str) -> Result<Vec<Status>, Error> {
        let mut all: Vec<Status> = self.store().list(repo.id, format!("{sha}/")).await?;
        all.reverse();
        Ok(all)
    }

    /// The newest status of each context, and what they come to.
    pub(crate) async fn combined_status(&self, repo: &Repo, sha: &str) -> Result<(&'static str, Vec<Status>), Error> {
        let mut newest: Vec<Status> = Vec::new();
        for status in self.statuses_of(repo, sha).await? {
            if !newest.iter().any(|other| other.context == status.context) {
                newest.push(status);
            }
        }
        Ok((combine(newest.iter().map(|status| status.state.as_str())), newest))
    }

    pub(crate) async fn post_check_run(
        &self,
        repo: &Repo,
        actor: &Actor,
        mut run: CheckRun,
    ) -> Result<CheckRun, Error> {
        if let Some(conclusion) = &run.conclusion {
            if !CONCLUSIONS.contains(&conclusion.as_str()) {
                let reason = format!("{conclusion:?} is none of {}", CONCLUSIONS.join(", "));
                return Err(Error::invalid("conclusion", reason));
            }
            run.status = "completed".to_owned();
            run.completed_at.get_or_insert_with(time::now);
        }
        run.head_sha = self.need_commit(repo, &run.head_sha).await?;
        if run.started_at == 0 {
            run.started_at = time::now();
        }
        let id = repo.id;
        if run.status.is_empty() {
            run.status = "queued".to_owned();
        }
        let existing: Option<CheckRun> = match run.id {
            // The poster's own id names the run where ours is not known.
            0 if run.external_id.is_some() => {
                let of_commit: Vec<CheckRun> = self.store().list(id, format!("{}/", run.head_sha)).await?;
                of_commit.into_iter().find(|other| other.external_id == run.external_id)
            }
            0 => None,
            number => self.store().by_id(id, number).await?,
        };
        let action = match (&existing, run.status.as_str()) {
            (None, _) => "created",
            (Some(before), "completed") if before.status != "completed" => "completed",
            _ => "",
        };
        if let Some(before) = &existing {
            run.id = before.id;
            run.suite = if run.suite == 0 { before.suite } else { run.suite };
            run.details_url = run.details_url.or_else(|| before.details_url.clone());
        } else {
            run.id = self.store().write(|tx| tx.next("check_run")).await?;
            if run.suite == 0 {
                run.suite = run.id;
            }
        }
        let sender = self.user_or_ghost(&actor.login).await?;
        let mut payload: Value = self.envelope(repo, &sender).await?;
        payload["action"] = json!(action);
        payload["check_run"] = shape::check_run(&self.inner().urls, repo, &run);
        let emission =
            (!action.is_empty()).then(|| Emission::new("check_run", repo.full_name(), payload, actor.run.clone()));
        let run = self
            .store()
            .write(move |tx| {
                tx.put(id, &run)?;
                if let Some(emission) = &emission {
                    tx.emit(id, emission)?;
                }
                Ok(run)
            })
            .await?;
        self.ring();
        Ok(run)
    }
}

/// What several states come to: any failure fails, anything pending (or nothing at all) waits, else success.
pub(crate) fn combine<'a>(states: impl Iterator<Item = &'a str>) -> &'static str {
    let mut seen = false;
    let mut pending = false;
    for state in states {
        seen = true;
        match state {
            "error" | "failure" => return "failure",
            "pending" => pending = true,
            _ => {}
        }
    }
    if seen && !pending { "success" } else { "pending" }
}

#[cfg(test)]
mod tests {
    use super::combine;

    #[test]
    fn states_combine_as_on_github() {
        for (states, expected) in [
            (&[][..], "pending"),
            (&["success"], "success"),
            (&["success", "pending"], "pending"),
            (&["pending", "error"], "failure"),
            (&["success", "failure"], "failure"),
        ] {
            assert_eq!(combine(states.iter().copied()), expected, "{states:?}");
        }
    }
}
