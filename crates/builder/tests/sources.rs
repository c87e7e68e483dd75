//! Where files come from besides directories: git repositories and web addresses, as contexts and in `ADD`; and where images
//! go besides the local ones.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use support::{Docker, busybox};

/// A repository that `https://git.example/me/app.git` leads to, by a setting in git's environment.
struct Repository {
    dir: tempfile::TempDir,
    commit: String,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Repository {
    fn new() -> Repository {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("me/app.git");
        std::fs::create_dir_all(work.join("sub")).unwrap();
        git(&work, &["init", "--quiet"]);
        std::fs::write(work.join("Dockerfile"), "FROM scratch\nCOPY . /all\n").unwrap();
        std::fs::write(work.join("sub/Dockerfile"), "FROM scratch\nLABEL where=sub\nCOPY file /\n").unwrap();
        std::fs::write(work.join("sub/file"), "first\n").unwrap();
        git(&work, &["add", "."]);
        git(&work, &["commit", "--quiet", "-m", "first"]);
        let commit = git(&work, &["rev-parse", "HEAD"]);
        git(&work, &["tag", "v1"]);
        std::fs::write(work.join("sub/file"), "second\n").unwrap();
        git(&work, &["commit", "--quiet", "-am", "second"]);
        Repository { dir, commit }
    }
}

/// Our `docker` as a process, so that git sees its environment.
fn run(docker: &Docker, repository: &Repository, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(docker.helper())
        .args(args)
        .current_dir(docker.context())
        .envs(&docker.env)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", format!("url.{}/.insteadOf", repository.dir.path().display()))
        .env("GIT_CONFIG_VALUE_0", "https://git.example/")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn ok(docker: &Docker, repository: &Repository, args: &[&str]) -> String {
    let (code, out, err) = run(docker, repository, args);
    assert_eq!(code, 0, "{args:?}\n{out}{err}");
    out
}

/// The files of a build, written to a directory.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(&at).unwrap().flatten() {
            let name = entry.path().strip_prefix(dir).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                out.insert(name, std::fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
    out
}

#[test]
fn a_repository_is_a_context() {
    let (docker, repository) = (Docker::new(), Repository::new());
    let built = |address: &str, more: &[&str]| {
        let out = docker.dir.path().join("out");
        let _ = std::fs::remove_dir_all(&out);
        let dest = format!("type=local,dest={}", out.display());
        ok(&docker, &repository, &[&["build", "--output", &dest], more, &[address]].concat());
        files(&out)
    };
    let whole = built("https://git.example/me/app.git", &[]);
    assert_eq!(whole.keys().collect::<Vec<_>>(), ["all/Dockerfile", "all/sub/Dockerfile", "all/sub/file"]);
    assert_eq!(whole["all/sub/file"], "second\n");
    assert_eq!(built("https://git.example/me/app.git#v1:sub", &[])["file"], "first\n");
    let at_commit = format!("https://git.example/me/app.git#{}:sub", repository.commit);
    assert_eq!(built(&at_commit, &["-f", "Dockerfile"])["file"], "first\n");
    assert_eq!(built("https://git.example/me/app.git?tag=v1&subdir=sub", &[])["file"], "first\n");
    let with_git = built("https://git.example/me/app.git", &["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]);
    assert!(with_git.contains_key("all/.git/HEAD"));
    for (address, said) in [
        ("https://git.example/me/app.git#nothing", "nothing"),
        ("https://git.example/me/app.git#main:nothing", "is not a directory of the repository"),
        ("https://git.example/me/app.git#main:../..", "leads out of the repository"),
        ("https://git.example/me/app.git?what=1", "unexpected query"),
    ] {
        let (code, _, err) = run(&docker, &repository, &["build", address]);
        assert!(code == 1 && err.contains(said), "{address}: {err}");
    }
}

#[test]
fn repositories_are_added_and_named() {
    let (docker, repository) = (Docker::new(), Repository::new());
    let commit = &repository.commit;
    docker.write(
        "Dockerfile",
        format!(
            "FROM scratch\nADD --checksum={} https://git.example/me/app.git#v1:sub /one\nCOPY --from=src file /two\n",
            &commit[..7]
        ),
    );
    let out = docker.dir.path().join("out").display().to_string();
    let named = ["--build-context", "src=https://git.example/me/app.git#main:sub"];
    ok(&docker, &repository, &[&["build", "-o", &out], &named[..], &["."]].concat());
    let got = files(Path::new(&out));
    assert_eq!((got["one/file"].as_str(), got["two"].as_str()), ("first\n", "second\n"));
    docker.write("Dockerfile", "FROM scratch\nADD --checksum=abcdef0 https://git.example/me/app.git#v1 /one\n");
    let (code, _, err) = run(&docker, &repository, &["build", "."]);
    assert!(code == 1 && err.contains("expected checksum to match abcdef0"), "{err}");
    docker.write("Dockerfile", "FROM scratch\nADD --checksum=sha256:0000 Dockerfile /one\n");
    let (code, _, err) = run(&docker, &repository, &["build", "."]);
    assert!(code == 1 && err.contains("checksum can't be specified for"), "{err}");
}

/// Serves each path once or more; notes the `Authorization` that came with it.
struct Web {
    address: String,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

fn web(pages: Vec<(&'static str, Vec<u8>)>) -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let noted = seen.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            let mut authorization = String::new();
            for line in lines.take_while(|line| !line.is_empty()) {
                if let Some((name, value)) = line.split_once(": ")
                    && name.eq_ignore_ascii_case("authorization")
                {
                    authorization = value.to_owned();
                }
            }
            noted.lock().unwrap().push((path.clone(), authorization));
            let page = pages.iter().find(|(known, _)| *known == path);
            let (status, body) = page.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    Web { address, seen }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, text) in files {
        oci::tar::write_entry(&mut out, &oci::tar::Entry::file(*name, text.len() as u64)).unwrap();
        out.extend_from_slice(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn the_web_gives_contexts_dockerfiles_and_files() {
    let docker = Docker::new();
    let text = "FROM scratch\nLABEL from=web\n";
    let context = archive(&[("Dockerfile", "FROM scratch\nCOPY file /got\n"), ("file", "from the web\n")]);
    let sha = format!("sha256:{}", oci::Digest::of(b"a file").hex());
    let web = web(vec![("/Dockerfile", text.into()), ("/context.tar", context), ("/file", b"a file".to_vec())]);
    let out = docker.dir.path().join("out").display().to_string();
    docker.docker(&["build", "-q", "-t", "text", &format!("{}/Dockerfile", web.address)]).ok();
    assert_eq!(docker.docker(&["inspect", "-f", "{{.Config.Labels.from}}", "text"]).ok(), "web\n");
    docker.docker(&["build", "-o", &out, &format!("{}/context.tar", web.address)]).ok();
    assert_eq!(files(Path::new(&out))["got"], "from the web\n");
    docker.docker(&["build", "-f", &format!("{}/Dockerfile", web.address), "-q", "-t", "other", "."]).ok();
    // Secrets are for their host, and what is known by its digest is not fetched again.
    let host = web.address.strip_prefix("http://").unwrap();
    docker.write("token", "let-me-in\n");
    let secret = format!("id=HTTP_AUTH_TOKEN_{host},src=token");
    let dockerfile = format!("FROM scratch\nADD --checksum={sha} {}/file /f\n", web.address);
    docker.build(&dockerfile, &["--secret", &secret]).ok();
    let asked = || web.seen.lock().unwrap().iter().filter(|(path, _)| path == "/file").cloned().collect::<Vec<_>>();
    assert_eq!(asked(), [("/file".to_owned(), "Bearer let-me-in".to_owned())]);
    docker.build(&dockerfile, &["--no-cache"]).ok();
    assert_eq!(asked().len(), 1);
    let wrong = docker.build(&format!("FROM scratch\nADD {}/none /f\n", web.address), &[]).fails(1);
    assert!(wrong.contains("invalid response status 404"), "{wrong}");
    let wrong = docker.docker(&["build", &format!("{}/none", web.address)]).fails(1);
    assert!(wrong.contains("invalid response status 404"), "{wrong}");
    let wrong = docker.docker(&["build", "-f", "-", "-"]).fails(1);
    assert!(wrong.contains("can't use stdin for both build context and dockerfile"), "{wrong}");
}

#[test]
fn standard_input_is_a_dockerfile_or_an_archive() {
    let docker = Docker::new();
    docker.with_input(&["build", "-q", "-t", "text", "-"], b"FROM scratch\nLABEL a=stdin\n").ok();
    let context = archive(&[("d/Other", "FROM scratch\nCOPY f /got\n"), ("f", "x\n"), (".dockerignore", "nothing\n")]);
    let out = docker.dir.path().join("out").display().to_string();
    docker.with_input(&["build", "-f", "d/Other", "-o", &out, "-"], &context).ok();
    assert_eq!(files(Path::new(&out))["got"], "x\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&context).unwrap();
    docker.with_input(&["build", "-f", "d/Other", "-q", "-t", "packed", "-"], &packed.finish().unwrap()).ok();
}

#[test]
fn outputs_are_files_directories_and_layouts() {
    let docker = Docker::new();
    docker.write("f", "content").write("with,comma", "c");
    let path = |name: &str| docker.dir.path().join(name).display().to_string();
    let text = "FROM scratch\nCOPY --chown=5:6 --chmod=4711 f /d/f\nCOPY f /gone\n";
    docker.build(text, &["-o", &format!("type=tar,dest={}", path("t.tar"))]).ok();
    let mut reader = oci::tar::Reader::new(std::fs::File::open(path("t.tar")).unwrap());
    let mut seen = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        seen.push(format!(
            "{} {:o} {}:{}",
            String::from_utf8_lossy(&entry.path),
            entry.mode & 0o7777,
            entry.uid,
            entry.gid
        ));
    }
    assert_eq!(seen, ["d/ 755 5:6", "d/f 4711 5:6", "gone 644 0:0"]);
    let piped = docker.build(text, &["-o", "type=tar"]);
    assert!(piped.code == 0 && piped.out.contains("ustar"), "{}", piped.err);
    docker.build(text, &["-t", "me/app:1", "-o", &format!("type=oci,tar=false,dest={}", path("layout"))]).ok();
    let layout = oci::layout::Layout::open(path("layout")).unwrap();
    let digest = layout.resolve("1").unwrap().expect("the tag").digest.to_string();
    docker
        .build(
            "FROM base\n",
            &["--build-context", &format!("base=oci-layout://{}:1", path("layout")), "-q", "-t", "child"],
        )
        .ok();
    docker.build(text, &["-t", "me/app:1", "--iidfile", &path("iid"), "--metadata-file", &path("meta")]).ok();
    let metadata: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path("meta")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(metadata["image.name"], "docker.io/me/app:1");
    assert_eq!(metadata["containerimage.config.digest"], std::fs::read_to_string(path("iid")).unwrap());
    // One directory for each platform.
    docker.build("FROM scratch\nCOPY f /f\n", &["--platform=linux/amd64,linux/arm64", "-o", &path("many")]).ok();
    assert_eq!(files(Path::new(&path("many"))).keys().collect::<Vec<_>>(), ["linux_amd64/f", "linux_arm64/f"]);
    for (output, said) in [
        ("type=odd", "output type \"odd\" is not supported"),
        ("type=local", "dest= must name a directory"),
        ("type=image,oci-mediatypes=odd", "non-bool value specified"),
        ("type=image,push-by-digest=true,push=true", "push-by-digest needs name="),
    ] {
        let wrong = docker.build(text, &["-o", output]).fails(1);
        assert!(wrong.contains(said), "{output}: {wrong}");
    }
}

#[test]
fn docker_types_where_they_are_asked_for() {
    let docker = Docker::new();
    docker.write("f", "content");
    let json = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let images = docker.dir.path().join("state/images");
    let types = |output: &str, more: &[&str]| {
        docker.build("FROM scratch\nCOPY f /f\n", &[&["-t", "typed", "-o", output], more].concat()).ok();
        let index = json(images.join("index.json"));
        let named = |entry: &&serde_json::Value| {
            entry["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .is_some_and(|name| name.contains("typed"))
        };
        let entry = index["manifests"].as_array().unwrap().iter().find(named).unwrap();
        let blob = |of: &serde_json::Value| images.join("blobs").join(of["digest"].as_str().unwrap().replace(':', "/"));
        let mut top = json(blob(entry));
        assert_eq!(top["mediaType"], entry["mediaType"]);
        if let Some(children) = top["manifests"].as_array().cloned() {
            top = json(blob(&children[0]));
        }
        [&entry["mediaType"], &top["mediaType"], &top["config"]["mediaType"], &top["layers"][0]["mediaType"]]
            .map(|found| found.as_str().unwrap().to_owned())
    };
    use oci::media::*;
    let of_docker = [DOCKER_MANIFEST, DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP];
    assert_eq!(types("type=image,oci-mediatypes=false", &[]), of_docker);
    assert_eq!(types("type=image,oci-mediatypes=false,compression=uncompressed", &[])[3], DOCKER_LAYER);
    assert_eq!(types("type=image", &[])[1..], [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP]);
    let both = "--platform=linux/amd64,linux/arm64";
    assert_eq!(types("type=image,oci-mediatypes=false", &[both])[..2], [DOCKER_LIST, DOCKER_MANIFEST]);
    // What Docker's types cannot say needs OCI's.
    assert_eq!(types("type=image,oci-mediatypes=false,compression=zstd", &[])[3], OCI_LAYER_ZSTD);
    assert_eq!(types("type=image,oci-mediatypes=false", &["--annotation", "a=b"])[0], OCI_MANIFEST);
}

#[test]
fn triggers_may_read_stages_that_only_they_name() {
    let docker = Docker::new();
    docker.write("f", "content");
    docker
        .build(
            "FROM scratch\nONBUILD COPY --from=build /made /taken\nONBUILD COPY --from=ctx x /y\n",
            &["-q", "-t", "base"],
        )
        .ok();
    std::fs::create_dir_all(docker.dir.path().join("ctx")).unwrap();
    std::fs::write(docker.dir.path().join("ctx/x"), "named").unwrap();
    let out = docker.dir.path().join("out").display().to_string();
    let context = format!("ctx={}", docker.dir.path().join("ctx").display());
    let text =
        "FROM scratch AS deeper\nCOPY f /deep\nFROM scratch AS build\nCOPY --from=deeper /deep /made\nFROM base\n";
    docker.build(text, &["--build-context", &context, "-o", &out]).ok();
    let got = files(Path::new(&out));
    assert_eq!((got["taken"].as_str(), got["y"].as_str()), ("content", "named"));
}

#[test]
fn one_stage_is_built_anew() {
    let docker = Docker::new();
    docker.write("f", "content");
    let text = "FROM scratch AS one\nCOPY f /1\nFROM scratch AS two\nCOPY f /2\nCOPY --from=one /1 /3\n";
    docker.build(text, &[]).ok();
    let done = docker.build(text, &["--no-cache-filter", "one"]);
    let (ran, cached) = Docker::steps(&done.err);
    assert_eq!((ran.as_slice(), cached.len()), (&["COPY f /1".to_owned()][..], 2), "{}", done.err);
}

#[test]
fn runs_have_the_limits_that_they_were_given() {
    let Some(busybox) = busybox() else { return };
    let docker = Docker::new();
    std::fs::copy(busybox, docker.context().join("busybox")).unwrap();
    let text = "FROM scratch\nCOPY busybox /bin/sh\nRUN [ $(ulimit -n) = 64 ] && [ $(ulimit -Hn) = 128 ]\n\
                RUN read -r name < /proc/sys/kernel/hostname && [ $name = here ]\n";
    let args = ["--ulimit", "nofile=64:128", "--shm-size=1m", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=here"];
    docker.build(text, &args).ok();
    let mounts = "FROM scratch\nCOPY busybox /bin/sh\nRUN while read -r a b c d e; do [ $b = /dev/shm ] && echo $d; done < /proc/mounts | while read -r o; do case $o in *size=1024k*) exit 9;; esac; done\n";
    assert!(docker.build(mounts, &args).fails(1).contains("exit code: 9"));
    let wrong = docker.build("FROM scratch\n", &["--ulimit", "what=1"]).fails(125);
    assert!(wrong.contains("invalid ulimit type: what"), "{wrong}");
}
