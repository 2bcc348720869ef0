//! The names of the files of a series, and what can be done with files by their names alone.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::printable::printable;
use crate::results::output::{OutputError, Replacement, folder_path};

/// What is behind the name of a file that is not complete.
pub(super) const PART: &str = ".part";

/// The file of a series with this number, from 1.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
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

/// The highest number among the existing files of a series.
pub(super) fn last_number(path: &Path) -> io::Result<Option<u32>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned() + "-";
    let extension = path.extension().map_or_else(String::new, |it| format!(".{}", it.to_string_lossy()));
    let mut last = path.exists().then_some(1);
    for entry in fs::read_dir(folder_path(path))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let digits = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(&extension));
        let number = digits.filter(|digits| digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit()));
        last = last.max(number.and_then(|digits| digits.parse().ok()));
    }
    Ok(last)
}

/// The number of the first file of a scan that begins.
pub(super) fn first_number(path: &Path, append: bool) -> Result<u32, OutputError> {
    let last = last_number(path).map_err(|source| OutputError::Open { name: printable(path), source })?;
    match last {
        Some(last) if append => Ok(last + 1),
        Some(last @ 2..) => Err(OutputError::Exists { name: printable(numbered(path, last)) }),
        _ => Ok(1),
    }
}

/// The name of this file until it is complete.
pub fn part_of(path: &Path) -> io::Result<PathBuf> {
    Replacement::names(path, "", PART).map(|(interim, _)| interim)
}

/// The files that follow the one with this number, complete or not, as long as one is there after the other. A series
/// never begins before an existing file, so they are of the same scan.
pub fn following(path: &Path, number: u32) -> Vec<PathBuf> {
    let both = |number| {
        let file = numbered(path, number);
        let part = part_of(&file).ok().filter(|part| part.exists());
        let files = file.exists().then_some(file).into_iter().chain(part);
        Some(files.collect::<Vec<_>>()).filter(|files| !files.is_empty())
    };
    (number + 1..).map_while(both).flatten().collect()
}

/// Moves the files of a series to the name `aside`. `number` is that of the last file that must be there; more may
/// follow. Where they have their names only once they are whole (`is_atomic`), a whole file beside one that is not is
/// of an earlier scan, and stays.
///
/// # Errors
/// The system's refusal. One of the new names may be in use.
pub fn set_aside(path: &Path, aside: &Path, number: u32, is_atomic: bool) -> io::Result<()> {
    let mut at = 1;
    loop {
        let (old, new) = (numbered(path, at), numbered(aside, at));
        let part = part_of(&old)?;
        let mut is_there = false;
        if old.symlink_metadata().is_ok() && !(is_atomic && part.exists()) {
            rename_new(&old, &new)?;
            is_there = true;
        }
        if part.exists() {
            let part_aside = part_of(&new)?;
            // Both are beside the file that a link leads to.
            if part != part_aside {
                rename_new(&part, &part_aside)?;
            }
            is_there = true;
        }
        if !is_there && at >= number {
            return Ok(());
        }
        at += 1;
    }
}

/// Renames a file, and replaces none.
pub(super) fn rename_new(old: &Path, new: &Path) -> io::Result<()> {
    if new.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(old, new)
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
    fn a_series_is_moved_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["r.csv", "r-00002.csv", "r-00003.csv.part", "r-00005.csv", "r-x.csv"] {
            fs::write(at(name), name).unwrap();
        }
        assert_eq!(following(&at("r.csv"), 1), [at("r-00002.csv"), at("r-00003.csv.part")]);
        set_aside(&at("r.csv"), &at("r.csv.1"), 1, false).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["r-00005.csv", "r-x.csv", "r.csv-00002.1", "r.csv-00003.1.part", "r.csv.1"]);
        // Nothing is overwritten.
        fs::write(at("r.csv"), "").unwrap();
        assert!(set_aside(&at("r.csv"), &at("r.csv.1"), 1, false).is_err());
        assert_eq!(fs::read_to_string(at("r.csv.1")).unwrap(), "r.csv");
    }

    #[test]
    fn whole_results_of_an_earlier_scan_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["r.csv", "r.csv.part", "s.csv", "s-00002.csv.part"] {
            fs::write(at(name), name).unwrap();
        }
        set_aside(&at("r.csv"), &at("r.csv.1"), 1, true).unwrap();
        set_aside(&at("s.csv"), &at("s.csv.1"), 2, true).unwrap();
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["r.csv", "r.csv.1.part", "s.csv-00002.1.part", "s.csv.1"]);
    }
}
