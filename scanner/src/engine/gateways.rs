//! The MAC addresses of an interface's gateways, which may change while a scan runs.

use wire::packet::MacAddr;

use crate::sync::atomic::{AtomicU64, Ordering};

/// MAC addresses by number. Number 0 is the gateway that most targets are behind, whose address is in the probe's
/// template.
///
/// They change only while sending is paused, so a plain load is enough to read one.
#[derive(Debug)]
pub struct Gateways(Vec<AtomicU64>);

impl Gateways {
    /// Gateways with these MAC addresses. There is at least one.
    pub fn new(macs: impl IntoIterator<Item = MacAddr>) -> Self {
        Self(macs.into_iter().map(|mac| AtomicU64::new(to_bits(mac))).collect())
    }

    /// The MAC address of gateway `number`.
    #[inline]
    pub fn mac(&self, number: usize) -> MacAddr {
        let [_, _, mac @ ..] = self.0[number].load(Ordering::Relaxed).to_be_bytes();
        MacAddr(mac)
    }

    /// Gateway `number` has the MAC address `mac` from now on.
    pub fn set(&self, number: usize, mac: MacAddr) {
        self.0[number].store(to_bits(mac), Ordering::Relaxed);
    }
}

fn to_bits(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own() {
        let (first, second) = (MacAddr([2, 1, 0, 0xff, 0x80, 7]), MacAddr([0xff; 6]));
        let gateways = Gateways::new([first, MacAddr::default()]);
        gateways.set(1, second);
        assert_eq!((gateways.mac(0), gateways.mac(1)), (first, second));
    }
}
