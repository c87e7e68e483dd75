//! The till: says what it says on every path, until it is told to end.
use std::io::{Read, Write};
use std::net::TcpListener;

const GREETING: &str = "open";

fn main() {
    let revision = std::env::var("REVISION").unwrap_or_default();
    let listener = TcpListener::bind("0.0.0.0:7070").expect("port 7070 is free");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut request = Vec::new();
        let mut part = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(count) if count > 0 => request.extend_from_slice(&part[..count]),
                _ => break,
            }
        }
        let body = format!("{GREETING} {revision}\n");
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes());
    }
}
