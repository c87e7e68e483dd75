//! `dependency update|build|list` and `template` with charts of a repository, through this crate and through the real program
//! `helm`, both from one server on this machine: what is said, the lock, and what is in `charts/`.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use helm::cli::dependency::pack;
use helm::cli::{Around, Fetch, TemplateArgs, dependency_build, dependency_list, dependency_update, template_on};
use sha2::Digest as _;

/// Serves files until the test ends.
fn serve(files: impl Fn(&str) -> BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let files = files(&url);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(&stream).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let (status, body) = match files.get(&path) {
                Some(body) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", &b""[..]),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    url
}

/// A client for that server.
struct Plain;

impl Fetch for Plain {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let (host, path) = url.trim_start_matches("http://").split_once('/').ok_or("no path")?;
        let mut stream = TcpStream::connect(host).map_err(|e| e.to_string())?;
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").map_err(|e| e.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|e| e.to_string())?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no head")?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ");
        if status == "200 OK" { Ok(body) } else { Err(format!("failed to fetch {url} : {status}")) }
    }
    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        Err(format!("{repository} is not there"))
    }
    fn oci_chart(&self, reference: &str) -> Result<Vec<u8>, String> {
        Err(format!("{reference} is not there"))
    }
}

fn repository() -> String {
    serve(|url| {
        let mut files = BTreeMap::new();
        let mut index = "apiVersion: v1\nentries:\n".to_owned();
        for (name, versions) in [("a", vec!["1.2.3", "1.3.0", "2.0.0-rc.1"]), ("b", vec!["0.1.0+build.5"])] {
            index.push_str(&format!("  {name}:\n"));
            for version in versions {
                let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
                let chart = [("Chart.yaml", chart), ("templates/x.yaml", format!("{name}: {version}\n"))];
                let chart = chart.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect();
                let archive = pack(name, &chart).expect("packed");
                let digest = hex::encode(sha2::Sha256::digest(&archive));
                let file = format!("{name}-{version}.tgz");
                // One by its whole URL, the other by its place in the repository.
                let place = if name == "a" { file.clone() } else { format!("{url}/{file}") };
                index.push_str(&format!(
                    "  - {{apiVersion: v2, name: {name}, version: {version}, digest: {digest}, urls: ['{place}']}}\n"
                ));
                files.insert(file, archive);
            }
        }
        files.insert("index.yaml".to_owned(), index.into_bytes());
        files
    })
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
    let url = repository();
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
    ];
    let place = root.display().to_string();
    for dependency in &dependencies {
        for verb in ["update", "build"] {
            chart(&root, dependency);
            let theirs = state(&root, theirs(&["dependency", verb, &place]));
            chart(&root, dependency);
            let how = if verb == "update" { dependency_update } else { dependency_build };
            let ours = state(&root, said(how(&root, &Plain).map(|built| built.text)));
            assert_eq!(ours, theirs, "{verb} of {dependency}");
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
    fn oci_chart(&self, reference: &str) -> Result<Vec<u8>, String> {
        Plain.oci_chart(reference)
    }
    fn repository(&self, name: &str) -> Option<String> {
        (name == "mine").then(|| self.0.clone())
    }
}
