//! `xdpmap blocklist --reasons`: why networks are on block lists, in a table.

use std::fmt::Write as _;
use std::path::PathBuf;

use targets::list::List;
use targets::reasons::Tally;

use crate::lists;
use crate::plan::Reasons;
use crate::units::grouped;

/// The reasons of each list in a table: networks, addresses, date and reason, those with most networks first. What
/// comes last may contain blanks.
pub(super) fn table(all: &[(&PathBuf, List)]) -> String {
    let mut text = String::new();
    for (path, list) in all {
        let reasons = Reasons::of(list);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\n  networks      addresses  date        reason", lists::name(path));
        for reason in &reasons.named {
            let date = reason.date.map_or_else(|| "-".to_owned(), |date| date.to_string());
            row(&mut text, reason.tally, &date, &reason.text);
        }
        for (tally, what) in [(reasons.others, "(other reasons)"), (reasons.without, "(no reason)")] {
            if tally.networks > 0 {
                row(&mut text, tally, "-", what);
            }
        }
    }
    text
}

fn row(text: &mut String, tally: Tally, date: &str, reason: &str) {
    let (networks, addresses) = (grouped(tally.networks), grouped(tally.addresses));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", format!("  {networks:>8}  {addresses:>13}  {date:10}  {reason}").trim_end());
}

#[cfg(test)]
mod tests {
    use targets::list::{OnBadEntry, Purpose};

    use super::*;

    #[test]
    fn a_row_for_each_reason() {
        let text = b"10.0.0.0/8 # 2026-03-01 mail from a\n10.1.0.1 # 2026-03-01 mail from a\n10.2.0.1 # phone\n10.3.0.1\n\
                     10.4.0.1 # 2026-04-01\n";
        let list = List::parse("b", text, Purpose::Block, OnBadEntry::Fail).unwrap();
        let expected = "b.conf
  networks      addresses  date        reason
         2     16,777,217  2026-03-01  mail from a
         1              1  2026-04-01
         1              1  -           phone
         1              1  -           (no reason)
";
        assert_eq!(table(&[(&PathBuf::from("b.conf"), list)]), expected);
    }
}
