//! From a Service and its EndpointSlices to addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address.
    Socket(SocketAddr),
    /// A name and port (`ExternalName`).
    Name(String, u16),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// An endpoint that takes requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointSpec {
    /// Where it is.
    pub address: Address,
    /// The Pod behind it.
    pub pod: Option<String>,
}

/// The endpoints of a Service's port that take requests now. `port` is a name or number from the Ingress. Those that are
/// ready; when there is none, those that still serve while they end.
pub fn resolve(
    service: &Value,
    port: &Value,
    slices: &[Arc<Value>],
    endpoints: Option<&Value>,
) -> Result<Vec<EndpointSpec>, String> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = ports.iter().find(|p| match port {
        Value::String(name) => p["name"].as_str() == Some(name),
        number => number.is_number() && p["port"].as_u64() == number.as_u64(),
    });
    if service["spec"]["type"].as_str() == Some("ExternalName") {
        let name = service["spec"]["externalName"].as_str().unwrap_or_default().trim_end_matches('.');
        let number = wanted.and_then(|p| p["port"].as_u64()).or_else(|| port.as_u64());
        let number =
            number.and_then(|n| u16::try_from(n).ok()).ok_or("the port of an ExternalName service must be a number")?;
        let address = match name.parse::<IpAddr>() {
            Ok(ip) => Address::Socket(SocketAddr::new(ip, number)),
            Err(_) => Address::Name(name.to_owned(), number),
        };
        return Ok(vec![EndpointSpec { address, pod: None }]);
    }
    let wanted = wanted.ok_or_else(|| format!("the service has no port {port}"))?;
    // Slices name their ports as the Service does; an only port may have no name.
    let name = wanted["name"].as_str().unwrap_or_default();
    let (mut ready, mut ending) = (Vec::new(), Vec::new());
    for slice in slices {
        let numbers = slice["ports"].as_array().into_iter().flatten();
        let mut numbers = numbers.filter(|p| p["name"].as_str().unwrap_or_default() == name && tcp(p));
        let Some(number) = numbers.find_map(|p| u16::try_from(p["port"].as_u64()?).ok()) else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let conditions = &endpoint["conditions"];
            let is_ready = conditions["ready"].as_bool().unwrap_or(true);
            let terminating = conditions["terminating"].as_bool().unwrap_or(false);
            let serving = conditions["serving"].as_bool().unwrap_or(is_ready);
            let pod = endpoint["targetRef"]["name"].as_str().filter(|_| endpoint["targetRef"]["kind"] == "Pod");
            for address in endpoint["addresses"].as_array().into_iter().flatten() {
                let Some(ip) = address.as_str().and_then(|a| a.parse::<IpAddr>().ok()) else { continue };
                let spec =
                    EndpointSpec { address: Address::Socket(SocketAddr::new(ip, number)), pod: pod.map(str::to_owned) };
                match (is_ready && !terminating, serving) {
                    (true, _) => ready.push(spec),
                    (false, true) => ending.push(spec),
                    (false, false) => {}
                }
            }
        }
    }
    if slices.is_empty() {
        ready = of_endpoints(endpoints, name);
    }
    let mut found = if ready.is_empty() { ending } else { ready };
    found.sort();
    found.dedup();
    Ok(found)
}

fn tcp(port: &Value) -> bool {
    matches!(port["protocol"].as_str(), None | Some("TCP"))
}

/// The older Endpoints object, for Services without a selector.
fn of_endpoints(endpoints: Option<&Value>, name: &str) -> Vec<EndpointSpec> {
    let mut found = Vec::new();
    for subset in endpoints.and_then(|e| e["subsets"].as_array()).into_iter().flatten() {
        let mut ports = subset["ports"].as_array().into_iter().flatten();
        let number = ports.find(|p| p["name"].as_str().unwrap_or_default() == name && tcp(p));
        let Some(number) = number.and_then(|p| u16::try_from(p["port"].as_u64()?).ok()) else { continue };
        for address in subset["addresses"].as_array().into_iter().flatten() {
            if let Some(ip) = address["ip"].as_str().and_then(|a| a.parse::<IpAddr>().ok()) {
                let pod = address["targetRef"]["name"].as_str().map(str::to_owned);
                found.push(EndpointSpec { address: Address::Socket(SocketAddr::new(ip, number)), pod });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> Value {
        json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8011}, {"name": "admin", "port": 81}]}})
    }

    fn slice(endpoints: Value) -> Vec<Arc<Value>> {
        vec![Arc::new(json!({"ports": [{"name": "http", "port": 8011, "protocol": "TCP"}], "endpoints": endpoints}))]
    }

    fn found(slices: &[Arc<Value>], port: Value) -> Vec<String> {
        let found = resolve(&service(), &port, slices, None).expect("resolved");
        found.iter().map(|e| e.address.to_string()).collect()
    }

    #[test]
    fn takes_those_that_are_ready() {
        let slices = slice(json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.4"]},
        ]));
        assert_eq!(found(&slices, json!(80)), ["10.0.0.1:8011", "10.0.0.4:8011"]);
        assert_eq!(found(&slices, json!("http")), ["10.0.0.1:8011", "10.0.0.4:8011"]);
        assert_eq!(found(&slices, json!("admin")), Vec::<String>::new());
        assert!(resolve(&service(), &json!(82), &slices, None).is_err());
    }

    #[test]
    fn falls_back_to_those_that_end() {
        let slices = slice(json!([
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": false, "serving": false, "terminating": true}},
        ]));
        assert_eq!(found(&slices, json!(80)), ["10.0.0.3:8011"]);
    }

    #[test]
    fn external_names_and_plain_endpoints() {
        let external = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
        let found = resolve(&external, &json!(443), &[], None).expect("resolved");
        assert_eq!(found[0].address, Address::Name("example.com".into(), 443));
        assert!(resolve(&external, &json!("https"), &[], None).is_err());
        let endpoints =
            json!({"subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"name": "http", "port": 9}]}]});
        let found = resolve(&service(), &json!(80), &[], Some(&endpoints)).expect("resolved");
        assert_eq!(found[0].address.to_string(), "10.1.1.1:9");
    }
}
