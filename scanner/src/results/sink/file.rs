//! Records in files, or on standard output.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::{Rotation, Series, Sink};
use crate::results::fields::Extractor;
use crate::results::format::{Encoder, for_terminal};
use crate::results::output::{Output, OutputError, Patience};
use crate::results::reply::Reply;

/// Bytes that are gathered before they are written in one call.
const BUFFER_LEN: usize = 64 * 1024;

/// Writes what an encoder makes of replies, one file after the other.
#[derive(Debug)]
pub struct FileSink {
    encoder: Encoder,
    series: Series,
    buffer: Vec<u8>,
    /// Where each of the results in the buffer ends.
    ends: Vec<usize>,
    /// What of an earlier scan stays in the file.
    keep: u64,
    /// Bytes of the file, those in the buffer included.
    len: u64,
    /// Whether the file has results of this scan.
    has_results: bool,
}

impl FileSink {
    /// Opens the file. With `append` results come behind those that are there, if they are of the same format.
    ///
    /// # Errors
    /// It is not to be had.
    pub fn open(
        encoder: Encoder,
        file: &Path,
        append: bool,
        rotation: Rotation,
    ) -> Result<Self, OutputError> {
        let mut series = Series::open(file, append, rotation)?;
        let mut keep = 0;
        let earlier = series.output().earlier().filter(|_| append).map(|file| {
            let len = file.metadata()?.len();
            Ok((len, encoder.whole_len(file)?))
        });
        match earlier {
            None => {}
            Some(Ok((len, Some(whole)))) => {
                if whole < len {
                    let name = series.name();
                    warn!(target: "output", "{name} ends amid a record, whose {} bytes are cut off", len - whole);
                }
                keep = whole;
            }
            Some(Ok((_, None))) => {
                let what =
                    format!("{} is of another format or has other columns; name another file", series.name());
                return Err(OutputError::Refused { flag: "--append", what });
            }
            Some(Err(source)) => return Err(OutputError::Open { name: series.name().to_owned(), source }),
        }
        Ok(Self { keep, ..Self::new(encoder, series) })
    }

    /// A sink that begins at the start of a series.
    pub fn new(encoder: Encoder, series: Series) -> Self {
        let buffer = Vec::with_capacity(2 * BUFFER_LEN);
        Self { encoder, series, buffer, ends: vec![], keep: 0, len: 0, has_results: false }
    }

    fn write_head(&mut self) {
        self.buffer.extend(self.encoder.head());
        self.len = self.buffer.len() as u64;
    }

    fn write_out(&mut self) -> Result<(), OutputError> {
        let output = self.series.output();
        let written = if output.is_terminal() && self.encoder.is_text() {
            let shown = for_terminal(&self.buffer);
            output.write_all(&shown).map_err(|error| (0, error))
        } else {
            write_all(output, &self.buffer)
        };
        self.buffer.clear();
        match written {
            Ok(()) => {
                self.ends.clear();
                Ok(())
            }
            Err((taken, error)) => {
                // Results that were taken before the error are not lost.
                self.ends.retain(|&end| end > taken);
                Err(OutputError::from_write(self.series.name(), error))
            }
        }
    }

    fn rotate(&mut self) -> Result<(), OutputError> {
        self.write_out()?;
        self.series.advance()?;
        self.write_head();
        self.has_results = false;
        Ok(())
    }
}

impl Sink for FileSink {
    fn name(&self) -> &str {
        self.series.name()
    }

    fn begin(&mut self) -> Result<(), OutputError> {
        self.series.output().begin(self.keep)?;
        if self.keep == 0 {
            self.write_head();
        } else {
            self.len = self.keep;
        }
        self.write_out()
    }

    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError> {
        if self.has_results && self.series.is_full(self.len) {
            // The result that is not written for it is lost, too.
            self.rotate().inspect_err(|_| self.ends.push(usize::MAX))?;
        }
        let before = self.buffer.len();
        let encoded = self.encoder.encode(reply, extractor, &mut self.buffer);
        encoded.map_err(|error| OutputError::from_write(self.series.name(), error))?;
        self.len += (self.buffer.len() - before) as u64;
        self.ends.push(self.buffer.len());
        self.has_results = true;
        if self.buffer.len() >= BUFFER_LEN { self.write_out() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        if self.has_results && self.series.is_over() { self.rotate() } else { self.write_out() }
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.write_out()?;
        self.series.finish()
    }

    fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.series.output().be_patient(patience);
    }

    fn pending(&self) -> u64 {
        self.ends.len() as u64
    }
}

/// Writes all of `bytes`; an error comes with how many of them were written before it.
fn write_all(output: &mut Output, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut taken = 0;
    while taken < bytes.len() {
        match output.write(&bytes[taken..]) {
            Ok(0) => return Err((taken, io::ErrorKind::WriteZero.into())),
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((taken, error)),
        }
    }
    Ok(())
}
