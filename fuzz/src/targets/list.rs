//! Block, allow and target lists.

use xdpmap::targets::list::{List, OnBadEntry};

pub fn run(bytes: &[u8]) {
    let lines = bytes.split(|&byte| byte == b'\n').count() as u64;
    let skipping = List::parse("list", bytes, OnBadEntry::Skip).expect("bad entries are skipped");
    assert!(skipping.entries.len() as u64 + skipping.ipv6.count + skipping.bad.count <= lines);
    match List::parse("list", bytes, OnBadEntry::Fail) {
        Ok(list) => assert_eq!((list.entries, skipping.bad.count), (skipping.entries, 0)),
        Err(error) => {
            assert!(skipping.bad.count > 0);
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
