//! Places in a table that are read a while after they are known.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Up to `4 * ROWS` places in a table. Every one of them is in the table: that is made sure of at once, for all, and not at
/// each reading.
#[derive(Debug)]
pub(crate) struct Places<'a, T, const ROWS: usize> {
    table: &'a [T],
    /// As bytes behind the table's beginning, which is what an address takes; below the table's size.
    offsets: [[u32; 4]; ROWS],
}

impl<'a, T: Copy, const ROWS: usize> Places<'a, T, ROWS> {
    /// The first place of `table`, in all rows. The table has as many elements as a power of two says, at least one, and
    /// less than 4 GiB.
    ///
    /// # Panics
    /// If the table is empty or larger.
    #[inline(always)]
    pub(crate) fn new(table: &'a [T]) -> Self {
        const { assert!(size_of::<T>().is_power_of_two(), "a place is made an offset by a shift") };
        assert!(table.len() <= u32::MAX as usize / size_of::<T>(), "offsets have 32 bits");
        assert!(!table.is_empty(), "no place in an empty table");
        Self { table, offsets: [[0; 4]; ROWS] }
    }

    /// Has the places `number >> shift` of these numbers, as many as fit.
    ///
    /// # Panics
    /// If a place is beyond the table.
    #[inline(always)]
    pub(crate) fn set(&mut self, numbers: &[u32], shift: u32) {
        // All places are below a power of two if their bits are: less work than to look for the greatest.
        let mut bits = 0;
        for (offset, &number) in self.offsets.as_flattened_mut().iter_mut().zip(numbers) {
            let place = number >> shift;
            bits |= place;
            *offset = place << size_of::<T>().trailing_zeros();
        }
        if bits as usize >= self.table.len() {
            // Whoever catches the panic still has them.
            self.offsets = [[0; 4]; ROWS];
            panic!("a place beyond the table");
        }
    }

    /// Asks for what is at the places of a row to be brought near, without waiting for it. Of a row that is not there, nothing
    /// comes.
    #[inline(always)]
    #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction takes an address"))]
    pub(crate) fn ask(&self, row: usize) {
        let Some(offsets) = self.offsets.get(row) else { return };
        for &offset in offsets {
            let element = self.table.as_ptr().wrapping_byte_add(offset as usize);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every x86-64 has the instruction, which takes any address and changes nothing that a program could see.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(element.cast());
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = element;
        }
    }

    /// What is at place `i`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "that all places are in the table is known from when they were set")]
    pub(crate) fn get(&self, i: usize) -> T {
        let offset = self.offsets.as_flattened()[i] as usize;
        // SAFETY: no offset is as large as the table, whose size is that of an allocation.
        let element = unsafe { self.table.as_ptr().byte_add(offset) };
        // SAFETY: an offset is a whole number of elements, so this is one of the table's.
        unsafe { *element }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let table: Vec<u64> = (0..64).map(|i| i * 1_000).collect();
        let mut places = Places::<_, 3>::new(&table);
        places.set(&[1, 63, 0, 40, 7, 8], 0);
        (0..5).for_each(|row| places.ask(row));
        let expected = [1_000, 63_000, 0, 40_000, 7_000, 8_000, 0, 0, 0, 0, 0, 0];
        assert_eq!(std::array::from_fn(|i| places.get(i)), expected);
        let more: Vec<u32> = (0..64).map(|i| (63 - i) << 9 | i).collect();
        let mut places = Places::<_, 1>::new(&table);
        places.set(&more, 9);
        assert_eq!([0, 1, 2, 3].map(|i| places.get(i)), [63_000, 62_000, 61_000, 60_000]);
    }

    #[test]
    #[should_panic = "a place beyond the table"]
    fn no_place_is_beyond() {
        Places::<u64, 2>::new(&[0; 16]).set(&[0, 1, 16], 0);
    }

    #[test]
    #[should_panic = "no place in an empty table"]
    fn an_empty_table_has_none() {
        Places::<u64, 2>::new(&[]);
    }
}
