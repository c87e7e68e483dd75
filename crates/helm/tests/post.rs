//! Post-rendering through a program, here and as a plugin of the real program `helm`. The charts are written as Helm writes
//! documents anew, so that both give the same bytes.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use helm::cli::{TemplateArgs, template};

const FILES: &[(&str, &str)] = &[
    ("Chart.yaml", "apiVersion: v2\nname: t\nversion: 0.1.0\n"),
    ("templates/NOTES.txt", "web {{ .Release.Name }}\n"),
    (
        "templates/b.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  labels:\n    app: web\nspec:\n  ports:\n  - port: 80 # web\n",
    ),
    (
        "templates/a.yaml",
        "# first\nkind: ConfigMap\nmetadata:\n  name: web\n---\nkind: Secret\nmetadata:\n  annotations:\n    a: \"1\"\n  name: web\n",
    ),
    ("templates/hook.yaml", "kind: Job\nmetadata:\n  name: web\n  annotations:\n    helm.sh/hook: pre-install\n"),
    ("templates/test.yaml", "kind: Pod\nmetadata:\n  name: test-web\n  annotations:\n    helm.sh/hook: test\n"),
];

const PLUGIN: &str = "apiVersion: v1\ntype: postrenderer/v1\nname: filter\nversion: 0.1.0\nruntime: subprocess\n\
                      runtimeConfig:\n  platformCommand:\n  - command: ${HELM_PLUGIN_DIR}/run\n";

fn write(root: &Path, path: &str, text: &str) {
    let target = root.join(path);
    std::fs::create_dir_all(target.parent().expect("a directory")).expect("made");
    std::fs::write(target, text).expect("written");
}

#[test]
fn hooks_and_manifests_go_through_the_program() {
    let Some(program) = support::helm() else { return };
    let home = tempfile::tempdir().expect("a directory");
    let chart = home.path().join("t");
    FILES.iter().for_each(|(path, text)| write(&chart, path, text));
    let run = home.path().join("plugins/filter/run");
    write(home.path(), "plugins/filter/plugin.yaml", PLUGIN);
    let scripts = [
        "sed s/web/site/",
        "cat",
        "cat; printf -- '---\\nkind: Namespace\\nmetadata:\\n  name: new\\n'",
        "sed '/kind: Secret/,$d'",
        "grep -v 'helm.sh/hook: test'",
    ];
    for script in scripts {
        write(home.path(), "plugins/filter/run", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).expect("a program");
        let mut command = support::helm_command(&program, home.path());
        command.args(["template", "r"]).arg(&chart).args(["--post-renderer", "filter"]);
        let output = command.env("HELM_PLUGINS", home.path().join("plugins")).output().expect("helm runs");
        let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let args = TemplateArgs {
            name: Some("r".to_owned()),
            chart: chart.clone(),
            post_renderer: Some(run.clone()),
            ..TemplateArgs::default()
        };
        let ours = template(&args).expect("rendered").text;
        assert_eq!(ours, theirs, "{script}");
    }
}
