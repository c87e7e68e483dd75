//! What a container prints: lines to the progress, the last ones kept for the error.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Instant;

use crate::progress::Step;

/// Lines kept for an error message.
const TAIL: usize = 30;
/// Longest line, in bytes; longer ones are broken.
const LINE: usize = 16 * 1024;

/// Reads until the end. Gives the last lines, with their times.
pub(super) fn relay(mut reader: impl Read, step: &Step<'_>) -> Vec<String> {
    let begun = Instant::now();
    let mut tail: VecDeque<String> = VecDeque::new();
    let mut line: Vec<u8> = Vec::new();
    let mut buffer = [0u8; 8192];
    let mut emit = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        line.clear();
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(format!("{:.3} {text}", begun.elapsed().as_secs_f64()));
        step.log(text);
    };
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        for byte in &buffer[..n] {
            if *byte == b'\n' || line.len() >= LINE {
                emit(&mut line);
            }
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
    }
    if !line.is_empty() {
        emit(&mut line);
    }
    tail.into()
}
