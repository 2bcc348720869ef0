//! Results as text: CSV, JSON lines, and `address:port`.

use std::io::{self, Read as _};

use super::{End, Format, Item, Row, StoredFile, Take, address, json};
use crate::companions::rows::{Fields, RowSplitter};

/// Bytes read at a time. Fewer: more system calls. More: only memory.
const READ_LEN: usize = 1 << 16;

/// Rows on their way from bytes to values.
struct Rows<'a> {
    file: &'a StoredFile,
    wanted: &'a [&'a str],
    /// Where each column of CSV is wanted.
    places: Vec<Option<usize>>,
    split: Fields,
    cells: Vec<Option<String>>,
    line: u64,
    rows: u64,
    expects_header: bool,
}

pub(super) fn read(file: &StoredFile, wanted: &[&str], take: Take<'_>) -> io::Result<End> {
    let place = |column: &String| wanted.iter().position(|wanted| wanted == column);
    let mut rows = Rows {
        file,
        wanted,
        places: file.columns.iter().map(place).collect(),
        split: Fields::new(),
        cells: vec![None; wanted.len()],
        line: 1,
        rows: 0,
        expects_header: file.has_header,
    };
    let mut splitter = RowSplitter::default();
    if file.format == Format::Csv {
        splitter.expect_csv();
    }
    let mut bytes = file.bytes().map_err(|error| file.failed(&error))?;
    let mut piece = vec![0; READ_LEN];
    loop {
        let len = match bytes.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Compressed data that are cut off or damaged.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(End { rows: rows.rows, cut: Some(error.to_string()) });
            }
            Err(error) => return Err(file.failed(&error)),
        };
        splitter.feed(&piece[..len], |_, row| rows.take(row, take))?;
    }
    let last = splitter.last();
    if last.is_empty() {
        return Ok(End { rows: rows.rows, cut: None });
    }
    if file.format == Format::Json && json::is_whole(&last) {
        rows.take(&last, take)?;
        return Ok(End { rows: rows.rows, cut: None });
    }
    let cut = format!("it ends in the middle of line {}, without a line feed", rows.line);
    Ok(End { rows: rows.rows, cut: Some(cut) })
}

impl Rows<'_> {
    fn take(&mut self, row: &[u8], take: &mut dyn FnMut(Item<'_>) -> io::Result<()>) -> io::Result<()> {
        let line = self.line;
        self.line += memchr::memchr_iter(b'\n', row).count() as u64;
        if std::mem::take(&mut self.expects_header) {
            return take(Item::Header(row));
        }
        self.rows += 1;
        self.cells.fill(None);
        let understood = match self.file.format {
            Format::Json => json::pick(row, self.wanted, &mut self.cells),
            Format::Hostport => self.pick_host(row),
            Format::Csv | Format::Parquet => self.pick_csv(row),
        };
        match understood {
            Ok(()) => take(Item::Row(Row { line, cells: &self.cells, raw: row })),
            Err(what) => take(Item::Bad { line, what }),
        }
    }

    fn pick_csv(&mut self, row: &[u8]) -> Result<(), String> {
        let mut count = 0;
        for cell in self.split.of(row) {
            if let Some(Some(place)) = self.places.get(count).copied()
                && !cell.is_empty()
            {
                self.cells[place] = Some(String::from_utf8_lossy(cell).into_owned());
            }
            count += 1;
        }
        match self.places.len() {
            columns if columns == count => Ok(()),
            columns => Err(format!("it has {count} fields, and there are {columns} columns")),
        }
    }

    fn pick_host(&mut self, row: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(row.trim_ascii());
        let (host, port) = match host_and_port(&text) {
            Some((host, port)) => (host, Some(port)),
            None if address(&text).is_some() => (&*text, None),
            None => return Err("it is not address:port".to_owned()),
        };
        for (place, value) in self.places.iter().zip([Some(host), port]) {
            if let Some(place) = *place {
                self.cells[place] = value.map(str::to_owned);
            }
        }
        Ok(())
    }
}

/// The parts of `address:port`.
pub(super) fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.split_once(':')?;
    (address(host).is_some() && port.parse::<u16>().is_ok()).then_some((host, port))
}
