//! Names from the system, which are bytes, as text for messages and metadata; and its errors as people read them.
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

/// A text with errors of the system, without the numbers that Rust writes behind their words.
pub fn without_numbers(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut parts = text.split(BEFORE);
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        match part[digits..].strip_prefix(')').filter(|_| digits > 0) {
            Some(rest) => words.push_str(rest),
            None => words.extend([BEFORE, part]),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_errors() {
        let refused = std::io::Error::from_raw_os_error(95);
        let text = format!("queue 0: {refused}: why ({refused}), and (os error x) (os error 1");
        assert_eq!(
            without_numbers(&text),
            "queue 0: Operation not supported: why (Operation not supported), and (os error x) (os error 1"
        );
        assert_eq!(without_numbers(""), "");
    }

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
