//! Why networks are on a block list: the comments behind them, counted.
//!
//! What always holds: each network of a list counts once, for its reason or for having none. The memory is bounded,
//! however many different reasons a list has.

use std::collections::HashMap;

use super::entry;
use super::ranges::AddressRange;

/// Most different reasons of a list that are counted one by one, the first ones in it. Fewer: those of a long list of
/// opt-outs are summed. More: more memory, some 200 KiB per thousand at most.
pub const KEPT_MAX: usize = 4_096;
/// Most bytes of a reason; those that differ only beyond are the same.
pub const REASON_LEN_MAX: usize = 200;

/// How many networks, and the addresses in them; an address that several of them contain counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Networks: prefixes, ranges, single addresses and host names.
    pub networks: u64,
    /// Addresses in them.
    pub addresses: u64,
}

impl Tally {
    /// Adds what another one has.
    pub fn add(&mut self, other: Self) {
        self.networks += other.networks;
        self.addresses = self.addresses.saturating_add(other.addresses);
    }
}

/// Which reason an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// It has none.
    None,
    /// One of those that are kept, by its number.
    Kept(u32),
    /// Another one.
    Other,
}

/// The reasons of a list.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    numbers: HashMap<Box<[u8]>, u32>,
    kept: Vec<Tally>,
    without: Tally,
    others: Tally,
}

impl Reasons {
    /// The reason in a line.
    pub(super) fn of_line(&mut self, line: &[u8]) -> Which {
        let Some(reason) = entry::comment(line).map(|at| reason(&line[at..])).filter(|text| !text.is_empty())
        else {
            return Which::None;
        };
        if let Some(number) = self.numbers.get(reason) {
            return Which::Kept(*number);
        }
        if self.kept.len() == KEPT_MAX {
            return Which::Other;
        }
        let number = self.kept.len() as u32;
        self.numbers.insert(reason.into(), number);
        self.kept.push(Tally::default());
        Which::Kept(number)
    }

    /// Counts an entry that is a network.
    pub(super) fn count(&mut self, which: Which, network: AddressRange) {
        self.count_all(which, &[network]);
    }

    /// Counts an entry that stands for these networks: a host name, with a network around each of its addresses.
    pub(super) fn count_all(&mut self, which: Which, networks: &[AddressRange]) {
        let addresses = networks.iter().map(|network| network.len()).sum();
        let tally = match which {
            Which::None => Some(&mut self.without),
            Which::Kept(number) => self.kept.get_mut(number as usize),
            Which::Other => Some(&mut self.others),
        };
        if let Some(tally) = tally {
            tally.add(Tally { networks: 1, addresses });
        }
    }

    /// What has no reason.
    pub fn without(&self) -> Tally {
        self.without
    }

    /// The `most` reasons that have most networks, those with most first; and the sum of all others.
    pub fn most_frequent(&self, most: usize) -> (Vec<(&[u8], Tally)>, Tally) {
        let mut all: Vec<(&[u8], Tally)> = self
            .numbers
            .iter()
            .map(|(text, number)| (&**text, self.kept.get(*number as usize).copied().unwrap_or_default()))
            .filter(|(_, tally)| tally.networks > 0)
            .collect();
        all.sort_unstable_by(|(text, one), (other_text, other)| {
            let by_size = (other.networks, other.addresses).cmp(&(one.networks, one.addresses));
            by_size.then_with(|| text.cmp(other_text))
        });
        let mut others = self.others;
        all.drain(most.min(all.len())..).for_each(|(_, tally)| others.add(tally));
        (all, others)
    }
}

/// A comment without its signs and the blanks around it, cut off between two characters if it is long.
fn reason(comment: &[u8]) -> &[u8] {
    let signs = comment.iter().take_while(|byte| matches!(byte, b'#' | b';' | b' ' | b'\t')).count();
    let text = comment[signs..].trim_ascii();
    if text.len() <= REASON_LEN_MAX {
        return text;
    }
    // At most three bytes of a character in UTF-8 follow its first one.
    let is_start = |&end: &usize| text[end] & 0xc0 != 0x80;
    let end = (REASON_LEN_MAX - 3..=REASON_LEN_MAX).rev().find(is_start).unwrap_or(REASON_LEN_MAX);
    text[..end].trim_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            let found = reason(&bytes);
            prop_assert!(found.len() <= REASON_LEN_MAX && found.trim_ascii() == found);
        }
    }
}
