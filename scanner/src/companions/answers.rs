//! What rows of results say of a host, whatever their format: for pictures, which count them.
//!
//! What always holds: rows are read once and not kept.

use std::io;

use super::stored::{End, Item, Row, StoredFile, address, is_true};

/// The columns that are read, of those that a file has.
const COLUMNS: [&str; 9] =
    ["target", "saddr", "target_port", "sport", "success", "repeat", "classification", "rtt_us", "icmp_type"];

/// Kinds of answers that are an ICMP error about a probe, and the type by which it says that the destination is
/// unreachable (RFC 792).
const ICMP_ERRORS: [&str; 3] = ["icmp", "unreach", "icmp-unreach"];
const UNREACHABLE: &str = "3";

/// A result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// The address that was probed, as far as the file says it; otherwise the one that answered.
    pub(super) address: u32,
    /// Its port; `None` if the file does not say it, or there is none.
    pub(super) port: Option<u16>,
    /// Whether it is a success. Without a column that says so, every row is one.
    pub(super) is_success: bool,
    /// Whether the target had a success before.
    pub(super) is_repeat: bool,
    /// What kind of answer it is.
    pub(super) classification: Option<&'a str>,
    /// Whether it says that the host cannot be reached. Without its type, every ICMP error does.
    pub(super) is_unreachable: bool,
    /// The round-trip time in microseconds.
    pub(super) rtt_us: Option<u64>,
}

/// What a file had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows, with or without an address.
    pub(super) rows: u64,
    /// Rows without an address that is understood.
    pub(super) not_understood: u64,
    /// Why the file cannot be whole; `None` if it is.
    pub(super) cut: Option<String>,
}

/// Gives `take` each answer of a file.
///
/// # Errors
/// The file cannot be read, or has no addresses, in one line that names it.
pub(super) fn read(file: &StoredFile, take: &mut dyn FnMut(Answer<'_>)) -> Result<Tally, String> {
    let is_empty = file.columns_known().is_empty();
    if !is_empty && !["target", "saddr"].iter().any(|column| file.may_have(column)) {
        return Err(format!("{}: there is no column saddr or target", file.name));
    }
    let mut not_understood = 0;
    let end = file.read(&COLUMNS, &mut |item| {
        match item {
            Item::Header(_) => {}
            Item::Row(row) => match answer(&row) {
                Some(answer) => take(answer),
                None => not_understood += 1,
            },
            Item::Bad { .. } => not_understood += 1,
        }
        Ok(())
    });
    let End { rows, cut } = end.map_err(|error: io::Error| error.to_string())?;
    Ok(Tally { rows, not_understood, cut })
}

fn answer<'a>(row: &Row<'a>) -> Option<Answer<'a>> {
    let cells: &'a [Option<String>] = row.cells;
    let [target, saddr, target_port, sport, success, repeat, classification, rtt_us, icmp_type] = cells
    else {
        return None;
    };
    let address = address(target.as_deref().or(saddr.as_deref())?)?.to_bits();
    Some(Answer {
        address,
        port: target_port.as_deref().or(sport.as_deref()).and_then(|port| port.parse().ok()),
        is_success: success.as_deref().is_none_or(is_true),
        is_repeat: repeat.as_deref().is_some_and(is_true),
        is_unreachable: classification.as_deref().is_some_and(|kind| ICMP_ERRORS.contains(&kind))
            && icmp_type.as_deref().is_none_or(|number| number == UNREACHABLE),
        classification: classification.as_deref(),
        rtt_us: rtt_us.as_deref().and_then(|time| time.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_each_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let found = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut found = vec![];
            let file = StoredFile::open(&path, None).unwrap();
            let tally = read(&file, &mut |answer| {
                found.push((answer.address, answer.port, answer.is_success, answer.is_repeat, answer.rtt_us));
            });
            (found, tally)
        };
        let host = 0xc000_0201;
        let (rows, tally) =
            found("saddr,sport,success,repeat,rtt_us\n192.0.2.1,80,1,0,17\nx,80,1,0,\n192.0.2.2,,0,1,");
        assert_eq!(rows[0], (host, Some(80), true, false, Some(17)));
        let tally = tally.unwrap();
        assert_eq!((tally.rows, tally.not_understood, tally.cut.is_some()), (2, 1, true));
        assert_eq!(found("192.0.2.1\n").0, [(host, None, true, false, None)]);
        assert_eq!(found("192.0.2.1:443\n").0, [(host, Some(443), true, false, None)]);
        // The router that has sent an error is not the host that was probed.
        let json = "{\"saddr\":\"192.0.2.9\",\"target\":\"192.0.2.1\",\"success\":false}\n";
        assert_eq!(found(json).0, [(host, None, false, false, None)]);
        assert_eq!(
            found("sport,ttl\n80,64\n").1.unwrap_err().split(": ").nth(1),
            Some("there is no column saddr or target")
        );
        assert_eq!(found("").1.unwrap().rows, 0);
    }

    #[test]
    fn what_is_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        for (text, expected) in [
            (
                "saddr,classification\n192.0.2.1,icmp\n192.0.2.2,unreach\n192.0.2.3,rst\n192.0.2.4,\n",
                vec![1, 2],
            ),
            (
                "saddr,classification,icmp_type\n192.0.2.1,icmp,3\n192.0.2.2,icmp,11\n192.0.2.3,icmp-unreach,\n",
                vec![1, 3],
            ),
            ("saddr\n192.0.2.1\n", vec![]),
        ] {
            std::fs::write(&path, text).unwrap();
            let mut found = vec![];
            let file = StoredFile::open(&path, None).unwrap();
            read(&file, &mut |answer| found.extend(answer.is_unreachable.then_some(answer.address & 0xff)))
                .unwrap();
            assert_eq!(found, expected, "{text}");
        }
    }
}
