//! The local images: an OCI image layout whose entries are named by canonical references.
//!
//! Owns the layout and the lock that keeps removal away from builds that run. Several processes may use it at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oci::layout::{Image, Layout};
use oci::{Descriptor, Digest, Document, Platform, Reference};

/// What stands before the names of manifests that refer to others.
const REFERRER: &str = "<referrer>@";

/// Why a local image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has that name.
    #[error("No such image: {0}")]
    Missing(String),
    /// The text is not a reference.
    #[error("invalid reference format: {text:?}")]
    Reference {
        /// As written.
        text: String,
        /// What is wrong.
        source: oci::reference::Error,
    },
    /// More than one image has an id that begins so.
    #[error("Multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// The layout failed.
    #[error("local image store is not usable")]
    Layout(#[from] oci::layout::Error),
    /// A file operation failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// One image with the names it has.
#[derive(Debug, Clone)]
pub struct Local {
    /// Digest of the configuration: docker's image id.
    pub id: Digest,
    /// The entry in the layout, maybe an index.
    pub descriptor: Descriptor,
    /// Canonical names.
    pub names: Vec<Reference>,
    /// The image for this machine.
    pub image: Image,
}

/// The local image store.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: PathBuf,
    layout: Layout,
}

/// Reads a reference, with `latest` where nothing is said.
///
/// # Errors
/// When it is not one.
pub fn reference(text: &str) -> Result<Reference, Error> {
    Reference::parse(text)
        .map(Reference::or_latest)
        .map_err(|source| Error::Reference { text: text.to_owned(), source })
}

impl ImageStore {
    /// Opens (and creates) the store.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(root: &Path) -> Result<ImageStore, Error> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { operation, path, source }
        };
        fs::create_dir_all(root).map_err(io("create", root))?;
        let dir = root.join("images");
        Ok(ImageStore { root: root.to_owned(), layout: Layout::open(dir)? })
    }

    /// The layout below.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn lock_file(&self) -> Result<File, Error> {
        let path = self.root.join("lock");
        File::options().create(true).truncate(false).write(true).open(&path).map_err(|source| Error::Io {
            operation: "open",
            path,
            source,
        })
    }

    /// Held while blobs are written that no name points to yet.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn hold(&self) -> Result<File, Error> {
        let file = self.lock_file()?;
        file.lock_shared().map_err(|source| Error::Io { operation: "lock", path: self.root.join("lock"), source })?;
        Ok(file)
    }

    /// Deletes blobs that no name leads to. Does nothing while builds run: they, or the next removal, leave it to a later call.
    ///
    /// # Errors
    /// When the layout cannot be read.
    pub fn collect(&self) -> Result<oci::layout::Collected, Error> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(self.layout.gc(std::time::Duration::ZERO)?),
            Err(_) => Ok(oci::layout::Collected::default()),
        }
    }

    /// Does something while no build runs here.
    ///
    /// # Errors
    /// When a build runs, or the work fails.
    pub fn alone(&self, work: impl FnOnce() -> std::io::Result<()>) -> Result<(), Error> {
        let failed = |source| Error::Io { operation: "clean", path: self.root.clone(), source };
        let file = self.lock_file()?;
        file.try_lock()
            .map_err(|_| failed(std::io::Error::other("a build is running here; try again when it has ended")))?;
        work().map_err(failed)
    }

    /// Names an image.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn tag(&self, name: &Reference, descriptor: &Descriptor) -> Result<(), Error> {
        let same = self.layout.resolve(&name.to_string())?.is_some_and(|old| old.digest == descriptor.digest);
        if !same {
            self.layout.tag(&name.to_string(), descriptor)?;
        }
        Ok(())
    }

    /// Keeps an image that has no name (`docker build` without `--tag`), under its digest.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn keep(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let name = format!("<none>@{}", descriptor.digest);
        if self.layout.resolve(&name)?.is_none() {
            self.layout.tag(&name, descriptor)?;
        }
        Ok(())
    }

    /// Keeps a manifest that refers to another (`subject`).
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn attach(&self, subject: &Digest, descriptor: &Descriptor) -> Result<(), Error> {
        let name = format!("{REFERRER}{subject}@{}", descriptor.digest);
        if self.layout.resolve(&name)?.is_none() {
            self.layout.tag(&name, descriptor)?;
        }
        Ok(())
    }

    /// What refers to an image, here.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn attached(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let prefix = format!("{REFERRER}{subject}@");
        Ok(self
            .layout
            .tags()?
            .into_iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(_, descriptor)| descriptor)
            .collect())
    }

    /// Lets go of what refers to an image.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn detach(&self, subject: &Digest) -> Result<(), Error> {
        for descriptor in self.attached(subject)? {
            self.layout.untag(&format!("{REFERRER}{subject}@{}", descriptor.digest))?;
        }
        Ok(())
    }

    /// Removes a name.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn untag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.layout.untag(name)?)
    }

    /// All images, each once, in index order.
    ///
    /// # Errors
    /// When the layout cannot be read.
    pub fn list(&self) -> Result<Vec<Local>, Error> {
        let mut out: Vec<Local> = Vec::new();
        for (name, descriptor) in self.layout.tags()? {
            if name.starts_with(REFERRER) {
                continue;
            }
            let name = if name.starts_with("<none>@") { None } else { Reference::parse(&name).ok() };
            if let Some(known) = out.iter_mut().find(|local| local.descriptor.digest == descriptor.digest) {
                known.names.extend(name);
                continue;
            }
            let image = match self.layout.image(&descriptor, &Platform::host()) {
                Ok(image) => image,
                Err(oci::layout::Error::Platform { .. }) => match self.any_platform(&descriptor)? {
                    Some(image) => image,
                    None => continue,
                },
                Err(wrong) => return Err(wrong.into()),
            };
            out.push(Local {
                id: image.manifest.config.digest.clone(),
                descriptor,
                names: name.into_iter().collect(),
                image,
            });
        }
        Ok(out)
    }

    fn any_platform(&self, descriptor: &Descriptor) -> Result<Option<Image>, Error> {
        if let Document::Index(index) = self.layout.document(descriptor)?.1 {
            for child in &index.manifests {
                if let Some(platform) = &child.platform
                    && let Ok(image) = self.layout.image(child, platform)
                {
                    return Ok(Some(image));
                }
            }
        }
        Ok(None)
    }

    /// The entry that a name points to.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn named(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        if let Some(found) = self.layout.resolve(&name.to_string())? {
            return Ok(Some(found));
        }
        let Some(digest) = name.digest() else { return Ok(None) };
        let same_name = |local: &Reference| local.name() == name.name();
        Ok(self
            .list()?
            .into_iter()
            .find(|local| local.descriptor.digest == *digest && local.names.iter().any(same_name))
            .map(|local| local.descriptor))
    }

    /// Finds an image by name, id or the beginning of an id.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, text: &str) -> Result<Local, Error> {
        let images = self.list()?;
        if let Ok(wanted) = reference(text)
            && let Some(descriptor) = self.named(&wanted)?
            && let Some(local) = images.iter().find(|local| local.descriptor.digest == descriptor.digest)
        {
            return Ok(local.clone());
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            let hit =
                |local: &&Local| local.id.hex().starts_with(hex) || local.descriptor.digest.hex().starts_with(hex);
            let found: Vec<&Local> = images.iter().filter(hit).collect();
            let same = found.windows(2).all(|pair| pair[0].id == pair[1].id);
            match found.first() {
                Some(local) if same => return Ok((*local).clone()),
                Some(_) => return Err(Error::Ambiguous(text.to_owned())),
                None => {}
            }
        }
        Err(Error::Missing(if text.contains([':', '@']) || hex.len() == 64 {
            text.to_owned()
        } else {
            format!("{text}:latest")
        }))
    }
}
