//! What the kernel says of its wall clock, by which results are dated: what it counts by, and how far it may be off.
//!
//! Who compares results of several machines, or with what others saw, needs to know that.

use std::mem::MaybeUninit;
use std::{fs, io};

use serde::Serialize;

const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The wall clock at one moment (adjtimex(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WallClock {
    /// The counter that the kernel reads: `tsc`, `kvm-clock`, ...; absent if it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether a program such as chronyd says that it keeps the clock right.
    pub synchronized: bool,
    /// Nanoseconds by which the kernel is still moving the clock.
    pub offset_ns: i64,
    /// The error in microseconds, as that program estimates it. Without one this is meaningless.
    pub error_us: i64,
    /// The greatest possible error in microseconds, which grows while nobody corrects the clock.
    pub error_max_us: i64,
}

impl WallClock {
    /// Asks the kernel.
    ///
    /// # Errors
    /// EPERM where a container's filter of system calls does not allow it.
    pub fn read() -> io::Result<Self> {
        // All zero asks, and changes nothing.
        let mut answer = MaybeUninit::<libc::timex>::zeroed();
        #[expect(unsafe_code, reason = "neither nix nor rustix wraps this call")]
        // SAFETY: the kernel reads and writes the structure, which outlives the call.
        let state = unsafe { libc::adjtimex(answer.as_mut_ptr()) };
        if state < 0 {
            return Err(io::Error::last_os_error());
        }
        #[expect(unsafe_code, reason = "the structure has integers alone")]
        // SAFETY: every byte was zero before the kernel wrote, and all values of integers are valid.
        let answer = unsafe { answer.assume_init() };
        let in_ns = if answer.status & libc::STA_NANO != 0 { 1 } else { 1_000 };
        Ok(Self {
            source: fs::read_to_string(SOURCE).ok().map(|text| text.trim().to_owned()),
            synchronized: answer.status & libc::STA_UNSYNC == 0,
            offset_ns: answer.offset * in_ns,
            error_us: answer.esterror,
            error_max_us: answer.maxerror,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel lets everybody ask; bounds of errors are never negative.
    #[test]
    fn is_told() {
        let clock = WallClock::read().unwrap();
        assert!(clock.error_us >= 0 && clock.error_max_us >= 0, "{clock:?}");
        assert!(clock.synchronized || clock.error_max_us > 0, "{clock:?}");
        assert!(clock.source.is_none_or(|name| !name.is_empty() && !name.contains(['\n', '/'])));
    }
}
