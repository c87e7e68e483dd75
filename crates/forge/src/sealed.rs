//! Sealed boxes: how GitHub's clients encrypt secrets, and how they are kept here.
//!
//! One X25519 key pair for the instance, its secret half in a file that only the owner can read. Values stay sealed in the
//! database and are opened when a job asks for them.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crypto_box::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::io;

/// The instance's key pair.
pub(crate) struct Keys {
    secret: SecretKey,
}

impl Keys {
    /// Reads the key file, or makes a new one, readable by its owner only.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Ok(text) = std::fs::read_to_string(path) {
            let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let bytes = bytes.ok_or_else(|| {
                Error::invalid("secrets key", format!("{} does not hold 32 bytes of hex", path.display()))
            })?;
            return Ok(Self { secret: SecretKey::from(bytes) });
        }
        let secret = SecretKey::generate(&mut crypto_box::aead::OsRng);
        write_private(path, hex::encode(secret.to_bytes()).as_bytes())?;
        Ok(Self { secret })
    }

    /// The public half in base64, and the id by which clients name it.
    pub fn public(&self) -> (String, String) {
        let public = self.secret.public_key();
        let id =
            u64::from_be_bytes(Sha256::digest(public.as_bytes())[..8].try_into().expect("eight bytes of a digest"));
        (BASE64_STANDARD.encode(public.as_bytes()), id.to_string())
    }

    pub fn seal(&self, value: &[u8]) -> Result<String, Error> {
        let public: PublicKey = self.secret.public_key();
        public
            .seal(&mut crypto_box::aead::OsRng, value)
            .map(|sealed| BASE64_STANDARD.encode(sealed))
            .map_err(|_| Error::invalid("value", "cannot be encrypted"))
    }

    pub fn open_sealed(&self, name: &str, sealed: &str) -> Result<Vec<u8>, Error> {
        let bytes = BASE64_STANDARD.decode(sealed.trim()).map_err(|_| Error::Sealed(name.to_owned()))?;
        self.secret.unseal(&bytes).map_err(|_| Error::Sealed(name.to_owned()))
    }
}

/// Writes a file that only its owner can read: temporary name, fsync, rename.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io(&temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(io(path))?;
    if let Some(parent) = path.parent() {
        std::fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(io(parent))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_again_and_only_here() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = Keys::open(&dir.path().join("key")).expect("keys");
        let again = Keys::open(&dir.path().join("key")).expect("keys");
        let other = Keys::open(&dir.path().join("other")).expect("keys");
        let sealed = keys.seal("wörd".as_bytes()).expect("seals");
        assert_eq!(again.open_sealed("X", &sealed).expect("opens"), "wörd".as_bytes());
        assert_eq!(keys.public(), again.public());
        assert!(other.open_sealed("X", &sealed).is_err());
        assert!(keys.open_sealed("X", "!!").is_err());
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("key")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
