//! The environment of a step's processes.

use indexmap::IndexMap;

use super::{Current, Executor, Frame};
use crate::expr::Value;

impl Executor {
    /// `PATH` for a step.
    pub(crate) fn path_variable(&self, env: &[(String, String)]) -> String {
        let own = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        let base = own
            .or_else(|| self.env.get("PATH").cloned())
            .or_else(|| self.base_env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()))
            .unwrap_or_default();
        let mut parts: Vec<&str> = self.path.iter().map(String::as_str).collect();
        parts.push(&base);
        parts.join(":")
    }

    /// The whole environment of a process of a step.
    pub(crate) fn process_env(
        &mut self,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Vec<(String, String)>, String> {
        self.make_files(current)?;
        let mut all: IndexMap<String, String> = self.base_env.iter().cloned().collect();
        all.extend(self.env.iter().map(|(n, v)| (n.clone(), v.clone())));
        all.extend(frame.env.iter().cloned());
        all.extend(env.iter().cloned());
        let path = self.path_variable(env);
        all.insert("PATH".to_owned(), path);
        // A workflow may say that it is not in CI.
        all.entry("CI".to_owned()).or_insert_with(|| "true".to_owned());
        all.extend(self.github_variables(frame));
        all.extend(current.files.variables());
        all.extend(self.identity_variables());
        all.insert("GITHUB_ACTION".to_owned(), current.id.clone());
        Ok(all.into_iter().collect())
    }

    /// `GITHUB_*` and `RUNNER_*`.
    pub(super) fn github_variables(&self, frame: &Frame) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (name, value) in self.github.iter() {
            if matches!(name, "event" | "token" | "secret_source" | "repositoryUrl") || !value.is_primitive() {
                continue;
            }
            out.push((format!("GITHUB_{}", name.to_ascii_uppercase()), value.to_text()));
        }
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        out.extend([
            ("GITHUB_WORKSPACE".to_owned(), path(&self.workspace.workspace)),
            ("GITHUB_EVENT_PATH".to_owned(), path(&self.event_path())),
            ("GITHUB_JOB".to_owned(), self.spec.id.clone()),
            ("GITHUB_ACTIONS".to_owned(), "true".to_owned()),
            ("RUNNER_WORKSPACE".to_owned(), self.workspace.workspace.parent().map(path).unwrap_or_default()),
            ("RUNNER_TOOL_CACHE".to_owned(), path(&self.tool_cache())),
            ("AGENT_TOOLSDIRECTORY".to_owned(), path(&self.tool_cache())),
        ]);
        if let Value::Object(runner) = self.runner_context() {
            out.extend(
                runner
                    .iter()
                    .filter(|(name, _)| !matches!(*name, "tool_cache" | "workspace"))
                    .map(|(n, v)| (format!("RUNNER_{}", n.to_ascii_uppercase()), v.to_text())),
            );
        }
        if let Some(action) = &frame.action {
            out.push(("GITHUB_ACTION_PATH".to_owned(), path(&action.path)));
            out.push(("GITHUB_ACTION_REPOSITORY".to_owned(), action.repository.clone()));
            out.push(("GITHUB_ACTION_REF".to_owned(), action.reference.clone()));
        }
        out
    }
}
