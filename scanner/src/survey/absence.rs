//! Notices that this process, or the whole machine, did not run for a while: suspended, stopped by SIGSTOP, paused by
//! its hypervisor, or without a processor. Nothing is sent meanwhile, but replies to what had been sent before may be
//! lost, so those targets are probed again as after an outage.
//!
//! All clocks of the kernel may stand still while a virtual machine is paused. Its real-time clock, which the
//! hypervisor keeps, usually goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How long the thread that looks may not have run. Shorter: a busy machine is taken for one that was suspended, and
/// targets are probed twice. Longer: a stop loses replies that nobody has read.
const ABSENT: Duration = Duration::from_secs(3);
/// How much further the real-time clock must have gone than the kernel's. It has whole seconds: it may seem to go a
/// second further without any pause, and only two in one of three. Lower: targets are probed twice for nothing. Higher:
/// a pause of three seconds may be missed.
const PAUSED: Duration = Duration::from_millis(1_500);
/// How often the real-time clock is read. Shorter: more time in the kernel, which may wait some milliseconds for it.
/// Longer: more targets are probed again after a pause.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The machine's real-time clocks.
const REAL_TIME_CLOCKS: &str = "/sys/class/rtc";

/// The time since the machine was booted, which goes on while it is suspended, unlike that of [`Instant`].
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// A time in which nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absent {
    /// Who did not run.
    pub(super) who: &'static str,
    pub(super) lasted: Duration,
    /// When it still ran.
    pub(super) since: Instant,
}

/// When somebody last looked.
#[derive(Debug)]
pub(super) struct Absence {
    looked: Instant,
    looked_since_boot: Duration,
    real_time_clock: Option<RealTimeClock>,
}

impl Absence {
    /// Looks for the first time.
    pub(super) fn new() -> Self {
        Self {
            looked: Instant::now(),
            looked_since_boot: since_boot(),
            real_time_clock: RealTimeClock::find(Path::new(REAL_TIME_CLOCKS)),
        }
    }

    /// For how long nobody has looked and since when, if that is long.
    pub(super) fn look(&mut self) -> Option<Absent> {
        let stopped = self.look_at(Instant::now(), since_boot());
        let paused = self.real_time_clock.as_mut().and_then(RealTimeClock::look);
        stopped.or(paused)
    }

    fn look_at(&mut self, now: Instant, now_since_boot: Duration) -> Option<Absent> {
        let since = std::mem::replace(&mut self.looked, now);
        let before = std::mem::replace(&mut self.looked_since_boot, now_since_boot);
        let lasted = now_since_boot.saturating_sub(before);
        (lasted >= ABSENT).then_some(Absent { who: "this process", lasted, since })
    }
}

/// What a real-time clock showed.
#[derive(Clone, Copy, Debug)]
struct Reading {
    seconds: u64,
    /// When it began to be read.
    began: Instant,
    began_since_boot: Duration,
    ended_since_boot: Duration,
}

/// For how long the machine was paused between two readings, or up to a second longer or shorter.
fn pause_between(before: &Reading, after: &Reading) -> Duration {
    let went_on = Duration::from_secs(after.seconds.saturating_sub(before.seconds));
    went_on.saturating_sub(after.ended_since_boot.saturating_sub(before.began_since_boot))
}

/// A real-time clock that can be read.
#[derive(Debug)]
struct RealTimeClock {
    file: PathBuf,
    last: Reading,
}

impl RealTimeClock {
    /// The first of those in `folder` that can be read.
    fn find(folder: &Path) -> Option<Self> {
        let entries = fs::read_dir(folder).ok()?;
        let mut files: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path().join("since_epoch"))).collect();
        files.sort();
        files.into_iter().find_map(|file| Some(Self { last: read(&file)?, file }))
    }

    /// For how long the machine was paused since the last reading, if that is long. Reads at most every [`READ_EVERY`].
    fn look(&mut self) -> Option<Absent> {
        if self.last.began.elapsed() < READ_EVERY {
            return None;
        }
        let before = std::mem::replace(&mut self.last, read(&self.file)?);
        let lasted = pause_between(&before, &self.last);
        (lasted >= PAUSED).then_some(Absent { who: "this machine", lasted, since: before.began })
    }
}

/// Reads a real-time clock.
fn read(file: &Path) -> Option<Reading> {
    let (began, began_since_boot) = (Instant::now(), since_boot());
    let seconds = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Some(Reading { seconds, began, began_since_boot, ended_since_boot: since_boot() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_absences_are_noticed() {
        let (start, boot) = (Instant::now(), Duration::from_secs(1_000));
        let mut absence = Absence { looked: start, looked_since_boot: boot, real_time_clock: None };
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(60));
        let absent = |since| Some(Absent { who: "this process", lasted: long, since });
        assert_eq!(absence.look_at(start + short, boot + short), None);
        // Suspended: the one clock stood still.
        assert_eq!(absence.look_at(start + short, boot + short + long), absent(start + short));
        // Stopped: neither did.
        let (now, since_boot) = (start + short + long, boot + short + long + long);
        assert_eq!(absence.look_at(now, since_boot), absent(start + short));
        assert_eq!(absence.look_at(now, since_boot), None);
        assert!(Absence::new().look().is_none());
    }

    /// Whatever part of a second the clocks are apart, and however long reading takes: three seconds are noticed, and
    /// none are not.
    #[test]
    fn pauses_are_noticed_by_whole_seconds() {
        let reading = |ms: u64, paused_ms: u64, takes_ms: u64| Reading {
            seconds: (ms + takes_ms / 2 + paused_ms) / 1_000,
            began: Instant::now(),
            began_since_boot: Duration::from_millis(ms),
            ended_since_boot: Duration::from_millis(ms + takes_ms),
        };
        for start_ms in 5_000..6_000 {
            for (apart_ms, takes_ms) in [(1_000, 0), (1_000, 20), (1_999, 0), (1_999, 20), (5_000, 4_000)] {
                let before = reading(start_ms, 0, takes_ms.min(20));
                let paused =
                    |ms| pause_between(&before, &reading(start_ms + apart_ms, ms, takes_ms)) >= PAUSED;
                assert!(!paused(0), "{start_ms} {apart_ms} {takes_ms}");
                if takes_ms <= 20 {
                    assert!(paused(3_000) && paused(60_000), "{start_ms} {apart_ms} {takes_ms}");
                }
            }
        }
    }

    /// A clock of the system is found, read, and read again only when a second has passed. One that is set forwards
    /// looks like a pause, and one that is set back like nothing.
    #[test]
    fn clocks_are_found_and_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RealTimeClock::find(folder.path()).is_none());
        for (name, text) in [("rtc0", "broken"), ("rtc1", "1000\n")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("since_epoch"), text).unwrap();
        }
        let mut clock = RealTimeClock::find(folder.path()).unwrap();
        let file = folder.path().join("rtc1/since_epoch");
        assert_eq!(clock.file, file);
        let mut look = |text: &str, later: Duration| {
            fs::write(&file, text).unwrap();
            clock.last.began -= later;
            clock.last.began_since_boot -= later;
            let since = clock.last.began;
            clock.look().map(|absent| (absent.who, absent.lasted.as_secs(), absent.since == since))
        };
        assert_eq!(look("1060\n", Duration::ZERO), None, "too early");
        assert_eq!(look("1001\n", READ_EVERY), None);
        assert_eq!(look("1062\n", READ_EVERY), Some(("this machine", 59, true)));
        assert_eq!(look("1000\n", READ_EVERY), None);
        assert_eq!(look("", READ_EVERY), None);
        assert_eq!(look("1003\n", READ_EVERY), None, "three seconds, of which two are accounted for");
    }
}
