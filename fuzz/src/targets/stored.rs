//! Stored results, which `xdpmap verify`, `merge` and `diff` read: each row is understood or is not, and reading twice
//! gives the same.

use std::io::Write as _;

use xdpmap::companions::stored::{End, Item, StoredFile};

/// The rows of a file, or where they are not understood, and its end.
fn read(file: &StoredFile) -> (Vec<Result<Vec<Option<String>>, u64>>, End) {
    let mut rows = vec![];
    let end = file.read(&["saddr", "sport", "success"], &mut |item| {
        match item {
            Item::Row(row) => rows.push(Ok(row.cells.to_vec())),
            Item::Bad { line, what } => {
                assert_eq!(what.lines().count(), 1, "{what}");
                rows.push(Err(line));
            }
            Item::Header(_) => {}
        }
        Ok(())
    });
    (rows, end.expect("it is a file"))
}

pub fn run(bytes: &[u8]) {
    let path = std::env::temp_dir().join(format!("xdpmap-fuzz-stored-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(bytes).expect("it is written");
    let opened = StoredFile::open(&path, None);
    match &opened {
        Ok(stored) => {
            let (rows, end) = read(stored);
            assert_eq!(rows.len() as u64, end.rows);
            assert_eq!(read(stored), (rows, end));
            stored.columns().expect("it is a file");
        }
        Err(error) => assert_eq!(error.lines().count(), 1),
    }
    std::fs::remove_file(&path).expect("it is there");
}
