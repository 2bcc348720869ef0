//! `ebpf-build SOURCE OBJECT`: compiles a BPF program by hand, as the scanner's build script does.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [source, object] = &arguments[..] else {
        eprintln!("usage: ebpf-build SOURCE.bpf.c OBJECT.o");
        return ExitCode::from(2);
    };
    match ebpf_build::build(Path::new(source), Path::new(object)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ebpf-build: {error}");
            ExitCode::FAILURE
        }
    }
}
