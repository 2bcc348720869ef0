//! Compiles the XDP program and hands its object to `io::bpf`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = PathBuf::from("../xdp-prog");
    for file in ["abi.h", "bpf.h", "cookie.h", "xdpmap.bpf.c"] {
        println!("cargo::rerun-if-changed={}", folder.join(file).display());
    }
    println!("cargo::rerun-if-env-changed=XDPMAP_CLANG");
    println!("cargo::rerun-if-env-changed=PATH");
    let Some(out) = std::env::var_os("OUT_DIR") else {
        eprintln!("OUT_DIR is not set: this program is run by cargo");
        return ExitCode::FAILURE;
    };
    match ebpf_build::build(&folder.join("xdpmap.bpf.c"), &PathBuf::from(out).join("xdpmap.bpf.o")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}
