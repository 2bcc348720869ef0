//! Records in files, or on standard output.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::series::not_ours;
use super::{Rotation, Series, Sink, Start};
use crate::reply::Reply;
use crate::reply::fields::Extractor;
use crate::results::format::{Encoder, for_terminal};
use crate::results::output::{Output, OutputError, OutputPart, Patience, Place, Reach};

/// Bytes that are gathered for one write. Fewer cost more calls; more delay results and are lost together on an error.
const BUFFER_LEN: usize = 64 * 1024;

/// Writes the output of an encoder, one file after the other.
#[derive(Debug)]
pub struct FileSink {
    encoder: Encoder,
    series: Series,
    buffer: Vec<u8>,
    /// The end of each result in the buffer.
    ends: Vec<usize>,
    /// Bytes of an earlier scan that stay in the file.
    keep: u64,
    /// Bytes of the file, including those in the buffer.
    len: u64,
    /// Whether the file has results of this scan.
    has_results: bool,
    /// Whether the format's end is written behind each piece of results, and the next piece over it, so that the file
    /// is whole whatever ends the scan. A pipe has its end only once, and standard output may be a file of others.
    ends_always: bool,
}

impl FileSink {
    /// Opens the file. Results follow those of an earlier scan, or of this one, if `start` says so and they have the
    /// same format.
    ///
    /// # Errors
    /// The file cannot be opened, is shorter, or has another format.
    pub fn open(
        encoder: Encoder,
        file: &Path,
        start: Start,
        rotation: Rotation,
    ) -> Result<Self, OutputError> {
        Self::of_series(encoder, Series::open(file, &start, rotation)?, start, file)
    }

    /// As [`open`](Self::open), for a file that has its name only once the scan is whole.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_atomic(
        encoder: Encoder,
        file: &Path,
        start: Start,
        rotation: Rotation,
    ) -> Result<Self, OutputError> {
        Self::of_series(encoder, Series::open_atomic(file, &start, rotation)?, start, file)
    }

    fn of_series(
        mut encoder: Encoder,
        mut series: Series,
        start: Start,
        file: &Path,
    ) -> Result<Self, OutputError> {
        let name = series.name().to_owned();
        let earlier = series.output().earlier().filter(|_| start != Start::New).map(|file| {
            let len = file.metadata()?.len();
            Ok((len, encoder.whole_len(file)?))
        });
        let earlier =
            earlier.transpose().map_err(|source| OutputError::Open { name: name.clone(), source })?;
        let keep = match (start, earlier) {
            (Start::Resume(reach), Some((len, Some(_)))) if len >= reach.bytes => reach.bytes,
            (Start::Resume(Reach { bytes: 0, .. }) | Start::New | Start::Append, None) => 0,
            (Start::Resume(reach), _) => return Err(not_ours(&name, reach.bytes)),
            (Start::New | Start::Append, Some((len, Some(whole)))) => {
                // What has an end of its own loses that.
                if whole < len && encoder.tail().is_empty() {
                    warn!(target: "output", "{name} ends within a record; its {} bytes are removed", len - whole);
                }
                whole
            }
            (Start::New | Start::Append, Some((_, None))) => {
                let what = format!("{name} has another format or other columns; name another file");
                return Err(OutputError::Refused { part: OutputPart::Append, what });
            }
        };
        if let Some(earlier) = series.output().earlier().filter(|_| keep > 0) {
            let counted = encoder.continue_from(earlier, keep);
            counted.map_err(|source| OutputError::Open { name, source })?;
        }
        let has_end = !encoder.tail().is_empty();
        let ends_always = has_end && series.output().is_file() && file != Path::new("-");
        Ok(Self { keep, ends_always, ..Self::new(encoder, series) })
    }

    /// A sink that begins at the start of a series.
    pub fn new(encoder: Encoder, series: Series) -> Self {
        let buffer = Vec::with_capacity(2 * BUFFER_LEN);
        Self {
            encoder,
            series,
            buffer,
            ends: vec![],
            keep: 0,
            len: 0,
            has_results: false,
            ends_always: false,
        }
    }

    fn write_head(&mut self) {
        self.buffer.extend(self.encoder.head());
        self.len = self.buffer.len() as u64;
    }

    /// Writes what is in the buffer, and the format's end behind it if the file always has one.
    fn write_out(&mut self) -> Result<(), OutputError> {
        match self.ends_always {
            true if self.buffer.is_empty() => Ok(()),
            true => self.write_with_end(),
            false => self.write_buffer(),
        }
    }

    /// In one write, so that next to nothing can come between results and end.
    fn write_with_end(&mut self) -> Result<(), OutputError> {
        let tail = self.encoder.tail();
        self.buffer.extend(&tail);
        self.write_buffer()?;
        self.series.output().step_back(tail.len() as u64)
    }

    fn write_buffer(&mut self) -> Result<(), OutputError> {
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
                // Results that were written before the error are not lost.
                self.ends.retain(|&end| end > taken);
                Err(OutputError::from_write(self.series.name(), error))
            }
        }
    }

    /// Writes the present file's end.
    fn write_end(&mut self) -> Result<(), OutputError> {
        if self.ends_always {
            return self.write_with_end();
        }
        self.buffer.extend(self.encoder.tail());
        self.write_buffer()
    }

    fn rotate(&mut self) -> Result<(), OutputError> {
        self.write_end()?;
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
        self.series.begin(self.keep)?;
        if self.keep == 0 {
            self.write_head();
        } else {
            self.len = self.keep;
        }
        if self.keep > 0 && self.ends_always {
            // The end was removed with all that followed.
            return self.write_with_end();
        }
        self.write_out()
    }

    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError> {
        if self.has_results && self.series.is_full(self.len) {
            // The result that caused the rotation is also lost.
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

    fn place(&mut self) -> Result<Place, OutputError> {
        self.series.place(self.len, vec![])
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.write_end()?;
        self.series.finish()
    }

    fn waits_for_name(&self) -> bool {
        self.series.waits_for_name()
    }

    fn put_in_place(&mut self) -> Result<(), OutputError> {
        self.series.put_in_place()
    }

    fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.series.output().be_patient(patience);
    }

    fn pending(&self) -> u64 {
        self.ends.len() as u64
    }
}

/// Writes all of `bytes`; an error contains how many of them were written before it.
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
