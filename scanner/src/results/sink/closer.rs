//! Files that nothing more is written to: a thread brings them to the disk and gives them their names.
//!
//! What always holds: a file has its final name only once it is on the disk, and files are done in the order in which
//! they were given. So results need not wait for the disk.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::results::output::{Output, OutputError, Replacement, UnderWay, sync_folder};
use crate::sandbox::{self, Class};

/// Files that may wait to be brought to the disk. Fewer make the collector wait for the disk sooner; more hold more
/// open files.
pub(super) const CLOSING_LEN: usize = 16;
/// Files that are brought to the disk one by one. With more of them it costs less to ask once for all that the file
/// system has.
const ONE_BY_ONE: usize = 4;

/// A file of an output.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) output: Output,
    /// The final name, if the file has an interim one until it is complete.
    pub(super) replacement: Option<Replacement>,
    /// The folder above the file's own, if that is new.
    pub(super) above: Option<Arc<File>>,
}

impl Begun {
    /// Brings it to the disk, and gives it its final name.
    ///
    /// # Errors
    /// It cannot be written, or renamed.
    pub(super) fn finish(&mut self) -> Result<(), OutputError> {
        self.output.finish()?;
        self.above.take().map_or(Ok(()), |above| self.settle(sync_folder(&above)))?;
        let named = self.replacement.take().map_or(Ok(()), |replacement| replacement.put_in_place());
        self.settle(named)
    }

    fn settle(&self, done: io::Result<()>) -> Result<(), OutputError> {
        done.map_err(|source| OutputError::from_write(self.output.name(), source))
    }
}

/// As [`Begun::finish`], for many files of one file system at once (`syncfs(2)`).
fn finish_all(files: &mut [Begun]) -> Result<(), OutputError> {
    let Some(first) = files.first() else { return Ok(()) };
    let file = first.output.file()?;
    let sync = |files: &[Begun]| {
        let synced = file.as_ref().map_or(Ok(()), |file| nix::unistd::syncfs(file).map_err(io::Error::from));
        files[0].settle(synced)
    };
    sync(files)?;
    for file in &mut *files {
        file.output.close()?;
        let named = file.replacement.take().map_or(Ok(()), |replacement| replacement.rename());
        file.settle(named)?;
    }
    // The names.
    sync(files)
}

/// Closes files, in a thread of its own once it is started.
#[derive(Debug, Default)]
pub(super) struct Closer {
    /// Files that it was given.
    given: u64,
    /// How many of them are complete and on the disk.
    closed: Arc<AtomicU64>,
    queue: Option<SyncSender<Begun>>,
    thread: Option<JoinHandle<Result<(), OutputError>>>,
}

impl Closer {
    /// Starts its thread. Without it, files are closed by the thread that writes them. `together`: files of one file
    /// system, which may be many.
    pub(super) fn start(&mut self, together: bool) {
        let (queue, files) = sync_channel::<Begun>(CLOSING_LEN);
        let closed = Arc::clone(&self.closed);
        let close = move || {
            sandbox::enter(Class::Collector);
            while let Ok(first) = files.recv() {
                let more = if together { CLOSING_LEN } else { 0 };
                let mut batch: Vec<Begun> = [first].into_iter().chain(files.try_iter().take(more)).collect();
                match batch.len() > ONE_BY_ONE {
                    true => finish_all(&mut batch)?,
                    false => batch.iter_mut().try_for_each(Begun::finish)?,
                }
                closed.fetch_add(batch.len() as u64, Ordering::Release);
            }
            Ok(())
        };
        if let Ok(thread) = thread::Builder::new().name("closer".to_owned()).spawn(close) {
            (self.queue, self.thread) = (Some(queue), Some(thread));
        }
    }

    /// Whether all that it was given is done.
    pub(super) fn under_way(&self) -> UnderWay {
        UnderWay { done: Arc::clone(&self.closed), all: self.given }
    }

    /// Gives it a file that is complete.
    ///
    /// # Errors
    /// An earlier one could not be written.
    pub(super) fn close(&mut self, mut file: Begun) -> Result<(), OutputError> {
        self.given += 1;
        if self.thread.is_none() {
            file.finish()?;
            self.closed.fetch_add(1, Ordering::Release);
            return Ok(());
        }
        match &self.queue {
            Some(queue) if queue.send(file).is_ok() => Ok(()),
            // The thread has ended with an error.
            _ => self.finish(),
        }
    }

    /// Waits for all that it was given.
    ///
    /// # Errors
    /// A file could not be written.
    pub(super) fn finish(&mut self) -> Result<(), OutputError> {
        self.queue = None;
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or(Err(OutputError::Panic)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// However many there are, all have their names and their content in the end.
    #[test]
    fn files_get_their_names() {
        for (count, together) in [(3, true), (CLOSING_LEN * 3, true), (CLOSING_LEN + 3, false)] {
            let folder = tempfile::tempdir().unwrap();
            let mut closer = Closer::default();
            closer.start(together);
            for number in 0..count {
                let path = folder.path().join(format!("{number:03}"));
                let (replacement, mut output) = Replacement::open(&path, ".", ".part").unwrap().unwrap();
                output.begin(0).unwrap();
                output.write_all(path.as_os_str().as_encoded_bytes()).unwrap();
                closer.close(Begun { output, replacement: Some(replacement), above: None }).unwrap();
            }
            let under_way = closer.under_way();
            closer.finish().unwrap();
            assert!(under_way.wait(std::time::Instant::now()), "{count}: all are counted");
            let mut found: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            found.sort();
            assert_eq!(found.len(), count);
            for (number, path) in found.iter().enumerate() {
                assert!(path.ends_with(format!("{number:03}")), "{}", path.display());
                assert_eq!(fs::read(path).unwrap(), path.as_os_str().as_encoded_bytes());
            }
        }
    }
}
