//! The journal of targets that have answered, for a scan that goes on after an interruption: it then knows the repeats
//! of the runs before.
//!
//! Each target is in it once, when its first success comes; so it grows with the number of targets that answer, by four
//! bytes for each, or six with a port. In a scan with second probes an entry also says which probe was answered, in one
//! more byte, and a target whose other probe is answered later is in it a second time. What always holds: nothing in it
//! changes. A scan that goes on keeps as many of its bytes as the checkpoint says, just as of an output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use zerocopy::FromZeros as _;

use super::Dedup;
use crate::reply::record::Header;

/// What such a file begins with, before the number of bytes of an entry.
const HEAD: &[u8] = b"xdpmap seen 1, entries of ";
/// Bytes of an entry: the address, big end first, and the port.
const ADDRESS_LEN: usize = 4;
const TARGET_LEN: usize = ADDRESS_LEN + 2;
/// Bytes of the longest entry.
const ENTRY_MAX: usize = TARGET_LEN + 1;
/// Bytes that are gathered for one write. Fewer cost more calls; more take memory.
const BUFFER_LEN: usize = 1 << 16;
/// Bytes that may wait for a disk that is full. Fewer give up on one that is only slow; more take memory.
const WAITING_MAX: usize = 1 << 26;

/// Writes the journal.
#[derive(Debug)]
pub struct Seen {
    file: File,
    /// Bytes that are in the file.
    len: u64,
    buffer: Vec<u8>,
    shape: Shape,
    /// Too much could not be written: the journal is not complete any more.
    has_failed: bool,
}

/// What an entry has besides the address.
#[derive(Clone, Copy, Debug)]
struct Shape {
    has_port: bool,
    /// Whether it says which of two probes was answered.
    has_probe: bool,
}

impl Shape {
    /// That for `dedup`; `None` if it finds no repeats. With the probe there is the port, also where all targets have
    /// the same: whether a target is in the sample depends on it.
    fn of(dedup: &Dedup, has_probe: bool) -> Option<Self> {
        dedup.keeps_ports().map(|has_port| Self { has_port: has_port || has_probe, has_probe })
    }

    fn entry_len(self) -> usize {
        (if self.has_port { TARGET_LEN } else { ADDRESS_LEN }) + usize::from(self.has_probe)
    }

    fn head(self) -> Vec<u8> {
        let mut head = HEAD.to_vec();
        head.extend(format!("{}\n", self.entry_len()).into_bytes());
        head
    }
}

/// An entry that is read.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// A reply with the target's address and port, and no more.
    pub header: &'a Header,
    /// Whether it answered the second probe.
    pub is_second: bool,
    /// Whether an entry before it was about the same target.
    pub is_repeat: bool,
}

impl Seen {
    /// Begins a journal for `dedup`, in place of what is there; `None` if that finds no repeats. `has_probe` says
    /// whether an entry has which of two probes was answered.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn create(path: &Path, dedup: &Dedup, has_probe: bool) -> io::Result<Option<Self>> {
        let Some(shape) = Shape::of(dedup, has_probe) else { return Ok(None) };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut seen = Self { file, len: 0, buffer: shape.head(), shape, has_failed: false };
        seen.write_out()?;
        Ok(Some(seen))
    }

    /// Goes on with a journal of which the first `bytes` count, and marks its targets in `dedup`. Each entry is passed
    /// to `note` as well.
    ///
    /// # Errors
    /// The file is not such a journal, is shorter, or cannot be read.
    pub fn resume(
        path: &Path,
        bytes: u64,
        dedup: &mut Dedup,
        has_probe: bool,
        note: impl FnMut(&Earlier<'_>),
    ) -> io::Result<Option<Self>> {
        let Some(shape) = Shape::of(dedup, has_probe) else { return Ok(None) };
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.len() < bytes {
            return Err(io::Error::other(format!("it is shorter than at the checkpoint ({bytes} bytes)")));
        }
        read(&mut (&file).take(bytes), shape, dedup, note)?;
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Some(Self { file, len: bytes, buffer: vec![], shape, has_failed: false }))
    }

    /// A target has answered for the first time; or, if entries say which probe, has answered that one for the first
    /// time.
    pub fn note(&mut self, header: &Header, is_second: bool) {
        let Some(address) = Ipv6Addr::from(header.target).to_ipv4_mapped() else { return };
        if self.buffer.len() > WAITING_MAX {
            self.has_failed = true;
        }
        if self.has_failed {
            return;
        }
        self.buffer.extend(address.octets());
        if self.shape.has_port {
            self.buffer.extend(header.target_port.to_be_bytes());
        }
        if self.shape.has_probe {
            self.buffer.push(is_second.into());
        }
        // Once for each full buffer, also while what could not be written waits.
        let len = self.buffer.len();
        if len >= BUFFER_LEN && len % BUFFER_LEN < self.shape.entry_len() {
            // A failure is reported by the checkpoint that cannot be written.
            let _ = self.write_out();
        }
    }

    /// Writes all of it; returns the file, and how many bytes it has.
    ///
    /// # Errors
    /// The system's refusal, or an earlier one that was too long ago.
    pub fn place(&mut self) -> io::Result<(File, u64)> {
        if self.has_failed {
            return Err(io::Error::other("the journal of repeats could not be written for too long"));
        }
        self.write_out()?;
        Ok((self.file.try_clone()?, self.len))
    }

    /// Writes the buffer. What an error leaves of it is overwritten later.
    fn write_out(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.buffer) {
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(error);
        }
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Marks the targets of a journal.
fn read(
    journal: &mut impl io::Read,
    shape: Shape,
    dedup: &mut Dedup,
    mut note: impl FnMut(&Earlier<'_>),
) -> io::Result<()> {
    let expected = shape.head();
    let mut found = vec![0; expected.len()];
    journal.read_exact(&mut found)?;
    if found != expected {
        return Err(io::Error::other("it is not the journal of repeats of this scan"));
    }
    let mut journal = io::BufReader::with_capacity(BUFFER_LEN, journal);
    let mut entry = [0; ENTRY_MAX];
    let entry = &mut entry[..shape.entry_len()];
    loop {
        match journal.read_exact(entry) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let (address, rest) = entry.split_at(ADDRESS_LEN);
        let (port, probe) = rest.split_at(if shape.has_port { TARGET_LEN - ADDRESS_LEN } else { 0 });
        let address = address.iter().fold(0, |address, &byte| address << 8 | u32::from(byte));
        let port = port.iter().fold(0, |port, &byte| port << 8 | u16::from(byte));
        let mut header = Header::new_zeroed();
        (header.target, header.target_port) = (Ipv4Addr::from(address).to_ipv6_mapped().octets(), port);
        let is_repeat = dedup.check(&header, true);
        note(&Earlier { header: &header, is_second: probe.iter().any(|&probe| probe != 0), is_repeat });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::super::PortLimit;
    use super::*;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::header;

    /// How repeats are found, by number.
    fn dedup(number: usize) -> Dedup {
        let window = NonZeroUsize::new(100).unwrap();
        match number {
            0 => Dedup::full().bounded(1 << 30, window),
            1 => Dedup::targets().bounded(1 << 30, window),
            _ => Dedup::window(NonZeroUsize::new(1000).unwrap()),
        }
    }

    fn reply((address, port): (u32, u16)) -> Header {
        header(ReplyKind::SynAck, address.into(), port, 0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

        /// A scan that is interrupted finds the same repeats as one that is not, also if it was interrupted after the
        /// checkpoint.
        #[test]
        fn an_interruption_changes_nothing(
            before in prop::collection::vec((0u32..50, 0u16..3), 0..100),
            lost in prop::collection::vec((0u32..50, 0u16..3), 0..20),
            after in prop::collection::vec((0u32..50, 0u16..3), 0..100),
            method in 0usize..3,
            has_probe: bool,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("seen");
            let (mut whole, mut first) = (dedup(method), dedup(method));
            let limit = || PortLimit::new(2, dedup(1));
            let (mut limit_of_whole, mut limit_of_second) = (limit(), limit());
            let mut seen = Seen::create(&path, &first, has_probe).unwrap().unwrap();
            let mut answer = |seen: &mut Seen, target| {
                let header = reply(target);
                let repeat = first.check(&header, true);
                if !repeat {
                    seen.note(&header, target.1 == 1);
                }
                repeat
            };
            for &target in &before {
                let repeat = whole.check(&reply(target), true);
                prop_assert_eq!(answer(&mut seen, target), repeat);
                limit_of_whole.is_past(&reply(target), repeat);
            }
            let bytes = seen.place().unwrap().1;
            for &target in &lost {
                answer(&mut seen, target);
            }
            seen.place().unwrap();
            let mut second = dedup(method);
            let mut noted = Vec::new();
            let note = |earlier: &Earlier<'_>| {
                let Header { target, target_port, .. } = *earlier.header;
                if !earlier.is_repeat {
                    limit_of_second.is_past(earlier.header, false);
                }
                noted.push((target, target_port, earlier.is_second, earlier.is_repeat));
            };
            let mut seen = Seen::resume(&path, bytes, &mut second, has_probe, note).unwrap().unwrap();
            let mut marks = dedup(method);
            let firsts = before.iter().filter(|&&target| !marks.check(&reply(target), true));
            let of = |&target: &(u32, u16)| {
                let port = if has_probe || method > 0 { target.1 } else { 0 };
                (reply(target).target, port, has_probe && target.1 == 1, false)
            };
            let expected: Vec<_> = firsts.map(of).collect();
            prop_assert_eq!(noted, expected);
            prop_assert_eq!(seen.place().unwrap().0.metadata().unwrap().len(), bytes);
            for &target in &after {
                let repeat = whole.check(&reply(target), true);
                prop_assert_eq!(second.check(&reply(target), true), repeat);
                prop_assert_eq!(
                    limit_of_second.is_past(&reply(target), repeat),
                    limit_of_whole.is_past(&reply(target), repeat)
                );
            }
            prop_assert_eq!(limit_of_second.hosts(), limit_of_whole.hosts());
        }

        /// Whatever is in the file, it is a journal or an error.
        #[test]
        fn anything(bytes in prop::collection::vec(any::<u8>(), 0..100), has_head: bool) {
            for has_probe in [false, true] {
                let shape = Shape { has_port: true, has_probe };
                let text = if has_head { [shape.head(), bytes.clone()].concat() } else { bytes.clone() };
                prop_assert_eq!(read(&mut &text[..], shape, &mut dedup(1), |_| ()).is_ok(), has_head);
            }
        }
    }

    /// The file grows by whole buffers.
    #[test]
    fn answers_are_gathered_for_one_write() {
        for method in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("seen");
            let mut seen = Seen::create(&path, &dedup(method), false).unwrap().unwrap();
            let file_len = || fs::metadata(&path).unwrap().len();
            let (head, entry) = (file_len(), seen.shape.entry_len());
            let fills = BUFFER_LEN.div_ceil(entry);
            for written in 0..2 {
                let before = head + (written * fills * entry) as u64;
                for number in 1..fills {
                    seen.note(&reply((number as u32, 1)), false);
                    assert_eq!(file_len(), before, "method {method}, entry {number}");
                }
                seen.note(&reply((fills as u32, 1)), false);
                assert_eq!(file_len(), before + (fills * entry) as u64, "method {method}");
            }
        }
    }

    #[test]
    fn what_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        assert!(Seen::create(&path, &Dedup::None, false).unwrap().is_none(), "nothing is a repeat");
        let mut seen = Seen::create(&path, &dedup(0), false).unwrap().unwrap();
        seen.note(&reply((7, 80)), false);
        let bytes = seen.place().unwrap().1;
        let resume = |path: &Path, bytes, method, has_probe| {
            Seen::resume(path, bytes, &mut dedup(method), has_probe, |_| ())
        };
        assert!(resume(&path, bytes + 1, 0, false).is_err(), "it is shorter");
        assert!(resume(&path, bytes, 1, false).is_err(), "it has no ports");
        assert!(resume(&path, bytes, 0, true).is_err(), "it does not say which probe");
        assert!(resume(&path, bytes, 0, false).is_ok());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(resume(&link, bytes, 0, false).is_err(), "never through a link");
    }
}
