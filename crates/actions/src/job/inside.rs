//! Jobs with `container` and `services`: starting them, running steps in them, taking them down.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::container::{ExecSpec, Network, Stdio};
use tokio::net::unix::pipe;

use super::process::{self, Child, Command};
use super::steps::Frame;
use super::{Executor, error_chain};
use crate::container::image::Images;
use crate::container::own_node::OwnNode;
use crate::container::paths::Paths;
use crate::container::run::{Surroundings, spec, start};
use crate::container::services::{Services, addresses};
use crate::container::{Definition, Place};
use crate::expr::{Object, Value};
use crate::model::Conclusion;
use crate::workflow::{Tree, TreeKind};

/// The containers of a job that run.
#[derive(Default)]
pub(crate) struct Containers {
    /// What steps run in; none for the runner itself.
    pub place: Option<Place>,
    services: Option<Services>,
    /// Names of services for `/etc/hosts`.
    hosts: Vec<(String, String)>,
    images: Option<Images>,
    /// `job.services` for those who do not hold the services themselves.
    known_services: Option<Value>,
    /// How the runner's Node is called in the job's container.
    pub own_node: Vec<String>,
}

impl Containers {
    /// The same containers for a step that runs beside the others; who holds the services stays as it is.
    pub(crate) fn shared(&self) -> Self {
        Self {
            place: self.place.clone(),
            services: None,
            hosts: self.hosts.clone(),
            images: self.images.clone(),
            known_services: self.services_context(),
            own_node: self.own_node.clone(),
        }
    }

    fn services_context(&self) -> Option<Value> {
        match &self.services {
            Some(services) => Some(Value::from(&services.context())),
            None => self.known_services.clone(),
        }
    }
}

/// Variables of the runner's environment that steps in a container get too.
fn carried(name: &str) -> bool {
    name == super::stragglers::MARK
        || name.to_ascii_lowercase().ends_with("_proxy")
        || name.starts_with("GIT_CONFIG_")
        || name == "GIT_TERMINAL_PROMPT"
        || name == "HOME"
}

impl Executor {
    /// Whether steps run in a container.
    pub(crate) fn is_inside(&self) -> bool {
        self.containers.place.is_some()
    }

    /// Starts what `services` and `container` ask for, as a step of its own.
    pub(super) async fn start_containers(&mut self) {
        let definition = self.spec.definition();
        let (container, services) = (definition.container.clone(), definition.services.clone());
        if container.is_none() && services.is_none() {
            return;
        }
        let wanted = self.definitions(container.as_ref(), services.as_ref());
        if matches!(&wanted, Ok((None, list)) if list.is_empty()) {
            return;
        }
        let index = self.begin("Initialize containers", "__containers");
        let cancel = self.cancel.clone();
        let result = match wanted {
            Err(problem) => Err(problem),
            Ok((container, services)) => tokio::select! {
                result = self.bring_up(container, services) => result,
                () = cancel.cancelled() => Err("The operation was canceled.".to_owned()),
            },
        };
        let conclusion = match result {
            Ok(()) => Conclusion::Success,
            Err(_) if cancel.is_cancelled() => {
                self.cancelled = true;
                Conclusion::Cancelled
            }
            Err(problem) => {
                for line in problem.lines() {
                    self.error(line);
                }
                self.failed = true;
                Conclusion::Failure
            }
        };
        self.end(index, conclusion, None);
    }

    #[allow(clippy::type_complexity, reason = "the container and the services by name")]
    fn definitions(
        &self,
        container: Option<&Tree>,
        services: Option<&Tree>,
    ) -> Result<(Option<Definition>, Vec<(String, Definition)>), String> {
        let frame = Frame::default();
        let scope = self.scope(&frame);
        let container = container.map(|tree| Definition::read(tree, &scope)).transpose()?.flatten();
        let mut list = Vec::new();
        match services.map(|tree| (&tree.kind, tree)) {
            Some((TreeKind::Mapping(entries), _)) => {
                for (name, tree) in entries {
                    // A service whose image is empty is left out, as on GitHub.
                    if let Some(definition) = Definition::read(tree, &scope)? {
                        list.push((name.source().to_owned(), definition));
                    }
                }
            }
            Some((_, tree)) => {
                let value = tree.evaluate(&scope).map_err(|error| error.to_string())?;
                for (name, value) in value.as_object().cloned().unwrap_or_default().iter() {
                    if let Some(definition) = Definition::of(value)? {
                        list.push((name.to_owned(), definition));
                    }
                }
            }
            None => {}
        }
        Ok((container, list))
    }

    /// The images of this job.
    pub(crate) fn images(&mut self) -> Result<Images, String> {
        if let Some(images) = &self.containers.images {
            return Ok(images.clone());
        }
        let images =
            Images::open(&self.base_env, &self.services.config.dir.join("docker"), &self.services.config.home)?;
        Ok(self.containers.images.insert(images).clone())
    }

    /// Where the containers of this job keep things.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            dir: self.workspace.root.join("_containers"),
            volumes: self.services.config.dir.join("volumes"),
            hosts: self.containers.hosts.clone(),
            own: None,
        }
    }

    async fn bring_up(
        &mut self,
        container: Option<Definition>,
        services: Vec<(String, Definition)>,
    ) -> Result<(), String> {
        let images = self.images()?;
        let addresses = addresses(&services);
        for ((name, definition), (_, address)) in services.iter().zip(&addresses) {
            self.containers.hosts.push((name.clone(), address.to_string()));
            for alias in &definition.options.aliases {
                self.containers.hosts.push((alias.clone(), address.to_string()));
            }
        }
        let around = self.surroundings();
        self.open_up();
        if !services.is_empty() {
            let running = Services::start(&services, &addresses, &images, &around, &self.log).await?;
            self.containers.services = Some(running);
        }
        let Some(definition) = container else { return Ok(()) };
        self.log.line("Starting job container");
        if !definition.ports.is_empty() {
            self.log.line("The job's container shares the network of this machine, so its ports need no mapping.");
        }
        let image = images.get(&definition.image, definition.credentials.as_ref(), &self.log).await?;
        let paths = self.paths();
        // What the container does by itself is to wait; steps run beside it.
        let waiting = Definition {
            entrypoint: Some("tail".to_owned()),
            command: Some("-f /dev/null".to_owned()),
            ..definition.clone()
        };
        let failed = |problem: String| format!("the job's container {} cannot be started: {problem}", definition.image);
        let mut made = spec(&waiting, &image, Network::Host, &paths, &around).map_err(failed)?;
        made.spec.init = true;
        made.spec.mounts.extend(self.borrowed_objects().await);
        if let Some(node) = process::which("node", &self.path_variable(&[])) {
            // For JavaScript actions: the image need not have Node.
            let own = OwnNode::of(&node).await;
            made.spec.mounts.extend(own.mounts);
            self.containers.own_node = own.command;
        }
        let container = start(&made.spec, Stdio::null()).await.map_err(failed)?;
        self.log.line(&format!("{} is up", definition.image));
        self.containers.place = Some(Place { container: Arc::new(container), paths, env: made.env });
        Ok(())
    }

    /// Where the runner's directories are in containers.
    fn paths(&self) -> Paths {
        let space = &self.workspace;
        let outer = space.workspace.parent().map_or_else(|| space.workspace.clone(), Path::to_owned);
        let name = outer.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Paths::new(vec![
            (outer, format!("/__w/{name}")),
            (space.temp.clone(), "/__w/_temp".to_owned()),
            (space.temp.join("_github_workflow"), "/github/workflow".to_owned()),
            (space.home.clone(), "/github/home".to_owned()),
            (self.services.config.dir.join("actions"), "/__w/_actions".to_owned()),
            (self.tool_cache(), "/__t".to_owned()),
        ])
    }

    /// Where the runner's directories are in the container of a Docker action.
    pub(crate) fn action_paths(&self) -> Paths {
        let space = &self.workspace;
        Paths::new(vec![
            (space.workspace.clone(), "/github/workspace".to_owned()),
            (space.home.clone(), "/github/home".to_owned()),
            (space.temp.clone(), "/github/runner_temp".to_owned()),
            (space.temp.join("_github_workflow"), "/github/workflow".to_owned()),
            (space.files.clone(), "/github/file_commands".to_owned()),
        ])
    }

    /// The forge's objects, which checkouts borrow.
    pub(crate) async fn borrowed_objects(&self) -> Vec<runtime::container::Mount> {
        let found = self.services.host.repository(&self.spec.run.repository).await;
        let Ok(Some(info)) = found else { return Vec::new() };
        let Ok(objects) = info.dir.join("objects").canonicalize() else { return Vec::new() };
        vec![runtime::container::Mount {
            source: runtime::container::Source::Bind(objects.clone()),
            target: objects,
            readonly: true,
        }]
    }

    /// Lets whoever a container's user is write where steps write, and git accept files of the runner's user.
    pub(crate) fn open_up(&mut self) {
        self.opened_up = true;
        use std::os::unix::fs::PermissionsExt;
        let space = &self.workspace;
        let event = space.temp.join("_github_workflow");
        for dir in [&space.workspace, &space.temp, &space.home, &space.files, &event, &self.tool_cache()] {
            let _ = std::fs::create_dir_all(dir);
            let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777));
        }
        let _ = std::fs::create_dir_all(self.services.config.dir.join("actions"));
        let config = space.home.join(".gitconfig");
        if !config.exists() {
            let _ = std::fs::write(&config, "[safe]\n\tdirectory = *\n");
        }
    }

    /// Ends and removes the containers of the job.
    pub(super) async fn stop_containers(&mut self) {
        let containers = std::mem::take(&mut self.containers);
        if containers.place.is_none() && containers.services.is_none() {
            return;
        }
        let index = self.begin("Stop containers", "__containers_end");
        if let Some(mut services) = containers.services {
            services.stop(&self.log).await;
        }
        if let Some(place) = containers.place {
            self.log.line("Stop and remove the job container");
            if let Err(error) = place.container.remove().await {
                self.log.line(&format!("##[warning]The job's container was not removed: {error}"));
            }
        }
        self.end(index, Conclusion::Success, None);
    }

    /// Ports that services listen on by now are reachable under their names.
    pub(super) async fn refresh_services(&mut self) {
        let log = self.log.clone();
        if let Some(services) = &mut self.containers.services {
            services.offer(&log).await;
        }
    }

    /// `job.container` and `job.services`.
    pub(super) fn container_context(&self, job: &mut Object) {
        if let Some(place) = &self.containers.place {
            let mut entry = Object::new();
            entry.insert("id", place.container.id());
            entry.insert("network", "host");
            job.insert("container", entry);
        }
        if let Some(services) = self.containers.services_context() {
            job.insert("services", services);
        }
    }

    /// A command as a container runs it whose own environment is `own`.
    pub(super) fn translated(
        &self,
        paths: &Paths,
        own: &[(String, String)],
        command: &Command,
    ) -> (Vec<String>, Vec<(String, String)>, PathBuf) {
        let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
        let args = std::iter::once(&command.program).chain(&command.args).map(text).collect();
        let base = |name: &str| self.base_env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value);
        let mut env = own.to_vec();
        let image_path = own.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value).to_owned();
        for (name, value) in &command.env {
            let value = if name == "PATH" {
                // What the runner's own path adds is of no use there; what steps added is.
                match value.strip_suffix(base("PATH").map_or("", String::as_str)) {
                    Some(front) => format!(
                        "{}{image_path}",
                        front.split(':').map(|part| paths.value(part)).collect::<Vec<_>>().join(":")
                    ),
                    None => value.clone(),
                }
            } else if base(name) == Some(value) && !carried(name) && !self.added_env.contains(name) {
                continue;
            } else {
                paths.value(value)
            };
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), value));
        }
        (args, env, paths.inside(&command.cwd).into())
    }

    /// Starts a command where steps run.
    pub(crate) async fn launch(&self, command: &Command) -> std::io::Result<(Child, pipe::Receiver)> {
        let Some(place) = self.containers.place.as_ref().filter(|_| !command.on_runner) else {
            return process::spawn(command);
        };
        let (args, env, cwd) = self.translated(&place.paths, &place.env, command);
        let exec = ExecSpec { args, env: Some(env), cwd: Some(cwd), ..ExecSpec::default() };
        let (reader, writer) = std::io::pipe()?;
        let error = writer.try_clone()?;
        let mut stdio = Stdio { stdin: None, stdout: Some(OwnedFd::from(writer)), stderr: Some(OwnedFd::from(error)) };
        let mut input = None;
        if command.stdin.is_some() {
            let (theirs, ours) = std::io::pipe()?;
            stdio.stdin = Some(theirs.into());
            input = Some(pipe::Sender::from_owned_fd(ours.into())?);
        }
        let process = place.container.exec(&exec, stdio).await.map_err(|error| match &error {
            runtime::Error::Exec { program, .. } => std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("{program}: command not found in the job's container"),
            ),
            _ => std::io::Error::other(error_chain(&error)),
        })?;
        Ok((Child::Beside(Box::new(process), input), pipe::Receiver::from_owned_fd(reader.into())?))
    }

    /// Finds a program on a path, where steps run.
    pub(crate) async fn find_program(&self, program: &str, path: &str) -> Option<PathBuf> {
        if !self.is_inside() {
            return process::which(program, path);
        }
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "command -v -- \"$1\"".into(), "sh".into(), program.into()],
            env: vec![("PATH".to_owned(), path.to_owned())],
            cwd: "/".into(),
            ..Command::default()
        };
        let (end, text) = self.capture(&command, None).await;
        let found = text.trim();
        (end.success() && found.starts_with('/')).then(|| PathBuf::from(found))
    }
}
