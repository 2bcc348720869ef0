//! Which files and ports may still be opened (`landlock(7)`): for the calling thread, and the threads that it starts.
//!
//! What is already open stays usable. What a kernel's version of landlock does not know is not restricted.

use std::path::{Path, PathBuf};

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};

/// The version whose rights are known here. Rights that came later are not restricted.
const KNOWN: ABI = ABI::V7;

/// What may be opened later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Files and folders to read.
    pub read: Vec<PathBuf>,
    /// Folders in which files are created, written, renamed and removed; or devices and pipes to write to.
    pub write: Vec<PathBuf>,
    /// Folders in which, in addition, folders are made.
    pub folders: Vec<PathBuf>,
    /// TCP ports to connect to.
    pub tcp_ports: Vec<u16>,
}

/// Refuses all else to this thread and those that it starts, for good. Returns the kernel's version of landlock.
///
/// # Errors
/// Why the kernel does not restrict anything, in words.
pub(super) fn restrict(paths: &Paths) -> Result<String, String> {
    let status = try_to(paths).map_err(|error| error.to_string())?;
    match status.landlock {
        LandlockStatus::NotImplemented => {
            Err("the kernel is built without it, or is older than 5.13".to_owned())
        }
        LandlockStatus::NotEnabled => Err("it is turned off (the kernel's parameter lsm=)".to_owned()),
        LandlockStatus::Available { .. } if status.ruleset == RulesetStatus::NotEnforced => {
            Err("the kernel does not enforce it".to_owned())
        }
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Ok(format!("ABI {}", kernel_abi.unwrap_or(effective_abi as i32)))
        }
    }
}

fn try_to(paths: &Paths) -> Result<::landlock::RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    for path in &paths.read {
        allow(&mut rules, path, AccessFs::ReadFile.into(), AccessFs::ReadDir.into())?;
    }
    for path in paths.write.iter().chain(&paths.folders) {
        let (file, folder) = (
            make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate}),
            make_bitflags!(AccessFs::{ReadDir | MakeReg | RemoveFile}),
        );
        allow(&mut rules, path, file, folder)?;
    }
    for path in &paths.folders {
        allow(&mut rules, path, BitFlags::EMPTY, AccessFs::MakeDir.into())?;
    }
    for port in &paths.tcp_ports {
        (&mut rules).add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    rules.restrict_self()
}

/// Allows `file` to what is at or below `path`, and also `folder` if that is a folder. A path that is not there needs
/// no rule, and a pipe without a name can have none: landlock does not apply to it.
fn allow(
    rules: &mut RulesetCreated,
    path: &Path,
    file: BitFlags<AccessFs>,
    folder: BitFlags<AccessFs>,
) -> Result<(), RulesetError> {
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    let Ok(opened) = PathFd::new(path) else { return Ok(()) };
    let access = if found.is_dir() { file | folder } else { file };
    let added = rules.add_rule(PathBeneath::new(opened, access)).map(drop);
    let may_be_nameless = found.file_type().is_fifo() || found.file_type().is_socket();
    if may_be_nameless { Ok(()) } else { added }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::net::{TcpListener, TcpStream};

    use nix::errno::Errno;
    use nix::unistd::execv;

    use super::*;

    fn is_refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(libc::EACCES))
    }

    /// What is left can be used, and all else is refused, also to root.
    #[test]
    fn all_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [read, write, folders] = ["read", "write", "folders"].map(|name| folder.path().join(name));
        for folder in [&read, &write, &folders] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("old"), "text").unwrap();
        }
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let servers = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let [open, shut] = servers.each_ref().map(|server| server.local_addr().unwrap());
        let paths = Paths {
            read: vec![read.clone(), "/no/such/file".into()],
            write: vec![write.clone(), "/dev/null".into(), pipe.clone()],
            folders: vec![folders.clone()],
            tcp_ports: vec![open.port()],
        };
        let version = std::thread::spawn(move || {
            let Ok(version) = restrict(&paths) else { return None };
            assert_eq!(fs::read_to_string(read.join("old")).unwrap(), "text");
            assert!(is_refused(fs::write(read.join("old"), "")));
            assert!(is_refused(File::create(read.join("new"))));
            assert!(is_refused(fs::remove_file(read.join("old"))));
            fs::write(write.join("new"), "text").unwrap();
            fs::rename(write.join("new"), write.join("old")).unwrap();
            fs::remove_file(write.join("old")).unwrap();
            assert!(is_refused(fs::create_dir(write.join("folder"))));
            assert!(is_refused(std::os::unix::fs::symlink("/", write.join("link"))));
            fs::create_dir(folders.join("folder")).unwrap();
            fs::write(folders.join("folder/new"), "text").unwrap();
            fs::rename(folders.join("folder/new"), folders.join("folder/old")).unwrap();
            fs::write("/dev/null", "text").unwrap();
            File::options().read(true).write(true).open(pipe).unwrap();
            assert!(is_refused(File::open("/etc/passwd")));
            assert!(is_refused(fs::read_dir("/")));
            // If it succeeded, the tests would end here, and fail. `Command::exec` would leave them without protection
            // from SIGPIPE.
            assert_eq!(execv(c"/bin/false", &[c"/bin/false"]), Err(Errno::EACCES));
            TcpStream::connect(open).unwrap();
            // From Linux 6.7 on.
            let number: u32 = version.trim_start_matches("ABI ").parse().unwrap();
            assert_eq!(is_refused(TcpStream::connect(shut)), number >= 4);
            assert_eq!(is_refused(TcpListener::bind("127.0.0.1:0")), number >= 4);
            Some(version)
        });
        let version = version.join().unwrap();
        // Where the kernel has it, it must be on.
        let has_it = fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|lsm| lsm.contains("landlock"));
        assert!(version.is_some() || !has_it);
    }
}
