//! An exact table with a limit on its memory, and a window for targets that it has no room for.

use std::num::NonZeroUsize;

use lru::LruCache;
use tracing::warn;

use super::Dedup;
use crate::reply::record::Header;

/// The table and, once it is full, the window next to it. A target is in one of the two: if the table once has no room
/// for it, it will never be in the table.
#[derive(Debug)]
pub struct Bounded {
    table: Dedup,
    memory: u64,
    window: Option<LruCache<([u8; 16], u16), ()>>,
    window_size: NonZeroUsize,
    by_window: u64,
}

impl Bounded {
    pub(super) fn new(table: Dedup, memory: u64, window_size: NonZeroUsize) -> Self {
        Self { table, memory, window: None, window_size, by_window: 0 }
    }

    pub(super) fn keeps_ports(&self) -> Option<bool> {
        self.table.keeps_ports()
    }

    pub(super) fn by_window(&self) -> u64 {
        self.by_window
    }

    pub(super) fn check(&mut self, header: &Header, success: bool) -> bool {
        let known = self.table.check_within(header, success, self.memory);
        let key = (header.target, header.target_port);
        match (known, &mut self.window) {
            (Some(false), Some(window)) if !success => window.contains(&key),
            (Some(known), _) => known,
            (None, window) => {
                let (memory, size) = (self.memory, self.window_size);
                let window = window.get_or_insert_with(|| {
                    warn!(
                        target: "dedup",
                        "the table of targets that have answered takes all of its {} MB: of those that answer from now on, \
                         only the last {size} are known",
                        memory / 1_000_000
                    );
                    LruCache::new(size)
                });
                self.by_window += 1;
                window.put(key, ()).is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::header;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    fn reply(address: u32, port: u16) -> Header {
        header(ReplyKind::SynAck, Ipv4Addr::from_bits(address), port, 0)
    }

    fn bytes(dedup: &Dedup) -> u64 {
        let Dedup::Bounded(bounded) = dedup else { unreachable!("constructed so") };
        match &bounded.table {
            Dedup::Full(bitmap) => bitmap.bytes,
            Dedup::Targets(set) => set.tables.iter().map(|table| table.allocation_size() as u64).sum(),
            _ => unreachable!("constructed so"),
        }
    }

    proptest! {
        /// However little memory there is, a window that never forgets makes up for it.
        #[test]
        fn agrees_with_a_set(
            replies in prop::collection::vec((0u32..4_000, 0u16..3, any::<bool>()), 0..3_000),
            memory in 0u64..3_000_000,
            by_address: bool,
        ) {
            let table = if by_address { Dedup::full() } else { Dedup::targets() };
            let mut dedup = table.bounded(memory, NonZeroUsize::new(1 << 16).unwrap());
            let mut successes = HashSet::new();
            for (address, port, success) in replies {
                let port = if by_address { 0 } else { port };
                let known = successes.contains(&(address, port));
                prop_assert_eq!(dedup.check(&reply(address, port), success), known);
                if success {
                    successes.insert((address, port));
                }
            }
            prop_assert!(bytes(&dedup) <= memory, "{} of {memory}", bytes(&dedup));
        }
    }

    /// A network in which all hosts answer on all ports: the table stays within its limit, and the window forgets.
    #[test]
    fn a_table_that_is_full() {
        let mut dedup = Dedup::targets().bounded(1_000_000, NonZeroUsize::new(100).unwrap());
        let all = || (0..64u32).flat_map(|group| (0..4_096u16).map(move |port| (group * 16, port)));
        let repeats =
            |dedup: &mut Dedup| all().filter(|&(a, port)| dedup.check(&reply(a, port), true)).count();
        assert_eq!(repeats(&mut dedup), 0);
        let held = 64 * 4_096 - dedup.by_window() as usize;
        assert!(bytes(&dedup) <= 1_000_000 && held > 30_000, "{held} in {} bytes", bytes(&dedup));
        assert_eq!(repeats(&mut dedup), held, "targets in the table are never forgotten");
        let mut bitmap = Dedup::full().bounded(4 << 20, NonZeroUsize::new(10).unwrap());
        let answer = |dedup: &mut Dedup, part: u32| {
            (0..1_000).filter(|n| dedup.check(&reply(part << 24 | n, 80), true)).count()
        };
        for part in 0..4 {
            assert_eq!(answer(&mut bitmap, part), 0);
        }
        assert_eq!(bytes(&bitmap), 4 << 20);
        assert_eq!((answer(&mut bitmap, 0), answer(&mut bitmap, 1)), (1_000, 1_000));
        assert_eq!(answer(&mut bitmap, 2), 260, "those that fit into a set");
    }
}
