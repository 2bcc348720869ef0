//! What the kernel took and dropped in copy mode: found again, and handed over once more.
//!
//! `__xsk_generic_xmit` gives the driver a packet of its own for each frame. A driver that has no room for it frees that
//! packet (NET_XMIT_DROP); the frame is then completed as if it had been sent, the call ends with EBUSY, and nothing is taken
//! after it. So each EBUSY is one frame: of those that the completion ring has handed back by then, the one that was put
//! into the TX ring last. What always holds: a frame that was refused is in the TX ring again, or waits for room there, or was
//! given up and is counted as lost.

use std::time::{Duration, Instant};

use super::ring::Producer;
use super::socket::{RING_LEN, TxDescriptor};
use super::umem::TxFrame;

/// How often a frame is refused, while others are taken, before it is given up. Overload refuses one in a call, so the next
/// call takes it more often than not. Where nothing is taken, as without a link, it is not the frame's fault.
const TRIES_MAX: u32 = 64;
/// How long the kernel is left alone after it has dropped a frame: twice as long each time, while it takes nothing.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// A frame that waits for room in the TX ring.
#[derive(Debug)]
struct Waiting {
    frame: TxFrame,
    descriptor: TxDescriptor,
}

/// A frame that has been refused, and has not been sent since.
#[derive(Clone, Copy, Debug)]
struct Tries {
    address: u64,
    times: u32,
}

/// The frames of a socket that the kernel has dropped.
#[derive(Debug, Default)]
pub(super) struct Again {
    waiting: Vec<Waiting>,
    /// In the order of nothing; those of frames that were sent in the end go when these are handed back.
    tries: Vec<Tries>,
    /// Addresses that were handed back last, ascending.
    returned: Vec<u64>,
    /// Until when the kernel is left alone, and how long that is in all.
    pause: Option<(Instant, Duration)>,
}

impl Again {
    /// With the memory that it will need, for nothing is allocated later.
    pub(super) fn new() -> Self {
        let len = RING_LEN as usize;
        Self {
            waiting: Vec::with_capacity(len),
            tries: Vec::with_capacity(len),
            returned: Vec::with_capacity(len),
            pause: None,
        }
    }

    /// Whether the kernel is to be left alone for now.
    pub(super) fn pauses(&self) -> bool {
        self.pause.is_some_and(|(until, _)| Instant::now() < until)
    }

    /// How long it is to be left alone yet.
    pub(super) fn pause_left(&self) -> Option<Duration> {
        self.pause
            .map(|(until, _)| until.saturating_duration_since(Instant::now()))
            .filter(|left| !left.is_zero())
    }

    /// Whether a frame has been refused and not sent since.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.tries.is_empty()
    }

    /// The descriptor of the frame that was dropped, given what the kernel has just handed back; `None` if it is not there.
    pub(super) fn dropped(
        &mut self,
        ring: &Producer<TxDescriptor>,
        returned: impl Iterator<Item = u64>,
    ) -> Option<TxDescriptor> {
        self.returned.clear();
        self.returned.extend(returned.take(self.returned.capacity()));
        self.returned.sort_unstable();
        ring.newest().find(|descriptor| self.returned.binary_search(&descriptor.address()).is_ok())
    }

    /// Forgets how often frames were refused that have been sent now: all of `returned` but `refused`.
    pub(super) fn forget(&mut self, returned: impl Fn(u64) -> bool, refused: Option<u64>) {
        self.tries.retain(|tries| Some(tries.address) == refused || !returned(tries.address));
    }

    /// Whether the frame at `address`, which was refused once more, is to be handed over again. `taken` says whether others
    /// were taken meanwhile.
    pub(super) fn try_again(&mut self, address: u64, taken: bool) -> bool {
        let known = self.tries.iter().position(|tries| tries.address == address);
        let place = known.unwrap_or_else(|| {
            self.tries.push(Tries { address, times: 0 });
            self.tries.len() - 1
        });
        self.tries[place].times += u32::from(taken);
        let goes_on = self.tries[place].times < TRIES_MAX;
        if !goes_on {
            self.tries.swap_remove(place);
        }
        goes_on
    }

    /// Leaves the kernel alone for a while; for longer each time, unless it has `taken` something since the last.
    pub(super) fn pause(&mut self, taken: bool) {
        let len = match self.pause {
            Some((_, len)) if !taken => (2 * len).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
        self.pause = Some((Instant::now() + len, len));
    }

    /// The kernel has dropped nothing this time.
    #[inline]
    pub(super) fn went_well(&mut self) {
        self.pause = None;
    }

    /// Takes a frame that is to be handed over again, by its descriptor.
    pub(super) fn keep(&mut self, frame: TxFrame, descriptor: TxDescriptor) {
        self.waiting.push(Waiting { frame, descriptor });
    }

    /// Puts what waits into the TX ring, as far as there is room.
    pub(super) fn hand_over(&mut self, ring: &mut Producer<TxDescriptor>) {
        while !self.waiting.is_empty() && ring.room(1) > 0 {
            let Some(Waiting { frame, descriptor }) = self.waiting.pop() else { break };
            ring.push(descriptor.at(frame));
        }
        ring.publish();
    }

    /// Whether something waits for room in the TX ring.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_so_many_tries() {
        let mut again = Again::new();
        assert_eq!((0..200).filter(|_| again.try_again(64, true)).count(), 200 - 200 / TRIES_MAX as usize);
        assert!((0..200).all(|_| again.try_again(192, false)), "without a link nothing is given up");
        let mut again = Again::new();
        for _ in 1..TRIES_MAX {
            assert!(again.try_again(64, true) && again.try_again(128, true));
            again.forget(|address| address == 128, None);
        }
        again.forget(|address| address == 64, Some(64));
        assert!(!again.try_again(64, true), "forgotten though it was refused again");
        assert!(again.try_again(128, true) && !again.is_empty());
    }

    #[test]
    fn pauses_grow_while_nothing_is_taken() {
        let mut again = Again::new();
        let lens = [true, false, false, true, false].map(|taken| {
            again.pause(taken);
            again.pause.unwrap().1
        });
        assert_eq!(lens, [1, 2, 4, 1, 2].map(|times| times * PAUSE_MIN));
        (0..20).for_each(|_| again.pause(false));
        assert_eq!(again.pause.unwrap().1, PAUSE_MAX);
        assert!(again.pauses() && again.pause_left().unwrap() <= PAUSE_MAX);
        again.went_well();
        assert!(!again.pauses() && again.pause_left().is_none());
    }
}
