//! The TCP options of a segment that came from the network.

use super::TCP_LEN;

/// The TCP options that have output fields.
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
    /// The options of a TCP segment. Parsing stops at the end-of-list option (RFC 9293, section 3.2), at the end of the
    /// header or of the bytes, and at the first option with an impossible length; options before that are kept. If an
    /// option occurs twice, the last one counts.
    pub fn parse(segment: &[u8]) -> Self {
        const END: u8 = 0;
        const NOP: u8 = 1;
        const MSS: u8 = 2;
        const WINDOW_SCALE: u8 = 3;
        const SACK_PERMITTED: u8 = 4;
        const TIMESTAMPS: u8 = 8;

        let mut options = Self::default();
        let header_len = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let mut rest = segment.get(TCP_LEN..header_len.min(segment.len())).unwrap_or_default();
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
                            options.timestamps = Some((be32(value, 2), be32(value, 6)));
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

/// The four bytes at `at`, which must exist.
fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; TCP_LEN];
        bytes[12] = ((TCP_LEN + options.len()).div_ceil(4) as u8) << 4;
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

    /// Options before a broken option, the end of the list or the end of the header count, and none after.
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
