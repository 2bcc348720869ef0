//! The thread that writes the file of the metrics.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{info, warn};

use crate::metrics::{self, MetricsFile};
use crate::printable::printable;
use crate::sandbox::{self, Class};
use crate::survey::board::Board;

/// How often the file is written: as often as the counts change.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The thread. Dropping it writes the file for the last time.
pub(super) struct Writer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Writes how the scan of `board` stands into `file` from now on.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(file: MetricsFile, board: Arc<Board>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let write = move || {
            sandbox::enter(Class::MetricsFile);
            let (mut has_failed, mut is_last) = (false, false);
            loop {
                let written = metrics::text(&board.reading()).and_then(|text| file.write(&text));
                let name = printable(file.path());
                match &written {
                    // It may be for a moment: a disk that is full.
                    Err(error) if !has_failed => {
                        warn!(target: "metrics", "--metrics-file: cannot write {name} ({error}); trying again");
                    }
                    Ok(()) if has_failed => info!(target: "metrics", "{name} is written again"),
                    _ => {}
                }
                has_failed = written.is_err();
                if is_last {
                    return;
                }
                is_last = stopped.recv_timeout(WRITE_EVERY) != Err(RecvTimeoutError::Timeout);
            }
        };
        let thread = thread::Builder::new().name("metrics-file".to_owned()).spawn(write)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::engine::EndReason;
    use crate::report::status::Snapshot;
    use crate::survey::board::test_board;

    /// The file follows the board, waits for a folder that is away, and has the last counts at the end.
    #[test]
    fn the_file_follows() {
        let folder = tempfile::tempdir().unwrap();
        let (there, away) = (folder.path().join("there"), folder.path().join("away"));
        fs::create_dir(&there).unwrap();
        let path = there.join("scan.prom");
        let board = Arc::new(test_board());
        let writer = Writer::start(MetricsFile::open(&path).unwrap(), Arc::clone(&board)).unwrap();
        let sent = |count: u64| Snapshot { sent: count, ..Snapshot::default() };
        let wait_for = |count: u64| {
            let since = Instant::now();
            let line = format!("\nxdpmap_probes_sent_total {count}\n");
            while !fs::read_to_string(&path).is_ok_and(|text| text.contains(&line)) {
                assert!(since.elapsed() < Duration::from_secs(20), "{count}");
                thread::sleep(Duration::from_millis(10));
            }
        };
        board.show(&sent(7));
        wait_for(7);
        fs::rename(&there, &away).unwrap();
        thread::sleep(WRITE_EVERY + Duration::from_millis(200));
        fs::rename(&away, &there).unwrap();
        board.show(&sent(8));
        wait_for(8);
        board.conclude(&sent(9), EndReason::Complete);
        drop(writer);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\nxdpmap_probes_sent_total 9\n"), "{text}");
        assert!(text.contains("\nxdpmap_end_info{reason=\"complete\"} 1\n"), "{text}");
        assert_eq!(fs::read_dir(&there).unwrap().count(), 1, "nothing else is left there");
    }
}
