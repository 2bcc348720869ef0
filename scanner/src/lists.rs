//! Lists of targets and networks: opened by their path, or read from standard input, which is `-`; and what identifies
//! the content of one.
//!
//! What always holds: a list that gzip, xz or zstd have compressed is read as if it was not, whatever its name. What
//! identifies it are its bytes as they are on the disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use targets::bulk::{self, Bulk};
use targets::list::{List, ListError, OnBadEntry, Purpose};
use targets::space::Fingerprint;
use targets::{AddressPages, Systems};
use tracing::info;

use crate::compressed::Decompressed;
use crate::input::Input;
use crate::printable::printable;

/// The name of a file that stands for standard input.
pub const STANDARD_INPUT: &str = "-";

/// What identifies the content of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Its length on the disk.
    pub bytes: u64,
    /// Its lines, decompressed if they are compressed; what follows the last line feed is one as well.
    pub lines: u64,
}

/// The content of the file `path`; `None` if it is not a regular file, which may not be there a second time.
///
/// # Errors
/// The system's error, or a compressed file is cut off or damaged.
pub fn content(path: &Path) -> io::Result<Option<Content>> {
    if path == Path::new(STANDARD_INPUT) || !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut on_disk = OnDisk { file: File::open(path)?, hash: Sha256::new(), bytes: 0 };
    let (mut piece, mut lines, mut last) = (vec![0; 1 << 16], 0, b'\n');
    let mut text = Decompressed::new(&mut on_disk);
    loop {
        let piece = match text.read(&mut piece)? {
            0 => break,
            len => &piece[..len],
        };
        lines += memchr::memchr_iter(b'\n', piece).count() as u64;
        last = piece.last().copied().unwrap_or(last);
    }
    drop(text);
    io::copy(&mut on_disk, &mut io::sink())?;
    let sha256 = Fingerprint(on_disk.hash.finalize().into()).to_string();
    Ok(Some(Content { sha256, bytes: on_disk.bytes, lines: lines + u64::from(last != b'\n') }))
}

/// A file, with the hash and the number of the bytes that were read of it.
struct OnDisk {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for OnDisk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.hash.update(&buffer[..len]);
        self.bytes += len as u64;
        Ok(len)
    }
}

/// The text of the file `path`, all at once: for what is short.
///
/// # Errors
/// The system's error, or a compressed file is cut off or damaged.
pub fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Decompressed::new(Input::open(path)?).read_to_end(&mut text)?;
    Ok(text)
}

/// How messages call the file `path`.
pub fn name(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) { "standard input".to_owned() } else { printable(path) }
}

/// Reads addresses, networks, host names, and AS numbers, which stand for what `systems` has.
///
/// # Errors
/// [`ListError`]; [`ListError::BadEntry`] only with [`OnBadEntry::Fail`].
pub fn read(
    path: &Path,
    purpose: Purpose,
    on_bad: OnBadEntry,
    systems: Option<&Systems>,
) -> Result<List, ListError> {
    List::read(&name(path), Decompressed::new(open(path)?), purpose, on_bad, systems)
}

/// Reads a table of AS numbers.
///
/// # Errors
/// [`ListError`].
pub fn read_systems(path: &Path) -> Result<Systems, ListError> {
    Systems::read(&name(path), Decompressed::new(open(path)?))
}

/// As [`read`], of a file that was read before: not of a pipe, whose text is gone.
///
/// # Errors
/// As [`read`], or it cannot be read again.
pub fn read_again(
    path: &Path,
    purpose: Purpose,
    on_bad: OnBadEntry,
    systems: Option<&Systems>,
) -> Result<List, ListError> {
    let gone = || {
        let why =
            "it is a pipe or standard input, whose text cannot be read again; the list has to be a file";
        ListError::Read { file: name(path), source: io::Error::other(why) }
    };
    if path == Path::new(STANDARD_INPUT) {
        return Err(gone());
    }
    let input = open(path)?;
    if !input.is_lasting() {
        return Err(gone());
    }
    List::read(&name(path), Decompressed::new(input), purpose, on_bad, systems)
}

/// Reads single addresses, which may be many.
///
/// # Errors
/// As [`read`].
pub fn read_addresses(path: &Path, on_bad: OnBadEntry) -> Result<Bulk<AddressPages>, ListError> {
    bulk::addresses(name(path), Decompressed::new(open(path)?), on_bad)
}

/// Reads (address, port) pairs.
///
/// # Errors
/// As [`read`].
pub fn read_pairs(path: &Path, on_bad: OnBadEntry) -> Result<Bulk<Vec<(u32, u16)>>, ListError> {
    bulk::pairs(name(path), Decompressed::new(open(path)?), on_bad)
}

fn open(path: &Path) -> Result<Input, ListError> {
    let refused = |source| ListError::Read { file: name(path), source };
    if path != Path::new(STANDARD_INPUT) {
        return Input::open(path).map_err(refused);
    }
    let input = Input::standard().map_err(refused)?;
    if input.is_terminal() {
        info!(target: "plan", "reading a list from this terminal: Ctrl-D ends it");
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use targets::reserved::floor;

    use super::*;

    #[test]
    fn reads_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allow.conf");
        fs::write(&path, "10.0.0.0/30\n").unwrap();
        assert_eq!(read(&path, Purpose::Probe, OnBadEntry::Fail, None).unwrap().to_set().len(), 4);
    }

    #[test]
    fn content_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        // SHA-256 of "abc" is the first example of FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (text, lines) in [("", 0), ("abc", 1), ("abc\n", 1), ("abc\n\nx", 3)] {
            fs::write(&path, text).unwrap();
            let content = content(&path).unwrap().unwrap();
            assert_eq!((content.bytes, content.lines), (text.len() as u64, lines), "{text:?}");
            assert_eq!(content.sha256 == abc, text == "abc");
        }
        assert_eq!(content(Path::new("/dev/null")).unwrap(), None);
        assert_eq!(content(Path::new(STANDARD_INPUT)).unwrap(), None);
        assert!(content(Path::new("/nonexistent")).is_err());
    }

    /// A compressed list is identified by its bytes on the disk, whatever comes behind the text, and has the lines of
    /// its text.
    #[test]
    fn content_of_a_compressed_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&b"192.0.2.1\n".repeat(1000)).unwrap();
        let packed = encoder.finish().unwrap();
        fs::write(&path, &packed).unwrap();
        let found = content(&path).unwrap().unwrap();
        let sha256 = Fingerprint(Sha256::digest(&packed).into()).to_string();
        assert_eq!(found, Content { sha256, bytes: packed.len() as u64, lines: 1000 });
        assert_eq!(text(&path).unwrap().len(), 10_000);
        fs::write(&path, &packed[..packed.len() - 1]).unwrap();
        let message = content(&path).unwrap_err().to_string();
        assert!(message.contains("its gzip data is cut off"), "{message}");
        let message = read(&path, Purpose::Probe, OnBadEntry::Skip, None).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("{}: its gzip data is cut off; make or fetch the file again", path.display())
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let missing = Path::new("/nonexistent/list");
        let message = read(missing, Purpose::Probe, OnBadEntry::Skip, None).unwrap_err().to_string();
        assert!(message.starts_with("cannot read /nonexistent/list: ") && message.ends_with("permissions"));
        let message = read_addresses(missing, OnBadEntry::Skip).unwrap_err().to_string();
        assert!(message.starts_with("cannot read /nonexistent/list: "), "{message}");
        assert!(read_pairs(Path::new("/"), OnBadEntry::Skip).is_err());
    }

    /// The block list that is shipped names the whole floor and nothing else.
    #[test]
    fn shipped_block_list_is_the_floor() {
        let shipped = include_bytes!("../../conf/blocklist.conf");
        let list = List::parse("blocklist.conf", shipped, Purpose::Probe, OnBadEntry::Fail).unwrap();
        assert_eq!(list.to_set(), floor(false));
    }
}
