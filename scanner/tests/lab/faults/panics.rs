//! A thread that panics. No code that panics is built in for this: a debugger stops the thread where it calls a
//! function that may panic, and lets it go on in the function of the standard library that panics. To the unwinder this
//! is a panic of the called function.

use std::process::Command;
use std::time::Duration;

use lab::have_root;
use lab::tools::{run, tool};
use support::scanner::binary;
use support::truth::FIELDS;
use support::{Scans as _, read};

use super::{COMMON, Logged, NETWORK, lab_with_servers};
use crate::checkpoint::{assert_whole, into_sending, resume};

/// The name that a function of the program has for the linker. It holds these words in this order.
fn symbol(words: &[&str]) -> String {
    let table = run("nm", [binary()]);
    let names = table.lines().filter_map(|line| line.rsplit(' ').next());
    let has_all = |name: &&str| {
        let mut rest = *name;
        words.iter().all(|word| rest.split_once(word).inspect(|(_, behind)| rest = behind).is_some())
    };
    let found: Vec<&str> = names.filter(has_all).collect();
    assert_eq!(found.len(), 1, "{words:?}: {found:?}");
    found[0].to_owned()
}

/// Makes the first thread of a process panic that calls the function of this name.
fn make_panic(pid: u32, function: &str) {
    let panics = symbol(&["core6option13unwrap_failed"]);
    // Its argument is the place in the code: a text and its length, a line and a column.
    let place = "call (void *) malloc(64)";
    // Another worker would stop there as well, within that call.
    let only_once = "delete";
    let argument = if cfg!(target_arch = "x86_64") { "$rdi" } else { "$x0" };
    let mut command: Command = tool("gdb");
    command.args(["-nx", "-q", "-batch", "-p", &pid.to_string()]);
    for line in [
        "set language c",
        &format!("break *&'{function}'"),
        "continue",
        only_once,
        place,
        "set $place = (unsigned long *) $",
        "set $place[0] = (unsigned long) ($place + 4)",
        "set $place[1] = 4",
        "set $place[2] = (1UL << 32) | 1",
        "set $place[4] = 0x74736574",
        &format!("set {argument} = $place"),
        &format!("set $pc = &'{panics}'"),
        "detach",
    ] {
        command.args(["-ex", line]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("Breakpoint 1, "), "{said}");
}

/// The scan ends in order: with exit code 1, with metadata that says why, with a checkpoint, without a program on the
/// interface. It goes on from there, and has found everything.
fn ends_in_order(words: &[&str], thread: &str, reason: &str) {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    let results = lab.folder().join("r.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    let mut command = lab.xdpmap(&format!("{COMMON} -r 4000 -q {FIELDS} {NETWORK}"));
    let mut scan = Logged::start(command.arg("-o").arg(&results), &lab.folder().join("metadata"));
    into_sending(&checkpoint, 1_500);
    let began = std::time::Instant::now();
    make_panic(scan.child.id(), &symbol(words));
    scan.wait_for(": panicked at test:1:1");
    assert!(scan.said.lines().last().unwrap().contains(&format!("panic: {thread}")), "{}", scan.said);
    let (code, metadata, log) = scan.finish();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {log}", began.elapsed());
    assert_eq!(code, Some(1), "{log}");
    assert_eq!((&metadata["end_reason"], &metadata["exit_code"]), (&reason.into(), &1.into()), "{log}");
    assert!(!lab.has_xdp());
    assert!(!log.contains("did not reach a socket"), "what the thread had received is not known: {log}");
    assert!(log.contains("goes on with what is left") || log.contains("goes on before that"), "{log}");
    let before = read(&results);
    let rest = resume(&lab, &checkpoint, "-q -r 20000").output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
    assert!(before.lines().count() > 2_000, "the results so far are kept");
    assert_whole(thread, &read(&results), &truth, truth.len() as u64 / 2);
}

#[test]
fn a_worker_that_panics() {
    ends_in_order(&["XskPort", "5flush"], "worker-", "send-failed");
}

#[test]
fn a_collector_that_panics() {
    ends_in_order(&["FileSink", "5flush"], "collector", "output-failed");
}
