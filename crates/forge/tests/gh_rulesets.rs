//! Rulesets as GitHub's own command line shows them, and that git, REST and merges keep to them.

mod support;

use serde_json::{Value, json};
use support::Server;
use support::gh::Gh;

#[tokio::test]
async fn rulesets_are_shown_and_kept() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = server.work("one");
    let there = server.authenticated("acme/widgets");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "README.md", "# widgets\n", "first").await;
    server.git(&work, &["push", "-q", &there, "main"]).await;
    let api = async |method: &str, path: &str, body: Value| -> (bool, String) {
        std::fs::write(work.join("../body.json"), body.to_string()).expect("a file");
        let path = format!("repos/acme/widgets/{path}");
        gh.output(&work, &["api", "-X", method, &path, "--input", "../body.json"]).await
    };

    let (_, none) = gh.output(&work, &["ruleset", "list"]).await;
    assert!(none.trim().is_empty() || none.contains("no rulesets found"), "{none}");
    let rules = json!([
        {"type": "deletion"},
        {"type": "non_fast_forward"},
        {"type": "required_linear_history"},
        {"type": "pull_request", "parameters": {"required_approving_review_count": 1, "allowed_merge_methods": ["squash"]}},
        {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "ci"}]}},
    ]);
    let main = json!({"name": "Main", "target": "branch", "enforcement": "active", "rules": rules,
        "conditions": {"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}}});
    let (ok, text) = api("POST", "rulesets", main.clone()).await;
    assert!(ok, "{text}");
    let names = json!({"name": "Names", "target": "branch", "enforcement": "active",
        "rules": [{"type": "branch_name_pattern", "parameters": {"operator": "starts_with", "pattern": "team/"}}],
        "conditions": {"ref_name": {"include": ["~ALL"], "exclude": ["refs/heads/main", "refs/heads/revert-*"]}}});
    assert!(api("POST", "rulesets", names).await.0);
    for (rule, word) in [
        (json!({"type": "required_signatures"}), "required_signatures"),
        (
            json!({"type": "pull_request", "parameters": {"require_code_owner_review": true}}),
            "require_code_owner_review",
        ),
        (json!({"type": "tag_name_pattern", "parameters": {"operator": "regex", "pattern": "x"}}), "regex"),
    ] {
        let mut body = main.clone();
        (body["name"], body["rules"]) = (json!("Other"), json!([rule]));
        let (ok, text) = api("POST", "rulesets", body).await;
        assert!(!ok && text.contains(word), "{text}");
    }

    let list = gh.ok(&work, &["ruleset", "list"]).await;
    assert!(list.contains("1\tMain\tacme/widgets (repo)\tactive\t5"), "{list}");
    let view = gh.ok(&work, &["ruleset", "view", "1"]).await;
    assert!(view.contains("required_status_checks") && view.contains("~DEFAULT_BRANCH"), "{view}");
    let check = gh.ok(&work, &["ruleset", "check", "main"]).await;
    assert!(check.contains("5 rules apply to branch main") && check.contains("non_fast_forward"), "{check}");
    assert!(gh.ok(&work, &["ruleset", "check", "team/x"]).await.contains("1 rules apply"));

    // git
    server.commit(&work, "a.txt", "one\n", "second").await;
    let refused = server.git_fails(&work, &["push", &there, "main"]).await;
    assert!(refused.contains("Changes must be made through a pull request."), "{refused}");
    let refused = server.git_fails(&work, &["push", &there, "main:feature"]).await;
    assert!(refused.contains("starts with team/"), "{refused}");
    server.git(&work, &["push", "-q", &there, "main:team/feature"]).await;
    let refused = server.git_fails(&work, &["push", &there, ":main"]).await;
    assert!(refused.contains("delete"), "{refused}");
    // REST
    let sha = server.git(&work, &["rev-parse", "main"]).await.trim().to_owned();
    let (ok, text) = api("PATCH", "git/refs/heads/main", json!({"sha": sha, "force": true})).await;
    assert!(!ok && text.contains("through a pull request"), "{text}");
    let (ok, text) = api("PUT", "contents/x", json!({"message": "x", "content": "eA=="})).await;
    assert!(!ok && text.contains("through a pull request"), "{text}");
    let (ok, text) = api("POST", "git/refs", json!({"ref": "refs/heads/other", "sha": sha})).await;
    assert!(!ok && text.contains("starts with team/"), "{text}");

    // Merges: review, then check, then method.
    gh.ok(&work, &["pr", "create", "--title", "A feature", "--body", "", "--head", "team/feature", "--base", "main"])
        .await;
    let merge = async |method: &str| api("PUT", "pulls/1/merge", json!({"merge_method": method})).await;
    assert!(merge("squash").await.1.contains("approving review"), "not reviewed");
    assert!(gh.ok(&work, &["pr", "view", "1", "--json", "mergeStateStatus"]).await.contains("BLOCKED"));
    server.forge.create_user("second", "Another", "second@example.org", true).await.expect("a user");
    let other = Gh { token: server.forge.create_token("second").await.expect("a token"), ..gh.clone() };
    other.ok(&work, &["pr", "review", "1", "--approve"]).await;
    assert!(merge("squash").await.1.contains("\\\"ci\\\" is expected"), "not checked");
    assert!(api("POST", &format!("statuses/{sha}"), json!({"state": "success", "context": "ci"})).await.0);
    assert!(merge("merge").await.1.contains("not allowed"), "by a merge commit");
    gh.ok(&work, &["pr", "merge", "1", "--squash"]).await;
    // Who may pass, and a ruleset that is off.
    let pass = json!({"bypass_actors": [{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}]});
    assert!(api("PUT", "rulesets/1", pass).await.0);
    server.git(&work, &["pull", "-q", "--rebase", &there, "main"]).await;
    server.commit(&work, "b.txt", "two\n", "past the rules").await;
    server.git(&work, &["push", "-q", &there, "main"]).await;
    assert!(api("PUT", "rulesets/2", json!({"enforcement": "disabled"})).await.0);
    server.git(&work, &["push", "-q", &there, "main:anything"]).await;
    gh.ok(&work, &["api", "-X", "DELETE", "repos/acme/widgets/rulesets/1"]).await;
    assert!(!gh.output(&work, &["ruleset", "view", "1"]).await.0);
    server.stop().await;
}
