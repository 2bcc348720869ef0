//! Whether a scan's ledger adds up: asserted after each scan of every test.

use std::path::Path;

use serde_json::Value;

use crate::read;

/// Accounts that every scan has.
const ACCOUNTS: [&str; 11] = [
    "targets",
    "probes",
    "canaries",
    "resets",
    "reset_frames",
    "judged",
    "sockets",
    "frames",
    "canary_answers",
    "replies",
    "results",
];
/// Ends after which a thread that counted may be gone, so that some accounts need not add up.
const LOST_THREADS: [&str; 2] = ["send-failed", "output-failed"];
/// Counts of the ledger that other keys of the metadata have as well.
const SAME: [(&str, &str); 12] = [
    ("/accounts/canaries/total", "/canaries/sent"),
    ("/accounts/canaries/parts/unanswered", "/canaries/unanswered"),
    ("/accounts/canary_answers/total", "/counters/rx_canary"),
    ("/accounts/targets/parts/probed", "/targets_scanned"),
    ("/accounts/targets/parts/probed", "/counters/targets"),
    ("/accounts/probes/total", "/counters/tx_submitted"),
    ("/accounts/probes/parts/completed", "/packets_sent"),
    ("/accounts/frames/total", "/pcap_recv"),
    ("/accounts/replies/total", "/validation_passed"),
    ("/accounts/sockets/parts/vanished", "/replies_vanished"),
    ("/accounts/judged/parts/pass_bad_cookie", "/xdp_counters/pass_bad_cookie"),
    ("/accounts/judged/parts/valid_redirected", "/xdp_counters/valid_redirected"),
];

/// The metadata in a file, whose ledger adds up.
#[track_caller]
pub fn metadata(path: &Path) -> Value {
    let text = read(path);
    let metadata: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()));
    check(&metadata);
    metadata
}

/// Each account of the ledger is the sum of its parts, its equations hold, and what other keys have as well is the
/// same there. Of a scan that was refused there is no metadata, and nothing to check.
#[track_caller]
pub fn check(metadata: &Value) {
    if metadata.is_null() {
        return;
    }
    let ledger = &metadata["ledger"];
    let accounts = ledger["accounts"].as_object().unwrap_or_else(|| panic!("no ledger in {metadata}"));
    for name in ACCOUNTS {
        assert!(accounts.contains_key(name), "the ledger has no account {name}: {metadata}");
    }
    let may_lack_threads = LOST_THREADS.iter().any(|reason| metadata["end_reason"] == *reason);
    for (name, account) in accounts {
        if account["exact"] == false {
            assert!(may_lack_threads, "{name} need not add up, although the scan has ended well: {metadata}");
            continue;
        }
        let parts = account["parts"].as_object().unwrap();
        let sum: u64 = parts.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(account["total"].as_u64(), Some(sum), "{name} does not add up: {metadata}");
    }
    let equations = ledger["equations"].as_object().unwrap();
    assert!(!equations.is_empty(), "{metadata}");
    for (name, sides) in equations {
        assert_eq!(sides[0], sides[1], "{name}: {metadata}");
    }
    for (row, key) in SAME {
        // A key may be absent: verdicts that could not be read.
        if let (Some(row), Some(value)) = (ledger.pointer(row), metadata.pointer(key)) {
            assert_eq!(row, value, "{key}: {metadata}");
        }
    }
}

/// A count of a ledger, by account and row, among its parts and notes.
#[track_caller]
pub fn row(metadata: &Value, account: &str, row: &str) -> u64 {
    let account = &metadata["ledger"]["accounts"][account];
    let found = [&account["parts"][row], &account["notes"][row]].into_iter().find_map(Value::as_u64);
    // A note that is 0 may be left out with all others.
    found.unwrap_or_else(|| panic!("the ledger has no row {row} in {account}"))
}
