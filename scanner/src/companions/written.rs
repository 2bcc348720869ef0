//! Where a companion writes a text that may be long: standard output, or a file that is replaced only when the text is
//! whole.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::plan::place_of_file;
use crate::printable::printable;
use crate::results::output::{Output, OutputError, Replacement};

/// Refuses to write over a file that is read, and to write two things to one file. `written` has the flags, `-` is no
/// file.
///
/// # Errors
/// The flag and the file, in one line.
pub(super) fn refuse_to_overwrite<'a>(
    written: &[(&str, Option<&'a Path>)],
    read: impl IntoIterator<Item = &'a Path>,
) -> Result<(), String> {
    let mut known: Vec<(PathBuf, &str)> = read
        .into_iter()
        .filter_map(|path| Some((place_of_file(path)?, "one of the files that are read")))
        .collect();
    for (flag, path) in written {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { continue };
        let Some(here) = place_of_file(path) else { continue };
        if let Some((_, what)) = known.iter().find(|(other, _)| *other == here) {
            return Err(format!("{flag}: {} is {what}; name another file", printable(path)));
        }
        known.push((here, "also another output"));
    }
    Ok(())
}

/// A text on its way. Until it is finished, a file that is there stays as it was.
pub(super) struct Destination {
    out: BufWriter<Output>,
    name: String,
    replacement: Option<Replacement>,
    len: u64,
}

impl Destination {
    /// Opens a file, or standard output if none is named or its name is `-`.
    ///
    /// # Errors
    /// It cannot be opened, in one line.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let out = Output::open("-").map_err(|error| error.to_string())?;
            return Ok(Self {
                name: out.name().to_owned(),
                out: BufWriter::new(out),
                replacement: None,
                len: 0,
            });
        };
        let name = printable(path);
        let failed = |error: io::Error| {
            format!("cannot open {name} for writing ({error}); name a file in a directory you may write to")
        };
        let opened = Replacement::open(path, ".", &format!(".{}.tmp", std::process::id())).map_err(failed)?;
        let (replacement, out) = match opened {
            Some((replacement, out)) => (Some(replacement), out),
            // A device or a pipe is never replaced.
            None => (None, Output::open(path).map_err(|error| error.to_string())?),
        };
        Ok(Self { out: BufWriter::new(out), name, replacement, len: 0 })
    }

    /// Completes the text: a file then has its name, and is on the disk.
    ///
    /// # Errors
    /// It cannot be written, in one line.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let done = self.out.flush().and_then(|()| match &self.replacement {
            Some(replacement) => {
                let out = self.out.get_mut();
                // The interim file may be one that a killed process has left, and longer.
                out.begin(self.len).and_then(|()| out.finish()).map_err(OutputError::into_source)?;
                replacement.put_in_place()
            }
            None => Ok(()),
        });
        match done {
            // A reader that has read enough is not an error.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(format!("cannot write to {} ({error})", self.name))
            }
            _ => Ok(()),
        }
    }

    /// The failure that an error while reading or writing is.
    pub(super) fn failure(&self, component: &'static str, error: &io::Error) -> Failure {
        let text = error.to_string();
        match text.starts_with("cannot ") {
            true => Failure::usage(component, text),
            false => Failure::usage(component, format!("cannot write to {} ({error})", self.name)),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_read_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("meta.json"), "{}").unwrap();
        std::os::unix::fs::symlink(path("meta.json"), path("link")).unwrap();
        let (meta, link, new) = (path("meta.json"), path("link"), path("new"));
        let refused = |output: &Path, second: &Path| {
            let written = [("--output-file", Some(output)), ("--metadata-file", Some(second))];
            refuse_to_overwrite(&written, [meta.as_path(), Path::new("-")]).err()
        };
        let null = Path::new("/dev/null");
        assert_eq!(refused(&new, &path("other")), None);
        assert_eq!(refused(null, null), None);
        assert_eq!(refused(Path::new("-"), Path::new("-")), None);
        for (output, second, flag) in
            [(&meta, &new, "--output-file"), (&link, &new, "--output-file"), (&new, &meta, "--metadata-file")]
        {
            let text = refused(output, second).unwrap();
            assert!(
                text.starts_with(flag) && text.contains("files that are read; name another file"),
                "{text}"
            );
        }
        let text = refused(&new, &new).unwrap();
        assert!(text.starts_with("--metadata-file") && text.contains("also another output"), "{text}");
    }

    #[test]
    fn a_file_is_replaced_when_the_text_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv");
        fs::write(&path, "old and longer\n").unwrap();
        let mut out = Destination::open(Some(&path)).unwrap();
        out.write_all(b"new\n").unwrap();
        out.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old and longer\n");
        out.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut out = Destination::open(Some(&folder.path().join("other"))).unwrap();
        out.write_all(b"half").unwrap();
        drop(out);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what is not finished is removed");
        let Err(error) = Destination::open(Some(&folder.path().join("no/r.csv"))) else {
            panic!("it is open")
        };
        assert!(error.contains("no/r.csv") && error.contains("directory you may write to"), "{error}");
        let full = Destination::open(Some(Path::new("/dev/full"))).and_then(|mut out| {
            out.write_all(b"text").map_err(|error| error.to_string())?;
            out.finish()
        });
        assert!(full.unwrap_err().contains("/dev/full"));
    }
}
