//! Replies as bytes.
//!
//! One file per format, and a folder for those of nmap and masscan. An encoder appends one reply after the other to a
//! buffer. It does not decide which replies are written, or where the bytes go.

mod csv;
mod hostport;
mod json;
mod packed;
pub mod pcap;
mod ports;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

pub use self::csv::CsvEncoder;
pub use self::hostport::{Between, HostportEncoder};
pub use self::json::JsonEncoder;
pub use self::packed::PackedEncoder;
pub use self::pcap::PcapEncoder;
pub use self::ports::{Form, PortsEncoder};
use crate::reply::Reply;
use crate::reply::fields::Extractor;

/// Writes replies in one of the formats.
#[derive(Debug)]
pub enum Encoder {
    /// Comma-separated values.
    Csv(CsvEncoder),
    /// One JSON object per line.
    Json(JsonEncoder),
    /// Targets with their ports.
    Hostport(HostportEncoder),
    /// Addresses as numbers.
    Packed(PackedEncoder),
    /// Captured frames.
    Pcap(PcapEncoder),
    /// Open ports, in forms of nmap and masscan.
    Ports(PortsEncoder),
}

impl Encoder {
    /// The first bytes of a file.
    pub fn head(&mut self) -> Vec<u8> {
        match self {
            Self::Ports(encoder) => encoder.head(),
            Self::Csv(encoder) => encoder.head(),
            Self::Pcap(encoder) => pcap::head(encoder.link),
            Self::Json(_) | Self::Hostport(_) | Self::Packed(_) => vec![],
        }
    }

    /// What makes a whole file of the records so far; empty for a format without an end of its own.
    pub fn tail(&self) -> Vec<u8> {
        match self {
            Self::Ports(encoder) => encoder.tail(),
            Self::Csv(_) | Self::Json(_) | Self::Hostport(_) | Self::Packed(_) | Self::Pcap(_) => vec![],
        }
    }

    /// Whether it writes readable text.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Csv(_) | Self::Json(_) | Self::Hostport(_) | Self::Ports(_))
    }

    /// Appends one reply to `out`.
    ///
    /// # Errors
    /// A value that cannot be written in this format.
    pub fn encode(
        &mut self,
        reply: &Reply<'_>,
        extractor: &mut Extractor,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        match self {
            Self::Csv(encoder) => encoder.encode(reply, extractor, out)?,
            Self::Json(encoder) => encoder.encode(reply, extractor, out)?,
            Self::Hostport(encoder) => encoder.encode(reply, out)?,
            Self::Packed(encoder) => encoder.encode(reply, out),
            Self::Pcap(_) => pcap::encode(reply, out),
            Self::Ports(encoder) => encoder.encode(reply, out)?,
        }
        Ok(())
    }

    /// The length of the whole records in an earlier file of this format: a scan that was killed may have left a part
    /// of a record, and others follow before the format's end. `None` if the file does not look like one of ours.
    ///
    /// # Errors
    /// The file's error.
    pub fn whole_len(&mut self, file: &mut File) -> io::Result<Option<u64>> {
        let len = file.seek(SeekFrom::End(0))?;
        if let Self::Ports(encoder) = self {
            return if len == 0 { Ok(Some(0)) } else { encoder.whole_len(file) };
        }
        let mut begins = vec![];
        file.rewind()?;
        let head = self.head();
        file.take(head.len() as u64).read_to_end(&mut begins)?;
        match self {
            _ if len == 0 => Ok(Some(0)),
            _ if begins != head => Ok(None),
            Self::Csv(_) | Self::Json(_) | Self::Hostport(_) => lines_len(file, len),
            Self::Packed(encoder) => Ok(Some(len - len % encoder.record_len())),
            Self::Pcap(_) => pcap::whole_len(file, len).map(Some),
            Self::Ports(_) => Ok(None),
        }
    }

    /// From now on writes behind the first `keep` bytes of an earlier file of this format.
    ///
    /// # Errors
    /// The file's error.
    pub fn continue_from(&mut self, file: &mut File, keep: u64) -> io::Result<()> {
        match self {
            Self::Ports(encoder) => encoder.continue_from(file, keep),
            Self::Csv(_) | Self::Json(_) | Self::Hostport(_) | Self::Packed(_) | Self::Pcap(_) => Ok(()),
        }
    }
}

/// Lines of text, safe for a terminal: text from a server must not control it. Control characters become what they are
/// in a JSON string, `\u009b`; also those above 0x7f in UTF-8, which some terminals obey.
pub fn for_terminal(text: &[u8]) -> Cow<'_, [u8]> {
    let is_control = |c: char| c.is_control() && c != '\n';
    let is_harmless = str::from_utf8(text).is_ok_and(|text| !text.contains(is_control));
    if is_harmless {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(2 * text.len());
    for c in String::from_utf8_lossy(text).chars() {
        match is_control(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown.into_bytes())
}

/// The end of the last line of a file of `len` bytes, if it is within the last megabyte.
fn lines_len(file: &mut File, len: u64) -> io::Result<Option<u64>> {
    let from = len.saturating_sub(1 << 20);
    let mut tail = vec![];
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut tail)?;
    Ok(tail.iter().rposition(|&byte| byte == b'\n').map(|last| from + last as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_see_no_control_characters() {
        for (text, shown) in [
            ("198.18.0.1,\"a\u{e9}\"\n", "198.18.0.1,\"a\u{e9}\"\n"),
            ("a\u{9b}31mb\n", "a\\u009b31mb\n"),
            ("\x1b[2J\x7f\r\n\u{9d}\n", "\\u001b[2J\\u007f\\u000d\n\\u009d\n"),
        ] {
            assert_eq!(for_terminal(text.as_bytes()), shown.as_bytes());
        }
        let json = for_terminal("{\"a\":\"\u{9b}\"}\n".as_bytes()).into_owned();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap()["a"], "\u{9b}");
    }
}
