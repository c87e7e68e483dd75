//! Certificates built by hand (RFC 5280): subjects with any number of organisations, and those of signing requests as they
//! were asked for.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::SigningKey;

/// What a certificate says.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    /// The subject, in DER.
    pub(crate) subject: Vec<u8>,
    /// The public key, in DER (SubjectPublicKeyInfo).
    pub(crate) key: &'a [u8],
    /// The value of the extension of alternative names, in DER.
    pub(crate) names: Option<&'a [u8]>,
    /// For which use: the last arcs below `id-kp`.
    pub(crate) uses: &'a [u8],
    /// Bits of the key usage, first bit highest.
    pub(crate) key_usage: u8,
    /// How long it is valid.
    pub(crate) lasts: Duration,
}

/// The last arc of `id-kp-serverAuth`.
pub(crate) const SERVER_AUTH: u8 = 1;
/// The last arc of `id-kp-clientAuth`.
pub(crate) const CLIENT_AUTH: u8 = 2;
/// Signing.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
/// Encipherment of keys.
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const BITS: u8 = 0x03;
const UTF8: u8 = 0x0c;
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(length as u8);
    } else {
        let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
        out.push(0x80 | bytes.len() as u8);
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

fn time(at: Timestamp) -> Vec<u8> {
    tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

/// UTCTime up to 2049, as the standard demands.
fn validity(at: Timestamp) -> Vec<u8> {
    if at.to_zoned(jiff::tz::TimeZone::UTC).year() < 2050 {
        return tlv(0x17, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes());
    }
    time(at)
}

fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = tlv(OID, &[0x55, 0x1d, id]);
    if critical {
        content.extend(tlv(0x01, &[0xff]));
    }
    content.extend(tlv(OCTETS, value));
    tlv(SEQUENCE, &content)
}

/// A subject of a common name and organisations, in DER.
pub(crate) fn subject(name: &str, organisations: &[String]) -> Vec<u8> {
    let entry = |id: u8, text: &str| {
        let pair = [tlv(OID, &[0x55, 0x04, id]), tlv(UTF8, text.as_bytes())].concat();
        tlv(SET, &tlv(SEQUENCE, &pair))
    };
    let mut entries: Vec<Vec<u8>> = organisations.iter().map(|o| entry(10, o)).collect();
    entries.push(entry(3, name));
    tlv(SEQUENCE, &entries.concat())
}

/// Makes a certificate, in DER. The authority's key is on P-256.
///
/// # Errors
/// The key cannot sign.
pub(crate) fn sign(
    certificate: &Certificate<'_>,
    issuer: &[u8],
    key: &impl SigningKey,
) -> Result<Vec<u8>, rcgen::Error> {
    let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_SHA256));
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x7f | 0x40;
    let now = Timestamp::now();
    // Clocks differ.
    let from = now.checked_sub(Duration::from_secs(300)).unwrap_or(now);
    let to = now.checked_add(certificate.lasts).unwrap_or(Timestamp::MAX);
    let uses: Vec<u8> =
        certificate.uses.iter().flat_map(|arc| tlv(OID, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, *arc])).collect();
    let mut extensions = vec![
        extension(15, true, &tlv(BITS, &[certificate.key_usage.trailing_zeros().min(7) as u8, certificate.key_usage])),
        extension(19, true, &tlv(SEQUENCE, &[])),
    ];
    if !uses.is_empty() {
        extensions.push(extension(37, false, &tlv(SEQUENCE, &uses)));
    }
    if let Some(names) = certificate.names {
        extensions.push(extension(17, false, names));
    }
    let body = tlv(
        SEQUENCE,
        &[
            tlv(0xa0, &tlv(0x02, &[2])),
            tlv(0x02, &serial),
            algorithm.clone(),
            issuer.to_vec(),
            tlv(SEQUENCE, &[validity(from), validity(to)].concat()),
            certificate.subject.clone(),
            certificate.key.to_vec(),
            tlv(0xa3, &tlv(SEQUENCE, &extensions.concat())),
        ]
        .concat(),
    );
    let signature = [&[0u8][..], &key.sign(&body)?].concat();
    Ok(tlv(SEQUENCE, &[body, algorithm, tlv(BITS, &signature)].concat()))
}

/// A certificate as PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|c| std::str::from_utf8(c).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
