//! The socket between a caller and its helper: JSON messages with a length before them, descriptors beside them.

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The most descriptors that one message carries.
const MAX_FDS: usize = 32;
/// A message longer than this is refused (bytes).
const MAX_MESSAGE: u32 = 8 << 20;

/// One end of the socket, blocking.
pub(crate) struct Channel(pub(crate) UnixStream);

impl Channel {
    /// Two connected ends, close-on-exec.
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) = UnixStream::pair()?;
        Ok((Channel(a), Channel(b)))
    }

    /// Sends one message and a copy of each descriptor.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let header = [(body.len() as u32).to_le_bytes(), (fds.len() as u32).to_le_bytes()].concat();
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let control: Vec<ControlMessage<'_>> =
            if raw.is_empty() { Vec::new() } else { vec![ControlMessage::ScmRights(&raw)] };
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&header)], &control, MsgFlags::MSG_NOSIGNAL, None)?;
        if sent != header.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.0.write_all(&body)
    }

    /// Receives one message and its descriptors. `None` when the other end is closed.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut header = [0u8; 8];
        let mut fds = Vec::new();
        let length = {
            let mut space = cmsg_space!([i32; MAX_FDS]);
            let mut vector = [IoSliceMut::new(&mut header)];
            let message = loop {
                match recvmsg::<()>(self.0.as_raw_fd(), &mut vector, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                    Err(nix::errno::Errno::EINTR) => continue,
                    other => break other?,
                }
            };
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    fds.extend(raw.into_iter().map(own));
                }
            }
            message.bytes
        };
        if length == 0 {
            return Ok(None);
        }
        if length < header.len() {
            self.0.read_exact(&mut header[length..])?;
        }
        let size = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if size > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; size as usize];
        self.0.read_exact(&mut body)?;
        Ok(Some((serde_json::from_slice(&body)?, fds)))
    }
}

/// Takes ownership of a descriptor that has just arrived.
pub(crate) fn own(raw: i32) -> OwnedFd {
    #[expect(unsafe_code, reason = "SCM_RIGHTS hands over raw numbers only")]
    // SAFETY: the kernel installed this descriptor for this message; nobody else knows its number.
    unsafe {
        OwnedFd::from_raw_fd(raw)
    }
}
