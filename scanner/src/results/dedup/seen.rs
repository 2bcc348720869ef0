//! The journal of targets that have answered, for a scan that goes on after an interruption: it then knows the repeats
//! of the runs before.
//!
//! Each target is in it once, when its first success comes; so it grows with the number of targets that answer, by four
//! bytes for each, or six with a port. What always holds: nothing in it changes. A scan that goes on keeps as many of
//! its bytes as the checkpoint says, just as of an output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::Ipv6Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{Dedup, PortLimit};
use crate::reply::record::Header;

/// What such a file begins with, before the number of bytes of an entry.
const HEAD: &[u8] = b"xdpmap seen 1, entries of ";
/// Bytes of an entry: the address, big end first, and the port.
const ADDRESS_LEN: usize = 4;
const TARGET_LEN: usize = ADDRESS_LEN + 2;
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
    has_port: bool,
    /// Too much could not be written: the journal is not complete any more.
    has_failed: bool,
}

impl Seen {
    /// Begins a journal for `dedup`, in place of what is there; `None` if that finds no repeats.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn create(path: &Path, dedup: &Dedup) -> io::Result<Option<Self>> {
        let Some(has_port) = dedup.keeps_ports() else { return Ok(None) };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut seen = Self { file, len: 0, buffer: head(has_port), has_port, has_failed: false };
        seen.write_out()?;
        Ok(Some(seen))
    }

    /// Goes on with a journal of which the first `bytes` count: marks its targets in `dedup`, and counts their hosts in
    /// `limit`.
    ///
    /// # Errors
    /// The file is not such a journal, is shorter, or cannot be read.
    pub fn resume(
        path: &Path,
        bytes: u64,
        dedup: &mut Dedup,
        limit: Option<&mut PortLimit>,
    ) -> io::Result<Option<Self>> {
        let Some(has_port) = dedup.keeps_ports() else { return Ok(None) };
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.len() < bytes {
            return Err(io::Error::other(format!("it is shorter than at the checkpoint ({bytes} bytes)")));
        }
        read(&mut (&file).take(bytes), has_port, dedup, limit)?;
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Some(Self { file, len: bytes, buffer: vec![], has_port, has_failed: false }))
    }

    /// A target has answered for the first time.
    pub fn note(&mut self, header: &Header) {
        let Some(address) = Ipv6Addr::from(header.target).to_ipv4_mapped() else { return };
        if self.buffer.len() > WAITING_MAX {
            self.has_failed = true;
        }
        if self.has_failed {
            return;
        }
        self.buffer.extend(address.octets());
        if self.has_port {
            self.buffer.extend(header.target_port.to_be_bytes());
        }
        // Once for each full buffer, also while what could not be written waits.
        let len = self.buffer.len();
        if len >= BUFFER_LEN && len % BUFFER_LEN < entry_len(self.has_port) {
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

fn entry_len(has_port: bool) -> usize {
    if has_port { TARGET_LEN } else { ADDRESS_LEN }
}

fn head(has_port: bool) -> Vec<u8> {
    let mut head = HEAD.to_vec();
    head.extend(format!("{}\n", entry_len(has_port)).into_bytes());
    head
}

/// Marks the targets of a journal, and counts their hosts.
fn read(
    journal: &mut impl io::Read,
    has_port: bool,
    dedup: &mut Dedup,
    mut limit: Option<&mut PortLimit>,
) -> io::Result<()> {
    let expected = head(has_port);
    let mut found = vec![0; expected.len()];
    journal.read_exact(&mut found)?;
    if found != expected {
        return Err(io::Error::other("it is not the journal of repeats of this scan"));
    }
    let mut journal = io::BufReader::with_capacity(BUFFER_LEN, journal);
    let mut entry = [0; TARGET_LEN];
    let entry = &mut entry[..entry_len(has_port)];
    loop {
        match journal.read_exact(entry) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let (address, port) = entry.split_at(ADDRESS_LEN);
        let address = address.iter().fold(0, |address, &byte| address << 8 | u32::from(byte));
        let port = port.iter().fold(0, |port, &byte| port << 8 | u16::from(byte));
        dedup.mark(address.into(), port);
        if let Some(limit) = &mut limit {
            limit.count(address.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

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
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("seen");
            let (mut whole, mut first) = (dedup(method), dedup(method));
            let limit = || PortLimit::new(2, dedup(1));
            let (mut limit_of_whole, mut limit_of_second) = (limit(), limit());
            let mut seen = Seen::create(&path, &first).unwrap().unwrap();
            let mut answer = |seen: &mut Seen, target| {
                let header = reply(target);
                let repeat = first.check(&header, true);
                if !repeat {
                    seen.note(&header);
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
            let mut seen = Seen::resume(&path, bytes, &mut second, Some(&mut limit_of_second)).unwrap().unwrap();
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
            let text = if has_head { [head(true), bytes].concat() } else { bytes };
            prop_assert_eq!(read(&mut &text[..], true, &mut dedup(1), None).is_ok(), has_head);
        }
    }

    /// The file grows by whole buffers.
    #[test]
    fn answers_are_gathered_for_one_write() {
        for method in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("seen");
            let mut seen = Seen::create(&path, &dedup(method)).unwrap().unwrap();
            let file_len = || fs::metadata(&path).unwrap().len();
            let (head, entry) = (file_len(), entry_len(seen.has_port));
            let fills = BUFFER_LEN.div_ceil(entry);
            for written in 0..2 {
                let before = head + (written * fills * entry) as u64;
                for number in 1..fills {
                    seen.note(&reply((number as u32, 1)));
                    assert_eq!(file_len(), before, "method {method}, entry {number}");
                }
                seen.note(&reply((fills as u32, 1)));
                assert_eq!(file_len(), before + (fills * entry) as u64, "method {method}");
            }
        }
    }

    #[test]
    fn what_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        assert!(Seen::create(&path, &Dedup::None).unwrap().is_none(), "nothing is a repeat");
        let mut seen = Seen::create(&path, &dedup(0)).unwrap().unwrap();
        seen.note(&reply((7, 80)));
        let bytes = seen.place().unwrap().1;
        assert!(Seen::resume(&path, bytes + 1, &mut dedup(0), None).is_err(), "it is shorter");
        assert!(Seen::resume(&path, bytes, &mut dedup(1), None).is_err(), "it has no ports");
        assert!(Seen::resume(&path, bytes, &mut dedup(0), None).is_ok());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Seen::resume(&link, bytes, &mut dedup(0), None).is_err(), "never through a link");
    }
}
