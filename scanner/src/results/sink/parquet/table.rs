//! The columns of a scan's results, and what every Parquet file of the scan has in common.
//!
//! Rows are gathered by columns and then written as a row group. The footer of a file says of which scan it is
//! ([`SCAN_KEY`]) and which of its results it holds ([`FILE_KEY`]).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet, FieldType, Utc, Value};
use crate::results::output::{Output, OutputError};

/// Key of what a file says of its scan.
const SCAN_KEY: &str = "xdpmap";
/// Key of what a file says of itself.
const FILE_KEY: &str = "xdpmap.file";
/// Level of zstd's compression. Higher ones make files a few percent smaller, and take the time in which the collector
/// has to empty the workers' rings.
const ZSTD_LEVEL: i32 = 1;

/// What all files of a scan have in common.
pub(super) struct Table {
    fields: FieldSet,
    schema: TypePtr,
    properties: Arc<WriterProperties>,
}

impl Table {
    /// The columns of `fields`. Each file has `scan` in its metadata, unless that is empty.
    ///
    /// # Errors
    /// There can be no such table.
    pub(super) fn new(fields: FieldSet, scan: &str) -> ParquetResult<Self> {
        let schema = schema(&fields)?;
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
        Ok(Self { fields, schema, properties: Arc::new(properties.build()) })
    }

    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn file(&self, output: Output) -> ParquetResult<SerializedFileWriter<Output>> {
        SerializedFileWriter::new(output, Arc::clone(&self.schema), Arc::clone(&self.properties))
    }

    /// No rows yet.
    pub(super) fn rows(&self) -> Rows {
        Rows {
            columns: self.fields.fields().iter().map(|field| Column::new(field.kind)).collect(),
            count: 0,
            bytes: 0,
        }
    }

    /// Adds a reply to `rows`.
    pub(super) fn gather(&self, reply: &Reply<'_>, extractor: &mut Extractor, rows: &mut Rows) {
        let before = rows.bytes;
        rows.bytes = 0;
        for (field, column) in self.fields.fields().iter().zip(&mut rows.columns) {
            rows.bytes += column.add(extractor.value(field, reply));
        }
        rows.bytes += before;
        rows.count += 1;
    }
}

/// Rows that are gathered and not written.
pub(super) struct Rows {
    columns: Vec<Column>,
    /// How many there are.
    pub(super) count: usize,
    /// Bytes that their values take.
    pub(super) bytes: usize,
}

impl Rows {
    /// Bytes that the columns take in memory before the first row, about: what the allocator gives to the first one.
    pub(super) fn overhead(&self) -> usize {
        self.columns.len() * (size_of::<Column>() + COLUMN_START)
    }

    /// Writes them as a row group, and forgets them. Returns how many there were.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&mut self, writer: &mut SerializedFileWriter<Output>) -> ParquetResult<u64> {
        let mut group = writer.next_row_group()?;
        for column in &mut self.columns {
            let mut writer =
                group.next_column()?.ok_or(ParquetError::General("one column too many".to_owned()))?;
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        self.bytes = 0;
        Ok(std::mem::take(&mut self.count) as u64)
    }
}

/// Which results a file holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content {
    /// How many are written.
    pub(super) rows: u64,
    /// When the first and the last of them arrived, in nanoseconds since the Unix epoch.
    arrivals: Option<(u64, u64)>,
}

impl Content {
    /// One that arrived at this time is among them.
    pub(super) fn note(&mut self, time_ns: u64) {
        let (first, last) = self.arrivals.unwrap_or((time_ns, time_ns));
        self.arrivals = Some((first.min(time_ns), last.max(time_ns)));
    }

    /// What the file with this number says of itself.
    pub(super) fn described(&self, number: u32) -> KeyValue {
        let [first, last] = [self.arrivals.map(|(first, _)| first), self.arrivals.map(|(_, last)| last)];
        let time = |time_ns: Option<u64>| time_ns.map(|time_ns| Utc(time_ns).to_string());
        let file = serde_json::json!({
            "number": number,
            "rows": self.rows,
            "first_arrival": time(first),
            "last_arrival": time(last),
        });
        KeyValue::new(FILE_KEY.to_owned(), file.to_string())
    }
}

/// An error of the file with this name.
pub(super) fn failed(name: &str, error: ParquetError) -> OutputError {
    let error = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    };
    OutputError::from_write(name, error)
}

/// Bytes that a column's first row takes at least, in the allocations that grow with it.
const COLUMN_START: usize = 96;

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

impl Values {
    fn bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => size_of_val(numbers.as_slice()),
            Self::Truths(truths) => truths.len(),
            Self::Texts(texts, ends) => texts.len() + size_of_val(ends.as_slice()),
        }
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

    /// Appends a value; a value of another type than the column's counts as null. Returns how many bytes it takes.
    fn add(&mut self, value: Value<'_>) -> usize {
        use std::io::Write as _;
        let before = self.values.bytes();
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
        size_of::<i16>() + self.values.bytes() - before
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
