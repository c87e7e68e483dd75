//! Charts and values to manifests, as Helm renders them.
//!
//! # How Helm decides things, and where it is here
//!
//! - **Loading** ([`chart`]): `Chart.yaml`, `values.yaml`, `templates/`, `charts/`, `crds/`; everything else is `.Files`.
//!   The core reads no disk: [`Chart::from_files`] takes the files, [`load`] gets them from a directory or an archive.
//! - **Which subcharts** ([`values`]): `condition` beats `tags`; an alias renames; `import-values` and parents' values are
//!   coalesced over the defaults of children; `null` deletes.
//! - **Templates** ([`template`]): Go's `text/template` with [`funcs`]. Of templates of the same name the one of the file
//!   nearest to the root wins. A missing key is nothing, but a key of nothing is an error.
//! - **Output** ([`output`]): documents in install order by kind, hooks apart, `NOTES.txt` apart.
//!
//! A parsed [`Chart`] is immutable, `Send + Sync`, and renders any number of times.

pub mod chart;
pub mod cli;
pub mod engine;
pub mod error;
pub mod files;
pub mod funcs;
pub mod load;
pub mod output;
pub mod template;
pub mod value;
pub mod values;

pub use chart::Chart;
pub use engine::{RenderOptions, Rendered};
pub use error::Error;
pub use output::{Hook, Manifest};

/// Answers the template function `lookup`.
pub trait Lookup: Send + Sync {
    /// One object, or with an empty name the list of a kind; `None` when there is none.
    ///
    /// # Errors
    /// Why the cluster could not be asked: it becomes the error of the template.
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<serde_json::Value>, String>;
}
