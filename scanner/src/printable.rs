//! Names from the system, which are bytes, as text for messages and metadata.
//!
//! What always holds: the text is printable and on one line, and different names give different texts as far as
//! they are text. Bytes that are not UTF-8 are written as `\xe9`, control characters as `
//! ` or `\u{1b}`; everything else stands for itself.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

/// `name` as printable text.
pub fn printable(name: impl AsRef<OsStr>) -> String {
    let mut text = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_escaped() {
        for (name, text) in [
            (&b"results.csv"[..], "results.csv"),
            ("caf\u{e9} \\ \"x\".csv".as_bytes(), "caf\u{e9} \\ \"x\".csv"),
            (b"caf\xe9.csv", "caf\\xe9.csv"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"a\nb\x1b[2J\xc2\x9b", "a\\nb\\u{1b}[2J\\u{9b}"),
            (b"", ""),
        ] {
            assert_eq!(printable(OsStr::from_bytes(name)), text);
        }
    }
}
