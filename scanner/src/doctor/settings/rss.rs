//! RSS indirection tables as the text that reports and journals have.

use std::io;

use crate::nic::ethtool::Ethtool;
use crate::steering::{even, put_back};

/// What [`describe`] says of a table that is neither even nor weighted.
pub(super) const CUSTOM: &str = "custom";

/// The table as a list; `None` where the driver has none.
pub(super) fn now(ethtool: &Ethtool) -> Option<String> {
    ethtool.indirection().ok().filter(|table| !table.is_empty()).map(|table| list(&table))
}

/// Sets the table of this list. One that is the kernel's own choice is given back to the kernel.
pub(super) fn set(ethtool: &Ethtool, text: &str, rx_queues: u32) -> io::Result<()> {
    let table = table(text).ok_or(io::ErrorKind::InvalidInput)?;
    put_back(ethtool, &table, rx_queues)
}

/// Whether each of these queues has its share of the table, and no other has any.
pub(super) fn is_even(text: &str, queues: u32) -> bool {
    let table = table(text).unwrap_or_default();
    let share = table.len() / queues.max(1) as usize;
    let has_share = |queue: u32| {
        let count = table.iter().filter(|entry| **entry == queue).count();
        count == share || count == share + 1
    };
    (0..queues).all(has_share) && table.iter().all(|entry| *entry < queues)
}

/// A table as long as this one that gives each queue its share.
pub(super) fn spread(text: &str, queues: u32) -> String {
    let queues: Vec<u32> = (0..queues).collect();
    list(&even(table(text).unwrap_or_default().len(), &queues))
}

/// The table in the words that make `ethtool -X` set it, or [`CUSTOM`] where none would.
pub(super) fn describe(text: &str) -> String {
    let table = table(text).unwrap_or_default();
    let (Some(&low), Some(&high)) = (table.iter().min(), table.iter().max()) else { return String::new() };
    let queues = high - low + 1;
    if table.iter().zip((low..=high).cycle()).all(|(entry, queue)| *entry == queue) {
        return format!("equal {queues} start {low}");
    }
    if !table.is_sorted() {
        return CUSTOM.to_owned();
    }
    let count = |queue| table.iter().filter(|entry| **entry == queue).count().to_string();
    let counts: Vec<String> = (0..=high).map(count).collect();
    format!("weight {}", counts.join(" "))
}

fn list(table: &[u32]) -> String {
    table.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn table(text: &str) -> Option<Vec<u32>> {
    text.split(',').map(|entry| entry.parse().ok().filter(|queue| *queue < 1 << 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_in_words() {
        for (list, words) in [
            ("0,1,2,0,1,2,0,1", "equal 3 start 0"),
            ("2,3,2,3", "equal 2 start 2"),
            ("0,0,0,0", "equal 1 start 0"),
            ("0,0,0,1", "weight 3 1"),
            ("1,1,3,3", "weight 0 2 0 2"),
            ("0,1,1,0", "custom"),
            ("", ""),
            ("0,x", ""),
        ] {
            assert_eq!(describe(list), words, "{list}");
        }
    }

    #[test]
    fn shares() {
        assert!(is_even("0,1,2,0,1,2,0,1", 3) && is_even("0,0,1,1", 2) && is_even("1,0,0,1", 2));
        assert!(!is_even("0,0,0,1", 2) && !is_even("0,1,0,1", 3) && !is_even("0,1,2,0", 2));
        assert_eq!(spread("0,0,0,1,1", 2), "0,1,0,1,0");
        assert_eq!(describe(&spread("0,0,0,1,1", 2)), "equal 2 start 0");
    }
}
