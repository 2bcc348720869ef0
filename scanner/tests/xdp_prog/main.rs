//! The XDP program, judged in the kernel: `BPF_PROG_TEST_RUN` over named frames, through aya and through libbpf.
//!
//! Needs root. Without it each test says so on stderr and passes, unless `XDPMAP_REQUIRE_ROOT=1` is set.

mod fixtures;
mod frames;
mod loaders;
mod network;

mod abi;
mod attach;
mod cookie;
mod forms;
mod verdicts;

use std::io::Write;

/// Whether the test can run; says loudly when it cannot.
fn root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("XDPMAP_REQUIRE_ROOT").is_none_or(|value| value != "1"),
        "XDPMAP_REQUIRE_ROOT=1, but this is not root"
    );
    // Past the harness, which hides what `eprintln!` says in a test that passes.
    let name = std::thread::current().name().unwrap_or("this test").to_string();
    writeln!(std::io::stderr(), "SKIPPED, NOT TESTED: {name} needs root").expect("stderr");
    false
}
