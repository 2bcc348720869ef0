//! Numbers with units, as people type them: counts and amounts with K, M or G, times with s, m, h or d. And whole
//! numbers as people read them.
//!
//! What always holds: a text is understood whole or not at all. Suffixes of counts are decimal. Case does not matter.

use std::time::Duration;

/// What the suffixes of counts and amounts stand for.
const SUFFIXES: [(char, u64); 3] = [('k', 1_000), ('m', 1_000_000), ('g', 1_000_000_000)];
/// What the units of time stand for, in seconds; the longest is first.
const TIMES: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
/// Most digits behind a point. More cannot be seen in any number that this module reads.
const DIGITS_MAX: u32 = 9;

/// A whole number with an optional suffix K, M or G: `10000`, `10k`, `1.5M`.
pub fn count(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    product(number, unit)
}

/// A number with or without a fraction and with an optional suffix K, M or G: `0.5`, `2.5g`.
pub fn amount(text: &str) -> Option<f64> {
    let (number, unit) = split(text);
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    Some(number * unit as f64)
}

/// A time: seconds, or numbers with units from the longest to the shortest: `90`, `1.5`, `30s`, `1.5h`, `1d12h`.
pub fn time(text: &str) -> Option<Duration> {
    if let Some(nanos) = in_nanos(text, 1) {
        return Some(Duration::from_nanos(nanos));
    }
    let (mut total, mut rest) = (0u64, text);
    for (unit, seconds) in TIMES {
        let end = rest.find(|c: char| c.is_ascii_alphabetic());
        let Some((number, tail)) = end.map(|end| rest.split_at(end)) else { break };
        if let Some(tail) = tail.strip_prefix([unit, unit.to_ascii_uppercase()]) {
            total = total.checked_add(in_nanos(number, seconds)?)?;
            rest = tail;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(Duration::from_nanos(total))
}

/// A number of `seconds` each, in nanoseconds.
fn in_nanos(number: &str, seconds: u64) -> Option<u64> {
    product(number, seconds.checked_mul(1_000_000_000)?)
}

/// A text without its suffix, and what that stands for.
fn split(text: &str) -> (&str, u64) {
    let with =
        |(suffix, unit): (char, u64)| Some((text.strip_suffix([suffix, suffix.to_ascii_uppercase()])?, unit));
    SUFFIXES.into_iter().find_map(with).unwrap_or((text, 1))
}

/// `number`, which may have a fraction, times `unit`, if the product is a whole number.
fn product(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || fraction.len() > DIGITS_MAX as usize {
        return None;
    }
    let whole: u64 = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10u128.pow(fraction.len() as u32);
    let part = fraction.parse::<u128>().ok()? * u128::from(unit);
    let part = (part % scale == 0).then_some(part / scale)?;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// A number with commas between groups of three digits: `3,702,258,432`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts, which is given in the singular: `1 probe`, `1,000 addresses`, `2 entries`.
pub fn several(number: u64, what: &str) -> String {
    format!("{} {}", grouped(number), noun(number, what))
}

/// As [`several`], without commas in the number, for lines that programs may search for it: `1000 addresses`.
pub fn counted(number: u64, what: &str) -> String {
    format!("{number} {}", noun(number, what))
}

/// What a number counts, which is given in the singular, as it stands behind that number.
pub fn noun(number: u64, what: &str) -> String {
    let before_y = what.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (number, before_y) {
        (1, _) => what.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        _ if what.ends_with('s') => format!("{what}es"),
        _ => format!("{what}s"),
    }
}

/// The verb behind such a number.
pub fn are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// The verb behind such a number, of what has been.
pub fn were(number: u64) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (65_536, "65,536"), (3_702_258_432, "3,702,258,432")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX).replace(',', ""), u64::MAX.to_string());
    }

    #[test]
    fn one_and_several() {
        for (number, what, text) in [
            (0, "probe", "0 probes"),
            (1, "probe", "1 probe"),
            (1_000, "address", "1,000 addresses"),
            (1, "address", "1 address"),
            (2, "entry", "2 entries"),
            (1, "reply", "1 reply"),
            (3, "RX queue", "3 RX queues"),
            (2, "day", "2 days"),
            (0, "distinct success", "0 distinct successes"),
        ] {
            assert_eq!(several(number, what), text);
            assert_eq!(counted(number, what), text.replace(',', ""));
        }
        assert_eq!([are(0), are(1), are(2)], ["are", "is", "are"]);
        assert_eq!([were(0), were(1), were(2)], ["were", "was", "were"]);
    }

    #[test]
    fn counts() {
        for (text, expected) in [
            ("0", 0),
            ("10000", 10_000),
            ("10k", 10_000),
            ("10K", 10_000),
            ("1.5M", 1_500_000),
            ("3.7g", 3_700_000_000),
            ("5.0", 5),
            ("0.001k", 1),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(count(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "k",
            "-1",
            "+1",
            "1.5",
            "0.0001k",
            "1e3",
            "1kk",
            "1 k",
            ".5k",
            "5.k",
            "1KB",
            "99999999999G",
            "ü",
        ] {
            assert_eq!(count(bad), None, "{bad}");
        }
    }

    #[test]
    fn amounts() {
        for (text, expected) in [("0", 0.0), ("0.5", 0.5), ("10k", 1e4), ("2.5G", 2.5e9), (".5k", 500.0)] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
        for bad in ["", "k", "-5", "1e3", "inf", "nan", "5 k", "1.2.3", "ü"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        for (text, millis) in [
            ("0", 0),
            ("90", 90_000),
            ("1.5", 1_500),
            ("30s", 30_000),
            ("0.01s", 10),
            ("5m", 300_000),
            ("1.5H", 5_400_000),
            ("1d12h", 129_600_000),
            ("1h30s", 3_630_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1s", "1x", "1s1m", "1h1h", "1h30", "1 h", "1ms", "99999999999999999d", "ü"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn plain_numbers_stand_for_themselves(number in any::<u64>(), text in ".*") {
            prop_assert_eq!(count(&number.to_string()), Some(number));
            let _ = (count(&text), amount(&text), time(&text));
        }

        #[test]
        fn times_add_up(days in 0u64..1_000, hours in 0u64..1_000, minutes in 0u64..1_000, seconds in 0u64..1_000) {
            let text = format!("{days}d{hours}h{minutes}m{seconds}s");
            let total = days * 86_400 + hours * 3_600 + minutes * 60 + seconds;
            prop_assert_eq!(time(&text), Some(Duration::from_secs(total)));
        }
    }
}
