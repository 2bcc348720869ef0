//! Checks the limit on open files before a scan. A library that reaches the limit rarely reports it, and the scan would
//! then fall back to another mode.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a scan opens at most, without those of its queues and its workers. Too low, and a scan fails in the
/// middle of opening; too high, and a scan that would fit is refused.
const BESIDE_QUEUES: u64 = 32;
/// Descriptors per queue: its socket, a worker's ring, the worker's sender, and one to spare.
const OF_A_QUEUE: u64 = 4;

/// The number of descriptors that a scan of this many queues may open, if the process may not open as many. The limit
/// is first raised as far as no privilege is needed.
pub fn short_of(queues: usize) -> Option<u64> {
    let needed = BESIDE_QUEUES + OF_A_QUEUE * queues as u64;
    let is_enough = |limit: Rlimit| limit.current.is_none_or(|current| current >= needed);
    let limit = getrlimit(Resource::Nofile);
    if !is_enough(limit) {
        // If it cannot be raised, it stays too low.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    (!is_enough(getrlimit(Resource::Nofile))).then_some(needed)
}

/// How to raise the limit, as the end of a sentence.
pub fn remedy() -> String {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or_else(String::new, |limit| format!(", which is {limit}"));
    format!("raise the limit on open files{limit}, with `ulimit -n 1024` (systemd: LimitNOFILE=)")
}
