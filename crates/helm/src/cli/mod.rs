//! What `template`, `lint`, `show` and `dependency` do, as plain functions of plain structs: a command line only fills
//! them in and prints what comes back.
//!
//! These functions read charts and values from the disk and may write to an output directory; nothing here prints.

pub mod cluster;
pub mod dependency;
mod jsonpath;
pub mod lint;
pub mod locate;
mod post;
pub mod show;
pub mod template;

pub use cluster::Cluster;
pub use dependency::{
    Built, Fetch, Pulled, build as dependency_build, list as dependency_list, update as dependency_update,
};
pub use lint::{LintArgs, LintReport, Message, Severity, lint, lint_on};
pub use locate::Reference;
pub use show::{ShowWhat, show, show_path};
pub use template::{Around, TemplateArgs, TemplateOutput, template, template_on};

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::value::Data;
use crate::values::Merged;

/// Values given on a command line.
#[derive(Debug, Clone, Default)]
pub struct ValueArgs {
    /// `-f`: files, later ones over earlier ones; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// `--set`
    pub set: Vec<String>,
    /// `--set-string`
    pub set_string: Vec<String>,
    /// `--set-json`
    pub set_json: Vec<String>,
    /// `--set-file`
    pub set_file: Vec<String>,
    /// `--set-literal`
    pub set_literal: Vec<String>,
}

/// The bytes of a file, of standard input (`-`), or of a URL.
fn read(path: &Path, fetch: Option<&dyn Fetch>) -> Result<Vec<u8>, Error> {
    let text = path.to_string_lossy();
    if text.starts_with("http://") || text.starts_with("https://") {
        let fetch =
            fetch.ok_or_else(|| Error::Refused(format!("{text} is not on this disk, and nothing is fetched here")))?;
        return fetch.get(&text).map_err(Error::Refused);
    }
    let io = |e: std::io::Error| Error::Io { path: path.display().to_string(), reason: e.to_string() };
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map_err(io)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(io)
}

impl ValueArgs {
    /// The values, merged in Helm's order.
    ///
    /// # Errors
    /// A file that cannot be read or is no mapping, and a setting that the grammar does not have.
    pub fn merge(&self) -> Result<Data, Error> {
        self.merge_with(None)
    }

    /// As [`ValueArgs::merge`], with files from URLs.
    ///
    /// # Errors
    /// As [`ValueArgs::merge`], and what cannot be fetched.
    pub fn merge_with(&self, fetch: Option<&dyn Fetch>) -> Result<Data, Error> {
        let mut merged = Merged::default();
        for path in &self.files {
            merged.file(&path.display().to_string(), &read(path, fetch)?)?;
        }
        for text in &self.set_json {
            merged.set_json(text)?;
        }
        for text in &self.set {
            merged.set(text)?;
        }
        for text in &self.set_string {
            merged.set_string(text)?;
        }
        for text in &self.set_file {
            merged.set_files(text, &|path| {
                let bytes = read(Path::new(path), fetch).map_err(|e| e.to_string())?;
                Ok(crate::value::text::from_bytes(&bytes).into_owned())
            })?;
        }
        for text in &self.set_literal {
            merged.set_literal(text)?;
        }
        Ok(merged.into_data())
    }
}
