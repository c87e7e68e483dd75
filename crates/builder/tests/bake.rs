//! `docker buildx bake`: what a definition comes to, and what is built of it.

#[path = "engine/bakes.rs"]
mod bakes;
mod support;

use std::process::Command;

use bakes::{BAKES, Bake};
use serde_json::Value;
use support::Docker;

fn written(case: &Bake) -> Docker {
    let mut docker = Docker::new();
    for (path, text) in case.files {
        docker.write(path, text);
    }
    for (name, value) in case.env {
        docker.env.insert((*name).to_owned(), (*value).to_owned());
    }
    docker
}

#[test]
fn definitions_are_read_or_refused() {
    let begin = BAKES.iter().position(|case| case.name == "no definition").expect("the first that is refused");
    for (at, case) in BAKES.iter().enumerate() {
        let done = written(case).docker(&[&["buildx", "bake", "--print"], case.args].concat());
        assert_eq!(done.code == 0, at < begin, "{}\n{}{}", case.name, done.out, done.err);
        if done.code == 0 {
            serde_json::from_str::<Value>(&done.out).expect(case.name);
        } else {
            assert!(done.err.starts_with("ERROR: "), "{}: {}", case.name, done.err);
        }
    }
}

#[test]
#[ignore = "needs Debian's newest docker-buildx: cargo test -p builder --test bake -- --ignored --nocapture"]
fn definitions_come_to_what_buildx_makes_of_them() {
    let Some(root) = judges::debian(env!("CARGO_TARGET_TMPDIR"), "sid", &["docker-buildx"]) else { return };
    let buildx = root.join("usr/libexec/docker/cli-plugins/docker-buildx");
    let mut different = Vec::new();
    for case in BAKES {
        let docker = written(case);
        let mut theirs = Command::new(&buildx);
        theirs.args(["bake", "--print", "--progress", "quiet"]).args(case.args).current_dir(docker.context());
        theirs.env_clear().envs(case.env.iter().copied()).env("HOME", docker.dir.path()).env("PATH", "/usr/bin:/bin");
        let theirs = theirs.output().expect("buildx runs");
        let ours = docker.docker(&[&["buildx", "bake", "--print"], case.args].concat());
        let (out, err) = (String::from_utf8_lossy(&theirs.stdout), String::from_utf8_lossy(&theirs.stderr));
        let same = theirs.status.success() == (ours.code == 0) && out == ours.out;
        println!("{} {}", if same { "same " } else { "OTHER" }, case.name);
        if !same || ours.code != 0 {
            println!("-- buildx\n{out}{err}-- ours\n{}{}", ours.out, ours.err);
        }
        if !same {
            different.push(case.name);
        }
    }
    assert!(different.is_empty(), "{} of {} differ: {different:?}", different.len(), BAKES.len());
}

#[test]
fn targets_are_built_in_the_order_they_need() {
    let docker = Docker::new();
    docker.write("base.txt", "from the base\n").write("app.txt", "from the app\n");
    docker.write(
        "docker-bake.hcl",
        r#"
        variable "TAG" { default = "dev" }
        group "default" { targets = ["app", "inline"] }
        target "base" {
          dockerfile-inline = "FROM scratch\nCOPY base.txt /base.txt\nLABEL from=base\n"
          tags = ["never:given"]
        }
        target "app" {
          dockerfile-inline = "FROM base\nARG WHO\nLABEL who=$${WHO}\nCOPY --from=base /base.txt /again.txt\nCOPY app.txt /\n"
          contexts = { base = "target:base" }
          args = { WHO = "me" }
          tags = ["app:${TAG}"]
        }
        target "inline" {
          name = "inline-${n}"
          matrix = { n = ["1", "2"] }
          dockerfile-inline = "FROM scratch\nLABEL n=${n}\n"
          tags = ["inline:${n}"]
        }
        "#,
    );
    docker.docker(&["buildx", "bake", "--set", "app.args.WHO=set", "--metadata-file", "meta.json"]).ok();
    let label = |image: &str, name: &str| {
        let format = format!("{{{{index .Config.Labels {name:?}}}}}");
        docker.docker(&["inspect", "--format", &format, image]).ok().trim().to_owned()
    };
    assert_eq!((label("app:dev", "from"), label("app:dev", "who")), ("base".to_owned(), "set".to_owned()));
    assert_eq!(label("inline:2", "n"), "2");
    docker.docker(&["inspect", "never:given"]).fails(1);
    docker.docker(&["buildx", "bake", "app", "--set", "app.output=type=local,dest=out"]).ok();
    let read = |name: &str| std::fs::read_to_string(docker.context().join("out").join(name)).expect(name);
    assert_eq!(
        (read("base.txt"), read("again.txt"), read("app.txt")),
        (read("base.txt"), read("base.txt"), "from the app\n".to_owned())
    );
    let meta: Value =
        serde_json::from_str(&std::fs::read_to_string(docker.context().join("meta.json")).expect("metadata"))
            .expect("json");
    let keys: Vec<&String> = meta.as_object().expect("object").keys().collect();
    assert_eq!(keys, ["app", "inline-1", "inline-2"]);
    assert_eq!(meta["app"]["image.name"], "docker.io/library/app:dev");
    // What fails is named.
    let wrong = docker.docker(&["buildx", "bake", "app", "--set", "app.dockerfile-inline=x"]);
    assert!(wrong.fails(1).contains("unknown key: dockerfile-inline"));
    docker.write("broken.hcl", "target \"default\" { dockerfile-inline = \"FROM scratch\\nCOPY none /\\n\" }");
    let wrong = docker.docker(&["buildx", "bake", "-f", "broken.hcl"]).fails(1);
    assert!(wrong.contains("target default: ") && wrong.contains("COPY none /"), "{wrong}");
}

#[test]
fn lists_of_targets_and_variables() {
    let docker = Docker::new();
    docker.write(
        "docker-bake.hcl",
        "variable \"TAG\" {\n  default = \"dev\"\n  description = \"what to call it\"\n}\ntarget \"_hidden\" {}\ntarget \"app\" { description = \"the app\" }\ngroup \"default\" { targets = [\"app\"] }\n",
    );
    insta::assert_snapshot!(docker.docker(&["buildx", "bake", "--list", "targets"]).ok(), @r"
    TARGET  DESCRIPTION
    app     the app
    default app
    ");
    insta::assert_snapshot!(docker.docker(&["buildx", "bake", "--list=variables"]).ok(), @r"
    VARIABLE        VALUE   DESCRIPTION
    TAG             dev     what to call it
    ");
    let refused = docker.write("p.hcl", "variable \"N\" {\n  default = 1\n  validation {\n    condition = N > 1\n    error_message = \"too few\"\n  }\n}\ntarget \"default\" {}\n");
    assert!(refused.docker(&["buildx", "bake", "-f", "p.hcl", "--print"]).fails(1).contains("too few"));
    docker.docker(&["buildx", "bake", "-f", "p.hcl", "--print", "--var", "N=2"]).ok();
    docker.write("i.hcl", "target \"default\" {\n  entitlements = [\"security.insecure\"]\n  dockerfile-inline = \"FROM scratch\\n\"\n}\n");
    assert!(docker.docker(&["buildx", "bake", "-f", "i.hcl"]).fails(1).contains("--allow security.insecure"));
    docker.docker(&["buildx", "bake", "-f", "i.hcl", "--allow", "security.insecure"]).ok();
}
