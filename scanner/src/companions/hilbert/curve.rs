//! The curve: from a place on it to a place in the square, and back.
//!
//! A curve of order N goes through a square of 2^N by 2^N cells. x grows to the right and y downwards.

/// The cell at distance `place`, less than 4^`order`, from the beginning of a curve of this order, at most 16.
pub(super) fn cell_at(order: u32, place: u32) -> (u32, u32) {
    let (mut x, mut y) = (0, 0);
    for level in 0..order {
        let side = 1 << level;
        let quarter = place >> (2 * level) & 3;
        let right = quarter >> 1;
        let lower = right ^ (quarter & 1);
        (x, y) = turned(side, x, y, right, lower);
        x += side * right;
        y += side * lower;
    }
    (x, y)
}

/// How far the cell is from the beginning of the curve: the inverse of [`cell_at`].
#[cfg(test)]
pub(super) fn place_of(order: u32, mut x: u32, mut y: u32) -> u32 {
    let mut place = 0;
    for level in (0..order).rev() {
        let side = 1 << level;
        let (right, lower) = (x >> level & 1, y >> level & 1);
        place = place << 2 | (3 * right) ^ lower;
        (x, y) = turned(side, x & (side - 1), y & (side - 1), right, lower);
    }
    place
}

/// The cell within its quarter, as the curve of that quarter is turned. It is its own inverse.
fn turned(side: u32, x: u32, y: u32, right: u32, lower: u32) -> (u32, u32) {
    match (right, lower) {
        (0, 0) => (y, x),
        (1, 0) => (side - 1 - y, side - 1 - x),
        _ => (x, y),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The picture in ipv4-heatmap's manual.
    #[test]
    fn begins_as_that_of_others() {
        let rows = [[0, 1, 14, 15], [3, 2, 13, 12], [4, 7, 8, 11], [5, 6, 9, 10]];
        for (y, row) in (0..).zip(rows) {
            for (x, place) in (0..).zip(row) {
                assert_eq!((cell_at(2, place), place_of(2, x, y)), ((x, y), place));
            }
        }
    }

    #[test]
    fn small_ones_reach_each_cell_once() {
        for order in 0..=6 {
            let cells = 1u32 << (2 * order);
            let mut reached = vec![false; cells as usize];
            for place in 0..cells {
                let (x, y) = cell_at(order, place);
                let cell = ((y << order) + x) as usize;
                assert!(!std::mem::replace(&mut reached[cell], true), "{order}: {x} {y} twice");
            }
        }
    }

    proptest! {
        #[test]
        fn back_and_forth(order in 0u32..=16, place in any::<u32>()) {
            let place = (u64::from(place) & ((1 << (2 * order)) - 1)) as u32;
            let (x, y) = cell_at(order, place);
            prop_assert!(u64::from(x.max(y)) < 1 << order);
            prop_assert_eq!(place_of(order, x, y), place);
        }

        #[test]
        fn neighbours_are_neighbours(order in 1u32..=16, place in any::<u32>()) {
            let place = (u64::from(place) % ((1 << (2 * order)) - 1)) as u32;
            let ((x, y), (next_x, next_y)) = (cell_at(order, place), cell_at(order, place + 1));
            prop_assert_eq!(x.abs_diff(next_x) + y.abs_diff(next_y), 1);
        }

        /// A finer curve goes through the same quarters.
        #[test]
        fn a_finer_one_is_alike(order in 1u32..=16, place in any::<u32>()) {
            let place = (u64::from(place) & ((1 << (2 * order)) - 1)) as u32;
            let (x, y) = cell_at(order, place);
            prop_assert_eq!(cell_at(order - 1, place >> 2), (x >> 1, y >> 1));
        }
    }
}
