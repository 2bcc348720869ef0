//! Headers' fields, of one probe or of several at once.
//!
//! Bytes have to be turned round between our numbers and a frame. Where that is dear it is done early, for many fields at once:
//! [`Lane::wire`] makes of a number what fields are made of, and what becomes of those is the same either way. Halves stay
//! where they are, so fields of 16 bits are put together and taken apart as before, and the Internet checksum does not
//! depend on the order of bytes (RFC 1071, section 2).

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
    /// As fields are made of them: both bytes of each half are in their order in a frame, or none are.
    fn wire(self) -> Self;
    /// Writes row `row`: `first` and `second` of each, which are from [`Lane::wire`], as they follow each other in a frame.
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self);
    /// Writes row `row`: fields of 16 bits, from [`Lane::wire`], as they are in a frame.
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

    /// As they are: the compiler turns the bytes of a whole pair of words in one instruction.
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
