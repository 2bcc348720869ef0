//! Reads and sets the cores that a thread may run on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that the calling thread may run on, ascending.
pub fn allowed() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![] };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

/// Pins the calling thread to `core`. False if the system refuses; the thread then stays where the scheduler puts it.
pub fn pin(core: usize) -> bool {
    let mut set = CpuSet::new();
    // A set has no room for a higher core, and no kernel has that many.
    if core < CpuSet::MAX_CPU {
        set.set(core);
    }
    sched_setaffinity(None, &set).is_ok()
}

/// Runs `work` on a core, so that the kernel allocates its memory on that core's NUMA node. If the core is unavailable,
/// the work runs on the thread's present core.
pub(super) fn on_core<T>(core: usize, work: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None);
    if before.is_ok() {
        pin(core);
    }
    let done = work();
    if let Ok(before) = before {
        // Only speed depends on it.
        let _ = sched_setaffinity(None, &before);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// In a separate thread, which ends with the test.
    #[test]
    fn pinned_and_put_back() {
        let run = || {
            let all = allowed();
            let last = *all.last().unwrap();
            assert_eq!(on_core(last, allowed), [last]);
            assert_eq!(allowed(), all);
            assert!(!pin(CpuSet::MAX_CPU - 1) && !pin(CpuSet::MAX_CPU) && !pin(usize::MAX));
            assert_eq!(allowed(), all);
            assert!(pin(last));
            assert_eq!(allowed(), [last]);
        };
        thread::spawn(run).join().unwrap();
    }
}
