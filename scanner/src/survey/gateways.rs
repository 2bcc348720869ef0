//! The watch on gateways' MAC addresses: another router may take over an address, and then probes to the old MAC
//! address are lost.
//!
//! It reads the kernel's neighbour table. The kernel learns of a change when the new router announces itself, or when
//! the kernel sends an ARP request and the old router does not answer. It sends one only if the host itself sends
//! something through the gateway. So from time to time an empty datagram is sent there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::packet::MacAddr;

use crate::engine::Gateways;
use crate::nic::Interface;
use crate::nic::neighbor::{self, Belief, Neighbor};

/// How often the table is read. Lower: more system calls. Higher: more probes go to the old router, and more are
/// repeated.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often to trigger a request for a gateway that is not in the table. The kernel sends at most one request per
/// second for it, but gives up after three. Lower: useless datagrams. Higher: sending resumes later after an outage.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often to trigger a request for a gateway that has not confirmed its address for a while. Lower: more datagrams
/// that are not probes. Higher: a silent move of a gateway is noticed later.
const ASK_STALE_EVERY: Duration = Duration::from_secs(10);

/// A gateway whose MAC address has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) number: usize,
    pub(super) address: IpAddr,
    pub(super) from: MacAddr,
    pub(super) to: MacAddr,
    /// The last time at which it was known to have its old MAC address.
    pub(super) well_at: Instant,
}

/// Watches the gateways of an interface.
#[derive(Debug)]
pub(super) struct GatewayWatch {
    interface: Interface,
    gateways: Vec<GatewayJudge>,
    macs: Arc<Gateways>,
    look_at: Instant,
}

impl GatewayWatch {
    /// A watch on the gateways with these addresses, whose MAC addresses are `macs`.
    pub(super) fn new(interface: Interface, addresses: Vec<IpAddr>, macs: Arc<Gateways>) -> Self {
        let now = Instant::now();
        let judge = |(number, address)| GatewayJudge::new(address, macs.mac(number), now);
        let gateways = addresses.into_iter().enumerate().map(judge).collect();
        Self { interface, gateways, macs, look_at: now }
    }

    /// Checks, if it is time. Returns the first gateway that has moved; probes use the new MAC address from now on.
    pub(super) fn look(&mut self, now: Instant) -> Option<Move> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK_EVERY;
        for (number, judge) in self.gateways.iter_mut().enumerate() {
            // The next check may succeed.
            let Ok(found) = neighbor::find(&self.interface, judge.address) else { continue };
            if judge.asks(now, found) {
                // If requests for it are not permitted, the table is trusted.
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

    /// Whether the kernel knows the MAC addresses of all gateways, as far as it can look them up; it is made to look up
    /// those that it does not know. With `may_give_up`, a gateway that cannot be looked up counts as present. If all
    /// are known, the next check is due at once.
    pub(super) fn answer(&mut self, now: Instant, may_give_up: bool) -> bool {
        let mut all = true;
        for judge in &mut self.gateways {
            // Every gateway is looked up, even if another one does not answer.
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

/// The state of one gateway: a function of the table's entries and the times at which they were read.
#[derive(Debug)]
struct GatewayJudge {
    address: IpAddr,
    mac: MacAddr,
    /// When it was last known to be there.
    well_at: Instant,
    /// When the kernel last had a confirmed entry.
    sure_at: Instant,
    /// Whether the kernel's entry has been unconfirmed since then.
    doubted: bool,
    /// When a request was last triggered, or when the gateway was first seen.
    asked_at: Instant,
}

impl GatewayJudge {
    fn new(address: IpAddr, mac: MacAddr, now: Instant) -> Self {
        Self { address, mac, well_at: now, sure_at: now, doubted: false, asked_at: now }
    }

    /// Processes a check that began at `now`. If the gateway has moved, returns when it was last known at its old MAC
    /// address.
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

    /// Whether a request is due now, after the result of a check. If so, it counts as sent.
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

    /// The results of checks at these milliseconds: since when the gateway may have moved.
    fn judged(looks: &[(u64, Option<(MacAddr, Belief)>)]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let mut judge = GatewayJudge::new([10, 0, 0, 1].into(), OLD, start);
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

    /// When requests are due for a gateway that was there at first, by the milliseconds of the checks.
    fn asked(looks: impl IntoIterator<Item = (u64, Option<Belief>)>) -> Vec<u64> {
        let start = Instant::now();
        let mut judge = GatewayJudge::new([10, 0, 0, 1].into(), OLD, start);
        let mut asks = |&(ms, belief): &(u64, Option<Belief>)| {
            let found = belief.map(|belief| Neighbor { mac: OLD, belief });
            judge.asks(start + Duration::from_millis(ms), found)
        };
        looks.into_iter().filter(&mut asks).map(|(ms, _)| ms).collect()
    }

    /// A gateway that the kernel has forgotten, as it does when the link goes down, is looked up at once. It does not
    /// wait for the interval of a gateway that is only unconfirmed.
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
