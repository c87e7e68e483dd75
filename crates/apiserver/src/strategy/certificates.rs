//! `certificates.k8s.io`: certificate requests of Pods, and bundles of authorities that a cluster trusts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::status::Cause;
use objects::{meta, names, time};
use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::{immutable, list, set, spec_mut, text};

/// The longest life that a Pod may ask for its certificate, in seconds: 91 days.
const LONGEST: i64 = 91 * 86_400;
/// The shortest life of a Pod's certificate, in seconds.
const SHORTEST: i64 = 3_600;
/// What ends a request; at most one of them, and for good.
const ENDS: [&str; 3] = ["Issued", "Denied", "Failed"];

pub(super) fn request_default(object: &mut Value) {
    if let Some(spec) = spec_mut(object) {
        set(spec, "maxExpirationSeconds", 86_400);
    }
}

/// A signer's name: a domain, and what it signs there.
fn signer(name: &str, at: &str, causes: &mut Vec<Cause>) {
    let good = name.split_once('/').is_some_and(|(domain, path)| {
        names::dns1123_subdomain(domain).is_ok() && path.split('.').all(|part| names::dns1123_label(part).is_ok())
    });
    if name.is_empty() {
        causes.push(Cause::required(at, ""));
    } else if !good {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        causes.push(Cause::invalid(at, &json!(name), why));
    }
}

/// Faults of how long a Pod's certificate may live.
fn lifetime(value: &Value, signer: &str, at: &str, causes: &mut Vec<Cause>) {
    let Some(seconds) = value.as_i64() else { return };
    let most = if signer.starts_with("kubernetes.io/") { 86_400 } else { LONGEST };
    if seconds < SHORTEST {
        let why = format!("if provided, maxExpirationSeconds must be >= {SHORTEST}");
        causes.push(Cause::invalid(at, value, why));
    } else if seconds > most {
        causes.push(Cause::invalid(at, value, format!("if provided, maxExpirationSeconds must be <= {most}")));
    }
}

/// Faults of a volume's source that is a Pod's certificate.
pub(super) fn projection(source: &Value, at: &str, causes: &mut Vec<Cause>) {
    const KEYS: [&str; 6] = ["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];
    signer(text(source, "signerName"), &format!("{at}.signerName"), causes);
    if !KEYS.contains(&text(source, "keyType")) {
        causes.push(Cause::not_supported(format!("{at}.keyType"), &source["keyType"], &KEYS));
    }
    lifetime(
        &source["maxExpirationSeconds"],
        text(source, "signerName"),
        &format!("{at}.maxExpirationSeconds"),
        causes,
    );
    let paths = ["credentialBundlePath", "keyPath", "certificateChainPath"];
    if paths.iter().all(|field| text(source, field).is_empty()) {
        causes.push(Cause::required(
            at,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ));
    }
}

pub(super) fn request(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if old.is_some() {
        immutable(object, old, "/spec", causes);
        return;
    }
    let spec = &object["spec"];
    signer(text(spec, "signerName"), "spec.signerName", causes);
    for field in ["podName", "podUID", "serviceAccountName", "serviceAccountUID", "nodeName", "nodeUID"] {
        if text(spec, field).is_empty() {
            causes.push(Cause::required(format!("spec.{field}"), ""));
        }
    }
    lifetime(&spec["maxExpirationSeconds"], text(spec, "signerName"), "spec.maxExpirationSeconds", causes);
    let der = STANDARD.decode(text(spec, "stubPKCS10Request")).unwrap_or_default();
    match X509CertificationRequest::from_der(&der) {
        Ok((_, parsed)) if parsed.verify_signature().is_ok() => {}
        Ok(_) => {
            let why = "the signature is not that of the key which the request names";
            causes.push(Cause::invalid("spec.stubPKCS10Request", &json!("<request>"), why));
        }
        Err(_) => {
            let why = "must be a PKCS#10 certificate request in DER";
            causes.push(Cause::invalid("spec.stubPKCS10Request", &json!("<request>"), why));
        }
    }
}

/// The certificates of a PEM text, in DER; `None` where there is anything else in it.
fn chain(pem: &str) -> Option<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for block in x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.ok().filter(|b| b.label == "CERTIFICATE")?;
        X509Certificate::from_der(&block.contents).ok()?;
        out.push(block.contents);
    }
    (!out.is_empty()).then_some(out)
}

/// What a request came to: its condition that ends it.
fn end(object: &Value) -> Option<&Value> {
    list(&object["status"], "conditions").iter().find(|c| ENDS.contains(&text(c, "type")))
}

pub(super) fn request_status(object: &Value, old: &Value, causes: &mut Vec<Cause>) {
    const GIVEN: [&str; 4] = ["certificateChain", "notBefore", "notAfter", "beginRefreshAt"];
    let status = &object["status"];
    if let Some(before) = end(old) {
        let same = end(object).is_some_and(|now| text(now, "type") == text(before, "type"));
        if !same || GIVEN.iter().any(|field| status.get(*field) != old["status"].get(*field)) {
            let why = format!("a request that is {} stays so", text(before, "type"));
            causes.push(Cause::invalid("status", &json!(text(before, "type")), why));
        }
        return;
    }
    let ends = list(status, "conditions").iter().enumerate().filter(|(_, c)| ENDS.contains(&text(c, "type")));
    let ends: Vec<(usize, &Value)> = ends.collect();
    for (i, condition) in &ends {
        if text(condition, "status") != "True" {
            let at = format!("status.conditions[{i}].status");
            causes.push(Cause::not_supported(at, &condition["status"], &["True"]));
        }
    }
    if ends.len() > 1 {
        let why = "there may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"";
        causes.push(Cause::invalid("status.conditions", &json!(ends.len()), why));
        return;
    }
    let issued = ends.iter().any(|(_, c)| text(c, "type") == "Issued");
    for field in GIVEN {
        match (issued, text(status, field).is_empty()) {
            (true, true) => {
                causes.push(Cause::required(format!("status.{field}"), "must be set with condition Issued"))
            }
            (false, false) => {
                causes.push(Cause::forbidden(format!("status.{field}"), "may only be set with condition Issued"));
            }
            _ => {}
        }
    }
    if issued && causes.is_empty() {
        issued_faults(&object["spec"], status, causes);
    }
}

/// Faults of an issued certificate: what the status says of it, and whether it is what was asked for.
fn issued_faults(spec: &Value, status: &Value, causes: &mut Vec<Cause>) {
    let at = "status.certificateChain";
    let shown = json!("<chain>");
    let Some(certificates) = chain(text(status, "certificateChain")) else {
        causes.push(Cause::invalid(at, &shown, "must be one or more certificates in PEM"));
        return;
    };
    let Some((_, leaf)) = certificates.first().and_then(|der| X509Certificate::from_der(der).ok()) else { return };
    let der = STANDARD.decode(text(spec, "stubPKCS10Request")).unwrap_or_default();
    let asked = X509CertificationRequest::from_der(&der).ok();
    let key = asked.as_ref().map(|(_, request)| request.certification_request_info.subject_pki.raw);
    if key != Some(leaf.public_key().raw) {
        causes.push(Cause::invalid(at, &shown, "the leaf is not for the key of the request"));
    }
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let said = |field: &str| time::parse(text(status, field)).map(|t| t.as_second());
    for (field, is) in [("notBefore", from), ("notAfter", to)] {
        if said(field) != Some(is) {
            let why = format!("must be the same as that of the leaf certificate ({is} seconds after 1970)");
            causes.push(Cause::invalid(format!("status.{field}"), &status[field], why));
        }
    }
    let most = spec["maxExpirationSeconds"].as_i64().unwrap_or(86_400);
    if to - from > most || to - from < SHORTEST {
        let why = format!("the leaf must be valid for {SHORTEST} to {most} seconds, and is for {}", to - from);
        causes.push(Cause::invalid(at, &shown, why));
    }
    if said("beginRefreshAt").is_none_or(|refresh| refresh < from + 600 || refresh > to - 600) {
        let why = "must lie at least 10 minutes after notBefore and at least 10 minutes before notAfter";
        causes.push(Cause::invalid("status.beginRefreshAt", &status["beginRefreshAt"], why));
    }
}

/// What the name of a signer's bundles begins with.
fn prefix(signer: &str) -> String {
    format!("{}:", signer.replace('/', ":"))
}

pub(super) fn bundle(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let (name, spec) = (meta::name(object), &object["spec"]);
    let of = text(spec, "signerName");
    if of.is_empty() {
        if name.contains(':') {
            let why = "ClusterTrustBundle without signer name must not have \":\" in its name";
            causes.push(Cause::invalid("metadata.name", &json!(name), why));
        }
    } else {
        signer(of, "spec.signerName", causes);
        let wanted = prefix(of);
        if !name.strip_prefix(&wanted).is_some_and(|rest| names::dns1123_subdomain(rest).is_ok()) {
            let why = format!("ClusterTrustBundle for signerName {of} must be named with prefix {wanted}");
            causes.push(Cause::invalid("metadata.name", &json!(name), why));
        }
    }
    immutable(object, old, "/spec/signerName", causes);
    if old.is_some_and(|o| o["spec"]["trustBundle"] == spec["trustBundle"]) {
        return;
    }
    let (at, shown) = ("spec.trustBundle", json!("<value omitted>"));
    let pem = text(spec, "trustBundle");
    let Some(certificates) = chain(pem) else {
        causes.push(Cause::invalid(at, &shown, "must be one or more certificates in PEM"));
        return;
    };
    for (i, der) in certificates.iter().enumerate() {
        let authority = X509Certificate::from_der(der).is_ok_and(|(_, c)| c.is_ca());
        if !authority {
            causes.push(Cause::invalid(at, &shown, format!("certificate {i} is not one of an authority (CA)")));
        }
        if certificates[..i].contains(der) {
            causes.push(Cause::invalid(at, &shown, format!("certificate {i} is there twice")));
        }
    }
    let between =
        pem.split("-----BEGIN CERTIFICATE-----").flat_map(|part| part.split("-----END CERTIFICATE-----").nth(1));
    if pem.trim_start().is_empty() || between.into_iter().any(|text| !text.trim().is_empty()) {
        causes.push(Cause::invalid(at, &shown, "must not have text between certificates"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn asked(key: &KeyPair) -> Value {
        let request = CertificateParams::default().serialize_request(key).unwrap();
        json!({"metadata": {"name": "r"}, "spec": {"signerName": "example.com/pods", "podName": "p", "podUID": "1",
            "serviceAccountName": "default", "serviceAccountUID": "2", "nodeName": "n", "nodeUID": "3",
            "maxExpirationSeconds": 86_400, "stubPKCS10Request": STANDARD.encode(request.der())}})
    }

    fn faults(of: impl Fn(&mut Vec<Cause>)) -> Vec<Cause> {
        let mut causes = Vec::new();
        of(&mut causes);
        causes
    }

    #[test]
    fn requests() {
        let key = KeyPair::generate().unwrap();
        let good = asked(&key);
        assert_eq!(faults(|c| request(&good, None, c)), []);
        for (pointer, value, field) in [
            ("/spec/signerName", json!("pods"), "spec.signerName"),
            ("/spec/podName", json!(""), "spec.podName"),
            ("/spec/maxExpirationSeconds", json!(60), "spec.maxExpirationSeconds"),
            ("/spec/maxExpirationSeconds", json!(LONGEST + 1), "spec.maxExpirationSeconds"),
            ("/spec/stubPKCS10Request", json!("AAAA"), "spec.stubPKCS10Request"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let causes = faults(|c| request(&bad, None, c));
            assert_eq!(causes.iter().map(|c| c.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }

    #[test]
    fn answers() {
        let key = KeyPair::generate().unwrap();
        let before = asked(&key);
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 3, 1);
        params.not_after = rcgen::date_time_ymd(2026, 3, 2);
        let pem = params.self_signed(&key).unwrap().pem();
        let mut after = before.clone();
        after["status"] = json!({"certificateChain": pem, "notBefore": "2026-03-01T00:00:00Z", "notAfter": "2026-03-02T00:00:00Z",
            "beginRefreshAt": "2026-03-01T00:15:00Z", "conditions": [{"type": "Issued", "status": "True", "reason": "r"}]});
        assert_eq!(faults(|c| request_status(&after, &before, c)), []);
        let other = asked(&KeyPair::generate().unwrap());
        let mut stolen = after.clone();
        stolen["spec"] = other["spec"].clone();
        assert_eq!(faults(|c| request_status(&stolen, &other, c)).len(), 1);
        let mut late = after.clone();
        late["status"]["notAfter"] = "2026-03-03T00:00:00Z".into();
        assert!(!faults(|c| request_status(&late, &before, c)).is_empty());
        let mut denied = before.clone();
        denied["status"] = json!({"conditions": [{"type": "Denied", "status": "True"}]});
        assert_eq!(faults(|c| request_status(&denied, &before, c)), []);
        assert_eq!(faults(|c| request_status(&after, &denied, c)).len(), 1, "denied is denied");
    }

    #[test]
    fn bundles() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let leaf = CertificateParams::default().self_signed(&key).unwrap().pem();
        let of = |name: &str, signer: &str, pem: &str| {
            let object = json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": pem}});
            faults(|c| bundle(&object, None, c)).len()
        };
        assert_eq!(of("plain", "", &pem), 0);
        assert_eq!(of("example.com:pods:one", "example.com/pods", &pem), 0);
        assert_eq!(of("one", "example.com/pods", &pem), 1);
        assert_eq!(of("a:b", "", &pem), 1);
        assert_eq!(of("plain", "", &leaf), 1);
        assert_eq!(of("plain", "", &format!("{pem}{pem}")), 1);
        assert_eq!(of("plain", "", "nothing"), 1);
    }
}
