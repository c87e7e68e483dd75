//! The one image of tests and benchmarks: a static program, put into a node's store as a pull would.

use oci::layer::{Compression, Times, Writer};
use oci::layout::Layout;
use oci::{Descriptor, media};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Its name.
pub const NAME: &str = "docker.io/test/tool:1";

/// The same image by another name.
#[allow(dead_code, reason = "a benchmark needs one image only")]
pub const OTHER: &str = "docker.io/test/tool:2";

/// Compiles the program into `dir`, unless it is there and up to date.
pub fn tool(dir: &Path) -> PathBuf {
    let tool = dir.join("tool");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tool.rs");
    let fresh = std::fs::metadata(&tool)
        .and_then(|built| Ok(built.modified()? > std::fs::metadata(source)?.modified()?))
        .unwrap_or(false);
    if !fresh {
        // Under another name first: two tests may do this at the same time.
        let building = dir.join(format!("tool-{}", std::process::id()));
        let status = std::process::Command::new("rustc")
            .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
            .arg(&building)
            .arg(source)
            .status();
        assert!(status.expect("rustc runs").success(), "the test's program does not compile");
        std::fs::rename(&building, &tool).expect("placed");
    }
    tool
}

/// Puts the image into the store of the node whose state is at `state`.
pub fn make(state: &Path, tool: &Path) {
    let layout = Layout::open(state.join("images")).expect("a layout");
    let tree = state.join("tree");
    std::fs::create_dir_all(tree.join("bin")).expect("a directory");
    std::fs::copy(tool, tree.join("bin/tool")).expect("copied");
    let mut writer =
        Writer::new(layout.blobs().writer().expect("a blob"), Compression::None, Times::Fixed(0)).expect("a layer");
    writer.append_tree(&tree, &oci::layer::TreeOptions::default()).expect("appended");
    let (blob, layer) = writer.finish().expect("finished");
    blob.finish(Some(&layer.digest)).expect("stored");
    let config = json!({"architecture": oci::Platform::host().architecture, "os": "linux", "config": {"Entrypoint": ["/bin/tool"], "User": "1000"}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}});
    let config = layout.put_json(media::OCI_CONFIG, &config).expect("stored");
    let manifest = oci::Manifest::new(config, vec![Descriptor::new(media::OCI_LAYER, layer.digest, layer.size)]);
    let manifest = layout.put_json(media::OCI_MANIFEST, &manifest).expect("stored");
    for name in [NAME, OTHER] {
        layout.tag(name, &manifest).expect("tagged");
    }
}
