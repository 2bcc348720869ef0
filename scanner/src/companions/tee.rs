//! `xdpmap tee`: writes a stream of results to a file and passes their addresses on to the next program.
//!
//! What always holds: the input is read as fast as the file accepts it, however slow the next program is. Addresses
//! that the next program has not read yet are kept in memory. The file gets every byte of the input, unchanged.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGINT;
use tracing::warn;

use super::Failure;
use super::options::{LogOptions, start_log};
use super::rows::RowSplitter;
use super::tee_layout::{Layout, Passed};
use crate::exit::Exit;
use crate::printable::printable;
use crate::units::{counted, were};

const NAME: &str = "tee";

/// Bytes read at a time: the capacity of a pipe. Lower: more system calls. Higher: no gain, because a pipe holds no
/// more.
const READ_LEN: usize = 1 << 16;

/// Write results to a file, and their addresses to standard output for the next program.
///
/// Reads the results of a scan from standard input. For CSV with a header row and for JSON lines, writes the address of
/// each result (saddr or ip) to standard output, one per line; for anything else, the lines unchanged. A slow next
/// program does not slow down the scan.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap tee",
    version,
    after_help = "Examples:
  xdpmap -p 443 -O json -f '*' | xdpmap tee all.jsonl --success-only | zgrab2 tls > tls.jsonl
  xdpmap -p 80 -f '*' | xdpmap tee -m all.csv > addresses.txt",
    max_term_width = 110
)]
pub(super) struct TeeOptions {
    /// File for the whole input
    #[arg(value_name = "OUTPUT_FILE")]
    output_file: PathBuf,

    /// Pass on successes only
    #[arg(long)]
    success_only: bool,

    /// Print once per second to standard error how fast results arrive and how many wait
    #[arg(short = 'm', long)]
    monitor: bool,

    /// Write the same, as CSV, to this file
    #[arg(short = 'u', long, value_name = "FILE")]
    status_updates_file: Option<PathBuf>,

    /// Pass the input on unchanged
    #[arg(short = 'r', long)]
    raw: bool,

    #[command(flatten)]
    log: LogOptions,
}

/// Rows that are passed on, counted by the thread that moves them.
#[derive(Debug, Default)]
struct TeeProgress {
    read: AtomicU64,
    /// Rows in blocks for the next program.
    queued: AtomicU64,
    /// Rows that the next program has accepted.
    handed_on: AtomicU64,
}

/// A number of rows for the next program.
struct Block {
    text: Vec<u8>,
    rows: u64,
}

pub(super) fn run(options: TeeOptions) -> Result<(), Failure> {
    start_log(NAME, &options.log)?;
    let create = |flag: &str, path: &PathBuf| {
        let remedy = "name a file in a directory you may write to";
        File::create(path)
            .map_err(|error| Failure::usage(NAME, format!("{flag}{}: {error}; {remedy}", printable(path))))
    };
    let mut file = create("", &options.output_file)?;
    let updates = options.status_updates_file.as_ref();
    let updates = updates.map(|path| create("--status-updates-file: ", path)).transpose()?;
    outlive_the_scan()?;
    let progress = Arc::new(TeeProgress::default());
    let (queue, blocks) = mpsc::channel();
    let handing_on = hand_on(blocks, Arc::clone(&progress))?;
    let monitor = Monitor::start(options.monitor, updates, Arc::clone(&progress))?;
    let mut reader = Reader {
        layout: None,
        raw: options.raw,
        success_only: options.success_only,
        unreadable: 0,
        progress: &progress,
    };
    let done = reader.run(io::stdin().lock(), &mut file, &queue);
    let unreadable = reader.unreadable;
    drop(queue);
    let handed_on = handing_on.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
    monitor.stop();
    if unreadable > 0 {
        warn!(target: "tee", "{} without an address {} not passed on", counted(unreadable, "row"), were(unreadable));
    }
    done?;
    match handed_on {
        // A reader that has read enough is not an error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io(NAME, "standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Ctrl-C goes to all programs of a pipe. The scan then cools down and writes its last results, so its reader must
/// still be there. This program ends at the end of its input, or at a second Ctrl-C.
fn outlive_the_scan() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    let again = Arc::new(AtomicBool::new(false));
    let code = Exit::Interrupted.number().into();
    signal_hook::flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&again))
        .and_then(|_| signal_hook::flag::register(SIGINT, again))
        .map_err(|error| Failure::io(NAME, "watching for signals", &error))?;
    Ok(())
}

struct Reader<'a> {
    /// Known once the first row has been read.
    layout: Option<Layout>,
    raw: bool,
    success_only: bool,
    unreadable: u64,
    progress: &'a TeeProgress,
}

impl Reader<'_> {
    /// Reads to the end of the input, or until neither the file nor the next program needs more.
    fn run(
        &mut self,
        mut input: impl Read,
        file: &mut impl Write,
        queue: &mpsc::Sender<Block>,
    ) -> Result<(), Failure> {
        let mut rows = RowSplitter::default();
        let mut piece = vec![0; READ_LEN];
        loop {
            let len = match input.read(&mut piece) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io(NAME, "standard input", &error)),
            };
            let mut block = Block { text: Vec::new(), rows: 0 };
            if len == 0 {
                let last = rows.last();
                if !last.is_empty() {
                    self.take(&mut rows, &last, &mut block)?;
                }
            } else {
                rows.feed(&piece[..len], |rows, row| self.take(rows, row, &mut block))?;
                file.write_all(&piece[..len])
                    .map_err(|error| Failure::io(NAME, "the output file", &error))?;
            }
            if block.rows > 0 {
                self.progress.queued.fetch_add(block.rows, Ordering::Relaxed);
                if queue.send(block).is_err() {
                    return Ok(());
                }
            }
            if len == 0 {
                return file.flush().map_err(|error| Failure::io(NAME, "the output file", &error));
            }
        }
    }

    fn take(&mut self, rows: &mut RowSplitter, row: &[u8], block: &mut Block) -> Result<(), Failure> {
        let layout = match &mut self.layout {
            Some(layout) => layout,
            None => {
                let (layout, is_result) = Layout::detect(row, self.raw, self.success_only)
                    .map_err(|what| Failure::usage(NAME, what))?;
                if matches!(layout, Layout::Csv(_)) {
                    rows.expect_csv();
                }
                let layout = self.layout.insert(layout);
                if !is_result {
                    return Ok(());
                }
                layout
            }
        };
        self.progress.read.fetch_add(1, Ordering::Relaxed);
        match layout.pass(row, &mut block.text) {
            Passed::On => block.rows += 1,
            Passed::Filtered => {}
            Passed::Unreadable => self.unreadable += 1,
        }
        Ok(())
    }
}

/// Starts the thread that feeds the next program.
fn hand_on(
    blocks: mpsc::Receiver<Block>,
    progress: Arc<TeeProgress>,
) -> Result<JoinHandle<io::Result<()>>, Failure> {
    let write = move || {
        let mut out = io::stdout().lock();
        for block in blocks {
            out.write_all(&block.text)?;
            out.flush()?;
            progress.handed_on.fetch_add(block.rows, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::Builder::new()
        .name("hand-on".to_owned())
        .spawn(write)
        .map_err(|error| Failure::io(NAME, "starting a thread", &error))
}

/// Reports progress once per second, if requested.
struct Monitor {
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Monitor {
    fn start(to_stderr: bool, updates: Option<File>, progress: Arc<TeeProgress>) -> Result<Self, Failure> {
        if !to_stderr && updates.is_none() {
            return Ok(Self { thread: None });
        }
        let mut updates = updates;
        if let Some(updates) = &mut updates {
            let columns = "time_past,total_read_in,read_in_last_sec,read_per_sec_avg,buffer_current_size,buffer_avg_size";
            writeln!(updates, "{columns}").map_err(|error| Failure::io(NAME, "the status file", &error))?;
        }
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut window = Window::new(Instant::now());
            loop {
                let over =
                    stopped.recv_timeout(Duration::from_secs(1)) != Err(mpsc::RecvTimeoutError::Timeout);
                let sample = window.sample(Instant::now(), &progress);
                // Standard error may be closed, which is not a reason to end.
                if to_stderr && !over {
                    let _ = writeln!(io::stderr(), "{}", sample.line());
                }
                if let Some(updates) = &mut updates {
                    let _ = writeln!(updates, "{}", sample.row());
                }
                if over {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(watch);
        let thread = thread.map_err(|error| Failure::io(NAME, "starting a thread", &error))?;
        Ok(Self { thread: Some((stop, thread)) })
    }

    fn stop(self) {
        if let Some((stop, thread)) = self.thread {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// The numbers of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    seconds: u64,
    read: u64,
    read_last: u64,
    read_average: u64,
    waiting: u64,
    waiting_average: u64,
}

impl Sample {
    /// The line of ztee.
    fn line(&self) -> String {
        let (minutes, seconds) = (self.seconds / 60, self.seconds % 60);
        format!(
            "{:>5} read_rate: {} rows/s (avg {} rows/s), buffer_size: {} (avg {})",
            format!("{minutes}:{seconds:02}"),
            self.read_last,
            self.read_average,
            self.waiting,
            self.waiting_average,
        )
    }

    /// The CSV row of ztee.
    fn row(&self) -> String {
        let Self { seconds, read, read_last, read_average, waiting, waiting_average } = self;
        format!("{seconds},{read},{read_last},{read_average},{waiting},{waiting_average}")
    }
}

/// The previous sample, to compute rates from.
struct Window {
    start: Instant,
    last: Instant,
    read: u64,
    waiting_sum: u64,
    samples: u64,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { start: now, last: now, read: 0, waiting_sum: 0, samples: 0 }
    }

    fn sample(&mut self, now: Instant, progress: &TeeProgress) -> Sample {
        let per_second = |rows: u64, time: Duration| (rows as f64 / time.as_secs_f64().max(1e-3)) as u64;
        let read = progress.read.load(Ordering::Relaxed);
        // In this order, so that the difference is never below 0.
        let handed_on = progress.handed_on.load(Ordering::Relaxed);
        let waiting = progress.queued.load(Ordering::Relaxed) - handed_on;
        self.samples += 1;
        self.waiting_sum += waiting;
        let sample = Sample {
            seconds: (now - self.start).as_secs(),
            read,
            read_last: per_second(read - self.read, now - self.last),
            read_average: per_second(read, now - self.start),
            waiting,
            waiting_average: self.waiting_sum / self.samples,
        };
        (self.last, self.read) = (now, read);
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_add_up() {
        let (start, progress) = (Instant::now(), TeeProgress::default());
        let mut window = Window::new(start);
        progress.read.store(500, Ordering::Relaxed);
        progress.queued.store(400, Ordering::Relaxed);
        progress.handed_on.store(100, Ordering::Relaxed);
        let first = window.sample(start + Duration::from_secs(1), &progress);
        assert_eq!(first.row(), "1,500,500,500,300,300");
        progress.read.store(600, Ordering::Relaxed);
        progress.handed_on.store(400, Ordering::Relaxed);
        let second = window.sample(start + Duration::from_secs(61), &progress);
        assert_eq!(second.line(), " 1:01 read_rate: 1 rows/s (avg 9 rows/s), buffer_size: 0 (avg 150)");
    }
}
