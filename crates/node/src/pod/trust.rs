//! ClusterTrustBundles in projected volumes: the authorities of one bundle, or of all those of a signer that a selector picks.

use crate::api::Api;
use crate::error::{Error, Result};
use objects::labels::Selector;
use serde_json::Value;
use std::collections::BTreeSet;

const BUNDLES: &str = "/apis/certificates.k8s.io/v1/clustertrustbundles";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates that a projection names, in PEM: each once, in an order that does not say where they are from.
///
/// # Errors
/// Where there is none and the projection is not optional.
pub(super) async fn bundle(api: &Api, wanted: &Value) -> Result<String> {
    let optional = wanted["optional"] == true;
    let bundles = if let Some(name) = wanted["name"].as_str() {
        let found = api.get(&format!("{BUNDLES}/{name}")).await?;
        if found.is_none() && !optional {
            return Err(Error::Invalid(format!("ClusterTrustBundle \"{name}\" not found")));
        }
        found.into_iter().collect()
    } else {
        let signer = wanted["signerName"].as_str().unwrap_or_default();
        let all = api.get(BUNDLES).await?.unwrap_or_default();
        let bundles = of_signer(&all, signer, &wanted["labelSelector"])?;
        if bundles.is_empty() && !optional {
            let why = format!("no ClusterTrustBundle of signer {signer:?} matches the selector of the projection");
            return Err(Error::Invalid(why));
        }
        bundles
    };
    Ok(merged(&bundles))
}

/// The bundles of a list that are a signer's and that the selector picks. No selector picks nothing, an empty one everything.
fn of_signer(all: &Value, signer: &str, selector: &Value) -> Result<Vec<Value>> {
    if !selector.is_object() {
        return Ok(Vec::new());
    }
    let selector = Selector::from_label_selector(selector)
        .map_err(|error| Error::Invalid(format!("labelSelector of a clusterTrustBundle: {error}")))?;
    let items = all["items"].as_array().into_iter().flatten();
    let mine = items.filter(|b| b["spec"]["signerName"] == signer && selector.matches_object(b));
    Ok(mine.cloned().collect())
}

/// The certificates of the bundles, each once.
fn merged(bundles: &[Value]) -> String {
    let mut blocks = BTreeSet::new();
    for bundle in bundles {
        let text = bundle["spec"]["trustBundle"].as_str().unwrap_or_default();
        for part in text.split(BEGIN).skip(1) {
            if let Some((body, _)) = part.split_once(END) {
                blocks.insert(format!("{BEGIN}\n{}\n{END}\n", body.trim()));
            }
        }
    }
    blocks.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_and_how() {
        let pem = |body: &str| format!("{BEGIN}\n{body}\n{END}\n");
        let bundle = |signer: &str, label: &str, text: String| json!({"metadata": {"labels": {"live": label}}, "spec": {"signerName": signer, "trustBundle": text}});
        let all = json!({"items": [bundle("a/b", "yes", pem("BBB") + &pem("AAA")), bundle("a/b", "no", pem("AAA")), bundle("c/d", "yes", pem("CCC"))]});
        let of = |selector: Value| merged(&of_signer(&all, "a/b", &selector).expect("a selector"));
        assert_eq!(of(json!({})), pem("AAA") + &pem("BBB"));
        assert_eq!(of(json!({"matchLabels": {"live": "no"}})), pem("AAA"));
        assert_eq!(of(Value::Null), "");
    }
}
