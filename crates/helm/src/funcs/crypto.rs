//! Keys, certificates, passwords and ciphers.

use std::rc::Rc;

use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use hmac::Mac;

use super::keys::{generate, pem, rsa_pem, to_pkcs8, unpem};
use super::{Answer, Func, Ty, encoding, f, n, s};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::{Field, Object, Struct, Value, budget, text};

const S: &[Ty] = &[Ty::Str];
const SS: &[Ty] = &[Ty::Str, Ty::Str];
const CERT: Ty = Ty::Named("sprig.certificate");

/// The functions.
pub const FUNCS: &[Func] = &[
    f("bcrypt", S, |e, a| bcrypt_hash(e, s(a, 0)).map(Value::str)),
    f("htpasswd", SS, |e, a| {
        if s(a, 0).contains(':') {
            return Ok(Value::str(format!("invalid username: {}", s(a, 0))));
        }
        Ok(Value::str(format!("{}:{}", s(a, 0), bcrypt_hash(e, s(a, 1))?)))
    }),
    f("derivePassword", &[Ty::Uint32, Ty::Str, Ty::Str, Ty::Str, Ty::Str], derive_password),
    f("genPrivateKey", S, |e, a| generate(&mut e.host.random, s(a, 0)).map(Value::str).map_err(Fault::Text)),
    f("buildCustomCert", SS, build_custom),
    f("genCA", &[Ty::Str, Ty::Int], |e, a| {
        let key = rsa_pem(&mut e.host.random, 2048).map_err(Fault::Text)?;
        Request { cn: s(a, 0), ips: None, dns: None, days: n(a, 1), ca: true }.issue(e, &key, None)
    }),
    f("genCAWithKey", &[Ty::Str, Ty::Int, Ty::Str], |e, a| {
        check_key(s(a, 2))?;
        Request { cn: s(a, 0), ips: None, dns: None, days: n(a, 1), ca: true }.issue(e, s(a, 2), None)
    }),
    f("genSelfSignedCert", &[Ty::Str, Ty::List, Ty::List, Ty::Int], |e, a| {
        let key = rsa_pem(&mut e.host.random, 2048).map_err(Fault::Text)?;
        Request { cn: s(a, 0), ips: a.get(1), dns: a.get(2), days: n(a, 3), ca: false }.issue(e, &key, None)
    }),
    f("genSelfSignedCertWithKey", &[Ty::Str, Ty::List, Ty::List, Ty::Int, Ty::Str], |e, a| {
        check_key(s(a, 4))?;
        Request { cn: s(a, 0), ips: a.get(1), dns: a.get(2), days: n(a, 3), ca: false }.issue(e, s(a, 4), None)
    }),
    f("genSignedCert", &[Ty::Str, Ty::List, Ty::List, Ty::Int, CERT], |e, a| {
        let request = Request { cn: s(a, 0), ips: a.get(1), dns: a.get(2), days: n(a, 3), ca: false };
        request.alternatives()?;
        let key = rsa_pem(&mut e.host.random, 2048).map_err(Fault::Text)?;
        request.issue(e, &key, a.get(4))
    }),
    f("genSignedCertWithKey", &[Ty::Str, Ty::List, Ty::List, Ty::Int, CERT, Ty::Str], |e, a| {
        check_key(s(a, 5))?;
        Request { cn: s(a, 0), ips: a.get(1), dns: a.get(2), days: n(a, 3), ca: false }.issue(e, s(a, 5), a.get(4))
    }),
    f("encryptAES", SS, encrypt),
    f("decryptAES", SS, decrypt),
];

fn bcrypt_hash(e: &mut Exec<'_>, password: &str) -> Result<String, Fault> {
    budget::look();
    let mut salt = [0; 16];
    e.host.random.fill(&mut salt);
    let bytes = text::to_bytes(password);
    if bytes.len() > 72 {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned());
    }
    match bcrypt::hash_with_salt(bytes, 10, salt) {
        Ok(parts) => Ok(parts.format_for_version(bcrypt::Version::TwoA)),
        Err(e) => Ok(format!("failed to encrypt string with bcrypt: {e}")),
    }
}

fn check_key(key: &str) -> Result<(), Fault> {
    to_pkcs8(key).map(|_| ()).map_err(|e| Fault::Text(format!("parsing private key: {e}")))
}

/// `sprig.certificate`
fn certificate(cert: &str, key: &str) -> Value {
    let field = |name, value: &str| Field { name, json: Some(name), omit_empty: false, value: Value::str(value) };
    let fields = vec![field("Cert", cert), field("Key", key)];
    Value::Object(Rc::new(Object::Struct(Struct { name: "sprig.certificate", fields, display: None })))
}

fn parts(value: &Value) -> Option<(String, String)> {
    let Value::Object(object) = value else { return None };
    let Object::Struct(fields) = object.as_ref() else { return None };
    let text = |i: usize| fields.fields.get(i)?.value.as_str().map(str::to_owned);
    Some((text(0)?, text(1)?))
}

fn build_custom(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    let decode = |i: usize, what: &str| {
        encoding::decode64(s(a, i))
            .map(|bytes| text::from_bytes(&bytes).into_owned())
            .map_err(|_| Fault::Text(format!("unable to decode base64 {what}")))
    };
    let cert = decode(0, "certificate")?;
    let key = decode(1, "private key")?;
    if unpem(&cert).is_none() {
        return Err(Fault::text("unable to decode certificate"));
    }
    if let Err(e) = to_pkcs8(&key) {
        return Err(Fault::Text(format!("parsing private key: {e}")));
    }
    Ok(certificate(&cert, &key))
}

struct Request<'a> {
    cn: &'a str,
    ips: Option<&'a Value>,
    dns: Option<&'a Value>,
    days: i64,
    ca: bool,
}

impl Request<'_> {
    fn alternatives(&self) -> Result<Vec<rcgen::SanType>, Fault> {
        let list = |v: Option<&Value>| match v {
            Some(Value::List(l)) => l.items().to_vec(),
            _ => Vec::new(),
        };
        let mut out = Vec::new();
        let shown = crate::value::fmt::to_string;
        for ip in list(self.ips) {
            let Value::Str(t) = &ip else {
                return Err(Fault::Text(format!("error parsing ip: {} is not a string", shown(&ip))));
            };
            let parsed = t.parse().map_err(|_| Fault::Text(format!("error parsing ip: {t}")))?;
            out.push(rcgen::SanType::IpAddress(parsed));
        }
        for name in list(self.dns) {
            let Value::Str(t) = &name else {
                return Err(Fault::Text(format!(
                    "error processing alternate dns name: {} is not a string",
                    shown(&name)
                )));
            };
            let name = t.as_ref().try_into().map_err(|_| {
                Fault::Text(format!(
                    "error creating certificate: x509: {} cannot be encoded as an IA5String",
                    crate::value::quote::quote(t)
                ))
            })?;
            out.push(rcgen::SanType::DnsName(name));
        }
        Ok(out)
    }

    fn issue(&self, e: &mut Exec<'_>, key: &str, ca: Option<&Value>) -> Answer {
        use rcgen::{
            BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
        };
        let fail = |e: &dyn std::fmt::Display| Fault::Text(format!("error creating certificate: {e}"));
        let load = |pem: &str| -> Result<KeyPair, Fault> {
            let der = to_pkcs8(pem).map_err(|m| Fault::Text(format!("error parsing key: {m}")))?;
            KeyPair::try_from(der.as_slice()).map_err(|e| fail(&e))
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        // As Go has it: the simpler form where the characters allow it.
        let name = rcgen::string::PrintableString::try_from(self.cn.to_string());
        let name = name.map_or_else(|_| rcgen::DnValue::from(self.cn.to_string()), rcgen::DnValue::PrintableString);
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = self.alternatives()?;
        let now = time::OffsetDateTime::from_unix_timestamp((e.host.now / 1_000_000_000) as i64)
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        params.not_before = now;
        params.not_after = now.checked_add(time::Duration::days(self.days.clamp(-3_000_000, 3_000_000))).unwrap_or(now);
        let mut serial = [0; 16];
        e.host.random.fill(&mut serial);
        serial[0] &= 0x7f;
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        if self.ca {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let pair = load(key)?;
        let signed = match ca.and_then(parts) {
            None => params.self_signed(&pair).map_err(|e| fail(&e))?,
            Some((ca_cert, ca_key)) => {
                let issuer = rcgen::Issuer::from_ca_cert_pem(&ca_cert, load(&ca_key)?).map_err(|e| fail(&e))?;
                params.use_authority_key_identifier_extension = true;
                params.signed_by(&pair, &issuer).map_err(|e| fail(&e))?
            }
        };
        Ok(certificate(&pem("CERTIFICATE", signed.der()), key))
    }
}

fn aes_key(password: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let bytes = text::to_bytes(password);
    let n = bytes.len().min(32);
    key[..n].copy_from_slice(&bytes[..n]);
    key
}

fn encrypt(e: &mut Exec<'_>, a: &[Value]) -> Answer {
    let plain = text::to_bytes(s(a, 1)).into_owned();
    e.charge(plain.len())?;
    let pad = 16 - plain.len() % 16;
    let mut padded = plain;
    padded.extend(std::iter::repeat_n(pad as u8, pad));
    let mut iv = [0; 16];
    e.host.random.fill(&mut iv);
    let cipher = cbc::Encryptor::<aes::Aes256>::new(&aes_key(s(a, 0)).into(), &iv.into());
    let body = cipher.encrypt_padded_vec_mut::<NoPadding>(&padded);
    Ok(Value::str(encoding::base64(&[&iv[..], &body].concat())))
}

fn decrypt(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    if s(a, 1).is_empty() {
        return Ok(Value::str(""));
    }
    let bytes = encoding::decode64(s(a, 1)).map_err(Fault::Text)?;
    if bytes.len() < 16 {
        return Err(Fault::Text(format!(
            "runtime error: slice bounds out of range [:16] with capacity {}",
            bytes.len()
        )));
    }
    let (iv, body) = bytes.split_at(16);
    if body.len() % 16 != 0 {
        return Err(Fault::text("crypto/cipher: input not full blocks"));
    }
    let iv: [u8; 16] = iv.try_into().unwrap_or([0; 16]);
    let cipher = cbc::Decryptor::<aes::Aes256>::new(&aes_key(s(a, 0)).into(), &iv.into());
    let plain = cipher.decrypt_padded_vec_mut::<NoPadding>(body).map_err(|e| Fault::Text(e.to_string()))?;
    let Some(&pad) = plain.last() else {
        return Err(Fault::text("runtime error: index out of range [-1]"));
    };
    match plain.len().checked_sub(usize::from(pad)) {
        Some(n) => Ok(Value::str(text::from_bytes(&plain[..n]))),
        None => Err(Fault::Text(format!(
            "runtime error: slice bounds out of range [:{}]",
            plain.len() as i64 - i64::from(pad)
        ))),
    }
}

const LONG: &[&str] = &[
    "CvcvnoCvcvCvcv",
    "CvcvCvcvnoCvcv",
    "CvcvCvcvCvcvno",
    "CvccnoCvcvCvcv",
    "CvccCvcvnoCvcv",
    "CvccCvcvCvcvno",
    "CvcvnoCvccCvcv",
    "CvcvCvccnoCvcv",
    "CvcvCvccCvcvno",
    "CvcvnoCvcvCvcc",
    "CvcvCvcvnoCvcc",
    "CvcvCvcvCvccno",
    "CvccnoCvccCvcv",
    "CvccCvccnoCvcv",
    "CvccCvccCvcvno",
    "CvcvnoCvccCvcc",
    "CvcvCvccnoCvcc",
    "CvcvCvccCvccno",
    "CvccnoCvcvCvcc",
    "CvccCvcvnoCvcc",
    "CvccCvcvCvccno",
];

/// Master Password's algorithm.
fn derive_password(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    budget::look();
    let (counter, kind, password, user, site) = (n(a, 0), s(a, 1), s(a, 2), s(a, 3), s(a, 4));
    let templates: &[&str] = match kind {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => LONG,
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        other => return Ok(Value::str(format!("cannot find password template {other}"))),
    };
    const NAME: &[u8] = b"com.lyndir.masterpassword";
    let length = |t: &str| (text::len(t) as u32).to_be_bytes();
    let salt = [NAME, &length(user), &text::to_bytes(user)].concat();
    let params = scrypt::Params::new(15, 8, 2, 64).map_err(|e| Fault::Text(e.to_string()))?;
    let mut key = [0; 64];
    scrypt::scrypt(&text::to_bytes(password), &salt, &params, &mut key).map_err(|e| Fault::Text(e.to_string()))?;
    let message = [NAME, &length(site), &text::to_bytes(site), &(counter as u32).to_be_bytes()].concat();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).map_err(|e| Fault::Text(e.to_string()))?;
    mac.update(&message);
    let seed = mac.finalize().into_bytes();
    let template = templates[usize::from(seed[0]) % templates.len()];
    let out: String = template
        .chars()
        .enumerate()
        .map(|(i, class)| {
            let from: &[u8] = match class {
                'V' => b"AEIOU",
                'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
                'v' => b"aeiou",
                'c' => b"bcdfghjklmnpqrstvwxyz",
                'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
                'n' => b"0123456789",
                'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
                _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
            };
            from[usize::from(seed[i + 1]) % from.len()] as char
        })
        .collect();
    Ok(Value::str(out))
}
