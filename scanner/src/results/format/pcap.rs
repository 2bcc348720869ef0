//! The frames of replies as a capture file: libpcap's classic format with nanoseconds (draft-ietf-opsawg-pcap), which
//! tcpdump, tshark and most other tools read.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use wire::packet::{CAPTURE_MAX, LinkHeader};

use crate::reply::Reply;

/// Magic number of a file with nanoseconds, in the writer's byte order: little-endian here, on every machine.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Link type of Ethernet frames.
const ETHERNET: u32 = 1;
/// Link type of bare IP packets.
const RAW: u32 = 101;
/// Bytes before the first frame.
const HEAD_LEN: u64 = 24;
/// Bytes before each frame.
const FRAME_HEAD_LEN: u64 = 16;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Writes the captured bytes of each reply, its arrival time, and its length on the wire.
#[derive(Debug, Default)]
pub struct PcapEncoder {
    /// The first header of a frame.
    pub link: LinkHeader,
}

/// The first bytes of a file of frames of this link.
pub fn head(link: LinkHeader) -> Vec<u8> {
    let link = match link {
        LinkHeader::Ethernet => ETHERNET,
        LinkHeader::Bare => RAW,
    };
    let mut head = Vec::with_capacity(HEAD_LEN as usize);
    head.extend(MAGIC.to_le_bytes());
    head.extend([2, 0, 4, 0]); // version 2.4
    head.extend([0; 8]);
    head.extend((CAPTURE_MAX as u32).to_le_bytes());
    head.extend(link.to_le_bytes());
    head
}

pub(super) fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let header = reply.header();
    frame(header.time_ns, reply.captured(), header.frame_len, out);
}

/// Appends a frame of `frame_len` bytes, which passed at `time_ns` since the Unix epoch.
pub fn frame(time_ns: u64, captured: &[u8], frame_len: u32, out: &mut Vec<u8>) {
    let numbers = [
        (time_ns / NS_PER_SECOND) as u32,
        (time_ns % NS_PER_SECOND) as u32,
        captured.len() as u32,
        frame_len.max(captured.len() as u32),
    ];
    out.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
    out.extend(captured);
}

/// The end of the last whole frame of a file of `len` bytes. Its header has been checked.
pub(super) fn whole_len(file: &mut File, len: u64) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut end = reader.seek(SeekFrom::Start(HEAD_LEN))?;
    while end + FRAME_HEAD_LEN <= len {
        let mut head = [0; FRAME_HEAD_LEN as usize];
        reader.read_exact(&mut head)?;
        let captured_len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let next = end + FRAME_HEAD_LEN + u64::from(captured_len);
        if next > len {
            break;
        }
        reader.seek_relative(captured_len.into())?;
        end = next;
    }
    Ok(end)
}
