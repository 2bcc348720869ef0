//! Results in Parquet files.

use std::fs::File;
use std::io;
use std::path::Path;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;

use super::{End, Item, Row, StoredFile, Take};
use crate::reply::fields::{Hex, Utc};

/// The names of the columns; none if the file has no footer, so that it is not whole.
pub(super) fn columns(path: &Path) -> io::Result<Vec<String>> {
    let Ok(reader) = SerializedFileReader::new(File::open(path)?) else { return Ok(Vec::new()) };
    let schema = reader.metadata().file_metadata().schema();
    Ok(schema.get_fields().iter().map(|column| column.name().to_owned()).collect())
}

pub(super) fn read(file: &StoredFile, wanted: &[&str], take: Take<'_>) -> io::Result<End> {
    let opened = File::open(&file.path).map_err(|error| file.failed(&error))?;
    let mut rows = 0;
    let reader = match SerializedFileReader::new(opened) {
        Ok(reader) => reader,
        Err(error) => {
            return Ok(End { rows, cut: Some(format!("it is not a whole Parquet file ({error})")) });
        }
    };
    let damaged =
        |rows, error| Ok(End { rows, cut: Some(format!("its data is damaged behind row {rows} ({error})")) });
    let mut cells = vec![None; wanted.len()];
    for number in 0..reader.num_row_groups() {
        let group = match reader.get_row_group(number) {
            Ok(group) => group,
            Err(error) => return damaged(rows, error),
        };
        let in_group = match RowIter::from_row_group(None, &*group) {
            Ok(in_group) => in_group,
            Err(error) => return damaged(rows, error),
        };
        for row in in_group {
            let row = match row {
                Ok(row) => row,
                Err(error) => return damaged(rows, error),
            };
            rows += 1;
            cells.fill(None);
            for (column, value) in row.get_column_iter() {
                if let Some(place) = wanted.iter().position(|wanted| wanted == column) {
                    cells[place] = as_cell(value);
                }
            }
            take(Item::Row(Row { line: rows, cells: &cells, raw: &[] }))?;
        }
    }
    Ok(End { rows, cut: None })
}

/// A value in the form of CSV.
fn as_cell(value: &Field) -> Option<String> {
    match value {
        Field::Null => None,
        Field::Bool(yes) => Some(u8::from(*yes).to_string()),
        Field::Str(text) if text.is_empty() => None,
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => Some(Hex(bytes.data()).to_string()).filter(|digits| !digits.is_empty()),
        Field::Byte(number) => Some(number.to_string()),
        Field::Short(number) => Some(number.to_string()),
        Field::Int(number) => Some(number.to_string()),
        Field::Long(number) => Some(number.to_string()),
        Field::UByte(number) => Some(number.to_string()),
        Field::UShort(number) => Some(number.to_string()),
        Field::UInt(number) => Some(number.to_string()),
        Field::ULong(number) => Some(number.to_string()),
        Field::TimestampMicros(time_us) => {
            Some(Utc(time_us.cast_unsigned().saturating_mul(1000)).to_string())
        }
        other => Some(other.to_string()),
    }
}
