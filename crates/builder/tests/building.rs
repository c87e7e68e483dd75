//! Building without a registry: what is cached, what is reproducible, what is refused.

mod support;

use support::{Docker, busybox};

const TWO_STAGES: &str = "FROM scratch AS assets\nCOPY assets /out/\nFROM scratch AS unneeded\nCOPY missing /\nFROM scratch\nARG REVISION=none\n\
    LABEL revision=$REVISION\nCOPY --from=assets /out /srv\nCOPY app /app\nENTRYPOINT [\"/app\"]\n";

fn two_stages() -> Docker {
    let docker = Docker::new();
    docker.write("assets/a.css", "a").write("assets/b.css", "b").write_mode("app", "binary", 0o755);
    docker
}

#[test]
fn the_same_input_gives_the_same_digest_anywhere() {
    let (one, two) = (two_stages(), two_stages());
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::open(two.context().join("app")).unwrap().set_modified(old).unwrap();
    for docker in [&one, &two] {
        docker.build(TWO_STAGES, &["-t", "x", "--build-arg", "REVISION=1"]).ok();
    }
    assert_eq!(one.digest("x"), two.digest("x"));
    one.build(TWO_STAGES, &["-t", "y", "--build-arg", "REVISION=2"]).ok();
    assert_ne!(one.digest("x"), one.digest("y"));
    one.build(
        TWO_STAGES,
        &["-t", "z", "--build-arg", "REVISION=1", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--no-cache"],
    )
    .ok();
    assert_eq!(one.docker(&["inspect", "-f", "{{.Created}}", "z"]).ok().trim(), "2023-11-14T22:13:20Z");
    assert_eq!(one.docker(&["inspect", "-f", "{{.Created}}", "x"]).ok().trim(), "1970-01-01T00:00:00Z");
}

#[test]
fn a_change_rebuilds_only_what_depends_on_it() {
    let docker = two_stages();
    let steps = |docker: &Docker| Docker::steps(&docker.build(TWO_STAGES, &["-t", "x"]).err);
    let all = ["COPY --from=assets /out /srv", "COPY app /app", "COPY assets /out/"];
    assert_eq!(steps(&docker).0, all);
    assert_eq!(steps(&docker), (vec![], all.map(str::to_owned).to_vec()));
    docker.write_mode("app", "other binary", 0o755);
    assert_eq!(steps(&docker), (vec!["COPY app /app".to_owned()], vec![all[0].to_owned(), all[2].to_owned()]));
    // A touched file is the same file.
    std::fs::File::open(docker.context().join("app")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(steps(&docker).0, Vec::<String>::new());
    // A mode is content.
    docker.write_mode("app", "other binary", 0o700);
    assert_eq!(steps(&docker).0, ["COPY app /app"]);
    // Files outside of what is copied are not looked at.
    docker.write("elsewhere", "x");
    assert_eq!(steps(&docker).0, Vec::<String>::new());
    // A stage that comes out the same leaves those that copy from it alone.
    let other = TWO_STAGES.replace("COPY assets /out/", "COPY assets/a.css assets/b.css /out/");
    let (ran, cached) = Docker::steps(&docker.build(&other, &["-t", "x"]).err);
    assert_eq!((ran, cached.len()), (vec!["COPY assets/a.css assets/b.css /out/".to_owned()], 2));
}

#[test]
fn targets_and_unneeded_stages() {
    let docker = two_stages();
    docker.build(TWO_STAGES, &["--target", "assets", "-t", "a"]).ok();
    docker.build(TWO_STAGES, &["--target", "ASSETS", "-t", "b"]).ok();
    docker.build(TWO_STAGES, &["--target", "0"]).fails(1);
    assert_eq!(docker.digest("a"), docker.digest("b"));
    let wrong = docker.build(TWO_STAGES, &["--target", "nope"]).fails(1);
    assert!(wrong.contains("target stage \"nope\" could not be found"), "{wrong}");
    let wrong = docker.build(TWO_STAGES, &["--target", "unneeded"]).fails(1);
    assert!(wrong.contains("\"/missing\": not found") && wrong.contains("4 | >>> COPY missing /"), "{wrong}");
}

#[test]
fn many_builds_at_once() {
    let docker = two_stages();
    std::thread::scope(|scope| {
        let work: Vec<_> = (0..12)
            .map(|number| {
                let docker = &docker;
                scope.spawn(move || {
                    let revision = format!("REVISION={}", number % 4);
                    docker.build(TWO_STAGES, &["-q", "-t", &format!("x:{number}"), "--build-arg", &revision]).ok()
                })
            })
            .collect();
        let ids: Vec<String> = work.into_iter().map(|one| one.join().unwrap()).collect();
        for number in 0..12 {
            assert_eq!(ids[number], ids[number % 4]);
        }
    });
    assert_eq!(docker.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().lines().count(), 12);
    let ids = docker.docker(&["images", "-q"]).ok();
    assert_eq!(ids.lines().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn links_do_not_lead_out_of_the_context() {
    let docker = Docker::new();
    std::fs::write(docker.dir.path().join("outside"), "host secret").unwrap();
    docker.link("up", "../outside").link("absolute", "/etc/passwd").link("loop", "loop").write("real", "x");
    for source in ["up", "absolute", "loop", "../outside", "/../outside"] {
        let wrong = docker.build(&format!("FROM scratch\nCOPY {source} /x\n"), &[]).fails(1);
        assert!(wrong.contains("not found") || wrong.contains("too many links"), "{source}: {wrong}");
    }
    // As part of a directory, a link is copied as a link.
    docker.build("FROM scratch\nCOPY . /all/\n", &["-t", "x"]).ok();
}

#[test]
fn hostile_archives_are_refused() {
    let docker = Docker::new();
    for (name, entry) in [
        ("climbing", oci::tar::Entry::file("../../escaped", 0)),
        ("hard", oci::tar::Entry::hard_link("inside", "../../../etc/passwd")),
    ] {
        let mut archive = Vec::new();
        oci::tar::write_entry(&mut archive, &entry).unwrap();
        archive.resize(archive.len() + 1024, 0);
        docker.write("evil.tar", &archive);
        let wrong = docker.build("FROM scratch\nADD evil.tar /x/\n", &[]).fails(1);
        assert!(wrong.contains("out of the tree"), "{name}: {wrong}");
    }
    assert!(!docker.dir.path().join("escaped").exists());
}

#[test]
fn archives_and_layouts_keep_the_digest() {
    let docker = two_stages();
    docker.build(TWO_STAGES, &["-t", "me/x:1"]).ok();
    let digest = docker.digest("me/x:1");
    docker.docker(&["save", "-o", "x.tar", "me/x:1"]).ok();
    let other = Docker::new();
    let loaded = other.docker(&["load", "-i", docker.context().join("x.tar").to_str().unwrap()]).ok();
    assert_eq!(loaded, "Loaded image: me/x:1\n");
    assert_eq!(other.digest("me/x:1"), digest);
    docker.build(TWO_STAGES, &["-o", "type=oci,dest=y.tar"]).ok();
    docker.build(TWO_STAGES, &["-o", "out"]).ok();
    assert_eq!(std::fs::read_to_string(docker.context().join("out/srv/a.css")).unwrap(), "a");
    let wrong = other.with_input(&["load"], b"not an archive at all").fails(1);
    assert!(wrong.contains("invalid archive"), "{wrong}");
}

#[test]
fn removing_images_frees_their_blobs() {
    let docker = two_stages();
    docker.build(TWO_STAGES, &["-t", "x", "-t", "y"]).ok();
    let blobs = || std::fs::read_dir(docker.dir.path().join("state/images/blobs/sha256")).unwrap().count();
    assert!(blobs() > 0);
    assert_eq!(docker.docker(&["rmi", "x"]).ok(), "Untagged: x:latest\n");
    assert!(blobs() > 0);
    assert!(docker.docker(&["rmi", "y"]).ok().contains("Deleted: sha256:"));
    assert_eq!(blobs(), 0);
    docker.docker(&["rmi", "y"]).fails(1);
}

#[test]
fn named_contexts_and_other_sources() {
    let docker = two_stages();
    docker.build("FROM scratch\nCOPY app /from-image\n", &["-t", "base"]).ok();
    let text = "FROM base\nCOPY --from=more extra /x\nCOPY --from=picture /from-image /y\n";
    std::fs::create_dir_all(docker.dir.path().join("more")).unwrap();
    std::fs::write(docker.dir.path().join("more/extra"), "e").unwrap();
    docker
        .build(text, &["-t", "x", "--build-context", "more=../more", "--build-context", "picture=docker-image://base"])
        .ok();
    docker.with_input(&["build", "-t", "y", "-"], b"FROM base\nENV A=1\n").ok();
    let mut archive = Vec::new();
    for (name, text) in [("Dockerfile", "FROM scratch\nCOPY f /f\n"), ("f", "content")] {
        oci::tar::write_entry(&mut archive, &oci::tar::Entry::file(name, text.len() as u64)).unwrap();
        archive.extend_from_slice(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    docker.with_input(&["build", "-t", "z", "-"], &archive).ok();
}

#[test]
fn several_platforms_share_a_name() {
    let docker = two_stages();
    let text = "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY app /app\n";
    docker.build(text, &["-t", "x", "--platform", "linux/amd64,linux/arm64"]).ok();
    docker.docker(&["save", "-o", "x.tar", "x"]).ok();
    let shown = docker.docker(&["inspect", "-f", "{{.Descriptor.mediaType}} {{.Config.Labels.arch}}", "x"]).ok();
    assert!(shown.starts_with("application/vnd.oci.image.index.v1+json "), "{shown}");
    docker.build(text, &["-t", "y", "--platform", "linux/arm64"]).ok();
    assert_eq!(
        docker.docker(&["inspect", "-f", "{{.Architecture}} {{.Config.Labels.arch}}", "y"]).ok(),
        "arm64 arm64\n"
    );
    assert_eq!(docker.docker(&["images", "-q"]).ok().lines().count(), 2);
}

#[test]
fn run_steps_in_containers() {
    let Some(busybox) = busybox() else { return };
    let docker = Docker::new();
    docker.write_mode("busybox", std::fs::read(busybox).unwrap(), 0o755).write("input", "from the context\n");
    std::fs::write(docker.dir.path().join("secret"), "hidden").unwrap();
    let text = "FROM scratch AS base\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
        FROM base\nARG WHO=nobody\nWORKDIR /w\nRUN --mount=type=bind,source=input,target=/in --mount=type=cache,target=/c \\\n  cat /in > copy && echo $WHO >> /c/log && wc -l < /c/log > count\n\
        RUN --mount=type=secret,id=s cat /run/secrets/s | wc -c > size\nRUN <<EOF\nset -e\necho heredoc > doc\nEOF\n";
    let args = ["-t", "x", "--secret", "id=s,src=../secret", "-o", "out"];
    let first = docker.build(text, &args);
    let (ran, _) = Docker::steps(&first.err);
    first.ok();
    assert_eq!(ran.iter().filter(|step| step.starts_with("RUN")).count(), 4);
    let read = |name: &str| std::fs::read_to_string(docker.context().join("out/w").join(name)).unwrap();
    assert_eq!(
        (read("copy").as_str(), read("count").trim(), read("size").trim(), read("doc").as_str()),
        ("from the context\n", "1", "6", "heredoc\n")
    );
    let digest = docker.digest("x");
    // Another secret is not another input; another argument is; the cache mount stays.
    std::fs::write(docker.dir.path().join("secret"), "another").unwrap();
    assert_eq!(Docker::steps(&docker.build(text, &args).err).0, Vec::<String>::new());
    docker.build(text, &[&args[..], &["--build-arg", "WHO=me"]].concat()).ok();
    assert_eq!(read("count").trim(), "2");
    docker.build(text, &[&args[..], &["--no-cache", "-t", "y"]].concat()).ok();
    assert_ne!(docker.digest("y"), digest, "the cache mount counts");
    {
        let entry = "state/cache/work";
        assert_eq!(std::fs::read_dir(docker.dir.path().join(entry)).unwrap().count(), 0, "{entry} is left empty");
    }
    let wrong = docker.build(&format!("{text}RUN echo before && exit 7\n"), &args).fails(1);
    assert!(
        wrong.contains("15 | >>> RUN echo before && exit 7")
            && wrong.contains("exit code: 7")
            && wrong.contains("before"),
        "{wrong}"
    );
    // Steps that change nothing, and a layer that comes twice.
    let again = "RUN true\nRUN echo a > /a\nRUN echo b > /a\nRUN true\nRUN echo a > /a\nRUN cat /a > /seen\n";
    docker.build(&format!("{text}{again}"), &args).ok();
    assert_eq!(std::fs::read_to_string(docker.context().join("out/seen")).unwrap(), "a\n");
    let wrong = docker.build("FROM scratch\nRUN [\"/nothing\"]\n", &[]).fails(1);
    assert!(wrong.contains("exit code: 127"), "{wrong}");
}
