//! How long an output waits: for a reader that does not read, and for a write that fails to succeed after all.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often a waiting output checks whether to go on, in milliseconds. More often costs CPU time; less often delays
/// the end of a scan.
const ASK_EVERY_MS: u16 = 50;

/// How writes that fail are tried again.
pub struct Retry {
    /// For how long since the first failure.
    pub limit: Duration,
    /// Called when that begins, and when the output accepts everything again. Called by the thread that writes.
    pub tell: Box<dyn Fn(Trouble<'_>) + Send + Sync>,
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What happens to an output whose writes are tried again.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// A write has failed.
    Begun {
        /// The output.
        name: &'a str,
        /// Why.
        error: &'a io::Error,
    },
    /// The output accepts everything again.
    Over {
        /// The output.
        name: &'a str,
        /// How long it did not.
        lasted: Duration,
    },
}

/// Shared by the outputs of a scan and the thread that decides how long they wait. While a scan runs they wait for
/// readers without a limit, and results that find no room meanwhile are counted elsewhere.
#[derive(Debug, Default)]
pub struct Patience {
    is_over: AtomicBool,
    moves: AtomicU64,
    retry: OnceLock<Retry>,
}

impl Patience {
    /// Outputs no longer wait.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// From now on, writes that fail are tried again. The first such request counts.
    pub fn retry(&self, retry: Retry) {
        let _ = self.retry.set(retry);
    }

    /// How often a reader took data: as long as that grows, it is reading.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    pub(super) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until a write is possible or would fail. Returns TimedOut if outputs no longer wait.
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

/// The failures of one output in a row.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Since when.
    since: Option<Instant>,
}

impl Failures {
    /// After a failure: waits for a moment, and then returns whether to try again.
    pub(super) fn may_end(&mut self, patience: &Patience, name: &str, error: &io::Error) -> bool {
        let Some(retry) = patience.retry.get().filter(|_| can_end(error)) else { return false };
        let since = *self.since.get_or_insert_with(|| {
            // First, because the log may be slow, and who reads it may act at once.
            let now = Instant::now();
            (retry.tell)(Trouble::Begun { name, error });
            now
        });
        thread::sleep(Duration::from_millis(ASK_EVERY_MS.into()));
        since.elapsed() < retry.limit && !patience.is_over.load(Ordering::Acquire)
    }

    /// The output has accepted everything.
    pub(super) fn end(&mut self, patience: &Patience, name: &str) {
        if let (Some(since), Some(retry)) = (self.since.take(), patience.retry.get()) {
            (retry.tell)(Trouble::Over { name, lasted: since.elapsed() });
        }
    }
}

/// Whether what has failed may succeed later. A reader that has gone does not come back, and a file that exists does
/// not go away.
fn can_end(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, BrokenPipe, Interrupted, TimedOut};
    !matches!(error.kind(), AlreadyExists | BrokenPipe | Interrupted | TimedOut)
}

/// Whether a write is possible now, or would fail now.
pub fn has_room(file: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(file, PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}
