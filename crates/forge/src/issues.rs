//! Issues, and what they share with pull requests: labels, people, comments, locks.
//!
//! Both count in one row of numbers, and REST's paths of issues serve both; so most of this is about a [`Thread`], which is either.

mod comments;
mod people;

use serde_json::{Value, json};

use crate::model::{Comment, Issue, Pull, Repo, padded};
use crate::outbox::Emission;
use crate::push::Actor;
use crate::store::Tx;
use crate::{Error, Forge, shape, time};

/// An issue or a pull request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Thread {
    Issue(Box<Issue>),
    Pull(Box<Pull>),
}

/// An issue to open.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewIssue {
    pub title: String,
    pub body: Option<String>,
    pub labels: Vec<String>,
    pub assignees: Vec<String>,
}

macro_rules! shared {
    ($($name:ident, $name_mut:ident: $type:ty;)*) => {$(
        pub fn $name(&self) -> &$type {
            match self { Thread::Issue(issue) => &issue.$name, Thread::Pull(pull) => &pull.$name }
        }
        #[allow(dead_code, reason = "made for all fields alike")]
        pub fn $name_mut(&mut self) -> &mut $type {
            match self { Thread::Issue(issue) => &mut issue.$name, Thread::Pull(pull) => &mut pull.$name }
        }
    )*};
}

impl Thread {
    shared! {
        number, number_mut: u64;
        title, title_mut: String;
        body, body_mut: Option<String>;
        author, author_mut: String;
        open, open_mut: bool;
        labels, labels_mut: Vec<String>;
        assignees, assignees_mut: Vec<String>;
        comments, comments_mut: Vec<Comment>;
        locked, locked_mut: Option<String>;
        created_at, created_at_mut: i64;
        updated_at, updated_at_mut: i64;
        closed_at, closed_at_mut: Option<i64>;
    }

    pub fn is_pull(&self) -> bool {
        matches!(self, Thread::Pull(_))
    }

    /// Where its page is below that of the repository.
    pub fn place(&self) -> String {
        format!("{}/{}", if self.is_pull() { "pull" } else { "issues" }, self.number())
    }

    /// Whether a name of a label is on it.
    pub fn has_label(&self, name: &str) -> bool {
        self.labels().iter().any(|label| label.eq_ignore_ascii_case(name))
    }

    fn put(&self, tx: &Tx, repo: u64) -> Result<(), Error> {
        match self {
            Thread::Issue(issue) => tx.put(repo, &**issue),
            Thread::Pull(pull) => tx.put(repo, &**pull),
        }
    }
}

/// One thing that was done to a thread: the activity type, and what its event has besides.
pub(crate) type Done = (&'static str, Vec<(&'static str, Value)>);

impl Forge {
    /// An issue by number.
    ///
    /// # Errors
    /// When the repository or the issue does not exist.
    pub async fn issue(&self, full_name: &str, number: u64) -> Result<Issue, Error> {
        let repo = self.need_repository(full_name).await?;
        let found = self.store().get(repo.id, padded(number)).await?;
        found.ok_or_else(|| Error::not_found("issue", number.to_string()))
    }

    pub(crate) async fn need_thread(&self, repo: &Repo, number: u64) -> Result<Thread, Error> {
        if let Some(issue) = self.store().get::<Issue>(repo.id, padded(number)).await? {
            return Ok(Thread::Issue(Box::new(issue)));
        }
        let pull = self.store().get::<Pull>(repo.id, padded(number)).await?;
        pull.map(|pull| Thread::Pull(Box::new(pull))).ok_or_else(|| Error::not_found("issue", number.to_string()))
    }

    /// All issues and pull requests of a repository, oldest first.
    pub(crate) async fn threads(&self, repo: &Repo) -> Result<Vec<Thread>, Error> {
        let issues: Vec<Issue> = self.store().list(repo.id, "").await?;
        let pulls: Vec<Pull> = self.store().list(repo.id, "").await?;
        let issues = issues.into_iter().map(|issue| Thread::Issue(Box::new(issue)));
        let mut all: Vec<Thread> = issues.chain(pulls.into_iter().map(|pull| Thread::Pull(Box::new(pull)))).collect();
        all.sort_by_key(|thread| *thread.number());
        Ok(all)
    }

    /// A thread as REST's issues show it.
    pub(crate) async fn thread_value(&self, repo: &Repo, thread: &Thread) -> Result<Value, Error> {
        let (api, page) = (self.urls().repo(repo), self.urls().page(repo));
        let author = self.user_or_ghost(thread.author()).await?;
        let n = *thread.number();
        let url = format!("{api}/issues/{n}");
        let assignees = self.user_values(thread.assignees()).await?;
        let mut value = json!({
            "number": n,
            "url": url,
            "repository_url": api,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "html_url": format!("{page}/{}", thread.place()),
            "title": thread.title(),
            "body": thread.body(),
            "user": shape::user(self.urls(), &author),
            "author_association": "OWNER",
            "state": if *thread.open() { "open" } else { "closed" },
            "locked": thread.locked().is_some(),
            "active_lock_reason": thread.locked().as_deref().filter(|reason| !reason.is_empty()),
            "labels": self.label_values(repo, thread.labels()).await?,
            "assignee": assignees.get(0),
            "assignees": assignees,
            "milestone": null,
            "comments": thread.comments().len(),
            "created_at": time::rfc3339(*thread.created_at()),
            "updated_at": time::rfc3339(*thread.updated_at()),
            "closed_at": thread.closed_at().map(time::rfc3339),
        });
        match thread {
            Thread::Issue(issue) => {
                value["id"] = json!(issue.id);
                value["node_id"] = json!(shape::node_id("Issue", issue.id));
                value["state_reason"] = json!(issue.state_reason);
                value["closed_by"] = match &issue.closed_by {
                    Some(login) => shape::user(self.urls(), &self.user_or_ghost(login).await?),
                    None => Value::Null,
                };
            }
            Thread::Pull(pull) => {
                value["id"] = json!(pull.id);
                value["node_id"] = json!(shape::node_id("PullRequest", pull.id));
                value["draft"] = json!(pull.draft);
                value["pull_request"] = json!({
                    "url": format!("{api}/pulls/{n}"),
                    "html_url": format!("{page}/pull/{n}"),
                    "diff_url": format!("{page}/pull/{n}.diff"),
                    "patch_url": format!("{page}/pull/{n}.patch"),
                    "merged_at": pull.merged.as_ref().map(|merged| time::rfc3339(merged.at)),
                });
            }
        }
        Ok(value)
    }

    /// The event of one thing that was done to a thread.
    async fn thread_event(&self, repo: &Repo, thread: &Thread, actor: &Actor, done: &Done) -> Result<Emission, Error> {
        let (action, extra) = done;
        if let Thread::Pull(pull) = thread {
            return self.pull_event(repo, pull, actor, action, extra).await;
        }
        let forge = self.canonical();
        let sender = forge.user_or_ghost(&actor.login).await?;
        let mut payload = forge.envelope(repo, &sender).await?;
        payload["action"] = json!(action);
        payload["issue"] = forge.thread_value(repo, thread).await?;
        for (key, value) in extra {
            payload[*key] = value.clone();
        }
        Ok(Emission::new("issues", repo.full_name(), payload, actor.run.clone()))
    }

    /// Opens an issue.
    ///
    /// # Errors
    /// When it has no title, or names people who cannot be assigned.
    pub(crate) async fn open_issue(&self, repo: &Repo, actor: &Actor, new: NewIssue) -> Result<Issue, Error> {
        if new.title.trim().is_empty() {
            return Err(Error::invalid("title", "can't be blank"));
        }
        let assignees = self.assignable(repo, &new.assignees).await?;
        let now = time::now();
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let (id, author) = (repo.id, actor.login.clone());
        let (issue, labels) = self
            .store()
            .write(move |tx| {
                let labels = tx.ensure_labels(id, &new.labels)?;
                let issue = Issue {
                    id: tx.next("issue")?,
                    number: tx.next(&format!("number/{id}"))?,
                    title: new.title,
                    body: new.body,
                    author,
                    open: true,
                    state_reason: None,
                    labels: labels.iter().map(|label| label.name.clone()).collect(),
                    assignees,
                    comments: Vec::new(),
                    locked: None,
                    pinned: false,
                    created_at: now,
                    updated_at: now,
                    closed_at: None,
                    closed_by: None,
                };
                Ok((issue, labels))
            })
            .await?;
        let mut done: Vec<Done> = vec![("opened", Vec::new())];
        for label in &labels {
            done.push(("labeled", vec![("label", shape::label(self.canonical().urls(), repo, label))]));
        }
        for value in self.canonical().user_values(&issue.assignees).await?.as_array().into_iter().flatten() {
            done.push(("assigned", vec![("assignee", value.clone())]));
        }
        let thread = Thread::Issue(Box::new(issue.clone()));
        self.keep_thread(repo, actor, thread, &done).await?;
        Ok(issue)
    }

    /// Stores a thread as it now is, with the events of what was done to it. Under the repository's lock.
    async fn keep_thread(&self, repo: &Repo, actor: &Actor, thread: Thread, done: &[Done]) -> Result<(), Error> {
        let mut emissions = Vec::new();
        for one in done {
            emissions.push(self.thread_event(repo, &thread, actor, one).await?);
        }
        let id = repo.id;
        self.store()
            .write(move |tx| {
                thread.put(tx, id)?;
                emissions.iter().try_for_each(|emission| tx.emit(id, emission).map(drop))
            })
            .await?;
        self.ring();
        Ok(())
    }

    /// Changes a thread; `change` says what it did. Nothing done changes nothing.
    pub(crate) async fn change_thread(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        change: impl FnOnce(&mut Thread) -> Vec<Done>,
    ) -> Result<Thread, Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        self.change_held(repo, number, actor, change).await
    }

    /// As [`Forge::change_thread`], under the repository's lock already.
    async fn change_held(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        change: impl FnOnce(&mut Thread) -> Vec<Done>,
    ) -> Result<Thread, Error> {
        let mut thread = self.need_thread(repo, number).await?;
        let done = change(&mut thread);
        if !done.is_empty() {
            *thread.updated_at_mut() = time::now();
            self.keep_thread(repo, actor, thread.clone(), &done).await?;
        }
        Ok(thread)
    }

    /// Closes or reopens an issue; a pull request is closed and reopened as one.
    pub(crate) async fn set_open(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        open: bool,
        reason: Option<&str>,
    ) -> Result<Thread, Error> {
        if self.need_thread(repo, number).await?.is_pull() {
            let pull = self
                .edit_pull(repo, number, actor, |pull| {
                    if pull.open == open || pull.merged.is_some() {
                        return None;
                    }
                    pull.open = open;
                    Some(if open { "reopened" } else { "closed" })
                })
                .await?;
            return Ok(Thread::Pull(Box::new(pull)));
        }
        let who = actor.login.clone();
        self.change_thread(repo, number, actor, |thread| {
            let Thread::Issue(issue) = thread else { return Vec::new() };
            let reason = if open { Some("reopened") } else { reason.or(Some("completed")) };
            if issue.open == open && (open || issue.state_reason.as_deref() == reason) {
                return Vec::new();
            }
            issue.open = open;
            issue.state_reason = reason.map(str::to_owned);
            issue.closed_at = (!open).then(time::now);
            issue.closed_by = (!open).then_some(who);
            vec![(if open { "reopened" } else { "closed" }, Vec::new())]
        })
        .await
    }

    /// Deletes an issue. Pull requests cannot be deleted.
    ///
    /// # Errors
    /// When there is no such issue.
    pub(crate) async fn delete_issue(&self, repo: &Repo, number: u64, actor: &Actor) -> Result<(), Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let thread = self.need_thread(repo, number).await?;
        if thread.is_pull() {
            return Err(Error::not_found("issue", number.to_string()));
        }
        let emission = self.thread_event(repo, &thread, actor, &("deleted", Vec::new())).await?;
        let id = repo.id;
        self.store()
            .write(move |tx| {
                tx.delete::<Issue>(id, &padded(number))?;
                tx.emit(id, &emission).map(drop)
            })
            .await?;
        self.ring();
        Ok(())
    }
}
