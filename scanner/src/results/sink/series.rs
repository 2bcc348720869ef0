//! One file after the other.
//!
//! The first has the name that was given, the next `results-00002.csv` for `results.csv`, and so on. Each is a whole
//! file of its format. What always holds: nothing that is there is written over but the file that was named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::printable::printable;
use crate::results::output::{Output, OutputError};

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
    output: Output,
    opened: Instant,
}

impl Series {
    /// Opens the first file. With `append` it is the one at `path`, or the one after the last that is there.
    ///
    /// # Errors
    /// The file is not to be had, or an earlier scan has left files that this one might have to write over.
    pub fn open(path: &Path, append: bool, rotation: Rotation) -> Result<Self, OutputError> {
        Self::open_as(path, append, rotation, false)
    }

    /// As [`open`](Self::open), for files that have another name until they are complete.
    ///
    /// # Errors
    /// As there.
    pub fn open_parts(path: &Path, append: bool, rotation: Rotation) -> Result<Self, OutputError> {
        Self::open_as(path, append, rotation, true)
    }

    fn open_as(path: &Path, append: bool, rotation: Rotation, parts: bool) -> Result<Self, OutputError> {
        let path = path.to_owned();
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
        let output = Output::open(present(&path, number, parts))?;
        Ok(Self { path, rotation, number, parts, output, opened: Instant::now() })
    }

    /// A series of one that is open already, such as a pipe.
    pub fn single(output: Output) -> Self {
        let path = PathBuf::from(output.name());
        Self { path, rotation: Rotation::default(), number: 1, parts: false, output, opened: Instant::now() }
    }

    /// The present file.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.output.name()
    }

    /// Whether the present file, with so many bytes in it, is full.
    pub fn is_full(&self, bytes: u64) -> bool {
        self.rotation.bytes.is_some_and(|most| bytes >= most)
    }

    /// Whether the present file has been open for long enough.
    pub fn is_over(&self) -> bool {
        self.rotation.after.is_some_and(|after| self.opened.elapsed() >= after)
    }

    /// Gives the present file, which is complete, its name.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn complete(&self) -> Result<(), OutputError> {
        let from = present(&self.path, self.number, self.parts);
        let renamed = fs::rename(from, numbered(&self.path, self.number));
        renamed.map_err(|source| OutputError::from_write(self.name(), source))
    }

    /// Goes on with the next file, which is empty.
    ///
    /// # Errors
    /// It is not to be had; one that is there already is such a case.
    pub fn advance(&mut self) -> Result<(), OutputError> {
        let path = numbered(&self.path, self.number + 1);
        if self.parts && path.exists() {
            let name = printable(&path);
            return Err(OutputError::Open { name, source: io::ErrorKind::AlreadyExists.into() });
        }
        let path = present(&self.path, self.number + 1, self.parts);
        self.output = if self.parts {
            // A part that a killed scan left is of no use to anybody.
            let mut output = Output::open(&path)?;
            output.begin(0)?;
            output
        } else {
            Output::create(&path)?
        };
        self.number += 1;
        self.opened = Instant::now();
        Ok(())
    }
}

/// What the file with this number is called while it is written.
fn present(path: &Path, number: u32, parts: bool) -> PathBuf {
    let mut name = numbered(path, number).into_os_string();
    if parts {
        name.push(".part");
    }
    name.into()
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
