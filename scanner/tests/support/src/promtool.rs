//! Prometheus' own tool, which knows its text format and what it advises.

use std::io::Write as _;
use std::process::Stdio;

use lab::tools::tool;

/// `promtool check metrics` has nothing to say about this text.
#[track_caller]
pub fn check(text: &str) {
    let mut check = tool("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
