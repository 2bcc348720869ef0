//! The XDP program, from object to interface.
//!
//! Owns the compiled object, its mirror in Rust ([`abi`]), and the loaded program ([`XdpProgram`]). An attached program
//! is held by a `bpf_link`: it leaves the interface when the [`XdpProgram`] is dropped or the process ends, however
//! that ends (invariant 8 of the design).

pub mod abi;
mod error;
pub mod holder;
mod link;
mod program;
mod settings;

pub use error::{AttachError, LoadError, MapError};
pub use link::AttachMode;
pub use program::{TestVerdict, XdpProgram};
pub use settings::ProgramSettings;

/// The object's bytes, at an address that ELF readers can use.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/xdpmap.bpf.o")));

static LIVE_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/live.bpf.o")));

/// The compiled program of live frames, also at an address that ELF readers can use.
pub fn live_object() -> &'static [u8] {
    &LIVE_OBJECT.0
}

/// The compiled XDP program: an ELF object with BTF, aligned to 8 bytes.
pub fn object() -> &'static [u8] {
    &OBJECT.0
}
