//! SPDY/3.1, the server's side, as far as Kubernetes clients use it for `port-forward`, `exec` and `attach`: streams, data, resets
//! and pings; no flow control, which those clients do not do either.
//!
//! The bytes come by an HTTP upgrade (`Upgrade: SPDY/3.1`) or in the binary messages of a WebSocket
//! (`SPDY/3.1+portforward.k8s.io`).

use axum::extract::ws::{Message, WebSocket};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress};
use futures::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// The protocol of port-forwards inside a WebSocket.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// The dictionary that header blocks are compressed with (SPDY/3, section 2.6.10.1).
const DICTIONARY: &[u8] = include_bytes!("spdy.dict");
/// The longest frame that is taken, in bytes.
const MAX_FRAME: usize = 1 << 20;
/// The longest header block, uncompressed, in bytes.
const MAX_HEADERS: usize = 64 << 10;
/// The most streams at a time.
const MAX_STREAMS: usize = 1024;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;

/// Whether a request asks for an upgrade to SPDY.
pub(super) fn wants(headers: &http::HeaderMap) -> bool {
    headers
        .get("upgrade")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("SPDY/3.1"))
}

/// A stream as its client opened it.
pub(super) struct Opened {
    pub(super) headers: BTreeMap<String, String>,
    /// What the client sends; ends when it has sent everything.
    pub(super) incoming: mpsc::Receiver<Bytes>,
    pub(super) outgoing: StreamSink,
}

/// The sending side of a stream.
#[derive(Clone)]
pub(super) struct StreamSink {
    id: u32,
    frames: mpsc::Sender<Frame>,
}

enum Frame {
    Reply(u32),
    Data(u32, Bytes, bool),
    Ping(u32),
    Reset(u32),
}

impl StreamSink {
    /// Sends data; `false` when the connection has gone.
    pub(super) async fn send(&self, data: Bytes) -> bool {
        self.frames.send(Frame::Data(self.id, data, false)).await.is_ok()
    }

    /// Says that nothing more comes.
    pub(super) async fn finish(&self) {
        let _ = self.frames.send(Frame::Data(self.id, Bytes::new(), true)).await;
    }
}

/// Reads header blocks: one compressed sequence for the whole connection.
struct Headers {
    inflate: Decompress,
    begun: bool,
}

impl Headers {
    fn new() -> io::Result<Headers> {
        let mut inflate = Decompress::new(false);
        // The dictionary becomes the window by passing through as a stored block.
        let length = DICTIONARY.len() as u16;
        let mut block = vec![0];
        block.extend(length.to_le_bytes());
        block.extend((!length).to_le_bytes());
        block.extend(DICTIONARY);
        let mut out = Vec::with_capacity(DICTIONARY.len() + 64);
        inflate.decompress_vec(&block, &mut out, FlushDecompress::Sync).map_err(io::Error::other)?;
        Ok(Headers { inflate, begun: false })
    }

    fn read(&mut self, mut block: &[u8]) -> io::Result<BTreeMap<String, String>> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "malformed SPDY headers");
        if !self.begun {
            self.begun = true;
            // The zlib header, and the dictionary's checksum when it says so.
            let skip = if block.get(1).ok_or_else(bad)? & 0x20 != 0 { 6 } else { 2 };
            block = block.get(skip..).ok_or_else(bad)?;
        }
        let mut plain = Vec::with_capacity(4096);
        let mut rest = block;
        while !rest.is_empty() {
            let before = self.inflate.total_in();
            plain.reserve(4096);
            self.inflate.decompress_vec(rest, &mut plain, FlushDecompress::Sync).map_err(|_| bad())?;
            let used = (self.inflate.total_in() - before) as usize;
            if (used == 0 && plain.len() < plain.capacity()) || plain.len() > MAX_HEADERS {
                return Err(bad());
            }
            rest = &rest[used..];
        }
        let count = plain.get(..4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).ok_or_else(bad)?;
        let mut headers = BTreeMap::new();
        let mut position = 4;
        for _ in 0..count.min(256) {
            let mut text = || -> Option<String> {
                let bytes = plain.get(position..position + 4)?;
                let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
                let value = plain.get(position + 4..(position + 4).checked_add(length)?)?;
                position += 4 + length;
                Some(String::from_utf8_lossy(value).into_owned())
            };
            let (name, value) = (text().ok_or_else(bad)?, text().ok_or_else(bad)?);
            headers.insert(name.to_ascii_lowercase(), value);
        }
        Ok(headers)
    }
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    frame.put_u32(body.len() as u32);
    frame.put(body);
    frame.freeze()
}

/// An empty header block; the first one of a connection carries the zlib header. Stored, not compressed, and followed by an
/// empty block, so that the reader gets all of it.
fn reply(id: u32, first: bool) -> Bytes {
    let mut body = id.to_be_bytes().to_vec();
    if first {
        body.extend([0x78, 0x01]);
    }
    body.extend([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
    body.extend([0, 0, 0, 0xff, 0xff]);
    control(SYN_REPLY, &body)
}

fn encode(frame: Frame, replied: &mut bool) -> Vec<Bytes> {
    match frame {
        Frame::Reply(id) => {
            let first = !*replied;
            *replied = true;
            vec![reply(id, first)]
        }
        Frame::Ping(id) => vec![control(PING, &id.to_be_bytes())],
        Frame::Reset(id) => vec![control(RST_STREAM, &[id.to_be_bytes(), 5u32.to_be_bytes()].concat())],
        Frame::Data(id, data, fin) => {
            let mut head = BytesMut::with_capacity(8 + data.len());
            head.put_u32(id & 0x7fff_ffff);
            head.put_u32((u32::from(if fin { FIN } else { 0 }) << 24) | data.len() as u32);
            head.put(data);
            vec![head.freeze()]
        }
    }
}

/// Speaks SPDY until the connection ends: streams that the client opens go to `opened`.
pub(super) async fn session(
    mut input: impl AsyncRead + Unpin,
    output: mpsc::Sender<Bytes>,
    opened: mpsc::Sender<Opened>,
) -> io::Result<()> {
    let (frames, mut queue) = mpsc::channel::<Frame>(64);
    let write = async move {
        let mut replied = false;
        while let Some(frame) = queue.recv().await {
            for bytes in encode(frame, &mut replied) {
                if output.send(bytes).await.is_err() {
                    return;
                }
            }
        }
    };
    let read = async move {
        let mut headers = Headers::new()?;
        let mut streams: BTreeMap<u32, mpsc::Sender<Bytes>> = BTreeMap::new();
        loop {
            let mut head = [0u8; 8];
            match input.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let flags = head[4];
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            if length > MAX_FRAME {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a SPDY frame is too long"));
            }
            let mut body = vec![0; length];
            input.read_exact(&mut body).await?;
            let word = |at: usize| {
                body.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) & 0x7fff_ffff)
            };
            if first & 0x8000_0000 == 0 {
                if !body.is_empty()
                    && let Some(stream) = streams.get(&first)
                    && stream.send(Bytes::from(body)).await.is_err()
                {
                    streams.remove(&first);
                }
                if flags & FIN != 0 {
                    streams.remove(&first);
                }
                continue;
            }
            match (first & 0xffff) as u16 {
                SYN_STREAM => {
                    let id = word(0);
                    let parsed = headers.read(body.get(10..).unwrap_or_default())?;
                    if streams.len() >= MAX_STREAMS {
                        let _ = frames.send(Frame::Reset(id)).await;
                        continue;
                    }
                    let (sender, incoming) = mpsc::channel(16);
                    if flags & FIN == 0 {
                        streams.insert(id, sender);
                    }
                    let _ = frames.send(Frame::Reply(id)).await;
                    let outgoing = StreamSink { id, frames: frames.clone() };
                    if opened.send(Opened { headers: parsed, incoming, outgoing }).await.is_err() {
                        return Ok(());
                    }
                }
                RST_STREAM => drop(streams.remove(&word(0))),
                PING => drop(frames.send(Frame::Ping(word(0))).await),
                GOAWAY => return Ok(()),
                _ => {}
            }
        }
    };
    tokio::pin!(write);
    tokio::select! {
        result = read => {
            // What is queued still goes out.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), &mut write).await;
            result
        }
        () = &mut write => Ok(()),
    }
}

/// Writes what a session sends to a connection.
pub(super) async fn write_out(mut output: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = queue.recv().await {
        if output.write_all(&bytes).await.is_err() || (queue.is_empty() && output.flush().await.is_err()) {
            return;
        }
    }
    let _ = output.shutdown().await;
}

/// Runs a session inside a WebSocket: binary messages carry its bytes.
pub(super) async fn tunnel(socket: WebSocket, opened: mpsc::Sender<Opened>) {
    let (mut write, mut read) = socket.split();
    let (mut feed, input) = tokio::io::duplex(64 << 10);
    let (output, mut queue) = mpsc::channel::<Bytes>(64);
    let reading = async {
        while let Some(Ok(message)) = read.next().await {
            match message {
                Message::Binary(data) => {
                    if feed.write_all(&data).await.is_err() {
                        return;
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let writing = async {
        while let Some(bytes) = queue.recv().await {
            if write.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
        let _ = write.send(super::streams::normal_close()).await;
    };
    tokio::select! {
        () = reading => {}
        () = async { let _ = tokio::join!(session(input, output, opened), writing); } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header block as a client sends it, uncompressed in a stored block.
    fn block(pairs: &[(&str, &str)], first: bool) -> Vec<u8> {
        let mut plain = (pairs.len() as u32).to_be_bytes().to_vec();
        for (name, value) in pairs {
            for text in [name, value] {
                plain.extend((text.len() as u32).to_be_bytes());
                plain.extend(text.as_bytes());
            }
        }
        let mut out = if first { vec![0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2] } else { Vec::new() };
        out.push(0);
        out.extend((plain.len() as u16).to_le_bytes());
        out.extend((!(plain.len() as u16)).to_le_bytes());
        out.extend(plain);
        out
    }

    #[test]
    fn headers_go_through_one_window() {
        let mut headers = Headers::new().expect("a reader");
        for first in [true, false, false] {
            let read = headers.read(&block(&[("streamtype", "data"), ("port", "80")], first)).expect("headers");
            assert_eq!(read.get("port").map(String::as_str), Some("80"));
        }
        assert!(headers.read(&[0xff; 40]).is_err());
        assert_eq!(DICTIONARY.len(), 1423);
    }

    #[tokio::test]
    async fn a_stream_echoes() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (output, mut queue) = mpsc::channel(16);
        let (opened, mut streams) = mpsc::channel(4);
        let serving = tokio::spawn(session(server, output, opened));
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        body.extend(block(&[("streamtype", "data")], true));
        client.write_all(&control(SYN_STREAM, &body)).await.expect("written");
        let mut stream = streams.recv().await.expect("a stream");
        assert_eq!(stream.headers["streamtype"], "data");
        assert_eq!(queue.recv().await.expect("a reply"), reply(1, true));
        client.write_all(&[0, 0, 0, 1, 1, 0, 0, 2, b'h', b'i']).await.expect("written");
        assert_eq!(stream.incoming.recv().await.as_deref(), Some(&b"hi"[..]));
        assert_eq!(stream.incoming.recv().await, None);
        stream.outgoing.send(Bytes::from_static(b"yo")).await;
        stream.outgoing.finish().await;
        assert_eq!(&queue.recv().await.expect("data")[..], &[0, 0, 0, 1, 0, 0, 0, 2, b'y', b'o']);
        assert_eq!(&queue.recv().await.expect("the end")[..], &[0, 0, 0, 1, 1, 0, 0, 0]);
        drop(client);
        serving.await.expect("ended").expect("well");
    }
}
