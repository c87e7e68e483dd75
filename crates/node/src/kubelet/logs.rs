//! `containerLogs`: what `kubectl logs` shows.

use super::{ContainerPath, Kubelet, refuse};
use crate::logs::{Options, Reader};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtime::container::Container;
use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// How long the last lines of a container that has ended may take to the file.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Reads the query of a log request.
fn options(query: &HashMap<String, String>) -> Result<Options, String> {
    let flag = |name: &str| matches!(query.get(name).map(String::as_str), Some("true" | "1"));
    let number = |name: &str| {
        query
            .get(name)
            .map(|text| text.parse::<u64>().map_err(|_| format!("{name} must be a number, not {text:?}")))
            .transpose()
    };
    let now = jiff::Timestamp::now();
    let mut since = None;
    if let Some(seconds) = number("sinceSeconds")? {
        since = now.checked_sub(jiff::SignedDuration::from_secs(seconds.min(i64::MAX as u64) as i64)).ok();
    }
    if let Some(text) = query.get("sinceTime") {
        since = Some(text.parse().map_err(|_| format!("sinceTime must be a time, not {text:?}"))?);
    }
    Ok(Options {
        follow: flag("follow"),
        timestamps: flag("timestamps"),
        tail: number("tailLines")?.map(|n| n as usize),
        since,
        limit_bytes: number("limitBytes")?,
    })
}

/// The log of the last start, or of the one before.
fn choose(dir: &FilePath, previous: bool) -> Option<(u32, PathBuf)> {
    let mut attempts: Vec<u32> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok())
        .collect();
    attempts.sort_unstable();
    let chosen =
        if previous { attempts.len().checked_sub(2).map(|at| attempts[at]) } else { attempts.last().copied() }?;
    Some((chosen, dir.join(format!("{chosen}.log"))))
}

pub(super) async fn container_logs(
    State(kubelet): State<Kubelet>,
    Path((namespace, name, container)): ContainerPath,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let pod = match kubelet.pod(&namespace, &name) {
        Ok(pod) => pod,
        Err(response) => return response,
    };
    let options = match options(&query) {
        Ok(options) => options,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, message),
    };
    let previous = matches!(query.get("previous").map(String::as_str), Some("true" | "1"));
    let Some((attempt, path)) = choose(&pod.logs.join(&container), previous) else {
        let message = if previous {
            format!("previous terminated container \"{container}\" in pod \"{name}\" not found")
        } else {
            format!("container \"{container}\" in pod \"{name}\" is waiting to start: ContainerCreating")
        };
        return refuse(StatusCode::BAD_REQUEST, message);
    };
    let opened = Reader::open(&path, options.clone());
    let (mut reader, first) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("open the log of {container}: {error}"));
        }
    };
    // Only a container that still runs can be followed.
    let live = pod.containers.get(&container).filter(|running| running.attempt == attempt && options.follow);
    let changes = live.map(|running| (running.log.changes(), running.container.clone()));
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(4);
    let cancel = kubelet.cancel.clone();
    // Ends with the request: the stream below owns it.
    let mut task = JoinSet::new();
    task.spawn(async move {
        let copied = copy(&mut reader, first, changes, &sender, cancel).await;
        if let Err(error) = copied {
            let _ = sender.send(Err(error)).await;
        }
    });
    let stream = futures::stream::unfold((receiver, task), |(mut receiver, task)| async move {
        receiver.recv().await.map(|item| (item, (receiver, task)))
    });
    ([("content-type", "text/plain; charset=utf-8")], Body::from_stream(stream)).into_response()
}

/// Sends what there is, and with `changes` what comes, until the container has ended.
async fn copy(
    reader: &mut Reader,
    first: Vec<u8>,
    changes: Option<(watch::Receiver<u64>, Arc<Container>)>,
    sink: &mpsc::Sender<std::io::Result<Bytes>>,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let mut next = first;
    let (mut changes, mut ended) = (changes, false);
    loop {
        if !next.is_empty() && sink.send(Ok(Bytes::from(next))).await.is_err() {
            return Ok(());
        }
        if reader.is_full() {
            return Ok(());
        }
        if let Some((versions, _)) = &mut changes {
            versions.borrow_and_update();
        }
        next = reader.next(CHUNK)?;
        if !next.is_empty() {
            continue;
        }
        match &mut changes {
            Some((versions, container)) if !ended => tokio::select! {
                changed = versions.changed() => ended = changed.is_err(),
                _ = container.wait() => {
                    // The last lines are on their way from the pipe to the file.
                    let _ = tokio::time::timeout(LAST_LINES, async { while versions.changed().await.is_ok() {} }).await;
                    ended = true;
                }
                () = cancel.cancelled() => return Ok(()),
                () = sink.closed() => return Ok(()),
            },
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let query =
            |pairs: &[(&str, &str)]| options(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let parsed =
            query(&[("follow", "true"), ("tailLines", "5"), ("timestamps", "1"), ("limitBytes", "9")]).expect("valid");
        assert!(parsed.follow && parsed.timestamps && parsed.tail == Some(5) && parsed.limit_bytes == Some(9));
        assert!(query(&[("sinceSeconds", "60")]).expect("valid").since.is_some());
        assert!(query(&[("tailLines", "x")]).is_err() && query(&[("sinceTime", "yesterday")]).is_err());
    }

    #[test]
    fn starts() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["0.log", "1.log", "10.log", "10.log.1"] {
            std::fs::write(dir.path().join(name), "").expect("written");
        }
        assert_eq!(choose(dir.path(), false).map(|(n, _)| n), Some(10));
        assert_eq!(choose(dir.path(), true).map(|(n, _)| n), Some(1));
        assert_eq!(choose(&dir.path().join("none"), false), None);
    }
}
