//! The programs that labs and tests call, and the environment in which they and the scanner run.
//!
//! Owns the names of these programs and of their Debian packages, and is the only place that starts a process. What
//! always holds: no variable, config file, limit, ignored signal or umask of the machine reaches a process that a test
//! starts. `scanner/tests/offline/packages.rs` compares the table with the packages that `scripts/test.sh` installs,
//! and checks the sources of labs and tests for this rule.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each program and its package.
pub const TOOLS: &[(&str, &str)] = &[
    ("atftpd", "atftpd"),
    ("awk", "mawk"),
    ("bash", "bash"),
    ("bpftool", "bpftool"),
    ("capinfos", "tshark"),
    ("cat", "coreutils"),
    ("cc", "gcc"),
    ("chromium-headless-shell", "chromium-headless-shell"),
    ("chronyd", "chrony"),
    ("curl", "curl"),
    ("env", "coreutils"),
    ("ethtool", "ethtool"),
    ("gdb", "gdb"),
    ("gzip", "gzip"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("man", "man-db"),
    ("masscan", "masscan"),
    ("memcached", "memcached"),
    ("minissdpd", "minissdpd"),
    ("miniupnpd", "miniupnpd-nftables"),
    ("mkfifo", "coreutils"),
    ("mount", "mount"),
    ("ndiff", "ndiff"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("nm", "binutils"),
    ("nmap", "nmap"),
    ("nsenter", "util-linux"),
    ("prometheus", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("promtool", "prometheus"),
    ("python3", "python3-venv"),
    ("redis-cli", "redis-server"),
    ("redis-server", "redis-server"),
    ("rpcbind", "rpcbind"),
    ("script", "bsdutils"),
    ("setcap", "libcap2-bin"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("sh", "dash"),
    ("sha256sum", "coreutils"),
    ("snmpd", "snmpd"),
    ("ss", "iproute2"),
    ("stat", "coreutils"),
    ("strace", "strace"),
    ("sysctl", "procps"),
    ("systemd-analyze", "systemd"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("timeout", "coreutils"),
    ("tshark", "tshark"),
    ("unbound", "unbound"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("wg", "wireguard-tools"),
    ("wireguard-go", "wireguard-go"),
    ("xmllint", "libxml2-utils"),
    ("xz", "xz-utils"),
    ("zblacklist", "zmap"),
    ("zmap", "zmap"),
    ("zstd", "zstd"),
    ("ztee", "zmap"),
];

/// The directories where programs are looked for: a user's `PATH` lacks those for the administrator.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a lab could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("{0} is missing: install the package {1}")]
    Missing(String, &'static str),
    /// A program failed, with this message.
    #[error("{0}: {1}")]
    Failed(String, String),
    /// The system refused something.
    #[error("{0}: {1}")]
    System(String, #[source] io::Error),
}

impl Error {
    /// The system refused something.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::System(what.into(), error)
    }
}

/// The path of a program of [`TOOLS`], for callers that report the error. Python is the one that `scripts/test.sh` set
/// up, with modules that Debian does not package.
#[track_caller]
pub(crate) fn try_path_of(name: &str) -> Result<PathBuf, Error> {
    let Some((_, package)) = TOOLS.iter().find(|(tool, _)| *tool == name) else {
        panic!("lab/src/tools.rs does not list {name} and its package")
    };
    if name == "python3"
        && let Some(python) = std::env::var_os("XDPMAP_PYTHON")
    {
        return Ok(python.into());
    }
    let found = PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    found.ok_or_else(|| Error::Missing(name.to_owned(), package))
}

/// The path of a program of [`TOOLS`]. A test that needs a missing program fails.
#[track_caller]
pub fn path_of(name: &str) -> PathBuf {
    try_path_of(name).unwrap_or_else(|error| panic!("{error}, or run scripts/test.sh"))
}

/// A command that runs a program of [`TOOLS`].
#[track_caller]
pub fn tool(name: &str) -> Command {
    clean(path_of(name))
}

/// As [`tool`], for callers that report the error.
pub(crate) fn try_tool(name: &str) -> Result<Command, Error> {
    try_path_of(name).map(clean)
}

/// A command that runs a program of [`TOOLS`] with this process's own variables.
pub fn as_called(name: &str) -> Result<Command, Error> {
    try_path_of(name).map(Command::new)
}

/// A command with only those environment variables that are the same everywhere.
pub fn clean(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("PATH", PATH).env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a program of [`TOOLS`] that must succeed; returns its output.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    try_run(program, arguments, "").unwrap_or_else(|error| panic!("{error}"))
}

/// As [`run`], for callers that report the error; `input` is the program's input.
pub(crate) fn try_run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
    input: &str,
) -> Result<String, Error> {
    let mut command = try_tool(program)?;
    command.args(arguments);
    finish(program, command, input)
}

/// Runs a command that must succeed, with this input, as [`try_run`] does.
pub(crate) fn finish(program: &str, mut command: Command, input: &str) -> Result<String, Error> {
    let io_error = |error| Error::io(program, error);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io_error)?;
    // A program that fails early does not read its input, and reports the reason.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(io_error)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said =
        if said.trim().is_empty() { output.status.to_string() } else { said.trim().replace('\n', "; ") };
    Err(Error::Failed(program.to_owned(), said))
}
