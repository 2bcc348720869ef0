//! Columns in Parquet files.
//!
//! A Parquet file is unusable before its footer is written. So a file has an interim name, with `.part` at the end,
//! until it is complete. The next one is begun after [`FILE_ROWS`] rows or [`FILE_TIME`], or when a flag says so.
//! Whatever ends the scan, each existing `*.parquet` file is readable. A checkpoint ends a row group and keeps the
//! footer that the file would have now. A scan that goes on completes the file by it, and writes to the next one.
//!
//! The footer says of which scan the file is ([`SCAN_KEY`]) and which of its results it holds ([`FILE_KEY`]).

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::{Rotation, Series, Sink, Start};
use crate::printable::printable;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet, FieldType, Utc, Value};
use crate::results::output::{Output, OutputError, Patience, Place};

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

/// Key of what a file says of its scan.
const SCAN_KEY: &str = "xdpmap";
/// Key of what a file says of itself.
const FILE_KEY: &str = "xdpmap.file";
/// Level of zstd's compression. Higher ones make files a few percent smaller, and take the time in which the collector
/// has to empty the workers' rings.
const ZSTD_LEVEL: i32 = 1;

/// Writes typed columns, one file after the other.
pub struct ParquetSink {
    columns: Vec<Column>,
    fields: FieldSet,
    schema: TypePtr,
    properties: Arc<WriterProperties>,
    series: Series,
    by_rows: bool,
    writer: Option<SerializedFileWriter<Output>>,
    rows: usize,
    file_rows: u64,
    /// When the first and the last of the file's results arrived, in nanoseconds since the Unix epoch.
    arrivals: Option<(u64, u64)>,
}

/// The gathered values of a column.
struct Column {
    /// 1 where there is a value, 0 where it is null.
    present: Vec<i16>,
    values: Values,
}

enum Values {
    Numbers(Vec<i64>),
    Truths(Vec<bool>),
    /// Concatenated values, and the end of each.
    Texts(Vec<u8>, Vec<usize>),
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
        let schema =
            schema(&fields).map_err(|error| OutputError::from_write(&printable(file), error.into()))?;
        let level = ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default();
        let scan = (!scan.is_empty()).then(|| vec![KeyValue::new(SCAN_KEY.to_owned(), scan.to_owned())]);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_key_value_metadata(scan)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("xdpmap version ", env!("CARGO_PKG_VERSION")).to_owned());
        for field in fields.fields() {
            // Addresses rarely repeat in a scan of random order.
            if field.kind == FieldType::Address {
                properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name), false);
            }
        }
        Ok(Self {
            columns: fields.fields().iter().map(|field| Column::new(field.kind)).collect(),
            fields,
            schema,
            properties: Arc::new(properties.build()),
            series,
            by_rows,
            writer: None,
            rows: 0,
            file_rows: 0,
            arrivals: None,
        })
    }

    fn failed(&self, error: ParquetError) -> OutputError {
        let error = match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(error) => *error,
                Err(other) => std::io::Error::other(other),
            },
            other => std::io::Error::other(other),
        };
        OutputError::from_write(self.series.name(), error)
    }

    fn begin_file(&mut self) -> Result<(), OutputError> {
        let output = self.series.output().again()?;
        let (schema, properties) = (Arc::clone(&self.schema), Arc::clone(&self.properties));
        let writer =
            SerializedFileWriter::new(output, schema, properties).map_err(|error| self.failed(error))?;
        self.writer = Some(writer);
        self.file_rows = 0;
        self.arrivals = None;
        Ok(())
    }

    /// Writes the gathered rows as a row group.
    fn write_group(&mut self) -> Result<(), OutputError> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        write_group(writer, &mut self.columns).map_err(|error| self.failed(error))?;
        self.file_rows += self.rows as u64;
        self.rows = 0;
        Ok(())
    }

    /// What the file says of itself.
    fn described(&self) -> KeyValue {
        let [first, last] = [self.arrivals.map(|(first, _)| first), self.arrivals.map(|(_, last)| last)];
        let time = |time_ns: Option<u64>| time_ns.map(|time_ns| Utc(time_ns).to_string());
        let file = serde_json::json!({
            "number": self.series.number(),
            "rows": self.file_rows,
            "first_arrival": time(first),
            "last_arrival": time(last),
        });
        KeyValue::new(FILE_KEY.to_owned(), file.to_string())
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
        for (field, column) in self.fields.fields().iter().zip(&mut self.columns) {
            column.add(extractor.value(field, reply));
        }
        self.rows += 1;
        let time_ns = reply.header().time_ns;
        let (first, last) = self.arrivals.unwrap_or((time_ns, time_ns));
        self.arrivals = Some((first.min(time_ns), last.max(time_ns)));
        if self.rows < GROUP_ROWS {
            return Ok(());
        }
        self.write_group()?;
        let bytes = self.writer.as_ref().map_or(0, |writer| writer.bytes_written() as u64);
        let full = self.series.is_full(bytes) || self.by_rows && self.file_rows >= FILE_ROWS;
        if full { self.rotate() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        if self.series.is_over() && self.file_rows + self.rows as u64 > 0 { self.rotate() } else { Ok(()) }
    }

    /// Ends a row group, and says what would make a whole file of those that are written.
    fn place(&mut self) -> Result<Place, OutputError> {
        self.write_group()?;
        let described = self.described();
        let Some(writer) = &mut self.writer else { return self.series.place_behind() };
        if self.file_rows == 0 {
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
        self.file_rows = 0;
        Ok(())
    }

    fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.series.output().be_patient(patience);
    }

    /// A file without its footer is unusable, so all of its rows are pending.
    fn pending(&self) -> u64 {
        self.file_rows + self.rows as u64
    }
}

impl Column {
    fn new(kind: FieldType) -> Self {
        let values = match kind {
            FieldType::Int | FieldType::Time => Values::Numbers(vec![]),
            FieldType::Bool => Values::Truths(vec![]),
            FieldType::String | FieldType::Address | FieldType::Binary | FieldType::Repeated => {
                Values::Texts(vec![], vec![])
            }
        };
        Self { present: vec![], values }
    }

    /// Appends a value; a value of another type than the column's counts as null.
    fn add(&mut self, value: Value<'_>) {
        use std::io::Write as _;
        let present = match (&mut self.values, value) {
            // As the unsigned number that the schema declares.
            (Values::Numbers(numbers), Value::U64(number)) => {
                numbers.push(number.cast_signed());
                true
            }
            (Values::Numbers(numbers), Value::Time(time_ns)) => {
                numbers.push((time_ns / 1000).cast_signed());
                true
            }
            (Values::Truths(truths), Value::Bool(yes)) => {
                truths.push(yes);
                true
            }
            (Values::Texts(texts, ends), value) => {
                let added = match value {
                    Value::Str(text) => texts.write_all(text.as_bytes()).is_ok(),
                    Value::Bytes(bytes) => texts.write_all(bytes).is_ok(),
                    Value::Address(IpAddr::V4(address)) => write!(texts, "{address}").is_ok(),
                    Value::Address(IpAddr::V6(address)) => write!(texts, "{address}").is_ok(),
                    Value::List(list) => serde_json::to_writer(&mut *texts, list).is_ok(),
                    Value::Null | Value::U64(_) | Value::Bool(_) | Value::Time(_) => false,
                };
                if added {
                    ends.push(texts.len());
                }
                added
            }
            _ => false,
        };
        self.present.push(present.into());
    }

    /// Writes the gathered values and clears them.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> ParquetResult<()> {
        let present = Some(self.present.as_slice());
        match &mut self.values {
            Values::Numbers(numbers) => {
                writer.typed::<Int64Type>().write_batch(numbers, present, None)?;
                numbers.clear();
            }
            Values::Truths(truths) => {
                writer.typed::<BoolType>().write_batch(truths, present, None)?;
                truths.clear();
            }
            Values::Texts(texts, ends) => {
                let all = Bytes::from(std::mem::take(texts));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let slices =
                    starts.zip(ends.iter()).map(|(start, &end)| ByteArray::from(all.slice(start..end)));
                let slices: Vec<ByteArray> = slices.collect();
                writer.typed::<ByteArrayType>().write_batch(&slices, present, None)?;
                ends.clear();
            }
        }
        self.present.clear();
        Ok(())
    }
}

fn write_group(writer: &mut SerializedFileWriter<Output>, columns: &mut [Column]) -> ParquetResult<()> {
    let mut group = writer.next_row_group()?;
    for column in columns {
        let mut writer =
            group.next_column()?.ok_or(ParquetError::General("one column too many".to_owned()))?;
        column.write(&mut writer)?;
        writer.close()?;
    }
    group.close()?;
    Ok(())
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

/// The schema: all columns may be null.
fn schema(fields: &FieldSet) -> ParquetResult<TypePtr> {
    let column = |kind: FieldType| match kind {
        FieldType::Int => (Physical::INT64, Some(LogicalType::integer(64, false))),
        // Of all units this is the one that every reader has with its time zone.
        FieldType::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        FieldType::Bool => (Physical::BOOLEAN, None),
        FieldType::String | FieldType::Address => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        FieldType::Binary => (Physical::BYTE_ARRAY, None),
        FieldType::Repeated => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
    };
    let columns = fields.fields().iter().map(|field| {
        let (physical, logical) = column(field.kind);
        let builder = Type::primitive_type_builder(field.name, physical);
        builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build().map(Arc::new)
    });
    let columns = columns.collect::<ParquetResult<Vec<_>>>()?;
    Type::group_type_builder("results").with_fields(columns).build().map(Arc::new)
}
