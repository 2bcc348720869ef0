//! Which hosts have had as many open ports as are wanted of one (`--max-ports-per-host`).
//!
//! Some hosts, and boxes before them, answer on every port. The first ports of a host are results like others, in the
//! order in which they answer; what comes after them is left out. What always holds: memory stays within the limit, as
//! that of repeats does. What is known of a host follows from the first successes of its targets, in their order: so a
//! scan that goes on makes it again from the journal of repeats.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Dedup;
use crate::reply::record::Header;

/// Most ports of a host that can be wanted: one more is the mark of a host that has had more.
pub const PORTS_MAX: u16 = u16::MAX - 1;

/// The ports that hosts have had. Step k of a host is marked once it has had k ports, and the step behind the last one
/// once it has had more: in the place of ports, in a table of targets.
#[derive(Debug)]
pub struct PortLimit {
    most: u16,
    steps: Dedup,
    /// Hosts that have had more ports than are wanted.
    hosts: u64,
}

impl PortLimit {
    /// A limit of `most` ports, at least 1 and at most [`PORTS_MAX`], of each host. `steps` tells targets apart by
    /// address and port, and is empty.
    pub fn new(most: u16, steps: Dedup) -> Self {
        Self { most: most.clamp(1, PORTS_MAX), steps, hosts: 0 }
    }

    /// Whether a success, which may be a repeat of its target, is of a host that has had more ports than are wanted.
    pub fn is_past(&mut self, header: &Header, is_repeat: bool) -> bool {
        match Ipv6Addr::from(header.target).to_ipv4_mapped() {
            Some(host) if is_repeat => self.has(host, self.most + 1),
            Some(host) => self.count(host),
            None => false,
        }
    }

    /// Counts the first success of a target of this host. Returns whether the host has had more ports than are wanted.
    fn count(&mut self, host: Ipv4Addr) -> bool {
        if self.has(host, self.most) {
            self.hosts += u64::from(!self.steps.see(host, self.most + 1));
            return true;
        }
        let (mut had, mut more) = (0, self.most);
        while had + 1 < more {
            let step = had + (more - had) / 2;
            if self.has(host, step) {
                had = step;
            } else {
                more = step;
            }
        }
        self.steps.see(host, had + 1);
        false
    }

    /// Hosts that have had more ports than are wanted.
    pub fn hosts(&self) -> u64 {
        self.hosts
    }

    fn has(&mut self, host: Ipv4Addr, step: u16) -> bool {
        self.steps.knows(host, step)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::header;

    fn limit(most: u16, memory: u64) -> PortLimit {
        PortLimit::new(most, Dedup::targets().bounded(memory, NonZeroUsize::new(1 << 16).unwrap()))
    }

    proptest! {
        /// As a count for each host says, however little memory there is, as long as the window forgets nothing.
        #[test]
        fn as_a_count_of_each_host(
            successes in prop::collection::vec((0u32..20, any::<bool>()), 0..400),
            most in 1u16..12,
            memory in prop_oneof![Just(0u64), Just(1 << 20)],
        ) {
            let mut limit = limit(most, memory);
            let mut had: HashMap<u32, u16> = HashMap::new();
            for (host, is_repeat) in successes {
                let had = had.entry(host).or_default();
                *had += u16::from(!is_repeat);
                let reply = header(ReplyKind::SynAck, Ipv4Addr::from_bits(host), 80, 0);
                prop_assert_eq!(limit.is_past(&reply, is_repeat), *had > most, "{} of {}", had, most);
            }
            prop_assert_eq!(limit.hosts(), had.values().filter(|had| **had > most).count() as u64);
        }
    }

    /// The largest limit, and a host that answers on everything.
    #[test]
    fn every_port_of_a_host() {
        for most in [1, 2, 1_000, PORTS_MAX] {
            let mut limit = limit(most, 1 << 30);
            let host = Ipv4Addr::new(192, 0, 2, 1);
            let past = (0..=u16::MAX).filter(|_| limit.count(host)).count();
            assert_eq!((past, limit.hosts()), (65_536 - usize::from(most), 1), "{most}");
        }
    }
}
