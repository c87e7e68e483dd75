//! Request bodies of git clients: streamed, and gunzipped where they say so.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::write::GzDecoder;
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::api_error::ApiError;

/// A request's body, chunk by chunk.
pub(crate) struct Incoming {
    body: Body,
    gzip: Option<GzDecoder<Vec<u8>>>,
    /// Compressed bytes that were received and not yet given to the decoder.
    waiting: Bytes,
    finished: bool,
}

/// The most that goes into the decoder at once, so that a hostile body cannot blow up memory.
const STEP: usize = 4096;

impl Incoming {
    pub fn new(headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
        let gzip = match encoding {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(GzDecoder::new(Vec::new())),
            other => {
                return Err(ApiError::new(
                    http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    format!("content encoding {other} is not supported; use gzip or none"),
                ));
            }
        };
        Ok(Self { body, gzip, waiting: Bytes::new(), finished: false })
    }

    /// The next bytes, decoded; `None` at the end.
    pub async fn chunk(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if let (false, Some(decoder)) = (self.waiting.is_empty(), self.gzip.as_mut()) {
                let step = self.waiting.split_to(self.waiting.len().min(STEP));
                decoder.write_all(&step)?;
                let decoded = std::mem::take(decoder.get_mut());
                if decoded.is_empty() {
                    continue;
                }
                return Ok(Some(decoded.into()));
            }
            if self.finished {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if self.gzip.is_none() {
                        return Ok(Some(data));
                    }
                    self.waiting = data;
                }
                Some(Err(error)) => return Err(std::io::Error::other(error)),
                None => {
                    self.finished = true;
                    let Some(mut decoder) = self.gzip.take() else { return Ok(None) };
                    decoder.try_finish()?;
                    let rest = std::mem::take(decoder.get_mut());
                    return Ok((!rest.is_empty()).then(|| rest.into()));
                }
            }
        }
    }
}
