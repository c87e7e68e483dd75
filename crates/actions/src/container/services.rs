//! The services of a job: started together, waited for, reachable by name and by mapped ports, removed with the job.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::container::{Container, Network, Stdio};
use runtime::net::Visitor;

use super::definition::Definition;
use super::health::Check;
use super::image::{Image, Images};
use super::network::{Forwards, listening, own_address};
use super::paths::Paths;
use super::run::{Surroundings, spec, start};
use crate::job::log::Log;

/// How much of a service's output is shown when the job ends, in bytes.
const SHOWN_OUTPUT: u64 = 256 << 10;

/// The services of a job that run.
#[derive(Debug)]
pub(crate) struct Services {
    list: Vec<Service>,
    forwards: Forwards,
    /// Which port of which service was offered, or refused, inside which other.
    inside: BTreeSet<(usize, usize, u16)>,
}

#[derive(Debug)]
struct Service {
    name: String,
    image: String,
    container: Container,
    visitor: Arc<Visitor>,
    address: Ipv4Addr,
    /// Port in the container -> port on the runner.
    ports: BTreeMap<u16, u16>,
    /// Ports that are offered below its own address.
    offered: BTreeSet<u16>,
    wanted: BTreeSet<u16>,
    output: PathBuf,
}

/// Names of a service and the address that they lead to.
pub(crate) fn addresses(definitions: &[(String, Definition)]) -> Vec<(String, Ipv4Addr)> {
    definitions.iter().map(|(name, _)| (name.clone(), own_address())).collect()
}

impl Services {
    /// Starts services and waits until those with a health check are healthy. `around.hosts` holds the names of all.
    pub async fn start(
        definitions: &[(String, Definition)],
        addresses: &[(String, Ipv4Addr)],
        images: &Images,
        around: &Surroundings,
        log: &Log,
    ) -> Result<Self, String> {
        let mut found: Vec<Image> = Vec::new();
        for (name, definition) in definitions {
            log.line(&format!("Starting {name} service container"));
            found.push(images.get(&definition.image, definition.credentials.as_ref(), log).await?);
        }
        let mut services = Self { list: Vec::new(), forwards: Forwards::default(), inside: BTreeSet::new() };
        let mut checks = Vec::new();
        for (((name, definition), image), (_, address)) in definitions.iter().zip(&found).zip(addresses) {
            let service = Service::start(name, definition, image, *address, around).await?;
            checks.push(Check::of(&definition.options.health, image));
            services.list.push(service);
            services.map_ports(definition)?;
        }
        services.offer(log).await;
        let waits = services.list.iter().zip(&checks).filter_map(|(service, check)| Some((service, check.as_ref()?)));
        let results = futures::future::join_all(waits.map(|(service, check)| async move {
            log.line(&format!("Waiting for the service {} to be healthy", service.name));
            (service, check.wait(&service.container).await)
        }))
        .await;
        let mut problems = Vec::new();
        for (service, result) in results {
            match result {
                Ok(()) => log.line(&format!("{} service is healthy.", service.name)),
                Err(problem) => {
                    service.show_output(log);
                    problems.push(format!("Failed to initialize container {}: {problem}", service.image));
                }
            }
        }
        if !problems.is_empty() {
            return Err(format!("{}\nOne or more containers failed to start.", problems.join("\n")));
        }
        services.offer(log).await;
        Ok(services)
    }

    fn map_ports(&mut self, definition: &Definition) -> Result<(), String> {
        let Some(service) = self.list.last_mut() else { return Ok(()) };
        for port in &definition.ports {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port.host.unwrap_or(0)));
            let bound = self.forwards.on_runner(at, service.visitor.clone(), port.container).map_err(|error| {
                format!(
                    "the service {}: the port {} of this machine cannot be used ({error}); leave the choice open with `ports: [{}]` and use job.services.{}.ports['{}']",
                    service.name, at.port(), port.container, service.name, port.container
                )
            })?;
            service.ports.insert(port.container, bound.port());
        }
        Ok(())
    }

    /// Offers every port that a service listens on by now under the service's name.
    pub async fn offer(&mut self, log: &Log) {
        let ports: Vec<BTreeSet<u16>> = self
            .list
            .iter()
            .map(|service| listening(service.container.pid()).union(&service.wanted).copied().collect())
            .collect();
        for (i, own) in ports.iter().enumerate() {
            for &port in own {
                if self.list[i].offered.insert(port) {
                    self.offer_on_runner(i, port, log);
                }
                for (other, theirs) in ports.iter().enumerate().filter(|(other, _)| *other != i) {
                    // Before it is known which ports a service takes itself, one of them might be taken from it.
                    if !theirs.is_empty() && self.inside.insert((i, other, port)) {
                        self.offer_inside(i, other, port, theirs.contains(&port), log).await;
                    }
                }
            }
        }
    }

    fn offer_on_runner(&self, i: usize, port: u16, log: &Log) {
        let Service { name, address, visitor, .. } = &self.list[i];
        if let Err(error) = self.forwards.on_runner(SocketAddr::from((*address, port)), visitor.clone(), port) {
            log.line(&format!(
                "##[warning]{name}:{port} cannot be offered under this name ({error}); map the port and use localhost:${{{{ job.services.{name}.ports['{port}'] }}}}"
            ));
        }
    }

    async fn offer_inside(&self, i: usize, other: usize, port: u16, taken: bool, log: &Log) {
        let (service, within) = (&self.list[i], &self.list[other]);
        if taken {
            log.line(&format!(
                "The service {} does not reach {}:{port}, because it uses this port itself.",
                within.name, service.name
            ));
            return;
        }
        let at = SocketAddr::from((service.address, port));
        let made = self.forwards.in_container(within.visitor.clone(), at, service.visitor.clone(), port).await;
        if let Err(error) = made {
            log.line(&format!(
                "##[warning]The service {} does not reach {}:{port}: {error}",
                within.name, service.name
            ));
        }
    }

    /// `job.services`.
    pub fn context(&self) -> serde_json::Value {
        let entries = self.list.iter().map(|service| {
            let ports: serde_json::Map<String, serde_json::Value> = service
                .ports
                .iter()
                .map(|(inside, outside)| (inside.to_string(), outside.to_string().into()))
                .collect();
            let entry = serde_json::json!({"id": service.container.id(), "network": "bigben", "ports": ports});
            (service.name.clone(), entry)
        });
        serde_json::Value::Object(entries.collect())
    }

    /// Shows what services said, ends them and removes them.
    pub async fn stop(&mut self, log: &Log) {
        for service in self.list.drain(..) {
            service.show_output(log);
            if let Err(error) = service.container.remove().await {
                log.line(&format!("##[warning]The service {} was not removed: {error}", service.name));
            }
        }
    }
}

impl Service {
    async fn start(
        name: &str,
        definition: &Definition,
        image: &Image,
        address: Ipv4Addr,
        around: &Surroundings,
    ) -> Result<Self, String> {
        let failed = |problem: String| format!("the service {name} cannot be started: {problem}");
        let made = spec(definition, image, Network::None, &Paths::default(), around).map_err(failed)?;
        let output = around.dir.join(&made.spec.id).join("output");
        let file = || {
            File::options()
                .create(true)
                .append(true)
                .open(&output)
                .map(OwnedFd::from)
                .map_err(|error| failed(format!("{}: {error}", output.display())))
        };
        let stdio = Stdio { stdin: None, stdout: Some(file()?), stderr: Some(file()?) };
        let container = start(&made.spec, stdio).await.map_err(failed)?;
        let pid = container.pid();
        let visitor = tokio::task::spawn_blocking(move || Visitor::enter(pid))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(crate::job::error_chain(&error)))?;
        let exposed = image.config.exposed_ports.keys().filter_map(|key| match key.split_once('/') {
            Some((port, "tcp")) => port.parse().ok(),
            None => key.parse().ok(),
            Some(_) => None,
        });
        Ok(Self {
            name: name.to_owned(),
            image: definition.image.clone(),
            container,
            visitor: Arc::new(visitor),
            address,
            ports: BTreeMap::new(),
            offered: BTreeSet::new(),
            wanted: exposed.chain(definition.ports.iter().map(|port| port.container)).collect(),
            output,
        })
    }

    fn show_output(&self, log: &Log) {
        use std::io::{Read, Seek, SeekFrom};
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.output) {
            let size = file.metadata().map_or(0, |meta| meta.len());
            let _ = file.seek(SeekFrom::Start(size.saturating_sub(SHOWN_OUTPUT)));
            let _ = file.take(SHOWN_OUTPUT).read_to_end(&mut text);
        }
        log.push(&format!("##[group]Print service container logs: {}", self.name));
        let text = String::from_utf8_lossy(&text);
        if !text.is_empty() {
            log.push(text.trim_end_matches('\n'));
        }
        log.line("##[endgroup]");
    }
}
