//! Signing images with a local key, and verifying them, in the layout that `cosign` uses.
//!
//! A signature is a manifest tagged `sha256-<digest>.sig` beside the image; its layers are simple-signing payloads, each with an
//! ECDSA P-256 signature in an annotation. Keys are texts in PEM; no certificate authority and no log is asked. [`Policy`] says
//! which images must be signed by whom.

mod policy;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

pub use policy::Policy;

use crate::client::{Client, Error as ClientError};
use crate::layout::Layout;
use crate::{Descriptor, Digest, Document, Manifest, Reference, media};

/// Media type of a payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation that holds the signature.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What stands before the point in the DER form of a P-256 public key.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Largest payload that is read, in bytes.
const MAX_PAYLOAD: u64 = 1 << 20;

/// Why an image could not be signed, or is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a key that can be used.
    #[error("{0}")]
    Key(String),
    /// There is no signature.
    #[error("image {image}@{digest} has no signature")]
    Unsigned {
        /// Which.
        image: String,
        /// Its digest.
        digest: Digest,
    },
    /// There are signatures, and none is by this key for this image.
    #[error("image {image}@{digest} has {count} signatures, and none is by the required key")]
    Untrusted {
        /// Which.
        image: String,
        /// Its digest.
        digest: Digest,
        /// How many were looked at.
        count: usize,
    },
    /// The registry failed.
    #[error("signatures of {image}")]
    Registry {
        /// Which image.
        image: String,
        /// Why.
        source: Box<ClientError>,
    },
    /// A temporary layout failed.
    #[error("signature of {image} cannot be prepared")]
    Local {
        /// Which image.
        image: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A private key.
pub struct SigningKey(EcdsaKeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey(Vec<u8>);

fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Makes a key pair: the private key as PKCS#8 PEM, to be kept 0600, and the key itself.
///
/// # Errors
/// When the system has no randomness.
pub fn generate() -> Result<(String, SigningKey), Error> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .map_err(|_| Error::Key("cannot make a key: no randomness".to_owned()))?;
    let text = to_pem("PRIVATE KEY", document.as_ref());
    let key = SigningKey::from_pem(&text)?;
    Ok((text, key))
}

impl SigningKey {
    /// Reads a PKCS#8 PEM with a P-256 key.
    ///
    /// # Errors
    /// When it is anything else; encrypted keys are named as such.
    pub fn from_pem(text: &str) -> Result<SigningKey, Error> {
        if text.contains("ENCRYPTED") {
            return Err(Error::Key(
                "the signing key is encrypted; give it as plain PKCS#8, readable only by its owner".to_owned(),
            ));
        }
        let der = pem(text, "PRIVATE KEY").ok_or_else(|| {
            Error::Key(
                "the signing key is not a PKCS#8 PEM (convert it: openssl pkcs8 -topk8 -nocrypt -in KEY)".to_owned(),
            )
        })?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new());
        pair.map(SigningKey).map_err(|wrong| Error::Key(format!("the signing key is not a usable P-256 key: {wrong}")))
    }

    /// The public half.
    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey(self.0.public_key().as_ref().to_vec())
    }

    /// Signs bytes; the signature is ASN.1 DER in base64.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn sign(&self, bytes: &[u8]) -> Result<String, Error> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), bytes)
            .map_err(|_| Error::Key("cannot sign: no randomness".to_owned()))?;
        Ok(STANDARD.encode(signature.as_ref()))
    }
}

impl VerifyingKey {
    /// Reads a `PUBLIC KEY` PEM (`cosign.pub`).
    ///
    /// # Errors
    /// When it is not a P-256 public key.
    pub fn from_pem(text: &str) -> Result<VerifyingKey, Error> {
        let der =
            pem(text, "PUBLIC KEY").ok_or_else(|| Error::Key("the public key is not a PUBLIC KEY PEM".to_owned()))?;
        match der.strip_prefix(&SPKI) {
            Some(point) if point.len() == 65 => Ok(VerifyingKey(point.to_vec())),
            _ => Err(Error::Key("the public key is not a P-256 key".to_owned())),
        }
    }

    /// As a `PUBLIC KEY` PEM.
    pub fn to_pem(&self) -> String {
        to_pem("PUBLIC KEY", &[&SPKI, self.0.as_slice()].concat())
    }

    /// Whether a base64 signature of `bytes` is by this key.
    pub fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature.trim()) else { return false };
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(bytes, &signature).is_ok()
    }
}

/// The text that is signed for an image.
pub fn payload(image: &Reference, digest: &Digest) -> Vec<u8> {
    let value = json!({
        "critical": {
            "identity": {"docker-reference": image.name()},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    value.to_string().into_bytes()
}

/// The tag of an image's signatures.
pub fn tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm().name(), digest.hex())
}

fn place(image: &Reference, digest: &Digest) -> Result<Reference, Error> {
    image.with_tag(&tag(digest)).map_err(|source| Error::Local { image: image.to_string(), source: Box::new(source) })
}

struct Found {
    descriptor: Descriptor,
    payload: Vec<u8>,
    signature: String,
}

async fn signatures(client: &Client, image: &Reference, place: &Reference) -> Result<Vec<Found>, Error> {
    let failed = |source| Error::Registry { image: image.to_string(), source: Box::new(source) };
    let fetched = match client.manifest(place).await {
        Ok(fetched) => fetched,
        Err(ClientError::NotFound(_)) => return Ok(Vec::new()),
        Err(wrong) => return Err(failed(wrong)),
    };
    let Ok(Document::Manifest(manifest)) = Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for layer in manifest.layers {
        let Some(signature) = layer.annotations.get(ANNOTATION).cloned() else { continue };
        if layer.media_type != PAYLOAD || layer.size > MAX_PAYLOAD {
            continue;
        }
        let blob = client.blob(place, &layer).await.map_err(failed)?;
        let chunks: Vec<bytes::Bytes> = blob.stream.try_collect().await.map_err(failed)?;
        found.push(Found { descriptor: layer, payload: chunks.concat(), signature });
    }
    Ok(found)
}

/// Whether a payload speaks about this image.
fn is_about(payload: &[u8], digest: &Digest) -> bool {
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    value["critical"]["type"] == "cosign container image signature"
        && value["critical"]["image"]["docker-manifest-digest"] == digest.as_str()
}

/// Signs an image that is in its registry. Signatures that are there stay; a second one by the same key is not added.
///
/// # Errors
/// When the registry refuses, or nothing can be prepared.
pub async fn sign(client: &Client, image: &Reference, digest: &Digest, key: &SigningKey) -> Result<(), Error> {
    let place = place(image, digest)?;
    let before = signatures(client, image, &place).await?;
    let public = key.verifying();
    if before.iter().any(|one| is_about(&one.payload, digest) && public.verifies(&one.payload, &one.signature)) {
        return Ok(());
    }
    let local = |source: Box<dyn std::error::Error + Send + Sync>| Error::Local { image: image.to_string(), source };
    let scratch = tempfile::tempdir().map_err(|wrong| local(Box::new(wrong)))?;
    let layout = Layout::open(scratch.path()).map_err(|wrong| local(Box::new(wrong)))?;
    let mut layers = Vec::new();
    for one in before {
        layout.put(PAYLOAD, &one.payload).map_err(|wrong| local(Box::new(wrong)))?;
        layers.push(one.descriptor);
    }
    let text = payload(image, digest);
    let mut layer = layout.put(PAYLOAD, &text).map_err(|wrong| local(Box::new(wrong)))?;
    layer.annotations.insert(ANNOTATION.to_owned(), key.sign(&text)?);
    layers.push(layer);
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config =
        json!({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = layout.put_json(media::OCI_CONFIG, &config).map_err(|wrong| local(Box::new(wrong)))?;
    let manifest =
        layout.put_json(media::OCI_MANIFEST, &Manifest::new(config, layers)).map_err(|wrong| local(Box::new(wrong)))?;
    let pushed = client.push(&layout, &manifest, &place, &()).await;
    pushed.map(drop).map_err(|source| Error::Registry { image: image.to_string(), source: Box::new(source) })
}

/// Checks that an image has a signature by `key`.
///
/// # Errors
/// [`Error::Unsigned`] and [`Error::Untrusted`] when it has not; others when that cannot be told.
pub async fn verify(client: &Client, image: &Reference, digest: &Digest, key: &VerifyingKey) -> Result<(), Error> {
    let place = place(image, digest)?;
    let found = signatures(client, image, &place).await?;
    if found.is_empty() {
        return Err(Error::Unsigned { image: image.name(), digest: digest.clone() });
    }
    match found.iter().any(|one| is_about(&one.payload, digest) && key.verifies(&one.payload, &one.signature)) {
        true => Ok(()),
        false => Err(Error::Untrusted { image: image.name(), digest: digest.clone(), count: found.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_tell_right_from_wrong() {
        let (text, key) = generate().unwrap();
        let again = SigningKey::from_pem(&text).unwrap();
        let public = VerifyingKey::from_pem(&key.verifying().to_pem()).unwrap();
        assert_eq!(public, again.verifying());
        let signature = key.sign(b"text").unwrap();
        assert!(public.verifies(b"text", &signature));
        assert!(!public.verifies(b"other", &signature));
        assert!(!generate().unwrap().1.verifying().verifies(b"text", &signature));
        assert!(!public.verifies(b"text", "not base64!"));
        assert!(
            SigningKey::from_pem("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----")
                .unwrap_err()
                .to_string()
                .contains("encrypted")
        );
    }

    #[test]
    fn a_payload_is_about_one_image() {
        let image = Reference::parse("me/app:1").unwrap();
        let digest = Digest::of(b"manifest");
        let text = payload(&image, &digest);
        assert!(is_about(&text, &digest));
        assert!(!is_about(&text, &Digest::of(b"other")));
        assert!(String::from_utf8(text).unwrap().contains("\"docker-reference\":\"docker.io/me/app\""));
        assert_eq!(tag(&digest), format!("sha256-{}.sig", digest.hex()));
    }

    #[test]
    fn openssl_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let (_, key) = generate().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let public = write("pub.pem", key.verifying().to_pem().as_bytes());
        let text = write("text", b"signed text");
        let signature = write("sig", &STANDARD.decode(key.sign(b"signed text").unwrap()).unwrap());
        let mut command = std::process::Command::new("openssl");
        command.args(["dgst", "-sha256", "-verify"]).arg(public).arg("-signature").arg(signature).arg(text);
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => eprintln!("openssl is not on this machine: not judged"),
        }
    }
}
