//! Table columns of the kinds that are looked at less often.

use serde_json::Value;

use super::columns::{AGE, Printer, age, list, number, printer, text};

printer!(
    FLOW_SCHEMAS,
    [
        ("PriorityLevel", "string", 0),
        ("MatchingPrecedence", "integer", 0),
        ("DistinguisherMethod", "string", 0),
        AGE,
        ("MissingPL", "string", 0)
    ],
    |o| {
        let method = text(o, "/spec/distinguisherMethod/type");
        let dangling = objects::meta::condition(o, "Dangling").map_or("?", |c| text(c, "/status"));
        vec![
            text(o, "/spec/priorityLevelConfiguration/name").into(),
            number(o, "/spec/matchingPrecedence").into(),
            if method.is_empty() { "<none>" } else { method }.into(),
            age(o),
            dangling.into(),
        ]
    }
);

printer!(
    PRIORITY_LEVELS,
    [
        ("Type", "string", 0),
        ("NominalConcurrencyShares", "integer", 0),
        ("Queues", "integer", 0),
        ("HandSize", "integer", 0),
        ("QueueLengthLimit", "integer", 0),
        AGE
    ],
    |o| {
        let shown = |pointer: &str| o.pointer(pointer).cloned().unwrap_or_else(|| Value::from("<none>"));
        let queuing = |field: &str| shown(&format!("/spec/limited/limitResponse/queuing/{field}"));
        vec![
            text(o, "/spec/type").into(),
            shown("/spec/limited/nominalConcurrencyShares"),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            age(o),
        ]
    }
);

printer!(SERVICE_CIDRS, [("CIDRs", "string", 0), AGE], |o| {
    let ranges: Vec<&str> = list(o, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
    vec![ranges.join(",").into(), age(o)]
});

printer!(IP_ADDRESSES, [("ParentRef", "string", 0), AGE], |o| {
    let part = |field: &str| text(o, &format!("/spec/parentRef/{field}"));
    let resource = match part("group") {
        "" => part("resource").to_owned(),
        group => format!("{}.{group}", part("resource")),
    };
    let name = match part("namespace") {
        "" => part("name").to_owned(),
        namespace => format!("{namespace}/{}", part("name")),
    };
    vec![format!("{resource}/{name}").into(), age(o)]
});

printer!(ATTRIBUTES_CLASSES, [("DriverName", "string", 0), AGE], |o| vec![text(o, "/driverName").into(), age(o)]);

printer!(MUTATING_POLICIES, [("Mutations", "integer", 0), ("ParamKind", "string", 0), AGE], |o| {
    vec![list(o, "/spec/mutations").len().into(), param_kind(o).into(), age(o)]
});

printer!(VALIDATING_POLICIES, [("Validations", "integer", 0), ("ParamKind", "string", 0), AGE], |o| {
    vec![list(o, "/spec/validations").len().into(), param_kind(o).into(), age(o)]
});

printer!(POLICY_BINDINGS, [("PolicyName", "string", 0), ("ParamRef", "string", 0), AGE], |o| {
    let reference = match (text(o, "/spec/paramRef/namespace"), text(o, "/spec/paramRef/name")) {
        _ if o.pointer("/spec/paramRef").is_none() => "<unset>".to_owned(),
        (_, "") => "<selector>".to_owned(),
        ("", name) => name.to_owned(),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![text(o, "/spec/policyName").into(), reference.into(), age(o)]
});

fn param_kind(o: &Value) -> String {
    match (text(o, "/spec/paramKind/apiVersion"), text(o, "/spec/paramKind/kind")) {
        ("", "") => "<unset>".into(),
        (version, kind) => format!("{version}/{kind}"),
    }
}

printer!(CLAIMS, [("State", "string", 0), AGE], |o| {
    let mut states = Vec::new();
    if !objects::meta::deletion_timestamp(o).is_none_or(str::is_empty) {
        states.push("deleted");
    }
    let allocated = o.pointer("/status/allocation").is_some();
    if allocated {
        states.push("allocated");
    }
    if !list(o, "/status/reservedFor").is_empty() {
        states.push("reserved");
    } else if !allocated {
        states.push("pending");
    }
    vec![states.join(",").into(), age(o)]
});

printer!(SLICES, [("Node", "string", 0), ("Driver", "string", 0), ("Pool", "string", 0), AGE], |o| {
    vec![text(o, "/spec/nodeName").into(), text(o, "/spec/driver").into(), text(o, "/spec/pool/name").into(), age(o)]
});

printer!(TRUST_BUNDLES, [("SignerName", "string", 0), AGE], |o| {
    let signer = text(o, "/spec/signerName");
    vec![if signer.is_empty() { "<none>" } else { signer }.into(), age(o)]
});

printer!(
    POD_CERTIFICATE_REQUESTS,
    [
        ("PodName", "string", 0),
        ("ServiceAccountName", "string", 0),
        ("NodeName", "string", 0),
        ("SignerName", "string", 0),
        ("State", "string", 0),
        AGE
    ],
    |o| {
        let ends = |c: &&Value| ["Issued", "Denied", "Failed"].contains(&text(c, "/type"));
        let end = list(o, "/status/conditions").iter().find(ends);
        let mut cells: Vec<Value> = ["podName", "serviceAccountName", "nodeName", "signerName"]
            .iter()
            .map(|field| text(o, &format!("/spec/{field}")).into())
            .collect();
        cells.push(end.map_or("Pending", |c| text(c, "/type")).into());
        cells.push(age(o));
        cells
    }
);

/// The columns of one of these kinds.
pub(super) fn of(resource: &str) -> Option<&'static Printer> {
    Some(match resource {
        "flowschemas" => &FLOW_SCHEMAS,
        "prioritylevelconfigurations" => &PRIORITY_LEVELS,
        "servicecidrs" => &SERVICE_CIDRS,
        "ipaddresses" => &IP_ADDRESSES,
        "volumeattributesclasses" => &ATTRIBUTES_CLASSES,
        "mutatingadmissionpolicies" => &MUTATING_POLICIES,
        "validatingadmissionpolicies" => &VALIDATING_POLICIES,
        "mutatingadmissionpolicybindings" | "validatingadmissionpolicybindings" => &POLICY_BINDINGS,
        "resourceclaims" => &CLAIMS,
        "resourceslices" => &SLICES,
        "clustertrustbundles" => &TRUST_BUNDLES,
        "podcertificaterequests" => &POD_CERTIFICATE_REQUESTS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_cells_as_columns() {
        for resource in [
            "flowschemas",
            "prioritylevelconfigurations",
            "servicecidrs",
            "ipaddresses",
            "volumeattributesclasses",
            "mutatingadmissionpolicies",
            "validatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "resourceclaims",
            "resourceslices",
            "clustertrustbundles",
            "podcertificaterequests",
        ] {
            let printer = of(resource).unwrap();
            assert_eq!((printer.cells)(&serde_json::json!({})).len(), printer.columns.len(), "{resource}");
        }
    }
}
