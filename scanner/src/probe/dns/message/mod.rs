//! Parses a DNS message as far as possible: keeps everything before the first error, and counts the rest.
//!
//! The `domain` library parses names, records and their data. Their output has ZMap's form: names without the final
//! dot, one object per question or record, data as text if its type is known and as hexadecimal digits otherwise.

use domain::base::iana::Rtype;
use domain::base::name::ParsedName;
use domain::base::wire::ParseError;
use domain::base::{ParsedRecord, Question};
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use serde_json::{Value, json};

use super::args::{HEADER_LEN, type_name};
use crate::reply::fields::{Hex, escaped};

/// The numbers of a message's header (RFC 1035, section 4.1.1; RFC 4035, section 3, for AD and CD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header([u8; HEADER_LEN]);

impl Header {
    /// The header at the start of a message.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        message.first_chunk().copied().map(Self)
    }

    /// 16 bits at `at`: the transaction number, then flags, then the number of records in each section.
    pub(super) fn number(self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    /// `width` bits of the flags from bit `lowest` on; bit 0 is the last one on the wire.
    pub(super) fn bits(self, lowest: u32, width: u32) -> u16 {
        self.number(2) >> lowest & ((1 << width) - 1)
    }

    /// Whether it is an answer that reports no error: QR is set, the response code is 0.
    pub(super) fn is_good_answer(self) -> bool {
        self.bits(15, 1) == 1 && self.bits(0, 4) == 0
    }
}

/// A parsed message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) header: Option<Header>,
    /// Questions, answers, authorities, additional records.
    pub(super) sections: [Vec<Value>; 4],
    /// Whether it ends too early or too late, or has an invalid part.
    pub(super) is_bad: bool,
    /// Bytes after the last record that could be parsed.
    pub(super) unconsumed_len: usize,
}

impl Message {
    /// Parses a message only if it repeats our question, or has none, as refusals of some servers. Of another message
    /// it reads only the header.
    pub(super) fn parse_answer(bytes: &[u8], repeats_question: bool) -> Self {
        let header = Header::parse(bytes);
        match repeats_question || header.is_some_and(|header| header.number(4) == 0) {
            true => Self::parse(bytes),
            false => Self { header, is_bad: true, ..Self::default() },
        }
    }

    /// Parses a message.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut message = Self { header: Header::parse(bytes), ..Self::default() };
        let Some(header) = message.header else {
            return Self { is_bad: true, unconsumed_len: bytes.len(), ..message };
        };
        let mut at = HEADER_LEN;
        'sections: for (i, section) in message.sections.iter_mut().enumerate() {
            for _ in 0..header.number(4 + 2 * i) {
                let read = if i == 0 { question(bytes, at) } else { record(bytes, at) };
                let Some((value, end)) = read else {
                    message.is_bad = true;
                    break 'sections;
                };
                section.push(value);
                at = end;
            }
        }
        message.unconsumed_len = bytes.len() - at;
        message.is_bad |= message.unconsumed_len != 0;
        message
    }
}

/// A parser at position `at` of a message.
fn parser(message: &[u8], at: usize) -> Result<Parser<'_, [u8]>, ParseError> {
    let mut parser = Parser::from_ref(message);
    parser.advance(at)?;
    Ok(parser)
}

/// The question at `at`, and where it ends.
fn question(message: &[u8], at: usize) -> Option<(Value, usize)> {
    let mut parser = parser(message, at).ok()?;
    let question: Question<ParsedName<&[u8]>> = Question::parse(&mut parser).ok()?;
    let value = json!({
        "name": question.qname().to_string(),
        "qtype": question.qtype().to_int(),
        "qtype_str": type_name(question.qtype()),
        "qclass": question.qclass().to_int(),
    });
    Some((value, parser.pos()))
}

/// The resource record at `at`, and where it ends.
fn record(message: &[u8], at: usize) -> Option<(Value, usize)> {
    let mut parser = parser(message, at).ok()?;
    let record = ParsedRecord::parse(&mut parser).ok()?;
    let end = parser.pos();
    let data = text(&record);
    let value = json!({
        "name": record.owner().to_string(),
        "type": record.rtype().to_int(),
        "type_str": type_name(record.rtype()),
        "class": record.class().to_int(),
        "ttl": record.ttl().as_secs(),
        "rdlength": record.rdlen(),
        "rdata_is_parsed": u8::from(data.is_some()),
        "rdata": data.unwrap_or_else(|| Hex(&message[end - usize::from(record.rdlen())..end]).to_string()),
    });
    Some((value, end))
}

/// A record's data as text; `None` if its type is unknown or the data is invalid. Data that ZMap parses is written in
/// ZMap's form, and other data as in a zone file.
fn text(record: &ParsedRecord<'_, [u8]>) -> Option<String> {
    if record.rtype() == Rtype::OPT {
        return None; // an option of the transport, not data
    }
    let read = record.to_any_record::<AllRecordData<&[u8], ParsedName<&[u8]>>>().ok()?;
    Some(match read.data() {
        AllRecordData::Unknown(_) | AllRecordData::Null(_) => return None,
        AllRecordData::Txt(txt) => escaped(&txt.iter().collect::<Vec<_>>().concat()),
        AllRecordData::Mx(mx) => format!("{} {}", mx.preference(), mx.exchange()),
        AllRecordData::Ns(ns) => ns.nsdname().to_string(),
        AllRecordData::Cname(cname) => cname.cname().to_string(),
        AllRecordData::Ptr(ptr) => ptr.ptrdname().to_string(),
        AllRecordData::Soa(soa) => format!(
            "{} {} {} {} {} {} {}",
            soa.mname(),
            soa.rname(),
            soa.serial(),
            soa.refresh().as_secs(),
            soa.retry().as_secs(),
            soa.expire().as_secs(),
            soa.minimum().as_secs(),
        ),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests;
