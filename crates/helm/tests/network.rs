//! `dependency update|build|list` and `template` with charts of a repository, through this crate and through the real program
//! `helm`, both from one server on this machine: what is said, the lock, and what is in `charts/`.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use helm::cli::dependency::pack;
use helm::cli::{
    Around, Fetch, Pulled, Reference, ShowWhat, TemplateArgs, dependency_build, dependency_list, dependency_update,
    show, template_on,
};
use judges::Charts;

/// A client without credentials.
struct Plain;

impl Fetch for Plain {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        Charts::get(url, None)
    }
    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        Charts::tags(repository)
    }
    fn oci_chart(&self, reference: &str) -> Result<Pulled, String> {
        let (archive, digest) = Charts::pull(reference)?;
        Ok(Pulled { archive, digest })
    }
}

const VERSIONS: [(&str, &[&str]); 2] = [("a", &["1.2.3", "1.3.0", "2.0.0-rc.1"]), ("b", &["0.1.0+build.5"])];

/// The archive of a chart with one template.
fn archive(name: &str, version: &str) -> Vec<u8> {
    let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let files = [("Chart.yaml", chart), ("templates/x.yaml", format!("{name}: {version}\n"))];
    let files: BTreeMap<_, _> = files.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect();
    pack(name, &files).expect("packed")
}

/// A repository and a registry with the same charts.
fn repository() -> Charts {
    let charts = Charts::start();
    for (name, versions) in VERSIONS {
        for version in versions {
            let archive = archive(name, version);
            // One by its whole URL, the other by its place in the repository.
            charts.add(name, version, &archive, name == "b");
            charts.push(&format!("charts/{name}"), &version.replace('+', "_"), &archive);
        }
    }
    charts
}

fn chart(root: &Path, dependencies: &str) {
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(root.join("templates")).expect("a directory");
    let head = "apiVersion: v2\nname: t\nversion: 0.1.0\ndependencies:\n";
    std::fs::write(root.join("Chart.yaml"), format!("{head}{dependencies}")).expect("a chart");
    std::fs::write(root.join("templates/x.yaml"), "x: y\n").expect("a template");
    let local = root.with_file_name("local");
    std::fs::create_dir_all(local.join("templates")).expect("a directory");
    std::fs::write(local.join("Chart.yaml"), "apiVersion: v2\nname: local\nversion: 0.4.0\n").expect("a chart");
}

/// What is said, the lock without its time, and what is in `charts/`.
fn state(root: &Path, said: String) -> String {
    let lock = std::fs::read_to_string(root.join("Chart.lock")).unwrap_or_default();
    let lock: Vec<&str> = lock.lines().filter(|line| !line.starts_with("generated:")).collect();
    let charts = std::fs::read_dir(root.join("charts")).into_iter().flatten().flatten();
    let mut charts: Vec<String> = charts.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    charts.sort();
    let all = format!("{said}\n{}\n{charts:?}", lock.join("\n"));
    all.replace(&root.parent().expect("a parent").display().to_string(), "TOP")
}

fn said(result: Result<String, helm::Error>) -> String {
    result.unwrap_or_else(|e| format!("Error: {e}\n"))
}

#[test]
fn charts_of_a_repository() {
    let Some(program) = support::helm() else { return };
    let charts = repository();
    let (url, host) = (charts.url(), &charts.host);
    let home = tempfile::tempdir().expect("a directory");
    let top = home.path().canonicalize().expect("a directory");
    let root = top.join("t");
    let theirs = |args: &[&str]| {
        let output = support::helm_command(&program, home.path()).args(args).output().expect("helm runs");
        // What it says before it fails is not part of our errors.
        let out = if output.status.success() { &output.stdout } else { &output.stderr };
        String::from_utf8_lossy(out).into_owned()
    };
    let dependencies = [
        format!("- {{name: a, version: 1.x, repository: '{url}'}}\n"),
        format!("- {{name: a, version: '>0.0.0-0', repository: '{url}/'}}\n"),
        format!("- {{name: a, version: '1.2', repository: '{url}'}}\n"),
        format!(
            "- {{name: a, version: v1.2.3, repository: '{url}', alias: x}}\n- {{name: b, version: '*', repository: '{url}'}}\n"
        ),
        format!(
            "- {{name: a, version: 1.3.0, repository: '{url}'}}\n- {{name: local, version: '*', repository: 'file://../local'}}\n"
        ),
        format!("- {{name: a, version: 3.x, repository: '{url}'}}\n"),
        format!("- {{name: zz, version: 3.x, repository: '{url}'}}\n"),
        format!("- {{name: a, version: '', repository: '{url}'}}\n"),
        "- {name: a, version: 1.x, repository: 'ftp://x'}\n".to_owned(),
        format!("- {{name: a, version: 1.x, repository: 'oci://{host}/charts'}}\n"),
        format!("- {{name: a, version: 1.2.3, repository: 'oci://{host}/charts/'}}\n"),
        format!(
            "- {{name: a, version: '>0.0.0-0', repository: 'oci://{host}/charts'}}\n- {{name: b, version: 0.1.0+build.5, repository: 'oci://{host}/charts'}}\n"
        ),
        format!("- {{name: b, version: '*', repository: 'oci://{host}/charts', alias: z}}\n"),
        format!("- {{name: a, version: 9.x, repository: 'oci://{host}/charts'}}\n"),
        format!("- {{name: a, version: '', repository: 'oci://{host}/charts'}}\n"),
    ];
    let place = root.display().to_string();
    let mut wrong = Vec::new();
    let mut compare = |ours: String, theirs: String, what: String| {
        if ours != theirs {
            wrong.push(format!("{what}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    };
    for dependency in &dependencies {
        for verb in ["update", "build"] {
            chart(&root, dependency);
            let theirs = state(&root, theirs(&["dependency", verb, &place, "--plain-http"]));
            chart(&root, dependency);
            let how = if verb == "update" { dependency_update } else { dependency_build };
            let ours = state(&root, said(how(&root, &Plain).map(|built| built.text)));
            compare(ours, theirs, format!("{verb} of {dependency}"));
        }
        let listed = dependency_list(&root, 12).expect("a table");
        assert_eq!(listed, theirs(&["dependency", "list", &place, "--max-col-width", "12"]), "list of {dependency}");
    }
    let template = |args: TemplateArgs| {
        let around = Around { fetch: Some(std::sync::Arc::new(Plain)), ..Around::default() };
        said(template_on(&args, &around).map(|output| output.text))
    };
    chart(&root, &dependencies[0]);
    let update = theirs(&["template", &place, "--dependency-update"]);
    chart(&root, &dependencies[0]);
    let ours = template(TemplateArgs { chart: root.clone(), dependency_update: true, ..TemplateArgs::default() });
    assert_eq!(ours, update);
    for (name, version) in [("a", None), ("a", Some("<1.3")), ("a", Some("9")), ("zz", None), ("b", Some(">0-0"))] {
        let mut args = vec!["template", "r", name, "--repo", &url];
        args.extend(version.iter().flat_map(|version| ["--version", version]));
        let ours = template(TemplateArgs {
            name: Some("r".to_owned()),
            chart: PathBuf::from(name),
            repo: Some(url.clone()),
            version: version.map(str::to_owned),
            ..TemplateArgs::default()
        });
        assert_eq!(ours, theirs(&args), "{name} {version:?}");
    }
    for chart in [format!("{url}/a-1.2.3.tgz"), format!("{url}/none.tgz"), "nope".to_owned(), "other/a".to_owned()] {
        let ours = template(TemplateArgs {
            name: Some("r".to_owned()),
            chart: PathBuf::from(&chart),
            ..TemplateArgs::default()
        });
        assert_eq!(ours, theirs(&["template", "r", &chart]), "{chart}");
    }
    let registry = format!("oci://{host}/charts/a");
    for (chart, version) in [
        (registry.clone(), None),
        (registry.clone(), Some("1.x")),
        (registry.clone(), Some("1.2.3")),
        (registry.clone(), Some("v1.2.3")),
        (registry.clone(), Some("9")),
        (registry.clone(), Some("latest")),
        (format!("{registry}:1.2.3"), None),
        (format!("{registry}:1.2.3"), Some("1.2.3")),
        (format!("{registry}:1.2.3"), Some("1.3.0")),
        (registry.clone(), Some("1.2")),
        (registry.clone(), Some("^1.2")),
        (registry.clone(), Some("7.0.0")),
        (format!("oci://{host}/charts/b"), Some(">0-0")),
        (format!("oci://{host}/charts/b"), Some("0.1.0+build.5")),
    ] {
        let mut args = vec!["template", "r", &chart, "--plain-http"];
        args.extend(version.iter().flat_map(|version| ["--version", version]));
        let ours = template(TemplateArgs {
            name: Some("r".to_owned()),
            chart: PathBuf::from(&chart),
            version: version.map(str::to_owned),
            ..TemplateArgs::default()
        });
        compare(ours, theirs(&args), format!("{chart} {version:?}"));
    }
    let shown = theirs(&["show", "chart", &registry, "--version", "1.2.3", "--plain-http"]);
    let reference = Reference { chart: registry.clone(), repo: None, version: Some("1.2.3".to_owned()) };
    let (chart_there, before) = reference.load_saying(Some(&Plain)).expect("a chart");
    compare(before + &show(&chart_there, ShowWhat::Chart).expect("shown"), shown, "show".to_owned());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(theirs(&["repo", "add", "mine", &url]).contains("added"));
    for (chart, version) in [("mine/a", None), ("mine/a", Some("7")), ("mine/zz", None)] {
        let mut args = vec!["template", "r", chart];
        args.extend(version.iter().flat_map(|version| ["--version", version]));
        let fetch = Named(url.clone());
        let around = Around { fetch: Some(std::sync::Arc::new(fetch)), ..Around::default() };
        let ours = TemplateArgs {
            name: Some("r".to_owned()),
            chart: PathBuf::from(chart),
            version: version.map(str::to_owned),
            ..TemplateArgs::default()
        };
        assert_eq!(said(template_on(&ours, &around).map(|output| output.text)), theirs(&args), "{chart} {version:?}");
    }
}

/// The client, and a repository named `mine`.
struct Named(String);

impl Fetch for Named {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        Plain.get(url)
    }
    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        Plain.oci_tags(repository)
    }
    fn oci_chart(&self, reference: &str) -> Result<Pulled, String> {
        Plain.oci_chart(reference)
    }
    fn repository(&self, name: &str) -> Option<String> {
        (name == "mine").then(|| self.0.clone())
    }
}
