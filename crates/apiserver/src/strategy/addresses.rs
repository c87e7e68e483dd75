//! ServiceCIDR and IPAddress: what addresses Services may have, and which are taken.

use std::net::IpAddr;

use objects::status::Cause;
use serde_json::{Value, json};

use super::{immutable, list, text};

/// A CIDR in its canonical form.
fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let host_is_zero = match address {
        IpAddr::V4(a) => prefix == 0 || u32::from(a).checked_shl(u32::from(prefix)).unwrap_or(0) == 0,
        IpAddr::V6(a) => prefix == 0 || u128::from(a).checked_shl(u32::from(prefix)).unwrap_or(0) == 0,
    };
    (prefix <= bits
        && host_is_zero
        && (prefix > 0 || address.is_unspecified())
        && format!("{address}/{prefix}") == text)
        .then_some((address, prefix))
}

pub(super) fn range(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let ranges = list(&object["spec"], "cidrs");
    if ranges.is_empty() {
        causes.push(Cause::required("spec.cidrs", "at least one CIDR required"));
    }
    if ranges.len() > 2 {
        let why = "may only hold up to 2 values";
        causes.push(Cause::invalid("spec.cidrs", &json!(ranges), why));
    }
    let mut families = Vec::new();
    for (i, range) in ranges.iter().enumerate() {
        match cidr(range.as_str().unwrap_or("")) {
            Some((address, _)) => families.push(address.is_ipv4()),
            None => {
                let why = "must be a valid CIDR value in canonical form, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                causes.push(Cause::invalid(format!("spec.cidrs[{i}]"), range, why));
            }
        }
    }
    if families.len() == 2 && families[0] == families[1] {
        causes.push(Cause::invalid("spec.cidrs", &json!(ranges), "may specify no more than one IP for each IP family"));
    }
    immutable(object, old, "/spec/cidrs", causes);
}

pub(super) fn address(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let name = objects::meta::name(object);
    if name.parse::<IpAddr>().is_err() {
        let why = "must be a valid IP address in canonical form, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    } else if name.parse::<IpAddr>().is_ok_and(|a| a.to_string() != name) {
        causes.push(Cause::invalid("metadata.name", &json!(name), "must be in canonical form"));
    }
    let parent = &object["spec"]["parentRef"];
    if !parent.is_object() {
        causes.push(Cause::required("spec.parentRef", ""));
        return;
    }
    for field in ["resource", "name"] {
        if text(parent, field).is_empty() {
            causes.push(Cause::required(format!("spec.parentRef.{field}"), ""));
        }
    }
    immutable(object, old, "/spec", causes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("10.0.0.1/8", false),
            ("fd00::/64", true),
            ("x", false),
            ("0.0.0.0/0", true),
            ("10.0.0.0/33", false),
        ] {
            assert_eq!(cidr(text).is_some(), good, "{text}");
        }
        let mut causes = Vec::new();
        range(&json!({"spec": {"cidrs": ["10.0.0.0/16", "10.1.0.0/16"]}}), None, &mut causes);
        assert_eq!(causes.len(), 1);
    }

    #[test]
    fn addresses() {
        let mut causes = Vec::new();
        let parent = json!({"resource": "services", "name": "s", "namespace": "n"});
        address(&json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}}), None, &mut causes);
        assert_eq!(causes, []);
        address(&json!({"metadata": {"name": "ten"}, "spec": {}}), None, &mut causes);
        assert_eq!(causes.len(), 2);
    }
}
