//! Journals of steering and of tuning: what is taken is written again as the same.

use std::fmt::Debug;

use xdpmap::journal::{Journal, Kept};
use xdpmap::{doctor, steering};

pub fn run(bytes: &[u8]) {
    if let Some(journal) = parsed(bytes, steering::Journal::parse) {
        assert_eq!(journal.before.len(), journal.set.len());
    }
    parsed(bytes, doctor::Journal::parse);
}

fn parsed<T: Kept + Clone + Debug + PartialEq>(
    bytes: &[u8],
    parse: fn(&[u8]) -> Result<Journal<T>, String>,
) -> Option<Journal<T>> {
    match parse(bytes) {
        Ok(journal) => {
            assert!(!journal.interface.contains('/'));
            let written = serde_json::to_vec(&journal).expect("a journal can be written");
            assert_eq!(parse(&written).as_ref(), Ok(&journal));
            Some(journal)
        }
        Err(error) => {
            assert_eq!(error.lines().count(), 1);
            None
        }
    }
}
