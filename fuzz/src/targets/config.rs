//! Config files: what is read, written again, is read as the same.

use xdpmap::cli::config::{parse, quoted};

pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match parse(text) {
        Err(bad) => assert!((1..=text.lines().count()).contains(&bad.line)),
        Ok(entries) => {
            let line = |entry: &xdpmap::cli::config::Entry| {
                entry.value.as_ref().map_or_else(
                    || format!("{}\n", entry.name),
                    |value| format!("{} {}\n", entry.name, quoted(value)),
                )
            };
            let written: String = entries.iter().map(line).collect();
            let again = parse(&written).expect("what we write");
            assert_eq!(again.len(), entries.len());
            for (entry, again) in entries.iter().zip(&again) {
                assert_eq!((&entry.name, &entry.value), (&again.name, &again.value));
            }
        }
    }
    let written = format!("notes {}", quoted(text));
    let entries = parse(&written).expect("any value can be written");
    assert_eq!(entries[0].value.as_deref(), Some(text));
}
