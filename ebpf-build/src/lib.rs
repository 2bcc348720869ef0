//! Compiles a BPF program in C to an object that aya and libbpf load.
//!
//! The object is made from source on every build, with whatever clang the system has; it holds BTF and no absolute
//! path, so the same source and clang give the same bytes anywhere.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Versions of clang and llvm-strip that are looked for when there is none without a version in its name.
const VERSIONS: [&str; 9] = ["22", "21", "20", "19", "18", "17", "16", "15", "14"];

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No compiler.
    #[error(
        "clang not found: the XDP program is compiled from C; install it with: apt-get install clang llvm"
    )]
    NoClang,
    /// The compiler could not be started.
    #[error("{program}: {source}")]
    Start {
        /// What was started.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler refused the source; what it said is on standard error.
    #[error("{program} could not compile {source_file}: {status}")]
    Compile {
        /// The compiler.
        program: String,
        /// The source.
        source_file: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Compiles `source` to `object`. Headers are looked for beside the source only.
///
/// The compiler is `$XDPMAP_CLANG`, or `clang`, or `clang-VERSION`. Debug sections are taken out of the object where
/// `llvm-strip` is found, which makes it smaller and changes nothing else.
///
/// # Errors
/// There is no clang, or it refuses the source.
pub fn build(source: &Path, object: &Path) -> Result<(), BuildError> {
    let clang = match std::env::var_os("XDPMAP_CLANG") {
        Some(clang) => clang,
        None => find("clang").ok_or(BuildError::NoClang)?,
    };
    let folder = source.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let program = clang.to_string_lossy().into_owned();
    let mut prefix_map = OsString::from("-ffile-prefix-map=");
    prefix_map.push(folder);
    prefix_map.push("=.");
    let status = Command::new(&clang)
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-nostdinc", "-Wall", "-Wextra", "-Werror"])
        .arg(prefix_map)
        .args(["-fdebug-compilation-dir=.", "-c"])
        .arg(source)
        .arg("-o")
        .arg(object)
        .status()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BuildError::NoClang,
            _ => BuildError::Start { program: program.clone(), source: error },
        })?;
    if !status.success() {
        return Err(BuildError::Compile { program, source_file: source.to_owned(), status });
    }
    if let Some(strip) = find("llvm-strip") {
        // -g keeps BTF. An object that could not be stripped is as good.
        let _ = Command::new(strip).arg("-g").arg(object).status();
    }
    Ok(())
}

/// The name under which `program` can be started.
fn find(program: &str) -> Option<OsString> {
    let versioned = VERSIONS.iter().map(|version| format!("{program}-{version}"));
    std::iter::once(program.to_owned()).chain(versioned).map(OsString::from).find(runs)
}

fn runs(name: &OsString) -> bool {
    Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
}
