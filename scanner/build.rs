//! Compiles the XDP program into `OUT_DIR`, from where `io::bpf` embeds it, and tells the compiler on which commit the
//! build is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Names the commit where the tree is no repository, such as in a package of the sources.
const COMMIT_VARIABLE: &str = "XDPMAP_COMMIT";

fn main() {
    compile_programs();
    tell_commit();
}

fn compile_programs() {
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

/// Sets `XDPMAP_BUILT_ON` for the compiler, if the commit is known.
fn tell_commit() {
    println!("cargo::rerun-if-env-changed={COMMIT_VARIABLE}");
    let named = env::var(COMMIT_VARIABLE).ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = named.or_else(commit_of_repository) {
        println!("cargo::rustc-env=XDPMAP_BUILT_ON={commit}");
    }
}

/// The commit of the repository that this tree is; not of one that only holds it, nor without git.
fn commit_of_repository() -> Option<String> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(tree).args(arguments).output().ok()?;
        let said = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
        Some(said.trim().to_owned())
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(tree).ok()? {
        return None;
    }
    // Whatever changes the commit adds a line to this file.
    let moves = tree.join(git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    if moves.exists() {
        println!("cargo::rerun-if-changed={}", moves.display());
    }
    git(&["rev-parse", "HEAD"])
}
