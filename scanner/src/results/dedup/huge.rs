//! A huge page of zeroes, for memory with random writes.
//!
//! Owns its mapping. The memory is one page if the kernel has huge pages available
//! (`/sys/kernel/mm/transparent_hugepage`), and needs one page fault. Otherwise it is ordinary pages with a fault each.
//! No memory is taken before the first write.

use std::io;
use std::ptr::NonNull;

/// Bytes of a huge page: what a second-level page table covers with pages of 4 KiB.
const LEN: usize = 2 << 20;

/// Twice the page, so that an aligned one lies inside wherever the kernel puts the mapping.
const MAPPING_LEN: usize = 2 * LEN;

/// Words of a huge page.
pub(super) const WORDS: usize = LEN / size_of::<u64>();

/// Memory that begins as zeroes.
#[derive(Debug)]
pub(super) struct HugePage {
    mapping: NonNull<u8>,
    words: NonNull<[u64; WORDS]>,
}

// SAFETY: the mapping is plain memory of its owner's.
unsafe impl Send for HugePage {}

impl HugePage {
    /// Maps a page.
    ///
    /// # Errors
    /// The kernel has no more memory.
    pub(super) fn zeroed() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches no memory of ours.
        let mapping = unsafe { libc::mmap(std::ptr::null_mut(), MAPPING_LEN, protection, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping =
            NonNull::<u8>::new(mapping.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        let offset = mapping.align_offset(LEN);
        // SAFETY: an offset for alignment is less than LEN, and the mapping is twice as long.
        let words = unsafe { mapping.add(offset) }.cast();
        let page = Self { mapping, words };
        // SAFETY: advice about memory of our own; without effect, pages are small.
        unsafe { libc::madvise(page.words.as_ptr().cast(), LEN, libc::MADV_HUGEPAGE) };
        Ok(page)
    }

    /// Its words.
    #[inline]
    pub(super) fn words(&mut self) -> &mut [u64; WORDS] {
        // SAFETY: LEN bytes inside the mapping, aligned to more than a word, zeroed by the kernel; `self` is borrowed
        // as long as they are.
        unsafe { self.words.as_mut() }
    }
}

impl Drop for HugePage {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `zeroed`; references into it borrow from `self`.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), MAPPING_LEN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zero_aligned_and_their_own() {
        let mut pages: Vec<_> = (0..3).map(|_| HugePage::zeroed().unwrap()).collect();
        for (number, page) in pages.iter_mut().enumerate() {
            let words = page.words();
            assert_eq!(words.as_ptr().align_offset(LEN), 0);
            assert!(words.iter().all(|word| *word == 0));
            words.fill(number as u64 + 1);
        }
        for (number, page) in pages.iter_mut().enumerate() {
            assert!(page.words().iter().all(|word| *word == number as u64 + 1));
        }
    }
}
