//! A wall clock that is set while a scan runs.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::{have_root, run};
use support::scanner::binary;
use support::{Scans as _, read};

use super::{COMMON, Logged, NETWORK, lab_with_servers, number};
use crate::checkpoint::assert_whole;

/// A step of an hour in either direction moves time stamps and nothing else: rate, cooldown, checkpoints and results
/// are those of a scan whose clock was left alone.
#[test]
fn a_step_of_the_clock_moves_time_stamps_alone() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    let library = lab.folder().join("stepped_clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/stepped_clock.c");
    run(
        "cc",
        [Path::new("-shared"), Path::new("-fPIC"), Path::new("-O1"), Path::new("-o"), &library, &source],
    );
    for step_s in [-3_600_i64, 3_600] {
        let results = lab.folder().join(format!("stepped{step_s}.csv"));
        let mut command = lab.shielded();
        command.arg("env").arg(format!("LD_PRELOAD={}", library.display()));
        let step = lab.folder().join(format!("step{step_s}"));
        fs::write(&step, 0_i64.to_ne_bytes()).unwrap();
        command.arg(format!("STEP_FILE={}", step.display()));
        command.args([binary(), "-i", "scan0", "--allow-reserved"]).args(COMMON.split(' '));
        command.args(["-r", "6000", "-q", "-f", "saddr,sport,classification,success,timestamp_ts"]);
        let updates = lab.folder().join(format!("status{step_s}.csv"));
        command.arg(NETWORK).arg("-u").arg(&updates).arg("-o").arg(&results);
        let scan = Logged::start(&mut command, &lab.folder().join("metadata"));
        // Answers come, and will for some five seconds.
        let deadline = Instant::now() + Duration::from_secs(30);
        while read(&results).lines().count() < 2 {
            assert!(Instant::now() < deadline, "no results");
            std::thread::sleep(Duration::from_millis(10));
        }
        let file = fs::File::options().write(true).open(&step).unwrap();
        file.write_all_at(&step_s.to_ne_bytes(), 0).unwrap();
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
