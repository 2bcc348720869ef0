//! RSS indirection tables: which queue each value of a flow's hash belongs to.

use std::io;

use crate::io::ethtool::Ethtool;

/// A table of `len` entries in which only `queues` occur, each as often as the others or once more.
pub(super) fn even(len: usize, queues: &[u32]) -> Vec<u32> {
    queues.iter().copied().cycle().take(len).collect()
}

/// The queues that occur in a table, as a list for people.
pub(super) fn queues(table: &[u32]) -> String {
    let mut queues = table.to_vec();
    queues.sort_unstable();
    queues.dedup();
    queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Sets a table that was there before, on an interface with so many RX queues. If it is the kernel's own choice it is
/// given back to the kernel: a table that somebody has set stands in the way of a change of channels.
pub(super) fn put_back(ethtool: &Ethtool, table: &[u32], rx_queues: u32) -> io::Result<()> {
    let all: Vec<u32> = (0..rx_queues).collect();
    let is_default = table == even(table.len(), &all);
    if is_default && ethtool.reset_indirection().is_ok() && ethtool.indirection()? == table {
        return Ok(());
    }
    set(ethtool, table)
}

/// Sets a table, and sees to it that the driver has it.
pub(super) fn set(ethtool: &Ethtool, table: &[u32]) -> io::Result<()> {
    ethtool.set_indirection(table)?;
    match ethtool.indirection()? == table {
        true => Ok(()),
        false => Err(io::Error::other("the driver took the table and has another")),
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
        /// Nothing but these queues, each of them, and none more than once more often than another.
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
