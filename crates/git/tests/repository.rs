//! The crate against real repositories.

use git::{Change, FileStatus, Identity, MergeOutcome, Repository};

async fn repository() -> (tempfile::TempDir, Repository) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let repository = Repository::init_bare(dir.path().join("a.git"), "main").await.expect("a repository");
    (dir, repository)
}

fn me() -> Identity {
    Identity { name: "A".into(), email: "a@example.org".into(), time: Some(1_700_000_000) }
}

fn file(path: &str, text: &str) -> (String, Option<Vec<u8>>) {
    (path.to_owned(), Some(text.as_bytes().to_vec()))
}

#[tokio::test]
async fn commits_are_made_read_and_compared() {
    let (_dir, repository) = repository().await;
    assert_eq!(repository.rev_parse("HEAD").await.expect("answers"), None);
    assert_eq!(repository.head().await.expect("answers").as_deref(), Some("refs/heads/main"));
    let files = [file("a/one.txt", "one\n"), file("b.txt", "b\n"), file("odd name\n.txt", "x")];
    let first = repository.commit_files(None, &files, "first\n\nbody", &me()).await.expect("a commit");
    assert!(repository.update_ref("refs/heads/main", &first, None).await.expect("moves"));
    assert!(!repository.update_ref("refs/heads/main", &first, None).await.expect("answers"), "it exists already");

    let edits = [file("a/one.txt", "one\ntwo\n"), ("b.txt".to_owned(), None), file("c.txt", "c\n")];
    let second = repository.commit_files(Some(&first), &edits, "second", &me()).await.expect("a commit");
    assert!(repository.update_ref("refs/heads/main", &second, Some(&first)).await.expect("moves"));
    assert!(!repository.update_ref("refs/heads/main", &second, Some(&first)).await.expect("answers"), "a lost race");

    let log = repository.log("refs/heads/main", 10).await.expect("a log");
    assert_eq!(log.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), [second.clone(), first.clone()]);
    assert_eq!(log[1].message, "first\n\nbody");
    assert_eq!((log[1].author.name.as_str(), log[1].time), ("A", 1_700_000_000));
    assert_eq!(log[0].parents, std::slice::from_ref(&first));

    let names = repository.diff_names(&first, &second).await.expect("names");
    assert_eq!(names, ["a/one.txt", "b.txt", "c.txt"]);
    let diff = repository.diff(&first, &second).await.expect("a diff");
    let seen: Vec<_> = diff.iter().map(|d| (d.path.as_str(), d.status, d.additions, d.deletions)).collect();
    assert_eq!(
        seen,
        [
            ("a/one.txt", FileStatus::Modified, 1, 0),
            ("b.txt", FileStatus::Removed, 0, 1),
            ("c.txt", FileStatus::Added, 1, 0)
        ]
    );

    assert_eq!(repository.read_file("main", "a/one.txt").await.expect("reads"), Some(b"one\ntwo\n".to_vec()));
    assert_eq!(repository.read_file("main", "a").await.expect("reads"), None, "a directory is no file");
    assert_eq!(repository.read_file("main", "nothing").await.expect("reads"), None);
    assert_eq!(repository.read_file("none", "a").await.expect("reads"), None);
    let odd = repository.read_file("main", "odd name\n.txt").await.expect("reads");
    assert_eq!(odd, Some(b"x".to_vec()));

    let tree = repository.tree("main", "").await.expect("a tree");
    assert_eq!(tree.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["a/one.txt", "c.txt", "odd name\n.txt"]);
    let below = repository.tree("main", "a").await.expect("a tree");
    assert_eq!(below.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["a/one.txt"]);
    let oids: Vec<String> = tree.iter().map(|e| e.oid.clone()).collect();
    let blobs = repository.read_blobs(&oids).await.expect("blobs");
    assert_eq!(blobs, [b"one\ntwo\n".to_vec(), b"c\n".to_vec(), b"x".to_vec()]);
    assert!(repository.read_blobs(&["0123456789012345678901234567890123456789"]).await.is_err());
    assert_eq!(repository.refs("refs/heads/").await.expect("refs"), [("refs/heads/main".to_owned(), second)]);
}

#[tokio::test]
async fn merges_are_clean_or_name_their_conflicts() {
    let (_dir, repository) = repository().await;
    let base = repository.commit_files(None, &[file("f", "1\n"), file("g", "1\n")], "base", &me()).await.expect("base");
    let ours = repository.commit_files(Some(&base), &[file("f", "2\n")], "ours", &me()).await.expect("ours");
    let other = repository.commit_files(Some(&base), &[file("g", "2\n")], "other", &me()).await.expect("other");
    let clash = repository.commit_files(Some(&base), &[file("f", "3\n")], "clash", &me()).await.expect("clash");
    assert_eq!(repository.merge_base(&ours, &other).await.expect("a base"), Some(base.clone()));
    assert!(repository.is_ancestor(&base, &ours).await.expect("answers"));
    assert!(!repository.is_ancestor(&ours, &base).await.expect("answers"));
    let MergeOutcome::Clean { tree } = repository.merge_tree(&ours, &other).await.expect("merges") else {
        panic!("no conflict was expected");
    };
    let merged = repository.commit_tree(&tree, &[&ours, &other], "merge", &me(), None).await.expect("a commit");
    assert_eq!(repository.read_file(&merged, "f").await.expect("reads"), Some(b"2\n".to_vec()));
    assert_eq!(repository.read_file(&merged, "g").await.expect("reads"), Some(b"2\n".to_vec()));
    let outcome = repository.merge_tree(&ours, &clash).await.expect("answers");
    assert_eq!(outcome, MergeOutcome::Conflict { paths: vec!["f".to_owned()] });
}

#[tokio::test]
async fn hostile_names_are_refused() {
    let (_dir, repository) = repository().await;
    assert!(repository.rev_parse("--all").await.is_err());
    assert!(repository.update_ref("HEAD", &"a".repeat(40), None).await.is_err());
    for path in ["../up", ".git/config", "a//b", "", "/", "a/../b", "A/.GIT/x"] {
        let change = Change { path: path.to_owned(), content: Some(b"x".to_vec()), mode: None };
        assert!(repository.tree_with(None, &[change]).await.is_err(), "{path:?}");
    }
}

#[tokio::test]
async fn one_of_many_racing_writers_wins() {
    let (_dir, repository) = repository().await;
    let base = repository.commit_files(None, &[file("f", "0")], "base", &me()).await.expect("base");
    assert!(repository.update_ref("refs/heads/main", &base, None).await.expect("moves"));
    let mut set = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (repository, base) = (repository.clone(), base.clone());
        set.spawn(async move {
            let text = n.to_string();
            let id = repository.commit_files(Some(&base), &[file("f", &text)], &text, &me()).await.expect("a commit");
            repository.update_ref("refs/heads/main", &id, Some(&base)).await.expect("answers")
        });
    }
    let wins = set.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(wins, 1);
}

#[tokio::test]
async fn fetch_brings_refs() {
    let (dir, repository) = repository().await;
    let id = repository.commit_files(None, &[file("f", "0")], "base", &me()).await.expect("base");
    repository.update_ref("refs/heads/main", &id, None).await.expect("moves");
    let copy = Repository::init_bare(dir.path().join("b.git"), "main").await.expect("a repository");
    let url = repository.dir().to_string_lossy().into_owned();
    copy.fetch(&url, &["+refs/heads/*:refs/heads/*"], &[]).await.expect("fetches");
    assert_eq!(copy.rev_parse("refs/heads/main").await.expect("answers"), Some(id));
    // Somebody else's repository is read as well; only root can make one for the test.
    let theirs = dir.path().join("theirs.git");
    Repository::init_bare(&theirs, "main").await.expect("a repository");
    if std::os::unix::fs::chown(&theirs, Some(12_345), Some(12_345)).is_ok() {
        let from = theirs.to_string_lossy().into_owned();
        copy.fetch(&from, &["+refs/heads/*:refs/theirs/*"], &[]).await.expect("fetches from another's repository");
    }
    assert!(copy.fetch("/nowhere/at/all", &["main"], &[]).await.is_err());
}
