//! A bench whose engine is served: the services of its jobs, and the REST paths.

use std::ops::Deref;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Bench;

pub struct Served {
    pub bench: Bench,
    pub url: String,
    _tasks: JoinSet<()>,
}

impl Deref for Served {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Served {
    pub async fn new(files: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bench = Bench::with(files, |config| config.services_url = Some(url.clone())).await;
        *bench.host.api.lock().unwrap() = Some(format!("{url}/api/v3"));
        let mut tasks = JoinSet::new();
        let router = Self::router(&bench);
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { bench, url, _tasks: tasks }
    }

    /// What the server answers.
    pub fn router(bench: &Bench) -> Router {
        let rest = bench.engine.router();
        bench.engine.services().merge(rest.clone()).nest("/api/v3", rest)
    }
}
