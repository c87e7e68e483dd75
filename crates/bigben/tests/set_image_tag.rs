//! `backstage/ci/set-image-tag.sh`: bumps that race each other and everybody else lose nothing, and tags stay text.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Barrier;

use common::{copy_tree, git, said, top, without_configuration};
use tempfile::TempDir;

const ROUNDS: usize = 100;

/// A bare repository that clones push to.
struct Origin {
    dir: TempDir,
}

impl Origin {
    /// The repository's script and deployment values, in one commit.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seed = dir.path().join("seed");
        copy_tree(&top().join("backstage/ci"), &seed.join("backstage/ci"));
        for app in ["service-a", "service-b"] {
            let config = Path::new("app").join(app).join("deploy-config");
            copy_tree(&top().join(&config), &seed.join(&config));
        }
        common::commit_all(&seed);
        let origin = Self { dir };
        git(&seed, &["clone", "--quiet", "--bare", ".", "../origin.git"]);
        quiet(&origin.bare());
        git(&origin.bare(), &["config", "core.logAllRefUpdates", "always"]);
        origin
    }

    fn bare(&self) -> PathBuf {
        self.dir.path().join("origin.git")
    }

    fn clone(&self, name: &str) -> PathBuf {
        git(self.dir.path(), &["clone", "--quiet", "origin.git", name]);
        let clone = self.dir.path().join(name);
        quiet(&clone);
        clone
    }

    fn main(&self) -> String {
        git(&self.bare(), &["rev-parse", "refs/heads/main"])
    }

    /// The values file as `main` has it.
    fn values(&self, app: &str, environment: &str) -> String {
        git(&self.bare(), &["show", &format!("main:app/{app}/deploy-config/{environment}/values.yaml")])
    }

    /// Somebody else's commit: on top of whatever `main` is at the moment.
    fn land(&self, message: &str) -> String {
        loop {
            let main = self.main();
            let tree = format!("{main}^{{tree}}");
            let commit = git(&self.bare(), &["commit-tree", &tree, "-p", &main, "-m", message]);
            let mut update = Command::new("git");
            update.arg("-C").arg(self.bare()).args(["update-ref", "refs/heads/main", &commit, &main]);
            if without_configuration(&mut update).output().unwrap().status.success() {
                return commit;
            }
        }
    }
}

/// Nothing is tidied up in the background, and nothing waits for the disk: a test's repository need not outlive the machine.
fn quiet(dir: &Path) {
    for (key, value) in
        [("gc.auto", "0"), ("maintenance.auto", "false"), ("receive.autoGC", "false"), ("core.fsync", "none")]
    {
        git(dir, &["config", key, value]);
    }
}

fn set_image_tag(clone: &Path, app: &str, environment: &str, tag: &str) -> Output {
    let mut command = Command::new(clone.join("backstage/ci/set-image-tag.sh"));
    command.args([app, environment, tag]).env_remove("REMOTE").env_remove("BRANCH").env_remove("ATTEMPTS");
    without_configuration(&mut command).output().unwrap()
}

/// What a values file names, as Helm reads it; a tag that is not text fails.
fn tags(values: &str) -> (String, String) {
    let values = goyaml::from_str(values).unwrap();
    let text = |pointer: &str| match values.pointer(pointer) {
        Some(serde_json::Value::String(text)) => text.clone(),
        other => panic!("{pointer} is no text: {other:?}"),
    };
    (text("/image/tag"), text("/env/APP_VERSION"))
}

#[test]
fn simultaneous_bumps_lose_nothing() {
    let origin = Origin::new();
    let seed = origin.main();
    let clones = [("service-a", origin.clone("a")), ("service-b", origin.clone("b"))];
    // Digits only, and digits that read as a float.
    let tag = |app: &str, round: usize| match app {
        "service-a" => format!("{}", 1_234_567 + round),
        _ => format!("12e{:04}", 4567 + round),
    };
    for round in 0..ROUNDS {
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            for (app, clone) in &clones {
                let (start, tag) = (&start, tag(app, round));
                scope.spawn(move || {
                    start.wait();
                    let output = set_image_tag(clone, app, "developer", &tag);
                    assert!(output.status.success(), "round {round}, {app}: {}", said(&output));
                });
            }
            start.wait();
            origin.land(&format!("elsewhere {round}"));
        });
    }

    // Every commit of every round, once, in one line.
    let history = git(&origin.bare(), &["log", "--format=%H%x09%P%x09%s", "main"]);
    let mut subjects: BTreeMap<&str, usize> = BTreeMap::new();
    let mut commits = BTreeSet::new();
    for line in history.lines() {
        let [commit, parents, subject] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(!parents.contains(' '), "{subject} is a merge");
        assert_eq!(parents.is_empty(), commit == seed, "{subject} begins another history");
        commits.insert(commit);
        *subjects.entry(subject).or_default() += 1;
    }
    for round in 0..ROUNDS {
        for subject in [
            format!("service-a: developer runs {}", tag("service-a", round)),
            format!("service-b: developer runs {}", tag("service-b", round)),
            format!("elsewhere {round}"),
        ] {
            assert_eq!(subjects.get(subject.as_str()), Some(&1), "{subject}");
        }
    }
    assert_eq!(commits.len(), 1 + 3 * ROUNDS);
    // Whatever `main` once was is still in its history: nothing was forced.
    let moves = git(&origin.bare(), &["log", "--walk-reflogs", "--format=%H", "main"]);
    assert_eq!(moves.lines().count(), 3 * ROUNDS, "one move of main for each commit");
    assert!(moves.lines().all(|commit| commits.contains(commit)));
    for app in ["service-a", "service-b"] {
        let file = format!("app/{app}/deploy-config/developer/values.yaml");
        // Each round wrote its tag, quoted, into both lines.
        let diffs =
            git(&origin.bare(), &["log", "--reverse", "--format=", "--patch", &format!("{seed}..main"), "--", &file]);
        let written: Vec<&str> = diffs.lines().filter(|line| line.starts_with("+  ")).collect();
        let expected: Vec<String> = (0..ROUNDS)
            .flat_map(|round| ["tag", "APP_VERSION"].map(|key| format!("+  {key}: \"{}\"", tag(app, round))))
            .collect();
        assert_eq!(written, expected);
        let last = tag(app, ROUNDS - 1);
        assert_eq!(tags(&origin.values(app, "developer")), (last.clone(), last));
        // Nothing else changed.
        let expected = std::fs::read_to_string(top().join(&file)).unwrap();
        let (old, _) = tags(&expected);
        let changed = origin.values(app, "developer").replace(&tag(app, ROUNDS - 1), &old);
        assert_eq!(changed, expected.trim_end());
    }
}

#[test]
fn tags_that_look_like_numbers_stay_quoted_text() {
    let origin = Origin::new();
    let clone = origin.clone("clone");
    for tag in ["1234567", "12e4567", "0x12345", "0001234", "1_000", "true", "v1.2.3", "2024.01.02"] {
        let output = set_image_tag(&clone, "service-a", "production", tag);
        assert!(output.status.success(), "{tag}: {}", said(&output));
        let values = origin.values("service-a", "production");
        assert!(values.contains(&format!("\n  tag: \"{tag}\"\n")), "{values}");
        assert!(values.contains(&format!("\n  APP_VERSION: \"{tag}\"\n")), "{values}");
        assert_eq!(tags(&values), (tag.to_owned(), tag.to_owned()));
    }
    let before = origin.main();
    let output = set_image_tag(&clone, "service-a", "production", "2024.01.02");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(origin.main(), before, "the same tag again is no commit");
}

#[test]
fn what_is_no_tag_is_refused() {
    let origin = Origin::new();
    let clone = origin.clone("clone");
    let before = origin.main();
    let long = "a".repeat(129);
    for tag in [".hidden", "-dash", "with space", "a/b", "a:b", "quote\"", "$(id)", "two\nlines", "&", &long] {
        let output = set_image_tag(&clone, "service-a", "developer", tag);
        assert_eq!(output.status.code(), Some(2), "{tag:?}: {}", said(&output));
        assert!(said(&output).contains("is not an image tag"), "{tag:?}: {}", said(&output));
    }
    assert_eq!(origin.main(), before);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
}

#[test]
fn an_unknown_app_is_an_error() {
    let origin = Origin::new();
    let clone = origin.clone("clone");
    let before = origin.main();
    let output = set_image_tag(&clone, "service-z", "developer", "v1");
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("app/service-z/deploy-config/developer/values.yaml"), "{}", said(&output));
    assert_eq!(origin.main(), before);
}

#[test]
fn an_older_commit_does_not_overwrite_a_newer_one() {
    let origin = Origin::new();
    let clone = origin.clone("clone");
    let older = origin.land("older")[..7].to_owned();
    let newer = origin.land("newer")[..7].to_owned();

    let output = set_image_tag(&clone, "service-a", "developer", &newer);
    assert!(output.status.success(), "{}", said(&output));
    let bumped = origin.main();
    // The slower of two deliveries comes second.
    let output = set_image_tag(&clone, "service-a", "developer", &older);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("already names a later commit"), "{}", said(&output));
    assert_eq!(origin.main(), bumped);
    assert_eq!(tags(&origin.values("service-a", "developer")).0, newer);

    // Of the other app nothing later is known.
    let output = set_image_tag(&clone, "service-b", "developer", &older);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(tags(&origin.values("service-b", "developer")).0, older);
}

#[test]
fn a_remote_that_refuses_for_another_reason_is_an_error_at_once() {
    let origin = Origin::new();
    let clone = origin.clone("clone");
    git(&clone, &["config", "remote.origin.pushurl", "/nowhere/at/all"]);
    let before = origin.main();
    let output = set_image_tag(&clone, "service-a", "developer", "v1");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("/nowhere/at/all"), "{}", said(&output));
    assert_eq!(origin.main(), before);
}
