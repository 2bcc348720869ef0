//! Counts of a map's cells, in memory that does not grow: 64 MiB for the 16.8 million /24 networks of IPv4.

use targets::{AddressRange, RangeSet};

use super::View;

/// A count for each cell.
#[derive(Clone, Debug)]
pub(in crate::companions) struct Grid {
    view: View,
    counts: Vec<u32>,
    outside: u64,
}

impl Grid {
    pub(in crate::companions) fn new(view: View) -> Self {
        Self { view, counts: vec![0; view.cells()], outside: 0 }
    }

    pub(in crate::companions) fn view(&self) -> &View {
        &self.view
    }

    /// Counts one at this address.
    pub(in crate::companions) fn add(&mut self, address: u32) {
        match self.view.cell_of(address) {
            Some(cell) => self.counts[cell] = self.counts[cell].saturating_add(1),
            None => self.outside += 1,
        }
    }

    /// Counts each of these addresses once.
    pub(in crate::companions) fn add_all(&mut self, addresses: &RangeSet) {
        let ranges = addresses.ranges().iter();
        for range in ranges.filter_map(|range| range.intersection(self.view.network())) {
            let cell = |address| self.view.cell_of(address).expect("inside");
            for cell in cell(range.first())..=cell(range.last()) {
                let common = self.view.network_of(cell).intersection(range).map_or(0, AddressRange::len);
                self.counts[cell] = self.counts[cell].saturating_add(common.try_into().unwrap_or(u32::MAX));
            }
        }
    }

    pub(in crate::companions) fn count(&self, cell: usize) -> u32 {
        self.counts[cell]
    }

    /// Cells that have something, in the order of their addresses, with their counts.
    pub(in crate::companions) fn filled(&self) -> impl Iterator<Item = (usize, u32)> {
        self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// All that was counted in the map.
    pub(in crate::companions) fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// What was counted outside of the map.
    pub(in crate::companions) fn outside(&self) -> u64 {
        self.outside
    }

    /// The counts of the networks of this prefix length that have the most, with the most first.
    pub(in crate::companions) fn fullest(&self, prefix_len: u32, most: usize) -> Vec<(AddressRange, u64)> {
        let mut sums: Vec<(AddressRange, u64)> = vec![];
        for (cell, count) in self.filled() {
            let network = AddressRange::prefix(self.view.network_of(cell).first().into(), prefix_len);
            match sums.last_mut() {
                Some((last, sum)) if *last == network => *sum += u64::from(count),
                _ => sums.push((network, u64::from(count))),
            }
        }
        sums.sort_by_key(|(network, count)| (std::cmp::Reverse(*count), network.first()));
        sums.truncate(most);
        sums
    }
}

/// Cells that are marked, a bit each: 2 MiB for the /24 networks of IPv4.
#[derive(Clone, Debug)]
pub(in crate::companions) struct Marks {
    view: View,
    words: Vec<u64>,
    /// How many addresses in the map were given.
    total: u64,
}

impl Marks {
    pub(in crate::companions) fn new(view: View) -> Self {
        Self { view, words: vec![0; view.cells().div_ceil(u64::BITS as usize)], total: 0 }
    }

    /// Marks the cell of this address, if it is in the map.
    pub(in crate::companions) fn add(&mut self, address: u32) {
        if let Some(cell) = self.view.cell_of(address) {
            self.words[cell / u64::BITS as usize] |= 1 << (cell % u64::BITS as usize);
            self.total += 1;
        }
    }

    /// Whether a cell is marked.
    pub(in crate::companions) fn has(&self, cell: usize) -> bool {
        self.words[cell / u64::BITS as usize] >> (cell % u64::BITS as usize) & 1 == 1
    }

    /// How often a cell in the map was marked.
    pub(in crate::companions) fn total(&self) -> u64 {
        self.total
    }

    /// The marked cells, in the order of their addresses.
    pub(in crate::companions) fn cells(&self) -> impl Iterator<Item = usize> {
        (0..self.view.cells()).filter(|cell| self.has(*cell))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts() {
        let view = View::new(AddressRange::prefix([10, 0, 0, 0].into(), 8), 4).unwrap();
        let mut grid = Grid::new(view);
        for address in [0x0a00_0001, 0x0a00_0002, 0x0aff_ffff, 0x0b00_0000] {
            grid.add(address);
        }
        assert_eq!((grid.total(), grid.outside(), grid.filled().count()), (3, 1, 2));
        let fullest = grid.fullest(12, 1);
        assert_eq!((fullest[0].0.to_string(), fullest[0].1), ("10.0.0.0/12".to_owned(), 2));
    }

    #[test]
    fn marks() {
        let view = View::new(AddressRange::prefix([10, 0, 0, 0].into(), 8), 4).unwrap();
        let mut marks = Marks::new(view);
        for address in [0x0a00_0001, 0x0a00_0002, 0x0aff_ffff, 0x0b00_0000] {
            marks.add(address);
        }
        assert_eq!((marks.total(), marks.cells().collect::<Vec<_>>()), (3, vec![0, 255]));
        assert!(marks.has(0) && !marks.has(1));
    }

    proptest! {
        /// What is added as a range is what is added one by one.
        #[test]
        fn ranges(first in 0u32..4096, len in 0u32..4096) {
            let view = View::new(AddressRange::prefix([10, 0, 0, 0].into(), 20), 4).unwrap();
            let base = 0x0a00_0000 - 1024;
            let range = AddressRange::new(base + first, base + first + len).unwrap();
            let (mut all, mut single) = (Grid::new(view), Grid::new(view));
            all.add_all(&[range].into_iter().collect());
            for address in range.first()..=range.last() {
                single.add(address);
            }
            prop_assert_eq!(all.counts, single.counts);
        }
    }
}
