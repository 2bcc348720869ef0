//! Cutting a stream into rows as it arrives.
//!
//! A row ends at a line feed; in CSV not at one inside quotes (RFC 4180), where a quote counts only at the start of a
//! field: text that happens to hold a quote must not swallow the rows after it.

/// Longest row that is kept whole. Of a longer one, the rest is passed over.
pub const ROW_MAX: usize = 1 << 24;

/// Cuts rows out of pieces of a stream.
#[derive(Debug, Default)]
pub struct RowSplitter {
    /// The row that the last piece ended in.
    begun: Vec<u8>,
    /// Whether line feeds inside quotes belong to the row.
    csv: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the start of a field.
    #[default]
    Start,
    /// In a field without quotes, or after its closing quote.
    Field,
    /// Inside quotes.
    Quoted,
    /// After a quote inside quotes: the closing one, unless another follows.
    Quote,
}

impl State {
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
    /// From the next row on, quotes mean what they mean in CSV.
    pub fn expect_csv(&mut self) {
        self.csv = true;
    }

    /// Calls `take` with each row that ends in `piece`, its line feed included. `take` gets the splitter, too, as the
    /// first row may say what the others are.
    ///
    /// # Errors
    /// That of `take`.
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

    /// The row without a line feed at the stream's end, if there is one.
    pub fn last(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }

    /// The place after the line feed that ends the present row.
    fn end_of_row(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.csv {
            return memchr::memchr(b'\n', bytes).map(|at| at + 1);
        }
        for (i, &byte) in bytes.iter().enumerate() {
            let quoted = self.state == State::Quoted;
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
        /// What the CSV writer writes is cut where it ended its records.
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
