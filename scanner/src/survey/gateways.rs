//! The watch on gateways' MAC addresses: another router may take an address over, and what is sent to the old one is lost.
//!
//! The kernel's table of neighbours is looked at. It learns of a change when the new router announces itself, or when the
//! kernel asks and the old one does not answer; it asks only if the host itself sends something there. So it is made to, now
//! and then, by an empty datagram.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::nic::neighbor::{self, Belief, Neighbor};
use crate::nic::{Gateways, Interface};
use crate::packet::MacAddr;

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a gateway is asked for that the table does not have. The kernel itself sends no two requests for it within a
/// second, but gives up after three of them.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often one is asked for of which the kernel has heard nothing for a while.
const ASK_STALE_EVERY: Duration = Duration::from_secs(10);

/// A gateway that is somewhere else than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) number: usize,
    pub(super) address: IpAddr,
    pub(super) from: MacAddr,
    pub(super) to: MacAddr,
    /// It was where it had been when it was last seen then.
    pub(super) well_at: Instant,
}

/// Looks at an interface's gateways, again and again.
#[derive(Debug)]
pub(super) struct GatewayWatch {
    interface: Interface,
    gateways: Vec<Judge>,
    macs: Arc<Gateways>,
    look_at: Instant,
}

impl GatewayWatch {
    /// A watch on the gateways with these addresses, which are at `macs`.
    pub(super) fn new(interface: Interface, addresses: Vec<IpAddr>, macs: Arc<Gateways>) -> Self {
        let now = Instant::now();
        let judge = |(number, address)| Judge::new(address, macs.mac(number), now);
        let gateways = addresses.into_iter().enumerate().map(judge).collect();
        Self { interface, gateways, macs, look_at: now }
    }

    /// Looks, if it is time: the first gateway that has moved, where probes go from now on.
    pub(super) fn look(&mut self, now: Instant) -> Option<Move> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK_EVERY;
        for (number, judge) in self.gateways.iter_mut().enumerate() {
            // The next look may succeed.
            let Ok(found) = neighbor::find(&self.interface, judge.address) else { continue };
            if judge.asks(now, found) {
                // A next hop that may not be asked is believed.
                let _ = neighbor::knock(&self.interface, judge.address);
            }
            let from = judge.mac;
            if let Some(well_at) = judge.see(now, found) {
                self.macs.set(number, judge.mac);
                return Some(Move { number, address: judge.address, from, to: judge.mac, well_at });
            }
        }
        None
    }

    /// Whether the kernel knows where all gateways are, as far as it can be asked; those it does not know are asked for.
    /// `may_give_up` takes one that cannot even be asked for as being there. If they are, the next look is due.
    pub(super) fn answer(&mut self, now: Instant, may_give_up: bool) -> bool {
        let mut all = true;
        for judge in &mut self.gateways {
            // Each is asked for, also where another does not answer.
            all &= match neighbor::find(&self.interface, judge.address) {
                Ok(Some(_)) | Err(_) => true,
                Ok(None) if judge.asks(now, None) => {
                    neighbor::knock(&self.interface, judge.address).is_err() && may_give_up
                }
                Ok(None) => false,
            };
        }
        if all {
            self.look_at = now;
        }
        all
    }
}

/// The judgement of one gateway: a function of what the table had and when.
#[derive(Debug)]
struct Judge {
    address: IpAddr,
    mac: MacAddr,
    /// When it was last known to be there.
    well_at: Instant,
    /// When the kernel was last sure of that.
    sure_at: Instant,
    /// Whether the kernel has had doubts since.
    doubted: bool,
    /// When it was last asked for, or seen for the first time.
    asked_at: Instant,
}

impl Judge {
    fn new(address: IpAddr, mac: MacAddr, now: Instant) -> Self {
        Self { address, mac, well_at: now, sure_at: now, doubted: false, asked_at: now }
    }

    /// Takes what a look found that began at `now`. If it has moved, when it was last known to be where it was.
    fn see(&mut self, now: Instant, found: Option<Neighbor>) -> Option<Instant> {
        let Some(Neighbor { mac, belief }) = found else {
            self.doubted = true;
            return None;
        };
        if mac != self.mac {
            let well_at = if self.doubted { self.sure_at } else { self.well_at };
            *self = Self::new(self.address, mac, now);
            return Some(well_at);
        }
        match belief {
            Belief::Sure => (self.well_at, self.sure_at, self.doubted) = (now, now, false),
            Belief::Stale => self.well_at = now,
            Belief::Doubted => self.doubted = true,
        }
        None
    }

    /// Whether it is to be asked for now, after what a look found; it is taken as asked for then.
    fn asks(&mut self, now: Instant, found: Option<Neighbor>) -> bool {
        let every = match found.map(|found| found.belief) {
            Some(Belief::Sure | Belief::Doubted) => return false,
            Some(Belief::Stale) => ASK_STALE_EVERY,
            None => ASK_EVERY,
        };
        let asks = now.saturating_duration_since(self.asked_at) >= every;
        if asks {
            self.asked_at = now;
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: MacAddr = MacAddr([2; 6]);
    const NEW: MacAddr = MacAddr([4; 6]);

    /// What looks at these milliseconds show: since when the gateway may be elsewhere.
    fn judged(looks: &[(u64, Option<(MacAddr, Belief)>)]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let mut judge = Judge::new([10, 0, 0, 1].into(), OLD, start);
        let mut see = |&(ms, found): &(u64, Option<(MacAddr, Belief)>)| {
            let found = found.map(|(mac, belief)| Neighbor { mac, belief });
            let moved = judge.see(start + Duration::from_millis(ms), found);
            moved.map(|well_at| (well_at - start).as_millis() as u64)
        };
        looks.iter().map(&mut see).collect()
    }

    #[test]
    fn one_that_moves_puts_in_doubt_what_left_since_it_was_seen() {
        use Belief::{Doubted, Stale, Sure};
        let announced = [(100, Some((OLD, Sure))), (200, Some((OLD, Stale))), (300, Some((NEW, Stale)))];
        assert_eq!(judged(&announced), [None, None, Some(200)]);
        let died = [
            (100, Some((OLD, Sure))),
            (9_000, Some((OLD, Stale))),
            (9_100, Some((OLD, Doubted))),
            (9_200, None),
            (9_300, Some((NEW, Sure))),
            (9_400, Some((NEW, Sure))),
            (9_500, Some((OLD, Sure))),
        ];
        assert_eq!(judged(&died), [None, None, None, None, Some(100), None, Some(9_400)]);
        assert_eq!(judged(&[(100, None), (200, Some((OLD, Stale)))]), [None, None], "forgotten for a while");
    }

    /// When a gateway is asked for that was there at first, by the milliseconds of the looks.
    fn asked(looks: impl IntoIterator<Item = (u64, Option<Belief>)>) -> Vec<u64> {
        let start = Instant::now();
        let mut judge = Judge::new([10, 0, 0, 1].into(), OLD, start);
        let mut asks = |&(ms, belief): &(u64, Option<Belief>)| {
            let found = belief.map(|belief| Neighbor { mac: OLD, belief });
            judge.asks(start + Duration::from_millis(ms), found)
        };
        looks.into_iter().filter(&mut asks).map(|(ms, _)| ms).collect()
    }

    /// One that the kernel has forgotten, as it does with the link, is asked for at once: it does not wait for the turn of
    /// one that has only been silent.
    #[test]
    fn one_that_is_forgotten_is_asked_for_at_once() {
        let looks = |until, belief| (0..until).step_by(100).map(move |ms| (ms, belief));
        assert_eq!(asked(looks(30_000, Some(Belief::Stale))), [10_000, 20_000]);
        assert!(asked(looks(30_000, Some(Belief::Sure))).is_empty());
        assert_eq!(asked(looks(700, None)), [200, 400, 600]);
        let later = |(ms, belief)| (ms + 6_250, belief);
        let forgotten = looks(6_000, Some(Belief::Stale)).chain(looks(400, None).map(later));
        assert_eq!(asked(forgotten), [6_250, 6_450]);
    }
}
