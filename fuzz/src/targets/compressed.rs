//! Compressed lists: what is no archive passes as it is, and a whole archive is read in the same way however its bytes
//! come.

use std::io::{ErrorKind, Read};

use xdpmap::compressed::Decompressed;

/// The most that is read of a text. A few bytes may stand for many.
const READ_MAX: u64 = 1 << 22;

/// An input that gives so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(self.1);
        self.0.read(&mut buffer[..len])
    }
}

/// What can be read, and whether that is all.
fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    let mut reader = Decompressed::new(Pieces(bytes, piece)).take(READ_MAX);
    match reader.read_to_end(&mut text) {
        Ok(_) => (text, true),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
            (text, false)
        }
    }
}

pub fn run(bytes: &[u8]) {
    let (text, is_whole) = read(bytes, usize::MAX);
    let (slowly, is_whole_slowly) = read(bytes, 1);
    // How much comes before an error depends on what a decoder is given at once; such a text is never used.
    if text.len().max(slowly.len()) < READ_MAX as usize {
        assert_eq!(is_whole_slowly, is_whole);
        assert!(!is_whole || slowly == text, "{bytes:02x?}");
    }
    let is_archive =
        [&b"\x1f\x8b"[..], b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"].iter().any(|magic| bytes.starts_with(magic))
            || bytes.get(1..4) == Some(b"\x2a\x4d\x18") && bytes[0] & 0xf0 == 0x50;
    if !is_archive {
        assert_eq!((&text[..], is_whole), (bytes, true));
    }
}
