//! The actions that are built in, with the programs of a machine that is made up: each program says its version, and `docker` and `rustup`
//! write down how they were called.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::os::unix::fs::PermissionsExt;

use actions::model::{Conclusion, Run};
use support::Bench;

/// Name and script of each program of the machine; `$CALLS` is where calls are written down.
const PROGRAMS: &[(&str, &str)] = &[
    ("node", "echo v20.11.1"),
    ("python3", "echo Python 3.11.4"),
    ("python3.12", "case \"$1\" in --version) echo Python 3.12.3;; *) echo ran 3.12 \"$@\";; esac"),
    ("go", "echo go version go1.22.5 linux/amd64"),
    ("java", "echo 'openjdk version \"21.0.4\" 2024-07-16' >&2"),
    ("rustc", "echo 'rustc 1.80.1 (3f5fd8dd4 2024-08-06)'"),
    (
        "rustup",
        "echo \"rustup $*\" >> \"$CALLS\"\ncase \"$1 $2\" in\n'toolchain list') printf 'stable-x86_64 (active, default)\\n1.75.0-x86_64\\n';;\n'component list') echo clippy-x86_64;;\n'toolchain install') case \"$3\" in 1.79*) ;; *) echo no such toolchain >&2; exit 1;; esac;;\nesac",
    ),
    (
        "docker",
        "cat > \"$CALLS.stdin\"\necho \"docker $*\" >> \"$CALLS\"\ncat \"$CALLS.stdin\" >> \"$CALLS.secret\"\nwhile [ $# -gt 0 ]; do if [ \"$1\" = --metadata-file ]; then echo '{\"containerimage.digest\": \"sha256:abc\", \"containerimage.config.digest\": \"sha256:def\"}' > \"$2\"; fi; shift; done",
    ),
];

struct Seen {
    run: Run,
    story: String,
    calls: String,
}

async fn ran(steps: &str, files: &[(&str, &str)]) -> Seen {
    let flow = format!("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n{steps}");
    let mut all = vec![(".github/workflows/w.yml", flow.as_str())];
    all.extend(files);
    let bench = Bench::new(&all).await;
    let bin = bench.dir.path().join("bin");
    let calls = bench.dir.path().join("calls");
    std::fs::create_dir_all(&bin).unwrap();
    for (name, script) in PROGRAMS {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\nCALLS='{}'\n{script}\n", calls.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    bench.host.path.lock().unwrap().push(bin);
    let run = bench.push().await.remove(0);
    let story = bench.story(&run).await;
    let calls = std::fs::read_to_string(&calls).unwrap_or_default();
    bench.engine.shutdown().await;
    Seen { run, story, calls }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_the_machine_are_taken_when_their_version_fits() {
    let seen = ran(
        r#"
      - uses: actions/checkout@v5
      - {id: n, uses: actions/setup-node@v4, with: {node-version: 20.x, cache: npm}}
      - {id: n2, uses: actions/setup-node@v4, with: {node-version-file: package.json}}
      - {id: p2, uses: actions/setup-python@v5, with: {python-version: "3.14\n>=3.10 <3.12"}}
      - {id: p, uses: actions/setup-python@v5, with: {python-version: '3.12'}}
      - run: python tool.py; python3 tool.py
      - {id: g, uses: actions/setup-go@v5, with: {go-version-file: go.mod}}
      - {id: j, uses: actions/setup-java@v4, with: {distribution: temurin, java-version: '21'}}
      - {uses: actions/setup-node@v4, with: {registry-url: 'https://npm.example/own', scope: '@acme'}}
      - run: echo "MARK $(cat "$NPM_CONFIG_USERCONFIG" | tr '\n' ' ') ${NODE_AUTH_TOKEN:+token}"
      - run: echo "MARK ${{ steps.n.outputs.node-version }} ${{ steps.n2.outputs.node-version }} ${{ steps.p.outputs.python-version }} ${{ steps.p2.outputs.python-version }} ${{ steps.g.outputs.go-version }} ${{ steps.j.outputs.version }} ${JAVA_HOME:+home} ${{ steps.j.outputs.distribution }}"
"#,
        &[("package.json", r#"{"engines": {"node": ">=18"}}"#), ("go.mod", "module x\n\ngo 1.21\n"), ("tool.py", "")],
    )
    .await;
    assert_eq!(seen.run.conclusion, Some(Conclusion::Success), "{}", seen.story);
    has(
        &seen.story,
        &[
            "MARK 20.11.1 20.11.1 3.12.3 3.11.4 1.22.5 21.0.4 home temurin",
            "MARK //npm.example/own/:_authToken=${NODE_AUTH_TOKEN} @acme:registry=https://npm.example/own/  token",
            "ran 3.12 tool.py",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_there_fails_and_says_what_is() {
    for (step, parts) in [
        (
            "{uses: actions/setup-node@v4, with: {node-version: 22}}",
            &["Node.js 22 is not on this machine", "found: 20.11.1"][..],
        ),
        ("{uses: actions/setup-python@v5, with: {python-version: '3.13'}}", &["Python 3.13 is not on this machine"]),
        ("{uses: actions/setup-go@v5, with: {go-version: ^1.23}}", &["Go ^1.23 is not on this machine", "1.22.5"]),
        (
            "{uses: actions/setup-java@v4, with: {java-version: '17', distribution: zulu}}",
            &["Java 17 is not on this machine", "21.0.4"],
        ),
        ("{uses: actions/setup-java@v4, with: {java-version: '21', server-id: central}}", &["server-id"]),
        ("{uses: actions/setup-go@v5, with: {go-version-file: none.mod}}", &["none.mod does not exist"]),
    ] {
        let seen = ran(&format!("      - {step}\n"), &[]).await;
        assert_eq!(seen.run.conclusion, Some(Conclusion::Failure), "{step}: {}", seen.story);
        has(&seen.story, parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_toolchains() {
    let seen = ran(
        r#"
      - {id: a, uses: dtolnay/rust-toolchain@stable, with: {components: 'clippy, rustfmt', targets: wasm32-unknown-unknown}}
      - {id: b, uses: dtolnay/rust-toolchain@1.75.0}
      - {id: c, uses: dtolnay/rust-toolchain@master, with: {toolchain: 1.79.0}}
      - run: echo "MARK ${{ steps.a.outputs.name }} ${{ steps.b.outputs.name }} ${{ steps.c.outputs.name }} $RUSTUP_TOOLCHAIN ${{ steps.c.outputs.rustc-version }}"
"#,
        &[],
    )
    .await;
    assert_eq!(seen.run.conclusion, Some(Conclusion::Success), "{}", seen.story);
    has(&seen.story, &["MARK stable 1.75.0 1.79.0 1.79.0 rustc 1.80.1"]);
    has(
        &seen.calls,
        &["target add wasm32-unknown-unknown --toolchain stable", "component add rustfmt", "toolchain install 1.79.0"],
    );
    assert!(!seen.calls.contains("add clippy") && !seen.calls.contains("install 1.75.0"), "{}", seen.calls);

    let seen = ran("      - uses: actions/checkout@v5\n      - {id: r, uses: actions-rust-lang/setup-rust-toolchain@v1}\n      - run: echo \"MARK $RUSTUP_TOOLCHAIN [$RUSTFLAGS]\"\n", &[("rust-toolchain.toml", "[toolchain]\nchannel = \"1.75.0\"\n")]).await;
    assert_eq!(seen.run.conclusion, Some(Conclusion::Success), "{}", seen.story);
    has(&seen.story, &["MARK 1.75.0 [-D warnings]"]);

    let seen = ran("      - uses: dtolnay/rust-toolchain@nightly-1999-01-01\n", &[]).await;
    assert_eq!(seen.run.conclusion, Some(Conclusion::Failure), "{}", seen.story);
    has(&seen.story, &["the Rust toolchain nightly-1999-01-01 cannot be had", "no such toolchain"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_actions_call_docker() {
    let seen = ran(
        r#"
      - uses: actions/checkout@v5
      - {uses: docker/login-action@v3, with: {registry: registry.example, username: me, password: pass-word-1}}
      - uses: docker/setup-buildx-action@v3
      - {id: m, uses: docker/metadata-action@v5, with: {images: registry.example/me/shop, tags: "type=ref,event=branch\ntype=sha", labels: org.example=1}}
      - id: b
        uses: docker/build-push-action@v6
        with:
          context: app
          file: app/Dockerfile
          push: true
          tags: ${{ steps.m.outputs.tags }}
          labels: ${{ steps.m.outputs.labels }}
          build-args: |
            ONE=1
            TWO=a b
          platforms: linux/amd64
          cache-from: type=gha
      - run: echo "MARK ${{ steps.b.outputs.digest }} ${{ steps.b.outputs.imageid }} ${{ steps.m.outputs.version }} $DOCKER_METADATA_OUTPUT_VERSION"
"#,
        &[("app/Dockerfile", "FROM scratch\n")],
    )
    .await;
    assert_eq!(seen.run.conclusion, Some(Conclusion::Success), "{}", seen.story);
    has(&seen.story, &["MARK sha256:abc sha256:def main main"]);
    assert!(!seen.story.contains("pass-word-1") || !seen.calls.contains("pass-word-1"), "{}", seen.calls);
    let build = seen.calls.lines().find(|line| line.contains("buildx build")).unwrap();
    has(
        build,
        &[
            "--build-arg ONE=1",
            "--build-arg TWO=a b",
            "--tag registry.example/me/shop:main",
            "--tag registry.example/me/shop:sha-",
            "--label org.example=1",
            "--label org.opencontainers.image.revision=",
            "--file app/Dockerfile",
            "--platform linux/amd64",
            "--cache-from type=gha",
            "--push",
        ],
    );
    assert!(build.ends_with(" app"), "{build}");
    let order: Vec<&str> = seen.calls.lines().map(|line| line.split(" --").next().unwrap()).collect();
    assert_eq!(
        order,
        ["docker login", "docker buildx version", "docker buildx build", "docker logout registry.example"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_actions_refuse_what_they_cannot_do() {
    for (step, part) in [
        ("{uses: docker/login-action@v3, with: {username: me}}", "Password required"),
        ("{uses: docker/build-push-action@v6, with: {push: maybe}}", "push"),
        ("{uses: docker/build-push-action@v6, with: {secrets: nothing}}", "ID=VALUE"),
        ("{uses: docker/metadata-action@v5, with: {images: a/b, tags: type=word}}", "type=word"),
    ] {
        let seen = ran(&format!("      - {step}\n"), &[]).await;
        assert_eq!(seen.run.conclusion, Some(Conclusion::Failure), "{step}: {}", seen.story);
        has(&seen.story, &[part]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_go_from_job_to_job() {
    let flow = r#"
on: push
jobs:
  make:
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [1, 2]}}
    steps:
      - run: mkdir -p out/deep; echo ${{ matrix.n }} > out/deep/n.txt; echo no > out/skip.log; echo x > out/.hidden
      - {id: up, uses: actions/upload-artifact@v4, with: {name: "part-${{ matrix.n }}", path: "out\n!out/*.log"}}
      - run: test -n "${{ steps.up.outputs.artifact-id }}" && test -n "${{ steps.up.outputs.artifact-digest }}"
  use:
    needs: make
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/download-artifact@v4, with: {name: part-2, path: one}}
      - {id: all, uses: actions/download-artifact@v4, with: {pattern: part-*, path: all}}
      - {uses: actions/download-artifact@v4, with: {pattern: part-*, merge-multiple: true, path: merged}}
      - run: |
          echo "MARK $(cat one/deep/n.txt) $(cat all/part-1/deep/n.txt) $(find merged -type f | wc -l) $(find . -name '*.log' -o -name '.hidden' | wc -l)"
      - {id: none, continue-on-error: true, uses: actions/download-artifact@v4, with: {name: nothing}}
      - {continue-on-error: true, id: empty, uses: actions/upload-artifact@v4, with: {name: e, path: not-there, if-no-files-found: error}}
      - run: echo "MARK ${{ steps.none.outcome }} ${{ steps.empty.outcome }}"
"#;
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let run = bench.push().await.remove(0);
    let story = bench.story(&run).await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    has(&story, &["MARK 2 1 1 0", "MARK failure failure"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_are_found_by_key_and_by_the_newest_prefix() {
    let flow = r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - {id: c, uses: actions/cache@v4, with: {path: store, key: "k-${{ hashFiles('lock') }}", restore-keys: k-}}
      - run: echo "MARK [${{ steps.c.outputs.cache-hit }}] ${{ steps.c.outputs.cache-matched-key != '' }} $(cat store/v 2>/dev/null)"
      - run: mkdir -p store; cp lock store/v
      - {id: look, uses: actions/cache/restore@v4, with: {path: other, key: nothing, lookup-only: true}}
      - {id: must, continue-on-error: true, uses: actions/cache/restore@v4, with: {path: other, key: nothing, fail-on-cache-miss: true}}
      - run: echo "MARK ${{ steps.must.outcome }}"
"#;
    let bench = Bench::new(&[(".github/workflows/w.yml", flow), ("lock", "one")]).await;
    for (lock, expected) in [
        ("one", "MARK [] false"),
        ("one", "MARK [true] true one"),
        ("two", "MARK [false] true one"),
        ("two", "MARK [true] true two"),
    ] {
        bench.write(&[("lock", lock)]);
        bench.commit("next");
        let run = bench.push().await.remove(0);
        let story = bench.story(&run).await;
        assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
        has(&story, &[expected, "MARK failure"]);
    }
}
