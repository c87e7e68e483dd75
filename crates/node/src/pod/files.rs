//! What a pod's containers are told of names and ports: `/etc/hosts`, `/etc/resolv.conf`, the host name, host ports.

use super::status::containers;
use crate::error::{Context, Error, Result};
use crate::proxy::Front;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// The longest host name that the kernel takes.
const LONGEST_NAME: usize = 64;

/// The names of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// What `hostname` says.
    pub(crate) hostname: String,
    /// Its names in `/etc/hosts`, separated by tabs.
    hosts: String,
}

/// The names of a pod on `node` in the cluster's `domain`.
///
/// # Errors
///
/// When a name that the pod asks for is longer than host names can be.
pub(crate) fn names(pod: &Value, node: &str, domain: &str) -> Result<Names> {
    let spec = &pod["spec"];
    let text = |field: &str| spec[field].as_str().filter(|text| !text.is_empty());
    let cut = |name: &str| name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned();
    if let Some(name) = text("hostnameOverride") {
        return Ok(Names { hostname: name.to_owned(), hosts: name.to_owned() });
    }
    if spec["hostNetwork"] == true {
        return Ok(Names { hostname: cut(node), hosts: String::new() });
    }
    let hostname = cut(text("hostname").unwrap_or_else(|| objects::meta::name(pod)));
    let Some(subdomain) = text("subdomain") else { return Ok(Names { hosts: hostname.clone(), hostname }) };
    let full = format!("{hostname}.{subdomain}.{}.svc.{domain}", objects::meta::namespace(pod));
    let hosts = format!("{full}\t{hostname}");
    if spec["setHostnameAsFQDN"] != true {
        return Ok(Names { hostname, hosts });
    }
    if full.len() > LONGEST_NAME {
        return Err(Error::Invalid(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long ({LONGEST_NAME} characters is the max, {} characters requested)",
            full.len()
        )));
    }
    Ok(Names { hostname: full, hosts })
}

/// Writes the three files into a pod's directory.
pub(crate) fn write(dir: &Path, pod: &Value, names: &Names, ip: Ipv4Addr, dns: Ipv4Addr, domain: &str) -> Result<()> {
    let hosts = if pod["spec"]["hostNetwork"] == true {
        hosts_of_node(pod, &std::fs::read_to_string("/etc/hosts").unwrap_or_default())
    } else {
        hosts(pod, names, ip)
    };
    let resolv = resolv_conf(pod, dns, domain);
    for (name, text) in [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{}\n", names.hostname))] {
        let path = dir.join(name);
        std::fs::write(&path, text).context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn aliases(pod: &Value) -> String {
    let mut text = String::new();
    for alias in pod["spec"]["hostAliases"].as_array().into_iter().flatten() {
        let names: Vec<&str> = alias["hostnames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if text.is_empty() {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        text.push_str(&format!("{}\t{}\n", alias["ip"].as_str().unwrap_or_default(), names.join("\t")));
    }
    text
}

fn hosts(pod: &Value, names: &Names, ip: Ipv4Addr) -> String {
    format!(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{ip}\t{}\n{}",
        names.hosts,
        aliases(pod)
    )
}

/// On the node's own network a pod has the host's names. Comments are left out: they may speak of another managed file.
fn hosts_of_node(pod: &Value, host: &str) -> String {
    let mut text = "# Kubernetes-managed hosts file (host network).\n".to_owned();
    for line in host.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        text.push_str(line);
        text.push('\n');
    }
    text + &aliases(pod)
}

/// The listeners that a pod asks for on its node.
pub(crate) fn host_ports(pod: &Value, ip: Ipv4Addr, node: &str) -> Vec<(Front, SocketAddrV4)> {
    if pod["spec"]["hostNetwork"] == true {
        return Vec::new();
    }
    let ports = containers(pod, "containers")
        .iter()
        .chain(containers(pod, "initContainers"))
        .flat_map(|c| c["ports"].as_array().into_iter().flatten());
    let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    ports
        .filter_map(|port| {
            let address = port["hostIP"].as_str().and_then(|ip| ip.parse().ok()).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let (port_number, udp) = (number(&port["hostPort"])?, port["protocol"] == "UDP");
            let front = Front { node: Some(node.to_owned()), address, port: port_number, udp };
            Some((front, SocketAddrV4::new(ip, number(&port["containerPort"])?)))
        })
        .collect()
}

/// A pod's `resolv.conf`, as its DNS policy says.
fn resolv_conf(pod: &Value, dns: Ipv4Addr, domain: &str) -> String {
    let namespace = objects::meta::namespace(pod);
    let policy = pod["spec"]["dnsPolicy"].as_str().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" => false,
        "Default" => false,
        "ClusterFirst" => pod["spec"]["hostNetwork"] != true,
        _ => true,
    };
    let list = |value: &Value| {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (mut servers, mut search, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if policy != "None" {
        // Inside the machine there is no other server: the cluster's own asks the host's.
        servers.push(dns.to_string());
        if cluster {
            search.extend([format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()]);
            options.push("ndots:5".to_owned());
        }
    }
    let own = &pod["spec"]["dnsConfig"];
    servers.extend(list(&own["nameservers"]));
    search.extend(list(&own["searches"]));
    for option in own["options"].as_array().into_iter().flatten() {
        let name = option["name"].as_str().unwrap_or_default();
        options.retain(|known| known.split(':').next() != Some(name));
        options.push(option["value"].as_str().map_or_else(|| name.to_owned(), |value| format!("{name}:{value}")));
    }
    let mut text = String::new();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_pods() {
        let pod = |spec: Value| json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec});
        for (spec, hostname, hosts) in [
            (json!({}), "web-0", "web-0"),
            (json!({"hostname": "db"}), "db", "db"),
            (json!({"hostname": "db", "subdomain": "sql"}), "db", "db.sql.shop.svc.cluster.local\tdb"),
            (
                json!({"subdomain": "sql", "setHostnameAsFQDN": true}),
                "web-0.sql.shop.svc.cluster.local",
                "web-0.sql.shop.svc.cluster.local\tweb-0",
            ),
            (json!({"hostnameOverride": "own.example", "subdomain": "sql"}), "own.example", "own.example"),
            (json!({"hostNetwork": true, "hostname": "db"}), "worker", ""),
        ] {
            let found = names(&pod(spec.clone()), "worker", "cluster.local").expect("names");
            assert_eq!((found.hostname.as_str(), found.hosts.as_str()), (hostname, hosts), "{spec}");
        }
        let long = pod(json!({"subdomain": "s".repeat(60), "setHostnameAsFQDN": true}));
        assert!(names(&long, "w", "cluster.local").expect_err("too long").line().contains("is too long"));
    }

    #[test]
    fn hosts_files() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}]}});
        let own = names(&pod, "w", "c").expect("names");
        let text = hosts(&pod, &own, Ipv4Addr::new(10, 244, 0, 2));
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n") && text.contains("\n10.244.0.2\tp\n"), "{text}");
        assert!(text.ends_with("\n1.2.3.4\tfoo\tbar\n"), "{text}");
        pod["spec"]["hostNetwork"] = true.into();
        let text = hosts_of_node(&pod, "# Kubernetes-managed hosts file.\n127.0.0.1 localhost\n");
        assert!(text.contains("\n127.0.0.1 localhost\n") && text.ends_with("\n1.2.3.4\tfoo\tbar\n"), "{text}");
        assert!(!text.contains("# Kubernetes-managed hosts file.\n"), "{text}");
    }

    #[test]
    fn name_servers() {
        let dns = Ipv4Addr::new(10, 96, 0, 10);
        let pod = json!({"metadata": {"namespace": "shop"}, "spec": {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}});
        assert_eq!(
            resolv_conf(&pod, dns, "cluster.local"),
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:2\n"
        );
        let pod = json!({"spec": {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}});
        assert_eq!(resolv_conf(&pod, dns, "cluster.local"), "nameserver 1.1.1.1\n");
    }
}
