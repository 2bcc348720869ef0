//! The hosts to which a worker sends canaries: some of those whose answers it received.
//!
//! A table of fixed size in which the address alone says the place, so a host is in it once at most, and the places
//! follow no order of addresses. A walk around the table says whose turn it is: that spaces the canaries to a host by
//! itself, and costs no random numbers. What always holds: a host gets each number at most once while it is in the
//! table, and two of its canaries are [`SPACING_SLOTS`] apart at least. A host that has got all of them stays until its
//! place is needed. So only a host that repeats its first answer after it was displaced could begin anew.

use targets::{RangeSet, TargetBatch};
use wire::proof::Copies;

/// Places, a power of two: 192 KiB per worker. Fewer: at a high share, hosts are used up before there are new ones.
/// More: more memory.
const PLACES: usize = 1 << 14;
/// Slots from a canary of a host to its next one, at least: nearly two seconds. Lower: a host may limit how often it
/// answers. Higher: more hosts are needed for the same share.
pub const SPACING_SLOTS: u64 = 10;
/// Most places that are looked at for each canary. Lower: a table with few hosts gives fewer canaries than it could.
/// Higher: a turn of the worker takes longer.
const LOOKS: usize = 256;
/// All numbers have been used.
const USED_UP: u8 = u8::MAX;

const _: () = assert!(Copies::CANARIES == u8::BITS);

/// A host that has answered.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    address: u32,
    port: u16,
    /// A bit for each number that it has got.
    used: u8,
    is_known: bool,
    /// The slot from which on it may get the next one.
    from_slot: u32,
}

/// The hosts of a worker.
#[derive(Debug)]
pub struct Reservoir {
    hosts: Box<[Host]>,
    /// How many places have a host.
    known: usize,
    /// Where the walk goes on.
    next: usize,
    /// How many workers share the hosts, and which one this is.
    workers: usize,
    number: usize,
    /// Whether a host gets one canary and no more.
    once: bool,
}

impl Reservoir {
    /// That of worker `number` of `workers`. With `once`, a host gets one canary and no more. Without hosts if the scan
    /// has no canaries: then nothing is ever offered.
    pub fn new(workers: usize, number: usize, once: bool, has_canaries: bool) -> Self {
        let places = if has_canaries { PLACES } else { 0 };
        let hosts = vec![Host::default(); places].into_boxed_slice();
        Self { hosts, known: 0, next: 0, workers, number, once }
    }

    /// Takes a host that has answered, if it belongs to this worker and there is a place for it. Two workers may
    /// receive answers of one host, and its canaries are to come from one.
    pub fn offer(&mut self, address: u32, port: u16) {
        // Fibonacci hashing: similar addresses get distant places, and there is no need to resist an attacker here.
        let hash = u64::from(address).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The upper bits choose the place, and lower ones the worker.
        let owner = (u64::from((hash >> 8) as u32) * self.workers as u64) >> 32;
        if self.hosts.is_empty() || owner != self.number as u64 {
            return;
        }
        let host = &mut self.hosts[(hash >> (64 - PLACES.trailing_zeros())) as usize];
        if !host.is_known || host.used == USED_UP && host.address != address {
            self.known += usize::from(!host.is_known);
            *host = Host { address, port, is_known: true, ..Host::default() };
        }
    }

    /// Fills `out` with up to `wanted` hosts that may get a canary in `slot`. Leaves out, and forgets, hosts that are
    /// in `excluded`. Returns how many these were.
    pub fn draw(
        &mut self,
        slot: u64,
        wanted: usize,
        excluded: Option<&RangeSet>,
        out: &mut TargetBatch,
    ) -> u64 {
        let number = 1u8 << (slot % u64::from(Copies::CANARIES));
        let mut left_out = 0;
        out.len = 0;
        if self.known == 0 {
            return 0;
        }
        for _ in 0..wanted * LOOKS {
            let host = &mut self.hosts[self.next];
            self.next = (self.next + 1) % PLACES;
            if !host.is_known || host.used & number != 0 || u64::from(host.from_slot) > slot {
                continue;
            }
            if excluded.is_some_and(|excluded| excluded.contains(host.address)) {
                *host = Host::default();
                self.known -= 1;
                left_out += 1;
                continue;
            }
            host.used = if self.once { USED_UP } else { host.used | number };
            host.from_slot = (slot + SPACING_SLOTS) as u32;
            (out.addresses[out.len], out.ports[out.len]) = (host.address, host.port);
            out.len += 1;
            if out.len == wanted {
                break;
            }
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use targets::AddressRange;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Offer(u32),
        Draw { slots: u64, wanted: usize },
        Exclude(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..600).prop_map(Step::Offer),
            3 => (0u64..3, 1usize..20).prop_map(|(slots, wanted)| Step::Draw { slots, wanted }),
            1 => (0u32..600).prop_map(Step::Exclude),
        ]
    }

    proptest! {
        /// Only hosts that were offered get canaries, each from one worker, each number once, spaced, and none once it
        /// is excluded.
        #[test]
        fn bounds_hold(steps in prop::collection::vec(step(), 1..300), workers in 1usize..4, once: bool) {
            let mut reservoirs: Vec<_> =
                (0..workers).map(|number| Reservoir::new(workers, number, once, true)).collect();
            let (mut offered, mut excluded, mut slot) = (BTreeSet::new(), RangeSet::default(), 0);
            let mut sent: BTreeMap<u32, Vec<(usize, u64)>> = BTreeMap::new();
            let mut batch = TargetBatch::default();
            for step in steps {
                match step {
                    Step::Offer(address) => {
                        offered.insert(address);
                        reservoirs.iter_mut().for_each(|reservoir| reservoir.offer(address, 80));
                    }
                    Step::Exclude(address) => {
                        let more: RangeSet = AddressRange::new(address, address + 9).into_iter().collect();
                        excluded = excluded.union(&more);
                    }
                    Step::Draw { slots, wanted } => {
                        slot += slots;
                        for (worker, reservoir) in reservoirs.iter_mut().enumerate() {
                            reservoir.draw(slot, wanted, Some(&excluded), &mut batch);
                            prop_assert!(batch.len <= wanted);
                            for address in &batch.addresses[..batch.len] {
                                prop_assert!(offered.contains(address) && !excluded.contains(*address));
                                sent.entry(*address).or_default().push((worker, slot));
                            }
                        }
                    }
                }
            }
            for (address, canaries) in sent {
                prop_assert!(canaries.len() <= if once { 1 } else { Copies::CANARIES as usize }, "{address}");
                prop_assert!(canaries.windows(2).all(|pair| {
                    pair[0].0 == pair[1].0 && pair[1].1 - pair[0].1 >= SPACING_SLOTS
                }), "{address}: {canaries:?}");
                let numbers: BTreeSet<u64> =
                    canaries.iter().map(|(_, slot)| slot % u64::from(Copies::CANARIES)).collect();
                prop_assert_eq!(numbers.len(), canaries.len());
            }
        }
    }

    /// All hosts get their turn, and new ones take the places of those that are used up.
    #[test]
    fn the_walk_goes_around() {
        let mut reservoir = Reservoir::new(1, 0, true, true);
        let mut batch = TargetBatch::default();
        let drawn = |reservoir: &mut Reservoir, batch: &mut TargetBatch, slot| {
            let mut all = BTreeSet::new();
            for _ in 0..PLACES / 16 {
                reservoir.draw(slot, 16, None, batch);
                all.extend(batch.addresses[..batch.len].iter().copied());
            }
            all
        };
        (0..100).for_each(|host| reservoir.offer(host, 80));
        assert_eq!(drawn(&mut reservoir, &mut batch, 0).len(), 100);
        assert!(drawn(&mut reservoir, &mut batch, 99).is_empty(), "each once");
        (0..4 * PLACES as u32).for_each(|host| reservoir.offer(1_000 + host, 80));
        let second = drawn(&mut reservoir, &mut batch, 100);
        assert!(second.len() > PLACES / 2 && second.len() <= PLACES, "{}", second.len());
        let mut empty = Reservoir::new(1, 0, false, true);
        assert_eq!((empty.draw(0, 8, None, &mut batch), empty.next), (0, 0), "nothing is looked for");
        let mut none = Reservoir::new(1, 0, false, false);
        none.offer(1, 1);
        assert_eq!((none.draw(0, 8, None, &mut batch), batch.len), (0, 0));
    }
}
