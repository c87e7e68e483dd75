//! The tar format as image layers use it: ustar with PAX and GNU long names, read with bounded memory and written
//! reproducibly.
//!
//! Names are bytes, as the archive has them: nothing here decides whether a name is safe (see [`crate::layer`]).

mod read;
mod write;

use std::collections::BTreeMap;

pub use read::{Error, Reader};
pub use write::write_entry;

pub(crate) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Hard link to [`Entry::link`].
    HardLink,
    /// Symbolic link to [`Entry::link`].
    Symlink,
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Directory.
    Directory,
    /// Named pipe.
    Fifo,
}

/// One entry's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name as written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, including set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Bytes of content; zero but for files.
    pub size: u64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Target of a link.
    pub link: Vec<u8>,
    /// Device major and minor.
    pub device: (u32, u32),
    /// Extended attributes (`SCHILY.xattr.*`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// A regular file with mode 0644.
    pub fn file(path: impl Into<Vec<u8>>, size: u64) -> Self {
        Self { size, ..Self::new(path, Kind::File, 0o644) }
    }

    /// A directory with mode 0755.
    pub fn directory(path: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::Directory, 0o755)
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { link: target.into(), ..Self::new(path, Kind::Symlink, 0o777) }
    }

    /// A hard link.
    pub fn hard_link(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { link: target.into(), ..Self::new(path, Kind::HardLink, 0o644) }
    }

    /// An entry owned by root, at time zero.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Self {
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: (0, 0),
            link: Vec::new(),
            device: (0, 0),
            xattrs: BTreeMap::new(),
        }
    }

    /// The name for messages.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.path).chars().take(300).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (entry, data) in entries {
            write_entry(&mut bytes, entry).expect("header");
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
        let mut reader = Reader::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).map_err(|source| Error::Io { entry: String::new(), source })?;
            found.push((entry, data));
        }
        Ok(found)
    }

    fn entries() -> impl Strategy<Value = Vec<(Entry, Vec<u8>)>> {
        let name = proptest::collection::vec(1..=255u8, 1..300)
            .prop_filter("directories are told by the type", |n| n.last() != Some(&b'/'));
        let owner = prop_oneof![0..2000u64, Just(2_097_151), Just(2_097_152), Just(u32::MAX as u64)];
        let one = (
            name,
            proptest::collection::vec(any::<u8>(), 0..600),
            0..0o7777u32,
            owner,
            0..2_000_000_000i64,
            any::<bool>(),
        )
            .prop_map(|(path, data, mode, uid, time, attribute)| {
                let mut entry = Entry { mode, uid, mtime: (time, 0), ..Entry::file(path, data.len() as u64) };
                if attribute {
                    entry
                        .xattrs
                        .insert(b"user.a=b".to_vec().into_iter().filter(|b| *b != b'=').collect(), data.clone());
                }
                (entry, data)
            });
        proptest::collection::vec(one, 0..5)
    }

    proptest! {
        #[test]
        fn round_trips(entries in entries()) {
            prop_assert_eq!(read(&archive(&entries)).expect("reads back"), entries);
        }

        #[test]
        fn damage_never_panics(entries in entries(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = archive(&entries);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = read(&bytes);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn lying_long_name_is_bounded() {
        let mut entry = Entry::file("././@LongLink", u64::from(u32::MAX));
        entry.kind = Kind::File;
        let mut bytes = Vec::new();
        write_entry(&mut bytes, &entry).expect("header");
        bytes[156] = b'L';
        write::seal(bytes.as_mut_slice().try_into().expect("one block"));
        assert!(matches!(read(&bytes), Err(Error::ExtensionTooLarge { .. })));
    }
}
