//! Headers' fields, of one probe or of several at once.

/// What is computed with numbers of 32 bits: one, or several side by side. Rows of an array are as wide as that.
pub(crate) trait Lane: Copy {
    /// How many numbers.
    const WIDTH: usize;

    /// `value`, in each of them.
    fn of(value: u32) -> Self;
    /// Row `row` of these numbers.
    fn load<const N: usize>(numbers: &[u32; N], row: usize) -> Self;
    /// Row `row` of these numbers of 16 bits.
    fn load_shorts<const N: usize>(numbers: &[u16; N], row: usize) -> Self;
    /// Writes row `row`: `first` and `second` of each as they follow each other in a frame, in network order.
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self);
    /// Writes row `row`: numbers below 2^16, in network order.
    fn store_shorts<const N: usize>(self, out: &mut [u16; N], row: usize);

    /// The sums modulo 2^32.
    fn plus(self, other: Self) -> Self;
    /// The bits that both have.
    fn and(self, other: Self) -> Self;
    /// The bits that either has.
    fn or(self, other: Self) -> Self;
    /// The exclusive ors.
    fn xor(self, other: Self) -> Self;
    /// Moved to the left by `bits`, below 32.
    fn left(self, bits: u32) -> Self;
    /// Moved to the right by `bits`, below 32.
    fn right(self, bits: u32) -> Self;
    /// With their halves exchanged.
    fn turned(self) -> Self;
    /// Of numbers below 2^16, the upper 16 bits of their product with `factor`, at most 2^16, in 32.
    fn scaled(self, factor: u32) -> Self;
    /// Numbers below twice `limit`, which is below 2^30, less `limit` if they are not below it.
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
