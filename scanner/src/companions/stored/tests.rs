use std::fs;
use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// A file with these bytes, in a folder that lives as long.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a file has: its rows, and the lines that are not understood.
fn everything(bytes: &[u8], fields: Option<&[String]>, wanted: &[&str]) -> (Vec<Vec<String>>, Vec<u64>, End) {
    let (_folder, path) = file(bytes);
    let stored = StoredFile::open(&path, fields).unwrap();
    let (mut rows, mut bad) = (vec![], vec![]);
    let end = stored.read(wanted, &mut |item| {
        match item {
            Item::Row(row) => {
                rows.push(row.cells.iter().map(|cell| cell.clone().unwrap_or_default()).collect());
            }
            Item::Bad { line, .. } => bad.push(line),
            Item::Header(_) => {}
        }
        Ok(())
    });
    (rows, bad, end.unwrap())
}

fn refused(bytes: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    StoredFile::open(&path, None).unwrap_err()
}

const WANTED: [&str; 3] = ["saddr", "sport", "success"];

#[test]
fn one_result_in_each_format() {
    let fields = ["saddr", "sport", "success"].map(str::to_owned);
    for (text, fields) in [
        (&b"saddr,sport,success\n192.0.2.1,80,1\n"[..], None),
        (b"success,x,sport,saddr\n1,\"a,\n\",80,192.0.2.1\n", None),
        (b"192.0.2.1,80,1\n", Some(&fields[..])),
        (b"saddr,sport,success\n192.0.2.1,80,1\n", Some(&fields[..])),
        (b"{\"saddr\":\"192.0.2.1\",\"x\":[1,{}],\"sport\":80,\"success\":true}\n", None),
        (b" { \"success\" : true, \"sport\": 80, \"saddr\": \"192.0.2.\\u0031\" }", None),
    ] {
        for bytes in [text.to_vec(), gzip(text)] {
            let (rows, bad, end) = everything(&bytes, fields, &WANTED);
            assert_eq!(rows, [["192.0.2.1", "80", "1"]], "{}", String::from_utf8_lossy(text));
            assert_eq!((bad.len(), end), (0, End { rows: 1, cut: None }));
        }
    }
    for (text, port) in [("192.0.2.1:80\n", "80"), ("192.0.2.1,80\n", "80"), ("192.0.2.1\n", "")] {
        assert_eq!(everything(text.as_bytes(), None, &WANTED).0, [["192.0.2.1", port, ""]], "{text}");
    }
    assert_eq!(everything(b"", None, &WANTED), (vec![], vec![], End::default()));
    assert_eq!(everything(b"saddr,sport\n", None, &WANTED).2, End::default());
}

#[test]
fn rows_that_are_not_understood_have_their_lines() {
    let csv = b"saddr,classification\n192.0.2.1,\"a\nb\"\n192.0.2.2\n192.0.2.3,c,d\n\n192.0.2.4,e\n";
    let (rows, bad, end) = everything(csv, None, &["saddr"]);
    assert_eq!(rows, [["192.0.2.1"], ["192.0.2.4"]]);
    assert_eq!((bad, end), (vec![4, 5, 6], End { rows: 5, cut: None }));
    let json = b"{\"saddr\":\"192.0.2.1\"}\n{\"saddr\":}\n[]\n{} {}\n{\"saddr\":null}\n";
    let (rows, bad, _) = everything(json, None, &["saddr"]);
    assert_eq!((rows, bad), (vec![vec!["192.0.2.1".to_owned()], vec![String::new()]], vec![2, 3, 4]));
    assert_eq!(everything(b"192.0.2.1:80\nhost:80\n", None, &["saddr"]).1, [2]);
}

#[test]
fn what_is_not_read_says_so() {
    for (bytes, words) in [
        (&b"BZh91AY&SY"[..], "bzip2 -d"),
        (b"\x4d\x3c\xb2\xa1\x02\0", "pcap"),
        (b"one two\nthree\n", "has no header row"),
        (b"192.0.2.1,80,x\n", "has no header row"),
    ] {
        let what = refused(bytes);
        assert!(what.contains(words) && what.lines().count() == 1, "{what}");
    }
    assert!(StoredFile::open(Path::new("/dev/null"), None).unwrap_err().contains("not a regular file"));
    assert!(StoredFile::open(Path::new("/nonexistent"), None).unwrap_err().contains("check the path"));
}

/// However a file is cut, its end says so, unless it is cut behind a row; and what is left of the last row is none.
#[test]
fn a_cut_file_is_found() {
    let csv = b"saddr,classification\n192.0.2.1,synack\n192.0.2.22,\"a\n\"\"b\"\n";
    let json = b"{\"saddr\":\"192.0.2.1\"}\n{\"saddr\":\"192.0.2.22\",\"ttl\":64}\n";
    for whole in [&csv[..], json] {
        let ends: Vec<usize> =
            if whole == csv { vec![0, 21, 38, whole.len()] } else { vec![0, 22, whole.len()] };
        for len in 0..=whole.len() {
            // Without its line feed, an object is whole all the same.
            let is_whole = ends.contains(&len) || whole == json && ends.contains(&(len + 1)) && len > 0;
            let (rows, bad, end) = everything(&whole[..len], None, &["saddr"]);
            assert_eq!(end.cut.is_none(), is_whole, "{len} of {}", String::from_utf8_lossy(whole));
            let are_known = rows.iter().all(|row| row[0] == "192.0.2.1" || row[0] == "192.0.2.22");
            assert!(are_known && bad.is_empty(), "{len}: {rows:?} {bad:?}");
        }
        let packed = gzip(whole);
        for len in 2..packed.len() {
            assert!(
                everything(&packed[..len], Some(&["saddr".to_owned()]), &["saddr"]).2.cut.is_some(),
                "{len}"
            );
        }
    }
}

#[test]
fn columns_of_json_are_those_of_all_rows() {
    let (_folder, path) = file(b"{\"saddr\":\"192.0.2.1\"}\nx\n{\"ttl\":6,\"saddr\":\"192.0.2.2\"}\n");
    assert_eq!(StoredFile::open(&path, None).unwrap().columns().unwrap(), ["saddr", "ttl"]);
}

proptest! {
    /// What the libraries write as CSV and as JSON is read back as the same.
    #[test]
    fn both_formats_hold_the_same(
        records in prop::collection::vec(("[a-z\",\n\r\u{e9}]{0,8}", any::<u16>(), any::<bool>()), 0..12),
    ) {
        let mut csv = csv::WriterBuilder::new().from_writer(vec![]);
        csv.write_record(["saddr", "classification", "sport", "success"]).unwrap();
        let mut json = vec![];
        for (text, port, yes) in &records {
            csv.write_record(["192.0.2.1", text, &port.to_string(), if *yes { "1" } else { "0" }]).unwrap();
            let row = serde_json::json!({"success": yes, "sport": port, "classification": text, "saddr": "192.0.2.1"});
            writeln!(json, "{row}").unwrap();
        }
        let wanted = ["sport", "classification", "saddr", "success"];
        let of_csv = everything(&csv.into_inner().unwrap(), None, &wanted);
        prop_assert_eq!(&of_csv, &everything(&json, None, &wanted));
        prop_assert_eq!(of_csv.2, End { rows: records.len() as u64, cut: None });
    }

    /// Whatever the bytes: no panic, each row is one or the other, and reading twice gives the same.
    #[test]
    fn any_bytes(head in prop_oneof![Just("saddr,ttl\n"), Just("{}\n"), Just("1.2.3.4:5\n"), Just("")], bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_folder, path) = file(&[head.as_bytes(), &bytes].concat());
        if let Ok(stored) = StoredFile::open(&path, Some(&["saddr".to_owned()])) {
            let read = || {
                let mut items = 0;
                let end = stored.read(&["saddr", "ttl"], &mut |item| {
                    items += u64::from(!matches!(item, Item::Header(_)));
                    Ok(())
                });
                let end = end.unwrap();
                assert_eq!(items, end.rows);
                end
            };
            prop_assert_eq!(read(), read());
            stored.columns().unwrap();
        }
    }
}

/// What the real writer writes to Parquet is read back, and a file without its end is cut.
#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read() {
    use crate::probe::tcp_synscan;
    use crate::reply::Reply;
    use crate::reply::fields::{Extractor, FieldSet};
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::header;
    use crate::results::sink::{ParquetSink, Rotation, Sink as _, Start};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.parquet");
    let fields = FieldSet::parse("saddr,sport,success,ttl,timestamp", &tcp_synscan::FIELDS).unwrap();
    let mut sink = ParquetSink::open(fields, "", &path, Start::New, Rotation::default()).unwrap();
    sink.begin().unwrap();
    let mut extractor = Extractor::new(jiff::tz::TimeZone::UTC);
    for number in 1..=3u8 {
        let header = header(ReplyKind::SynAck, Ipv4Addr::new(192, 0, 2, number), 80, 0);
        sink.write(&Reply::new(&header, &[], false), &mut extractor).unwrap();
    }
    sink.finish().unwrap();
    let stored = StoredFile::open(&path, None).unwrap();
    assert_eq!(stored.columns().unwrap(), ["saddr", "sport", "success", "ttl", "timestamp"]);
    let mut rows = vec![];
    let read = |stored: &StoredFile, rows: &mut Vec<(u64, Vec<Option<String>>)>| {
        stored.read(&["success", "saddr", "ttl", "sport", "timestamp"], &mut |item| {
            let Item::Row(row) = item else { panic!("{item:?}") };
            rows.push((row.line, row.cells.to_vec()));
            Ok(())
        })
    };
    assert_eq!(read(&stored, &mut rows).unwrap(), End { rows: 3, cut: None });
    let cell = |text: &str| Some(text.to_owned());
    let time = cell("2026-01-31T11:00:00.042420Z");
    assert_eq!(rows[2], (3, vec![cell("1"), cell("192.0.2.3"), None, cell("80"), time]));
    let whole = fs::read(&path).unwrap();
    for len in [4, 20, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let stored = StoredFile::open(&path, None).unwrap();
        assert!(read(&stored, &mut vec![]).unwrap().cut.is_some(), "{len}");
    }
}
