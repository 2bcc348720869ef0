//! The copy of the block list beside a checkpoint: its networks as text, one a line, compressed by gzip.
//!
//! It is written once, before the first checkpoint, so a checkpoint stays small however long the list is. The
//! checkpoint has its hash.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use targets::{AddressRange, RangeSet};

/// Longest text: that of two million networks. Lower: real lists are refused. Higher: more memory for a file that is no
/// such copy.
const TEXT_MAX: u64 = 1 << 26;

/// The content of the file for these networks.
pub(super) fn compressed(blocked: &RangeSet) -> io::Result<Vec<u8>> {
    let mut text = String::new();
    for range in blocked.ranges() {
        let _ = writeln!(text, "{range}");
    }
    if text.len() as u64 > TEXT_MAX {
        return Err(io::Error::other("the block list is too long"));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// The networks in such a content.
pub(super) fn parse(compressed: &[u8]) -> io::Result<RangeSet> {
    let mut text = String::new();
    GzDecoder::new(compressed).take(TEXT_MAX).read_to_string(&mut text)?;
    let odd = |line: &str| io::Error::other(format!("'{}' is not a network", line.escape_debug()));
    text.lines().map(|line| range(line).ok_or_else(|| odd(line))).collect()
}

/// A range as [`AddressRange`] prints it.
pub(super) fn range(text: &str) -> Option<AddressRange> {
    let address = |text: &str| text.parse::<Ipv4Addr>().ok();
    if let Some((first, last)) = text.split_once('-') {
        return AddressRange::new(address(first)?.to_bits(), address(last)?.to_bits());
    }
    let (first, bits) = text.split_once('/').unwrap_or((text, "32"));
    let bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some(AddressRange::prefix(address(first)?, bits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(&gzip("10.0.0.0/8\n192.0.2.1-192.0.2.7\n192.0.2.9\n")).unwrap().ranges().len(), 3);
        for text in ["10.0.0.0/33", "10.0.0.9-10.0.0.1", "x", "10.0.0.0/8 # a"] {
            assert!(parse(&gzip(text)).is_err(), "{text}");
        }
        let whole = gzip("10.0.0.0/8");
        assert!(parse(&whole[..whole.len() - 1]).is_err() && parse(b"10.0.0.0/8").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ranges in prop::collection::vec((any::<u32>(), any::<u32>()), 0..50)) {
            let ranges = ranges.into_iter().map(|(one, other)| AddressRange::new(one.min(other), one.max(other)).unwrap());
            let blocked: RangeSet = ranges.collect();
            prop_assert_eq!(parse(&compressed(&blocked).unwrap()).unwrap(), blocked);
        }

        #[test]
        fn anything(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,50}") {
            let _ = parse(&bytes);
            let _ = parse(&gzip(&text));
        }
    }
}
