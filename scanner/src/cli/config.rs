//! The format of config files, which is ZMap's: an option a line, by its long name without dashes.
//!
//! `name`, `name value` or `name = value`; what follows a `#` is a comment. A value with blanks or a `#` in it is put in
//! quotes: in single ones it is taken as it is, in double ones `\"` stands for a quote, `\\` for a backslash and `\n`
//! for a line feed, and any other backslash for itself. [`quoted`] writes what [`parse`] reads. A line is understood to its
//! end, or it is an error; lines end as on Unix or Windows.

/// A line that sets an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub line: usize,
    /// The option's name.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<String>,
}

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it, as a sentence without a stop.
    pub what: &'static str,
}

/// The entries of a config file, in order.
///
/// # Errors
/// The first line that is none.
pub fn parse(text: &str) -> Result<Vec<Entry>, BadLine> {
    let mut entries = Vec::new();
    // Some editors put a byte-order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (i, line) in text.lines().enumerate() {
        let bad = |what| BadLine { line: i + 1, what };
        if let Some((name, value)) = entry(line).map_err(bad)? {
            entries.push(Entry { line: i + 1, name: name.to_owned(), value });
        }
    }
    Ok(entries)
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t' || c == '\r'
}

/// Name and value of a line; `None` if it sets nothing.
fn entry(line: &str) -> Result<Option<(&str, Option<String>)>, &'static str> {
    let line = line.trim_start_matches(is_blank);
    if ends(line)? {
        return Ok(None);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let (name, rest) = line.split_at(line.find(|c| !is_name(c)).unwrap_or(line.len()));
    if name.is_empty() {
        return Err("an option's name is missing; write such as: rate 5000");
    }
    if name.starts_with('-') {
        return Err("write options without dashes, such as: rate 5000");
    }
    let after_blanks = rest.trim_start_matches(is_blank);
    let (given, rest) = match after_blanks.strip_prefix('=') {
        Some(value) => (true, value.trim_start_matches(is_blank)),
        None if after_blanks.len() == rest.len() && !ends(rest)? => {
            return Err("put a blank or an = between an option and its value");
        }
        None => (!ends(after_blanks)?, after_blanks),
    };
    if !given {
        return Ok(Some((name, None)));
    }
    let (value, rest) = value(rest)?;
    match ends(rest.trim_start_matches(is_blank))? {
        true => Ok(Some((name, Some(value)))),
        false => Err("something follows the value; put a value with blanks or quotes in it in quotes"),
    }
}

/// Whether nothing more is said in a line.
fn ends(rest: &str) -> Result<bool, &'static str> {
    let is_comment = rest.starts_with('#');
    // A file whose lines all end so would be one comment.
    if is_comment && rest.trim_end_matches('\r').contains('\r') {
        return Err("a comment goes on behind a carriage return; end lines by line feeds");
    }
    Ok(is_comment || rest.is_empty())
}

/// A value, and what follows it.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    const OPEN: &str = "a quote is not closed; close it in the same line";
    if let Some(text) = text.strip_prefix('\'') {
        let (value, rest) = text.split_once('\'').ok_or(OPEN)?;
        return Ok((value.to_owned(), rest));
    }
    let Some(text) = text.strip_prefix('"') else {
        let end = text.find(|c| is_blank(c) || matches!(c, '#' | '\'' | '"')).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        let next = text[at + c.len_utf8()..].chars().next();
        match (c, next) {
            ('"', _) => return Ok((value, &text[at + 1..])),
            ('\\', Some(escaped @ ('"' | '\\' | 'n'))) => {
                value.push(if escaped == 'n' { '\n' } else { escaped });
                characters.next();
            }
            _ => value.push(c),
        }
    }
    Err(OPEN)
}

/// `value` as a config file has it: in quotes if need be.
pub fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '\'' | '"' | '\\' | '=');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Option<(String, Option<String>)> {
        let entries = parse(line).unwrap();
        assert!(entries.len() <= 1);
        entries.into_iter().next().map(|entry| (entry.name, entry.value))
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
            let error = parse(&format!("quiet\n{line}\n")).unwrap_err();
            assert!(error.line == 2 && error.what.contains(words), "{line}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read(values in prop::collection::vec("(?s).*", 0..5)) {
            let text: String = values.iter().map(|value| format!("notes = {} # x\n", quoted(value))).collect();
            let read: Vec<_> = parse(&text).unwrap().into_iter().map(|entry| entry.value.unwrap()).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(?s).*|([a-z-]{0,9}[ =]?['\"\\\\#]?[a-z\\\\'\" #]{0,9}\n){0,5}") {
            match parse(&text) {
                Ok(entries) => {
                    prop_assert!(entries.iter().all(|e| e.line <= text.lines().count() && !e.name.is_empty()));
                }
                Err(bad) => prop_assert!(bad.line <= text.lines().count()),
            }
        }
    }
}
