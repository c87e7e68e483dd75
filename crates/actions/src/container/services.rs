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
use super::network::{Forwards, Target, inside_address, listening, own_address};
use super::outside;
use super::paths::Paths;
use super::run::{Surroundings, spec};
use crate::job::log::Log;

/// How much of a service's output is shown when the job ends, in bytes.
const SHOWN_OUTPUT: u64 = 256 << 10;

/// The services of a job that run.
#[derive(Debug)]
pub(crate) struct Services {
    list: Vec<Service>,
    forwards: Forwards,
    /// Which port of which service was offered, or refused, to which other.
    inside: BTreeSet<(usize, usize, u16, bool)>,
}

#[derive(Debug)]
struct Service {
    name: String,
    image: String,
    container: Container,
    visitor: Arc<Visitor>,
    address: Ipv4Addr,
    /// Whether its network has a neighbour.
    joined: bool,
    /// Port in the container -> port on the runner.
    ports: BTreeMap<u16, u16>,
    /// Ports that are offered below its own address, and whether they are for datagrams.
    offered: BTreeSet<(u16, bool)>,
    wanted: BTreeSet<(u16, bool)>,
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
            let around = Surroundings { own: Some(*address), ..around.clone() };
            let service = Service::start((name, definition), image, *address, &around, &services.forwards, log).await?;
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
            let bound = self.forwards.on_runner(at, service.target(port.container, port.udp)).map_err(|error| {
                format!(
                    "the service {}: the port {} of this machine cannot be used ({error}); leave the choice open with `ports: [{}]` and use job.services.{}.ports['{}']",
                    service.name, at.port(), port.container, service.name, port.container
                )
            })?;
            // A port for both protocols has one number there: that of the connections.
            if !port.udp || !service.ports.contains_key(&port.container) {
                service.ports.insert(port.container, bound.port());
            }
        }
        Ok(())
    }

    /// Offers every port that a service listens on by now under the service's name.
    pub async fn offer(&mut self, log: &Log) {
        for i in 0..self.list.len() {
            let ports: Vec<(u16, bool)> =
                listening(self.list[i].container.pid()).union(&self.list[i].wanted).copied().collect();
            for (port, udp) in ports {
                if self.list[i].offered.insert((port, udp)) {
                    self.offer_on_runner(i, port, udp, log);
                }
                for other in 0..self.list.len() {
                    if other != i && self.list[other].joined && self.inside.insert((i, other, port, udp)) {
                        self.offer_inside(i, other, port, udp, log).await;
                    }
                }
            }
        }
    }

    fn offer_on_runner(&self, i: usize, port: u16, udp: bool, log: &Log) {
        let service = &self.list[i];
        let at = SocketAddr::from((service.address, port));
        if let Err(error) = self.forwards.on_runner(at, service.target(port, udp)) {
            let name = &service.name;
            log.line(&format!(
                "##[warning]{name}:{port} cannot be offered under this name ({error}); map the port and use localhost:${{{{ job.services.{name}.ports['{port}'] }}}}"
            ));
        }
    }

    async fn offer_inside(&self, i: usize, other: usize, port: u16, udp: bool, log: &Log) {
        let (service, within) = (&self.list[i], &self.list[other]);
        let at = SocketAddr::from((inside_address(service.address), port));
        if let Err(error) = self.forwards.beside(within.visitor.clone(), at, service.target(port, udp)).await {
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
        (name, definition): (&str, &Definition),
        image: &Image,
        address: Ipv4Addr,
        around: &Surroundings,
        forwards: &Forwards,
        log: &Log,
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
        let mut container =
            Container::create(&made.spec, stdio).await.map_err(|error| failed(super::run::told(error)))?;
        let pid = container.pid();
        let visit = move || {
            let visitor = Visitor::enter(pid)?;
            let joined = visitor.neighbour(inside_address(address));
            Ok::<_, runtime::Error>((visitor, joined))
        };
        let (visitor, joined) = tokio::task::spawn_blocking(visit)
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(crate::job::error_chain(&error)))?;
        let visitor = Arc::new(visitor);
        let host = definition.options.hosts.iter().any(|(_, address)| address == "127.0.0.1");
        let led = match joined {
            Ok(()) => outside::open(visitor.clone(), host, &forwards.tracker, &forwards.end).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &led {
            log.line(&format!(
                "##[warning]The service {name} reaches neither other services nor the outside: this machine cannot give it a link ({error})."
            ));
        }
        container.start().await.map_err(|error| failed(super::run::told(error)))?;
        let exposed = image.config.exposed_ports.keys().filter_map(|key| match key.split_once('/') {
            Some((port, protocol)) => Some((
                port.parse().ok()?,
                match protocol {
                    "tcp" => false,
                    "udp" => true,
                    _ => return None,
                },
            )),
            None => Some((key.parse().ok()?, false)),
        });
        Ok(Self {
            name: name.to_owned(),
            image: definition.image.clone(),
            container,
            visitor,
            address,
            joined: led.is_ok(),
            ports: BTreeMap::new(),
            offered: BTreeSet::new(),
            wanted: exposed.chain(definition.ports.iter().map(|port| (port.container, port.udp))).collect(),
            output,
        })
    }

    fn target(&self, port: u16, udp: bool) -> Target {
        // Where it has an address of its own, some listen on that one only.
        let ip = if self.joined { inside_address(self.address) } else { Ipv4Addr::LOCALHOST };
        Target { to: self.visitor.clone(), at: SocketAddr::from((ip, port)), udp }
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
