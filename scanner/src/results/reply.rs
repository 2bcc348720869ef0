//! The headers of a captured reply, read where and when a field asks for them.
//!
//! The captured bytes come from the Internet and may be cut at [`CAPTURE_MAX`](super::record::CAPTURE_MAX): every
//! read is bounds-checked, and what is absent is `None`. Nothing here panics, whatever the bytes are.

use std::cell::OnceCell;
use std::net::Ipv4Addr;

use super::record::{Header, Kind};

const IPV4_HEADER_MIN: usize = 20;
const TCP_HEADER_MIN: usize = 20;
const PROTOCOL_TCP: u8 = 6;

/// One reply, as the fields see it: its record, and whether its target had answered before.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    header: &'a Header,
    captured: &'a [u8],
    repeat: bool,
    options: OnceCell<TcpOptions>,
}

impl<'a> Reply<'a> {
    /// The reply of a record; `repeat` is the answer of [`Dedup`](super::dedup::Dedup).
    pub fn new(header: &'a Header, captured: &'a [u8], repeat: bool) -> Self {
        Self { header, captured, repeat, options: OnceCell::new() }
    }

    /// The record's header.
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// What kind of reply it is; `None` for a number that no probe gives out.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_number(self.header.kind)
    }

    /// Whether its target had a success before.
    pub fn repeat(&self) -> bool {
        self.repeat
    }

    /// The IPv4 packet, from its header to its end, to the end of the capture, or to what its total length says.
    fn ipv4(&self) -> Option<Ipv4<'a>> {
        let bytes = self.captured.get(usize::from(self.header.ip_offset)..)?;
        if self.header.family != 4 || bytes.len() < IPV4_HEADER_MIN || bytes[0] >> 4 != 4 {
            return None;
        }
        let total_len = usize::from(be16(bytes, 2)?).clamp(IPV4_HEADER_MIN, bytes.len());
        Some(Ipv4 { bytes: &bytes[..total_len] })
    }

    /// Our address: the destination of the reply.
    pub fn destination(&self) -> Option<Ipv4Addr> {
        be32(self.ipv4()?.bytes, 16).map(Ipv4Addr::from)
    }

    /// IP identification.
    pub fn ip_id(&self) -> Option<u16> {
        be16(self.ipv4()?.bytes, 4)
    }

    /// Time to live.
    pub fn ttl(&self) -> Option<u8> {
        self.ipv4()?.bytes.get(8).copied()
    }

    /// The TCP segment of an unfragmented packet, header first.
    fn tcp(&self) -> Option<&'a [u8]> {
        self.ipv4()?.tcp()
    }

    /// TCP sequence number.
    pub fn sequence(&self) -> Option<u32> {
        be32(self.tcp()?, 4)
    }

    /// TCP acknowledgement number.
    pub fn acknowledgement(&self) -> Option<u32> {
        be32(self.tcp()?, 8)
    }

    /// TCP window, not scaled.
    pub fn window(&self) -> Option<u16> {
        be16(self.tcp()?, 14)
    }

    /// The TCP options, parsed once a reply.
    pub fn tcp_options(&self) -> &TcpOptions {
        self.options.get_or_init(|| self.tcp().map(TcpOptions::parse).unwrap_or_default())
    }
}

/// An IPv4 packet of at least [`IPV4_HEADER_MIN`] captured bytes.
struct Ipv4<'a> {
    bytes: &'a [u8],
}

impl<'a> Ipv4<'a> {
    fn tcp(&self) -> Option<&'a [u8]> {
        let header_len = usize::from(self.bytes[0] & 0x0f) * 4;
        let fragment_offset = be16(self.bytes, 6)? & 0x1fff;
        if header_len < IPV4_HEADER_MIN || self.bytes[9] != PROTOCOL_TCP || fragment_offset != 0 {
            return None;
        }
        self.bytes.get(header_len..)
    }
}

/// The TCP options that have a field of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size (RFC 9293, section 3.7.1), bytes.
    pub mss: Option<u16>,
    /// Window scale (RFC 7323, section 2): the shift count as sent, which may exceed the 14 that the RFC allows.
    pub window_shift: Option<u8>,
    /// SACK permitted (RFC 2018, section 2).
    pub sack_permitted: bool,
    /// Timestamps (RFC 7323, section 3): TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
}

impl TcpOptions {
    /// The options of a TCP segment. Reading stops at the end-of-list option (RFC 9293, section 3.2), at the end of
    /// the header or of the bytes, and at the first option whose length cannot be right; what was read until then
    /// stands. Of an option given twice the last counts.
    pub fn parse(segment: &[u8]) -> Self {
        const END: u8 = 0;
        const NOP: u8 = 1;
        const MSS: u8 = 2;
        const WINDOW_SCALE: u8 = 3;
        const SACK_PERMITTED: u8 = 4;
        const TIMESTAMPS: u8 = 8;

        let mut options = Self::default();
        let header_len = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let mut rest = segment.get(TCP_HEADER_MIN..header_len.min(segment.len())).unwrap_or_default();
        loop {
            rest = match *rest {
                [NOP, ref after @ ..] => after,
                [] | [END, ..] | [_] => break,
                [kind, len, ..] => {
                    let Some((option, after)) = rest.split_at_checked(len.into()) else { break };
                    match (kind, option) {
                        (MSS, &[_, _, high, low]) => options.mss = Some(u16::from_be_bytes([high, low])),
                        (WINDOW_SCALE, &[_, _, shift]) => options.window_shift = Some(shift),
                        (SACK_PERMITTED, [_, _]) => options.sack_permitted = true,
                        (TIMESTAMPS, value) if value.len() == 10 => {
                            options.timestamps = be32(value, 2).zip(be32(value, 6));
                        }
                        (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS, _) | (_, [] | [_]) => break,
                        _ => {}
                    }
                    after
                }
            }
        }
        options
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; TCP_HEADER_MIN];
        bytes[12] = ((TCP_HEADER_MIN + options.len()).div_ceil(4) as u8) << 4;
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn options_of_linux() {
        let options = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 1, 0, 1, 3, 3, 7];
        let expected = TcpOptions {
            mss: Some(1460),
            window_shift: Some(7),
            sack_permitted: true,
            timestamps: Some((9, 256)),
        };
        assert_eq!(TcpOptions::parse(&segment(&options)), expected);
    }

    /// What stands before a broken option, the end of the list or the end of the header counts, and nothing after.
    #[test]
    fn options_end_early() {
        let mss = TcpOptions { mss: Some(1), ..TcpOptions::default() };
        for tail in
            [&[3, 0, 1, 1][..], &[3, 1, 9, 1], &[3, 9, 1, 1], &[0, 4, 2, 0], &[8, 4, 0, 0], &[4, 3, 0, 0]]
        {
            let options = [&[2, 4, 0, 1], tail].concat();
            assert_eq!(TcpOptions::parse(&segment(&options)), mss, "{tail:?}");
        }
        let mut beyond_header = segment(&[2, 4, 0, 1]);
        beyond_header.extend_from_slice(&[4, 2, 1, 1]);
        assert_eq!(TcpOptions::parse(&beyond_header), mss);
        let cut = segment(&[2, 4, 0, 1, 3, 3, 7, 1]);
        assert_eq!(TcpOptions::parse(&cut[..26]), mss);
    }

    proptest! {
        #[test]
        fn any_segment_parses(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            TcpOptions::parse(&bytes);
        }
    }
}
