//! Compiles a BPF program in C into an object that BPF loaders accept.
//!
//! Owns the choice of compiler and its flags. The object holds no path of the build machine and no DWARF (it keeps its
//! BTF), so the same sources and the same clang give the same bytes anywhere.

mod names;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use names::NO_CLANG;

/// Environment variable that names the clang to use; it takes precedence over all others.
pub const CLANG_VARIABLE: &str = names::CLANG_VARIABLE;

/// Environment variable that names the llvm-strip to use; it takes precedence over all others.
pub const STRIP_VARIABLE: &str = "XDPMAP_LLVM_STRIP";

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No clang under any of the usual names.
    #[error("{NO_CLANG}")]
    NoClang,
    /// The tool named by an environment variable does not exist.
    #[error("{variable} names {}, which does not exist: correct it or unset it", tool.display())]
    NamedToolMissing {
        /// The variable.
        variable: &'static str,
        /// Its value.
        tool: PathBuf,
    },
    /// A tool exists, but could not be started.
    #[error("cannot run {}: {source}: check its permissions", tool.display())]
    Run {
        /// The tool.
        tool: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A tool refused its input; its messages follow.
    #[error("{} failed on {}:\n{}", tool.display(), input.display(), stderr.trim_end())]
    Failed {
        /// The tool.
        tool: PathBuf,
        /// Its input.
        input: PathBuf,
        /// Its messages.
        stderr: String,
    },
    /// A file or directory of the request is not usable.
    #[error("cannot use {}: {source}", path.display())]
    Path {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Compiles `source` (a `.bpf.c` file that needs no system header) into `object`. Headers are found next to the source.
/// Without an llvm-strip the object keeps its DWARF: it is larger, but loads as well. Returns clang's warnings.
///
/// # Errors
/// Every variant of [`Error`]; `object` is then absent or incomplete.
pub fn compile(source: &Path, object: &Path) -> Result<String, Error> {
    let source = fs::canonicalize(source).map_err(|error| path_error(source, error))?;
    let object = std::path::absolute(object).map_err(|error| path_error(object, error))?;
    let (Some(folder), Some(file)) = (source.parent(), source.file_name()) else {
        return Err(path_error(&source, ErrorKind::IsADirectory.into()));
    };

    let warnings = clang(folder, Path::new(file), &object)?;
    strip(&object)?;
    Ok(warnings)
}

fn clang(folder: &Path, file: &Path, object: &Path) -> Result<String, Error> {
    let mut map = OsString::from("-ffile-prefix-map=");
    map.push(folder);
    map.push("=.");
    let run = |tool: &Path| {
        let mut command = Command::new(tool);
        // Relative names below the source's directory, and no include path from outside: nothing of this machine gets
        // into the object.
        command.current_dir(folder).env_remove("CPATH").env_remove("C_INCLUDE_PATH");
        command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-nostdinc", "-Wall", "-Wextra"]);
        command.arg("-fdebug-compilation-dir=.").arg(&map);
        command.arg("-c").arg(file).arg("-o").arg(object);
        command.output()
    };
    let (tool, output) = first_found(CLANG_VARIABLE, "clang", run)?.ok_or(Error::NoClang)?;
    succeeded(&tool, file, &output)
}

fn strip(object: &Path) -> Result<(), Error> {
    let run = |tool: &Path| Command::new(tool).arg("-g").arg(object).output();
    if let Some((tool, output)) = first_found(STRIP_VARIABLE, "llvm-strip", run)? {
        succeeded(&tool, object, &output)?;
    }
    Ok(())
}

/// Runs the tool that `variable` names, or else the first of `name`, `name-19` ... `name-14` that exists.
fn first_found(
    variable: &'static str,
    name: &str,
    run: impl Fn(&Path) -> io::Result<Output>,
) -> Result<Option<(PathBuf, Output)>, Error> {
    let named = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let candidates = match &named {
        Some(tool) => vec![tool.clone()],
        None => names::usual(name).map(PathBuf::from).collect(),
    };
    for tool in candidates {
        match run(&tool) {
            Ok(output) => return Ok(Some((tool, output))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Run { tool, source }),
        }
    }
    match named {
        Some(tool) => Err(Error::NamedToolMissing { variable, tool }),
        None => Ok(None),
    }
}

fn succeeded(tool: &Path, input: &Path, output: &Output) -> Result<String, Error> {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok(stderr);
    }
    Err(Error::Failed { tool: tool.into(), input: input.into(), stderr })
}

fn path_error(path: &Path, source: io::Error) -> Error {
    Error::Path { path: path.into(), source }
}
