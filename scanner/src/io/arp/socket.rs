//! A packet socket that sends any frame and receives ARP.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::io::socket::{bind_packet, packet_socket};

/// An AF_PACKET socket on one interface.
#[derive(Debug)]
pub struct ArpSocket(File);

impl ArpSocket {
    /// Opens a socket on the interface with this index. It receives ARP there.
    ///
    /// # Errors
    /// The system's: EPERM without CAP_NET_RAW.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        let socket = packet_socket(libc::SOCK_RAW | libc::SOCK_NONBLOCK)?;
        bind_packet(&socket, ifindex, libc::ETH_P_ARP)?;
        Ok(Self(socket.into()))
    }

    /// Sends a frame; false if there is no room for it now.
    ///
    /// # Errors
    /// The system's error, except for temporary ones: a full queue, a link that is down.
    pub fn send(&self, frame: &[u8]) -> io::Result<bool> {
        let passes = [libc::ENOBUFS, libc::ENETDOWN];
        match (&self.0).write(frame) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::Interrupted => {
                Ok(false)
            }
            Err(error) if error.raw_os_error().is_some_and(|errno| passes.contains(&errno)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the next received frame into `buffer`, as far as it fits. Returns the length; `None` if no frame is there.
    ///
    /// # Errors
    /// The system's error, unless a link went down.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sleeps until a frame arrives or `timeout` is over.
    pub fn wait(&self, timeout: Duration) {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // The result is not needed, because the next read shows the same; a signal only ends the sleep.
        let _ = poll(&mut fds, timeout);
    }
}
