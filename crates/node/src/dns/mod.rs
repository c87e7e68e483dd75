//! The cluster's DNS server: Services, endpoints and pods from the cluster's state, everything else from the host's server.
//!
//! Follows the Kubernetes DNS-Based Service Discovery specification, version 1.1.0.

mod wire;

use crate::cluster::{Cluster, State};
use crate::dial::Outside;
use crate::error::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::{Code, Data, Question};

/// How long clients may keep an answer, in seconds. Short: a rollout changes endpoints quickly.
const TTL: u32 = 5;
/// How long the host's server may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(4);

/// The server.
pub(crate) struct Dns {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) domain: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) outside: Outside,
    pub(crate) upstream: Option<(String, u16)>,
}

/// What a name in the cluster's zone leads to.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Records, and records that come along. Empty: the name exists, not with this type.
    Records(Vec<(String, Data)>, Vec<(String, Data)>),
    /// Another name, to be asked for elsewhere.
    Alias(String),
    /// No such name.
    None,
    /// Not in the cluster's zone.
    Elsewhere,
}

/// Looks a name up.
fn look_up(state: &State, domain: &str, name: &str, kind: u16) -> Answer {
    if let Some(reverse) = name.strip_suffix(".in-addr.arpa") {
        return look_up_reverse(state, domain, reverse);
    }
    let Some(inside) = name.strip_suffix(domain).map(|rest| rest.trim_end_matches('.')) else {
        return Answer::Elsewhere;
    };
    if name.len() != domain.len() && !name.ends_with(&format!(".{domain}")) {
        return Answer::Elsewhere;
    }
    let labels: Vec<&str> = inside.rsplit('.').filter(|label| !label.is_empty()).collect();
    let address = |records: Vec<Ipv4Addr>| {
        let wanted = kind == wire::A || kind == wire::ANY;
        Answer::Records(
            if wanted { records.into_iter().map(|ip| (name.to_owned(), Data::A(ip))).collect() } else { Vec::new() },
            Vec::new(),
        )
    };
    match labels.as_slice() {
        [] | ["svc"] | ["pod"] => Answer::Records(Vec::new(), Vec::new()),
        ["pod", _namespace, dashed] => match dashed.replace('-', ".").parse() {
            Ok(ip) => address(vec![ip]),
            Err(_) => Answer::None,
        },
        ["svc", namespace] if state.services.keys().any(|(ns, _)| ns == namespace) => {
            Answer::Records(Vec::new(), Vec::new())
        }
        ["svc", namespace, service, rest @ ..] => {
            let Some(found) = state.services.get(&((*namespace).to_owned(), (*service).to_owned())) else {
                return Answer::None;
            };
            if let Some(target) = &found.external_name {
                return if rest.is_empty() {
                    Answer::Alias(target.trim_end_matches('.').to_owned())
                } else {
                    Answer::None
                };
            }
            let base = format!("{service}.{namespace}.svc.{domain}");
            let host = |endpoint: &crate::cluster::Endpoint| {
                endpoint.hostname.clone().unwrap_or_else(|| endpoint.address.to_string().replace('.', "-"))
            };
            match rest {
                [] if kind == wire::SRV => {
                    Answer::Records(services(state, found, &base, namespace, service, None, name).0, Vec::new())
                }
                [] => match found.cluster_ip {
                    Some(ip) => address(vec![ip]),
                    None => address(state.endpoints(namespace, service).iter().map(|e| e.address).collect()),
                },
                [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                    let (records, additional) =
                        services(state, found, &base, namespace, service, Some((&port[1..], &protocol[1..])), name);
                    if records.is_empty() {
                        Answer::None
                    } else if kind == wire::SRV || kind == wire::ANY {
                        Answer::Records(records, additional)
                    } else {
                        Answer::Records(Vec::new(), Vec::new())
                    }
                }
                [hostname] => {
                    let found: Vec<Ipv4Addr> = state
                        .endpoints(namespace, service)
                        .into_iter()
                        .filter(|e| host(e) == **hostname)
                        .map(|e| e.address)
                        .collect();
                    if found.is_empty() { Answer::None } else { address(found) }
                }
                _ => Answer::None,
            }
        }
        _ => Answer::None,
    }
}

/// SRV records of a Service's ports, and the addresses of their targets.
#[expect(clippy::type_complexity, reason = "two lists of records")]
fn services(
    state: &State,
    found: &crate::cluster::Service,
    base: &str,
    namespace: &str,
    service: &str,
    port: Option<(&str, &str)>,
    owner: &str,
) -> (Vec<(String, Data)>, Vec<(String, Data)>) {
    let (mut records, mut additional) = (Vec::new(), Vec::new());
    for one in found.ports.iter().filter(|one| {
        port.is_none_or(|(name, protocol)| one.name == name && one.protocol.eq_ignore_ascii_case(protocol))
    }) {
        match found.cluster_ip {
            Some(ip) => {
                records.push((owner.to_owned(), Data::Srv { port: one.port, target: base.to_owned() }));
                additional.push((base.to_owned(), Data::A(ip)));
            }
            None => {
                for endpoint in state.endpoints(namespace, service) {
                    let host =
                        endpoint.hostname.clone().unwrap_or_else(|| endpoint.address.to_string().replace('.', "-"));
                    let target = format!("{host}.{base}");
                    records.push((owner.to_owned(), Data::Srv { port: one.port, target: target.clone() }));
                    additional.push((target, Data::A(endpoint.address)));
                }
            }
        }
    }
    (records, additional)
}

fn look_up_reverse(state: &State, domain: &str, reverse: &str) -> Answer {
    let dotted: Vec<&str> = reverse.rsplit('.').collect();
    let Ok(ip) = dotted.join(".").parse::<Ipv4Addr>() else { return Answer::Elsewhere };
    let owner = format!("{reverse}.in-addr.arpa");
    for ((namespace, name), service) in &state.services {
        if service.cluster_ip == Some(ip) {
            return Answer::Records(vec![(owner, Data::Ptr(format!("{name}.{namespace}.svc.{domain}")))], Vec::new());
        }
    }
    for ((namespace, _), slice) in &state.slices {
        for endpoint in slice.endpoints.iter().filter(|e| e.address == ip) {
            if let Some(host) = &endpoint.hostname {
                return Answer::Records(
                    vec![(owner, Data::Ptr(format!("{host}.{}.{namespace}.svc.{domain}", slice.service)))],
                    Vec::new(),
                );
            }
        }
    }
    Answer::Elsewhere
}

impl Dns {
    /// Serves UDP and TCP on port 53 of its address until cancelled.
    pub(crate) async fn serve(self: Arc<Self>, cancel: CancellationToken) -> Result<()> {
        let address = SocketAddr::from((self.address, 53));
        let udp = Arc::new(UdpSocket::bind(address).await.context(|| format!("listen on {address}/udp"))?);
        let tcp = TcpListener::bind(address).await.context(|| format!("listen on {address}"))?;
        let mut tasks = JoinSet::new();
        let mut buffer = vec![0u8; 4096];
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                received = udp.recv_from(&mut buffer), if tasks.len() < 1024 => {
                    let Ok((length, peer)) = received else { continue };
                    let (me, message) = (self.clone(), buffer[..length].to_vec());
                    match me.answer_now(&message, None) {
                        // Names of the cluster are answered at once, without a task.
                        Some(Some(answer)) => drop(udp.send_to(&answer, peer).await),
                        Some(None) => {}
                        None => {
                            let udp = udp.clone();
                            tasks.spawn(async move {
                                if let Some(answer) = me.answer(&message, None).await {
                                    let _ = udp.send_to(&answer, peer).await;
                                }
                            });
                        }
                    }
                }
                accepted = tcp.accept(), if tasks.len() < 1024 => {
                    let Ok((stream, _)) = accepted else { continue };
                    let me = self.clone();
                    tasks.spawn(async move {
                        let _ = tokio::time::timeout(Duration::from_secs(20), me.serve_tcp(stream)).await;
                    });
                }
            }
        }
    }

    async fn serve_tcp(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await?;
            let Some(answer) = self.answer(&message, Some(65_535)).await else { return Ok(()) };
            stream.write_u16(answer.len() as u16).await?;
            stream.write_all(&answer).await?;
        }
    }

    /// The answer, if it takes no other server: `None` when it does, `Some(None)` when there is nothing to answer.
    fn answer_now(&self, message: &[u8], limit: Option<usize>) -> Option<Option<Vec<u8>>> {
        let question = match wire::parse(message) {
            Ok(question) => question,
            Err(refused) => return Some(refused.map(|(id, code)| wire::refusal(id, code))),
        };
        let limit = limit.unwrap_or(question.udp_size);
        let answer = look_up(&self.cluster.read(), &self.domain, &question.name, question.kind);
        match answer {
            Answer::Records(records, additional) => {
                Some(Some(wire::write(&question, Code::Ok, &records, &additional, Some(&self.domain), TTL, limit)))
            }
            Answer::None => Some(Some(wire::write(&question, Code::NoName, &[], &[], Some(&self.domain), TTL, limit))),
            Answer::Alias(_) | Answer::Elsewhere => None,
        }
    }

    async fn answer(&self, message: &[u8], limit: Option<usize>) -> Option<Vec<u8>> {
        if let Some(answer) = self.answer_now(message, limit) {
            return answer;
        }
        let question = wire::parse(message).ok()?;
        let limit = limit.unwrap_or(question.udp_size);
        let answer = look_up(&self.cluster.read(), &self.domain, &question.name, question.kind);
        if let Answer::Alias(target) = answer {
            return Some(self.follow_alias(&question, target, limit).await);
        }
        let forwarded = tokio::time::timeout(FORWARD_TIMEOUT, self.forward(message)).await;
        match forwarded {
            Ok(Ok(answer)) if answer.len() <= limit => Some(answer),
            // Too long for UDP: the client asks again by TCP.
            Ok(Ok(answer)) => {
                let mut cut = wire::write(&question, Code::Ok, &[], &[], None, 0, limit);
                cut[2] |= 2;
                cut[3] = answer.get(3).copied().unwrap_or(0);
                Some(cut)
            }
            _ => Some(wire::write(&question, Code::ServerFailure, &[], &[], None, 0, limit)),
        }
    }

    /// An ExternalName: the alias, and the addresses behind it as far as they can be found.
    async fn follow_alias(&self, question: &Question, target: String, limit: usize) -> Vec<u8> {
        let mut records = vec![(question.name.clone(), Data::Cname(target.clone()))];
        if question.kind == wire::A {
            let inside = look_up(&self.cluster.read(), &self.domain, &target, wire::A);
            match inside {
                Answer::Records(more, _) => records.extend(more),
                Answer::Elsewhere => {
                    let query = wire::query(question.id, &target, wire::A);
                    let asked = tokio::time::timeout(FORWARD_TIMEOUT, self.forward(&query)).await;
                    if let Ok(Ok(answer)) = asked {
                        records.extend(wire::answers(&answer).map(|(records, _)| records).unwrap_or_default());
                    }
                }
                _ => {}
            }
        }
        wire::write(question, Code::Ok, &records, &[], None, TTL, limit)
    }

    /// Asks the host's server, by UDP and where that is not enough by TCP.
    async fn forward(&self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let (host, port) = self.upstream.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        let by_udp = tokio::time::timeout(FORWARD_TIMEOUT / 2, self.forward_udp(host, *port, message)).await;
        match by_udp {
            // The third byte of a message has the mark that it was cut off.
            Ok(Ok(answer)) if answer.get(2).is_some_and(|flags| flags & 2 == 0) => Ok(answer),
            _ => self.forward_tcp(host, *port, message).await,
        }
    }

    async fn forward_udp(&self, host: &str, port: u16, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let socket = self.outside.udp(host, port).await?;
        socket.send(message).await?;
        let mut answer = vec![0; 65_535];
        loop {
            let length = socket.recv(&mut answer).await?;
            // Only an answer to this query counts.
            if length >= 12 && answer[..2] == message[..2] && answer[2] & 0x80 != 0 {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }

    async fn forward_tcp(&self, host: &str, port: u16, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = self.outside.connect(host, port).await?;
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend(message);
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

/// The first name server in a `resolv.conf`.
pub(crate) fn first_server(resolv_conf: &str) -> Option<(String, u16)> {
    resolv_conf.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten().map(|server| (server.to_owned(), 53))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::sample;

    #[test]
    fn names_of_the_cluster() {
        let state = sample();
        let a = |name: &str, ips: &[&str]| {
            Answer::Records(
                ips.iter().map(|ip| (name.to_owned(), Data::A(ip.parse().expect("an address")))).collect(),
                Vec::new(),
            )
        };
        let empty = || Answer::Records(Vec::new(), Vec::new());
        for (name, kind, expected) in [
            ("web.shop.svc.cluster.local", wire::A, a("web.shop.svc.cluster.local", &["10.96.3.4"])),
            ("web.shop.svc.cluster.local", 28, empty()),
            ("db.shop.svc.cluster.local", wire::A, a("db.shop.svc.cluster.local", &["10.244.0.7", "10.244.0.8"])),
            ("db-0.db.shop.svc.cluster.local", wire::A, a("db-0.db.shop.svc.cluster.local", &["10.244.0.7"])),
            (
                "10-244-0-8.db.shop.svc.cluster.local",
                wire::A,
                a("10-244-0-8.db.shop.svc.cluster.local", &["10.244.0.8"]),
            ),
            ("10-1-2-3.shop.pod.cluster.local", wire::A, a("10-1-2-3.shop.pod.cluster.local", &["10.1.2.3"])),
            ("ghost.shop.svc.cluster.local", wire::A, Answer::None),
            ("example.org.shop.svc.cluster.local", wire::A, Answer::None),
            ("away.shop.svc.cluster.local", wire::A, Answer::Alias("example.org".into())),
            ("example.org", wire::A, Answer::Elsewhere),
            ("notcluster.local", wire::A, Answer::Elsewhere),
            ("cluster.local", wire::A, empty()),
            ("shop.svc.cluster.local", wire::A, empty()),
            (
                "4.3.96.10.in-addr.arpa",
                wire::PTR,
                Answer::Records(
                    vec![("4.3.96.10.in-addr.arpa".into(), Data::Ptr("web.shop.svc.cluster.local".into()))],
                    Vec::new(),
                ),
            ),
        ] {
            assert_eq!(look_up(&state, "cluster.local", name, kind), expected, "{name} {kind}");
        }
        let Answer::Records(records, additional) =
            look_up(&state, "cluster.local", "_sql._tcp.db.shop.svc.cluster.local", wire::SRV)
        else {
            panic!("records")
        };
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].1, Data::Srv { port: 5432, target: "db-0.db.shop.svc.cluster.local".into() });
        assert_eq!(additional.len(), 2);
    }

    #[test]
    fn resolv_conf() {
        assert_eq!(
            first_server("# x\nsearch a\nnameserver 10.0.0.2\nnameserver 8.8.8.8\n"),
            Some(("10.0.0.2".into(), 53))
        );
        assert_eq!(first_server(""), None);
    }
}
