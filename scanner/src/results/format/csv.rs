//! CSV after RFC 4180, but with a bare line feed at each line's end, as ZMap and all Unix tools write it.

use std::fmt::Write as _;
use std::io;

use csv_core::{Terminator, WriteResult, Writer, WriterBuilder};

use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet, Hex, Utc, Value};

/// Writes one line per reply. Null is an empty field, a boolean 0 or 1, bytes are hexadecimal digits, a list is JSON. A
/// field that holds a comma, a quote or a line break is quoted. A line whose only field is null is `""`, so that it
/// differs from an empty line.
#[derive(Debug)]
pub struct CsvEncoder {
    fields: FieldSet,
    header_row: bool,
    /// Boxed, because it is mostly a large table.
    writer: Box<Writer>,
    made: String,
}

impl CsvEncoder {
    /// An encoder of these columns; with `header_row` it writes their names first.
    pub fn new(fields: FieldSet, header_row: bool) -> Self {
        Self { fields, header_row, writer: Box::new(writer()), made: String::new() }
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = vec![];
        if self.header_row {
            let names = self.fields.fields().iter().map(|field| field.name.as_bytes());
            line(&mut writer(), names, &mut head);
        }
        head
    }

    pub(super) fn encode(
        &mut self,
        reply: &Reply<'_>,
        extractor: &mut Extractor,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        for (place, field) in self.fields.fields().iter().enumerate() {
            if place > 0 {
                finish(out, |room| self.writer.delimiter(room));
            }
            self.made.clear();
            let text = match extractor.value(field, reply) {
                Value::Null => "",
                Value::Bool(false) => "0",
                Value::Bool(true) => "1",
                Value::Str(text) => text,
                value => {
                    match value {
                        Value::U64(number) => write!(self.made, "{number}"),
                        Value::Time(time_ns) => write!(self.made, "{}", Utc(time_ns)),
                        Value::Address(address) => write!(self.made, "{address}"),
                        Value::Bytes(bytes) => write!(self.made, "{}", Hex(bytes)),
                        other => write!(self.made, "{}", serde_json::to_string(&other)?),
                    }
                    .map_err(io::Error::other)?;
                    &self.made
                }
            };
            cell(&mut self.writer, text.as_bytes(), out);
        }
        finish(out, |room| self.writer.terminator(room));
        Ok(())
    }
}

fn writer() -> Writer {
    WriterBuilder::new().terminator(Terminator::Any(b'\n')).build()
}

fn line<'a>(writer: &mut Writer, cells: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for (place, text) in cells.enumerate() {
        if place > 0 {
            finish(out, |room| writer.delimiter(room));
        }
        cell(writer, text, out);
    }
    finish(out, |room| writer.terminator(room));
}

/// Appends one field, quoted if necessary.
fn cell(writer: &mut Writer, mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let start = out.len();
        // A quote comes first, and each byte may be doubled. The closing quote is written with the end of the field.
        out.resize(start + 2 * text.len() + 4, 0);
        let (result, read, written) = writer.field(text, &mut out[start..]);
        out.truncate(start + written);
        text = &text[read..];
        if result == WriteResult::InputEmpty {
            break;
        }
    }
}

/// Appends the end of a field or a line: a few bytes.
fn finish(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8]) -> (WriteResult, usize)) {
    let start = out.len();
    out.resize(start + 8, 0);
    let (_, written) = write(&mut out[start..]);
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tcp_synscan;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::{header, synack_frame};
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn lines(fields: &str, header_row: bool, captured: &[u8]) -> String {
        let header = header(ReplyKind::SynAck, Ipv4Addr::new(198, 18, 1, 2), 80, captured.len());
        let mut encoder = CsvEncoder::new(FieldSet::parse(fields, &tcp_synscan::FIELDS).unwrap(), header_row);
        let mut bytes = encoder.head();
        let reply = Reply::new(&header, captured, false);
        encoder.encode(&reply, &mut Extractor::new(TimeZone::UTC), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn exact_bytes() {
        assert_eq!(lines("saddr", false, &[]), "198.18.1.2\n");
        assert_eq!(
            lines("saddr,success,repeat,ttl,classification", true, &synack_frame()),
            "saddr,success,repeat,ttl,classification\n198.18.1.2,1,0,63,synack\n"
        );
        assert_eq!(lines("saddr,ttl,sport", false, &[]), "198.18.1.2,,80\n");
        assert_eq!(lines("ttl", true, &[]), "ttl\n\"\"\n");
        assert_eq!(lines("timestamp_str", false, &[]), "2026-01-31T11:00:00.042+0000\n");
        assert_eq!(
            lines("timestamp,target_num,responder_num", false, &[]),
            "2026-01-31T11:00:00.042420Z,3323068674,3323068674\n"
        );
    }

    /// The bytes that the csv crate's own writer makes, whatever the fields hold.
    #[test]
    fn quoting() {
        let mut bytes = vec![];
        line(&mut writer(), [&b"a,b"[..], b"say \"hi\"", b"two\nlines", b"plain"].into_iter(), &mut bytes);
        assert_eq!(bytes, b"\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",plain\n");
    }

    proptest! {
        #[test]
        fn as_the_library_reads_it(cells in prop::collection::vec(prop_oneof!["[a\",\n\r]{0,40}", any::<String>()], 1..6)) {
            let mut bytes = vec![];
            line(&mut writer(), cells.iter().map(String::as_bytes), &mut bytes);
            let mut reader = csv_core::Reader::new();
            let (mut out, mut ends) = (vec![0; 2 * bytes.len() + 16], vec![0; cells.len() + 2]);
            bytes.push(b'\n');
            let (result, _, _, count) = reader.read_record(&bytes, &mut out, &mut ends);
            prop_assert_eq!(result, csv_core::ReadRecordResult::Record);
            prop_assert_eq!(count, cells.len());
            let mut start = 0;
            for (cell, &end) in cells.iter().zip(&ends) {
                prop_assert_eq!(cell.as_bytes(), &out[start..end]);
                start = end;
            }
        }
    }
}
