//! A lab: two network namespaces and a veth pair. Nothing in it can leave the machine.
//!
//! One side (`scan`) runs the scanner, with 198.19.0.1 on `scan0`. The other (`net`) has 198.19.0.2 on `net0` and
//! answers as its [`Far`] side says. Tests make labs with this library, people and benchmarks with the program `lab`.
//!
//! What always holds: when the process that owns a [`Lab`] ends, even by SIGKILL, the lab is removed together with all
//! processes in it ([`keeper`]). Programs are those of [`tools::TOOLS`], and no setting of the machine reaches them.

pub mod hosts;
pub mod keeper;
pub mod lan;
mod namespaces;
mod servers;
pub mod tools;
pub mod tunnel;
pub mod wires;

use std::io::Write as _;

pub use hosts::{Answer, GUEST, HOSTS, Hosts};
pub use namespaces::{Far, Lab, Settings};
pub use tools::{Error, run};

/// Whether the calling test, which needs root, can run. If `XDPMAP_REQUIRE_ROOT` is set to anything, the test fails
/// without root; otherwise it reports on standard error that it is skipped. The variable has no other meaning.
pub fn have_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("this test").to_owned();
    assert!(std::env::var_os("XDPMAP_REQUIRE_ROOT").is_none(), "{test} needs root");
    // Directly to standard error: the harness hides the output of `eprintln!` in a test that passes.
    writeln!(std::io::stderr(), "SKIPPED {test}: it needs root; ./scripts/test.sh runs it").expect("stderr");
    false
}
