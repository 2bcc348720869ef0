//! Text that gzip, xz or zstd have compressed, read as if it was not.
//!
//! What always holds: the first bytes tell, and not a name; text that is not compressed passes as it is, and is not
//! waited for any longer than its reader would. Memory is bounded by [`WINDOW_MAX`], however much the text is. What is
//! read has passed the format's own check sums, and an archive that is cut off or damaged is an error of the kind
//! [`InvalidData`](io::ErrorKind::InvalidData), whose text says so.

use std::error::Error;
use std::io::{self, BufReader, Read};
use std::mem;

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The most that xz and zstd may look back, in bytes. Smaller: files of `xz -9e` (64 MiB), and of the highest level or
/// the long mode of zstd (128 MiB), are refused. Larger: a file of a few bytes can make a scan take that much memory.
pub const WINDOW_MAX: u64 = 128 << 20;

/// What an xz decoder takes besides its dictionary, with room to spare, in KiB.
const XZ_OVERHEAD_KB: u32 = 1 << 10;

/// Bytes of compressed data per read. Fewer cost more calls; more only take memory.
const READ_LEN: usize = 1 << 16;

/// The bytes that archives begin with.
const MAGIC_LEN: usize = 6;

/// A format of compressed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952; several members are one text.
    Gzip,
    /// The .xz file format; several streams are one text.
    Xz,
    /// RFC 8878; several frames are one text, and skippable frames are skipped.
    Zstd,
}

impl Compression {
    /// Its name, which is that of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// The format of what begins so, if it is compressed. `Err` if more bytes are needed to tell.
    fn of(begins: &[u8]) -> Result<Option<Self>, Undecided> {
        const GZIP: &[u8] = b"\x1f\x8b";
        const XZ: &[u8] = b"\xfd7zXZ\0";
        const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
        let is_skippable = |byte: u8| byte & 0xf0 == 0x50;
        let found = [(GZIP, Self::Gzip), (XZ, Self::Xz), (ZSTD, Self::Zstd)];
        if let Some((_, compression)) = found.iter().find(|(magic, _)| begins.starts_with(magic)) {
            return Ok(Some(*compression));
        }
        // What pzstd writes begins with a skippable frame; those have 16 magic numbers.
        let rest = begins.split_first().filter(|(first, _)| is_skippable(**first)).map(|(_, rest)| rest);
        match rest {
            Some(rest) if rest.starts_with(b"\x2a\x4d\x18") => return Ok(Some(Self::Zstd)),
            Some(rest) if b"\x2a\x4d\x18".starts_with(rest) => return Err(Undecided),
            _ => {}
        }
        if found.iter().any(|(magic, _)| magic.starts_with(begins)) { Err(Undecided) } else { Ok(None) }
    }
}

/// More bytes are needed to tell.
struct Undecided;

/// The text of a reader, decompressed if it is compressed.
pub struct Decompressed<R: Read> {
    state: State<R>,
}

/// The bytes that were looked at, and those after them.
type Source<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>;

enum State<R: Read> {
    /// Nothing was read yet.
    New(R),
    Plain(io::Chain<io::Cursor<Vec<u8>>, R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Xz(Box<XzReader<Source<R>>>),
    Zstd(Box<Frames<Source<R>>>),
    /// An error was returned, after which nothing can be read.
    Failed,
}

impl<R: Read> Decompressed<R> {
    /// The text of `input`. Nothing is read before the first bytes of it are asked for.
    pub fn new(input: R) -> Self {
        Self { state: State::New(input) }
    }

    /// How it is compressed; `None` if it is not, or nothing was read yet.
    pub fn compression(&self) -> Option<Compression> {
        match self.state {
            State::New(_) | State::Plain(_) | State::Failed => None,
            State::Gzip(_) => Some(Compression::Gzip),
            State::Xz(_) => Some(Compression::Xz),
            State::Zstd(_) => Some(Compression::Zstd),
        }
    }

    /// Looks at the first bytes.
    fn begin(mut input: R) -> io::Result<State<R>> {
        let (mut begins, mut len) = ([0; MAGIC_LEN], 0);
        let compression = loop {
            if let Ok(found) = Compression::of(&begins[..len]) {
                break found;
            }
            match input.read(&mut begins[len..]) {
                Ok(0) => break None,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let all = io::Cursor::new(begins[..len].to_vec()).chain(input);
        let Some(compression) = compression else { return Ok(State::Plain(all)) };
        let source = BufReader::with_capacity(READ_LEN, all);
        Ok(match compression {
            Compression::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Xz => {
                let limit_kb = (WINDOW_MAX >> 10) as u32 + XZ_OVERHEAD_KB;
                State::Xz(Box::new(XzReader::new_mem_limit(source, true, limit_kb)))
            }
            Compression::Zstd => State::Zstd(Box::new(Frames::new(source))),
        })
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.state = match mem::replace(&mut self.state, State::Failed) {
            State::New(input) => Self::begin(input)?,
            begun => begun,
        };
        let read = match &mut self.state {
            State::New(_) | State::Failed => return Err(io::Error::other("it could not be read before")),
            State::Plain(input) => return input.read(buffer),
            State::Gzip(decoder) => decoder.read(buffer),
            State::Xz(decoder) => decoder.read(buffer),
            State::Zstd(frames) => frames.read(buffer),
        };
        let compression = self.compression();
        read.map_err(|error| match compression {
            _ if error.kind() == io::ErrorKind::Interrupted => error,
            Some(compression) => {
                self.state = State::Failed;
                explained(compression, error)
            }
            None => error,
        })
    }
}

/// An error of a decoder, or of the file that it reads, in words that say what to do.
fn explained(compression: Compression, error: io::Error) -> io::Error {
    let name = compression.name();
    let of_system = system_error(&error).map(io::Error::from_raw_os_error);
    let what = match of_system {
        Some(error) => return error,
        None if error.kind() == io::ErrorKind::OutOfMemory || is_window(&error) => format!(
            "its {name} data needs more than {} MiB to be decompressed; compress it with a smaller window, or decompress \
             it first ({name} -d)",
            WINDOW_MAX >> 20
        ),
        None if is_end(&error) => format!("its {name} data is cut off; make or fetch the file again"),
        None => format!("its {name} data is damaged ({error}); make or fetch the file again"),
    };
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What an error was caused by, one after the other, beginning with itself.
fn causes(error: &io::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let now = next?;
        // What is in an `io::Error` is not its source: its source is that of what is in it.
        next = match now.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => now.source(),
        };
        Some(now)
    })
}

fn io_causes(error: &io::Error) -> impl Iterator<Item = &io::Error> {
    causes(error).filter_map(|cause| cause.downcast_ref())
}

fn system_error(error: &io::Error) -> Option<i32> {
    io_causes(error).find_map(io::Error::raw_os_error)
}

fn is_end(error: &io::Error) -> bool {
    io_causes(error).any(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

fn is_window(error: &io::Error) -> bool {
    let is_window = |error: &FrameDecoderError| matches!(error, FrameDecoderError::WindowSizeTooBig { .. });
    causes(error).filter_map(|cause| cause.downcast_ref()).any(is_window)
}

/// The frames of a zstd file, one after the other.
struct Frames<S> {
    source: S,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<S: io::BufRead> Frames<S> {
    fn new(source: S) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_MAX);
        Self { source, decoder, in_frame: false }
    }

    /// Begins the next frame that has content; returns whether there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(length.into())?,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.source.by_ref().take(len), &mut io::sink())?;
        if skipped < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Ends a frame all of whose content was read.
    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        match self.decoder.get_checksum_from_data() {
            sum @ Some(_) if sum != self.decoder.get_calculated_checksum() => {
                Err(io::Error::other("its check sum is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<S: io::BufRead> Read for Frames<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            // A block has at most 128 KiB (RFC 8878, 3.1.1.2.4), so memory grows by no more than that.
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.end_frame()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use proptest::prelude::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Frames with one raw block each, as RFC 8878 describes them: of at most 64 KiB, in a window of that.
    fn zstd(text: &[u8]) -> Vec<u8> {
        let frames = text.chunks(1 << 15).map(|piece| {
            let block = (piece.len() as u32) << 3 | 1;
            [&b"\x28\xb5\x2f\xfd\0\x30"[..], &block.to_le_bytes()[..3], piece].concat()
        });
        frames.collect::<Vec<_>>().concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = vec![];
        let mut reader = Decompressed::new(bytes);
        match reader.read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
                // It stays an error.
                reader.read(&mut [0; 8]).unwrap_err();
                Err(error.to_string())
            }
        }
    }

    /// An input that gives one byte at a time, and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = buffer.len().min(1);
            self.0.read(&mut buffer[..len])
        }
    }

    /// A text is not waited for once it cannot be an archive any more: what is left may come much later.
    #[test]
    fn text_is_not_held_back() {
        for begins in ["1", "10.0.0.1\n", "\u{feff}"] {
            let never = io::Cursor::new(begins.as_bytes()).chain(Never);
            let mut buffer = vec![0; begins.len()];
            Decompressed::new(never).read_exact(&mut buffer).unwrap();
            assert_eq!(buffer, begins.as_bytes());
        }
    }

    struct Never;

    impl Read for Never {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("read on")
        }
    }

    #[test]
    fn errors_of_the_file_stay_what_they_are() {
        struct Bad;
        impl Read for Bad {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
        let text = b"10.0.0.1\n".repeat(100);
        for archive in [gzip(&text), zstd(&text)] {
            for len in [0, 3, archive.len() / 2] {
                let cut = io::Cursor::new(archive[..len].to_vec()).chain(Bad);
                let error = Decompressed::new(cut).read_to_end(&mut vec![]).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
            }
        }
    }

    #[test]
    fn what_begins_like_an_archive_and_is_none() {
        for text in ["", "\x1f", "\u{fd}", "(", "P", "P*M", "(\u{b5}"] {
            assert_eq!(read(text.as_bytes()).unwrap(), text.as_bytes());
        }
        assert!(read(b"\x1f\x8b").unwrap_err().contains("its gzip data is cut off"));
        assert!(read(b"\x1f\x8bxxxxxxxxxxxxxxxx").unwrap_err().contains("its gzip data is damaged"));
        assert!(read(b"\xfd7zXZ\0").unwrap_err().contains("its xz data is cut off"));
        assert!(read(b"\x28\xb5\x2f\xfd").unwrap_err().contains("its zstd data is cut off"));
        assert!(read(b"\x50\x2a\x4d\x18\x09\0\0\0abc").unwrap_err().contains("its zstd data is cut off"));
    }

    /// A frame whose window would take 2 GiB is refused before that is allocated.
    #[test]
    fn memory_is_bounded() {
        let what = read(b"\x28\xb5\x2f\xfd\0\xa8\x01\0\0").unwrap_err();
        assert!(what.contains("needs more than 128 MiB"), "{what}");
    }

    proptest! {
        #[test]
        fn any_text_in_any_pieces(text in prop::collection::vec(any::<u8>(), 0..2000), members in 1..4usize) {
            for compress in [gzip, zstd] {
                let archive = text.chunks(text.len().div_ceil(members).max(1)).map(compress).collect::<Vec<_>>().concat();
                let mut found = vec![];
                Decompressed::new(Slow(&archive, false)).read_to_end(&mut found).unwrap();
                prop_assert_eq!(&found, &text);
            }
        }

        /// Whatever is cut off or damaged is an error or the text, and never another text that passes as whole.
        #[test]
        fn damage(text in prop::collection::vec(any::<u8>(), 1..2000), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut archive = gzip(&text);
            let at = at.index(archive.len());
            let whole = read(&archive[..at]);
            prop_assert!(whole.is_err() || at < 2, "{:?}", whole);
            archive[at] ^= 1 << bit;
            // A flag of the header that was not set, or a byte of the time, changes no text.
            if let Ok(found) = read(&archive) {
                prop_assert!(found == text || at < 10);
            }
        }

        #[test]
        fn anything(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0..4usize) {
            let magic = [&b""[..], b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"][magic];
            let mut piece = [0; 64];
            let bytes = [magic, &bytes].concat();
            let mut reader = Decompressed::new(&bytes[..]).take(1 << 20);
            while reader.read(&mut piece).is_ok_and(|len| len > 0) {}
        }
    }
}
