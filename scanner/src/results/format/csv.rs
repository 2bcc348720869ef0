//! CSV after RFC 4180, with a bare line feed at each line's end as ZMap and every Unix tool have it.

use std::fmt::{self, Write as _};
use std::io;

use csv::{Writer, WriterBuilder};

use super::BUFFER_LEN;
use crate::results::fields::{Extractor, FieldSet, Hex, Value};
use crate::results::reply::Reply;

/// Writes one line a reply. Null is an empty field, a boolean 0 or 1, bytes are hexadecimal digits, a list is JSON; a field that holds a comma, a quote or a line
/// break is quoted. A line whose only field is null is `""`, so that it is not taken for an empty line.
pub struct CsvWriter<W: io::Write> {
    fields: FieldSet,
    writer: Box<Writer<W>>,
    made: String,
}

impl<W: io::Write> CsvWriter<W> {
    pub(super) fn new(fields: FieldSet, header_row: bool, output: W) -> io::Result<Self> {
        let mut writer = WriterBuilder::new().buffer_capacity(BUFFER_LEN).from_writer(output);
        if header_row {
            writer.write_record(fields.fields().iter().map(|field| field.name)).map_err(into_io)?;
        }
        Ok(Self { fields, writer: Box::new(writer), made: String::new() })
    }

    pub(super) fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> io::Result<()> {
        for field in self.fields.fields() {
            let text = match extractor.value(field, reply) {
                Value::Null => "",
                Value::Bool(false) => "0",
                Value::Bool(true) => "1",
                Value::Str(text) => text,
                Value::U64(number) => made(&mut self.made, format_args!("{number}"))?,
                Value::Bytes(bytes) => made(&mut self.made, format_args!("{}", Hex(bytes)))?,
                Value::List(list) => {
                    self.made = serde_json::to_string(list)?;
                    &self.made
                }
            };
            self.writer.write_field(text).map_err(into_io)?;
        }
        self.writer.write_record(None::<&[u8]>).map_err(into_io)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Text that is made in a buffer.
fn made<'a>(buffer: &'a mut String, text: fmt::Arguments<'_>) -> io::Result<&'a str> {
    buffer.clear();
    buffer.write_fmt(text).map_err(io::Error::other)?;
    Ok(buffer)
}

/// The I/O error inside a CSV error: its kind and number decide how the scan ends.
fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tcp_synscan;
    use crate::results::record::Kind;
    use crate::results::testing::{header, synack_frame};
    use jiff::tz::TimeZone;
    use std::net::Ipv4Addr;

    fn lines(fields: &str, header_row: bool, captured: &[u8]) -> String {
        let header = header(Kind::SynAck, Ipv4Addr::new(198, 18, 1, 2), 80, captured.len());
        let mut bytes = vec![];
        let mut writer =
            CsvWriter::new(FieldSet::parse(fields, &tcp_synscan::FIELDS).unwrap(), header_row, &mut bytes)
                .unwrap();
        let reply = Reply::new(&header, captured, false);
        writer.write(&reply, &mut Extractor::new(TimeZone::UTC)).unwrap();
        writer.flush().unwrap();
        drop(writer);
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
    }

    /// No field of this probe needs quoting; the writer would do it.
    #[test]
    fn quoting() {
        let mut bytes = vec![];
        let mut writer =
            CsvWriter::new(FieldSet::default_for(&tcp_synscan::FIELDS, true), false, &mut bytes).unwrap();
        writer.writer.write_record(["a,b", "say \"hi\""]).unwrap();
        writer.writer.write_record(["two\nlines", "plain"]).unwrap();
        drop(writer);
        assert_eq!(String::from_utf8(bytes).unwrap(), "\"a,b\",\"say \"\"hi\"\"\"\n\"two\nlines\",plain\n");
    }
}
