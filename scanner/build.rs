//! Compiles the XDP program into `OUT_DIR`, from where `io::bpf` embeds it.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xdp-prog");
    // The folder too: a header may come to it.
    println!("cargo::rerun-if-changed={}", folder.display());
    for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "c" || extension == "h") {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    for variable in [ebpf_build::CLANG_VARIABLE, ebpf_build::STRIP_VARIABLE] {
        println!("cargo::rerun-if-env-changed={variable}");
    }

    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for program in ["xdpmap", "live"] {
        let (source, object) = (format!("{program}.bpf.c"), format!("{program}.bpf.o"));
        match ebpf_build::compile(&folder.join(source), &out.join(object)) {
            Ok(warnings) => warnings.lines().for_each(|line| println!("cargo::warning={line}")),
            // This fails the build. A failure of the script itself would bury the one line under a dump of all the
            // above.
            Err(error) => {
                error.to_string().lines().for_each(|line| println!("cargo::error={line}"));
                break;
            }
        }
    }
}
