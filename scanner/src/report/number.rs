//! Numbers and times as ZMap's status line prints them.

use std::fmt;

/// A number in at most three digits and a unit, followed by a space if there is no unit: `999 `, `1.23 K`, `12.3 K`,
/// `123 K`, `1.23 M`. "p/s" is appended to it.
pub fn number_string(number: u64) -> String {
    let float = number as f64;
    match number {
        0..1_000 => format!("{number} "),
        1_000..10_000 => format!("{:.2} K", float / 1e3),
        10_000..100_000 => format!("{:.1} K", float / 1e3),
        100_000..1_000_000 => format!("{:.0} K", float / 1e3),
        _ => format!("{:.2} M", float / 1e6),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// 365.24 days, as in ZMap.
const YEAR: u64 = 31_556_736;

/// Elapsed time, exact to the second: `0:05`, `1:02:03`, `4d1:02:03`.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed {
    /// The span in seconds.
    pub seconds: u64,
}

impl fmt::Display for Elapsed {
    /// Respects a width, as text does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours) = (self.seconds / DAY, self.seconds % DAY / HOUR);
        let (minutes, seconds) = (self.seconds % HOUR / MINUTE, self.seconds % MINUTE);
        f.pad(&match (days, hours) {
            (0, 0) => format!("{minutes}:{seconds:02}"),
            (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
            _ => format!("{days}d{hours}:{minutes:02}:{seconds:02}"),
        })
    }
}

/// Remaining time, in one or two units: `5s`, `1m02s`, `10m`, `1h02m`, `10h`, `1d02h`, `10d`, `2 years`.
#[derive(Clone, Copy, Debug)]
pub struct Remaining {
    /// The span in seconds.
    pub seconds: u64,
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (years, days) = (self.seconds / YEAR, self.seconds % YEAR / DAY);
        let (hours, minutes) = (self.seconds % DAY / HOUR, self.seconds % HOUR / MINUTE);
        let seconds = self.seconds % MINUTE;
        match (years, days, hours, minutes) {
            (1.., ..) => write!(f, "{years} years"),
            (_, 10.., ..) => write!(f, "{days}d"),
            (_, 1.., ..) => write!(f, "{days}d{hours:02}h"),
            (_, _, 10.., _) => write!(f, "{hours}h"),
            (_, _, 1.., _) => write!(f, "{hours}h{minutes:02}m"),
            (.., 10..) => write!(f, "{minutes}m"),
            (.., 1..) => write!(f, "{minutes}m{seconds:02}s"),
            _ => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against C's printf with ZMap's format strings.
    #[test]
    fn numbers() {
        for (number, text) in [
            (0, "0 "),
            (999, "999 "),
            (1_000, "1.00 K"),
            (1_125, "1.12 K"),
            (9_999, "10.00 K"),
            (10_000, "10.0 K"),
            (12_350, "12.3 K"),
            (99_999, "100.0 K"),
            (100_000, "100 K"),
            (999_999, "1000 K"),
            (1_000_000, "1.00 M"),
            (14_880_952, "14.88 M"),
            (5_000_000_000, "5000.00 M"),
        ] {
            assert_eq!(number_string(number), text);
        }
    }

    #[test]
    fn times() {
        for (seconds, elapsed, remaining) in [
            (0, "0:00", "0s"),
            (59, "0:59", "59s"),
            (62, "1:02", "1m02s"),
            (600, "10:00", "10m"),
            (3_725, "1:02:05", "1h02m"),
            (36_000, "10:00:00", "10h"),
            (93_600, "1d2:00:00", "1d02h"),
            (864_000, "10d0:00:00", "10d"),
            (2 * YEAR, "730d11:31:12", "2 years"),
        ] {
            assert_eq!(Elapsed { seconds }.to_string(), elapsed);
            assert_eq!(Remaining { seconds }.to_string(), remaining);
        }
        assert_eq!(format!("{:>5}", Elapsed { seconds: 5 }), " 0:05");
    }
}
