//! What the integration tests share.

use apiserver::{ApiServer, Config, Identity};

/// A server in a directory of its own, and a client of the administrator.
pub async fn server() -> (tempfile::TempDir, ApiServer, kube::Client) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let server =
        ApiServer::open(Config { dir: dir.path().join("state"), ..Config::default() }).await.expect("server opens");
    let client = server.client(Identity::admin());
    (dir, server, client)
}
