//! CPU time of a scan: the process's own, and that of the whole machine, which includes what the kernel does for the
//! scan in interrupts, and what other programs do.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::ops::Sub;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Where the kernel counts the time of all processors (`Documentation/filesystems/proc.rst`, 1.7).
const MACHINE: &str = "/proc/stat";
/// The kernel's unit there: so many a second (`USER_HZ`, which is the same on all processors that xdpmap runs on).
const USER_HZ: u64 = 100;

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTime {
    /// Of the process, with all of its threads.
    pub(super) process: Duration,
    /// Of all processors, other than idle ones; `None` if the kernel does not tell.
    pub(super) machine: Option<Busy>,
}

/// The time of all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Busy {
    /// All of it.
    pub(super) total: Duration,
    /// That in soft interrupts, in which the network stack receives and completes.
    pub(super) softirq: Duration,
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let machine = self.machine.zip(before.machine).map(|(now, before)| Busy {
            total: now.total.saturating_sub(before.total),
            softirq: now.softirq.saturating_sub(before.softirq),
        });
        Self { process: self.process.saturating_sub(before.process), machine }
    }
}

/// Reads CPU times. It is opened before the scan may open no more files.
#[derive(Debug)]
pub(super) struct CpuClock {
    machine: Option<File>,
}

impl CpuClock {
    pub(super) fn open() -> Self {
        Self { machine: File::open(MACHINE).ok() }
    }

    /// The times since the process and the machine began.
    pub(super) fn now(&self) -> CpuTime {
        let process = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from);
        CpuTime { process: process.unwrap_or_default(), machine: self.machine() }
    }

    fn machine(&self) -> Option<Busy> {
        let mut file = self.machine.as_ref()?;
        let mut first = [0; 256];
        file.rewind().ok()?;
        // Not all of it: a line per processor, and a number per interrupt.
        let len = file.read(&mut first).ok()?;
        busy(std::str::from_utf8(&first[..len]).ok()?)
    }
}

/// The time of all processors, by the first line of [`MACHINE`].
fn busy(text: &str) -> Option<Busy> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks = numbers.map(|number| number.parse::<u64>().ok()).collect::<Option<Vec<u64>>>()?;
    // Guests are in the first two as well, and what the hypervisor took is not of this machine.
    let [user, nice, system, _, _, irq, softirq, ..] = ticks[..] else { return None };
    let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1_000) / USER_HZ);
    Some(Busy { total: time(user + nice + system + irq + softirq), softirq: time(softirq) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let text = "cpu  100 20 300 4000 50 6 70 8 9 10\ncpu0 1 2 3\n";
        let second = |seconds: f64| Duration::from_secs_f64(seconds);
        assert_eq!(busy(text), Some(Busy { total: second(4.96), softirq: second(0.7) }));
        for bad in ["", "cpu", "cpu  1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu  1 2 3 x 5 6 7 8"] {
            assert_eq!(busy(bad), None, "{bad}");
        }
    }

    /// Time that this thread uses is the process's, and the machine's.
    #[test]
    fn work_takes_time() {
        let clock = CpuClock::open();
        let before = clock.now();
        let used = loop {
            let used = clock.now() - before;
            if used.process >= Duration::from_millis(200) {
                break used;
            }
        };
        let machine = used.machine.unwrap();
        // The kernel counts in ticks, at which something else may run.
        assert!(machine.total > Duration::ZERO && machine.softirq <= machine.total, "{used:?}");
    }
}
