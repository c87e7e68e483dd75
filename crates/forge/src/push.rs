//! Ref updates and their record.
//!
//! Git moves refs; the database records that they moved and tells of it. Between the two a kill may strike, so every update goes
//! through three steps: an *intent* is stored (who wants to move what), git moves the refs, and one transaction records the
//! new state, puts the events into the outbox and forgets the intent. On opening, refs that are not where the record has
//! them are recorded then, by the intents' word on who moved them.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use crate::model::Repo;
use crate::outbox::Emission;
use crate::pktline::RefChange;
use crate::{Error, Forge};

/// Who moves a ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    pub login: String,
    /// The workflow run whose token it is.
    pub run: Option<String>,
}

/// A stored intent to move one ref.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intended {
    pub intent: i64,
    pub actor: Actor,
    pub change: RefChange,
}

/// What must be told of: the update and who made it.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    change: RefChange,
    actor: Actor,
    intent: Option<i64>,
}

/// Whether the forge makes a ref itself, so that nobody is told of it.
fn internal(name: &str) -> bool {
    name.starts_with("refs/pull/")
}

impl Forge {
    /// Stores the intent to move refs. Follow with [`Forge::finish`], whatever git says.
    pub(crate) async fn intend(&self, repo: u64, actor: &Actor, changes: &[RefChange]) -> Result<i64, Error> {
        let (actor, changes) = (actor.clone(), changes.to_vec());
        let actor_text = serde_json::to_string(&actor).map_err(|source| Error::Document { kind: "actor", source })?;
        self.store()
            .write(move |tx| {
                tx.sql("storing an intent", |c| {
                    c.execute("insert into intent (repo, actor) values (?1, ?2)", params![repo as i64, actor_text])?;
                    let id = c.last_insert_rowid();
                    for change in &changes {
                        c.execute(
                            "insert or replace into intent_ref (intent, name, old, new) values (?1, ?2, ?3, ?4)",
                            params![id, change.name, change.old, change.new],
                        )?;
                    }
                    Ok(id)
                })
            })
            .await
    }

    /// Records what came of an intent: the changes that git made. Returns the webhooks' ids, which are durable then.
    pub(crate) async fn finish(&self, repo: u64, intent: i64, made: &[RefChange]) -> Result<Vec<i64>, Error> {
        let lock = self.lock_of(repo);
        let _guard = lock.lock().await;
        let made: Vec<RefChange> = made.iter().filter(|change| !internal(&change.name)).cloned().collect();
        let Some(settings) = self.repository_by_id(repo).await? else {
            return Err(Error::not_found("repository", repo.to_string()));
        };
        let (recorded, intended) = self.known(repo).await?;
        let told = plan(&settings.owner, &recorded, &intended, Some(intent), &made);
        let told = self.tell(settings, told, &[intent]).await;
        if !made.is_empty() {
            self.inner().touched.add(repo);
        }
        told
    }

    async fn known(&self, repo: u64) -> Result<(BTreeMap<String, String>, Vec<Intended>), Error> {
        self.store()
            .read(move |tx| {
                let recorded = tx.recorded(repo)?;
                let rows = tx.sql("reading intents", |c| {
                    let mut statement = c.prepare_cached(
                        "select i.id, i.actor, r.name, r.old, r.new from intent i join intent_ref r on r.intent = i.id \
                         where i.repo = ?1 order by i.id",
                    )?;
                    let rows = statement.query_map([repo as i64], |row| {
                        let change = RefChange { name: row.get(2)?, old: row.get(3)?, new: row.get(4)? };
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, change))
                    })?;
                    rows.collect::<Result<Vec<_>, _>>()
                })?;
                let intended = rows
                    .into_iter()
                    .map(|(intent, actor, change)| {
                        serde_json::from_str(&actor)
                            .map(|actor| Intended { intent, actor, change })
                            .map_err(|source| Error::Document { kind: "actor", source })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                Ok((recorded, intended))
            })
            .await
    }

    /// Records updates and tells of them in one transaction; then sees to HEAD and to pull requests. Under the repository's lock.
    async fn tell(&self, mut settings: Repo, told: Vec<Told>, finished: &[i64]) -> Result<Vec<i64>, Error> {
        let repository = self.git_of(&settings)?;
        adopt_head(&repository, &mut settings, &told).await?;
        let mut emissions: Vec<Emission> = Vec::new();
        let new_tags = told.iter().filter(|t| t.change.name.starts_with("refs/tags/") && t.change.old == git::ZERO);
        // GitHub tells of no tags when more than three come at once.
        let silent_tags = new_tags.count() > 3;
        for update in &told {
            if silent_tags && update.change.name.starts_with("refs/tags/") {
                continue;
            }
            emissions.extend(self.push_events(&settings, &repository, &update.change, &update.actor).await?);
        }
        let finished = finished.to_vec();
        let repo = settings.id;
        let actor = told.last().map(|update| update.actor.clone());
        let ids = self
            .store()
            .write(move |tx| {
                for update in &told {
                    tx.record(repo, &update.change.name, &update.change.new)?;
                    if let Some(intent) = update.intent {
                        tx.sql("forgetting an intent", |c| {
                            c.execute(
                                "delete from intent_ref where intent = ?1 and name = ?2",
                                params![intent, update.change.name],
                            )
                        })?;
                    }
                }
                for intent in &finished {
                    tx.sql("forgetting an intent", |c| {
                        c.execute("delete from intent_ref where intent = ?1", [intent])?;
                        c.execute("delete from intent where id = ?1", [intent])
                    })?;
                }
                if !told.is_empty() {
                    // Read again: a setting may have changed while git worked.
                    let mut current = tx.by_id::<Repo>(0, repo)?.unwrap_or_else(|| settings.clone());
                    current.pushed_at = crate::time::now();
                    current.default_branch = settings.default_branch.clone();
                    tx.put(0, &current)?;
                }
                emissions.iter().map(|emission| tx.emit(repo, emission)).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        self.ring();
        if let Some(actor) = actor {
            self.refresh_pulls(repo, &actor).await?;
        }
        Ok(ids)
    }

    /// Moves refs in the name of an actor, outside of a push over HTTP, and tells of it. Each change is a compare-and-swap.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when a ref was not where its change says; changes before it stand.
    pub(crate) async fn move_refs(&self, repo: &Repo, actor: &Actor, changes: &[RefChange]) -> Result<Vec<i64>, Error> {
        let repository = self.git_of(repo)?;
        let intent = self.intend(repo.id, actor, changes).await?;
        let mut made = Vec::new();
        let mut failure = None;
        for change in changes {
            let moved = if change.new == git::ZERO {
                repository.delete_ref(&change.name, &change.old).await
            } else {
                let old = Some(change.old.as_str()).filter(|old| *old != git::ZERO);
                repository.update_ref(&change.name, &change.new, old).await
            };
            match moved {
                Ok(true) => made.push(change.clone()),
                Ok(false) => {
                    failure = Some(Error::RefMoved { name: change.name.clone(), expected: change.old.clone() });
                    break;
                }
                Err(error) => {
                    failure = Some(error.into());
                    break;
                }
            }
        }
        let ids = self.finish(repo.id, intent, &made).await?;
        failure.map_or(Ok(ids), Err)
    }

    /// Takes the refs as they are now for recorded, without telling anybody: for seeding.
    pub(crate) async fn adopt_refs(&self, repo: &Repo) -> Result<(), Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let repository = self.git_of(repo)?;
        let refs = repository.refs("refs/").await?;
        let mut settings = repo.clone();
        let told: Vec<Told> = refs
            .iter()
            .map(|(name, oid)| Told {
                change: RefChange { name: name.clone(), old: git::ZERO.to_owned(), new: oid.clone() },
                actor: Actor { login: repo.owner.clone(), run: None },
                intent: None,
            })
            .collect();
        adopt_head(&repository, &mut settings, &told).await?;
        let id = repo.id;
        self.store()
            .write(move |tx| {
                tx.sql("forgetting refs", |c| c.execute("delete from recorded_ref where repo = ?1", [id as i64]))?;
                for (name, oid) in refs.iter().filter(|(name, _)| !internal(name)) {
                    tx.record(id, name, oid)?;
                }
                tx.put(0, &settings)
            })
            .await
    }
}

/// Points an unborn HEAD at a branch that has come: `main` or `master` where one of them has, else the first.
async fn adopt_head(repository: &git::Repository, settings: &mut Repo, told: &[Told]) -> Result<(), Error> {
    if !told.iter().any(|t| t.change.old == git::ZERO && t.change.name.starts_with("refs/heads/")) {
        return Ok(());
    }
    let default = format!("refs/heads/{}", settings.default_branch);
    if repository.rev_parse(&default).await?.is_some() {
        if repository.head().await?.as_deref() != Some(default.as_str()) {
            repository.set_head(&default).await?;
        }
        return Ok(());
    }
    let branches: Vec<String> = repository.refs("refs/heads/").await?.into_iter().map(|(name, _)| name).collect();
    let preferred = ["refs/heads/main", "refs/heads/master"];
    let chosen = preferred.iter().find(|name| branches.iter().any(|branch| branch == *name)).map(|n| (*n).to_owned());
    if let Some(branch) = chosen.or_else(|| branches.first().cloned()) {
        repository.set_head(&branch).await?;
        settings.default_branch = branch.trim_start_matches("refs/heads/").to_owned();
    }
    Ok(())
}

/// Decides what to tell, in order. Pure.
///
/// `made` is what git did. An update that starts elsewhere than at the recorded state means that others came before it whose record is
/// still on its way: their intents say who they are, so they are told first, and not again when they come to finish.
fn plan(
    owner: &str,
    recorded: &BTreeMap<String, String>,
    intended: &[Intended],
    intent: Option<i64>,
    made: &[RefChange],
) -> Vec<Told> {
    let mut told = Vec::new();
    for change in made {
        let own = intended.iter().find(|i| Some(i.intent) == intent && i.change == *change);
        if intent.is_some() && own.is_none() {
            continue;
        }
        let at = recorded.get(&change.name).map_or(git::ZERO, String::as_str);
        let others: Vec<&Intended> = intended
            .iter()
            .filter(|i| i.change.name == change.name && (intent.is_none() || Some(i.intent) != intent))
            .collect();
        let goal = if intent.is_some() { &change.old } else { &change.new };
        if at != goal {
            match chain(&others, at, goal) {
                Some(links) => told.extend(links.into_iter().map(|i| Told {
                    change: i.change.clone(),
                    actor: i.actor.clone(),
                    intent: Some(i.intent),
                })),
                None => told.push(Told {
                    change: RefChange { name: change.name.clone(), old: at.to_owned(), new: goal.clone() },
                    actor: others
                        .iter()
                        .rev()
                        .find(|i| i.change.new == *goal)
                        .map_or_else(|| Actor { login: owner.to_owned(), run: None }, |i| i.actor.clone()),
                    intent: None,
                }),
            }
        }
        if let Some(own) = own {
            told.push(Told { change: change.clone(), actor: own.actor.clone(), intent });
        }
    }
    told
}

/// A path of intents that leads from one state of a ref to another.
fn chain<'a>(intended: &[&'a Intended], from: &str, to: &str) -> Option<Vec<&'a Intended>> {
    let mut paths: Vec<Vec<&'a Intended>> = vec![Vec::new()];
    // Each round makes paths one longer; none is longer than there are intents.
    for _ in 0..intended.len() {
        let mut longer = Vec::new();
        for path in &paths {
            let at = path.last().map_or(from, |i| i.change.new.as_str());
            for next in intended.iter().filter(|i| i.change.old == at) {
                if path.iter().any(|seen| seen.intent == next.intent) {
                    continue;
                }
                let mut extended = path.clone();
                extended.push(next);
                if next.change.new == to {
                    return Some(extended);
                }
                longer.push(extended);
            }
        }
        longer.truncate(64);
        paths = longer;
    }
    None
}

/// Records and tells of what git did and no one recorded. Runs when the forge opens, before anything else.
pub(crate) async fn repair(forge: &Forge) -> Result<(), Error> {
    for repo in forge.store().list::<Repo>(0, "").await? {
        let repository = match git::Repository::open(forge.dir_of(repo.id)) {
            Ok(repository) => repository,
            Err(_) => git::Repository::init_bare(forge.dir_of(repo.id), &repo.default_branch).await?,
        };
        let current: BTreeMap<String, String> =
            repository.refs("refs/").await?.into_iter().filter(|(name, _)| !internal(name)).collect();
        let (recorded, intended) = forge.known(repo.id).await?;
        let names: std::collections::BTreeSet<&String> = current.keys().chain(recorded.keys()).collect();
        let made: Vec<RefChange> = names
            .into_iter()
            .filter(|name| current.get(*name) != recorded.get(*name))
            .map(|name| {
                let at = |state: &BTreeMap<String, String>| state.get(name).cloned().unwrap_or(git::ZERO.to_owned());
                RefChange { name: name.clone(), old: at(&recorded), new: at(&current) }
            })
            .collect();
        let mut intents: Vec<i64> = intended.iter().map(|i| i.intent).collect();
        intents.dedup();
        if made.is_empty() && intents.is_empty() {
            continue;
        }
        let told = plan(&repo.owner, &recorded, &intended, None, &made);
        tracing::info!(repository = repo.full_name(), updates = told.len(), "recording ref updates found on opening");
        let lock = forge.lock_of(repo.id);
        let _guard = lock.lock().await;
        forge.tell(repo, told, &intents).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, old: &str, new: &str) -> RefChange {
        RefChange { name: name.into(), old: old.into(), new: new.into() }
    }

    fn intended(intent: i64, name: &str, old: &str, new: &str) -> Intended {
        let actor = Actor { login: format!("user{intent}"), run: None };
        Intended { intent, actor, change: change(name, old, new) }
    }

    fn seen(told: &[Told]) -> Vec<(String, String, String)> {
        told.iter().map(|t| (t.change.old.clone(), t.change.new.clone(), t.actor.login.clone())).collect()
    }

    fn s(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.into(), b.into(), c.into())
    }

    #[test]
    fn updates_are_told_once_and_in_their_order() {
        let recorded = BTreeMap::from([("r".to_owned(), "a".to_owned())]);
        let both = [intended(1, "r", "a", "b"), intended(2, "r", "b", "c")];
        // The second finishes first: the first is told before it, by its own actor.
        let told = plan("o", &recorded, &both, Some(2), &[change("r", "b", "c")]);
        assert_eq!(seen(&told), [s("a", "b", "user1"), s("b", "c", "user2")]);
        // The first then has nothing left to tell.
        let rest: [Intended; 0] = [];
        assert_eq!(plan("o", &recorded, &rest, Some(1), &[change("r", "a", "b")]), []);
        // In the plain order each tells its own.
        let told = plan("o", &recorded, &both, Some(1), &[change("r", "a", "b")]);
        assert_eq!(seen(&told), [s("a", "b", "user1")]);
    }

    #[test]
    fn after_a_kill_intents_say_who() {
        let recorded = BTreeMap::from([("r".to_owned(), "a".to_owned())]);
        let both = [intended(1, "r", "a", "b"), intended(2, "r", "b", "c"), intended(3, "r", "c", "d")];
        let told = plan("o", &recorded, &both, None, &[change("r", "a", "c")]);
        assert_eq!(seen(&told), [s("a", "b", "user1"), s("b", "c", "user2")]);
        let told = plan("o", &recorded, &[], None, &[change("r", "a", "z")]);
        assert_eq!(seen(&told), [s("a", "z", "o")]);
        let told = plan("o", &recorded, &[intended(9, "r", "q", "z")], None, &[change("r", "a", "z")]);
        assert_eq!(seen(&told), [s("a", "z", "user9")]);
    }
}
