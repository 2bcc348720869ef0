//! Header fields, of one probe or of several at once.
//!
//! Fields are big-endian on the wire. Vector lanes swap bytes early, for many fields at once; plain `u32` leaves the
//! swap to the final store. [`Lane::wire`] hides the difference: code that works on its result is the same for both. It
//! keeps the two halves of a number in place, so 16-bit fields are combined and split as before, and the Internet
//! checksum does not depend on the byte order (RFC 1071, section 2).

/// 32-bit numbers to compute with: one, or several side by side. A row of an array has the same width.
pub trait Lane: Copy {
    /// How many numbers.
    const WIDTH: usize;

    /// `value` in each of them.
    fn of(value: u32) -> Self;
    /// Row `row` of these numbers.
    fn load<const N: usize>(numbers: &[u32; N], row: usize) -> Self;
    /// Row `row` of these numbers of 16 bits.
    fn load_shorts<const N: usize>(numbers: &[u16; N], row: usize) -> Self;
    /// Converts to wire order: swaps the bytes of each 16-bit half in vector lanes, and does nothing for `u32`.
    fn wire(self) -> Self;
    /// Writes row `row`: `first` and `second` of each number, in wire order, as they follow each other in a frame.
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self);
    /// Writes row `row`: 16-bit fields, in wire order, as they are in a frame.
    fn store_shorts<const N: usize>(self, out: &mut [u16; N], row: usize);

    /// The sums modulo 2^32.
    fn plus(self, other: Self) -> Self;
    /// The bitwise and.
    fn and(self, other: Self) -> Self;
    /// The bitwise or.
    fn or(self, other: Self) -> Self;
    /// The bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Shifted to the left by `bits`, below 32.
    fn left(self, bits: u32) -> Self;
    /// Shifted to the right by `bits`, below 32.
    fn right(self, bits: u32) -> Self;
    /// With their halves exchanged.
    fn turned(self) -> Self;
    /// For numbers below 2^16: the upper 16 bits of their 32-bit product with `factor`, which is at most 2^16.
    fn scaled(self, factor: u32) -> Self;
    /// For numbers below twice `limit`, which is below 2^30: subtracts `limit` from those that are not below it.
    fn wrapped_at(self, limit: u32) -> Self;
    /// `value` for those that are 0, and 0 for the others.
    fn where_zero(self, value: u32) -> Self;
}

impl Lane for u32 {
    const WIDTH: usize = 1;

    #[inline(always)]
    fn of(value: u32) -> Self {
        value
    }

    #[inline(always)]
    fn load<const N: usize>(numbers: &[u32; N], row: usize) -> Self {
        numbers[row]
    }

    #[inline(always)]
    fn load_shorts<const N: usize>(numbers: &[u16; N], row: usize) -> Self {
        numbers[row].into()
    }

    /// Unchanged: the compiler swaps the bytes of a whole pair of words in one instruction.
    #[inline(always)]
    fn wire(self) -> Self {
        self
    }

    #[inline(always)]
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self) {
        out[row] = (u64::from(first) << 32 | u64::from(second)).to_be();
    }

    #[inline(always)]
    fn store_shorts<const N: usize>(self, out: &mut [u16; N], row: usize) {
        out[row] = (self as u16).to_be();
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self & other
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self | other
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        self << bits
    }

    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        self >> bits
    }

    #[inline(always)]
    fn turned(self) -> Self {
        self.rotate_left(16)
    }

    #[inline(always)]
    fn scaled(self, factor: u32) -> Self {
        self.wrapping_mul(factor) >> 16
    }

    #[inline(always)]
    fn wrapped_at(self, limit: u32) -> Self {
        // Below the limit, the difference wraps to something larger.
        self.min(self.wrapping_sub(limit))
    }

    #[inline(always)]
    fn where_zero(self, value: u32) -> Self {
        if self == 0 { value } else { 0 }
    }
}
