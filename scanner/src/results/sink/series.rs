//! A series of files, one after the other.
//!
//! The first has the given name, the next is `results-00002.csv` for `results.csv`, and so on. Each is a whole file of
//! its format. What always holds: only the named file is overwritten. A file that has been followed by another is
//! synced by a separate thread, so that nothing waits for that while results come in.

use std::fs::{self, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::mem;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::closer::{Begun, Closer};
use super::series_names::{PART, first_number, following, numbered, part_of};
use crate::printable::printable;
use crate::results::output::{
    Output, OutputError, OutputPart, Place, Reach, Replacement, folder_of, sync_folder,
};

/// When to continue with a new file. A file without results is never followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After this time.
    pub after: Option<Duration>,
    /// After this many bytes.
    pub bytes: Option<u64>,
}

impl Rotation {
    /// Whether there may be a second file.
    pub fn is_on(self) -> bool {
        self != Self::default()
    }
}

/// Where a series begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the named file, which is overwritten.
    New,
    /// Behind the results of an earlier scan.
    Append,
    /// Where this scan was when it was interrupted: what it wrote after that is removed.
    Resume(Reach),
}

impl Start {
    /// As the settings of an output say.
    pub fn of(append: bool, resume_at: Option<&Reach>) -> Self {
        match resume_at {
            Some(reach) => Self::Resume(reach.clone()),
            None if append => Self::Append,
            None => Self::New,
        }
    }
}

/// When the files of a series get their names. Before, they have `.part` behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// They have them from the start.
    AtOnce,
    /// Each one when it is complete.
    Complete,
    /// The last one only when the scan is whole, because another run may write on in it; those before it when they are
    /// complete.
    Whole,
}

/// The present file of a series, and the rule for the next.
#[derive(Debug)]
pub struct Series {
    path: PathBuf,
    rotation: Rotation,
    number: u32,
    names: Names,
    /// The file that an interruption has left incomplete.
    broken: Option<Broken>,
    /// Whether this scan may have left later files, whose results do not count.
    may_have_later: bool,
    present: Begun,
    opened: Instant,
    closer: Closer,
}

impl Series {
    /// Opens the first file. To append, it is the one at `path`, or the one after the last existing one.
    ///
    /// # Errors
    /// The file cannot be opened, or an earlier scan has left files that this one might have to overwrite.
    pub fn open(path: &Path, start: &Start, rotation: Rotation) -> Result<Self, OutputError> {
        Self::open_as(path, start, rotation, Rotation::default(), Names::AtOnce)
    }

    /// As [`open`](Self::open), for files with an interim name. The last one keeps it until
    /// [`put_in_place`](Self::put_in_place), the others until they are complete.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_atomic(path: &Path, start: &Start, rotation: Rotation) -> Result<Self, OutputError> {
        Self::open_as(path, start, rotation, Rotation::default(), Names::Whole)
    }

    /// As [`open`](Self::open), for files with an interim name until they are complete. Where a next file is possible,
    /// `otherwise` decides on it if `rotation` does not.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_parts(
        path: &Path,
        start: &Start,
        rotation: Rotation,
        otherwise: Rotation,
    ) -> Result<Self, OutputError> {
        Self::open_as(path, start, rotation, otherwise, Names::Complete)
    }

    fn open_as(
        path: &Path,
        start: &Start,
        rotation: Rotation,
        otherwise: Rotation,
        names: Names,
    ) -> Result<Self, OutputError> {
        let path = path.to_owned();
        let is_special = fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let rotation = match (rotation.is_on(), is_special) {
            (true, true) => {
                let is_timed = rotation.after.is_some();
                let part = if is_timed { OutputPart::RotateTime } else { OutputPart::RotateBytes };
                let what = format!(
                    "{} is not a regular file, so no second file can follow it; name another",
                    printable(&path)
                );
                return Err(OutputError::Refused { part, what });
            }
            (true, false) => rotation,
            (false, true) => Rotation::default(),
            (false, false) => otherwise,
        };
        let broken = match start {
            Start::Resume(reach) => Broken::find(&path, reach)?,
            Start::New | Start::Append => None,
        };
        let number = match start {
            Start::Resume(reach) => reach.number.max(1) + u32::from(broken.is_some()),
            Start::New | Start::Append if rotation.is_on() => first_number(&path, *start == Start::Append)?,
            Start::New | Start::Append => 1,
        };
        let may_have_later = rotation.is_on() && matches!(start, Start::Resume(_));
        // Of a file in which nothing counts, the name may be that of an earlier scan's.
        let may_be_named = names == Names::Whole && matches!(start, Start::Resume(Reach { bytes: 1.., .. }));
        let first = numbered(&path, number);
        let present = match may_be_named {
            true => Begun::reopen(&first)?,
            false => Begun::open(&first, names != Names::AtOnce)?,
        };
        let (opened, closer) = (Instant::now(), Closer::default());
        Ok(Self { path, rotation, number, names, broken, may_have_later, present, opened, closer })
    }

    /// A series of one output that is already open, such as a pipe.
    pub fn single(output: Output) -> Self {
        Self {
            path: PathBuf::from(output.name()),
            rotation: Rotation::default(),
            number: 1,
            names: Names::AtOnce,
            broken: None,
            may_have_later: false,
            present: Begun { output, replacement: None, above: None },
            opened: Instant::now(),
            closer: Closer::default(),
        }
    }

    /// Called when results begin, which follow the first `keep` bytes of the present file. Makes whole what an
    /// interruption has left, and removes what does not count of it. Starts the thread that closes files, if others can
    /// follow the first.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn begin(&mut self, keep: u64) -> Result<(), OutputError> {
        if let Some(broken) = self.broken.take() {
            let name = printable(&broken.target);
            broken.complete().map_err(|source| OutputError::Write { name, source })?;
        }
        self.present.begin(keep)?;
        if self.may_have_later {
            for file in following(&self.path, self.number) {
                let removed = fs::remove_file(&file);
                removed.map_err(|source| OutputError::Write { name: printable(&file), source })?;
            }
        }
        if self.rotation.is_on() {
            self.closer.start(false);
        }
        Ok(())
    }

    /// The present file.
    pub fn output(&mut self) -> &mut Output {
        &mut self.present.output
    }

    /// The number of the present file, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.present.output.name()
    }

    /// Whether the present file, with this many bytes in it, is full.
    pub fn is_full(&self, bytes: u64) -> bool {
        self.rotation.bytes.is_some_and(|most| bytes >= most)
    }

    /// How far it is, if the first `bytes` of the present file are complete records, and `footer` makes a whole file of
    /// them.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn place(&self, bytes: u64, footer: Vec<u8>) -> Result<Place, OutputError> {
        let under_way = self.rotation.is_on().then(|| self.closer.under_way());
        let reach = Reach { number: self.number, bytes, footer };
        Ok(Place { reach, file: self.present.output.file()?, under_way })
    }

    /// How far it is, if the present file is complete, and nothing can follow in it.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn place_behind(&self) -> Result<Place, OutputError> {
        let mut place = self.place(0, vec![])?;
        place.reach.number += 1;
        Ok(place)
    }

    /// Whether the present file has been open for long enough.
    pub fn is_over(&self) -> bool {
        self.rotation.after.is_some_and(|after| self.opened.elapsed() >= after)
    }

    /// Continues with the next file, which is empty. The present one is complete.
    ///
    /// # Errors
    /// The next file cannot be opened, for example because it exists. Or an earlier one could not be synced to the
    /// disk.
    pub fn advance(&mut self) -> Result<(), OutputError> {
        let (path, parts) = (numbered(&self.path, self.number + 1), self.names != Names::AtOnce);
        let next = match self.present.output.persist(|| Begun::open_next(&path, parts)) {
            Ok(mut next) => {
                next.output.be_patient_as(&self.present.output);
                next
            }
            Err(error) => return self.finish().and(Err(error)),
        };
        self.number += 1;
        self.opened = Instant::now();
        self.closer.close(mem::replace(&mut self.present, next))
    }

    /// Syncs all files to the disk, and gives those with an interim name their final one. The last one is complete; it
    /// may keep its interim name ([`open_atomic`](Self::open_atomic)).
    ///
    /// # Errors
    /// One of them cannot be written, or renamed.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        let closed = self.closer.finish();
        let finished = match self.names {
            Names::Whole => self.present.output.finish(),
            Names::AtOnce | Names::Complete => self.present.finish(),
        };
        finished.and(closed)
    }

    /// Whether the last file has an interim name until the scan is whole.
    pub fn waits_for_name(&self) -> bool {
        self.names == Names::Whole && self.present.replacement.is_some()
    }

    /// Gives the last file its final name, if it has an interim one. It is finished, and the scan is whole.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn put_in_place(&mut self) -> Result<(), OutputError> {
        self.present.finish()
    }
}

impl Begun {
    fn open(path: &Path, part: bool) -> Result<Self, OutputError> {
        match part {
            true => Self::of(path, Replacement::open(path, "", PART)),
            false => Ok(Self { output: Output::open(path)?, replacement: None, above: None }),
        }
    }

    /// Opens a file that may have got its name since it was last written.
    fn reopen(path: &Path) -> Result<Self, OutputError> {
        Self::of(path, Replacement::reopen(path, "", PART))
    }

    /// A file with an interim name; what cannot be replaced has none.
    fn of(path: &Path, opened: io::Result<Option<(Replacement, Output)>>) -> Result<Self, OutputError> {
        match opened.map_err(|source| OutputError::Open { name: printable(path), source })? {
            Some((replacement, output)) => Ok(Self { output, replacement: Some(replacement), above: None }),
            None => Ok(Self { output: Output::open(path)?, replacement: None, above: None }),
        }
    }

    fn begin(&mut self, keep: u64) -> Result<(), OutputError> {
        let taken = self.replacement.as_mut().map_or(Ok(()), Replacement::take_back);
        taken.map_err(|source| OutputError::Write { name: self.output.name().to_owned(), source })?;
        self.output.begin(keep)
    }

    /// Opens a file that follows another one, and is empty.
    fn open_next(path: &Path, part: bool) -> Result<Self, OutputError> {
        if !part {
            return Ok(Self { output: Output::create(path)?, replacement: None, above: None });
        }
        if path.exists() {
            let name = printable(path);
            return Err(OutputError::Open { name, source: io::ErrorKind::AlreadyExists.into() });
        }
        let mut next = Self::open(path, true)?;
        // A part that a killed scan left is unusable.
        next.output.begin(0)?;
        Ok(next)
    }
}

/// A file of a format that cannot be continued, as an interruption has left it. As long as its first bytes are there,
/// it can be made whole, however often that is interrupted.
#[derive(Debug)]
struct Broken {
    /// Its interim name, or the final one if it was completed after the checkpoint.
    at: PathBuf,
    target: PathBuf,
    bytes: u64,
    footer: Vec<u8>,
}

impl Broken {
    /// The file that `reach` is about; `None` if nothing of it counts, or if it can be continued.
    fn find(path: &Path, reach: &Reach) -> Result<Option<Self>, OutputError> {
        if reach.footer.is_empty() {
            return Ok(None);
        }
        let target = numbered(path, reach.number);
        let failed = |source| OutputError::Open { name: printable(&target), source };
        let part = part_of(&target).map_err(failed)?;
        let at = if part.exists() { part } else { target.clone() };
        let len = fs::symlink_metadata(&at).ok().filter(fs::Metadata::is_file).map(|found| found.len());
        match len {
            Some(len) if len >= reach.bytes => {
                Ok(Some(Self { at, target, bytes: reach.bytes, footer: reach.footer.clone() }))
            }
            _ => Err(not_ours(&printable(&at), reach.bytes)),
        }
    }

    fn complete(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&self.at)?;
        file.set_len(self.bytes)?;
        file.seek(SeekFrom::Start(self.bytes))?;
        file.write_all(&self.footer)?;
        file.sync_all()?;
        if self.at != self.target {
            let (_, target) = Replacement::names(&self.target, "", PART)?;
            fs::rename(&self.at, target)?;
        }
        folder_of(&self.at).as_deref().map_or(Ok(()), sync_folder)
    }
}

/// The refusal of a file that has less than a checkpoint says.
pub(super) fn not_ours(name: &str, bytes: u64) -> OutputError {
    let what = format!(
        "{name} is not the file of this scan any more: it is shorter than at the checkpoint ({bytes} bytes), or has other \
         columns"
    );
    OutputError::Refused { part: OutputPart::File, what }
}

#[cfg(test)]
mod tests {
    use super::super::series_names::last_number;
    use super::*;

    #[test]
    fn what_is_there_is_found_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv");
        let open = |append| {
            let rotation = Rotation { after: None, bytes: Some(1) };
            Series::open(&path, &Start::of(append, None), rotation)
        };
        assert_eq!(last_number(&path).unwrap(), None);
        fs::write(&path, "1").unwrap();
        assert!(open(false).is_ok());
        assert_eq!(open(true).unwrap().number, 2);
        for name in ["r-00002.csv", "r-00010.csv", "r-2.csv", "r-x0000.csv", "q-00011.csv", "r-00012.json"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(last_number(&path).unwrap(), Some(10));
        let error = open(false).unwrap_err().to_string();
        assert!(error.contains("r-00010.csv") && error.contains("exists from an earlier scan"), "{error}");
        let mut series = open(true).unwrap();
        assert_eq!(series.number, 11);
        fs::write(folder.path().join("r-00012.csv"), "").unwrap();
        assert!(matches!(series.advance(), Err(OutputError::Open { .. })));
    }
}
