//! Reads a list and splits it into lines.
//!
//! A line ends at a line feed, at a carriage return, at both together, or at a form feed. Whichever program wrote the
//! file, the text after one of them is a new line, and never the rest of a comment. A form feed does not begin a new
//! line number, as in editors. A byte-order mark at the start is not part of the first line.

use std::io::{self, BufRead, BufReader, Read};

use super::error::ListError;

/// Bytes per read. Fewer cost more calls; more only take memory.
const READ_LEN: usize = 1 << 20;

/// The byte-order mark of UTF-8.
pub const MARK: &[u8] = b"\xef\xbb\xbf";

/// A line of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Its text, without the line end.
    pub(super) text: &'a [u8],
    /// Whether the text is complete.
    pub(super) is_whole: bool,
}

/// Calls `take` with each line of `input`, which is named `file` in messages. At least the first `len_max` bytes of a
/// line are kept.
pub(super) fn for_each(
    file: &str,
    input: impl Read,
    len_max: usize,
    mut take: impl FnMut(Line<'_>) -> Result<(), ListError>,
) -> Result<(), ListError> {
    let mut input = BufReader::with_capacity(READ_LEN, input);
    let mut number = 1u32;
    // The unfinished line at the end of the last piece, and whether all of it was kept.
    let (mut begun, mut is_whole) = (Vec::new(), true);
    let (mut is_first, mut after_return) = (true, false);
    loop {
        let piece = match input.fill_buf() {
            Ok([]) => break,
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ListError::of_read(file, source)),
        };
        let mut rest = piece;
        while let Some(end) = memchr::memchr3(b'\n', b'\r', b'\x0c', rest) {
            let (text, byte) = (&rest[..end], rest[end]);
            rest = &rest[end + 1..];
            if after_return && byte == b'\n' && text.is_empty() && begun.is_empty() {
                after_return = false;
                continue;
            }
            if begun.is_empty() && !is_first {
                take(Line { number, text, is_whole: true })?;
            } else {
                is_whole &= keep(&mut begun, text, len_max);
                let text = if is_first { first(file, &begun)? } else { &begun };
                take(Line { number, text, is_whole })?;
                begun.clear();
                (is_first, is_whole) = (false, true);
            }
            after_return = byte == b'\r';
            number = number.saturating_add(u32::from(byte != b'\x0c'));
        }
        if !rest.is_empty() {
            is_whole &= keep(&mut begun, rest, len_max);
        }
        let len = piece.len();
        input.consume(len);
    }
    if begun.is_empty() {
        return Ok(());
    }
    let text = if is_first { first(file, &begun)? } else { &begun };
    take(Line { number, text, is_whole })
}

/// The first line of a file without the byte-order mark that some editors write.
fn first<'a>(file: &str, line: &'a [u8]) -> Result<&'a [u8], ListError> {
    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        return Err(ListError::Encoding { file: file.to_owned() });
    }
    Ok(line.strip_prefix(MARK).unwrap_or(line))
}

/// Appends as much to a line as fits; returns whether everything did.
fn keep(line: &mut Vec<u8>, more: &[u8], len_max: usize) -> bool {
    let room = len_max.saturating_sub(line.len());
    line.extend_from_slice(&more[..more.len().min(room)]);
    more.len() <= room
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a few bytes at a time, as a pipe may.
    pub(in super::super) struct Trickle<'a>(pub(in super::super) &'a [u8], pub(in super::super) usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(out.len());
            let (now, later) = self.0.split_at(len);
            out[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

    fn lines(text: &[u8], piece: usize, len_max: usize) -> Vec<(u32, String, bool)> {
        let mut lines = vec![];
        let took = for_each("list", Trickle(text, piece), len_max, |line| {
            lines.push((line.number, line.text.escape_ascii().to_string(), line.is_whole));
            Ok(())
        });
        took.unwrap();
        lines
    }

    #[test]
    fn every_end_of_a_line() {
        let text = b"\xef\xbb\xbfa\nb\r\nc\rd\x0ce\n\r\n\rf\r\n\n\xef\xbb\xbf";
        let expected = [
            (1, "a"),
            (2, "b"),
            (3, "c"),
            (4, "d"),
            (4, "e"),
            (5, ""),
            (6, ""),
            (7, "f"),
            (8, ""),
            (9, "\\xef\\xbb\\xbf"),
        ];
        for piece in [1, 2, 3, 5, 100] {
            let found = lines(text, piece, 100);
            let expected: Vec<_> =
                expected.iter().map(|&(number, text)| (number, text.to_owned(), true)).collect();
            assert_eq!(found, expected, "{piece}");
        }
        assert!(lines(b"", 1, 10).is_empty());
    }

    #[test]
    fn long_lines_are_known_as_such() {
        assert_eq!(
            lines(b"12345678\n123\n", 2, 4),
            [(1, "1234".to_owned(), false), (2, "123".to_owned(), true)]
        );
    }

    #[test]
    fn utf_16_is_refused() {
        for text in [&b"\xff\xfe1\0.\0\n\0"[..], b"\xfe\xff\x001"] {
            let error = for_each("list", text, 100, |_| Ok(())).unwrap_err().to_string();
            assert!(error.starts_with("list is UTF-16") && error.contains("save it as UTF-8"), "{error}");
        }
    }

    proptest! {
        /// Only the bytes of line ends are lost, and none is moved, however the list arrives.
        #[test]
        fn lines_are_the_text_less_its_ends(text in "[ab\r\n\x0c]{0,40}", piece in 1usize..9) {
            let found: String = lines(text.as_bytes(), piece, 100).into_iter().map(|line| line.1).collect();
            let expected: String = text.chars().filter(char::is_ascii_alphabetic).collect();
            prop_assert_eq!(found, expected);
            let whole = lines(text.as_bytes(), 1_000, 100);
            let last = text.replace("\r\n", "\n").chars().filter(|c| matches!(c, '\r' | '\n')).count();
            prop_assert!(whole.last().is_none_or(|line| line.0 as usize <= last + 1));
            prop_assert_eq!(lines(text.as_bytes(), piece, 100), whole);
        }
    }
}
