//! Post-rendering through a program, here and as a plugin of the real program `helm`. Documents are
//! written anew on the way, in the same form as Helm's.

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
    (
        "templates/forms.yaml",
        "# above all\napiVersion: v1\nkind: ConfigMap\n\nmetadata:\n    name:   web\n    labels:\n        # of the part\n        \"a\": 'b'   # why\n        c: \"d\\te\"\n\
         data:\n    list:\n        - one\n        -   two: 2\n            three:\n              - x\n              - - y\n                - z\n\
         \n        # an item\n        - 'it''s'\n    text: |\n        a\n          b\n    cut: |-\n        x\n    long: this is a text that goes on and on and on and on, well beyond the eightieth\n      column, and on the next line\n\
         \x20   flow: {a: 1, b: [x, 'y', \"z\"], c: {}}\n    none:\n    nil: null\n    empty: \"\"\n    yes: no\n    number: 0755\n    url: http://x:80/a\n    \"q: r\": s # t\n",
    ),
    (
        "templates/late.yaml",
        "kind: Late\nspec:\n  replicas: 1\n  # the ports\n  ports:\n    - 1\n    - 2\n# status\nstatus: {}\n",
    ),
    ("templates/test.yaml", "kind: Pod\nmetadata:\n  name: test-web\n  annotations:\n    helm.sh/hook: test\n"),
];

const PLUGIN: &str = "apiVersion: v1\ntype: postrenderer/v1\nname: filter\nversion: 0.1.0\nruntime: subprocess\n\
                      runtimeConfig:\n  platformCommand:\n  - command: ${HELM_PLUGIN_DIR}/run\n";

/// One test at a time: a program that is being written while the other test starts a process could not be run.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn write(root: &Path, path: &str, text: &str) {
    let target = root.join(path);
    std::fs::create_dir_all(target.parent().expect("a directory")).expect("made");
    std::fs::write(target, text).expect("written");
}

#[test]
fn hooks_and_manifests_go_through_the_program() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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

/// What the program is given of each form of a document, and what is made of what it gives back.
#[test]
fn documents_are_written_anew_as_helm_writes_them() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(program) = support::helm() else { return };
    let cases = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/post.json"));
    let cases: Vec<String> = serde_json::from_str(&cases.expect("a case file")).expect("cases are JSON");
    let home = tempfile::tempdir().expect("a directory");
    let (seen, run) = (home.path().join("seen"), home.path().join("plugins/filter/run"));
    write(home.path(), "plugins/filter/plugin.yaml", PLUGIN);
    write(home.path(), "plugins/filter/run", &format!("#!/bin/sh\ntee {}\n", seen.display()));
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let mut different = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let chart = home.path().join(format!("chart-{i}"));
        write(&chart, "Chart.yaml", FILES[0].1);
        write(&chart, "templates/a.yaml", case);
        let mut command = support::helm_command(&program, home.path());
        command.args(["template", "r"]).arg(&chart).args(["--post-renderer", "filter"]);
        let output = command.env("HELM_PLUGINS", home.path().join("plugins")).output().expect("helm runs");
        assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
        let theirs =
            (String::from_utf8_lossy(&output.stdout).into_owned(), std::fs::read_to_string(&seen).expect("seen"));
        let args = TemplateArgs {
            name: Some("r".to_owned()),
            chart,
            post_renderer: Some(run.clone()),
            ..TemplateArgs::default()
        };
        let ours = (template(&args).expect("rendered").text, std::fs::read_to_string(&seen).expect("seen"));
        if ours != theirs {
            different.push(format!("CASE\n{case}\nHelm\n{}{}\nours\n{}{}", theirs.1, theirs.0, ours.1, ours.0));
        }
    }
    assert!(different.is_empty(), "{} different\n{}", different.len(), different.join("\n"));
}
