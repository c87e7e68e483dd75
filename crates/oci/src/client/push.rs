//! Pushing: what is missing in the registry, children before parents.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio_util::io::ReaderStream;

use super::transport::Body;
use super::{Client, Error, Place, Progress};
use crate::digest::Digest;
use crate::layout::{self, Layout};
use crate::manifest::Descriptor;
use crate::{Reference, media};

const PARALLEL: usize = 4;

impl Client {
    /// Pushes what `descriptor`, a manifest or index in the layout, leads to, and gives it the reference's name. Returns
    /// the digest that the registry has for it.
    pub async fn push(
        &self,
        layout: &Layout,
        descriptor: &Descriptor,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<Digest, Error> {
        // Parents first, so that the reverse has every child before its parent.
        let mut order = vec![descriptor.clone()];
        let mut next = 0;
        while let Some(parent) = order.get(next).cloned() {
            next += 1;
            let (_, document) = layout.document(&parent)?;
            let children: Vec<Descriptor> = document.children().into_iter().cloned().collect();
            let (manifests, blobs): (Vec<_>, Vec<_>) =
                children.into_iter().partition(|d| media::is_index(&d.media_type) || media::is_manifest(&d.media_type));
            order.extend(manifests);
            let uploads = blobs
                .iter()
                .filter(|blob| blob.urls.is_empty())
                .map(|blob| self.push_blob(layout, blob, reference, progress));
            futures::stream::iter(uploads).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
        }
        for manifest in order.iter().skip(1).rev() {
            let at = reference.with_digest(manifest.digest.clone());
            self.push_manifest(layout, manifest, &at).await?;
        }
        self.push_manifest(layout, descriptor, reference).await
    }

    async fn push_manifest(
        &self,
        layout: &Layout,
        descriptor: &Descriptor,
        reference: &Reference,
    ) -> Result<Digest, Error> {
        let (bytes, _) = layout.document(descriptor)?;
        self.put_manifest(reference, &descriptor.media_type, bytes.into()).await
    }

    /// Stores manifest bytes under the reference's tag or digest.
    pub async fn put_manifest(&self, reference: &Reference, media_type: &str, bytes: Bytes) -> Result<Digest, Error> {
        let place = self.place(reference);
        let url = place.url(&format!("manifests/{}", reference.reference()));
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(media_type)
            .map_err(|_| Error::Malformed { url: url.clone(), reason: format!("media type {media_type:?}") })?;
        headers.insert(header::CONTENT_TYPE, value);
        let answer = self.send(&place, "pull,push", Method::PUT, &url, headers, || Body::full(bytes.clone())).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(self.failure(&place, Method::PUT, &url, &reference.to_string(), answer).await);
        }
        let told = answer.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
        let found = Digest::of(&bytes);
        match told.and_then(|t| t.parse::<Digest>().ok()) {
            Some(told) if told.algorithm() == found.algorithm() && told != found => {
                Err(super::mismatch(reference.to_string(), &found, &told))
            }
            _ => Ok(found),
        }
    }

    /// Uploads one blob of a layout unless the registry has it.
    pub async fn push_blob(
        &self,
        layout: &Layout,
        descriptor: &Descriptor,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let path = layout.blobs().path(&descriptor.digest);
        let missing = |source| {
            let error = crate::blob::Error::Io { action: "open blob", path: path.clone(), source };
            Error::from(layout::Error::Blob(layout.root().to_owned(), error))
        };
        if self.blob_size(reference, &descriptor.digest).await? == Some(descriptor.size) {
            progress.blob(&descriptor.digest, descriptor.size, descriptor.size);
            return Ok(());
        }
        let place = self.place(reference);
        let target = self.start_upload(&place, descriptor).await?;
        progress.blob(&descriptor.digest, 0, descriptor.size);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(descriptor.size));
        let file = std::fs::File::open(&path).map_err(missing)?;
        let body = || match file.try_clone().and_then(|mut f| std::io::Seek::rewind(&mut f).map(|()| f)) {
            Ok(file) => Body::stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 128 * 1024)),
            Err(e) => Body::stream(futures::stream::iter([Err(e)])),
        };
        let answer = self.send(&place, "pull,push", Method::PUT, &target, headers, body).await?;
        if answer.status() != StatusCode::CREATED {
            let what = format!("blob {}", descriptor.digest);
            return Err(self.failure(&place, Method::PUT, &target, &what, answer).await);
        }
        progress.blob(&descriptor.digest, descriptor.size, descriptor.size);
        Ok(())
    }

    /// Opens an upload and returns the address that finishes it.
    async fn start_upload(&self, place: &Place, descriptor: &Descriptor) -> Result<String, Error> {
        let url = place.url("blobs/uploads/");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.send(place, "pull,push", Method::POST, &url, headers, Body::empty).await?;
        if answer.status() != StatusCode::ACCEPTED {
            let what = format!("an upload to {}", place.repository);
            return Err(self.failure(place, Method::POST, &url, &what, answer).await);
        }
        let location = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
        let location =
            location.ok_or_else(|| Error::Malformed { url: url.clone(), reason: "upload without location".into() })?;
        let mut target = url::Url::parse(&place.join(&url, location)?)
            .map_err(|e| Error::Malformed { url: url.clone(), reason: e.to_string() })?;
        target.query_pairs_mut().append_pair("digest", descriptor.digest.as_str());
        Ok(target.into())
    }
}
