//! One file after the other.
//!
//! The first has the name that was given, the next `results-00002.csv` for `results.csv`, and so on. Each is a whole
//! file of its format. What always holds: nothing that is there is written over but the file that was named; a file that is
//! left for the next one is brought to the disk by a thread of its own, so that nobody waits for that while results come in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, mem};

use crate::printable::printable;
use crate::results::output::{Output, OutputError, Replacement};

/// Files that wait to be brought to the disk.
const CLOSING_LEN: usize = 16;

/// When to go on with a new file. One without results is never left for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After so long.
    pub after: Option<Duration>,
    /// Once it has so many bytes.
    pub bytes: Option<u64>,
}

impl Rotation {
    /// Whether there is ever a second file.
    pub fn is_on(self) -> bool {
        self != Self::default()
    }
}

/// The present file of a series, and what decides on the next.
#[derive(Debug)]
pub struct Series {
    path: PathBuf,
    rotation: Rotation,
    number: u32,
    /// Whether a file has `.part` behind its name until it is complete.
    parts: bool,
    present: Begun,
    opened: Instant,
    closer: Closer,
}

impl Series {
    /// Opens the first file. With `append` it is the one at `path`, or the one after the last that is there.
    ///
    /// # Errors
    /// The file is not to be had, or an earlier scan has left files that this one might have to write over.
    pub fn open(path: &Path, append: bool, rotation: Rotation) -> Result<Self, OutputError> {
        Self::open_as(path, append, rotation, Rotation::default(), false)
    }

    /// As [`open`](Self::open), for files that have another name until they are complete. Those that can have a next one have
    /// it by `otherwise` if not by `rotation`.
    ///
    /// # Errors
    /// As there.
    pub fn open_parts(
        path: &Path,
        append: bool,
        rotation: Rotation,
        otherwise: Rotation,
    ) -> Result<Self, OutputError> {
        Self::open_as(path, append, rotation, otherwise, true)
    }

    fn open_as(
        path: &Path,
        append: bool,
        rotation: Rotation,
        otherwise: Rotation,
        parts: bool,
    ) -> Result<Self, OutputError> {
        let path = path.to_owned();
        let is_special = fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let rotation = match (rotation.is_on(), is_special) {
            (true, true) => {
                let flag = if rotation.after.is_some() { "--rotate-seconds" } else { "--rotate-bytes" };
                let what = format!(
                    "{} is no regular file, and none can follow it; name another with -o",
                    printable(&path)
                );
                return Err(OutputError::Refused { flag, what });
            }
            (true, false) => rotation,
            (false, true) => Rotation::default(),
            (false, false) => otherwise,
        };
        let mut number = 1;
        if rotation.is_on() {
            let last = last_number(&path);
            match last.map_err(|source| OutputError::Open { name: printable(&path), source })? {
                Some(last) if append => number = last + 1,
                Some(last @ 2..) => {
                    let what = format!(
                        "{} is there from an earlier scan; move it away, or give --append to go on after it",
                        printable(numbered(&path, last))
                    );
                    return Err(OutputError::Refused { flag: "--output-file", what });
                }
                _ => {}
            }
        }
        let present = Begun::open(&numbered(&path, number), parts)?;
        let closer = Closer::default();
        Ok(Self { path, rotation, number, parts, present, opened: Instant::now(), closer })
    }

    /// A series of one that is open already, such as a pipe.
    pub fn single(output: Output) -> Self {
        Self {
            path: PathBuf::from(output.name()),
            rotation: Rotation::default(),
            number: 1,
            parts: false,
            present: Begun { output, replacement: None },
            opened: Instant::now(),
            closer: Closer::default(),
        }
    }

    /// The present file.
    pub fn output(&mut self) -> &mut Output {
        &mut self.present.output
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.present.output.name()
    }

    /// Whether the present file, with so many bytes in it, is full.
    pub fn is_full(&self, bytes: u64) -> bool {
        self.rotation.bytes.is_some_and(|most| bytes >= most)
    }

    /// Whether the present file has been open for long enough.
    pub fn is_over(&self) -> bool {
        self.rotation.after.is_some_and(|after| self.opened.elapsed() >= after)
    }

    /// Goes on with the next file, which is empty. The present one is complete.
    ///
    /// # Errors
    /// It is not to be had; one that is there already is such a case. Or an earlier one could not be brought to the disk.
    pub fn advance(&mut self) -> Result<(), OutputError> {
        let next = self.open_next();
        let next = match next {
            Ok(next) => next,
            Err(error) => return self.finish().and(Err(error)),
        };
        self.number += 1;
        self.opened = Instant::now();
        self.closer.close(mem::replace(&mut self.present, next))
    }

    /// Brings all files to the disk and gives those that lack it their names. The last one is complete.
    ///
    /// # Errors
    /// One of them cannot be written, or renamed.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        let closed = self.closer.finish();
        self.present.finish().and(closed)
    }

    fn open_next(&self) -> Result<Begun, OutputError> {
        let path = numbered(&self.path, self.number + 1);
        if !self.parts {
            return Ok(Begun { output: Output::create(&path)?, replacement: None });
        }
        if path.exists() {
            let name = printable(&path);
            return Err(OutputError::Open { name, source: io::ErrorKind::AlreadyExists.into() });
        }
        let mut next = Begun::open(&path, true)?;
        // A part that a killed scan left is of no use to anybody.
        next.output.begin(0)?;
        Ok(next)
    }
}

/// A file of a series.
#[derive(Debug)]
struct Begun {
    output: Output,
    /// The name that it gets when it is complete, if it has another one until then.
    replacement: Option<Replacement>,
}

impl Begun {
    fn open(path: &Path, part: bool) -> Result<Self, OutputError> {
        if part {
            let opened = Replacement::open(path, "", ".part");
            let opened = opened.map_err(|source| OutputError::Open { name: printable(path), source });
            if let Some((replacement, output)) = opened? {
                return Ok(Self { output, replacement: Some(replacement) });
            }
        }
        Ok(Self { output: Output::open(path)?, replacement: None })
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.output.finish()?;
        let named = self.replacement.take().map_or(Ok(()), |replacement| replacement.put_in_place());
        named.map_err(|source| OutputError::from_write(self.output.name(), source))
    }
}

/// Brings files to the disk that have been left for the next one.
#[derive(Debug, Default)]
struct Closer {
    queue: Option<SyncSender<Begun>>,
    thread: Option<JoinHandle<Result<(), OutputError>>>,
}

impl Closer {
    fn close(&mut self, mut file: Begun) -> Result<(), OutputError> {
        if self.thread.is_none() {
            let (queue, files) = sync_channel::<Begun>(CLOSING_LEN);
            let close = move || files.iter().try_for_each(|mut file| file.finish());
            match thread::Builder::new().name("closer".to_owned()).spawn(close) {
                Ok(thread) => (self.queue, self.thread) = (Some(queue), Some(thread)),
                Err(_) => return file.finish(),
            }
        }
        match &self.queue {
            Some(queue) if queue.send(file).is_ok() => Ok(()),
            // It has ended by an error.
            _ => self.finish(),
        }
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.queue = None;
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or(Err(OutputError::Panic)))
    }
}

/// The file of a series with this number, from 1.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:05}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The highest number among the files of a series that are there.
fn last_number(path: &Path) -> io::Result<Option<u32>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned() + "-";
    let extension = path.extension().map_or_else(String::new, |it| format!(".{}", it.to_string_lossy()));
    let mut last = path.exists().then_some(1);
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let digits = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(&extension));
        let number = digits.filter(|digits| digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit()));
        last = last.max(number.and_then(|digits| digits.parse().ok()));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = |path: &str, number| numbered(Path::new(path), number).display().to_string();
        assert_eq!(name("a/results.csv", 1), "a/results.csv");
        assert_eq!(name("a/results.csv", 2), "a/results-00002.csv");
        assert_eq!(name("results", 100_000), "results-100000");
        assert_eq!(name("a.b/c.d.json", 7), "a.b/c.d-00007.json");
    }

    #[test]
    fn what_is_there_is_found_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv");
        let open = |append| {
            let rotation = Rotation { after: None, bytes: Some(1) };
            Series::open(&path, append, rotation)
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
        assert!(error.contains("r-00010.csv") && error.contains("--append"), "{error}");
        let mut series = open(true).unwrap();
        assert_eq!(series.number, 11);
        fs::write(folder.path().join("r-00012.csv"), "").unwrap();
        assert!(matches!(series.advance(), Err(OutputError::Open { .. })));
    }
}
