//! Numbers as a page shows them.

use crate::units::grouped;

/// A number with three digits and its unit of a thousand: `1.23 M`, `40.0 K`, `7`.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = match number.abs() {
        large if large >= 999.5e6 => (number / 1e9, " G"),
        large if large >= 999.5e3 => (number / 1e6, " M"),
        large if large >= 9_995.0 => (number / 1e3, " K"),
        _ => (number, ""),
    };
    let digits = three_digits(number);
    format!("{digits}{unit}")
}

/// A number with three digits: `0.458`, `12.3`, `5,177`.
pub(super) fn three_digits(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        large if large >= 99.95 => {
            let whole = grouped(large.round() as u64);
            if number < 0.0 { format!("-{whole}") } else { whole }
        }
        large if large >= 9.995 => format!("{number:.1}"),
        large if large >= 0.9995 => format!("{number:.2}"),
        large if large >= 0.001 => format!("{number:.3}"),
        _ => format!("{number:.1e}"),
    }
}

/// A tick of an axis: as short as it can be.
pub(super) fn tick(number: f64) -> String {
    let (number, unit) = match number.abs() {
        large if large >= 1e9 => (number / 1e9, "G"),
        large if large >= 1e6 => (number / 1e6, "M"),
        large if large >= 1e3 => (number / 1e3, "K"),
        _ => (number, ""),
    };
    // Sums of steps are off by the last bits.
    let number = (number * 1e6).round() / 1e6;
    format!("{number}{unit}")
}

/// A share in percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        _ => format!("{} %", three_digits(part as f64 / whole as f64 * 100.0)),
    }
}

/// A time in microseconds with its unit: `139 us`, `5.09 ms`, `1.20 s`.
pub(super) fn microseconds(time: f64) -> String {
    match time {
        long if long >= 999_500.0 => format!("{} s", three_digits(long / 1e6)),
        long if long >= 999.5 => format!("{} ms", three_digits(long / 1e3)),
        short => format!("{} us", three_digits(short)),
    }
}

/// A duration in words: `12.7 s`, `4 min 5 s`, `1 h 2 min`, `3 d 4 h`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", three_digits(seconds)),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [
            (0.0, "0"),
            (7.0, "7.00"),
            (0.45776, "0.458"),
            (0.0000123, "1.2e-5"),
            (5_177.1, "5,177"),
            (65_536.0, "65.5 K"),
            (999_900.0, "1.00 M"),
            (3_702_258_432.0, "3.70 G"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!([tick(0.1 + 0.2), tick(2_500.0), tick(4e6)], ["0.3", "2.5K", "4M"]);
        assert_eq!([percent(1, 3), percent(5, 5), percent(0, 0)], ["33.3 %", "100 %", "-"]);
        assert_eq!(
            [microseconds(139.0), microseconds(5_087.0), microseconds(1.2e6)],
            ["139 us", "5.09 ms", "1.20 s"]
        );
        assert_eq!(
            [duration(12.66), duration(245.0), duration(3_725.0), duration(273_600.0)],
            ["12.7 s", "4 min 5 s", "1 h 2 min", "3 d 4 h"]
        );
    }
}
