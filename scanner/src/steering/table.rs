//! RSS indirection tables: which queue each value of a flow's hash maps to.

use std::io;

use crate::journal::Kept;
use crate::nic::ethtool::{Ethtool, INDIRECTION_MAX};

/// Greater than any queue's number. Lower: real journals are refused. Higher: nonsense is taken for a table.
const QUEUES_MAX: u32 = 1 << 16;

impl Kept for Vec<u32> {
    const ENDING: &'static str = ".rss.json";

    fn check(before: &Self, set: &Self) -> Result<(), String> {
        if !(1..=INDIRECTION_MAX).contains(&before.len()) || before.len() != set.len() {
            return Err("before, set: not two tables of the same length".to_owned());
        }
        match before.iter().chain(set).any(|queue| *queue >= QUEUES_MAX) {
            true => Err("before, set: a number that is not a queue's".to_owned()),
            false => Ok(()),
        }
    }
}

/// A table of `len` entries that contains only `queues`, each as often as the others or once more.
pub(crate) fn even(len: usize, queues: &[u32]) -> Vec<u32> {
    queues.iter().copied().cycle().take(len).collect()
}

/// The queues that occur in a table, as a list for people.
pub(super) fn queues(table: &[u32]) -> String {
    let mut queues = table.to_vec();
    queues.sort_unstable();
    queues.dedup();
    queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Restores a former table on an interface with this many RX queues. If it is the kernel's default, control is returned
/// to the kernel, because a table that was set explicitly prevents a change of channels.
pub(crate) fn put_back(ethtool: &Ethtool, table: &[u32], rx_queues: u32) -> io::Result<()> {
    let all: Vec<u32> = (0..rx_queues).collect();
    let is_default = table == even(table.len(), &all);
    if is_default && ethtool.reset_indirection().is_ok() && ethtool.indirection()? == table {
        return Ok(());
    }
    set(ethtool, table)
}

/// Sets a table, and verifies that the driver has it.
pub(super) fn set(ethtool: &Ethtool, table: &[u32]) -> io::Result<()> {
    ethtool.set_indirection(table)?;
    match ethtool.indirection()? == table {
        true => Ok(()),
        false => Err(io::Error::other("the driver accepted the table but has another")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_tables() {
        assert_eq!(even(4, &[1, 3]), [1, 3, 1, 3]);
        assert_eq!(even(5, &[0, 2, 5]), [0, 2, 5, 0, 2]);
        assert_eq!(even(2, &[7, 8, 9]), [7, 8]);
        assert!(even(0, &[1]).is_empty());
        assert_eq!(queues(&[3, 1, 3, 12]), "1,3,12");
    }

    proptest! {
        /// Only these queues, each of them, and none more than once more often than another.
        #[test]
        fn shares_are_even(
            len in 1usize..=4096,
            queues in prop::collection::btree_set(0u32..256, 1..=64),
        ) {
            let queues: Vec<u32> = queues.into_iter().collect();
            let table = even(len, &queues);
            prop_assert_eq!(table.len(), len);
            prop_assert!(table.iter().all(|entry| queues.contains(entry)));
            let counts: Vec<usize> =
                queues.iter().map(|queue| table.iter().filter(|entry| *entry == queue).count()).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
        }
    }
}
