//! Which changes of refs are allowed: protected branches and rulesets, and what they come to for one ref and one caller.
//!
//! A ruleset says for which refs it stands and what holds there; all that stand for a ref hold together, beside the protection of the
//! branch. Everything that moves refs for somebody asks here: pushes, REST, merges.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::Principal;
use crate::model::{CheckRun, Protection, Pull, Repo, Role};
use crate::pktline::RefChange;
use crate::{Error, Forge};

/// One rule of a ruleset, as REST has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// `creation`, `update`, `deletion`, `non_fast_forward`, `required_linear_history`, `pull_request`,
    /// `required_status_checks`, `branch_name_pattern` or `tag_name_pattern`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it needs to know.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// Rules, and the refs for which they stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ruleset {
    /// The number.
    pub id: u64,
    /// The name.
    pub name: String,
    /// `branch` or `tag`.
    pub target: String,
    /// `active` or `disabled`.
    pub enforcement: String,
    /// Patterns of full ref names, `~ALL` or `~DEFAULT_BRANCH`.
    pub include: Vec<String>,
    /// Patterns of those for which it does not stand.
    pub exclude: Vec<String>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Who is not bound, as GitHub has it: `{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}`.
    pub bypass_actors: Vec<Value>,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
}

/// The rules that are kept here.
const KINDS: [&str; 9] = [
    "creation",
    "update",
    "deletion",
    "non_fast_forward",
    "required_linear_history",
    "pull_request",
    "required_status_checks",
    "branch_name_pattern",
    "tag_name_pattern",
];

/// Parameters that ask for what is not kept here, when they are true.
const UNKEPT: [&str; 5] = [
    "require_code_owner_review",
    "require_last_push_approval",
    "required_review_thread_resolution",
    "dismiss_stale_reviews_on_push",
    "update_allows_fetch_and_merge",
];

/// Why a ruleset cannot be kept; none when it can.
pub(crate) fn refused(ruleset: &Ruleset) -> Option<String> {
    if !["branch", "tag"].contains(&ruleset.target.as_str()) {
        return Some(format!("target '{}' is not kept here: branch and tag are", ruleset.target));
    }
    if !["active", "disabled"].contains(&ruleset.enforcement.as_str()) {
        return Some(format!("enforcement '{}' is not kept here: active and disabled are", ruleset.enforcement));
    }
    for rule in &ruleset.rules {
        if !KINDS.contains(&rule.kind.as_str()) {
            return Some(format!(
                "the rule '{}' is not enforced here; those that are: {}",
                rule.kind,
                KINDS.join(", ")
            ));
        }
        if let Some(unkept) = UNKEPT.iter().find(|name| rule.parameters[**name] == json!(true)) {
            return Some(format!("'{unkept}' of the rule '{}' is not enforced here", rule.kind));
        }
        let operator = rule.parameters["operator"].as_str().unwrap_or_default();
        if rule.kind.ends_with("_pattern") && !["starts_with", "ends_with", "contains"].contains(&operator) {
            return Some(format!("the operator '{operator}' of the rule '{}' is not enforced here", rule.kind));
        }
    }
    let known = |actor: &&Value| {
        ["RepositoryRole", "OrganizationAdmin", "User"].contains(&actor["actor_type"].as_str().unwrap_or_default())
    };
    let stranger = ruleset.bypass_actors.iter().find(|actor| !known(actor))?;
    Some(format!("bypass actors of the type {} are not kept here", stranger["actor_type"]))
}

/// Whether a pattern is about a name: `*` is anything but `/`, `**` anything, `?` one character.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            fits(rest, name) || (0..name.len()).any(|at| name[at] == b'/' && fits(rest, &name[at + 1..]))
        }
        [b'*', b'*', rest @ ..] => (0..=name.len()).any(|at| fits(rest, &name[at..])),
        [b'*', rest @ ..] => {
            let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            (0..=end).any(|at| fits(rest, &name[at..]))
        }
        [b'?', rest @ ..] => name.first().is_some_and(|byte| *byte != b'/') && fits(rest, &name[1..]),
        [first, rest @ ..] => name.first() == Some(first) && fits(rest, &name[1..]),
    }
}

impl Ruleset {
    /// Whether it stands for a ref.
    pub(crate) fn covers(&self, repo: &Repo, name: &str) -> bool {
        let space = if self.target == "tag" { "refs/tags/" } else { "refs/heads/" };
        let default = format!("refs/heads/{}", repo.default_branch);
        let listed = |patterns: &[String]| {
            patterns.iter().any(|pattern| match pattern.as_str() {
                "~ALL" => true,
                "~DEFAULT_BRANCH" => name == default,
                pattern => fits(pattern.as_bytes(), name.as_bytes()),
            })
        };
        self.enforcement == "active" && name.starts_with(space) && listed(&self.include) && !listed(&self.exclude)
    }

    /// Whether somebody is not bound by it.
    pub(crate) fn lets_pass(&self, repo: &Repo, who: &Principal, id: Option<u64>, merging: bool) -> bool {
        let role = who.role(repo, false);
        self.bypass_actors.iter().any(|actor| {
            let mode = actor["bypass_mode"].as_str() != Some("pull_request") || merging;
            let number = actor["actor_id"].as_u64();
            let meant = match actor["actor_type"].as_str() {
                // GitHub's numbers: 2 maintains, 4 writes, 5 administers. A job is none of them.
                Some("RepositoryRole") if !who.is_job() => match number {
                    Some(4) => role >= Some(Role::Write),
                    Some(2 | 5) => role == Some(Role::Admin),
                    _ => false,
                },
                Some("OrganizationAdmin") => who.is_admin(),
                Some("User") => number.is_some() && number == id,
                _ => false,
            };
            mode && meant
        })
    }
}

/// What holds for one ref and one caller, of the protection of the branch and of rulesets together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    pub no_creation: bool,
    pub no_update: bool,
    pub no_deletion: bool,
    pub no_force: bool,
    pub linear: bool,
    pub pull_only: bool,
    /// Approvals that a pull request needs.
    pub approvals: u64,
    /// The ways to merge that are allowed; none means all.
    pub methods: Option<Vec<String>>,
    /// Checks that must have succeeded.
    pub contexts: Vec<String>,
    /// Whether the checks may be missing on a new branch.
    pub contexts_later: bool,
    /// Whether a pull request must have all of its base.
    pub strict: bool,
    /// What is wrong with the name.
    pub bad_name: Option<String>,
}

impl Limits {
    fn add_protection(&mut self, rule: &Protection, admin: bool) {
        self.no_force |= !rule.allow_force_pushes;
        self.no_deletion |= !rule.allow_deletions;
        if rule.enforce_admins || !admin {
            self.pull_only |= rule.require_pull_request;
            self.approvals = self.approvals.max(rule.required_approvals);
            self.strict |= rule.strict;
            self.contexts.extend(rule.required_contexts.iter().cloned());
        }
    }

    fn add_rule(&mut self, rule: &Rule, name: &str) {
        let parameters = &rule.parameters;
        match rule.kind.as_str() {
            "creation" => self.no_creation = true,
            "update" => self.no_update = true,
            "deletion" => self.no_deletion = true,
            "non_fast_forward" => self.no_force = true,
            "required_linear_history" => self.linear = true,
            "pull_request" => {
                self.pull_only = true;
                let approvals = parameters["required_approving_review_count"].as_u64().unwrap_or(0);
                self.approvals = self.approvals.max(approvals);
                if let Some(allowed) = parameters["allowed_merge_methods"].as_array() {
                    let allowed: Vec<String> = allowed.iter().filter_map(|m| m.as_str().map(str::to_owned)).collect();
                    let both =
                        self.methods.take().map(|have| have.into_iter().filter(|m| allowed.contains(m)).collect());
                    self.methods = Some(both.unwrap_or(allowed));
                }
            }
            "required_status_checks" => {
                let checks = parameters["required_status_checks"].as_array().map(Vec::as_slice).unwrap_or_default();
                self.contexts.extend(checks.iter().filter_map(|check| check["context"].as_str().map(str::to_owned)));
                self.strict |= parameters["strict_required_status_checks_policy"] == json!(true);
                self.contexts_later |= parameters["do_not_enforce_on_create"] == json!(true);
            }
            "branch_name_pattern" | "tag_name_pattern" => {
                let short = name.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
                let pattern = parameters["pattern"].as_str().unwrap_or_default();
                let operator = parameters["operator"].as_str().unwrap_or_default();
                let fits = match operator {
                    "starts_with" => short.starts_with(pattern),
                    "ends_with" => short.ends_with(pattern),
                    _ => short.contains(pattern),
                };
                let negate = parameters["negate"] == json!(true);
                if fits == negate {
                    let not = if negate { "not " } else { "" };
                    let operator = operator.replace('_', " ");
                    self.bad_name = Some(format!("the name must {not}be one that {operator} {pattern}"));
                }
            }
            _ => {}
        }
    }

    /// Why an update of a ref is refused, as far as no objects need to be looked at. `missing` are checks of the new commit that have
    /// not succeeded.
    pub fn refuses(&self, change: &RefChange, missing: &[String]) -> Option<String> {
        let (created, deleted) = (change.old == git::ZERO, change.new == git::ZERO);
        if deleted {
            return self.no_deletion.then(|| "Cannot delete this branch".to_owned());
        }
        if created && self.no_creation {
            return Some("Cannot create ref due to creations being restricted.".to_owned());
        }
        if let (true, Some(problem)) = (created, &self.bad_name) {
            return Some(format!("Cannot create this ref: {problem}."));
        }
        if !created && self.no_update {
            return Some("Cannot update this protected ref.".to_owned());
        }
        if !created && self.pull_only {
            return Some("Changes must be made through a pull request.".to_owned());
        }
        if !(missing.is_empty() || created && self.contexts_later) {
            return Some(expected(missing, self.contexts.len()));
        }
        None
    }
}

/// What GitHub says of checks that have not succeeded.
pub(crate) fn expected(missing: &[String], all: usize) -> String {
    match missing {
        [one] => format!("Required status check \"{one}\" is expected."),
        many => format!("{} of {all} required status checks are expected.", many.len()),
    }
}

impl Forge {
    /// The rulesets of a repository.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn rulesets(&self, full_name: &str) -> Result<Vec<Ruleset>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.store().list(repo.id, "").await
    }

    /// What holds for refs, for one caller; in the order of the names.
    pub(crate) async fn limits<'a>(
        &self,
        repo: &Repo,
        who: &Principal,
        names: impl IntoIterator<Item = &'a str>,
        merging: bool,
    ) -> Result<Vec<Limits>, Error> {
        let protections: Vec<Protection> = self.store().list(repo.id, "").await?;
        let mut rulesets: Vec<Ruleset> = self.store().list(repo.id, "").await?;
        if !rulesets.is_empty() {
            let id = self.user(&who.login).await?.map(|user| user.id);
            rulesets.retain(|ruleset| !ruleset.lets_pass(repo, who, id, merging));
        }
        let admin = who.role(repo, false) == Some(Role::Admin);
        let limits = |name: &str| {
            let mut limits = Limits::default();
            let branch = name.strip_prefix("refs/heads/");
            for rule in protections.iter().filter(|rule| Some(rule.branch.as_str()) == branch) {
                limits.add_protection(rule, admin);
            }
            for rule in rulesets.iter().filter(|ruleset| ruleset.covers(repo, name)).flat_map(|set| &set.rules) {
                limits.add_rule(rule, name);
            }
            limits
        };
        Ok(names.into_iter().map(limits).collect())
    }

    /// Those of the checks that have not succeeded on a commit.
    pub(crate) async fn missing_checks(
        &self,
        repo: &Repo,
        sha: &str,
        contexts: &[String],
    ) -> Result<Vec<String>, Error> {
        if contexts.is_empty() || sha == git::ZERO {
            return Ok(Vec::new());
        }
        let (_, statuses) = self.combined_status(repo, sha).await?;
        let runs: Vec<CheckRun> = self.store().list(repo.id, format!("{sha}/")).await?;
        let succeeded = |context: &String| {
            let by_status = statuses.iter().any(|status| status.context == *context && status.state == "success");
            by_status
                || runs.iter().any(|run| {
                    run.name == *context && matches!(run.conclusion.as_deref(), Some("success" | "neutral" | "skipped"))
                })
        };
        Ok(contexts.iter().filter(|context| !succeeded(context)).cloned().collect())
    }

    /// Why an update of a ref by a caller is refused; the objects are there already.
    pub(crate) async fn refuses(
        &self,
        repo: &Repo,
        who: &Principal,
        change: &RefChange,
    ) -> Result<Option<String>, Error> {
        let limits = self.limits(repo, who, [change.name.as_str()], false).await?;
        let Some(limits) = limits.first().filter(|limits| **limits != Limits::default()) else { return Ok(None) };
        let missing = self.missing_checks(repo, &change.new, &limits.contexts).await?;
        if let Some(reason) = limits.refuses(change, &missing) {
            return Ok(Some(reason));
        }
        if change.old == git::ZERO || change.new == git::ZERO {
            return Ok(None);
        }
        let repository = self.git_of(repo)?;
        if limits.no_force && !repository.is_ancestor(&change.old, &change.new).await? {
            return Ok(Some("Cannot force-push to this branch".to_owned()));
        }
        let exclude = format!("^{}", change.old);
        if limits.linear {
            let new = repository.log_of(&[&change.new, &exclude], 10_000, 0, None).await?;
            if new.iter().any(|commit| commit.parents.len() > 1) {
                return Ok(Some("This branch must not contain merge commits.".to_owned()));
            }
        }
        Ok(None)
    }

    /// Why a pull request may not be merged this way by a caller.
    pub(crate) async fn refuses_merge(
        &self,
        repo: &Repo,
        who: &Principal,
        pull: &Pull,
        method: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let name = format!("refs/heads/{}", pull.base_ref);
        let limits = self.limits(repo, who, [name.as_str()], true).await?;
        let Some(limits) = limits.first().filter(|limits| **limits != Limits::default()) else { return Ok(None) };
        if limits.no_update {
            return Ok(Some("Cannot update this protected ref.".to_owned()));
        }
        if let Some(method) = method {
            let allowed = limits.methods.as_ref().is_none_or(|methods| methods.iter().any(|one| one == method));
            if !allowed || limits.linear && method == "merge" {
                return Ok(Some(format!("Merging by '{method}' is not allowed on {}.", pull.base_ref)));
            }
        }
        let opinions = crate::rest::opinions(pull);
        if limits.approvals > 0 {
            let mut approvals = 0;
            for review in opinions.iter().filter(|review| review.state == "APPROVED") {
                let user = self.user(&review.author).await?;
                let role = user.as_ref().and_then(|user| Principal::user(user).role(repo, false));
                approvals += u64::from(role >= Some(Role::Write));
            }
            if opinions.iter().any(|review| review.state == "CHANGES_REQUESTED") {
                return Ok(Some("Changes have been requested, and must be approved before merging.".to_owned()));
            }
            if approvals < limits.approvals {
                let s = if limits.approvals == 1 { " is" } else { "s are" };
                let text = format!(
                    "At least {} approving review{s} required by reviewers with write access.",
                    limits.approvals
                );
                return Ok(Some(text));
            }
        }
        if limits.strict {
            let repository = self.git_of(repo)?;
            let tip = self.branch_tip(repo, &pull.base_ref).await?.unwrap_or_else(|| pull.base_sha.clone());
            if !repository.is_ancestor(&tip, &pull.head_sha).await? {
                return Ok(Some("The head branch is not up to date with the base branch.".to_owned()));
            }
        }
        let missing = self.missing_checks(repo, &pull.head_sha, &limits.contexts).await?;
        Ok((!missing.is_empty()).then(|| expected(&missing, limits.contexts.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, truth) in [
            ("refs/heads/main", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/mainly", false),
            ("refs/heads/rel*", "refs/heads/release", true),
            ("refs/heads/rel*", "refs/heads/release/1", false),
            ("refs/heads/release/**/*", "refs/heads/release/1", true),
            ("refs/heads/release/**/*", "refs/heads/release/1/2/3", true),
            ("refs/heads/**", "refs/heads/a/b", true),
            ("refs/heads/v?", "refs/heads/v1", true),
            ("refs/heads/v?", "refs/heads/v", false),
            ("refs/heads/*/x", "refs/heads/a/x", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), truth, "{pattern} {name}");
        }
    }

    #[test]
    fn limits_of_updates() {
        let change = |old: &str, new: &str| RefChange { name: "refs/heads/x".into(), old: old.into(), new: new.into() };
        let rule = |kind: &str, parameters: Value| {
            let mut limits = Limits::default();
            limits.add_rule(&Rule { kind: kind.into(), parameters }, "refs/heads/x");
            limits
        };
        let (create, update, delete) = (change(git::ZERO, "b"), change("a", "b"), change("a", git::ZERO));
        let pattern = |operator: &str, pattern: &str, negate: bool| json!({"operator": operator, "pattern": pattern, "negate": negate});
        for (limits, refused) in [
            (rule("creation", Value::Null), [true, false, false]),
            (rule("update", Value::Null), [false, true, false]),
            (rule("deletion", Value::Null), [false, false, true]),
            (rule("pull_request", json!({})), [false, true, false]),
            (rule("branch_name_pattern", pattern("starts_with", "y", false)), [true, false, false]),
            (rule("branch_name_pattern", pattern("contains", "x", false)), [false, false, false]),
            (rule("branch_name_pattern", pattern("ends_with", "x", true)), [true, false, false]),
        ] {
            let found = [&create, &update, &delete].map(|change| limits.refuses(change, &[]).is_some());
            assert_eq!(found, refused, "{limits:?}");
        }
        let checks = rule("required_status_checks", json!({"required_status_checks": [{"context": "ci"}]}));
        assert!(
            checks.refuses(&update, &["ci".to_owned()]).is_some_and(|reason| reason.contains("\"ci\" is expected"))
        );
        assert_eq!(checks.refuses(&update, &[]), None);
    }
}
