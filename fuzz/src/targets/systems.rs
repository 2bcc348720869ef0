//! Tables of AS numbers. Whatever is in one, what is routed to a system is part of what it announces, and no address is
//! twice in a list of its networks.

use targets::list::ListError;
use targets::{RangeSet, Systems};

pub fn run(bytes: &[u8]) {
    let systems = match Systems::read("table", bytes) {
        Ok(systems) => systems,
        Err(error) => {
            assert_eq!(error.to_string().lines().count(), 1);
            assert!(matches!(error, ListError::BadEntry { .. } | ListError::Encoding { .. }));
            return;
        }
    };
    assert_eq!(systems.is_empty(), systems.numbers().next().is_none());
    let mut before = None;
    for number in systems.numbers() {
        assert!(before < Some(number), "ascending");
        before = Some(number);
        let routed: Vec<_> = systems.routed(number).collect();
        assert!(routed.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        let all: RangeSet = systems.announced(number).collect();
        let routed: RangeSet = routed.into_iter().collect();
        assert!(!all.is_empty() && routed.subtract(&all).is_empty());
    }
}
