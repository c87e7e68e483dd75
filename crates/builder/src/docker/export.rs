//! `--output`: a finished image as files.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use oci::layout::Layout;
use oci::{Platform, Reference};

use super::archive::write;
use super::outputs::{Export, Kind};
use super::{Docker, Failure};
use crate::build::{BuildResult, Builder, chain};
use crate::fs::Empty;
use crate::fs::copy::{Changes, Placing};
use crate::fs::select::Selected;
use crate::fs::view::View;
use crate::ignore::Matcher;
use crate::images::Local;

/// An image to write, and what it is called.
pub(super) struct Finished<'a> {
    pub result: &'a BuildResult,
    /// Each platform's image, when there are several.
    pub parts: &'a [(Platform, BuildResult)],
    pub tags: &'a [Reference],
}

/// Writes an image as one `--output` says.
///
/// # Errors
/// When it cannot be written.
pub(super) fn export(docker: &mut Docker, builder: &Builder, image: &Finished<'_>, to: &Export) -> Result<(), Failure> {
    let layout = builder.images().layout();
    match (to.kind, &to.dest) {
        (Kind::Docker | Kind::Oci, dest) => {
            let local = Local {
                id: image.result.id.clone(),
                descriptor: image.result.descriptor.clone(),
                names: image.tags.to_vec(),
                image: layout.image(&image.result.descriptor, &Platform::host())?,
            };
            let images = [(local, image.tags.to_vec())];
            let mut out = sink(docker, dest.as_deref())?;
            write(layout, &images, &mut out, to.kind == Kind::Docker)?;
            Ok(out.flush()?)
        }
        (Kind::Layout, Some(dir)) => directory(layout, image, dir),
        (Kind::Tar, dest) => {
            let plain = flat(builder, image.result)?;
            let mut out = sink(docker, dest.as_deref())?;
            std::io::copy(&mut File::open(plain)?, &mut out)?;
            Ok(out.flush()?)
        }
        (Kind::Local, Some(dir)) if image.parts.is_empty() => unpack(builder, image.result, dir),
        (Kind::Local, Some(dir)) => image.parts.iter().try_for_each(|(platform, result)| {
            unpack(builder, result, &dir.join(platform.to_string().replace('/', "_")))
        }),
        (Kind::Layout | Kind::Local, None) => Err(Failure::new("ERROR: this output needs dest=")),
    }
}

fn sink<'a>(docker: &'a mut Docker, dest: Option<&Path>) -> Result<Box<dyn Write + 'a>, Failure> {
    match dest {
        Some(path) => {
            let file =
                File::create(path).map_err(|wrong| Failure::new(format!("ERROR: open {}: {wrong}", path.display())))?;
            Ok(Box::new(BufWriter::new(file)))
        }
        None if docker.stdio.inherited && std::io::stdout().is_terminal() => {
            Err(Failure::new("ERROR: dest file is required for this output. refusing to write to console"))
        }
        None => Ok(Box::new(&mut docker.stdio.out)),
    }
}

/// All files of an image as one archive in the layer store: owners and modes as they are, one time.
fn flat(builder: &Builder, result: &BuildResult) -> Result<PathBuf, Failure> {
    let wrong = |e: &dyn std::error::Error| Failure::new(format!("ERROR: failed to export: {}", chain(e)));
    let layout = builder.images().layout();
    let image = layout.image(&result.descriptor, &Platform::host())?;
    let store = &builder.layers;
    for (layer, blob) in image.config.rootfs.diff_ids.iter().zip(&image.manifest.layers) {
        if !store.has(layer) {
            store.import(layout.blobs(), blob, layer).map_err(|e| wrong(&e))?;
        }
    }
    let view = View::stack(store, &image.config.rootfs.diff_ids).map_err(|e| wrong(&e))?;
    let mut all = Changes::new(&Empty);
    let whole = Selected { path: String::new(), named: String::new(), kept: None };
    let how = Placing { dest: "/".to_owned(), chown: None, chmod: None, exclude: Matcher::default() };
    all.place(&view, &whole, &how).map_err(|e| wrong(&e))?;
    let created = image.config.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let layer = all.write(store, created.map_or(0, jiff::Timestamp::as_second)).map_err(|e| wrong(&e))?;
    Ok(store.tar_path(&layer))
}

fn unpack(builder: &Builder, result: &BuildResult, dir: &Path) -> Result<(), Failure> {
    let plain = File::open(flat(builder, result)?)?;
    std::fs::create_dir_all(dir)?;
    let options = oci::layer::UnpackOptions { owners: false, ..Default::default() };
    oci::layer::unpack(plain, dir, &options)
        .map_err(|wrong| Failure::new(format!("ERROR: failed to export to {}: {}", dir.display(), chain(&wrong))))?;
    Ok(())
}

/// An OCI layout, beside what is in it already.
fn directory(layout: &Layout, image: &Finished<'_>, dir: &Path) -> Result<(), Failure> {
    let daemon = |wrong: &dyn std::error::Error| Failure::new(format!("ERROR: failed to export: {}", chain(wrong)));
    let to = Layout::open(dir)?;
    for blob in layout.reachable(&image.result.descriptor)? {
        let mut source = layout.blobs().open_blob(&blob.digest).map_err(|wrong| daemon(&wrong))?;
        let mut sink = to.blobs().writer().map_err(|wrong| daemon(&wrong))?;
        std::io::copy(&mut source, &mut sink)?;
        sink.finish(Some(&blob.digest)).map_err(|wrong| daemon(&wrong))?;
    }
    let tags = image.tags.iter().map(|tag| tag.tag().unwrap_or("latest").to_owned());
    let mut names: Vec<String> = tags.collect();
    if names.is_empty() {
        names.push("latest".to_owned());
    }
    names.iter().try_for_each(|name| Ok(to.tag(name, &image.result.descriptor)?))
}
