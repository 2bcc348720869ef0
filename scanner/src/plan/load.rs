//! What a scan does to the networks of which it probes the most: how many packets a /24 and a /16 receive.
//!
//! The order of a scan is random, so the probes of a network come like those of a Poisson process, as long as it is a
//! small part of the targets.

use targets::{AddressRange, AddressSet};

use super::TargetPlan;
use crate::units::grouped;

/// Packets per second from which on there is a warning, for the busiest network with a prefix of that length. Lower: a
/// warning for every scan of one's own networks. Higher: none before a small network is flooded.
const BOUNDS_PPS: [(u32, u64); 2] = [(24, 10_000), (16, 100_000)];

/// The network of some size in which most addresses are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Busiest {
    network: AddressRange,
    addresses: u64,
}

/// Counts addresses by networks of one size.
struct Tally {
    /// Bits behind the prefix.
    host_bits: u32,
    number: u32,
    addresses: u64,
    most: (u64, u32),
}

impl Tally {
    fn new(prefix_len: u32) -> Self {
        Self { host_bits: 32 - prefix_len, number: 0, addresses: 0, most: (0, 0) }
    }

    /// Adds addresses, which come in ascending order.
    fn add(&mut self, range: AddressRange) {
        let host_mask = (1 << self.host_bits) - 1;
        let (first, last) = (range.first() >> self.host_bits, range.last() >> self.host_bits);
        if first == last {
            return self.add_to(first, range.len());
        }
        self.add_to(first, u64::from(host_mask - (range.first() & host_mask)) + 1);
        if last - first > 1 {
            self.add_to(first + 1, u64::from(host_mask) + 1);
        }
        self.add_to(last, u64::from(range.last() & host_mask) + 1);
    }

    fn add_to(&mut self, number: u32, addresses: u64) {
        if number != self.number {
            (self.number, self.addresses) = (number, 0);
        }
        self.addresses += addresses;
        if self.addresses > self.most.0 {
            self.most = (self.addresses, number);
        }
    }

    fn busiest(&self) -> Option<Busiest> {
        let (addresses, number) = self.most;
        let first = number << self.host_bits;
        let network = AddressRange::new(first, first | ((1 << self.host_bits) - 1))?;
        Some(Busiest { network, addresses })
    }
}

/// The busiest networks of these sizes.
fn busiest<const N: usize>(addresses: &AddressSet, prefix_lens: [u32; N]) -> [Option<Busiest>; N] {
    let mut tallies = prefix_lens.map(Tally::new);
    for range in addresses.ranges() {
        tallies.iter_mut().for_each(|tally| tally.add(range));
    }
    tallies.map(|tally| tally.busiest())
}

/// How many events of a Poisson process the worst of `seconds` seconds has, if the mean is `mean` a second: the number
/// that is exceeded with a probability of less than one half, by Chernoff's bound, P(X >= m) <= e^(m - mean) (mean /
/// m)^m. At most a few more than it really is.
fn worst_second(mean: f64, seconds: f64) -> f64 {
    let log_of_exceeding = |most: f64| seconds.max(1.0).ln() + most - mean - most * (most / mean).ln();
    let (mut low, mut high) = (mean, mean + 64.0);
    while log_of_exceeding(high) > 0.5_f64.ln() {
        high *= 2.0;
    }
    while high - low > 0.5 {
        let middle = f64::midpoint(low, high);
        if log_of_exceeding(middle) > 0.5_f64.ln() { low = middle } else { high = middle }
    }
    high.ceil()
}

/// What a network receives, in packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    network: AddressRange,
    /// Per second, on average.
    mean_pps: f64,
    /// In the worst second, about.
    worst: f64,
}

impl Load {
    /// Of a scan with so many packets to each of `expected` of all `addresses`, at `rate_pps`.
    fn new(busiest: Busiest, addresses: u64, expected: f64, packets: f64, rate_pps: f64) -> Self {
        let share = busiest.addresses as f64 / addresses as f64;
        let all = busiest.addresses as f64 * packets;
        let seconds = (expected * packets / rate_pps).max(1.0);
        let mean_pps = (share * rate_pps).min(all / seconds);
        // Every other network of that size may have its worst second as well.
        let worst = worst_second(mean_pps, seconds / share).min(all).min(rate_pps);
        Self { network: busiest.network, mean_pps, worst: worst.max(mean_pps.ceil()) }
    }

    /// Whether that is so much that there is a warning.
    pub(super) fn is_heavy(&self) -> bool {
        let len = self.network.len();
        let bound = BOUNDS_PPS.iter().find(|(prefix_len, _)| len == 1 << (32 - prefix_len));
        bound.is_some_and(|(_, bound_pps)| self.worst > *bound_pps as f64)
    }

    /// In words.
    pub fn told(&self) -> String {
        let mean = match self.mean_pps {
            mean if mean < 0.01 => "less than 0.01".to_owned(),
            mean if mean < 10.0 => format!("{mean:.2}"),
            mean => grouped(mean.round() as u64),
        };
        format!(
            "{} receives {mean} probes per second on average, and some {} in the worst second",
            self.network,
            grouped(self.worst as u64)
        )
    }
}

/// What the busiest networks receive of a scan that sends so many probes to each target, on average; nothing without a
/// rate, or if the targets are pairs.
pub(super) fn loads(targets: &TargetPlan, to_each: f64, rate_pps: f64) -> Vec<Load> {
    let addresses = targets.space.addresses();
    if rate_pps == 0.0 || targets.space.is_list_of_pairs() || addresses.is_empty() {
        return Vec::new();
    }
    let ports = targets.space.ports().len() as f64;
    let (packets, expected) = (to_each * ports, targets.expected() as f64 / ports);
    let load = |busiest| Load::new(busiest, addresses.len(), expected, packets, rate_pps);
    let found = busiest(addresses, BOUNDS_PPS.map(|(prefix_len, _)| prefix_len));
    found.into_iter().flatten().map(load).collect()
}

#[cfg(test)]
mod tests {
    use targets::{List, RangeSet};

    use super::*;

    fn set(targets: &[&str]) -> AddressSet {
        let list = List::from_arguments(targets).unwrap();
        AddressSet::paint(Some(&list.to_set()), &RangeSet::default(), &RangeSet::default())
    }

    #[test]
    fn the_busiest_networks() {
        for (targets, busiest_24, busiest_16) in [
            (&["192.0.2.1"][..], ("192.0.2.0/24", 1), ("192.0.0.0/16", 1)),
            (&["192.0.2.9-192.0.3.4", "198.51.100.7"], ("192.0.2.0/24", 247), ("192.0.0.0/16", 252)),
            (&["10.0.0.250-10.0.2.3", "10.0.2.100-10.0.2.120"], ("10.0.1.0/24", 256), ("10.0.0.0/16", 287)),
            (&["10.0.1.0/25", "10.1.0.0/23", "10.1.9.1"], ("10.1.0.0/24", 256), ("10.1.0.0/16", 513)),
            (&["0.0.0.0/0"], ("0.0.0.0/24", 256), ("0.0.0.0/16", 65_536)),
        ] {
            let found = busiest(&set(targets), [24, 16]).map(|found| {
                let Busiest { network, addresses } = found.unwrap();
                (network.to_string(), addresses)
            });
            let expected = [busiest_24, busiest_16].map(|(network, count)| (network.to_owned(), count));
            assert_eq!(found, expected, "{targets:?}");
        }
        assert_eq!(busiest(&set(&["192.0.2.1"]), [32])[0].unwrap().addresses, 1);
    }

    /// The number is exceeded with less than one half, and one that is smaller by a tenth with more than that, by exact
    /// sums of the distribution.
    #[test]
    fn the_worst_second_is_that_of_a_poisson_process() {
        let at_least = |mean: f64, least: f64| {
            let log_of = |k: f64| k * mean.ln() - mean - (1..=k as u64).map(|i| (i as f64).ln()).sum::<f64>();
            (0..400).map(|more| log_of(least + f64::from(more)).exp()).sum::<f64>()
        };
        for (mean, seconds) in [(0.001, 1e5), (0.7, 3600.0), (12.0, 1e6), (300.0, 1e4), (300.0, 2.0)] {
            let worst = worst_second(mean, seconds);
            assert!(at_least(mean, worst + 1.0) * seconds < 0.5, "{mean} {seconds}: {worst}");
            let less = (0.9 * worst - 3.0).floor();
            assert!(less < mean || at_least(mean, less) * seconds > 0.5, "{mean} {seconds}: {worst}");
        }
    }

    /// No network receives more than there is for it, nor more than the scan sends.
    #[test]
    fn a_load_has_limits() {
        let of = |targets: &[&str], packets, rate_pps| {
            let addresses = set(targets);
            let found = busiest(&addresses, [24])[0].unwrap();
            Load::new(found, addresses.len(), addresses.len() as f64, packets, rate_pps)
        };
        let small = of(&["192.0.2.0/24"], 1.0, 10_000.0);
        assert_eq!((small.mean_pps, small.worst, small.is_heavy()), (256.0, 256.0, false));
        assert!(of(&["192.0.2.0/24"], 1000.0, 20_000.0).is_heavy());
        let many_ports = of(&["192.0.2.0/24"], 1000.0, 10_000.0);
        assert_eq!((many_ports.mean_pps, many_ports.worst), (10_000.0, 10_000.0));
        let internet = of(&["0.0.0.0/0"], 1.0, 10_000.0);
        assert!(internet.mean_pps < 0.001 && (2.0..=6.0).contains(&internet.worst), "{internet:?}");
        assert!(
            internet
                .told()
                .starts_with("0.0.0.0/24 receives less than 0.01 probes per second on average, and some"),
            "{}",
            internet.told()
        );
    }
}
