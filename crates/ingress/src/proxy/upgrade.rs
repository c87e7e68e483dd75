//! Connections that change their protocol (WebSocket): bytes are passed both ways until one side ends.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// Joins both sides once they have changed.
pub(super) async fn join(client: OnUpgrade, endpoint: OnUpgrade) {
    let (client, endpoint) = match futures::future::try_join(client, endpoint).await {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a connection could not change its protocol");
            return;
        }
    };
    let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await {
        tracing::debug!(%error, "an upgraded connection ended");
    }
}
