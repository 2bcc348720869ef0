//! Which files a partitioned output has, by their names alone.
//!
//! The files of each port, or of each shard, are in a folder of their own, whose name is the column and its value, as
//! Hive has it: `results/port=80/part-00007.parquet`. Files are numbered through all folders of a scan, in the order
//! in which they are begun, so one number says which of them a checkpoint counts. Several shards may share the folder:
//! each has names of its own. What always holds: a file that is not complete begins with a dot, which readers of data
//! sets pass over.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::series_names::{PART, rename_new};

/// What is before the name of a file that is not complete.
pub(super) const HIDDEN: &str = ".";
const ENDING: &str = ".parquet";

/// What results are parted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionBy {
    /// The port that was probed.
    Port,
    /// The shard of the scan.
    Shard,
}

impl PartitionBy {
    /// The name of the column that it makes.
    pub fn column(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Shard => "shard",
        }
    }
}

/// The files of a scan in a partitioned output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partitions {
    /// What they are parted by.
    pub by: PartitionBy,
    /// The number of the scan's shard.
    pub shard: u32,
    /// How many shards there are.
    pub shards: u32,
}

/// A file that is there.
struct Own {
    path: PathBuf,
    number: u32,
    is_whole: bool,
}

impl Partitions {
    /// The folder of a port or shard.
    pub(super) fn folder(self, root: &Path, value: u32) -> PathBuf {
        root.join(format!("{}={value}", self.by.column()))
    }

    /// The name of the file with this number.
    pub(super) fn name(self, number: u32) -> String {
        format!("{}{number:05}{ENDING}", self.prefix())
    }

    /// What the names of the scan's files begin with.
    fn prefix(self) -> String {
        match self.shards {
            0 | 1 => "part-".to_owned(),
            _ => format!("part-shard{:05}-", self.shard),
        }
    }

    /// Whether the scan has files in a folder of this name.
    fn is_own_folder(self, name: &str) -> bool {
        let value = name.strip_prefix(self.by.column()).and_then(|rest| rest.strip_prefix('='));
        let value = value.and_then(|value| value.parse::<u32>().ok());
        match self.by {
            PartitionBy::Port => value.is_some(),
            PartitionBy::Shard => value == Some(self.shard),
        }
    }

    /// The number of a file of the scan, and whether it is complete.
    fn number(self, name: &str) -> Option<(u32, bool)> {
        let hidden = name.strip_prefix(HIDDEN).and_then(|name| name.strip_suffix(PART));
        let digits = hidden.unwrap_or(name).strip_prefix(&self.prefix())?.strip_suffix(ENDING)?;
        let is_number = digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_number).map(|number| (number, hidden.is_none()))
    }

    /// The scan's files below `root`, complete or not; none if it is not there.
    fn own(self, root: &Path) -> io::Result<Vec<Own>> {
        let mut own = Vec::new();
        let folders = match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(own),
            folders => folders?,
        };
        for folder in folders {
            let folder = folder?;
            // A link could lead anywhere.
            if !self.is_own_folder(&folder.file_name().to_string_lossy()) || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                if let Some((number, is_whole)) = self.number(&file.file_name().to_string_lossy()) {
                    own.push(Own { path: file.path(), number, is_whole });
                }
            }
        }
        own.sort_by_key(|own| own.number);
        Ok(own)
    }

    /// The scan's complete files below `root`, in the order of their numbers.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn files(self, root: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.own(root)?.into_iter().filter(|own| own.is_whole).map(|own| own.path).collect())
    }

    /// The last complete file, and its number.
    pub(super) fn last(self, root: &Path) -> io::Result<Option<(u32, PathBuf)>> {
        let whole = self.own(root)?.into_iter().rfind(|own| own.is_whole);
        Ok(whole.map(|own| (own.number, own.path)))
    }

    /// Removes the files that are not complete, and those from this number on.
    pub(super) fn remove_from(self, root: &Path, number: u32) -> io::Result<()> {
        let mut own = self.own(root)?.into_iter();
        own.try_for_each(|own| match own.is_whole && own.number < number {
            true => Ok(()),
            false => fs::remove_file(own.path),
        })
    }

    /// Moves the scan's files to the same places below `aside`.
    ///
    /// # Errors
    /// The system's refusal. Nothing is overwritten.
    pub fn set_aside(self, root: &Path, aside: &Path) -> io::Result<()> {
        fs::create_dir(aside)?;
        for Own { path, .. } in self.own(root)? {
            let below = path.strip_prefix(root).map_err(io::Error::other)?;
            let to = aside.join(below);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            rename_new(&path, &to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Partitions = Partitions { by: PartitionBy::Port, shard: 0, shards: 1 };
    const THIRD: Partitions = Partitions { by: PartitionBy::Port, shard: 3, shards: 8 };

    fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_files_of_a_scan_are_told_from_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("r");
        assert!(ALONE.files(&root).unwrap().is_empty(), "nothing is there");
        let all = [
            "port=80/part-00001.parquet",
            "port=443/part-00002.parquet",
            "port=80/.part-00003.parquet.part",
            "port=80/part-shard00003-00001.parquet",
            "port=80/part-shard00004-00009.parquet",
            "port=http/part-00004.parquet",
            "port=80/part-7.parquet",
            "shard=3/part-shard00003-00005.parquet",
            "part-00006.parquet",
        ];
        for name in all {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        assert_eq!(names(&root, &ALONE.files(&root).unwrap()), all[..2]);
        assert_eq!(names(&root, &THIRD.files(&root).unwrap()), [all[3]]);
        let shard = Partitions { by: PartitionBy::Shard, ..THIRD };
        assert_eq!(names(&root, &shard.files(&root).unwrap()), [all[7]]);
        assert_eq!(ALONE.last(&root).unwrap(), Some((2, root.join(all[1]))));

        let aside = folder.path().join("r.1");
        THIRD.set_aside(&root, &aside).unwrap();
        assert_eq!(names(&aside, &THIRD.files(&aside).unwrap()), [all[3]]);
        assert!(THIRD.set_aside(&root, &aside).is_err(), "what is there stays");

        ALONE.remove_from(&root, 2).unwrap();
        let left = |name: &&str| root.join(name).exists();
        assert!([all[0], all[4], all[5], all[6], all[7], all[8]].iter().all(left));
        assert!(![all[1], all[2], all[3]].iter().any(left));
    }
}
