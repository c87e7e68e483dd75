//! Labels of a repository: those that it has from the start, those that people make, and what follows for issues and pull
//! requests when one is renamed or goes.

use serde_json::{Value, json};

use crate::model::{Issue, Label, Pull, Repo};
use crate::outbox::Emission;
use crate::push::Actor;
use crate::store::Tx;
use crate::{Error, Forge, shape, time};

/// The colour of a label that somebody used before making it.
const PLAIN: &str = "ededed";

/// What a new repository has, as on GitHub: name, colour, meaning.
const DEFAULTS: [(&str, &str, &str); 9] = [
    ("bug", "d73a4a", "Something isn't working"),
    ("documentation", "0075ca", "Improvements or additions to documentation"),
    ("duplicate", "cfd3d7", "This issue or pull request already exists"),
    ("enhancement", "a2eeef", "New feature or request"),
    ("good first issue", "7057ff", "Good for newcomers"),
    ("help wanted", "008672", "Extra attention is needed"),
    ("invalid", "e4e669", "This doesn't seem right"),
    ("question", "d876e3", "Further information is requested"),
    ("wontfix", "ffffff", "This will not be worked on"),
];

/// A label as it is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct LabelChange {
    pub name: Option<String>,
    pub color: Option<String>,
    pub description: Option<String>,
}

/// A name that a label can have.
fn named(name: &str) -> Result<String, Error> {
    let name = name.trim();
    match name.chars().count() {
        0 => Err(Error::invalid("name", "is too short (minimum is 1 character)")),
        1..=50 => Ok(name.to_owned()),
        _ => Err(Error::invalid("name", "is too long (maximum is 50 characters)")),
    }
}

fn colored(color: &str) -> Result<String, Error> {
    let color = color.trim_start_matches('#').to_ascii_lowercase();
    if color.len() == 6 && color.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(color);
    }
    Err(Error::invalid("color", format!("'{color}' is no colour: six hexadecimal digits are")))
}

impl Tx<'_> {
    /// Makes a label.
    fn make_label(&self, repo: u64, name: String, color: String, description: Option<String>) -> Result<Label, Error> {
        let now = time::now();
        let id = self.next("label")?;
        let label = Label { id, name, color, description, default: false, created_at: now, updated_at: now };
        self.put(repo, &label)?;
        Ok(label)
    }

    /// The labels that a new repository has.
    pub fn make_default_labels(&self, repo: u64) -> Result<(), Error> {
        for (name, color, description) in DEFAULTS {
            let label = self.make_label(repo, name.to_owned(), color.to_owned(), Some(description.to_owned()))?;
            self.put(repo, &Label { default: true, ..label })?;
        }
        Ok(())
    }

    /// Labels by name, made where there is none.
    pub fn ensure_labels(&self, repo: u64, names: &[String]) -> Result<Vec<Label>, Error> {
        let mut labels: Vec<Label> = Vec::new();
        for name in names {
            let name = named(name)?;
            let label = match self.get::<Label>(repo, &name.to_lowercase())? {
                Some(label) => label,
                None => self.make_label(repo, name, PLAIN.to_owned(), None)?,
            };
            if !labels.iter().any(|known| known.id == label.id) {
                labels.push(label);
            }
        }
        Ok(labels)
    }

    /// Changes the list of labels of everything in a repository that has one of that name.
    fn relabel(&self, repo: u64, from: &str, to: Option<&str>) -> Result<(), Error> {
        let change = |labels: &mut Vec<String>| {
            let Some(at) = labels.iter().position(|label| label == from) else { return false };
            match to {
                Some(to) => to.clone_into(&mut labels[at]),
                None => drop(labels.remove(at)),
            }
            true
        };
        for mut issue in self.list::<Issue>(repo, "")? {
            if change(&mut issue.labels) {
                self.put(repo, &issue)?;
            }
        }
        for mut pull in self.list::<Pull>(repo, "")? {
            if change(&mut pull.labels) {
                self.put(repo, &pull)?;
            }
        }
        Ok(())
    }
}

impl Forge {
    /// Labels as JSON, by their names; one that is not stored is plain.
    pub(crate) async fn label_values(&self, repo: &Repo, names: &[String]) -> Result<Value, Error> {
        if names.is_empty() {
            return Ok(json!([]));
        }
        let labels = self.labels_named(repo, names).await?;
        Ok(labels.iter().map(|label| shape::label(self.urls(), repo, label)).collect())
    }

    /// Labels by their names; one that is not stored is plain.
    pub(crate) async fn labels_named(&self, repo: &Repo, names: &[String]) -> Result<Vec<Label>, Error> {
        let all: Vec<Label> = self.store().list(repo.id, "").await?;
        let find = |name: &String| {
            let known = all.iter().find(|label| label.name.eq_ignore_ascii_case(name)).cloned();
            known.unwrap_or_else(|| Label {
                id: 0,
                name: name.clone(),
                color: PLAIN.to_owned(),
                description: None,
                default: false,
                created_at: repo.created_at,
                updated_at: repo.created_at,
            })
        };
        Ok(names.iter().map(find).collect())
    }

    /// Users as JSON, by their logins.
    pub(crate) async fn user_values(&self, logins: &[String]) -> Result<Value, Error> {
        let mut values = Vec::new();
        for login in logins {
            values.push(shape::user(self.urls(), &self.user_or_ghost(login).await?));
        }
        Ok(Value::Array(values))
    }

    async fn label_event(
        &self,
        repo: &Repo,
        actor: &Actor,
        action: &str,
        label: &Label,
        before: Option<&Label>,
    ) -> Result<Emission, Error> {
        let sender = self.user_or_ghost(&actor.login).await?;
        let forge = self.canonical();
        let mut payload = forge.envelope(repo, &sender).await?;
        payload["action"] = json!(action);
        payload["label"] = shape::label(forge.urls(), repo, label);
        if let Some(before) = before {
            let mut changes = serde_json::Map::new();
            let mut note = |key: &str, from: Value, differs: bool| {
                if differs {
                    changes.insert(key.to_owned(), json!({"from": from}));
                }
            };
            note("name", json!(before.name), before.name != label.name);
            note("color", json!(before.color), before.color != label.color);
            note("description", json!(before.description), before.description != label.description);
            payload["changes"] = Value::Object(changes);
        }
        Ok(Emission::new("label", repo.full_name(), payload, actor.run.clone()))
    }

    /// Makes a label.
    ///
    /// # Errors
    /// When it exists, or its name or colour is none.
    pub(crate) async fn create_label(&self, repo: &Repo, actor: &Actor, new: LabelChange) -> Result<Label, Error> {
        let name = named(new.name.as_deref().unwrap_or_default())?;
        let color = colored(new.color.as_deref().unwrap_or(PLAIN))?;
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let id = repo.id;
        let label = self
            .store()
            .write(move |tx| {
                if tx.get::<Label>(id, &name.to_lowercase())?.is_some() {
                    return Err(Error::Exists { what: "label", name });
                }
                tx.make_label(id, name, color, new.description)
            })
            .await?;
        let emission = self.label_event(repo, actor, "created", &label, None).await?;
        self.emit(repo.id, emission).await?;
        Ok(label)
    }

    /// Changes a label, wherever it is used.
    ///
    /// # Errors
    /// When there is none of that name, one of the new name, or name or colour is none.
    pub(crate) async fn edit_label(
        &self,
        repo: &Repo,
        actor: &Actor,
        name: &str,
        change: LabelChange,
    ) -> Result<Label, Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let before: Label = self.need_label(repo, name).await?;
        let mut label = Label { updated_at: time::now(), ..before.clone() };
        if let Some(name) = change.name {
            label.name = named(&name)?;
        }
        if let Some(color) = change.color {
            label.color = colored(&color)?;
        }
        label.description = change.description.or(label.description);
        let emission = self.label_event(repo, actor, "edited", &label, Some(&before)).await?;
        let (id, after) = (repo.id, label.clone());
        self.store()
            .write(move |tx| {
                let (old, new) = (before.name.to_lowercase(), after.name.to_lowercase());
                if old != new {
                    if tx.get::<Label>(id, &new)?.is_some() {
                        return Err(Error::Exists { what: "label", name: after.name.clone() });
                    }
                    tx.delete::<Label>(id, &old)?;
                }
                if before.name != after.name {
                    tx.relabel(id, &before.name, Some(&after.name))?;
                }
                tx.put(id, &after)?;
                tx.emit(id, &emission).map(drop)
            })
            .await?;
        self.ring();
        Ok(label)
    }

    pub(crate) async fn need_label(&self, repo: &Repo, name: &str) -> Result<Label, Error> {
        let found = self.store().get(repo.id, name.to_lowercase()).await?;
        found.ok_or_else(|| Error::not_found("label", name))
    }

    /// Deletes a label, wherever it is used.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) async fn delete_label(&self, repo: &Repo, actor: &Actor, name: &str) -> Result<(), Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let label = self.need_label(repo, name).await?;
        let emission = self.label_event(repo, actor, "deleted", &label, None).await?;
        let id = repo.id;
        self.store()
            .write(move |tx| {
                tx.delete::<Label>(id, &label.name.to_lowercase())?;
                tx.relabel(id, &label.name, None)?;
                tx.emit(id, &emission).map(drop)
            })
            .await?;
        self.ring();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_colours() {
        for (name, good) in
            [("bug", true), (" good first ", true), ("", false), ("  ", false), (&"x".repeat(51), false)]
        {
            assert_eq!(named(name).is_ok(), good, "{name:?}");
        }
        for (color, wanted) in
            [("D73A4A", Some("d73a4a")), ("#ffffff", Some("ffffff")), ("red", None), ("12345g", None)]
        {
            assert_eq!(colored(color).ok().as_deref(), wanted, "{color}");
        }
    }
}
