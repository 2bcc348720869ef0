//! Splits a stream into rows as it arrives, and rows of CSV into fields.
//!
//! A row ends at a line feed. In CSV a line feed inside quotes does not end it (RFC 4180). A quote counts only at the
//! start of a field, because text that happens to contain a quote must not swallow the rows after it.

/// Longest row that is kept whole; the rest of a longer one is skipped. Lower: long results are truncated. Higher: more
/// memory for input without line feeds.
pub const ROW_MAX: usize = 1 << 24;

/// Cuts rows out of pieces of a stream.
#[derive(Debug, Default)]
pub struct RowSplitter {
    /// The beginning of the row in which the last piece ended.
    begun: Vec<u8>,
    /// Whether line feeds inside quotes belong to the row.
    csv: bool,
    state: RowState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RowState {
    /// At the start of a field.
    #[default]
    Start,
    /// In a field without quotes, or after its closing quote.
    Field,
    /// Inside quotes.
    Quoted,
    /// After a quote inside quotes: it closes the field, unless another quote follows.
    Quote,
}

impl RowState {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start | Self::Quote, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Quoted, _) => Self::Quoted,
            (_, b',' | b'\n') => Self::Start,
            _ => Self::Field,
        }
    }
}

impl RowSplitter {
    /// From the next row on, quotes are treated as in CSV.
    pub fn expect_csv(&mut self) {
        self.csv = true;
    }

    /// Calls `take` with each row that ends in `piece`, including its line feed. `take` also gets the splitter, because
    /// the first row may show the format of the others.
    ///
    /// # Errors
    /// The error of `take`.
    pub fn feed<E>(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&mut Self, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = piece;
        while let Some(end) = self.end_of_row(rest) {
            let (row, later) = rest.split_at(end);
            rest = later;
            if self.begun.is_empty() {
                take(self, row)?;
            } else {
                self.keep(row);
                let begun = std::mem::take(&mut self.begun);
                take(self, &begun)?;
                self.begun = begun;
                self.begun.clear();
            }
        }
        self.keep(rest);
        Ok(())
    }

    /// The last row of the stream, if it has no line feed.
    pub fn last(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }

    /// The position after the line feed that ends the current row.
    fn end_of_row(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.csv {
            return memchr::memchr(b'\n', bytes).map(|at| at + 1);
        }
        for (i, &byte) in bytes.iter().enumerate() {
            let quoted = self.state == RowState::Quoted;
            self.state = self.state.after(byte);
            if byte == b'\n' && !quoted {
                return Some(i + 1);
            }
        }
        None
    }

    fn keep(&mut self, more: &[u8]) {
        let room = ROW_MAX.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&more[..more.len().min(room)]);
    }
}

/// The fields of one row of CSV, unquoted.
#[derive(Debug)]
pub(super) struct Fields {
    /// Created once: its tables cost more than a row.
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { reader: csv_core::Reader::new(), text: Vec::new(), ends: Vec::new() }
    }

    /// Those of a row, with or without its line feed.
    pub(super) fn of(&mut self, row: &[u8]) -> impl Iterator<Item = &[u8]> {
        let reader = &mut self.reader;
        reader.reset();
        // Unquoting never makes a row longer, and there is at most one field more than commas.
        self.text.resize(row.len() + 1, 0);
        self.ends.resize(row.iter().filter(|&&byte| byte == b',').count() + 2, 0);
        let (_, read, text, ends) = reader.read_record(row, &mut self.text, &mut self.ends);
        // A row may lack its line feed; the end of the input ends it as well.
        let (_, _, _, more) =
            reader.read_record(&row[read..], &mut self.text[text..], &mut self.ends[ends..]);
        let count = ends + if read == row.len() && row.last() != Some(&b'\n') { more } else { 0 };
        let (text, ends): (&[u8], &[usize]) = (&self.text, &self.ends);
        let mut start = 0;
        ends[..count].iter().map(move |&end| {
            let field = text.get(start..end).unwrap_or_default();
            start = end;
            field
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn rows(bytes: &[u8], piece: usize, csv: bool) -> Vec<Vec<u8>> {
        let mut splitter = RowSplitter { csv, ..RowSplitter::default() };
        let mut rows = vec![];
        for piece in bytes.chunks(piece) {
            let taken: Result<(), Infallible> = splitter.feed(piece, |_, row| {
                rows.push(row.to_vec());
                Ok(())
            });
            taken.unwrap();
        }
        rows.push(splitter.last());
        rows
    }

    #[test]
    fn quotes_hold_rows_together() {
        let text = b"a,\"b\nc\"\"\n\",d\n5\"3,\"\"\nx,y\"\n\",z";
        for piece in 1..20 {
            let rows = rows(text, piece, true);
            assert_eq!(rows, [&b"a,\"b\nc\"\"\n\",d\n"[..], b"5\"3,\"\"\n", b"x,y\"\n", b"\",z"]);
        }
        assert_eq!(rows(text, 3, false).len(), 6);
    }

    proptest! {
        /// Output of the CSV writer is split where the writer ended its records.
        #[test]
        fn records_are_cut_apart(
            records in prop::collection::vec(prop::collection::vec("[a\"\n\r,]{0,6}", 2..4), 0..12),
            piece in 1usize..40,
        ) {
            let mut expected = vec![];
            for record in &records {
                let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(vec![]);
                writer.write_record(record).unwrap();
                expected.push(writer.into_inner().unwrap());
            }
            let text = expected.concat();
            expected.push(vec![]);
            prop_assert_eq!(rows(&text, piece, true), expected);
        }

        #[test]
        fn nothing_is_lost(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..40, csv: bool) {
            let rows = rows(&bytes, piece, csv);
            prop_assert!(rows[..rows.len() - 1].iter().all(|row| row.ends_with(b"\n")));
            prop_assert_eq!(rows.concat(), bytes);
        }
    }
}
