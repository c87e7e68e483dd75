//! Comments of a thread.

use serde_json::json;

use crate::model::{Comment, Repo};
use crate::outbox::Emission;
use crate::push::Actor;
use crate::{Error, Forge, shape, time};

impl Forge {
    /// Adds, changes or deletes a comment: `change` is given the comments and says what became of which.
    async fn change_comments(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        change: impl FnOnce(&mut Vec<Comment>) -> Result<(&'static str, Comment, Option<String>), Error>,
    ) -> Result<Comment, Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let mut thread = self.need_thread(repo, number).await?;
        let (action, comment, before) = change(thread.comments_mut())?;
        *thread.updated_at_mut() = time::now();
        let forge = self.canonical();
        let sender = forge.user_or_ghost(&actor.login).await?;
        let author = forge.user_or_ghost(&comment.author).await?;
        let mut payload = forge.envelope(repo, &sender).await?;
        payload["action"] = json!(action);
        payload["issue"] = forge.thread_value(repo, &thread).await?;
        payload["comment"] = shape::comment(forge.urls(), repo, &thread.place(), &comment, &author);
        if let Some(before) = before {
            payload["changes"] = json!({"body": {"from": before}});
        }
        let emission = Emission::new("issue_comment", repo.full_name(), payload, actor.run.clone());
        let id = repo.id;
        self.store()
            .write(move |tx| {
                thread.put(tx, id)?;
                tx.emit(id, &emission).map(drop)
            })
            .await?;
        self.ring();
        Ok(comment)
    }

    /// Adds a comment.
    ///
    /// # Errors
    /// When it is empty.
    pub(crate) async fn add_comment(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        text: &str,
    ) -> Result<Comment, Error> {
        if text.trim().is_empty() {
            return Err(Error::invalid("body", "can't be blank"));
        }
        let id = self.store().write(|tx| tx.next("comment")).await?;
        let comment =
            Comment { id, author: actor.login.clone(), body: text.to_owned(), created_at: time::now(), updated_at: 0 };
        self.change_comments(repo, number, actor, |comments| {
            comments.push(comment.clone());
            Ok(("created", comment, None))
        })
        .await
    }

    /// Changes the text of a comment.
    ///
    /// # Errors
    /// When it is not there, or the text is empty.
    pub(crate) async fn edit_comment(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        id: u64,
        text: &str,
    ) -> Result<Comment, Error> {
        if text.trim().is_empty() {
            return Err(Error::invalid("body", "can't be blank"));
        }
        self.change_comments(repo, number, actor, |comments| {
            let missing = || Error::not_found("comment", id.to_string());
            let comment = comments.iter_mut().find(|comment| comment.id == id).ok_or_else(missing)?;
            let before = std::mem::replace(&mut comment.body, text.to_owned());
            comment.updated_at = time::now();
            Ok(("edited", comment.clone(), Some(before)))
        })
        .await
    }

    /// Deletes a comment.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) async fn delete_comment(&self, repo: &Repo, number: u64, actor: &Actor, id: u64) -> Result<(), Error> {
        let delete = |comments: &mut Vec<Comment>| {
            let at = comments.iter().position(|comment| comment.id == id);
            let at = at.ok_or_else(|| Error::not_found("comment", id.to_string()))?;
            Ok(("deleted", comments.remove(at), None))
        };
        self.change_comments(repo, number, actor, delete).await.map(drop)
    }
}
