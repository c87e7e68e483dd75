//! The reference judges: the same Dockerfiles built by a Docker Engine and by this builder give the same files, modes, owners,
//! configuration and history shape.
//!
//! Needs root and about a minute. Uses the `dockerd` and `busybox` on the PATH, else fetches Debian's packages into the target
//! directory without installing them. Run with: `cargo test -p builder --test docker_engine -- --ignored --nocapture`.

#[path = "engine/cases.rs"]
mod cases;
#[path = "engine/daemon.rs"]
mod daemon;
#[path = "engine/image.rs"]
mod image;
#[path = "engine/more.rs"]
mod more;

use std::path::{Path, PathBuf};
use std::process::Command;

use cases::{CASES, Case, Expect};
use daemon::Engine;

/// Our `docker`, as a program.
fn ours() -> PathBuf {
    let tests = std::env::current_exe().expect("the test has a path");
    let dir = tests.parent().and_then(Path::parent).expect("target/debug/deps");
    let program = dir.join("examples/docker");
    assert!(program.exists(), "build it first: cargo build -p builder --example docker");
    program
}

struct Outcome {
    ok: bool,
    talk: String,
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap_or_else(|wrong| panic!("{command:?}: {wrong}"));
    let talk = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Outcome { ok: output.status.success(), talk }
}

fn build(docker: &mut Command, dockerfile: &str, case: &Case, context: &Path, tag: &str) -> Outcome {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), dockerfile).expect("write");
    let secret = context.parent().expect("parent").join("secret");
    docker.args(["build", "--tag", tag, "--file"]).arg(file.path());
    docker.args(case.args.iter().map(|arg| arg.replace("@SECRET@", &secret.to_string_lossy())));
    run(docker.arg(context.join(case.context)))
}

#[test]
#[ignore = "needs root and a Docker Engine, takes a minute: cargo test -p builder --test docker_engine -- --ignored --nocapture"]
fn images_are_those_of_a_docker_engine() {
    assert!(CASES.len() >= 60, "{} cases", CASES.len());
    let engine = Engine::start("vfs");
    let home = tempfile::tempdir().expect("temporary directory");
    let context = home.path().join("context");
    cases::write_context(&context);
    std::fs::write(home.path().join("secret"), "hidden\n").expect("write");
    let ours_path = ours();
    let ours = || {
        let mut command = Command::new(&ours_path);
        command.env("BIGBEN_DOCKER_STATE", home.path().join("state")).env("HOME", home.path());
        command
    };
    let base = home.path().join("base");
    cases::write_base(&base, &engine.busybox);
    for (name, dockerfile) in cases::BASES {
        std::fs::write(base.join("Dockerfile"), dockerfile).expect("write");
        let made = run(ours().args(["build", "--tag", name]).arg(&base));
        assert!(made.ok, "{}", made.talk);
        let archive = home.path().join("base.tar");
        assert!(run(ours().args(["save", "--output"]).arg(&archive).arg(name)).ok);
        let loaded = run(engine.docker().args(["load", "--input"]).arg(&archive));
        assert!(loaded.ok, "{}", loaded.talk);
    }
    let only = std::env::var("ONLY").ok();
    let mut failures = Vec::new();
    let mut spent = [std::time::Duration::ZERO; 2];
    let all = CASES.len() + more::MORE.len();
    for case in
        CASES.iter().chain(more::MORE.iter()).filter(|case| only.as_deref().is_none_or(|only| case.name.contains(only)))
    {
        let mut reference = engine.docker();
        let begun = std::time::Instant::now();
        let theirs = build(
            reference.env("DOCKER_BUILDKIT", "1"),
            case.classic.unwrap_or(case.dockerfile),
            &with_network(case),
            &context,
            "judged-theirs",
        );
        spent[0] += begun.elapsed();
        let begun = std::time::Instant::now();
        let mine = build(&mut ours(), case.dockerfile, case, &context, "judged-ours");
        spent[1] += begun.elapsed();
        let difference = match (theirs.ok, mine.ok, case.expect) {
            (false, false, Expect::Fails) => None,
            (true, true, Expect::Same | Expect::Files) => {
                let read = |mut docker: Command, name: &str| {
                    let archive = home.path().join(format!("{name}.tar"));
                    let saved = run(docker.args(["save", "--output"]).arg(&archive).arg(name));
                    assert!(saved.ok, "{}", saved.talk);
                    image::Image::read(&archive)
                };
                let theirs = read(engine.docker(), "judged-theirs");
                let mine = read(ours(), "judged-ours");
                image::difference(&theirs, &mine, case.expect == Expect::Same && case.classic.is_none())
            }
            (theirs_ok, mine_ok, _) => {
                Some(format!("docker: ok={theirs_ok}\n{}\nours: ok={mine_ok}\n{}", theirs.talk, mine.talk))
            }
        };
        println!("{} {}", if difference.is_none() { "same " } else { "OTHER" }, case.name);
        if let Some(difference) = difference {
            failures.push(format!("== {}\n{}\n{difference}", case.name, case.dockerfile));
        }
    }
    println!(
        "{} cases, {} differ; building took docker {:.1?}, this builder {:.1?}",
        all,
        failures.len(),
        spent[0],
        spent[1]
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Times of one image, ours and a Docker Engine's, in one run: a build from nothing, after a change of one file, and of nothing.
#[test]
#[ignore = "a benchmark; needs root and a Docker Engine: cargo test --release -p builder --test docker_engine -- --ignored --nocapture times"]
fn times_beside_a_docker_engine() {
    let engine = Engine::start("overlay2");
    let home = tempfile::tempdir().expect("temporary directory");
    let context = home.path().join("context");
    std::fs::create_dir_all(context.join("assets")).expect("directory");
    // As large as a static service, and as little compressible as a program.
    let program = std::fs::read(ours()).expect("program");
    std::fs::write(context.join("app"), &program[..program.len().min(6 << 20)]).expect("write");
    for number in 0..1000 {
        std::fs::write(context.join(format!("assets/{number}.txt")), format!("asset {number}\n").repeat(50))
            .expect("write");
    }
    let dockerfile = "FROM scratch\nLABEL a=b\nCOPY assets /assets\nCOPY --chmod=755 app /app\nCOPY config /config\nUSER 65532\nEXPOSE 8011\nENTRYPOINT [\"/app\"]\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).expect("write");
    let mut state = 0;
    let program = ours();
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let mut rows = Vec::new();
    for kind in ["cold", "one file", "no change"] {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..7 {
            if kind != "no change" || round == 0 {
                std::fs::write(context.join("config"), format!("{kind} {round}\n")).expect("write");
            }
            if kind == "cold" {
                state += 1;
                run(engine.docker().args(["builder", "prune", "--all", "--force"]));
                run(engine.docker().args(["rmi", "--force", "timed"]));
            }
            let mut theirs = engine.docker();
            theirs.env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "--tag", "timed"]).arg(&context);
            let mut mine = Command::new(&program);
            mine.env("BIGBEN_DOCKER_STATE", home.path().join(format!("state{state}"))).env("HOME", home.path());
            mine.args(["build", "--quiet", "--tag", "timed"]).arg(&context);
            for (side, command) in [&mut theirs, &mut mine].into_iter().enumerate() {
                let begun = std::time::Instant::now();
                let done = run(command);
                assert!(done.ok, "{}", done.talk);
                // The first round of "no change" makes the build that does not change.
                if kind != "no change" || round > 0 {
                    times[side].push(begun.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        let [theirs, mine] = times.map(median);
        rows.push(format!(
            "{kind:<10} docker {theirs:8.1} ms   this builder {mine:8.1} ms   {:5.1} times as fast",
            theirs / mine
        ));
    }
    println!("image of a {:.1} MB program and 1000 small files, median of 7:\n{}", 6.3, rows.join("\n"));
}

/// The engine runs without a bridge.
fn with_network(case: &Case) -> Case {
    let mut case = case.clone();
    case.args.push("--network=host");
    case
}
