//! `xdpmap probing-txt`: writes the file that describes the probes of a measurement (RFC 9511), for
//! `/.well-known/probing.txt` at the names and addresses that the probes come from.
//!
//! What always holds: each line has one field, whatever is given, and the file is one by RFC 9116, whose fields it has:
//! a contact, and a time after which it is not valid any more.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::Failure;
use super::options::{LogOptions, start_log};
use super::written::Destination;
use crate::probe::attribution::Uri;
use crate::units;

const NAME: &str = "probing-txt";
/// How long the file is valid if nothing else is said. Longer: a contact that is gone stays for longer. Shorter: the
/// file has to be renewed more often.
const VALID_FOR: &str = "180d";
/// Longest time that a file should be valid (RFC 9116, section 2.5.5).
const VALID_DAYS_MAX: i64 = 366;
const SECONDS_PER_DAY: i64 = 86_400;
/// Longest subtag of a language (RFC 5646, section 2.1).
const SUBTAG_LEN_MAX: usize = 8;

const EXAMPLES: &str = "\
Examples:
  xdpmap probing-txt --contact mailto:scan@example.org --languages en -o /var/www/html/.well-known/probing.txt
  xdpmap -M icmp_echoscan --attribution https://scan.example.org/.well-known/probing.txt   a scan that names it";

/// Write the file that says who sends probes, and why: /.well-known/probing.txt (RFC 9511).
///
/// Serve it over HTTPS at the names and addresses that the probes come from, so that whoever looks them up finds it. A
/// scan names it with --attribution.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "xdpmap probing-txt", version, after_help = EXAMPLES, max_term_width = 110)]
pub(super) struct ProbingTxtOptions {
    /// Whom to write to or call: mailto:ADDRESS, tel:NUMBER or an https:// page; may be given several times, the
    /// preferred one first
    #[arg(long, value_name = "URI", required = true, value_parser = str::parse::<Uri>)]
    contact: Vec<Uri>,

    /// Where the file is: https://NAME/.well-known/probing.txt; may be given several times
    #[arg(long, value_name = "URI", value_parser = page)]
    canonical: Vec<Uri>,

    /// Until when the file is valid: a date, a time (2027-03-01T00:00:00Z), or how long from now, such as 90d
    #[arg(long, value_name = "WHEN", default_value = VALID_FOR)]
    expires: String,

    /// Languages that the contact understands, comma separated, such as en,fr
    #[arg(long, value_name = "TAGS", value_parser = languages)]
    languages: Option<String>,

    /// What is measured and why, in one line
    #[arg(long, value_name = "TEXT", value_parser = line)]
    description: Option<String>,

    /// File to write to, instead of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output_file: Option<PathBuf>,

    #[command(flatten)]
    log: LogOptions,
}

pub(super) fn run(options: ProbingTxtOptions) -> Result<(), Failure> {
    start_log(NAME, &options.log)?;
    let failed = |what| Failure::usage(NAME, what);
    let now = Timestamp::now();
    let expires = expiry(&options.expires, now).map_err(|what| failed(format!("--expires: {what}")))?;
    if expires.duration_since(now) > days(VALID_DAYS_MAX) {
        warn!(target: "probing-txt", "--expires: RFC 9116 recommends less than a year; the contact may be gone by then");
    }
    let text = text_of(&options, expires);
    let mut out = Destination::open(options.output_file.as_deref()).map_err(failed)?;
    out.write_all(text.as_bytes()).map_err(|error| out.failure(NAME, &error))?;
    out.finish().map_err(failed)
}

/// The file, in the order of RFC 9511's example.
fn text_of(options: &ProbingTxtOptions, expires: Timestamp) -> String {
    let mut text = "# Probes of a network measurement, described as RFC 9511 has it.\n".to_owned();
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    };
    options.canonical.iter().for_each(|uri| field("Canonical", uri));
    options.contact.iter().for_each(|uri| field("Contact", uri));
    field("Expires", &expires);
    options.languages.iter().for_each(|tags| field("Preferred-Languages", tags));
    options.description.iter().for_each(|what| field("Description", what));
    text
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count * SECONDS_PER_DAY)
}

/// The time that `text` says, in whole seconds.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || {
        "give a date such as 2027-03-01, a time such as 2027-03-01T00:00:00Z, or how long from now, such as 90d".to_owned()
    };
    let at_midnight = |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    let time = match (text.parse::<Timestamp>(), text.parse::<Date>(), units::time(text)) {
        (Ok(time), ..) => Some(time),
        (_, _, Some(span)) if text.ends_with(|c: char| c.is_ascii_alphabetic()) => now.checked_add(span).ok(),
        (_, Ok(date), _) => at_midnight(date),
        _ => None,
    };
    let time = time.and_then(|time| Timestamp::from_second(time.as_second()).ok()).ok_or_else(wrong)?;
    if time <= now { Err(format!("{time} is over; give a time to come")) } else { Ok(time) }
}

/// A page on the web.
fn page(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error: crate::probe::attribution::UriError| error.to_string())?;
    match uri.is_page() {
        true => Ok(uri),
        false => {
            Err("give the address of the file, such as https://example.org/.well-known/probing.txt"
                .to_owned())
        }
    }
}

/// Tags of languages with commas between them, as RFC 5646 has them.
fn languages(text: &str) -> Result<String, String> {
    let is_tag = |tag: &str| {
        let mut subtags = tag.split('-');
        let is_language = |tag: &str| {
            (2..=SUBTAG_LEN_MAX).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphabetic())
        };
        let is_subtag = |tag: &str| {
            (1..=SUBTAG_LEN_MAX).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        subtags.next().is_some_and(is_language) && subtags.all(is_subtag)
    };
    let tags: Vec<&str> = text.split(',').map(str::trim).collect();
    match tags.iter().find(|tag| !is_tag(tag)) {
        Some(wrong) => Err(format!("'{wrong}' is not a language's tag; give for example en,fr,de-CH")),
        None => Ok(tags.join(", ")),
    }
}

/// A text in one line.
fn line(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; say what is measured and why".to_owned()),
        text if text.contains(char::is_control) => {
            Err("it has a line end or another control character; write one line (RFC 9511, section 3.2)"
                .to_owned())
        }
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;

    use super::*;

    fn options(line: &[&str]) -> Result<ProbingTxtOptions, clap::Error> {
        ProbingTxtOptions::try_parse_from([&["xdpmap probing-txt"], line].concat())
    }

    #[test]
    fn the_file() {
        let line = [
            "--contact",
            "mailto:scan@example.org",
            "--contact",
            "tel:+1-201-555-0123",
            "--canonical",
            "https://example.org/.well-known/probing.txt",
            "--languages",
            "en,fr",
            "--description",
            "Caf\u{e9}s online",
        ];
        let text = text_of(&options(&line).unwrap(), "2027-03-01T00:00:00Z".parse().unwrap());
        let expected = "\
# Probes of a network measurement, described as RFC 9511 has it.
Canonical: https://example.org/.well-known/probing.txt
Contact: mailto:scan@example.org
Contact: tel:+1-201-555-0123
Expires: 2027-03-01T00:00:00Z
Preferred-Languages: en, fr
Description: Caf\u{e9}s online
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_refused() {
        let contact = ["--contact", "mailto:a@b"];
        assert!(options(&[]).is_err());
        for line in [
            ["--contact", "a@b"],
            ["--canonical", "mailto:a@b"],
            ["--canonical", "http://a/"],
            ["--languages", "en,,fr"],
            ["--languages", "english please"],
            ["--description", "two\nlines"],
            ["--description", " "],
        ] {
            assert!(options(&[contact, line].concat()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-12-01T10:00:00.5Z".parse().unwrap();
        for (text, expected) in [
            ("90d", "2027-03-01T10:00:00Z"),
            ("2027-03-01", "2027-03-01T00:00:00Z"),
            ("2027-03-01T05:06:07+01:00", "2027-03-01T04:06:07Z"),
        ] {
            assert_eq!(expiry(text, now).unwrap().to_string(), expected);
        }
        for (text, words) in [
            ("", "give a date"),
            ("soon", "give a date"),
            ("2026-12-01", "is over"),
            ("0s", "is over"),
            ("5", "give a date"),
        ] {
            assert!(expiry(text, now).unwrap_err().contains(words), "{text}");
        }
        assert!(expiry(VALID_FOR, now).is_ok());
    }

    proptest! {
        /// Whatever is accepted, every field is one line.
        #[test]
        fn a_field_is_a_line(contact in "mailto:\\PC{0,9}@\\PC{1,9}", tags in "[a-zA-Z0-9, -]{0,20}", what in "(\\PC|\n){0,30}") {
            let line = ["--contact", &contact, "--languages", &tags, "--description", &what];
            if let Ok(options) = options(&line) {
                let text = text_of(&options, Timestamp::UNIX_EPOCH);
                prop_assert_eq!(text.lines().count(), 5, "{}", text);
            }
        }
    }
}
