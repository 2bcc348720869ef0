//! Frames that the kernel accepted and dropped in copy mode: finds them, and submits them again.
//!
//! `__xsk_generic_xmit` gives the driver a separate packet for each frame. A driver without room for it frees that
//! packet (NET_XMIT_DROP). The frame is then completed as if it had been sent, the call ends with EBUSY, and the kernel
//! takes no further frame in that call. So each EBUSY is one frame: of those that the completion ring has returned by
//! then, the one that was put into the TX ring last. What always holds: a refused frame is in the TX ring again, or
//! waits for room there, or was dropped and is counted as lost.

use std::time::{Duration, Instant};

use xsk::{Socket, TxDescriptor, TxFrame};

use super::TX_RING_LEN;

/// How often a frame may be refused, while others are accepted, before it is dropped as lost. Overload refuses one
/// frame per call, so the next call mostly accepts it: a lower number would lose good frames, a higher one keeps trying
/// a frame that never gets through. Where nothing is accepted, as without a link, refusals do not count against the
/// frame.
const TRIES_MAX: u32 = 64;
/// How long not to call the kernel after it has dropped a frame. The pause doubles each time while it accepts nothing.
/// A shorter one wastes calls on a full driver; a longer one leaves the link idle.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// A frame that waits for room in the TX ring.
#[derive(Debug)]
struct Waiting {
    frame: TxFrame,
    len: u32,
}

/// A frame that has been refused and not been sent since.
#[derive(Clone, Copy, Debug)]
struct Tries {
    address: u64,
    times: u32,
    /// How many probes had left, or were lost, when it was first refused: at least so many were accepted before it.
    /// `u64::MAX` for a reset.
    behind: u64,
}

/// The frames of a socket that the kernel has dropped.
#[derive(Debug, Default)]
pub(super) struct Again {
    waiting: Vec<Waiting>,
    /// In no particular order. Entries of frames that were sent in the end are removed when these come back.
    tries: Vec<Tries>,
    /// Addresses that were returned last, ascending.
    returned: Vec<u64>,
    /// The end of the present pause, and its whole length.
    pause: Option<(Instant, Duration)>,
}

impl Again {
    /// Allocates all the memory that it will need, because nothing is allocated later.
    pub(super) fn new() -> Self {
        let len = TX_RING_LEN as usize;
        Self {
            waiting: Vec::with_capacity(len),
            tries: Vec::with_capacity(len),
            returned: Vec::with_capacity(len),
            pause: None,
        }
    }

    /// Whether the kernel is not to be called for now.
    pub(super) fn pauses(&self) -> bool {
        self.pause.is_some_and(|(until, _)| Instant::now() < until)
    }

    /// The rest of the present pause.
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

    /// The descriptor of the frame that was dropped, given the frames that the kernel has just returned; `None` if it
    /// is not among them.
    pub(super) fn dropped(
        &mut self,
        socket: &Socket,
        returned: impl Iterator<Item = u64>,
    ) -> Option<TxDescriptor> {
        self.returned.clear();
        self.returned.extend(returned.take(self.returned.capacity()));
        self.returned.sort_unstable();
        socket.newest().find(|descriptor| self.returned.binary_search(&descriptor.address()).is_ok())
    }

    /// Forgets the refusals of frames that have been sent now: all of `returned` but `refused`.
    pub(super) fn forget(&mut self, returned: impl Fn(u64) -> bool, refused: Option<u64>) {
        self.tries.retain(|tries| Some(tries.address) == refused || !returned(tries.address));
    }

    /// Of the probes in the order in which they were accepted, how many are certainly before every refused one.
    #[inline]
    pub(super) fn before_all(&self) -> u64 {
        self.tries.iter().fold(u64::MAX, |all, tries| all.min(tries.behind))
    }

    /// Whether to submit the frame at `address`, which was refused once more, again. `taken` says whether others were
    /// accepted meanwhile, and `behind` how many probes have left or are lost by now; `u64::MAX` for a reset.
    pub(super) fn try_again(&mut self, address: u64, taken: bool, behind: u64) -> bool {
        let known = self.tries.iter().position(|tries| tries.address == address);
        let place = known.unwrap_or_else(|| {
            self.tries.push(Tries { address, times: 0, behind });
            self.tries.len() - 1
        });
        self.tries[place].times += u32::from(taken);
        let goes_on = self.tries[place].times < TRIES_MAX;
        if !goes_on {
            self.tries.swap_remove(place);
        }
        goes_on
    }

    /// Begins a pause. It is longer each time, unless the kernel has `taken` something since the last one.
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

    /// Takes a frame of which `len` bytes are to be handed over again.
    pub(super) fn keep(&mut self, frame: TxFrame, len: u32) {
        self.waiting.push(Waiting { frame, len });
    }

    /// Puts what waits into the TX ring, as far as there is room.
    pub(super) fn hand_over(&mut self, socket: &mut Socket) {
        while let Some(Waiting { frame, len }) = self.waiting.pop() {
            if let Err(frame) = socket.send(frame, len) {
                self.waiting.push(Waiting { frame, len });
                return;
            }
        }
    }

    /// Whether a frame waits for room in the TX ring.
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
        assert_eq!((0..200).filter(|_| again.try_again(64, true, 0)).count(), 200 - 200 / TRIES_MAX as usize);
        assert!((0..200).all(|_| again.try_again(192, false, 0)), "without a link nothing is given up");
        let mut again = Again::new();
        for _ in 1..TRIES_MAX {
            assert!(again.try_again(64, true, 0) && again.try_again(128, true, 0));
            again.forget(|address| address == 128, None);
        }
        again.forget(|address| address == 64, Some(64));
        assert!(!again.try_again(64, true, 0), "forgotten though it was refused again");
        assert!(again.try_again(128, true, 0) && !again.is_empty());
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

    /// A refused probe holds back those that overtake it until it has left or is lost; a reset holds back none.
    #[test]
    fn what_is_refused_is_not_overtaken() {
        let mut again = Again::new();
        assert_eq!(again.before_all(), u64::MAX);
        again.try_again(64, true, 10);
        again.try_again(128, true, 25);
        again.try_again(64, true, 30);
        again.try_again(4096, true, u64::MAX);
        assert_eq!(again.before_all(), 10, "that of the first refusal");
        again.forget(|address| address == 64, None);
        assert_eq!(again.before_all(), 25);
        while again.try_again(128, true, 40) {}
        assert_eq!(again.before_all(), u64::MAX, "it is lost");
    }
}
