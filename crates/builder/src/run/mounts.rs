//! `RUN --mount`: what each shows, what it adds to the step's key, and where it is.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runtime::container::{Mount as Bind, Source as From};

use super::forward::Forward;
use crate::build::Cause;
use crate::cache::Key;
use crate::dockerfile::{Mount, MountKind, Sharing};
use crate::fs::copy::{Changes, Placing, fingerprint};
use crate::fs::select::{Selected, select};
use crate::fs::{Empty, FileTree};
use crate::ignore::Matcher;
use crate::progress::Step;
use crate::solve::Solve;

/// Mounts on their way into a container.
#[derive(Default)]
pub(super) struct Prepared {
    /// Parts of the step's key.
    pub prints: Vec<String>,
    /// Mounts, when [`Solve::bind_mounts`] has run.
    pub binds: Vec<Bind>,
    /// Variables (secrets, agent sockets); not part of the key.
    pub env: Vec<(String, String)>,
    wanted: Vec<(Mount, PathBuf, Option<Tree>)>,
    /// Locks of cache mounts, held until the container has ended.
    locks: Vec<File>,
    /// Secret files, removed when the container has ended.
    secrets: Vec<tempfile::TempPath>,
    /// Agents that are passed on until then.
    forwards: Vec<Forward>,
}

struct Tree {
    tree: std::sync::Arc<dyn FileTree>,
    chosen: Selected,
}

impl Solve<'_> {
    /// Reads what the key needs to know.
    pub(super) fn prepare_mounts(
        &self,
        at: usize,
        mounts: &[Mount],
        cwd: &str,
        step: &Step<'_>,
    ) -> Result<Prepared, Cause> {
        let mut out = Prepared::default();
        for mount in mounts {
            let default = match mount.kind {
                MountKind::Secret => format!("/run/secrets/{}", secret_id(mount)),
                MountKind::Ssh => format!(
                    "/run/buildkit/ssh_agent.{}",
                    out.wanted.iter().filter(|(m, ..)| m.kind == MountKind::Ssh).count()
                ),
                _ => String::new(),
            };
            let target = mount.target.clone().unwrap_or(default);
            let target = if target.starts_with('/') { target } else { format!("{cwd}/{target}") };
            let target = PathBuf::from(crate::ignore::clean(&target));
            let mut tree = None;
            let mut print = Key::new("mount").with(mount.kind.name()).with(target.to_string_lossy().as_bytes());
            if mount.kind == MountKind::Bind || mount.kind == MountKind::Cache && mount.from.is_some() {
                let from = self.tree(at, mount.from.as_deref(), step)?;
                let source = mount.source.clone().unwrap_or_else(|| "/".to_owned());
                let chosen = select(&*from.tree, &escape(&source), false).map_err(Cause::Files)?;
                let chosen = chosen
                    .into_iter()
                    .next()
                    .ok_or_else(|| Cause::Message(format!("mount source {source:?} not found")))?;
                print = match &from.identity {
                    Some(identity) => print.with(identity).with(&source),
                    None => print.with(
                        fingerprint(&*from.tree, std::slice::from_ref(&chosen), &Matcher::default())
                            .map_err(Cause::Files)?,
                    ),
                };
                tree = Some(Tree { tree: from.tree, chosen });
            }
            if mount.kind == MountKind::Cache {
                print = print.with(mount.id.as_deref().unwrap_or_default());
            }
            out.prints.push(print.finish());
            out.wanted.push((mount.clone(), target, tree));
        }
        Ok(out)
    }

    /// Makes the mounts.
    pub(super) fn bind_mounts(&self, prepared: &mut Prepared, work: &Path) -> Result<(), Cause> {
        for (number, (mount, target, tree)) in std::mem::take(&mut prepared.wanted).into_iter().enumerate() {
            let private = work.join(format!("mount{number}"));
            match mount.kind {
                MountKind::Bind => {
                    let readonly = mount.readonly.unwrap_or(true);
                    let Some(tree) = tree else { continue };
                    let source = self.bind_source(&tree, if readonly { None } else { Some(&private) })?;
                    prepared.binds.push(Bind { source: From::Bind(source), target, readonly });
                }
                MountKind::Cache => {
                    let (dir, lock) = self.cache_dir(&mount, &target, tree.as_ref())?;
                    prepared.locks.extend(lock);
                    prepared.binds.push(Bind {
                        source: From::Bind(dir),
                        target,
                        readonly: mount.readonly.unwrap_or(false),
                    });
                }
                MountKind::Tmpfs => {
                    prepared.binds.push(Bind {
                        source: From::Tmpfs { size: mount.size, mode: 0o1777 },
                        target,
                        readonly: false,
                    });
                }
                MountKind::Secret => self.secret(&mount, target, prepared)?,
                MountKind::Ssh => {
                    let id = mount.id.clone().unwrap_or_else(|| "default".to_owned());
                    match self.request.ssh.get(&id) {
                        Some(socket) => {
                            prepared.env.push(("SSH_AUTH_SOCK".to_owned(), target.to_string_lossy().into_owned()));
                            let mut socket = socket.clone();
                            if mount.mode.is_some() || mount.uid.is_some() || mount.gid.is_some() {
                                // The agent's own socket keeps its owner: what the command sees is another that leads there.
                                let forward = Forward::start(&socket, mount.mode, (mount.uid, mount.gid));
                                let forward = forward.map_err(super::io("pass on an SSH agent"))?;
                                socket = forward.socket().to_owned();
                                prepared.forwards.push(forward);
                            }
                            prepared.binds.push(Bind { source: From::Bind(socket), target, readonly: false });
                        }
                        None if mount.required => {
                            return Err(Cause::Message(format!("unset ssh forward key {id}: pass --ssh {id}")));
                        }
                        None => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// A directory or file on disk with the content of a chosen path; unpacked into `own` when it may be written.
    fn bind_source(&self, tree: &Tree, own: Option<&Path>) -> Result<PathBuf, Cause> {
        let node = tree.tree.get(&tree.chosen.path).map_err(Cause::Files)?;
        let is_dir = node.is_some_and(|node| node.is_dir());
        let mut changes = Changes::new(&Empty);
        let dest = if is_dir { "/content" } else { "/content/" };
        let how = Placing { dest: dest.to_owned(), chown: None, chmod: None, exclude: Matcher::default() };
        changes.make_dirs("content", None).map_err(Cause::Files)?;
        changes.place(&*tree.tree, &tree.chosen, &how).map_err(Cause::Files)?;
        let layer = changes.write(&self.builder.layers, self.request.epoch).map_err(Cause::Files)?;
        let root = match own {
            None => self.unpack_layer(&layer, &[], true)?,
            Some(own) => {
                std::fs::create_dir(own).map_err(super::io("make a working directory"))?;
                let path = self.builder.layers.tar_path(&layer);
                let file = File::open(&path).map_err(super::io(format!("open {}", path.display())))?;
                oci::layer::unpack(file, own, &oci::layer::UnpackOptions::default()).map_err(|source| {
                    Cause::Runtime { message: "unpack a bind mount".to_owned(), source: Box::new(source) }
                })?;
                own.to_owned()
            }
        };
        let content = root.join("content");
        Ok(if is_dir { content } else { content.join(crate::fs::base(&tree.chosen.named)) })
    }

    fn cache_dir(&self, mount: &Mount, target: &Path, seed: Option<&Tree>) -> Result<(PathBuf, Option<File>), Cause> {
        let id = mount.id.clone().unwrap_or_else(|| target.to_string_lossy().into_owned());
        let base = self.builder.config.cache.join("mounts");
        std::fs::create_dir_all(&base).map_err(super::io(format!("make {}", base.display())))?;
        let id = match self.request.built_in("BUILDKIT_CACHE_MOUNT_NS") {
            Some(space) => format!("{space}/{id}"),
            None => id,
        };
        let name = &Key::new("cache-mount").with(&id).finish()[..24];
        let open = |number: u32| -> Result<(PathBuf, File), Cause> {
            let lock = base.join(format!("{name}-{number}.lock"));
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&lock)
                .map_err(super::io(format!("open {}", lock.display())))?;
            Ok((base.join(format!("{name}-{number}")), file))
        };
        let (dir, lock) = match mount.sharing {
            Sharing::Shared => (open(0)?.0, None),
            Sharing::Locked => {
                let (dir, file) = open(0)?;
                file.lock().map_err(super::io(format!("lock cache mount {id}")))?;
                (dir, Some(file))
            }
            Sharing::Private => {
                let mut number = 0;
                loop {
                    let (dir, file) = open(number)?;
                    if file.try_lock().is_ok() {
                        break (dir, Some(file));
                    }
                    number += 1;
                }
            }
        };
        if !dir.exists() {
            match seed {
                None => std::fs::create_dir_all(&dir).map_err(super::io(format!("make {}", dir.display())))?,
                Some(tree) => {
                    let temp = super::roots::WorkDir::new(&self.builder.config.cache.join("work"))
                        .map_err(super::io("make a working directory"))?;
                    let content = self.bind_source(tree, Some(&temp.path().join("seed")))?;
                    if std::fs::rename(&content, &dir).is_err() && !dir.exists() {
                        return Err(Cause::Message(format!("cache mount {id}: its beginning is not a directory")));
                    }
                }
            }
            let mode = mount.mode.unwrap_or(0o755);
            std::fs::set_permissions(&dir, PermissionsExt::from_mode(mode))
                .map_err(super::io(format!("make {}", dir.display())))?;
            if rustix::process::geteuid().is_root() && (mount.uid.is_some() || mount.gid.is_some()) {
                std::os::unix::fs::chown(&dir, mount.uid.or(Some(0)), mount.gid.or(Some(0)))
                    .map_err(super::io(format!("own {}", dir.display())))?;
            }
        }
        Ok((dir, lock))
    }

    fn secret(&self, mount: &Mount, target: PathBuf, prepared: &mut Prepared) -> Result<(), Cause> {
        let id = secret_id(mount);
        let Some(secret) = self.request.secrets.get(&id) else {
            return match mount.required {
                true => Err(Cause::Message(format!("secret {id}: not found: pass --secret id={id},src=FILE"))),
                false => Ok(()),
            };
        };
        if let Some(name) = &mount.env {
            prepared.env.push((name.clone(), String::from_utf8_lossy(&secret.value).into_owned()));
            if mount.target.is_none() {
                return Ok(());
            }
        }
        // Memory, never the disk.
        let memory = Path::new("/dev/shm");
        let mut file = tempfile::Builder::new()
            .prefix("bigben-secret-")
            .tempfile_in(memory)
            .map_err(super::io("keep a secret in /dev/shm"))?;
        file.write_all(&secret.value).map_err(super::io("keep a secret in /dev/shm"))?;
        file.as_file()
            .set_permissions(PermissionsExt::from_mode(mount.mode.unwrap_or(0o400)))
            .map_err(super::io("keep a secret in /dev/shm"))?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(file.path(), mount.uid.or(Some(0)), mount.gid.or(Some(0)))
                .map_err(super::io("keep a secret in /dev/shm"))?;
        }
        prepared.binds.push(Bind { source: From::Bind(file.path().to_owned()), target, readonly: true });
        prepared.secrets.push(file.into_temp_path());
        Ok(())
    }
}

/// A path in which no character is a wildcard.
fn escape(path: &str) -> String {
    path.chars().flat_map(|c| matches!(c, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([c])).collect()
}

fn secret_id(mount: &Mount) -> String {
    let named = mount.id.clone().or_else(|| mount.source.clone());
    named.unwrap_or_else(|| {
        mount.target.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).unwrap_or_default()
    })
}
