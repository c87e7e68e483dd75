//! The file of a step's script. On some file systems making a file takes as long as all else that the engine does for a step: so the
//! next step's file is made while the step before runs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The extension that nearly all scripts have.
pub(super) const SCRIPT: &str = ".sh";

/// An empty file that is open. What stands at its path when it is written may be another one: a step that runs meanwhile can put it
/// there, and then harms only its own job, since nothing is written through the path.
#[derive(Debug)]
pub(crate) struct ScriptFile {
    path: PathBuf,
    extension: &'static str,
    file: File,
}

impl ScriptFile {
    /// Makes one under a name that no other has.
    pub(super) fn make(dir: &Path, extension: &'static str) -> std::io::Result<Self> {
        let path = dir.join(format!("{}{extension}", uuid::Uuid::new_v4()));
        Ok(Self { file: File::options().write(true).create_new(true).open(&path)?, path, extension })
    }

    /// The one that waits, when it suits and is still there; a new one otherwise.
    pub(super) fn take(spare: &mut Option<Self>, dir: &Path, extension: &'static str) -> std::io::Result<Self> {
        if spare.as_ref().is_some_and(|spare| spare.extension == extension)
            && let Some(spare) = spare.take()
            && spare.is_untouched()
        {
            return Ok(spare);
        }
        Self::make(dir, extension)
    }

    /// Whether the path still leads to this file, and the file is as it was made.
    fn is_untouched(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let same = self.file.metadata().and_then(|own| Ok((own, self.path.symlink_metadata()?)));
        same.is_ok_and(|(own, found)| {
            (own.dev(), own.ino(), own.len(), own.nlink()) == (found.dev(), found.ino(), 0, 1)
        })
    }

    /// Writes the script; gives where it is.
    pub(super) fn write(mut self, script: &str) -> std::io::Result<PathBuf> {
        self.file.write_all(script.as_bytes())?;
        Ok(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "kept").unwrap();
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let make = || Some(ScriptFile::make(dir.path(), SCRIPT).unwrap());

        let mut spare = make();
        let path = spare.as_ref().unwrap().path.clone();
        let taken = ScriptFile::take(&mut spare, dir.path(), ".py").unwrap();
        assert!(spare.is_some() && taken.path != path);
        let taken = ScriptFile::take(&mut spare, dir.path(), SCRIPT).unwrap().write("echo\n").unwrap();
        assert!(spare.is_none() && taken == path);
        assert_eq!(text(&path), "echo\n");

        let change: [&dyn Fn(&Path); 4] = [
            &|path| std::fs::remove_file(path).unwrap(),
            &|path| std::fs::write(path, "more than a step's script").unwrap(),
            &|path| {
                std::fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink(&elsewhere, path).unwrap();
            },
            &|path| std::fs::hard_link(path, path.with_extension("linked")).unwrap(),
        ];
        for change in change {
            let mut spare = make();
            let path = spare.as_ref().unwrap().path.clone();
            change(&path);
            let written = ScriptFile::take(&mut spare, dir.path(), SCRIPT).unwrap().write("echo\n").unwrap();
            assert_ne!(written, path);
            assert_eq!((text(&written), text(&elsewhere)), ("echo\n".to_owned(), "kept".to_owned()));
        }
    }
}
