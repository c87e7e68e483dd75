//! Pulling: blobs as verified streams, images into a layout.

use std::io::Write;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::transport::Body;
use super::{BlobStream, Client, Error, HEADERS_TIMEOUT, Place, Progress, mismatch};
use crate::digest::Hasher;
use crate::layout::{self, Image, Layout};
use crate::manifest::{Descriptor, Document, Platform};
use crate::{Reference, media};

/// Blobs fetched at the same time for one image.
const PARALLEL: usize = 4;
/// How often an interrupted blob is continued.
const CONTINUATIONS: u32 = 5;

struct Download {
    client: Client,
    place: Place,
    url: String,
    descriptor: Descriptor,
    hasher: Option<Hasher>,
    received: u64,
    body: Option<Incoming>,
    continuations: u32,
}

impl Client {
    /// Streams a blob. An interrupted connection is continued with a range request.
    pub async fn blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<BlobStream, Error> {
        let place = self.place(reference);
        let mut download = Download {
            client: self.clone(),
            url: place.url(&format!("blobs/{}", descriptor.digest)),
            place,
            hasher: Some(Hasher::new(descriptor.digest.algorithm())),
            descriptor: descriptor.clone(),
            received: 0,
            body: None,
            continuations: 0,
        };
        download.open().await?;
        let stream = futures::stream::try_unfold(download, |mut download| async move {
            Ok(download.next().await?.map(|bytes| (bytes, download)))
        });
        Ok(BlobStream { size: descriptor.size, stream: stream.boxed() })
    }

    /// Size of a blob in the registry, none when it is not there.
    pub async fn blob_size(&self, reference: &Reference, digest: &crate::Digest) -> Result<Option<u64>, Error> {
        let place = self.place(reference);
        let url = place.url(&format!("blobs/{digest}"));
        let answer = self.send(&place, "pull", Method::HEAD, &url, HeaderMap::new(), Body::empty).await?;
        match answer.status() {
            StatusCode::OK => {
                let size = answer.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
                Ok(Some(size.unwrap_or(0)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(&place, Method::HEAD, &url, &format!("blob {digest}"), answer).await),
        }
    }

    /// Pulls the image of one platform into a layout, with only what is missing there. Nothing gets a name: tag
    /// [`Image::descriptor`] with the name that is wanted.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        layout: &Layout,
        progress: &dyn Progress,
    ) -> Result<Image, Error> {
        let mut descriptor = self.pull_manifest(reference, layout).await?;
        // The first descriptor may be an index, and an index may point to another.
        while media::is_index(&descriptor.media_type) {
            let (_, document) = layout.document(&descriptor)?;
            let Document::Index(index) = document else { break };
            let Some(chosen) = index.select(platform) else {
                // Says which platforms there are.
                layout.image(&descriptor, platform)?;
                break;
            };
            self.pull_manifest(&reference.with_digest(chosen.digest.clone()), layout).await?;
            descriptor = chosen.clone();
        }
        self.pull_children(reference, &descriptor, layout, progress).await?;
        Ok(layout.image(&descriptor, platform)?)
    }

    /// Pulls everything a reference leads to, all platforms of an index included.
    pub async fn pull_all(
        &self,
        reference: &Reference,
        layout: &Layout,
        progress: &dyn Progress,
    ) -> Result<Descriptor, Error> {
        let top = self.pull_manifest(reference, layout).await?;
        let mut todo = vec![top.clone()];
        while let Some(next) = todo.pop() {
            if media::is_index(&next.media_type) {
                for child in layout.document(&next)?.1.children() {
                    self.pull_manifest(&reference.with_digest(child.digest.clone()), layout).await?;
                    todo.push(child.clone());
                }
            } else if media::is_manifest(&next.media_type) {
                self.pull_children(reference, &next, layout, progress).await?;
            }
        }
        Ok(top)
    }

    async fn pull_manifest(&self, reference: &Reference, layout: &Layout) -> Result<Descriptor, Error> {
        if let Some(digest) = reference.digest()
            && let Ok(bytes) = layout.blobs().read(digest, crate::MAX_MANIFEST as u64)
            && let Ok(document) = Document::parse(&bytes, None)
        {
            return Ok(Descriptor::new(document.media_type(), digest.clone(), bytes.len() as u64));
        }
        let fetched = self.manifest(reference).await?;
        let store = layout.clone();
        let bytes = fetched.bytes.clone();
        let digest = fetched.descriptor.digest.clone();
        blocking(
            move || {
                let mut writer = store.blobs().writer_for(digest.algorithm())?;
                writer.write_all(&bytes).map_err(|source| crate::blob::Error::Io {
                    action: "write manifest to",
                    path: store.root().to_owned(),
                    source,
                })?;
                writer.finish(Some(&digest)).map(drop)
            },
            layout,
        )
        .await?;
        Ok(fetched.descriptor)
    }

    async fn pull_children(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        layout: &Layout,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let (_, document) = layout.document(descriptor)?;
        let mut wanted: Vec<Descriptor> = document.children().into_iter().cloned().collect();
        wanted.sort_by(|a, b| a.digest.cmp(&b.digest));
        wanted.dedup_by(|a, b| a.digest == b.digest);
        let fetches = wanted.iter().map(|blob| self.pull_blob(reference, blob, layout, progress));
        futures::stream::iter(fetches).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// Pulls one blob into a layout unless it is there.
    pub async fn pull_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        layout: &Layout,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let store = layout.blobs().clone();
        let blob_error = |e| Error::from(layout::Error::Blob(layout.root().to_owned(), e));
        if store.size(&descriptor.digest).map_err(blob_error)? == Some(descriptor.size) {
            store.touch(&descriptor.digest);
            progress.blob(&descriptor.digest, descriptor.size, descriptor.size);
            return Ok(());
        }
        let mut blob = self.blob(reference, descriptor).await?;
        progress.blob(&descriptor.digest, 0, descriptor.size);
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(16);
        let digest = descriptor.digest.clone();
        let size = descriptor.size;
        let root = layout.root().to_owned();
        let writing = tokio::task::spawn_blocking(move || {
            let mut writer = store.writer_for(digest.algorithm())?;
            while let Some(bytes) = receiver.blocking_recv() {
                writer.write_all(&bytes).map_err(|source| crate::blob::Error::Io {
                    action: "write blob to",
                    path: root.clone(),
                    source,
                })?;
            }
            if writer.size() == size { writer.finish(Some(&digest)).map(drop) } else { Ok(()) }
        });
        let mut done = 0;
        let copying = async {
            while let Some(bytes) = blob.stream.try_next().await? {
                done += bytes.len() as u64;
                progress.blob(&descriptor.digest, done, size);
                if sender.send(bytes).await.is_err() {
                    break;
                }
            }
            Ok::<_, Error>(())
        };
        let copied = copying.await;
        drop(sender);
        writing.await.map_err(Error::Worker)?.map_err(blob_error)?;
        copied
    }
}

impl Download {
    async fn open(&mut self) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        if self.received > 0 {
            let range =
                HeaderValue::from_str(&format!("bytes={}-", self.received)).expect("digits are valid in a header");
            headers.insert(header::RANGE, range);
        }
        let answer = self.client.send(&self.place, "pull", Method::GET, &self.url, headers, Body::empty).await?;
        let expected = if self.received > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() == StatusCode::OK && self.received > 0 {
            // The registry does not know ranges: start over, what came before is already out.
            return Err(Error::Malformed { url: self.url.clone(), reason: "ranges are not supported".into() });
        }
        if answer.status() != expected {
            let what = format!("blob {} of {}", self.descriptor.digest, self.place.repository);
            return Err(self.client.failure(&self.place, Method::GET, &self.url, &what, answer).await);
        }
        self.body = Some(answer.into_body());
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(body) = &mut self.body else { return Ok(None) };
            let frame = tokio::time::timeout(HEADERS_TIMEOUT, body.frame()).await;
            let source: super::BoxError = match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => return self.accept(bytes).map(Some),
                    Err(_) => continue,
                },
                Ok(None) if self.received == self.descriptor.size => return self.finish(),
                Ok(None) => "the answer ended too early".into(),
                Ok(Some(Err(e))) => e.into(),
                Err(_) => "no data for a minute".into(),
            };
            self.continuations += 1;
            if self.continuations > CONTINUATIONS {
                return Err(Error::Interrupted { url: self.url.clone(), received: self.received, source });
            }
            tracing::debug!(url = %self.url, received = self.received, error = %source, "continuing an interrupted blob");
            self.body = None;
            self.open().await?;
        }
    }

    fn accept(&mut self, bytes: Bytes) -> Result<Bytes, Error> {
        self.received += bytes.len() as u64;
        if self.received > self.descriptor.size {
            return Err(Error::Mismatch {
                what: format!("blob {}", self.descriptor.digest),
                expected: format!("{} bytes", self.descriptor.size),
                found: "more".into(),
            });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        Ok(bytes)
    }

    fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        self.body = None;
        if let Some(hasher) = self.hasher.take() {
            let found = hasher.finish();
            if found != self.descriptor.digest {
                return Err(mismatch(format!("blob {}", self.descriptor.digest), &self.descriptor.digest, &found));
            }
        }
        Ok(None)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::blob::Error> + Send + 'static,
    layout: &Layout,
) -> Result<T, Error> {
    let result = tokio::task::spawn_blocking(work).await.map_err(Error::Worker)?;
    result.map_err(|e| Error::from(layout::Error::Blob(layout.root().to_owned(), e)))
}
