//! What is wrong, or probably wrong, with workflow files, and what in them behaves differently here than on GitHub. Pure.

mod portability;

use serde::Serialize;

use crate::action::Reference;
use crate::builtin;
use crate::expr::{Template, Value};
use crate::graph;
use crate::workflow::{Diagnostic, Job, JobKind, Position, Severity, Step, StepKind, Tree, TreeKind, Workflow, read};

/// A construct that behaves differently here than on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it stands.
    #[serde(flatten)]
    pub at: Position,
    /// What it is.
    pub construct: String,
    /// What is different.
    pub difference: String,
}

/// What is to be said about one file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file.
    pub path: String,
    /// Errors and warnings, by place.
    pub findings: Vec<Diagnostic>,
    /// The portability report, by place.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether the file can run.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// Checks files that belong together: path and text of each.
pub fn check(files: &[(String, String)]) -> Vec<Report> {
    let parsed: Vec<_> = files.iter().map(|(path, text)| (path, read(path, text))).collect();
    let names: Vec<&str> = parsed
        .iter()
        .filter_map(|(_, (workflow, _))| workflow.as_ref())
        .map(|workflow| workflow.name.as_str())
        .collect();
    parsed
        .iter()
        .map(|(path, (workflow, findings))| {
            let mut report = Report { path: (*path).clone(), findings: findings.0.clone(), differences: Vec::new() };
            if let Some(workflow) = workflow {
                let mut checker = Checker { report: &mut report, workflow };
                checker.triggers(&names, files);
                workflow.jobs.values().for_each(|job| checker.job(job));
            }
            report.findings.sort_by_key(|finding| finding.at);
            report.differences.sort_by_key(|difference| difference.at);
            report
        })
        .collect()
}

/// Events that happen on a forge without discussions, milestones, projects and pages.
const LIVE: &[&str] = &[
    "push",
    "pull_request",
    "pull_request_target",
    "pull_request_review",
    "issues",
    "issue_comment",
    "label",
    "release",
    "workflow_run",
    "workflow_call",
    "workflow_dispatch",
    "repository_dispatch",
    "create",
    "delete",
];

struct Checker<'a> {
    report: &'a mut Report,
    workflow: &'a Workflow,
}

impl Checker<'_> {
    fn warn(&mut self, at: Position, message: impl Into<String>, hint: &str) {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        self.report.findings.push(Diagnostic { at, severity: Severity::Warning, message: message.into(), hint });
    }

    fn differs(&mut self, at: Position, construct: impl Into<String>, difference: impl Into<String>) {
        self.report.differences.push(Difference { at, construct: construct.into(), difference: difference.into() });
    }

    fn triggers(&mut self, names: &[&str], files: &[(String, String)]) {
        for trigger in &self.workflow.on {
            if trigger.event == "schedule" {
                self.differs(trigger.at, "on.schedule", "runs to the minute, and only while the platform is up; a time that passed while it was down is not made up");
            } else if !LIVE.contains(&trigger.event.as_str()) {
                self.differs(
                    trigger.at,
                    format!("on.{}", trigger.event),
                    "the embedded forge never sends this event; `bigben run --event` can",
                );
            }
            let patterns: Vec<_> = trigger.workflows.iter().filter(|pattern| !pattern.is_negative()).collect();
            for pattern in patterns {
                if files.len() > 1 && !names.iter().any(|name| pattern.matches(name)) {
                    self.warn(
                        trigger.at,
                        format!("no workflow here is named '{}'", pattern.source()),
                        "workflow_run compares with `name`, not with the file",
                    );
                }
            }
        }
    }

    fn job(&mut self, job: &Job) {
        self.expression_texts(job);
        if let Some(condition) = &job.condition {
            self.condition(job.at, condition);
        }
        if job
            .permissions
            .as_ref()
            .or(self.workflow.permissions.as_ref())
            .is_some_and(|p| p.get("id-token") == crate::workflow::Access::Write)
        {
            self.differs(
                job.at,
                "permissions.id-token",
                "tokens are signed by this platform; a cloud that trusts only GitHub's issuer refuses them",
            );
        }
        let group = |tree: &Option<Tree>| {
            let text = |tree: &Tree| match &tree.kind {
                TreeKind::Constant(value) if value.is_primitive() => Some(value.to_text().to_lowercase()),
                TreeKind::Expression(template) => Some(template.source().trim().to_lowercase()),
                _ => None,
            };
            tree.as_ref().and_then(|tree| tree.get("group").map_or_else(|| text(tree), text))
        };
        if let (Some(own), Some(whole)) = (group(&job.concurrency), group(&self.workflow.concurrency))
            && own == whole
        {
            self.differs(
                job.at,
                "concurrency",
                "names the group that the whole run holds: GitHub cancels the job, since it would wait for itself; here it runs",
            );
        }
        match &job.kind {
            JobKind::Call(call) => {
                if !call.uses.starts_with("./") {
                    self.differs(
                        call.uses_at,
                        format!("uses: {}", call.uses),
                        "is read from the embedded forge, which must have that repository",
                    );
                }
            }
            JobKind::Steps(steps) => {
                self.labels(&steps.runs_on);
                if let Some(tree) = &steps.container {
                    self.differs(tree.at, "container", "shares the network of this machine, so `ports` need no mapping; there is no /var/run/docker.sock");
                    if let Some(problem) = portability::container(tree) {
                        self.differs(tree.at, "container", format!("fails at once: {problem}"));
                    }
                }
                if let Some(tree) = &steps.services {
                    if let TreeKind::Mapping(entries) = &tree.kind {
                        for (name, tree) in entries {
                            if let Some(problem) = portability::container(tree) {
                                self.differs(
                                    tree.at,
                                    format!("services.{}", name.source()),
                                    format!("fails at once: {problem}"),
                                );
                            }
                        }
                    }
                    self.differs(tree.at, "services", "have networks of their own whose connections are carried by the runner: they reach each other and the outside over TCP, and over UDP only each other and the name server; the first connection to a port other than 80 and 443 outside takes a second");
                }
                if let Some(at) = steps.snapshot {
                    self.differs(at, "snapshot", "is refused: it makes images of GitHub's own machines");
                }
                steps.steps.iter().flat_map(Step::flat).for_each(|step| self.step(step));
            }
        }
    }

    fn labels(&mut self, tree: &Tree) {
        let labels = match tree.constant() {
            Some(Value::Array(items)) => items.iter().map(Value::to_text).collect(),
            Some(Value::String(text)) => vec![text.to_string()],
            Some(value @ Value::Object(_)) => {
                if value.get("group") != Value::Null {
                    self.differs(
                        tree.at,
                        "runs-on: group",
                        "groups of runners are not known here: only the labels count",
                    );
                }
                match value.get("labels") {
                    Value::Array(items) => items.iter().map(Value::to_text).collect(),
                    Value::Null => return,
                    one => vec![one.to_text()],
                }
            }
            _ => return,
        };
        for label in labels {
            if let Some((construct, difference)) = portability::label(&label) {
                self.differs(tree.at, construct, difference);
            }
        }
    }

    fn condition(&mut self, at: Position, condition: &Template) {
        let text = condition.source().trim();
        let whole = text.starts_with("${{") && text.ends_with("}}") && text.matches("${{").count() == 1;
        if text.contains("${{") && !whole {
            self.warn(
                at,
                format!(
                    "the condition '{text}' is always true: text around ${{{{ }}}} makes it a string that is not empty"
                ),
                "put the whole condition inside one ${{ }}",
            );
        }
    }

    fn step(&mut self, step: &Step) {
        if let Some(condition) = &step.condition {
            self.condition(step.at, condition);
        }
        if step.background || matches!(step.kind, StepKind::Parallel(_)) {
            let construct = if step.background { "background" } else { "parallel" };
            self.differs(step.at, construct, "the step's log joins the job's when the step is waited for or cancelled");
        }
        match &step.kind {
            StepKind::Run { script, shell, .. } => {
                let text = script.source();
                for (command, file) in [
                    ("::set-output", "GITHUB_OUTPUT"),
                    ("::save-state", "GITHUB_STATE"),
                    ("::set-env", "GITHUB_ENV"),
                    ("::add-path", "GITHUB_PATH"),
                ] {
                    if text.contains(command) {
                        self.warn(
                            step.at,
                            format!("the command {command} is no longer to be used"),
                            &format!("write to the file in ${file}"),
                        );
                    }
                }
                for (construct, difference) in portability::script(text) {
                    self.differs(step.at, construct, difference);
                }
                if let Some((construct, difference)) = shell.as_ref().and_then(portability::shell) {
                    self.differs(step.at, construct, difference);
                }
                self.untrusted(step.at, text);
            }
            StepKind::Uses { action, .. } => self.uses(step.at, action),
            StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) | StepKind::Parallel(_) => {}
        }
    }

    fn uses(&mut self, at: Position, action: &str) {
        match Reference::parse(action) {
            Ok(Reference::Repository { repository, path, reference }) => {
                let name = if path.is_empty() { repository.clone() } else { format!("{repository}/{path}") };
                if builtin::names().any(|known| known.eq_ignore_ascii_case(&name)) {
                    let how = match name.to_ascii_lowercase().as_str() {
                        name if name.starts_with("actions/setup-") || name.contains("rust") => {
                            "takes the version that this machine has, and fails when it has none that fits"
                        }
                        name if name.starts_with("docker/") => "is built in and calls the job's `docker` command",
                        "actions/cache" | "actions/cache/restore" | "actions/cache/save" => {
                            "is built in: entries are files on this machine, without GitHub's limits of size and age"
                        }
                        "actions/checkout" => "is built in: objects are borrowed from the forge on this machine",
                        _ => "is built in: artifacts are files on this machine",
                    };
                    self.differs(at, format!("uses: {action}"), how);
                } else {
                    self.differs(at, format!("uses: {action}"), "is taken from the embedded forge, then from what was fetched before, then from upstream when that is allowed");
                }
                let branch = ["main", "master", "dev", "develop"].contains(&reference.as_str());
                if branch && !reference.is_empty() && !name.to_ascii_lowercase().starts_with("dtolnay/") {
                    self.warn(
                        at,
                        format!("'{action}' follows a branch, so its code may change under you"),
                        "name a release or a commit",
                    );
                }
            }
            Ok(Reference::Docker(_)) => {
                self.differs(at, format!("uses: {action}"), "shares the network of this machine");
            }
            Ok(Reference::Local(_)) | Err(_) => {}
        }
    }

    /// Text of others in a script is executed by its shell.
    fn untrusted(&mut self, at: Position, script: &str) {
        const UNTRUSTED: &[&str] = &[
            "github.event.issue.title",
            "github.event.issue.body",
            "github.event.pull_request.title",
            "github.event.pull_request.body",
            "github.event.comment.body",
            "github.event.review.body",
            "github.event.head_commit.message",
            "github.event.head_commit.author.email",
            "github.event.head_commit.author.name",
            "github.event.pull_request.head.ref",
            "github.event.pull_request.head.label",
            "github.head_ref",
        ];
        let mut rest = script;
        while let Some(start) = rest.find("${{") {
            let Some(end) = rest[start..].find("}}") else { return };
            let inner = &rest[start + 3..start + end];
            if let Some(name) = UNTRUSTED.iter().find(|name| inner.contains(*name)) {
                self.warn(at, format!("'{name}' is text of whoever opens the pull request or writes the commit, and the shell executes it"), "hand it over in env: and quote the variable");
            }
            rest = &rest[start + end..];
        }
    }

    /// References to steps and jobs that do not exist are null without a word; so they are named here.
    fn expression_texts(&mut self, job: &Job) {
        let needs: Vec<&str> = job.needs.iter().map(|(need, _)| need.as_str()).collect();
        let (ids, steps): (Vec<&str>, &[Step]) = match &job.kind {
            JobKind::Steps(steps) => {
                (steps.steps.iter().filter(|step| step.named_id).map(|step| step.id.as_str()).collect(), &steps.steps)
            }
            JobKind::Call(_) => (Vec::new(), &[]),
        };
        let mut names: Vec<(Position, String, String)> = Vec::new();
        let mut others: Vec<(Position, portability::Found)> = Vec::new();
        let mut collect = |at: Position, template: &Template| {
            names.extend(references(template).map(|(context, name)| (at, context, name)));
            for found in portability::expressions(template) {
                if !others.iter().any(|(_, (known, _))| *known == found.0) {
                    others.push((at, found));
                }
            }
        };
        for step in steps {
            step.name.iter().chain(&step.condition).for_each(|template| collect(step.at, template));
            if let StepKind::Run { script, working_directory, shell } = &step.kind {
                std::iter::once(script)
                    .chain(working_directory)
                    .chain(shell)
                    .for_each(|template| collect(step.at, template));
            }
            let with = match &step.kind {
                StepKind::Uses { with, .. } => with.as_ref(),
                _ => None,
            };
            for tree in step.env.iter().chain(with) {
                templates(tree, &mut |template| collect(tree.at, template));
            }
        }
        job.condition.iter().for_each(|template| collect(job.at, template));
        if let JobKind::Steps(definition) = &job.kind {
            for tree in [&definition.env, &definition.outputs, &definition.environment]
                .into_iter()
                .flatten()
                .chain(&job.concurrency)
                .chain(&job.strategy)
            {
                templates(tree, &mut |template| collect(tree.at, template));
            }
        }
        for (at, (construct, difference)) in others {
            self.differs(at, construct, difference);
        }
        for (at, context, name) in names {
            let known = match context.as_str() {
                "steps" => ids.iter().any(|id| id.eq_ignore_ascii_case(&name)),
                _ => needs.iter().any(|need| need.eq_ignore_ascii_case(&name)),
            };
            if !known && context == "steps" {
                self.warn(at, format!("no step of the job '{}' has the id '{name}'", job.id), "give the step an `id`");
            } else if !known {
                let exists = graph::find(&self.workflow.jobs, &name).is_some();
                let hint = if exists { format!("add '{name}' to its needs") } else { String::new() };
                self.warn(at, format!("the job '{}' does not need '{name}', so it cannot see it", job.id), &hint);
            }
        }
    }
}

fn templates(tree: &Tree, visit: &mut dyn FnMut(&Template)) {
    match &tree.kind {
        TreeKind::Constant(_) => {}
        TreeKind::Expression(template) => visit(template),
        TreeKind::Sequence(items) => items.iter().for_each(|item| templates(item, visit)),
        TreeKind::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            visit(key);
            templates(value, visit);
        }),
    }
}

/// The names that a string takes from the `steps` and `needs` contexts.
fn references(template: &Template) -> impl Iterator<Item = (String, String)> + '_ {
    let members = template.expressions().flat_map(portability::members);
    members.filter(|(context, _)| context == "steps" || context == "needs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_differences_have_places() {
        let reports = check(&[
            (
                "ci.yml".to_owned(),
                "on:\n  push:\n  milestone:\njobs:\n  a:\n    runs-on: windows-latest\n    timeout-minutes: 5\n    steps:\n      - uses: actions/checkout@v5\n      - id: x\n        run: echo ${{ steps.y.outputs.z }} ${{ needs.b.result }} ${{ github.event.pull_request.title }}\n        if: ${{ true }} && false\n      - run: echo ::set-output name=a::b\n".to_owned(),
            ),
            ("next.yml".to_owned(), "name: next\non: {workflow_run: {workflows: [Nothing]}}\njobs: {a: {runs-on: self-hosted, timeout-minutes: 1, steps: [{run: x}]}}\n".to_owned()),
            ("bad.yml".to_owned(), "on: push\n".to_owned()),
        ]);
        let text: Vec<String> = reports[0].findings.iter().map(ToString::to_string).collect();
        for part in [
            "no step of the job 'a' has the id 'y'",
            "does not need 'b'",
            "is always true",
            "::set-output",
            "the shell executes it",
        ] {
            assert!(text.iter().any(|line| line.contains(part)), "{part} in {text:#?}");
        }
        let differences: Vec<&str> =
            reports[0].differences.iter().map(|difference| difference.construct.as_str()).collect();
        assert_eq!(differences, ["on.milestone", "runs-on: windows-latest", "uses: actions/checkout@v5"]);
        let text = "on: push\nconcurrency: {group: 'x-${{ github.ref }}'}\njobs:\n  a: {concurrency: 'X-${{ github.ref }}', runs-on: self-hosted, steps: [{run: x}]}\n  b: {concurrency: other, runs-on: self-hosted, steps: [{run: x}]}\n";
        let found = check(&[("groups.yml".to_owned(), text.to_owned())]);
        let found: Vec<(usize, &str)> =
            found[0].differences.iter().map(|difference| (difference.at.line, difference.construct.as_str())).collect();
        assert_eq!(found, [(4, "concurrency")]);
        let text = "on: {schedule: [{cron: '0 0 * * *'}]}\njobs:\n  a:\n    runs-on: {group: big, labels: [ubuntu-latest, gpu]}\n    permissions: {id-token: write}\n    container: {image: x, options: --gpus all}\n    services: {db: {image: y, volumes: ['/var/run/docker.sock:/s']}}\n    steps:\n      - {run: docker run x, shell: pwsh}\n      - {run: 'echo ${{ secrets.GITHUB_TOKEN }} ${{ runner.environment }}', background: true}\n      - uses: docker://z\n      - uses: a/b@v1\n      - uses: docker/build-push-action@v6\n  c: {uses: o/r/.github/workflows/w.yml@v1}\n";
        let found = check(&[("all.yml".to_owned(), text.to_owned())]);
        let found: Vec<&str> = found[0].differences.iter().map(|difference| difference.construct.as_str()).collect();
        for construct in [
            "on.schedule",
            "runs-on: group",
            "runs-on: ubuntu-latest",
            "runs-on: gpu",
            "permissions.id-token",
            "container",
            "services",
            "services.db",
            "docker run",
            "shell: pwsh",
            "secrets.GITHUB_TOKEN",
            "runner.environment",
            "background",
            "uses: docker://z",
            "uses: a/b@v1",
            "uses: docker/build-push-action@v6",
            "uses: o/r/.github/workflows/w.yml@v1",
        ] {
            assert!(found.contains(&construct), "{construct} in {found:?}");
        }
        assert!(reports[1].findings[0].message.contains("no workflow here is named 'Nothing'"));
        assert!(reports[0].is_ok() && !reports[2].is_ok());
    }
}
