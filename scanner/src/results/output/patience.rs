//! How long a reader that takes nothing is waited for.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often whoever waits asks whether to go on, in milliseconds.
const ASK_EVERY_MS: u16 = 50;

/// Shared by the outputs of a scan and by whoever decides how long they are waited for. While a scan runs there is no end to
/// it: what finds no room meanwhile is counted elsewhere.
#[derive(Debug, Default)]
pub struct Patience {
    is_over: AtomicBool,
    moves: AtomicU64,
}

impl Patience {
    /// Nothing is waited for any more.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// How often something was taken: as long as that grows, somebody reads.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    pub(super) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until something can be written, or writing would fail. TimedOut when nothing is waited for any more.
    pub(super) fn wait_for_room(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(file, PollFlags::POLLOUT)], PollTimeout::from(ASK_EVERY_MS)) {
                Ok(0) if self.is_over.load(Ordering::Acquire) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether something can be written at once, or writing would fail at once.
pub fn has_room(file: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(file, PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}
