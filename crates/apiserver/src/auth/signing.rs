//! CertificateSigningRequests: whom they are from, whether they may be approved, and signing those of our own signers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::status::Cause;
use objects::{GroupResource, Status, meta, time};
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::rbac::Ask;
use super::x509::{CLIENT_AUTH, Certificate, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH};
use crate::Api;
use crate::config::{Identity, MASTERS};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// The table of the requests.
pub(crate) const REQUESTS: &str = "certificates.k8s.io/certificatesigningrequests";
const YEAR: u64 = 365 * 86_400;

/// The DER of a request in a CSR object.
fn request_der(object: &Value) -> Option<Vec<u8>> {
    let pem = STANDARD.decode(object.pointer("/spec/request")?.as_str()?).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    matches!(pem.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST").then_some(pem.contents)
}

/// The faults of a request's spec.
pub(crate) fn validate(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if let Some(old) = old {
        if old["spec"] != object["spec"] {
            causes.push(Cause::forbidden("spec", "is immutable"));
        }
        return;
    }
    let spec = &object["spec"];
    let parsed = request_der(object);
    match parsed.as_deref().map(X509CertificationRequest::from_der) {
        Some(Ok((_, request))) if request.verify_signature().is_ok() => {}
        _ => causes.push(Cause::invalid("spec.request", &spec["request"], "is no PEM of a signed certificate request")),
    }
    if spec["usages"].as_array().is_none_or(Vec::is_empty) {
        causes.push(Cause::required("spec.usages", "usages must be provided"));
    }
    match spec["signerName"].as_str().unwrap_or("") {
        "" => causes.push(Cause::required("spec.signerName", "")),
        name if !name.contains('/') || name == "kubernetes.io/legacy-unknown" => {
            causes.push(Cause::invalid("spec.signerName", &json!(name), "must be a fully qualified domain and path"));
        }
        _ => {}
    }
    if spec["expirationSeconds"].as_i64().is_some_and(|s| s < 600) {
        causes.push(Cause::invalid(
            "spec.expirationSeconds",
            &spec["expirationSeconds"],
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
}

/// Writes into a new request whom it is from.
pub(crate) fn stamp(object: &mut Value, who: &Identity) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        spec.insert("username".into(), who.name.as_str().into());
        spec.insert("groups".into(), json!(who.groups));
        if !who.uid.is_empty() {
            spec.insert("uid".into(), who.uid.as_str().into());
        }
        if !who.extra.is_empty() {
            spec.insert("extra".into(), json!(who.extra));
        }
    }
    if let Value::Object(map) = object {
        map.remove("status");
    }
}

impl Api {
    /// Whether someone may do something (`approve`, `sign`, `attest`) for a signer, or for all of its domain.
    fn may_for_signer(&self, who: &Identity, verb: &str, signer: &str) -> bool {
        let domain = format!("{}/*", signer.split('/').next().unwrap_or(""));
        [signer, &domain].into_iter().any(|name| {
            let ask = Ask { verb, group: "certificates.k8s.io", resource: "signers", name, ..Ask::default() };
            self.authorised(who, &ask)
        })
    }

    /// Refuses what only those may write who act for a signer: its bundles, and answers to requests of Pods.
    pub(crate) fn only_for_signer(
        &self,
        who: &Identity,
        resource: &GroupResource,
        subresource: &str,
        object: &Value,
    ) -> Result<(), Status> {
        let signer = object.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or("");
        let verb = match (&*resource.resource, subresource) {
            ("clustertrustbundles", _) if !signer.is_empty() => "attest",
            ("podcertificaterequests", "status") => "sign",
            _ => return Ok(()),
        };
        if self.may_for_signer(who, verb, signer) {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} for signerName {signer:?}");
        Err(Status::forbidden(resource, meta::name(object), why))
    }

    /// Takes the conditions of an approval into a request; signs one that is approved and meant for a signer of ours.
    pub(crate) fn approve(&self, who: &Identity, sent: &Value, before: &Value) -> Result<Value, Status> {
        let resource = GroupResource::new("certificates.k8s.io", "certificatesigningrequests");
        let name = meta::name(before);
        let signer = before.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or("");
        if !self.may_for_signer(who, "approve", signer) {
            let why = format!("user not permitted to approve requests with signerName {signer:?}");
            return Err(Status::forbidden(&resource, name, why));
        }
        let had = |kind: &str| is(before, kind);
        let mut object = before.clone();
        object["metadata"] = sent["metadata"].clone();
        let mut conditions = sent.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        for condition in &mut conditions {
            let now = time::now();
            for field in ["lastUpdateTime", "lastTransitionTime"] {
                if condition[field].is_null() {
                    condition[field] = now.clone().into();
                }
            }
        }
        object["status"]["conditions"] = conditions.into();
        let (approved, denied) = (is(&object, "Approved"), is(&object, "Denied"));
        let mut causes = Vec::new();
        if approved && denied {
            causes.push(Cause::invalid(
                "status.conditions",
                &json!("Denied"),
                "Approved and Denied conditions are mutually exclusive",
            ));
        }
        for kind in ["Approved", "Denied", "Failed"] {
            if had(kind) && !is(&object, kind) {
                causes.push(Cause::forbidden(
                    "status.conditions",
                    format!("updates may not remove a condition of type {kind:?}"),
                ));
            }
        }
        if !causes.is_empty() {
            let kind = objects::GroupKind::new("certificates.k8s.io", "CertificateSigningRequest");
            return Err(Status::invalid(&kind, name, causes));
        }
        if approved && !is(&object, "Failed") && object.pointer("/status/certificate").is_none() {
            match self.sign_request(&object, signer) {
                None => {}
                Some(Ok(pem)) => object["status"]["certificate"] = STANDARD.encode(pem).into(),
                Some(Err(why)) => {
                    let now = time::now();
                    let failed = json!({"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                        "lastUpdateTime": now, "lastTransitionTime": now});
                    if let Some(list) = object["status"]["conditions"].as_array_mut() {
                        list.push(failed);
                    }
                }
            }
        }
        Ok(object)
    }

    /// Signs a request; `None` where its signer is none of ours.
    fn sign_request(&self, object: &Value, signer: &str) -> Option<Result<String, String>> {
        if !matches!(signer, CLIENT | KUBELET_CLIENT | KUBELET_SERVING) {
            return None;
        }
        Some(self.signed(object, signer))
    }

    fn signed(&self, object: &Value, signer: &str) -> Result<String, String> {
        let der = request_der(object).ok_or("the request is no PEM of a certificate request")?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(|e| e.to_string())?;
        let info = &request.certification_request_info;
        let organisations: Vec<&str> = info.subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
        let name = info.subject.iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or("");
        let has_names = request
            .requested_extensions()
            .into_iter()
            .flatten()
            .any(|e| matches!(e, ParsedExtension::SubjectAlternativeName(_)));
        let usages: Vec<&str> = object
            .pointer("/spec/usages")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let of_node = name.starts_with("system:node:") && organisations == ["system:nodes"];
        let serving = signer == KUBELET_SERVING;
        let wanted = if serving { "server auth" } else { "client auth" };
        if !usages.contains(&wanted) {
            return Err(format!("usages must include {wanted:?}"));
        }
        if let Some(other) = usages.iter().find(|u| ![wanted, "digital signature", "key encipherment"].contains(u)) {
            return Err(format!("usage {other:?} is not permitted with signer {signer}"));
        }
        match signer {
            CLIENT if organisations.contains(&MASTERS) => {
                return Err(format!("a certificate of the group {MASTERS} is not signed on request"));
            }
            KUBELET_CLIENT if !of_node || has_names => {
                return Err(
                    "the subject must be a node's (O=system:nodes, CN=system:node:NAME), without alternative names"
                        .into(),
                );
            }
            KUBELET_SERVING if !of_node || !has_names => {
                return Err(
                    "the subject must be a node's (O=system:nodes, CN=system:node:NAME), with alternative names".into(),
                );
            }
            _ => {}
        }
        let mut key_usage = 0;
        for (usage, bit) in [("digital signature", DIGITAL_SIGNATURE), ("key encipherment", KEY_ENCIPHERMENT)] {
            if usages.contains(&usage) {
                key_usage |= bit;
            }
        }
        let names = names_extension(&der);
        let seconds = object.pointer("/spec/expirationSeconds").and_then(Value::as_u64).unwrap_or(YEAR).min(YEAR);
        let certificate = Certificate {
            subject: info.subject.as_raw().to_vec(),
            key: info.subject_pki.raw,
            names: names.as_deref().filter(|_| has_names),
            uses: if serving { &[SERVER_AUTH] } else { &[CLIENT_AUTH] },
            key_usage: if key_usage == 0 { DIGITAL_SIGNATURE } else { key_usage },
            lasts: Duration::from_secs(seconds),
        };
        self.authority.sign(&certificate).map_err(|e| e.to_string())
    }
}

/// The value of the extension of alternative names, found by its identifier.
fn names_extension(der: &[u8]) -> Option<Vec<u8>> {
    const ID: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];
    let at = memchr::memmem::find(der, &ID)? + ID.len();
    let mut rest = der.get(at..)?;
    // `critical`, where it is said.
    if rest.first() == Some(&0x01) {
        rest = rest.get(3..)?;
    }
    if *rest.first()? != 0x04 {
        return None;
    }
    let first = usize::from(*rest.get(1)?);
    let (length, head) = match first {
        n if n < 128 => (n, 2),
        0x81 => (usize::from(*rest.get(2)?), 3),
        0x82 => (usize::from(*rest.get(2)?) << 8 | usize::from(*rest.get(3)?), 4),
        _ => return None,
    };
    rest.get(head..head + length).map(<[u8]>::to_vec)
}

fn is(object: &Value, kind: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == kind && c["status"] != "False"))
}
