//! The copy numbers of a scan's probes: what a number says about why its probe was sent.
//!
//! Owns the allotment. A target's ordinary probes come first, from 0 on. Behind them is the number of second probes, if
//! there are any: those that a target gets some time after its first ones. The numbers behind are those of canaries, if
//! there are any: probes to hosts that have answered before, which measure loss. A canary's number tells the slot of
//! time in which it was sent. So the source port (the sequence number of an echo) of an answer tells its kind, and
//! neither the XDP program nor a worker has to remember probes.
//!
//! What always holds: the numbers are consecutive from 0, so the check of an answer is one comparison, whatever the
//! scan sends.

use super::PortRange;

/// The copy numbers of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    probes: u32,
    seconds: u32,
    canaries: u32,
}

/// Why a probe with some number was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// An ordinary probe.
    Probe,
    /// A second probe, some time after the ordinary ones.
    Second,
    /// A canary of a slot of time with this number modulo [`Copies::CANARIES`].
    Canary(u32),
}

/// Consecutive copy numbers: those that each target of a batch gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first of them.
    pub first: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl Copies {
    /// How many numbers canaries have. Fewer: late answers are mistaken for those of a later slot, and a host is of use
    /// less often, because it gets each number once. More: more source ports take packets that nobody asked for.
    pub const CANARIES: u32 = 8;
    /// Most numbers of a scan: a record holds a number in a byte.
    pub const MAX: u32 = 256;

    /// The numbers of a scan that sends this many probes to each target, and nothing else.
    pub const fn of(probes: u32) -> Self {
        Self { probes, seconds: 0, canaries: 0 }
    }

    /// The same scan with one ordinary probe to each target.
    #[must_use]
    pub const fn with_one(self) -> Self {
        Self { probes: 1, ..self }
    }

    /// The same scan with second probes.
    #[must_use]
    pub const fn with_seconds(self) -> Self {
        Self { seconds: 1, ..self }
    }

    /// The same scan with canaries.
    #[must_use]
    pub const fn with_canaries(self) -> Self {
        Self { canaries: Self::CANARIES, ..self }
    }

    /// Whether each of them has a source port of its own in `ports`, and a place in a record.
    pub const fn fit(self, ports: PortRange) -> bool {
        self.all() <= ports.count && self.all() <= Self::MAX
    }

    /// The ordinary probes to each target.
    #[inline(always)]
    pub const fn probes(self) -> u32 {
        self.probes
    }

    /// All probes that a target may get, but canaries.
    #[inline(always)]
    pub const fn to_a_target(self) -> u32 {
        self.probes + self.seconds
    }

    /// How many numbers there are; answers to all of them are accepted.
    #[inline(always)]
    pub const fn all(self) -> u32 {
        self.probes + self.seconds + self.canaries
    }

    /// Whether there are second probes.
    pub const fn has_seconds(self) -> bool {
        self.seconds > 0
    }

    /// Whether there are canaries.
    pub const fn has_canaries(self) -> bool {
        self.canaries > 0
    }

    /// The numbers of a target's ordinary probes.
    #[inline(always)]
    pub const fn ordinary(self) -> Numbers {
        Numbers { first: 0, count: self.probes }
    }

    /// The number of a target's second probe. Only for a scan that has second probes.
    #[inline(always)]
    pub const fn second(self) -> Numbers {
        Numbers { first: self.probes, count: 1 }
    }

    /// The number of the canaries of slot `slot`; `None` if there are no canaries.
    pub const fn canary(self, slot: u64) -> Option<Numbers> {
        if self.canaries == 0 {
            return None;
        }
        Some(Numbers { first: self.probes + self.seconds + (slot % self.canaries as u64) as u32, count: 1 })
    }

    /// Why the probe with this number was sent.
    #[inline(always)]
    pub const fn kind(self, number: u8) -> CopyKind {
        let number = number as u32;
        if number < self.probes {
            return CopyKind::Probe;
        }
        match number - self.probes {
            behind if behind < self.seconds => CopyKind::Second,
            behind => CopyKind::Canary(behind - self.seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Cookie;
    use proptest::prelude::*;

    fn scans() -> impl Strategy<Value = Copies> {
        (1u32..=247, any::<bool>(), any::<bool>()).prop_map(|(probes, seconds, canaries)| {
            let copies = if seconds { Copies::of(probes).with_seconds() } else { Copies::of(probes) };
            if canaries { copies.with_canaries() } else { copies }
        })
    }

    proptest! {
        /// Each number has one kind, and the kinds of a scan use all numbers.
        #[test]
        fn numbers_and_kinds(copies in scans(), slot in 0..u64::MAX - u64::from(Copies::CANARIES)) {
            let mut kinds: Vec<_> = (0..copies.probes()).map(|_| CopyKind::Probe).collect();
            prop_assert_eq!(copies.ordinary(), Numbers { first: 0, count: copies.probes() });
            if copies.has_seconds() {
                prop_assert_eq!(copies.second(), Numbers { first: copies.probes(), count: 1 });
                kinds.push(CopyKind::Second);
            }
            if copies.has_canaries() {
                kinds.extend((0..Copies::CANARIES).map(CopyKind::Canary));
            }
            prop_assert_eq!(copies.all() as usize, kinds.len());
            for (number, kind) in kinds.iter().enumerate() {
                prop_assert_eq!(copies.kind(number as u8), *kind);
            }
            let told = copies.canary(slot).map(|numbers| copies.kind(numbers.first as u8));
            let epoch = CopyKind::Canary((slot % u64::from(Copies::CANARIES)) as u32);
            prop_assert_eq!(told, copies.has_canaries().then_some(epoch));
        }

        /// The source port of every number tells it, if the numbers fit the ports.
        #[test]
        fn ports_tell_all_numbers(copies in scans(), bits: u64, count in 1u32..600) {
            let (ports, cookie) = (PortRange { first: 40_000, count }, Cookie(bits));
            prop_assert_eq!(copies.fit(ports), copies.all() <= count.min(256));
            if copies.fit(ports) {
                for number in 0..copies.all() {
                    let port = ports.source_port(cookie, number);
                    prop_assert_eq!(ports.probe_number(cookie, port, copies.all()), Some(number as u8));
                }
            }
        }
    }
}
