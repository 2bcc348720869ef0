//! Successes as open ports, in the forms of nmap and masscan that other programs import.
//!
//! What always holds: a record is one line of its own between a head and a tail, and with the tail the file is whole.
//! So whoever writes the tail behind each piece of records, and the next piece over it, has a whole file at any time.

mod grepable;
mod masscan;
mod xml;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use crate::reply::Reply;
use crate::reply::record::ReplyKind;

/// How much of a file's end is searched for its last record: many times the longest one.
const SEARCHED_LEN: u64 = 1 << 20;

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// nmap's XML, as masscan writes it (`-oX`).
    Xml,
    /// nmap's form for grep (`-oG`).
    Grepable,
    /// masscan's list (`-oL`).
    List,
    /// masscan's JSON (`-oJ`), an array.
    MasscanJson,
}

impl Form {
    /// What each record begins with, and no other line.
    fn begins(self) -> &'static [u8] {
        match self {
            Self::Xml => xml::BEGINS,
            Self::Grepable => grepable::BEGINS,
            Self::List => masscan::LIST_BEGINS,
            Self::MasscanJson => masscan::JSON_BEGINS,
        }
    }
}

/// Writes the target of each reply as an open port, or as a host that is up where probes have no ports.
#[derive(Debug)]
pub struct PortsEncoder {
    form: Form,
    has_ports: bool,
    /// When the file was begun, in seconds since the Unix epoch.
    start_s: u64,
    opened: Instant,
    /// Seconds between that and when it was opened, if an earlier run began it.
    earlier_s: u64,
    /// Records in the present file.
    records: u64,
}

/// What the forms say of a success.
#[derive(Debug)]
struct OpenPort {
    target: IpAddr,
    /// `None` where probes have no ports.
    port: Option<u16>,
    protocol: &'static str,
    state: &'static str,
    /// nmap's word for what came back.
    reason: &'static str,
    /// 0 if it was not captured.
    ttl: u8,
    /// When it came, in seconds since the Unix epoch.
    time_s: u64,
}

impl OpenPort {
    fn of(reply: &Reply<'_>, has_ports: bool) -> Self {
        let header = reply.header();
        let (protocol, state, reason) = match reply.kind() {
            Some(ReplyKind::SynAck) => ("tcp", "open", "syn-ack"),
            // A success of probes that are answered so by each port without a connection, as nmap calls that.
            Some(ReplyKind::Rst) => ("tcp", "unfiltered", "reset"),
            Some(ReplyKind::EchoReply) => ("icmp", "open", "echo-reply"),
            _ if has_ports => ("udp", "open", "udp-response"),
            _ => ("icmp", "open", "echo-reply"),
        };
        Self {
            target: header.target(),
            port: has_ports.then_some(header.target_port),
            protocol,
            state,
            reason,
            ttl: reply.ttl().unwrap_or_default(),
            time_s: header.time_ns / 1_000_000_000,
        }
    }
}

impl PortsEncoder {
    /// An encoder for a file that is begun now; `has_ports` says whether the probes have ports.
    pub fn new(form: Form, has_ports: bool) -> Self {
        let start_s = seconds_now();
        Self { form, has_ports, start_s, opened: Instant::now(), earlier_s: 0, records: 0 }
    }

    pub(super) fn head(&mut self) -> Vec<u8> {
        self.records = 0;
        self.head_from(self.start_s)
    }

    fn head_from(&self, start_s: u64) -> Vec<u8> {
        match self.form {
            Form::Xml => xml::head(start_s),
            Form::Grepable => grepable::HEAD.to_vec(),
            Form::List => masscan::LIST_HEAD.to_vec(),
            Form::MasscanJson => masscan::JSON_HEAD.to_vec(),
        }
    }

    pub(super) fn encode(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let found = OpenPort::of(reply, self.has_ports);
        match self.form {
            Form::Xml => xml::record(&found, out)?,
            Form::Grepable => grepable::record(&found, out)?,
            Form::List => masscan::list_record(&found, out)?,
            Form::MasscanJson => masscan::json_record(&found, self.records == 0, out)?,
        }
        self.records += 1;
        Ok(())
    }

    pub(super) fn tail(&self) -> Vec<u8> {
        match self.form {
            Form::Xml => {
                // By a clock that is not set, so that no tail is shorter than the one that it is written over.
                let elapsed_s = self.earlier_s + self.opened.elapsed().as_secs();
                xml::tail(self.start_s + elapsed_s, elapsed_s, self.records)
            }
            Form::Grepable => vec![],
            Form::List => masscan::LIST_TAIL.to_vec(),
            Form::MasscanJson => masscan::JSON_TAIL.to_vec(),
        }
    }

    /// The length of the head and the whole records of an earlier file; `None` if it does not look like one of ours.
    pub(super) fn whole_len(&self, file: &mut File) -> io::Result<Option<u64>> {
        let Some(head_len) = self.earlier_head(file)?.map(|(head_len, _)| head_len) else { return Ok(None) };
        let len = file.seek(SeekFrom::End(0))?;
        let from = len.saturating_sub(SEARCHED_LEN).max(head_len);
        let mut searched = vec![];
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut searched)?;
        let mut end = (from == head_len).then_some(head_len);
        let mut line_begin = 0;
        for feed in memchr::memchr_iter(b'\n', &searched) {
            // The first line may be the end of a longer one.
            let is_line = line_begin > 0 || from == head_len;
            if is_line && searched[line_begin..].starts_with(self.form.begins()) {
                end = Some(from + feed as u64 + 1);
            }
            line_begin = feed + 1;
        }
        Ok(end)
    }

    /// From now on writes behind the first `keep` bytes of an earlier file.
    pub(super) fn continue_from(&mut self, file: &mut File, keep: u64) -> io::Result<()> {
        let Some((head_len, start_s)) = self.earlier_head(file)? else { return Ok(()) };
        self.earlier_s = self.start_s.saturating_sub(start_s);
        self.start_s = start_s;
        self.records = 0;
        let mut rest = keep.saturating_sub(head_len);
        let mut piece = vec![0; 1 << 16];
        file.seek(SeekFrom::Start(head_len))?;
        while rest > 0 {
            let most = piece.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            let len = file.read(&mut piece[..most])?;
            if len == 0 {
                break;
            }
            self.records += memchr::memchr_iter(b'\n', &piece[..len]).count() as u64;
            rest -= len as u64;
        }
        if self.form == Form::MasscanJson {
            // Between two records is a line as well.
            self.records = self.records.div_ceil(2);
        }
        Ok(())
    }

    /// The length of an earlier file's head, and when that file was begun; `None` if it has another head.
    fn earlier_head(&self, file: &mut File) -> io::Result<Option<(u64, u64)>> {
        let len = self.head_from(self.start_s).len();
        let mut begins = vec![];
        file.rewind()?;
        file.by_ref().take(len as u64).read_to_end(&mut begins)?;
        let start_s = match self.form {
            Form::Xml => xml::start_of(&begins),
            Form::Grepable | Form::List | Form::MasscanJson => Some(self.start_s),
        };
        let ours = start_s.filter(|&start_s| self.head_from(start_s) == begins);
        Ok(ours.map(|start_s| (len as u64, start_s)))
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
