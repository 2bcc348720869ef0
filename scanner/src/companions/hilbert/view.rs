//! Which part of IPv4 a map shows, and how finely.

use targets::{AddressRange, RangeSet};

use super::curve::cell_at;

/// A network as a square of cells. All cells have the same number of addresses, a power of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::companions) struct View {
    network: AddressRange,
    /// The cells are 2^order by 2^order.
    order: u32,
    /// How many low bits of an address do not matter for its cell.
    cell_bits: u32,
    /// Where the square begins in a map of all of IPv4 with cells of this size.
    corner: (u32, u32),
}

/// A part of a map, in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::companions) struct Rectangle {
    /// Its left edge.
    pub(in crate::companions) x: u32,
    /// Its upper edge.
    pub(in crate::companions) y: u32,
    /// Cells from left to right.
    pub(in crate::companions) width: u32,
    /// Cells from top to bottom.
    pub(in crate::companions) height: u32,
}

impl View {
    /// The view of a network with 2^`order` by 2^`order` cells, or fewer if a cell would have less than one address.
    ///
    /// # Errors
    /// The network is not a square.
    pub(in crate::companions) fn new(network: AddressRange, order: u32) -> Result<Self, String> {
        let bits = network.len().ilog2();
        let is_prefix = network.len().is_power_of_two() && network.first().trailing_zeros() >= bits;
        if !is_prefix || bits % 2 == 1 {
            return Err(format!(
                "{network} is not a square; give a prefix of even length, such as 10.0.0.0/8 or /10"
            ));
        }
        let order = order.min(bits / 2);
        let cell_bits = bits - 2 * order;
        let mask = (1u32 << order) - 1;
        let (x, y) = cell_at(16 - cell_bits / 2, shifted(network.first(), cell_bits));
        Ok(Self { network, order, cell_bits, corner: (x & !mask, y & !mask) })
    }

    /// The smallest square that has all of these addresses; all of IPv4 if there are none.
    pub(in crate::companions) fn around(addresses: &RangeSet, order: u32) -> Self {
        let bounds = addresses.ranges().first().zip(addresses.ranges().last());
        let network = bounds.map_or(AddressRange::ALL, |(first, last)| {
            let common = (first.first() ^ last.last()).leading_zeros();
            // A map of a few addresses says nothing.
            AddressRange::prefix(first.first().into(), common.min(24) & !1)
        });
        Self::new(network, order).expect("a prefix of even length")
    }

    pub(in crate::companions) fn network(&self) -> AddressRange {
        self.network
    }

    /// Cells along an edge.
    pub(in crate::companions) fn side(&self) -> u32 {
        1 << self.order
    }

    /// All cells.
    pub(in crate::companions) fn cells(&self) -> usize {
        1 << (2 * self.order)
    }

    /// Addresses in each cell.
    pub(in crate::companions) fn addresses_per_cell(&self) -> u64 {
        1 << self.cell_bits
    }

    /// The prefix length of a cell's network.
    pub(in crate::companions) fn cell_prefix_len(&self) -> u32 {
        32 - self.cell_bits
    }

    /// The prefix length of the whole.
    pub(in crate::companions) fn prefix_len(&self) -> u32 {
        self.cell_prefix_len() - 2 * self.order
    }

    /// The upper left cell, in a map of all of IPv4 with cells of this size.
    pub(in crate::companions) fn corner(&self) -> (u32, u32) {
        self.corner
    }

    /// The number of the cell that has the address, on the curve from the network's beginning; `None` if it is outside.
    pub(in crate::companions) fn cell_of(&self, address: u32) -> Option<usize> {
        let is_inside = self.network.contains(address);
        is_inside.then(|| shifted(address - self.network.first(), self.cell_bits) as usize)
    }

    /// The addresses of a cell.
    pub(in crate::companions) fn network_of(&self, cell: usize) -> AddressRange {
        let first = u64::from(self.network.first()) + ((cell as u64) << self.cell_bits);
        AddressRange::prefix((first as u32).into(), self.cell_prefix_len())
    }

    /// Where a cell is, from the upper left corner.
    pub(in crate::companions) fn place_of(&self, cell: usize) -> (u32, u32) {
        let first = self.network_of(cell).first();
        let (x, y) = cell_at(16 - self.cell_bits / 2, shifted(first, self.cell_bits));
        (x - self.corner.0, y - self.corner.1)
    }

    /// What a network takes of the map: a square, or two squares side by side if its prefix length is odd. `None` if it
    /// is not a prefix or not inside.
    pub(in crate::companions) fn rectangle_of(&self, network: AddressRange) -> Option<Rectangle> {
        let is_prefix =
            network.len().is_power_of_two() && u64::from(network.first()).is_multiple_of(network.len());
        let (first, last) = (self.cell_of(network.first())?, self.cell_of(network.last())?);
        // A square's side is the root of its cells, and the curve leaves none before it has been everywhere in it.
        let squares = if (last + 1 - first).ilog2() % 2 == 1 { 2 } else { 1 };
        let cells = (last + 1 - first) / squares;
        let side = 1u32 << (cells.ilog2() / 2);
        let corner = |cell| {
            let (x, y) = self.place_of(cell);
            (x & !(side - 1), y & !(side - 1))
        };
        let (a, b) = (corner(first), corner(last));
        is_prefix.then(|| Rectangle {
            x: a.0.min(b.0),
            y: a.1.min(b.1),
            width: a.0.abs_diff(b.0) + side,
            height: a.1.abs_diff(b.1) + side,
        })
    }
}

/// `address >> bits`, also for all 32.
fn shifted(address: u32, bits: u32) -> u32 {
    address.checked_shr(bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> AddressRange {
        targets::list::parse_range(text).unwrap()
    }

    #[test]
    fn well_known_places() {
        let view = View::new(AddressRange::ALL, 12).unwrap();
        assert_eq!((view.side(), view.cells(), view.addresses_per_cell()), (4096, 1 << 24, 256));
        let square = |text: &str| view.rectangle_of(prefix(text)).unwrap();
        let of = |x, y, width, height| Rectangle { x, y, width, height };
        assert_eq!(square("0.0.0.0/8"), of(0, 0, 256, 256));
        assert_eq!(square("255.0.0.0/8"), of(3840, 0, 256, 256));
        assert_eq!(square("64.0.0.0/2"), of(0, 2048, 2048, 2048));
        assert_eq!(square("128.0.0.0/1"), of(2048, 0, 2048, 4096));
        let part = View::new(prefix("198.18.0.0/16"), 12).unwrap();
        assert_eq!((part.side(), part.cell_prefix_len(), part.prefix_len()), (256, 32, 16));
        assert_eq!(part.cell_of(0xc612_0001), Some(1));
        assert_eq!(part.cell_of(0xc613_0000), None);
        assert!(View::new(prefix("10.0.0.0/9"), 12).unwrap_err().contains("even length"));
    }

    #[test]
    fn squares_around_networks() {
        let around = |texts: &[&str]| {
            let set: RangeSet = texts.iter().map(|text| prefix(text)).collect();
            View::around(&set, 9).network().to_string()
        };
        assert_eq!(around(&[]), "0.0.0.0/0");
        assert_eq!(around(&["198.18.0.0/15"]), "198.16.0.0/14");
        assert_eq!(around(&["10.0.0.0/24", "10.0.3.0/24"]), "10.0.0.0/22");
        assert_eq!(around(&["192.0.2.1"]), "192.0.2.0/24");
        assert_eq!(around(&["1.0.0.0/8", "200.0.0.0/8"]), "0.0.0.0/0");
    }

    proptest! {
        /// Each address of a prefix is in its rectangle, which has no room for others.
        #[test]
        fn prefixes_are_squares(address in any::<u32>(), len in 0u32..=32, order in 1u32..=12, other in any::<u32>()) {
            let view = View::new(AddressRange::ALL, order).unwrap();
            let network = AddressRange::prefix(address.into(), len);
            let found = view.rectangle_of(network).unwrap();
            let cells = (network.len() / view.addresses_per_cell()).max(1);
            prop_assert_eq!(u64::from(found.width) * u64::from(found.height), cells);
            prop_assert!(len % 2 == 1 || found.width == found.height);
            let inside = network.first() + (u64::from(other) % network.len()) as u32;
            let (x, y) = view.place_of(view.cell_of(inside).unwrap());
            prop_assert!(x >= found.x && x < found.x + found.width && y >= found.y && y < found.y + found.height);
        }

        /// A part of the map is what the whole map has there.
        #[test]
        fn parts_are_cut_out(address in any::<u32>(), len in 0u32..=12) {
            let network = AddressRange::prefix(address.into(), len & !1);
            let (whole, part) = (View::new(AddressRange::ALL, 12).unwrap(), View::new(network, 12 - len / 2).unwrap());
            let corner = whole.rectangle_of(network).unwrap();
            let place = part.place_of(part.cell_of(address).unwrap());
            prop_assert_eq!(part.corner(), (corner.x, corner.y));
            prop_assert_eq!(whole.place_of(whole.cell_of(address).unwrap()), (corner.x + place.0, corner.y + place.1));
            prop_assert!(part.network_of(part.cell_of(address).unwrap()).contains(address));
        }
    }
}
