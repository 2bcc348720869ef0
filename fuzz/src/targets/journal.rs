//! Journals of steering: what is taken is written again as the same.

use xdpmap::steering::Journal;

pub fn run(bytes: &[u8]) {
    match Journal::parse(bytes) {
        Ok(journal) => {
            assert_eq!(journal.before.len(), journal.set.len());
            assert!(!journal.interface.contains('/'));
            let written = serde_json::to_vec(&journal).expect("a journal can be written");
            assert_eq!(Journal::parse(&written).as_ref(), Ok(&journal));
        }
        Err(error) => assert_eq!(error.lines().count(), 1),
    }
}
