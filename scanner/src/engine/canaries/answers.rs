//! Which canaries a worker has received an answer to, so that each counts once.
//!
//! A host may send its answer again. All answers to one number of one host have the same addresses and ports, so they
//! come to the same worker. The memory is a table of fixed size in which a new host replaces an old one: a forgotten
//! host's repeat counts as an answer.

/// Places, a power of two: 1 MiB per worker, which is not touched before the first canary. Fewer: hosts are forgotten
/// before they send their repeats. More: more memory, and more cache misses per answer.
const PLACES: usize = 1 << 17;

/// The answers of a worker.
#[derive(Debug)]
pub struct Answers {
    /// An address in the upper half, and below it a bit for each of its numbers that was answered.
    hosts: Box<[u64]>,
}

impl Answers {
    /// Without places if the scan has no canaries: then no answer is to one.
    pub fn new(has_canaries: bool) -> Self {
        Self { hosts: vec![0; if has_canaries { PLACES } else { 0 }].into_boxed_slice() }
    }

    /// Whether this is the first answer of the target to its canary with this number. Notes it.
    pub fn is_first(&mut self, target: u32, number: u32) -> bool {
        let hash = u64::from(target).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let Some(host) = self.hosts.get_mut((hash >> (64 - PLACES.trailing_zeros())) as usize) else {
            return false;
        };
        if *host >> 32 != u64::from(target) {
            *host = u64::from(target) << 32;
        }
        let bit = 1u64 << number;
        let is_first = *host & bit == 0;
        *host |= bit;
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_host_once() {
        let mut answers = Answers::new(true);
        for target in [0, 7, 0xffff_ffff] {
            for number in [0, 7, 3] {
                assert!(answers.is_first(target, number));
                assert!(!answers.is_first(target, number));
            }
        }
        assert!(!Answers::new(false).is_first(7, 0));
    }
}
