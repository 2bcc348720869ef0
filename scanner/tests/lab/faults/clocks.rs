//! Clocks that are set while a scan runs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Lab, have_root, run};
use support::scanner::binary;
use support::{Scans as _, read};

use super::{COMMON, Logged, NETWORK, lab_with_servers, number};
use crate::checkpoint::assert_whole;

/// The clocks of a scan.
pub(super) struct Clocks {
    command: Command,
    steps: File,
}

impl Clocks {
    /// Those of a scan on the lab's interface that is not started yet.
    pub(super) fn new(lab: &Lab) -> Self {
        let library = lab.folder().join("stepped_clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/stepped_clock.c");
        run(
            "cc",
            [Path::new("-shared"), Path::new("-fPIC"), Path::new("-O1"), Path::new("-o"), &library, &source],
        );
        let steps = lab.folder().join("steps");
        fs::write(&steps, [0; 16]).unwrap();
        let mut command = lab.shielded();
        command.arg("env").arg(format!("LD_PRELOAD={}", library.display()));
        command.arg(format!("STEP_FILE={}", steps.display()));
        command.args([binary(), "-i", "scan0", "--allow-reserved"]);
        Self { command, steps: File::options().write(true).open(steps).unwrap() }
    }

    /// The scan, without any arguments of its own.
    pub(super) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Sets the wall clock so many seconds from what it would be.
    fn step_wall(&self, seconds: i64) {
        self.steps.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// The same with the clock that nobody can set.
    pub(super) fn step_steady(&self, seconds: i64) {
        self.steps.write_all_at(&seconds.to_ne_bytes(), 8).unwrap();
    }
}

/// A step of an hour in either direction moves time stamps and nothing else: rate, cooldown, checkpoints and results
/// are those of a scan whose clock was left alone.
#[test]
fn a_step_of_the_clock_moves_time_stamps_alone() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    for step_s in [-3_600_i64, 3_600] {
        let results = lab.folder().join(format!("stepped{step_s}.csv"));
        let mut clocks = Clocks::new(&lab);
        let command = clocks.command();
        command.args(COMMON.split(' '));
        command.args(["-r", "6000", "-q", "-f", "saddr,sport,classification,success,timestamp_ts"]);
        let updates = lab.folder().join(format!("status{step_s}.csv"));
        command.arg(NETWORK).arg("-u").arg(&updates).arg("-o").arg(&results);
        let scan = Logged::start(command, &lab.folder().join("metadata"));
        // Answers come, and will for some five seconds.
        let deadline = Instant::now() + Duration::from_secs(30);
        while read(&results).lines().count() < 2 {
            assert!(Instant::now() < deadline, "no results");
            std::thread::sleep(Duration::from_millis(10));
        }
        clocks.step_wall(step_s);
        let (code, metadata, log) = scan.finish();
        assert_eq!((code, &metadata["end_reason"]), (Some(0), &"complete".into()), "{log}");
        let text = read(&results);
        let cells =
            |line: &str| line.rsplit_once(',').map(|(cells, time)| (cells.to_owned(), time.parse::<i64>()));
        let (lines, times): (Vec<String>, Vec<_>) = text.lines().filter_map(cells).unzip();
        assert_whole("a stepped clock", &lines.join("\n"), &truth, 0);
        // In the order of the answers.
        let times: Vec<i64> = times.into_iter().flatten().collect();
        let apart_s = times[times.len() - 1] - times[0];
        assert!((apart_s - step_s).abs() < 60, "the clock was stepped while the scan ran: {apart_s} s");
        // On a busy machine it takes longer, but not an hour; and nothing is caught up.
        let sending = metadata["send_seconds"].as_f64().unwrap();
        assert!((5.4..40.0).contains(&sending), "{sending} s for 5.5 s of probes: {log}");
        assert_eq!(number(&metadata, "/counters/targets_again"), 0);
        let rows = read(&updates).lines().count();
        assert!((6..50).contains(&rows), "a row per second: {rows}");
    }
}
