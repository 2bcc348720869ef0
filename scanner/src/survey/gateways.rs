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
/// How often a gateway is asked for that the table does not have.
const ASK_EVERY: Duration = Duration::from_secs(1);
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
            if judge.wants_to_ask(now, found) {
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
    /// `may_give_up` takes one that cannot even be asked for as being there.
    pub(super) fn answer(&mut self, now: Instant, may_give_up: bool) -> bool {
        let Self { interface, gateways, .. } = self;
        gateways.iter_mut().all(|judge| {
            match neighbor::find(interface, judge.address) {
                Ok(Some(_)) | Err(_) => return true,
                Ok(None) => {}
            }
            if now < judge.ask_at {
                return false;
            }
            judge.ask_at = now + ASK_EVERY;
            neighbor::knock(interface, judge.address).is_err() && may_give_up
        })
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
    ask_at: Instant,
}

impl Judge {
    fn new(address: IpAddr, mac: MacAddr, now: Instant) -> Self {
        Self { address, mac, well_at: now, sure_at: now, doubted: false, ask_at: now + ASK_STALE_EVERY }
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

    fn wants_to_ask(&mut self, now: Instant, found: Option<Neighbor>) -> bool {
        let every = match found.map(|found| found.belief) {
            Some(Belief::Sure | Belief::Doubted) => return false,
            Some(Belief::Stale) => ASK_STALE_EVERY,
            None => ASK_EVERY,
        };
        let asks = now >= self.ask_at;
        if asks {
            self.ask_at = now + every;
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
}
