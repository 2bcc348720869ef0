//! Successes by port, for those who look at a running scan.

use std::sync::atomic::{AtomicU32, Ordering};

/// The ports that there are.
const PORTS: usize = 1 << 16;

/// How many targets of each port had a success. A single thread counts, and others read.
#[derive(Debug)]
pub struct SuccessesByPort(Box<[AtomicU32]>);

impl Default for SuccessesByPort {
    fn default() -> Self {
        Self((0..PORTS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl SuccessesByPort {
    /// Counts a success.
    pub fn count(&self, port: u16) {
        let count = &self.0[usize::from(port)];
        // There is one writer. A count that is full stays so.
        count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    /// The `most` ports with most successes, those with most first, and of as many the lower first.
    pub fn most(&self, most: usize) -> Vec<(u16, u64)> {
        let counts = self.0.iter().map(|count| u64::from(count.load(Ordering::Relaxed)));
        let mut all: Vec<(u16, u64)> = (0..=u16::MAX).zip(counts).filter(|(_, count)| *count > 0).collect();
        all.sort_by_key(|(port, count)| (std::cmp::Reverse(*count), *port));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_most_come_first() {
        let ports = SuccessesByPort::default();
        for port in [80, 443, 80, 22, 65_535, 0, 443, 80] {
            ports.count(port);
        }
        assert_eq!(ports.most(3), [(80, 3), (443, 2), (0, 1)]);
        assert_eq!(ports.most(99).len(), 5);
    }
}
