//! The format of config files, which is ZMap's: one option per line, by its long name without dashes.
//!
//! A line is `name`, `name value` or `name = value`; a `#` starts a comment. A value with blanks or a `#` in it is put
//! in quotes. Between single quotes nothing is special. Between double quotes `\"` stands for a quote, `\\` for a
//! backslash and `
//! ` for a line feed; any other backslash stands for itself. [`quoted`] writes what [`parse`] reads. A line of which a
//! part is not understood is an error. Lines end as on Unix or Windows. Values need not be UTF-8, because file names
//! are not.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The byte-order mark that some editors put in front.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that sets an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigLine {
    /// Its number, from 1.
    pub line: usize,
    /// The option's name.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<OsString>,
}

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it, as a sentence without a stop.
    pub what: &'static str,
}

/// The entries of a config file, in order. Values are bytes, as names of files are.
///
/// # Errors
/// The first line that is not valid.
pub fn parse(text: &[u8]) -> Result<Vec<ConfigLine>, BadLine> {
    let mut entries = Vec::new();
    let text = text.strip_prefix(MARK).unwrap_or(text);
    for (i, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let bad = |what| BadLine { line: i + 1, what };
        if let Some((name, value)) = entry(line).map_err(bad)? {
            entries.push(ConfigLine { line: i + 1, name: name.to_owned(), value });
        }
    }
    Ok(entries)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| is_blank(byte)).count()..]
}

/// Name and value of a line; `None` if it sets nothing.
fn entry(line: &[u8]) -> Result<Option<(&str, Option<OsString>)>, &'static str> {
    let line = trim_blanks(line);
    if ends(line)? {
        return Ok(None);
    }
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let (name, rest) = line.split_at(line.iter().take_while(is_name).count());
    // ASCII alone.
    let name = str::from_utf8(name).unwrap_or_default();
    if name.is_empty() {
        return Err("an option's name is missing; write such as: rate 5000");
    }
    if name.starts_with('-') {
        return Err("write options without dashes, such as: rate 5000");
    }
    let after_blanks = trim_blanks(rest);
    let (given, rest) = match after_blanks.strip_prefix(b"=") {
        Some(value) => (true, trim_blanks(value)),
        None if after_blanks.len() == rest.len() && !ends(rest)? => {
            return Err("put a blank or an = between an option and its value");
        }
        None => (!ends(after_blanks)?, after_blanks),
    };
    if !given {
        return Ok(Some((name, None)));
    }
    let (value, rest) = value(rest)?;
    match ends(trim_blanks(rest))? {
        true => Ok(Some((name, Some(OsString::from_vec(value))))),
        false => Err("something follows the value; put a value with blanks or quotes in it in quotes"),
    }
}

/// Whether the rest of a line sets nothing more.
fn ends(rest: &[u8]) -> Result<bool, &'static str> {
    let is_comment = rest.starts_with(b"#");
    let text = &rest[..rest.len() - rest.iter().rev().take_while(|&&byte| byte == b'\r').count()];
    // A file with such line ends only would be one comment.
    if is_comment && text.contains(&b'\r') {
        return Err("a comment continues after a carriage return; end lines by line feeds");
    }
    Ok(is_comment || rest.is_empty())
}

/// A value, and the text after it.
fn value(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    const OPEN: &str = "a quote is not closed; close it in the same line";
    if let Some(text) = text.strip_prefix(b"'") {
        let end = text.iter().position(|&byte| byte == b'\'').ok_or(OPEN)?;
        return Ok((text[..end].to_vec(), &text[end + 1..]));
    }
    let Some(text) = text.strip_prefix(b"\"") else {
        let is_end = |&byte: &u8| is_blank(byte) || matches!(byte, b'#' | b'\'' | b'"');
        let (value, rest) = text.split_at(text.iter().position(is_end).unwrap_or(text.len()));
        return Ok((value.to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Err(OPEN),
            [b'"', rest @ ..] => return Ok((value, rest)),
            [b'\\', escaped @ (b'"' | b'\\' | b'n'), rest @ ..] => {
                value.push(if *escaped == b'n' { b'\n' } else { *escaped });
                rest
            }
            [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
        };
    }
}

/// `value` as it is written in a config file: in quotes if needed.
pub fn quoted(value: &OsStr) -> OsString {
    let bytes = value.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\'' | b'"' | b'\\' | b'=');
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return value.to_owned();
    }
    let mut quoted = vec![b'"'];
    for &byte in bytes {
        match byte {
            b'\n' => quoted.extend(b"\\n"),
            b'"' | b'\\' => quoted.extend([b'\\', byte]),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Option<(String, Option<String>)> {
        let entries = parse(line.as_bytes()).unwrap();
        assert!(entries.len() <= 1);
        entries
            .into_iter()
            .next()
            .map(|entry| (entry.name, entry.value.map(|value| value.into_string().unwrap())))
    }

    #[test]
    fn lines() {
        for (line, name, value) in [
            ("rate 5000", "rate", Some("5000")),
            ("  rate = 5000  # per second\r", "rate", Some("5000")),
            ("rate=5000#x", "rate", Some("5000")),
            (
                "blacklist-file \"/etc/zmap/blacklist.conf\"",
                "blacklist-file",
                Some("/etc/zmap/blacklist.conf"),
            ),
            ("notes 'it is # \"so\" \\n'", "notes", Some("it is # \"so\" \\n")),
            ("notes \"a \\\"b\\\" \\\\ \\x\\n\" # c", "notes", Some("a \"b\" \\ \\x\n")),
            ("quiet", "quiet", None),
            ("quiet # no line", "quiet", None),
            ("probe-args=", "probe-args", Some("")),
            ("probe-args ''", "probe-args", Some("")),
        ] {
            assert_eq!(one(line), Some((name.to_owned(), value.map(str::to_owned))), "{line}");
        }
        assert_eq!(one("\u{feff}rate 5"), Some(("rate".to_owned(), Some("5".to_owned()))));
        for nothing in ["", "   ", "# rate 5", "\t#", "\u{feff}", "\u{feff}# rate 5\r"] {
            assert_eq!(one(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn bad_lines_are_numbered() {
        for (line, words) in [
            ("--rate 5", "without dashes"),
            ("= 5", "name is missing"),
            ("rate 5 6", "something follows"),
            ("rate 5\"6\"", "something follows"),
            ("notes \"open", "not closed"),
            ("notes 'open", "not closed"),
            ("rate\"5\"", "between"),
            ("# ours\rrate 5", "line feeds"),
            ("rate 5 # ours\rseed 5", "line feeds"),
            ("rate 5\rseed 5", "something follows"),
            ("\u{feff}rate 5", "name is missing"),
        ] {
            let error = parse(format!("quiet\n{line}\n").as_bytes()).unwrap_err();
            assert!(error.line == 2 && error.what.contains(words), "{line}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5), text in "(?s).*") {
            let values: Vec<OsString> =
                values.into_iter().chain([text.into_bytes()]).map(OsString::from_vec).collect();
            let line = |value: &OsString| [b"notes = ", quoted(value).as_bytes(), b" # x\n"].concat();
            let file: Vec<u8> = values.iter().flat_map(line).collect();
            let read: Vec<_> = parse(&file).unwrap().into_iter().map(|entry| entry.value.unwrap()).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_text_is_read_or_refused(
            text in "(?s).*|([a-z-]{0,9}[ =]?['\"\\\\#]?[a-z\\\\'\" #]{0,9}\n){0,5}",
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            for text in [text.as_bytes(), &bytes] {
                let lines = text.split(|&byte| byte == b'\n').count();
                match parse(text) {
                    Ok(entries) => prop_assert!(entries.iter().all(|e| e.line <= lines && !e.name.is_empty())),
                    Err(bad) => prop_assert!(bad.line <= lines),
                }
            }
        }
    }
}
