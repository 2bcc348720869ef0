//! `ebpf-build SOURCE OBJECT`: compiles a BPF program by hand, in the same way as the scanner's build.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [source, object] = arguments.as_slice() else {
        eprintln!("usage: ebpf-build SOURCE.bpf.c OBJECT.o");
        return ExitCode::from(2);
    };
    match ebpf_build::compile(Path::new(source), Path::new(object)) {
        Ok(warnings) => {
            eprint!("{warnings}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ebpf-build: {error}");
            ExitCode::FAILURE
        }
    }
}
