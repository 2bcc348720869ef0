//! Takes the results of networks that have opted out since a scan out of its results.
//!
//! What always holds: no row passes that has an address of the list in a column of addresses of others, and none whose
//! address is not understood.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use targets::RangeSet;
use targets::list::{OnBadEntry, Purpose};

use crate::companions::stored::{Format, Item, Row, StoredFile, address};
use crate::lists;

/// The columns that have addresses of others, the first of which one has to be there.
const WANTED: [&str; 4] = ["saddr", "target", "responder", "icmp_responder"];

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excluded {
    /// Results that stay.
    pub(super) kept: u64,
    /// Results that were taken out, because the list has an address of theirs.
    pub(super) taken_out: u64,
    /// Rows that were taken out, because their address is not understood.
    pub(super) not_understood: u64,
}

/// The networks of a list. Host names are not looked up.
///
/// # Errors
/// What is wrong with the list, in one line.
pub(super) fn networks(path: &Path) -> Result<RangeSet, String> {
    let list =
        lists::read(path, Purpose::Block, OnBadEntry::Fail, None).map_err(|error| error.to_string())?;
    match list.names.first() {
        Some(name) => Err(format!(
            "{}:{}: {} is a host name, which is not looked up here; give its addresses",
            lists::name(path),
            name.line,
            name.name
        )),
        None => Ok(list.to_set()),
    }
}

/// Copies the rows of `files` without those of `networks` to `out`, with one header row if there is any.
///
/// # Errors
/// A file cannot be read, or `out` cannot be written.
pub(super) fn copy_without(
    files: &[StoredFile],
    networks: &RangeSet,
    out: &mut dyn Write,
) -> io::Result<Excluded> {
    let mut excluded = Excluded::default();
    for (number, file) in files.iter().enumerate() {
        let end = file.read(&WANTED, &mut |item| match item {
            Item::Header(header) if number == 0 => out.write_all(header),
            Item::Header(_) => Ok(()),
            Item::Bad { .. } => {
                excluded.not_understood += 1;
                Ok(())
            }
            Item::Row(row) => match is_in(&row, networks) {
                Some(true) => {
                    excluded.taken_out += 1;
                    Ok(())
                }
                Some(false) => {
                    excluded.kept += 1;
                    out.write_all(row.raw)?;
                    if row.raw.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") }
                }
                None => {
                    excluded.not_understood += 1;
                    Ok(())
                }
            },
        })?;
        // The beginning of a row may be of any address.
        excluded.not_understood += u64::from(end.cut.is_some());
    }
    Ok(excluded)
}

/// Whether a row has an address of these networks; `None` if an address is not understood, or there is none.
fn is_in(row: &Row<'_>, networks: &RangeSet) -> Option<bool> {
    let addresses =
        row.cells.iter().flatten().map(|text| address(text)).collect::<Option<Vec<Ipv4Addr>>>()?;
    (!addresses.is_empty()).then(|| addresses.iter().any(|address| networks.contains(address.to_bits())))
}

/// Refuses files whose rows cannot be copied into one.
///
/// # Errors
/// The first of them, in one line.
pub(super) fn refuse_unfit(files: &[StoredFile]) -> Result<(), String> {
    let [first, rest @ ..] = files else { return Ok(()) };
    for file in files {
        if file.format == Format::Parquet {
            return Err(format!(
                "{}: a Parquet file is not rewritten; leave the networks out when you read it, or let the scan write \
                 CSV or JSON",
                file.name
            ));
        }
    }
    for file in rest {
        let columns = |file: &StoredFile| file.columns().map_err(|error| error.to_string());
        let is_same = file.format == first.format
            && file.has_header == first.has_header
            && (file.format == Format::Json || columns(file)? == columns(first)?);
        if !is_same {
            let (one, other) = (&first.name, &file.name);
            return Err(format!("{one} and {other} have other formats or columns; give one at a time"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn no_address_of_the_list_passes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("list"), "198.51.100.0/24  # 2026-03-01 asked by mail\n192.0.2.7\n").unwrap();
        let networks = networks(&at("list")).unwrap();
        for (text, expected, counts) in [
            (
                "saddr,classification,responder\n192.0.2.1,\"a\nb\",192.0.2.1\n198.51.100.9,x,198.51.100.9\n\
                 192.0.2.2,icmp,192.0.2.7\n192.0.2.3\n192.0.2.300,x,192.0.2.1\n192.0.2.4,x,198.51.100",
                "saddr,classification,responder\n192.0.2.1,\"a\nb\",192.0.2.1\n",
                (1, 2, 3),
            ),
            ("192.0.2.7,80\n192.0.2.8,80\n", "192.0.2.8,80\n", (1, 1, 0)),
            ("192.0.2.7:80\n192.0.2.8:80\n", "192.0.2.8:80\n", (1, 1, 0)),
            (
                "{\"saddr\":\"192.0.2.7\"}\n{\"ttl\":5}\n{\"saddr\":\"192.0.2.8\"}",
                "{\"saddr\":\"192.0.2.8\"}\n",
                (1, 1, 1),
            ),
        ] {
            fs::write(at("results"), text).unwrap();
            let file = StoredFile::open(&at("results"), None).unwrap();
            let mut out = vec![];
            let done = copy_without(&[file], &networks, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!((done.kept, done.taken_out, done.not_understood), counts, "{text}");
        }
    }

    #[test]
    fn names_are_not_looked_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, "192.0.2.1\nhost.example\n").unwrap();
        let error = networks(&path).unwrap_err();
        assert!(error.contains("list:2: host.example is a host name"), "{error}");
    }

    #[test]
    fn files_of_other_kinds_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            StoredFile::open(&path, None).unwrap()
        };
        let (one, other) = (open("a", "saddr,ttl\n"), open("b", "saddr,sport\n"));
        assert!(refuse_unfit(&[one.clone(), other.clone()]).unwrap_err().contains("a and "));
        assert!(refuse_unfit(&[one.clone(), one]).is_ok());
        assert!(refuse_unfit(&[other, open("c", "{}\n")]).is_err());
    }
}
