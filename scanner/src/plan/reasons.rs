//! Why networks are on a block list: each reason with its date, and how much is left out for it.
//!
//! What always holds: the tallies of a list's reasons, of other reasons and of none add up to all of its networks.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use jiff::civil::Date;
use targets::list::List;
use targets::reasons::Tally;

use crate::printable::printable;
use crate::units::grouped;

/// Most reasons of a list that are named, those with most networks. Fewer: a list of opt-outs is hardly told. More: the
/// metadata of each scan get long.
pub const NAMED_MAX: usize = 100;

/// Why some networks of a list are on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The date that it begins with, such as the day on which somebody opted out.
    pub date: Option<Date>,
    /// What is behind the date, printable and on one line.
    pub text: String,
    /// What is on the list for it.
    pub tally: Tally,
}

impl Reason {
    fn new(text: &[u8], tally: Tally) -> Self {
        let (date, text) = dated(text);
        Self { date, text: printable(OsStr::from_bytes(text)), tally }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.date, self.text.is_empty()) {
            (Some(date), true) => write!(f, "{date}"),
            (Some(date), false) => write!(f, "{date} {}", self.text),
            (None, _) => f.write_str(&self.text),
        }
    }
}

/// The reasons of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// The [`NAMED_MAX`] that have most networks, those with most first.
    pub named: Vec<Reason>,
    /// All other reasons together.
    pub others: Tally,
    /// What has no reason.
    pub without: Tally,
}

impl Reasons {
    /// Those of a block list whose host names have been looked up.
    pub fn of(list: &List) -> Self {
        let (named, others) = list.reasons.most_frequent(NAMED_MAX);
        let named = named.into_iter().map(|(text, tally)| Reason::new(text, tally)).collect();
        Self { named, others, without: list.reasons.without() }
    }

    /// The first `most` reasons in lines, and the rest in others; nothing for a list without any reason.
    pub(super) fn told(&self, most: usize) -> Vec<String> {
        if self.named.is_empty() {
            return Vec::new();
        }
        let (named, more) = self.named.split_at(most.min(self.named.len()));
        let mut others = self.others;
        more.iter().for_each(|reason| others.add(reason.tally));
        let mut lines: Vec<String> =
            named.iter().map(|reason| format!("{reason}: {}", told(reason.tally))).collect();
        let rest = [("other reasons", others), ("without a reason", self.without)];
        let rest = rest.iter().filter(|(_, tally)| tally.networks > 0);
        lines.extend(rest.map(|(what, tally)| format!("{what}: {}", told(*tally))));
        lines
    }
}

/// A tally in words.
fn told(Tally { networks, addresses }: Tally) -> String {
    let (of_networks, of_addresses) =
        (if networks == 1 { "" } else { "s" }, if addresses == 1 { "" } else { "es" });
    format!("{} network{of_networks}, {} address{of_addresses}", grouped(networks), grouped(addresses))
}

/// The date that a reason begins with, and the rest.
fn dated(text: &[u8]) -> (Option<Date>, &[u8]) {
    /// Length of `2026-03-01`.
    const DATE_LEN: usize = 10;
    let Some((first, rest)) = text.split_at_checked(DATE_LEN) else { return (None, text) };
    let is_end = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b',' | b':' | b';'));
    let date = str::from_utf8(first)
        .ok()
        .filter(|_| is_end)
        .and_then(|first| Date::strptime("%Y-%m-%d", first).ok());
    let signs = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b',' | b':' | b';')).count();
    date.map_or((None, text), |date| (Some(date), &rest[signs..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use targets::list::{OnBadEntry, Purpose};

    use super::*;

    fn reasons(text: &str) -> Reasons {
        Reasons::of(&List::parse("list", text.as_bytes(), Purpose::Block, OnBadEntry::Fail).unwrap())
    }

    #[test]
    fn dates() {
        for (text, date, rest) in [
            ("2026-03-01 mail from abuse@example.org", Some("2026-03-01"), "mail from abuse@example.org"),
            ("2026-03-01", Some("2026-03-01"), ""),
            ("2026-03-01: phone", Some("2026-03-01"), "phone"),
            ("2026-02-30 mail", None, "2026-02-30 mail"),
            ("2026-03-011 mail", None, "2026-03-011 mail"),
            ("mail, 2026-03-01", None, "mail, 2026-03-01"),
            ("caf\u{e9}-caf\u{e9} x", None, "caf\u{e9}-caf\u{e9} x"),
        ] {
            let reason = Reason::new(text.as_bytes(), Tally::default());
            let found = reason.date.map(|date| date.to_string());
            assert_eq!((found.as_deref(), reason.text.as_str()), (date, rest), "{text}");
        }
        assert_eq!(Reason::new(b"\x1b[2J\xff", Tally::default()).to_string(), "\\u{1b}[2J\\xff");
    }

    #[test]
    fn lines_of_a_plan() {
        let text = "10.0.0.0/24 # 2026-03-01 mail\n10.0.1.0/24 # 2026-03-01 mail\n10.1.0.0/16 # phone\n10.2.0.1 # x\n\
                    10.2.0.2 # y\n10.3.0.0/16\n";
        let found = reasons(text);
        assert_eq!(
            found.told(2),
            [
                "2026-03-01 mail: 2 networks, 512 addresses",
                "phone: 1 network, 65,536 addresses",
                "other reasons: 2 networks, 2 addresses",
                "without a reason: 1 network, 65,536 addresses"
            ]
        );
        assert_eq!(found.told(9).len(), 5);
        assert_eq!(reasons("10.0.0.1\n").told(9), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_reason_is_one_line(text in prop::collection::vec(any::<u8>(), 0..40), date: bool) {
            let text = if date { [b"2026-03-01", &text[..]].concat() } else { text };
            let reason = Reason::new(&text, Tally::default());
            prop_assert!(!reason.to_string().contains(char::is_control));
        }
    }
}
