//! The XDP program: its object, loaded by aya, attached by a link that dies with the process.
//!
//! What always holds: nothing stays on a NIC after [`Program`] is dropped or the process is killed; the configuration
//! is fixed at load, so a running program cannot be steered by anybody who may write to maps.

pub mod abi;
mod program;

pub use abi::{COUNTERS, Config, Counter};
pub use program::{AttachError, AttachMode, LoadError, Program, ProgramSettings};

/// The program's object, compiled by the build script from `xdp-prog/`; aligned as object parsers want it.
pub fn object() -> &'static [u8] {
    #[repr(C, align(8))]
    struct Aligned<T: ?Sized>(T);
    static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/xdpmap.bpf.o")));
    &OBJECT.0
}
