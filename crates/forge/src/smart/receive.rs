//! `git push`.
//!
//! Commands are read first and stored as an intent; then the pack streams into `git receive-pack`, whose progress streams back. Its
//! report is held until what it says is recorded, so that a client never hears of a success that a kill could undo. After
//! the report the side band stays open for as long as the listener has something to say.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::mpsc;

use super::body::Incoming;
use super::{Service, admit, answer, channel, protocol, serve};
use crate::api_error::ApiError;
use crate::auth::Principal;
use crate::listener::{Push, PushOutput};
use crate::model::Repo;
use crate::pktline::{self, Commands, Packet, RefChange, Report};
use crate::push::Actor;
use crate::{Error, Forge};

/// The most refs that one push may move.
const MOST_COMMANDS: usize = 50_000;
/// The most bytes that its commands may take.
const MOST_BYTES: usize = 16 << 20;
/// How often an open side band shows that the server is there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// `POST /OWNER/REPO/git-receive-pack`
pub(crate) async fn receive_pack(forge: &Forge, headers: &HeaderMap, full_name: &str, body: Body) -> Response {
    let (principal, repo) = match admit(forge, headers, full_name, Service::ReceivePack).await {
        Ok(admitted) => admitted,
        Err(response) => return response,
    };
    match begin(forge, headers, &principal, repo, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn begin(
    forge: &Forge,
    headers: &HeaderMap,
    principal: &Principal,
    repo: Repo,
    body: Body,
) -> Result<Response, ApiError> {
    let mut incoming = Incoming::new(headers, body)?;
    let mut start = BytesMut::new();
    let unreadable = |error: std::io::Error| ApiError::bad_request(format!("the body cannot be read: {error}"));
    let (commands, _) = loop {
        match Commands::parse(&start, MOST_COMMANDS) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if start.len() > MOST_BYTES => {
                return Err(ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "the push has too many commands"));
            }
            Ok(None) => {}
            Err(error) => return Err(ApiError::bad_request(format!("not a push: {error}"))),
        }
        match incoming.chunk().await.map_err(unreadable)? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None => return Err(ApiError::bad_request("not a push: it ends before its commands do")),
        }
    };
    let rules = rules(forge, &repo, principal, &commands.changes).await?;
    // The hook is a script: where no rule asks for it, nothing is started for each ref.
    let hooks = rules.iter().any(|(_, names)| !names.is_empty()).then(|| forge.hooks_dir());
    let mut command = serve(forge, &repo, Service::ReceivePack, &protocol(headers), hooks.as_deref())?;
    command.args(["--stateless-rpc", "."]);
    for (variable, names) in rules {
        command.env(variable, names);
    }
    let actor = Actor { login: principal.login.clone(), run: principal.run() };
    let intent = forge.intend(repo.id, &actor, &commands.changes).await?;
    let child = match command.spawn() {
        Ok(child) => child,
        Err(source) => {
            tracing::error!(error = &source as &dyn std::error::Error, "git cannot be run");
            forge.finish(repo.id, intent, &[]).await?;
            return Err(ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, "Server Error"));
        }
    };
    let (sender, response) = channel();
    let push = Receiving { forge: forge.clone(), repo, actor, commands, intent, sender };
    forge.detach("receive-pack", push.run(child, start.freeze(), incoming));
    Ok(answer("application/x-git-receive-pack-result", response))
}

/// The most that the hook is told, which is what an environment has room for.
const MOST_RULES: usize = 100_000;

/// What the `update` hook is told of the refs that a push moves: those that may not be, and why; those whose history must be kept; those
/// whose history must stay a line.
async fn rules(
    forge: &Forge,
    repo: &Repo,
    principal: &Principal,
    changes: &[RefChange],
) -> Result<[(&'static str, String); 3], ApiError> {
    let (mut refused, mut kept, mut line) = (String::new(), String::new(), String::new());
    let names = changes.iter().map(|change| change.name.as_str());
    let limits = forge.limits(repo, principal, names, false).await?;
    for (change, limits) in changes.iter().zip(limits) {
        let missing = forge.missing_checks(repo, &change.new, &limits.contexts).await?;
        let reason = limits.refuses(change, &missing);
        for (list, wanted, detail) in [
            (&mut refused, reason.is_some(), reason.as_deref().unwrap_or_default()),
            (&mut kept, limits.no_force, ""),
            (&mut line, limits.linear, ""),
        ] {
            if wanted {
                list.push_str(&change.name);
                if !detail.is_empty() {
                    list.push('\t');
                    list.push_str(detail);
                }
                list.push('\n');
            }
        }
    }
    if [&refused, &kept, &line].iter().any(|list| list.len() > MOST_RULES) {
        return Err(ApiError::unprocessable("the push moves too many protected refs at once; push fewer of them"));
    }
    Ok([("FORGE_REFUSED", refused), ("FORGE_NO_FORCE", kept), ("FORGE_LINEAR", line)])
}

/// A push under way.
struct Receiving {
    forge: Forge,
    repo: Repo,
    actor: Actor,
    commands: Commands,
    intent: i64,
    sender: mpsc::Sender<Bytes>,
}

impl Receiving {
    async fn run(self, mut child: Child, start: Bytes, incoming: Incoming) {
        let band = self.commands.has("side-band-64k") || self.commands.has("side-band");
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return;
        };
        let drain = async {
            let mut text = String::new();
            let _ = stderr.take(16 << 10).read_to_string(&mut text).await;
            text
        };
        let (fed, report, text) = tokio::join!(feed(stdin, start, incoming), self.pump(stdout, band), drain);
        if let Err(error) = fed {
            tracing::debug!(error = &error as &dyn std::error::Error, "a push was cut short");
        }
        if let Err(error) = child.wait().await {
            tracing::error!(error = &error as &dyn std::error::Error, "receive-pack cannot be awaited");
        }
        if !text.trim().is_empty() {
            tracing::debug!(repository = self.repo.full_name(), message = text.trim(), "receive-pack said");
        }
        let outcome = match self.made(&report).await {
            Ok(made) => self.forge.finish(self.repo.id, self.intent, &made).await.map(|ids| (made, ids)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((made, webhooks)) => {
                let sent = if band { pktline::band(1, &report, self.small()) } else { report.to_vec() };
                if !sent.is_empty() {
                    let _ = self.sender.send(sent.into()).await;
                }
                if band && !made.is_empty() {
                    self.listen(made, webhooks).await;
                }
            }
            Err(error) => {
                tracing::error!(
                    repository = self.repo.full_name(),
                    error = &error as &dyn std::error::Error,
                    "a push cannot be recorded"
                );
                if band {
                    let text = "the push could not be recorded; look at the forge's log and push again\n";
                    let _ = self.sender.send(pktline::band(3, text.as_bytes(), self.small()).into()).await;
                }
            }
        }
        if band {
            let _ = self.sender.send(Bytes::from_static(b"0000")).await;
        }
    }

    fn small(&self) -> bool {
        !self.commands.has("side-band-64k")
    }

    /// Passes git's progress on and keeps its report back, which is returned.
    async fn pump(&self, mut stdout: impl AsyncRead + Unpin, band: bool) -> Bytes {
        let mut buffer = BytesMut::with_capacity(64 << 10);
        let mut report = BytesMut::new();
        loop {
            match stdout.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) if !band => report.extend_from_slice(&buffer.split()),
                Ok(_) => {
                    while let Ok(Some((packet, taken))) = pktline::next(&buffer) {
                        let forward = match packet {
                            Packet::Data([1, rest @ ..]) => {
                                report.extend_from_slice(rest);
                                false
                            }
                            Packet::Data(_) => true,
                            _ => false,
                        };
                        let packet = buffer.split_to(taken).freeze();
                        if forward {
                            // A client that has gone does not stop the push: git has its commands already.
                            let _ = self.sender.send(packet).await;
                        }
                    }
                }
            }
        }
        report.freeze()
    }

    /// The commands that git carried out: by its report, or by looking when there is none.
    async fn made(&self, report: &[u8]) -> Result<Vec<RefChange>, Error> {
        let parsed = Report::parse(report);
        let reported = !parsed.accepted.is_empty() || !parsed.refused.is_empty();
        if reported {
            let accepted = |change: &&RefChange| parsed.accepted.contains(&change.name);
            return Ok(self.commands.changes.iter().filter(accepted).cloned().collect());
        }
        let repository = self.forge.git_of(&self.repo)?;
        let mut made = Vec::new();
        for change in self.commands.changes.iter().filter(|change| change.old != change.new) {
            let at = repository.rev_parse(&change.name).await.unwrap_or_default();
            if at.as_deref().unwrap_or(git::ZERO) == change.new {
                made.push(change.clone());
            }
        }
        Ok(made)
    }

    /// Keeps the side band open while the listener speaks.
    async fn listen(&self, updates: Vec<RefChange>, webhooks: Vec<i64>) {
        let Some(listener) = self.forge.push_listener() else { return };
        let push = Push {
            repository: self.repo.full_name(),
            actor: self.actor.login.clone(),
            run: self.actor.run.clone(),
            updates,
            webhooks,
        };
        let (output, mut lines) = PushOutput::new();
        let mut told = listener.pushed(push, output);
        let limit = tokio::time::sleep(self.forge.config().push_output_limit);
        tokio::pin!(limit);
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.reset();
        let mut ended = false;
        loop {
            let packet: Bytes = tokio::select! {
                biased;
                line = lines.recv() => match line {
                    Some(line) => {
                        keep_alive.reset();
                        pktline::band(2, format!("{}\n", line.trim_end_matches('\n')).as_bytes(), self.small()).into()
                    }
                    None => break,
                },
                () = &mut told, if !ended => {
                    ended = true;
                    // What it said last is still in the channel, which closes behind it.
                    lines.close();
                    continue;
                }
                () = &mut limit => break,
                () = self.sender.closed() => break,
                () = self.forge.inner().shutdown.cancelled() => break,
                _ = keep_alive.tick() => Bytes::from_static(b"0005\x01"),
            };
            if self.sender.send(packet).await.is_err() {
                break;
            }
        }
    }
}

/// Writes what was read already and then the rest of the body into git.
async fn feed(mut stdin: impl AsyncWrite + Unpin, start: Bytes, mut incoming: Incoming) -> std::io::Result<()> {
    stdin.write_all(&start).await?;
    while let Some(chunk) = incoming.chunk().await? {
        stdin.write_all(&chunk).await?;
    }
    stdin.shutdown().await
}
