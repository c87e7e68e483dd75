//! Private keys in the forms Go writes them.

use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};

use super::encoding::{base64, decode64};
use super::random::Random;

/// A source of randomness for the key generators.
pub(crate) struct Rng<'r>(pub &'r mut Random);

impl rsa::rand_core::RngCore for Rng<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Rng<'_> {}

/// PEM with lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    let text = base64(der);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The label and contents of the first block of a PEM text.
pub(crate) fn unpem(text: &str) -> Option<(String, Vec<u8>)> {
    let after = text.split_once("-----BEGIN ")?.1;
    let (label, rest) = after.split_once("-----")?;
    let body = rest.split_once("-----END ")?.0;
    let body: String = body.split_whitespace().collect();
    Some((label.to_owned(), decode64(&body).ok()?))
}

fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let n = contents.len();
    if n < 128 {
        out.push(n as u8);
    } else {
        let bytes = n.to_be_bytes();
        let used = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len() - 1);
        out.push(0x80 | (bytes.len() - used) as u8);
        out.extend_from_slice(&bytes[used..]);
    }
    out.extend_from_slice(contents);
    out
}

fn der_int(bytes: &[u8]) -> Vec<u8> {
    let skip = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len().saturating_sub(1));
    let mut contents = bytes[skip..].to_vec();
    if contents.first().is_none_or(|b| b & 0x80 != 0) {
        contents.insert(0, 0);
    }
    der(2, &contents)
}

const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519_PREFIX: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn ec_parts(scalar: &[u8], with_curve: bool) -> Result<Vec<u8>, String> {
    use p256::elliptic_curve::sec1::ToEncodedPoint;
    let key = p256::SecretKey::from_slice(scalar).map_err(|e| e.to_string())?;
    let point = key.public_key().to_encoded_point(false);
    let mut body = vec![0x02, 0x01, 0x01];
    body.extend(der(4, scalar));
    if with_curve {
        body.extend(der(0xa0, OID_P256));
    }
    let mut bits = vec![0];
    bits.extend_from_slice(point.as_bytes());
    body.extend(der(0xa1, &der(3, &bits)));
    Ok(der(0x30, &body))
}

fn ec_pkcs8(scalar: &[u8]) -> Result<Vec<u8>, String> {
    let mut algorithm = OID_EC.to_vec();
    algorithm.extend_from_slice(OID_P256);
    let mut body = vec![0x02, 0x01, 0x00];
    body.extend(der(0x30, &algorithm));
    body.extend(der(4, &ec_parts(scalar, false)?));
    Ok(der(0x30, &body))
}

/// A new key as PEM, or the text that Sprig gives for a kind it does not know.
pub(crate) fn generate(random: &mut Random, kind: &str) -> Result<String, String> {
    crate::value::budget::look();
    match kind {
        "" | "rsa" => {
            let bits = if kind.is_empty() { 2048 } else { 4096 };
            rsa_pem(random, bits)
        }
        "ecdsa" => loop {
            let mut scalar = [0; 32];
            random.fill(&mut scalar);
            if p256::SecretKey::from_slice(&scalar).is_ok() {
                return Ok(pem("EC PRIVATE KEY", &ec_parts(&scalar, true)?));
            }
        },
        "ed25519" => {
            let mut seed = [0; 32];
            random.fill(&mut seed);
            Ok(pem("PRIVATE KEY", &[ED25519_PREFIX, &seed].concat()))
        }
        "dsa" => {
            let mut rng = Rng(random);
            let components = dsa::Components::generate(&mut rng, dsa::KeySize::DSA_2048_256);
            let key = dsa::SigningKey::generate(&mut rng, components);
            let public = key.verifying_key();
            let mut body = vec![0x02, 0x01, 0x00];
            let (p, q, g) = (public.components().p(), public.components().q(), public.components().g());
            for number in [p, q, g, public.y(), key.x()] {
                body.extend(der_int(&number.to_bytes_be()));
            }
            Ok(pem("DSA PRIVATE KEY", &der(0x30, &body)))
        }
        other => Ok(format!("Unknown type {other}")),
    }
}

/// A new RSA key as PEM.
pub(crate) fn rsa_pem(random: &mut Random, bits: usize) -> Result<String, String> {
    crate::value::budget::look();
    let key = rsa::RsaPrivateKey::new(&mut Rng(random), bits).map_err(|e| e.to_string())?;
    let der = key.to_pkcs1_der().map_err(|e| e.to_string())?;
    Ok(pem("RSA PRIVATE KEY", der.as_bytes()))
}

/// A key of a PEM text in the form that the signer takes.
pub(crate) fn to_pkcs8(text: &str) -> Result<Vec<u8>, String> {
    let Some((label, contents)) = unpem(text) else { return Err("no PEM data in input".to_owned()) };
    match label.as_str() {
        "PRIVATE KEY" => {
            // One form for all signers.
            match rsa::RsaPrivateKey::from_pkcs8_der(&contents) {
                Ok(key) => Ok(key.to_pkcs8_der().map_err(|e| e.to_string())?.as_bytes().to_vec()),
                Err(_) => Ok(contents),
            }
        }
        "EC PRIVATE KEY" => {
            // SEQUENCE, version 1, OCTET STRING of 32 bytes.
            let at = contents.windows(2).position(|w| w == [0x04, 0x20]).ok_or("only P-256 keys are supported")?;
            let scalar = contents.get(at + 2..at + 34).ok_or("x509: failed to parse EC private key")?;
            ec_pkcs8(scalar)
        }
        "RSA PRIVATE KEY" => {
            let key = rsa::RsaPrivateKey::from_pkcs1_der(&contents).map_err(|e| e.to_string())?;
            Ok(key.to_pkcs8_der().map_err(|e| e.to_string())?.as_bytes().to_vec())
        }
        other => Err(format!("no private key data in PEM block of type {other}")),
    }
}
