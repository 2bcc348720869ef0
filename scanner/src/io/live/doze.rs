//! How the sender's thread sleeps while there is nothing to send, and misses nothing that is published meanwhile.
//!
//! The sleeper says that it sleeps and then looks for work; the waker publishes work and then looks for a sleeper. A
//! fence between the two steps of each keeps their order, so one of the two sees the other.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::thread::{self, Thread};

/// Whether the thread sleeps, or is about to.
#[derive(Debug, Default)]
pub(super) struct Doze {
    is_idle: AtomicBool,
}

impl Doze {
    /// Sleeps until [`Self::wake`], but at most for `longest`, and not if there is work. Only one thread calls this.
    pub(super) fn sleep(&self, longest: Duration, has_work: impl FnOnce() -> bool) {
        self.is_idle.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !has_work() {
            thread::park_timeout(longest);
        }
        self.is_idle.store(false, Ordering::Relaxed);
    }

    /// Wakes the sleeper, whose thread this is, if it sleeps. Call it after publishing work.
    #[inline]
    pub(super) fn wake(&self, sleeper: &Thread) {
        fence(Ordering::SeqCst);
        if self.is_idle.load(Ordering::Relaxed) {
            sleeper.unpark();
        }
    }
}
