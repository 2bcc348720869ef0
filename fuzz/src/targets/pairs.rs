//! Lists of addresses and of pairs of address and port, as `-I` and `--pairs-file` read them.

use targets::bulk::{addresses, pairs};
use targets::list::OnBadEntry;

pub fn run(bytes: &[u8]) {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r' | b'\x0c')).count() as u64;
    let Ok(skipping) = pairs("list".to_owned(), bytes, OnBadEntry::Skip) else {
        assert!(
            bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"),
            "only UTF-16 is refused as a whole"
        );
        return;
    };
    assert!(skipping.targets.len() as u64 + skipping.ipv6.count + skipping.bad.count <= lines);
    match pairs("list".to_owned(), bytes, OnBadEntry::Fail) {
        Ok(bulk) => assert_eq!((bulk.targets, skipping.bad.count), (skipping.targets, 0)),
        Err(error) => {
            assert!(skipping.bad.count > 0);
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
    // A range of half the Internet takes a while to paint, and shows nothing.
    if bytes.iter().any(|byte| matches!(byte, b'/' | b'-')) {
        return;
    }
    let skipping = addresses("list".to_owned(), bytes, OnBadEntry::Skip).expect("bad entries are skipped");
    assert!(skipping.ipv6.count + skipping.bad.count <= lines);
    if let Err(error) = addresses("list".to_owned(), bytes, OnBadEntry::Fail) {
        assert!(skipping.bad.count > 0);
        assert_eq!(error.to_string().lines().count(), 1);
    }
}
