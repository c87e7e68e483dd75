//! One blob from an upstream: downloaded once, read by many while it comes.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::StreamBody;
use oci::client::Client;
use oci::{Descriptor, Reference as ImageReference};
use tokio::sync::watch;

use super::failure::{Failure, classify};
use crate::store::Store;

/// How long a download may give nothing before it counts as cut off.
const STALL: Duration = Duration::from_secs(30);

pub(super) type FlightBody = StreamBody<futures::stream::BoxStream<'static, std::io::Result<http_body::Frame<Bytes>>>>;

/// How far a download is.
#[derive(Clone, Debug)]
pub(super) enum Flight {
    Connecting,
    Coming { file: Arc<File>, written: u64 },
    Done { file: Arc<File>, written: u64 },
    Failed(Arc<Failure>),
}

/// Fetches a blob into a file, telling how far it is, and gives it to the repository.
pub(super) async fn download(
    store: &Arc<Store>,
    client: &Client,
    there: &ImageReference,
    here: &str,
    descriptor: &Descriptor,
    path: &Path,
    sender: &watch::Sender<Flight>,
) -> Result<(), Failure> {
    let stalled = |_| Failure::Silent(format!("nothing came for {} s", STALL.as_secs()));
    let begun = tokio::time::timeout(STALL, client.blob(there, descriptor)).await.map_err(stalled)?;
    let mut blob = begun.map_err(|e| classify(&e))?;
    let storage = |e: std::io::Error| Failure::Storage(e.to_string());
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(storage)?;
    let file = Arc::new(file);
    let mut written = 0;
    sender.send_replace(Flight::Coming { file: Arc::clone(&file), written });
    loop {
        let next = tokio::time::timeout(STALL, blob.stream.try_next()).await.map_err(stalled)?;
        let Some(bytes) = next.map_err(|e| classify(&e))? else { break };
        (&*file).write_all(&bytes).map_err(storage)?;
        written += bytes.len() as u64;
        sender.send_replace(Flight::Coming { file: Arc::clone(&file), written });
    }
    let (store, here, digest) = (Arc::clone(store), here.to_owned(), descriptor.digest.clone());
    let (syncing, path) = (Arc::clone(&file), path.to_owned());
    let pending = tokio::task::spawn_blocking(move || {
        syncing.sync_all().map_err(|e| Failure::Storage(e.to_string()))?;
        store.adopt(&path, &here, &digest, written).map_err(|e| Failure::Storage(e.to_string()))
    });
    let pending = pending.await.map_err(|e| Failure::Storage(e.to_string()))??;
    pending.durable().await.map_err(|e| Failure::Storage(e.to_string()))?;
    sender.send_replace(Flight::Done { file, written });
    Ok(())
}

/// What a download has so far, then what comes. The last byte waits until the digest is known to be right, so that nobody
/// takes wrong content for whole.
pub(super) fn follow(flight: watch::Receiver<Flight>, size: u64) -> FlightBody {
    let early = move |written: u64| written.min(size.saturating_sub(1));
    let stream = futures::stream::try_unfold((flight, 0u64), move |(mut flight, at)| async move {
        let seen = flight.wait_for(|f| match f {
            Flight::Connecting => false,
            Flight::Coming { written, .. } => early(*written) > at,
            Flight::Done { .. } | Flight::Failed(_) => true,
        });
        let seen = seen.await.map(|f| f.clone()).map_err(|_| std::io::Error::other("the download was cancelled"))?;
        let (file, written) = match seen {
            Flight::Coming { file, written } => (file, early(written)),
            Flight::Done { file, written } => (file, written),
            _ => return Err(std::io::Error::other("the download from the upstream failed")),
        };
        if at >= written {
            return Ok(None);
        }
        let mut buffer = vec![0; (written - at).min(64 * 1024) as usize];
        let n = file.read_at(&mut buffer, at)?;
        buffer.truncate(n);
        Ok(Some((http_body::Frame::data(Bytes::from(buffer)), (flight, at + n as u64))))
    });
    StreamBody::new(Box::pin(stream))
}
