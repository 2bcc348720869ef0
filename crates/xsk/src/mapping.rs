//! Mapped memory: the rings, which the kernel allocates, and UMEM, which is anonymous memory of the process.
//!
//! What always holds: a mapping lasts until its [`Mapping`] is dropped, and everything that keeps a pointer into it
//! owns the mapping or a share of it.

use std::io;
use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Memory that can be read and written, unmapped when this is dropped. Its start is aligned to a page.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is tied to no thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared mapping gives out only pointers; the user of one must know its other users.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory of a file descriptor from `offset` on, shared with the kernel. Every page is mapped at once.
    pub(crate) fn of_descriptor(descriptor: impl AsFd, len: usize, offset: u64) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel chooses the place, so no memory in use is replaced.
        let start = unsafe { mmap(null_mut(), len, Self::protection(), flags, descriptor, offset) }?;
        Self::at(start.cast(), len)
    }

    /// New memory, all zeros.
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses the place, so no memory in use is replaced.
        let start = unsafe { mmap_anonymous(null_mut(), len, Self::protection(), MapFlags::PRIVATE) }?;
        Self::at(start.cast(), len)
    }

    fn protection() -> ProtFlags {
        ProtFlags::READ | ProtFlags::WRITE
    }

    fn at(start: *mut u8, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, len })
    }

    /// Faults every page in, in huge pages where the kernel has some. Both are advice: without the first, pages are
    /// small, and without the second, which Linux has from 5.14 on, the first use of a page faults it in.
    pub(crate) fn fault_in(&self) {
        // It knows no advice.
        if cfg!(miri) {
            return;
        }
        for advice in [Advice::LinuxHugepage, Advice::LinuxPopulateWrite] {
            // SAFETY: the range is our mapping, and neither advice changes what is in it.
            let _ = unsafe { madvise(self.start.as_ptr().cast(), self.len, advice) };
        }
    }

    /// Its first byte.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The place of `count` values of type `T`, `offset` bytes from its start; `None` if they would not lie inside it,
    /// or not be aligned.
    pub(crate) fn place<T>(&self, offset: u64, count: usize) -> Option<NonNull<T>> {
        let offset = usize::try_from(offset).ok()?;
        let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        if end > self.len || offset % align_of::<T>() != 0 {
            return None;
        }
        // SAFETY: inside the mapping, as was checked.
        Some(unsafe { self.start.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our mapping, which nothing points into any more. Pages that a NIC still writes to are pinned by the
        // kernel until it lets them go.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_inside_and_are_aligned() {
        let mapping = Mapping::anonymous(4096).unwrap();
        assert_eq!(mapping.place::<u64>(0, 512).unwrap().cast(), mapping.start());
        assert_eq!(
            mapping.place::<u64>(4088, 1).unwrap().as_ptr() as usize,
            mapping.start().as_ptr() as usize + 4088
        );
        assert!(mapping.place::<u64>(0, 513).is_none(), "one too many");
        assert!(mapping.place::<u64>(4096, 1).is_none(), "behind its end");
        assert!(mapping.place::<u64>(4, 1).is_none(), "not aligned");
        assert!(mapping.place::<u32>(4, 1).is_some());
        assert!(mapping.place::<u64>(8, usize::MAX).is_none() && mapping.place::<u8>(u64::MAX, 2).is_none());
    }

    /// A refusal of the kernel is an error with its number.
    #[test]
    #[cfg_attr(miri, ignore = "it has no kernel")]
    fn refusals() {
        assert_eq!(Mapping::anonymous(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let (other_socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let refused = Mapping::of_descriptor(&other_socket, 4096, 0).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
    }
}
