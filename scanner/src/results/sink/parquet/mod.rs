//! Columns in Parquet files.
//!
//! A Parquet file is unusable before its footer is written. So a file has an interim name, with `.part` at the end,
//! until it is complete. The next one is begun after [`FILE_ROWS`] rows or [`FILE_TIME`], or when a flag says so.
//! Whatever ends the scan, each existing `*.parquet` file is readable. A checkpoint ends a row group and keeps the
//! footer that the file would have now. A scan that goes on completes the file by it, and writes to the next one.
//!
//! What the files of a scan have in common is in `table`.

mod partitioned;
mod table;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::SerializedFileWriter;

use super::{Rotation, Series, Sink, Start};
use crate::printable::printable;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet};
use crate::results::output::{Output, OutputError, Patience, Place};
pub use partitioned::PartitionedSink;
use table::{Content, Rows, Table};

/// Rows that are gathered and then written column by column. Fewer compress less well; more would occupy the collector
/// for longer than a worker's ring can bridge.
const GROUP_ROWS: usize = 1 << 15;
/// Rows after which a file is complete, unless a flag says otherwise. Fewer make many small files; more lose more
/// results when a scan is killed.
const FILE_ROWS: u64 = 1 << 20;
/// Time after which a file is complete, unless a flag says otherwise. Shorter makes many small files; longer loses more
/// results when a scan is killed.
const FILE_TIME: Duration = Duration::from_secs(300);

/// Longest footer that a checkpoint may hold. A checkpoint ends a row group, so many checkpoints make many groups, and
/// each takes some hundred bytes for each column. Shorter makes many small files; longer makes checkpoints that take
/// long to write.
const FOOTER_MAX: usize = 64 * 1024;

/// Writes typed columns, one file after the other.
pub struct ParquetSink {
    table: Table,
    series: Series,
    by_rows: bool,
    writer: Option<SerializedFileWriter<Output>>,
    rows: Rows,
    content: Content,
}

impl ParquetSink {
    /// Opens the first file. Each file has `scan` in its metadata, unless that is empty.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(
        fields: FieldSet,
        scan: &str,
        file: &Path,
        start: Start,
        rotation: Rotation,
    ) -> Result<Self, OutputError> {
        let otherwise = Rotation { after: Some(FILE_TIME), bytes: None };
        let mut series = Series::open_parts(file, &start, rotation, otherwise)?;
        // A destination that is not a file has no next one.
        let by_rows = !rotation.is_on() && series.output().is_file();
        let table = Table::new(fields, scan)
            .map_err(|error| OutputError::from_write(&printable(file), error.into()))?;
        let rows = table.rows();
        Ok(Self { table, series, by_rows, writer: None, rows, content: Content::default() })
    }

    fn failed(&self, error: ParquetError) -> OutputError {
        table::failed(self.series.name(), error)
    }

    fn begin_file(&mut self) -> Result<(), OutputError> {
        let output = self.series.output().again()?;
        self.writer = Some(self.table.file(output).map_err(|error| self.failed(error))?);
        self.content = Content::default();
        Ok(())
    }

    /// Writes the gathered rows as a row group.
    fn write_group(&mut self) -> Result<(), OutputError> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows.count > 0) else { return Ok(()) };
        let written = self.rows.write(writer);
        self.content.rows += written.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// What the file says of itself.
    fn described(&self) -> KeyValue {
        self.content.described(self.series.number())
    }

    /// Writes the footer.
    fn complete(&mut self) -> Result<(), OutputError> {
        self.write_group()?;
        let described = self.described();
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        writer.append_key_value_metadata(described);
        writer.finish().map(drop).map_err(|error| self.failed(error))
    }

    fn rotate(&mut self) -> Result<(), OutputError> {
        self.complete()?;
        self.series.advance()?;
        self.begin_file()
    }
}

impl Sink for ParquetSink {
    fn name(&self) -> &str {
        self.series.name()
    }

    fn begin(&mut self) -> Result<(), OutputError> {
        self.series.begin(0)?;
        self.begin_file()
    }

    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError> {
        self.table.gather(reply, extractor, &mut self.rows);
        self.content.note(reply.header().time_ns);
        if self.rows.count < GROUP_ROWS {
            return Ok(());
        }
        self.write_group()?;
        let bytes = self.writer.as_ref().map_or(0, |writer| writer.bytes_written() as u64);
        let full = self.series.is_full(bytes) || self.by_rows && self.content.rows >= FILE_ROWS;
        if full { self.rotate() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        if self.series.is_over() && self.pending() > 0 { self.rotate() } else { Ok(()) }
    }

    /// Ends a row group, and says what would make a whole file of those that are written.
    fn place(&mut self) -> Result<Place, OutputError> {
        self.write_group()?;
        let described = self.described();
        let Some(writer) = &mut self.writer else { return self.series.place_behind() };
        if self.content.rows == 0 {
            return self.series.place(0, vec![]);
        }
        let footer = writer.flush().map_err(ParquetError::from).and_then(|()| footer(writer, described));
        let bytes = writer.bytes_written() as u64;
        let footer = footer.map_err(|error| self.failed(error))?;
        if footer.len() <= FOOTER_MAX {
            return self.series.place(bytes, footer);
        }
        self.rotate()?;
        self.series.place(0, vec![])
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.complete()?;
        self.series.finish()?;
        self.content.rows = 0;
        Ok(())
    }

    fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.series.output().be_patient(patience);
    }

    /// A file without its footer is unusable, so all of its rows are pending.
    fn pending(&self) -> u64 {
        self.content.rows + self.rows.count as u64
    }
}

/// What would make a whole file of the row groups that are written.
fn footer(writer: &SerializedFileWriter<Output>, described: KeyValue) -> ParquetResult<Vec<u8>> {
    let groups = writer.flushed_row_groups().to_vec();
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let properties = writer.properties();
    let schema = Arc::new(writer.schema_descr().clone());
    let created_by = Some(properties.created_by().to_owned());
    let version = properties.writer_version().as_num();
    let pairs = properties.key_value_metadata().cloned().unwrap_or_default();
    let pairs = pairs.into_iter().chain([described]).collect();
    let metadata = FileMetaData::new(version, rows, created_by, Some(pairs), schema, None);
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &ParquetMetaData::new(metadata, groups)).finish()?;
    Ok(footer)
}
