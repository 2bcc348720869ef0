//! Where a companion writes a text that may be long: standard output, or a file that is replaced only when the text is
//! whole.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Failure;
use crate::printable::printable;
use crate::results::output::{Output, OutputError, Replacement};

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
