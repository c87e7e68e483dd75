//! Trees and objects.

use crate::process::{Call, checked};
use crate::{Error, Repository};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The bytes of a file or the target of a symbolic link.
    Blob,
    /// A directory.
    Tree,
    /// A commit; in a tree, a submodule.
    Commit,
    /// An annotated tag.
    Tag,
}

impl Kind {
    /// git's own word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Blob => "blob",
            Kind::Tree => "tree",
            Kind::Commit => "commit",
            Kind::Tag => "tag",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path from the repository's root. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// The mode: 0o100644, 0o100755, 0o120000 (symbolic link), 0o160000 (submodule), 0o040000 (directory).
    pub mode: u32,
    /// The object.
    pub oid: String,
    /// What the object is.
    pub kind: Kind,
    /// Bytes, for a blob.
    pub size: Option<u64>,
}

/// An object read by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub oid: String,
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub data: Vec<u8>,
}

impl Repository {
    /// All files below `path` (`""`: all of the tree) at a revision, recursively, with paths from the root, in git's order.
    /// An absent path gives an empty list.
    ///
    /// # Errors
    /// When the revision names no tree or git fails.
    pub async fn tree(&self, revision: &str, path: &str) -> Result<Vec<TreeEntry>, Error> {
        self.ls_tree(&["ls-tree", "-r", "-z", "-l", "--full-tree"], revision, path.trim_matches('/')).await
    }

    /// What a recursive listing with its directories has, as GitHub's trees have it with `recursive=1`.
    ///
    /// # Errors
    /// As [`Repository::tree`].
    pub async fn tree_with_directories(&self, revision: &str) -> Result<Vec<TreeEntry>, Error> {
        self.ls_tree(&["ls-tree", "-r", "-t", "-z", "-l", "--full-tree"], revision, "").await
    }

    /// The entries of one directory, not of those below it; `""` is the root. An absent path gives an empty list; the path
    /// of a file gives that file alone.
    ///
    /// # Errors
    /// As [`Repository::tree`].
    pub async fn list(&self, revision: &str, path: &str) -> Result<Vec<TreeEntry>, Error> {
        let args = ["ls-tree", "-z", "-l", "--full-tree"];
        let path = path.trim_matches('/');
        if path.is_empty() {
            return self.ls_tree(&args, revision, "").await;
        }
        let own = self.ls_tree(&args, revision, path).await?;
        match own.first() {
            Some(entry) if entry.kind == Kind::Tree => self.ls_tree(&args, revision, &format!("{path}/")).await,
            _ => Ok(own),
        }
    }

    /// The entry that stands at `path`, a file or a directory.
    ///
    /// # Errors
    /// As [`Repository::tree`].
    pub async fn entry(&self, revision: &str, path: &str) -> Result<Option<TreeEntry>, Error> {
        let found = self.ls_tree(&["ls-tree", "-z", "-l", "--full-tree"], revision, path.trim_matches('/')).await?;
        Ok(found.into_iter().next())
    }

    async fn ls_tree(&self, args: &[&str], revision: &str, path: &str) -> Result<Vec<TreeEntry>, Error> {
        let mut call = self.git(args).arg(checked(revision)?);
        if !path.is_empty() {
            call = call.args(["--", path]);
        }
        let bytes = call.run().await?;
        bytes
            .split(|b| *b == 0)
            .filter(|record| !record.is_empty())
            .map(|record| {
                parse_entry(record).ok_or_else(|| {
                    Call::unexpected(self.dir(), "ls-tree", String::from_utf8_lossy(record).into_owned())
                })
            })
            .collect()
    }

    /// The content of a file at a revision; `None` when the revision or the path is absent or is not a file.
    ///
    /// # Errors
    /// When git fails.
    pub async fn read_file(&self, revision: &str, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let name = format!("{}:{}", checked(revision)?, path.trim_matches('/'));
        Ok(self.object(&name).await?.filter(|object| object.kind == Kind::Blob).map(|object| object.data))
    }

    /// The object that a revision names, of any kind, with its content.
    ///
    /// # Errors
    /// When git fails.
    pub async fn object(&self, revision: &str) -> Result<Option<Object>, Error> {
        if revision.contains('\0') {
            return Err(Error::BadName(revision.to_owned()));
        }
        let input = format!("{revision}\0");
        let bytes = self.git(&["cat-file", "--batch", "-z"]).stdin(input.as_bytes()).run().await?;
        match parse_batch(&bytes) {
            Some((object, _)) => Ok(Some(object)),
            // "NAME missing", "NAME ambiguous" and the like.
            None => Ok(None),
        }
    }

    /// The contents of many blobs, in the order asked, from one process.
    ///
    /// # Errors
    /// [`Error::MissingObject`] when one is not there.
    pub async fn read_blobs<S: AsRef<str>>(&self, oids: &[S]) -> Result<Vec<Vec<u8>>, Error> {
        if oids.is_empty() {
            return Ok(Vec::new());
        }
        let mut input = String::with_capacity(oids.len() * 41);
        for oid in oids {
            let oid = oid.as_ref();
            if !crate::is_oid(oid) {
                return Err(Error::BadName(oid.to_owned()));
            }
            input.push_str(oid);
            input.push('\n');
        }
        let bytes = self.git(&["cat-file", "--batch"]).stdin(input.as_bytes()).run().await?;
        let mut rest = bytes.as_slice();
        let mut blobs = Vec::with_capacity(oids.len());
        for oid in oids {
            let Some((object, after)) = parse_batch(rest) else {
                return Err(Error::MissingObject { oid: oid.as_ref().to_owned(), dir: self.dir().to_owned() });
            };
            blobs.push(object.data);
            rest = after;
        }
        Ok(blobs)
    }

    /// Stores a blob and returns its id.
    ///
    /// # Errors
    /// When git fails.
    pub async fn write_blob(&self, content: &[u8]) -> Result<String, Error> {
        self.git(&["hash-object", "-w", "--stdin", "--no-filters"]).stdin(content).text().await
    }

    /// Stores an annotated tag of an object and returns the tag object's id. No ref moves.
    ///
    /// # Errors
    /// When the object is missing or the name is not allowed.
    pub async fn write_tag(
        &self,
        name: &str,
        target: &str,
        kind: Kind,
        message: &str,
        tagger: &crate::Identity,
    ) -> Result<String, Error> {
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
        if name.contains(['\n', '\0']) {
            return Err(Error::BadName(name.to_owned()));
        }
        let now = || {
            let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            elapsed.map_or(0, |elapsed| elapsed.as_secs() as i64)
        };
        let text = format!(
            "object {target}\ntype {}\ntag {name}\ntagger {} <{}> {} +0000\n\n{}\n",
            kind.as_str(),
            clean(&tagger.name),
            clean(&tagger.email),
            tagger.time.unwrap_or_else(now),
            message.trim_end_matches('\n'),
        );
        self.git(&["mktag"]).stdin(text.as_bytes()).text().await
    }

    /// Stores a tree of `(mode, kind, oid, name)` entries of one directory and returns its id.
    ///
    /// # Errors
    /// When an object is missing or a name is not allowed.
    pub async fn write_tree(&self, entries: &[(u32, Kind, String, String)]) -> Result<String, Error> {
        let mut input = Vec::new();
        for (mode, kind, oid, name) in entries {
            if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." || name == ".git" {
                return Err(Error::BadName(name.clone()));
            }
            input.extend_from_slice(format!("{mode:06o} {} {oid}\t{name}\0", kind.as_str()).as_bytes());
        }
        self.git(&["mktree", "-z"]).stdin(&input).text().await
    }
}

/// One record of `ls-tree -z -l`: `MODE KIND OID SIZE<tab>PATH`.
fn parse_entry(record: &[u8]) -> Option<TreeEntry> {
    let tab = record.iter().position(|b| *b == b'\t')?;
    let head = std::str::from_utf8(&record[..tab]).ok()?;
    let mut words = head.split_ascii_whitespace();
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let kind = Kind::parse(words.next()?)?;
    let oid = words.next()?.to_owned();
    let size = words.next().and_then(|word| word.parse().ok());
    Some(TreeEntry { path: String::from_utf8_lossy(&record[tab + 1..]).into_owned(), mode, oid, kind, size })
}

/// The first record of `cat-file --batch` (`OID KIND SIZE<newline>DATA<newline>`) and what follows it.
fn parse_batch(bytes: &[u8]) -> Option<(Object, &[u8])> {
    let newline = bytes.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(&bytes[..newline]).ok()?;
    let words: Vec<&str> = head.split(' ').collect();
    let [oid, kind, size] = words.as_slice() else {
        return None;
    };
    let (kind, size) = (Kind::parse(kind)?, size.parse::<usize>().ok()?);
    if !crate::is_oid(oid) {
        return None;
    }
    let start = newline + 1;
    let data = bytes.get(start..start.checked_add(size)?)?;
    let rest = bytes.get(start + size + 1..)?;
    Some((Object { oid: (*oid).to_owned(), kind, data: data.to_vec() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_odd_names() {
        let oid = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        for (record, path, mode, size) in [
            (format!("100644 blob {oid}      12\ta b\tc"), "a b\tc", 0o100644, Some(12)),
            (format!("040000 tree {oid}       -\tdir"), "dir", 0o040000, None),
            (format!("160000 commit {oid}       -\tsub\nmodule"), "sub\nmodule", 0o160000, None),
        ] {
            let entry = parse_entry(record.as_bytes()).expect("a record");
            assert_eq!((entry.path.as_str(), entry.mode, entry.size), (path, mode, size));
        }
    }

    #[test]
    fn a_missing_object_is_no_record() {
        assert_eq!(parse_batch(b"main:none missing\n"), None);
        assert_eq!(parse_batch(b""), None);
        assert_eq!(parse_batch(b"4b825dc642cb6eb9a060e54bf8d69288fbee4904 blob 99999999999999999999\n"), None);
        assert_eq!(parse_batch(b"4b825dc642cb6eb9a060e54bf8d69288fbee4904 blob 5\nabc\n"), None);
    }
}
