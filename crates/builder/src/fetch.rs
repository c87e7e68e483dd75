//! Files from web addresses: `ADD` of one, and build contexts that are one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use futures::StreamExt;
use sha2::{Digest as _, Sha256};

use crate::build::{Secret, chain};

/// Largest file that is fetched, in bytes.
const MAX: u64 = 4 << 30;

/// Writes what an address gives into a file and gives its SHA-256.
///
/// # Errors
/// What went wrong, in words: no answer, another status than success, too large.
pub(crate) async fn download(
    url: &str,
    mut file: &File,
    secrets: &BTreeMap<String, Secret>,
) -> Result<[u8; 32], String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(30))
        .read_timeout(Duration::from_secs(60))
        .build()
        .map_err(|e| chain(&e))?;
    let mut request = client.get(url);
    if let Some(header) = authorization(url, secrets) {
        request = request.header(reqwest::header::AUTHORIZATION, header);
    }
    let answer = request.send().await.map_err(|e| chain(&e))?;
    if !answer.status().is_success() {
        return Err(format!("invalid response status {}", answer.status().as_u16()));
    }
    let mut body = answer.bytes_stream();
    let mut hasher = Sha256::new();
    let mut total = 0u64;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| chain(&e))?;
        total += chunk.len() as u64;
        if total > MAX {
            return Err(format!("larger than {MAX} bytes"));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(|e| e.to_string())?;
    }
    file.sync_all().map_err(|e| e.to_string())?;
    Ok(hasher.finalize().into())
}

/// What the secrets `HTTP_AUTH_HEADER_HOST` and `HTTP_AUTH_TOKEN_HOST` say about an address.
fn authorization(url: &str, secrets: &BTreeMap<String, Secret>) -> Option<String> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let secret = |name: &str| {
        let found = secrets.get(&format!("{name}_{host}"))?;
        Some(String::from_utf8_lossy(&found.value).trim().to_owned())
    };
    secret("HTTP_AUTH_HEADER").or_else(|| Some(format!("Bearer {}", secret("HTTP_AUTH_TOKEN")?)))
}
