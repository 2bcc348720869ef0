//! The programs that tests call, and the environment in which they and the scanner run.
//!
//! Owns the names of these programs and of the Debian packages that have them, and is the only place that starts a
//! process. What always holds: no variable, config file, limit, ignored signal or umask of the machine reaches what a
//! test starts. `tests/offline/packages.rs` holds the table against what `scripts/test.sh` installs, and the sources of
//! the tests against this rule.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Each program, and the package that it is from.
pub const TOOLS: &[(&str, &str)] = &[
    ("atftpd", "atftpd"),
    ("bash", "bash"),
    ("bpftool", "bpftool"),
    ("capinfos", "tshark"),
    ("cat", "coreutils"),
    ("cc", "gcc"),
    ("chronyd", "chrony"),
    ("env", "coreutils"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("memcached", "memcached"),
    ("minissdpd", "minissdpd"),
    ("miniupnpd", "miniupnpd-nftables"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("python3", "python3-venv"),
    ("redis-cli", "redis-server"),
    ("redis-server", "redis-server"),
    ("rpcbind", "rpcbind"),
    ("script", "bsdutils"),
    ("setcap", "libcap2-bin"),
    ("setpriv", "util-linux"),
    ("sh", "dash"),
    ("snmpd", "snmpd"),
    ("ss", "iproute2"),
    ("stat", "coreutils"),
    ("sysctl", "procps"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("timeout", "coreutils"),
    ("tshark", "tshark"),
    ("unbound", "unbound"),
    ("unshare", "util-linux"),
    ("wg", "wireguard-tools"),
    ("wireguard-go", "wireguard-go"),
    ("zblacklist", "zmap"),
    ("zmap", "zmap"),
    ("ztee", "zmap"),
];

/// Where programs are looked for: what users have in `PATH` lacks the folders of the administrator.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a program of [`TOOLS`] is. A test that needs one that is not installed fails. Python is the one that `scripts/test.sh`
/// made, which has what Debian has no package of.
#[track_caller]
pub fn path_of(name: &str) -> PathBuf {
    let Some((_, package)) = TOOLS.iter().find(|(tool, _)| *tool == name) else {
        panic!("tests/support/tools.rs does not list {name}, nor the package that has it")
    };
    if name == "python3"
        && let Some(python) = std::env::var_os("XDPMAP_PYTHON")
    {
        return python.into();
    }
    let found = PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    found
        .unwrap_or_else(|| panic!("{name} is missing: install the package {package}, or run scripts/test.sh"))
}

/// A command that runs a program of [`TOOLS`].
#[track_caller]
pub fn tool(name: &str) -> Command {
    clean(path_of(name))
}

/// A command without any variable of the environment but those that are the same everywhere.
pub fn clean(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("PATH", PATH).env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command
}
