//! Scans under a filter on system calls: the refusals of a kernel that lacks something.

use std::process::Output;

use lab::Lab;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::scanner::xdpmap;
use crate::{Scanned, read};

/// A system call that fails, where its arguments of these numbers have these values.
#[derive(Clone)]
pub struct Refused {
    /// The call's number.
    pub call: i64,
    /// Places and values of arguments.
    pub arguments: Vec<(u8, u64)>,
    /// What it fails with.
    pub errno: i32,
}

impl Refused {
    /// From now on, for this thread and its children.
    fn apply(&self) {
        let condition = |&(number, value): &(u8, u64)| {
            SeccompCondition::new(number, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap()
        };
        let conditions: Vec<_> = self.arguments.iter().map(condition).collect();
        let rules = if conditions.is_empty() { vec![] } else { vec![SeccompRule::new(conditions).unwrap()] };
        let filter = SeccompFilter::new(
            [(self.call, rules)].into_iter().collect(),
            SeccompAction::Allow,
            SeccompAction::Errno(self.errno.cast_unsigned()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
    }
}

/// Runs xdpmap on the lab's interface; this call is refused to it.
pub fn run_without(lab: &Lab, refused: &Refused, arguments: &str) -> Output {
    // Not by `ip netns exec`, which makes calls of its own.
    let mut command = xdpmap();
    command.args(["-i", "scan0", "--allow-reserved"]).args(arguments.split_whitespace());
    let refused = refused.clone();
    let run = move || {
        refused.apply();
        command.output().unwrap()
    };
    lab.thread_in(&lab.scan, run).join().unwrap()
}

/// A scan to its end, as [`crate::Scans::survey`] does it, to which this call is refused.
pub fn survey_without(lab: &Lab, refused: &Refused, arguments: &str) -> Scanned {
    let metadata = lab.folder().join("metadata-without");
    let _ = std::fs::remove_file(&metadata);
    let output = run_without(lab, refused, &format!("{arguments} -m {}", metadata.display()));
    let results = String::from_utf8_lossy(&output.stdout).into_owned();
    Scanned { results, metadata: serde_json::from_str(&read(&metadata)).unwrap_or_default(), output }
}
