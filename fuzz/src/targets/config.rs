//! Config files: entries that were read and written again are read as the same.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use xdpmap::cli::config::{ConfigLine, parse, quoted};

pub fn run(bytes: &[u8]) {
    match parse(bytes) {
        Err(bad) => assert!((1..=bytes.split(|&byte| byte == b'\n').count()).contains(&bad.line)),
        Ok(entries) => {
            let line = |entry: &ConfigLine| {
                let value = entry.value.as_ref().map(|value| [b" ", quoted(value).as_bytes()].concat());
                [entry.name.as_bytes(), &value.unwrap_or_default(), b"\n"].concat()
            };
            let written: Vec<u8> = entries.iter().flat_map(line).collect();
            let again = parse(&written).expect("what we write");
            assert_eq!(again.len(), entries.len());
            for (entry, again) in entries.iter().zip(&again) {
                assert_eq!((&entry.name, &entry.value), (&again.name, &again.value));
            }
        }
    }
    let value = OsStr::from_bytes(bytes);
    let written = [b"notes ", quoted(value).as_bytes()].concat();
    let entries = parse(&written).expect("any value can be written");
    assert_eq!(entries[0].value.as_deref(), Some(value));
}
