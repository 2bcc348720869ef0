//! Which hosts answered which of their two probes, in a scan with second probes: what the share of missed hosts is
//! estimated from.
//!
//! Only targets of the sample count: others are probed once. What always holds: a host is counted once, for all of its
//! answers, and moves from "one" to "both" when the other probe is answered as well. A scan that goes on counts on
//! where the runs before have ended, because the journal of repeats has each host's first answer to either probe.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use targets::Sample;

use super::dedup::Dedup;
use crate::estimate::{GROUPS, Networks, Twice};
use crate::reply::record::Header;

/// What was answered of one group of networks.
#[derive(Debug, Default)]
struct Group {
    both: AtomicU64,
    first_only: AtomicU64,
    second_only: AtomicU64,
}

/// The counts, as other threads read them. A single thread counts.
#[derive(Debug)]
pub struct AnsweredTwice {
    groups: Box<[Group; GROUPS]>,
    /// Hosts that were found in the runs before, whether they are in the sample or not.
    found_before: AtomicU64,
    /// Whether it is not known what the runs before have found: then nothing is known of targets that they have probed.
    is_unknown: AtomicBool,
}

impl Default for AnsweredTwice {
    fn default() -> Self {
        Self {
            groups: Box::new(std::array::from_fn(|_| Group::default())),
            found_before: AtomicU64::new(0),
            is_unknown: AtomicBool::new(false),
        }
    }
}

impl AnsweredTwice {
    /// Hosts of the sample by their networks, and how many hosts the runs before have found. `None` if that is not
    /// known.
    pub fn read(&self) -> Option<(Networks, u64)> {
        let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let group = |number: usize| {
            let group = &self.groups[number];
            Twice {
                both: count(&group.both),
                first_only: count(&group.first_only),
                second_only: count(&group.second_only),
            }
        };
        let is_known = !self.is_unknown.load(Ordering::Relaxed);
        is_known.then(|| (Networks::of_groups(group), count(&self.found_before)))
    }

    /// What the runs before have found is not known.
    pub fn forget(&self) {
        self.is_unknown.store(true, Ordering::Relaxed);
    }

    /// This many hosts were found in the runs before.
    pub fn begin_with(&self, found_before: u64) {
        self.found_before.store(found_before, Ordering::Relaxed);
    }
}

/// One of the two probes to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first.
    First,
    /// The second.
    Second,
}

/// Tells the answers to first and second probes apart.
#[derive(Debug)]
pub struct Recheck {
    sample: Sample,
    /// The copy number of second probes.
    second_number: u8,
    /// Hosts of the sample that have answered each of them.
    answered: [Dedup; 2],
    counts: Arc<AnsweredTwice>,
}

impl Recheck {
    /// For targets of `sample`, whose second probes have this copy number. `tables` start empty, and must be exact.
    pub fn new(sample: Sample, second_number: u8, tables: [Dedup; 2], counts: Arc<AnsweredTwice>) -> Self {
        Self { sample, second_number, answered: tables, counts }
    }

    /// Which probe this reply answers.
    pub fn which(&self, header: &Header) -> Which {
        if header.probe == self.second_number { Which::Second } else { Which::First }
    }

    /// Counts a success. Returns whether it is the first one to this probe of a target in the sample.
    pub fn note(&mut self, header: &Header, which: Which) -> bool {
        let Some(address) = Ipv6Addr::from(header.target).to_ipv4_mapped().map(u32::from) else {
            return false;
        };
        if !self.sample.holds(address, header.target_port) {
            return false;
        }
        let [first, second] = &mut self.answered;
        let (own, other) = match which {
            Which::First => (first, second),
            Which::Second => (second, first),
        };
        if own.check(header, true) {
            return false;
        }
        let group = &self.counts.groups[Networks::group(address)];
        let [one, both] = match (which, other.check(header, false)) {
            (Which::First, false) => [&group.first_only, &group.first_only],
            (Which::First, true) => [&group.second_only, &group.both],
            (Which::Second, false) => [&group.second_only, &group.second_only],
            (Which::Second, true) => [&group.first_only, &group.both],
        };
        // There is one writer.
        let add = |cell: &AtomicU64, more: i64| {
            cell.store(cell.load(Ordering::Relaxed).saturating_add_signed(more), Ordering::Relaxed);
        };
        if !std::ptr::eq(one, both) {
            add(one, -1);
        }
        add(both, 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::header;

    fn recheck(share: f64) -> (Recheck, Arc<AnsweredTwice>) {
        let counts = Arc::<AnsweredTwice>::default();
        let tables = [Dedup::targets(), Dedup::targets()];
        (Recheck::new(Sample::new(3, share), 1, tables, Arc::clone(&counts)), counts)
    }

    proptest! {
        /// As two sets of hosts, in whatever order and however often they answer.
        #[test]
        fn agrees_with_sets(answers in prop::collection::vec((0u32..200, any::<bool>()), 0..400), share in 0.2f64..=1.0) {
            let (mut recheck, counts) = recheck(share);
            let mut answered = [HashSet::new(), HashSet::new()];
            for (host, is_second) in answers {
                let address = 0xc612_0000 + 37 * host;
                let mut header = header(ReplyKind::SynAck, address.into(), 80, 0);
                header.probe = u8::from(is_second);
                let which = recheck.which(&header);
                prop_assert_eq!(which == Which::Second, is_second);
                let is_in = Sample::new(3, share).holds(address, 80);
                let is_new = is_in && answered[usize::from(is_second)].insert(host);
                prop_assert_eq!(recheck.note(&header, which), is_new);
            }
            let [first, second] = &answered;
            let (networks, before) = counts.read().unwrap();
            let expected = Twice {
                both: first.intersection(second).count() as u64,
                first_only: first.difference(second).count() as u64,
                second_only: second.difference(first).count() as u64,
            };
            prop_assert_eq!((networks.total(), before), (expected, 0));
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let (_, counts) = recheck(1.0);
        counts.begin_with(7);
        assert_eq!(counts.read().map(|(_, before)| before), Some(7));
        counts.forget();
        assert!(counts.read().is_none());
    }
}
