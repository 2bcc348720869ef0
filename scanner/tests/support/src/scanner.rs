//! The scanner as tests start it: the only place that does.
//!
//! What always holds: it sees no `/etc/xdpmap` and no home folder of the machine, no variable of its environment, and
//! neither its umask, nor its soft limits, nor the signals that it ignores. As root it has device nodes of its own: a
//! fault that replaces an output by a file cannot take `/dev/null` away from the machine.

use std::ffi::OsString;
use std::fs::{Permissions, copy, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lab::tools::{PATH, clean, path_of, tool};

/// The program under test.
#[track_caller]
pub fn binary() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var("CARGO_BIN_EXE_xdpmap").expect("cargo says which program it has built: run tests by it")
    })
}

/// Where scripts look for programs: the program under test comes before those of [`PATH`].
pub fn path() -> String {
    format!("{}:{PATH}", Path::new(binary()).parent().unwrap().display())
}

/// What runs a command on a terminal of its own, with so many columns. What it prints comes on standard output.
pub fn on_terminal(command: &Command, columns: u16) -> Command {
    let mut line = format!("stty cols {columns}; exec");
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        line.push_str(&format!(" '{}'", word.to_str().expect("text").replace('\'', r"'\''")));
    }
    let mut terminal = tool("script");
    terminal.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
    terminal
}

/// Takes the machine away from what it starts, in a mount namespace that has been made for it. `$0` is a folder that
/// takes the place of `/etc/xdpmap`, or nothing for none at all.
const SHIELD: &str = r#"
set -e
mount -t tmpfs none /mnt
for node in null:3 full:7; do
	mknod -m 666 "/mnt/${node%:*}" c 1 "${node#*:}"
	mount --bind "/mnt/${node%:*}" "/dev/${node%:*}"
done
umount -l /mnt
if [ -n "$0" ] || [ -e /etc/xdpmap ] || [ -L /etc/xdpmap ]; then
	mount -t tmpfs none /mnt
	mkdir /mnt/upper /mnt/work
	mount -t overlay none -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
	umount -l /mnt
	rm -rf /etc/xdpmap
	if [ -n "$0" ]; then cp -a "$0" /etc/xdpmap; fi
fi
umask 022
for limit in t f d v l n; do ulimit -S -$limit "$(ulimit -H -$limit)"; done
exec env --default-signal "$@"
"#;

/// The shielding that precedes a command; `etc` is a folder to find as `/etc/xdpmap`. The caller has made a mount
/// namespace, as `ip netns exec` and `unshare --mount` do.
pub fn shield(etc: Option<&Path>) -> Vec<OsString> {
    let etc = etc.map_or_else(OsString::new, OsString::from);
    vec![path_of("sh").into(), "-c".into(), SHIELD.into(), etc]
}

/// The program, shielded.
pub fn xdpmap() -> Command {
    xdpmap_as(binary())
}

/// The program under another name, shielded. Only root can make a namespace: for others the machine must have no
/// `/etc/xdpmap`.
pub fn xdpmap_as(program: impl AsRef<Path>) -> Command {
    if nix::unistd::geteuid().is_root() {
        let mut command = tool("unshare");
        command.arg("--mount").args(shield(None)).arg(program.as_ref());
        return command;
    }
    assert!(
        !Path::new("/etc/xdpmap").exists(),
        "this machine has an /etc/xdpmap, which only root can hide: run the tests as root"
    );
    clean(program)
}

/// The program on a machine that has this folder as `/etc/xdpmap`. Needs root.
pub fn xdpmap_where(etc: &Path) -> Command {
    let mut command = tool("unshare");
    command.arg("--mount").args(shield(Some(etc))).arg(binary());
    command
}

/// A copy of the program that `nobody` may run, in a folder where `nobody` may write.
pub fn program_for_nobody(folder: &Path) -> PathBuf {
    set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    let program = folder.join("xdpmap");
    if !program.exists() {
        copy(binary(), &program).unwrap();
        set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    program
}
