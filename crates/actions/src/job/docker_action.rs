//! Docker actions: `uses: docker://IMAGE`, and actions whose `action.yml` says `using: docker`. Each stage is a container of its own.

use std::os::fd::OwnedFd;
use std::path::Path;

use indexmap::IndexMap;
use runtime::container::{Network, Stdio};
use tokio::net::unix::pipe;

use super::Executor;
use super::process::{Child, Command, End};
use super::shell::words;
use super::steps::{Current, Frame, env_of};
use crate::container::Definition;
use crate::container::image::Image;
use crate::container::run::{spec, start};
use crate::expr::Template;
use crate::workflow::Tree;

/// One stage of a Docker action.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Stage {
    /// The image.
    pub image: Image,
    /// How messages name it.
    pub name: String,
    /// What runs instead of the image's own entry point.
    pub entrypoint: Option<String>,
    /// Arguments; none for the image's own.
    pub args: Option<Vec<String>>,
    /// `runs.env`, evaluated.
    pub env: Vec<(String, String)>,
}

/// What `action.yml` says of a Docker action.
pub(crate) struct Asked<'a> {
    /// `image`.
    pub image: &'a str,
    /// `entrypoint`.
    pub entrypoint: Option<&'a str>,
    /// `args`.
    pub args: &'a [Template],
    /// `env`.
    pub env: Option<&'a Tree>,
}

impl Executor {
    /// The image of a Docker action: named, or built from the Dockerfile in its directory.
    pub(crate) async fn action_image(&mut self, image: &str, dir: &Path) -> Result<Image, String> {
        let images = self.images()?;
        let cancel = self.cancel.clone();
        let (log, child) = (self.log.clone(), cancel.child_token());
        let work = async {
            match image.strip_prefix("docker://") {
                Some(name) => images.get(name, None, &log).await,
                None => images.build(&dir.join(image), &log, child).await,
            }
        };
        tokio::select! {
            found = work => found,
            () = cancel.cancelled() => Err("The operation was canceled.".to_owned()),
        }
    }

    /// The main stage of an action; the inputs are in the frame.
    pub(crate) async fn action_stage(
        &mut self,
        asked: &Asked<'_>,
        dir: &Path,
        inputs: &IndexMap<String, String>,
        frame: &Frame,
    ) -> Result<Stage, String> {
        let image = self.action_image(asked.image, dir).await?;
        let inner = Frame { inputs: Some(super::scope::strings(inputs, false)), ..frame.clone() };
        let scope = self.scope(&inner);
        let mut args = Vec::new();
        for template in asked.args {
            args.push(template.text(&scope).map_err(|error| error.to_string())?);
        }
        let env = asked.env.map(|tree| env_of(tree, &scope)).transpose()?.unwrap_or_default();
        drop(scope);
        // `with.args` and `with.entrypoint` stand over what the action says.
        let given = |name: &str| inputs.get(name).filter(|text| !text.is_empty()).map(String::as_str);
        let args = match given("args") {
            Some(text) => Some(words(text)),
            None => Some(args).filter(|args| !args.is_empty()),
        };
        let entrypoint = given("entrypoint").or(asked.entrypoint).map(str::to_owned);
        Ok(Stage { image, name: asked.image.to_owned(), entrypoint, args, env })
    }

    /// Runs a stage to its end.
    #[allow(clippy::too_many_arguments, reason = "one call for pre, main and post")]
    pub(crate) async fn docker_stage(
        &mut self,
        stage: &Stage,
        inputs: &IndexMap<String, String>,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
        state: &IndexMap<String, String>,
    ) -> Result<End, String> {
        self.open_up();
        let mut all = self.process_env(env, frame, current)?;
        all.extend(super::uses::input_variables(inputs));
        all.extend(state.iter().map(|(name, value)| (format!("STATE_{name}"), value.clone())));
        all.extend(self.service_variables());
        let definition = Definition {
            image: stage.name.clone(),
            // An empty entry point stands for the image's own.
            entrypoint: stage.entrypoint.clone().filter(|text| !text.is_empty()),
            env: stage.env.clone(),
            ..Definition::default()
        };
        let mut image = stage.image.clone();
        if let Some(args) = &stage.args {
            image.config.cmd = Some(args.clone());
        }
        let paths = self.action_paths();
        let around = self.surroundings();
        let mut made = spec(&definition, &image, Network::Host, &paths, &around)?;
        if let (Some(_), Some(args)) = (&definition.entrypoint, &stage.args) {
            made.spec.args.extend(args.iter().cloned());
        }
        made.spec.mounts.extend(self.borrowed_objects().await);
        let command = Command { env: all, cwd: self.workspace.workspace.clone(), ..Command::default() };
        let (_, env, _) = self.translated(&paths, &made.env, &command);
        let path = made.env.iter().find(|(name, _)| name == "PATH").cloned();
        made.spec.env = env.into_iter().filter(|(name, _)| name != "PATH").chain(path).collect();
        made.spec.cwd = "/github/workspace".into();
        self.log.line(&format!(
            "[command]docker run {} {}",
            stage.name,
            stage.args.clone().unwrap_or_default().join(" ")
        ));
        let (reader, writer) = std::io::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let error = writer.try_clone().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let stdio = Stdio { stdin: None, stdout: Some(OwnedFd::from(writer)), stderr: Some(OwnedFd::from(error)) };
        let container = start(&made.spec, stdio)
            .await
            .map_err(|problem| format!("the action's container {} cannot be started: {problem}", stage.name))?;
        let reader = pipe::Receiver::from_owned_fd(reader.into()).map_err(|error| format!("cannot read: {error}"))?;
        let end = self.attend(Child::First(Box::new(container)), reader, None, current).await;
        self.read_files(current)?;
        Ok(end)
    }
}
