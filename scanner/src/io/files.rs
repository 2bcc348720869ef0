//! The limit on open files: a library that meets it seldom says so, and a scan looks for another mode. So it is looked at first.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a scan opens at most, beside those of its queues and its workers.
const BESIDE_QUEUES: u64 = 32;
/// Those of a queue: its socket, a worker's ring, the sender beside it, and one to spare.
const OF_A_QUEUE: u64 = 4;

/// How many descriptors a scan of so many queues may open, if the process may not open as many. The limit is raised as far as
/// that takes no privilege.
pub fn short_of(queues: usize) -> Option<u64> {
    let needed = BESIDE_QUEUES + OF_A_QUEUE * queues as u64;
    let is_enough = |limit: Rlimit| limit.current.is_none_or(|current| current >= needed);
    let limit = getrlimit(Resource::Nofile);
    if !is_enough(limit) {
        // Where it may not be raised it stays too low.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    (!is_enough(getrlimit(Resource::Nofile))).then_some(needed)
}

/// What to do about the limit, as the end of a sentence.
pub fn remedy() -> String {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or_else(String::new, |limit| format!(", which is {limit}"));
    format!("raise the limit on open files{limit}, with `ulimit -n 1024` (systemd: LimitNOFILE=)")
}
