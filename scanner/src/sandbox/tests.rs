//! Both layers together, as a thread of a scan has them: whatever widens a class, all else is refused to its threads.

use std::fs::{self, File};
use std::io;
use std::net::{self, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use lab::tools::clean;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::unistd::{Pid, execv};

use super::*;

/// Versions of landlock from which it knows TCP, and Unix sockets without a file.
const TCP: u32 = 4;
const ABSTRACT: u32 = 6;

/// What a scan leaves open, and what it does not.
struct Surroundings {
    /// A folder of outputs, with a file in it.
    ours: PathBuf,
    /// Another one.
    theirs: PathBuf,
    /// A Redis server, and another one.
    servers: [SocketAddrV4; 2],
    _listeners: [TcpListener; 2],
    /// A socket that has a name, and no file.
    _nameless: UnixListener,
    name: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Surroundings {
    fn new() -> Self {
        use std::os::linux::net::SocketAddrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        for folder in [&ours, &theirs] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "text").unwrap();
        }
        let name = SocketAddr::from_abstract_name(format!("test-{}", std::process::id())).unwrap();
        let _nameless = UnixListener::bind_addr(&name).unwrap();
        let _listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let servers = _listeners.each_ref().map(|listener| match listener.local_addr().unwrap() {
            net::SocketAddr::V4(address) => address,
            other => panic!("{other} was not asked for"),
        });
        Self { ours, theirs, servers, _listeners, _nameless, name, _folder: folder }
    }

    /// What landlock leaves of it.
    fn paths(&self) -> Paths {
        Paths {
            read: system_files(),
            write: vec![self.ours.clone()],
            folders: vec![],
            tcp_ports: vec![self.servers[0].port()],
        }
    }
}

/// Whether a layer has refused it: seccomp says EPERM, and landlock EACCES, or EPERM for sockets without a file.
fn is_refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)))
}

/// A class with each set of exceptions that a scan can give it.
fn every_class() -> impl Iterator<Item = (Class, Vec<Exception>)> {
    Class::ALL.into_iter().flat_map(|class| {
        let own: Vec<_> = Exception::ALL.into_iter().filter(|exception| exception.class() == class).collect();
        (0..1_u32 << own.len()).map(move |set| {
            let is_in = |place: &usize| set >> place & 1 == 1;
            (class, (0..own.len()).filter(is_in).map(|place| own[place]).collect())
        })
    })
}

/// What a class may do with these exceptions, beside the files of the scan.
struct Widened {
    /// Files of the scan's folders are opened: to read, to write.
    opens: [bool; 2],
    tcp: bool,
    unix: bool,
    udp: bool,
}

impl Widened {
    fn of(class: Class, exceptions: &[Exception]) -> Self {
        let has = |wanted: &[Exception]| exceptions.iter().any(|exception| wanted.contains(exception));
        let creates = matches!(class, Class::Checkpoint | Class::MetricsFile)
            || has(&[Exception::Rotation, Exception::Partitions, Exception::Metadata]);
        let asks = matches!(class, Class::LiveSender | Class::Monitor | Class::Guardian);
        let names = has(&[Exception::RedisName, Exception::BlocklistNames]);
        Self {
            opens: [creates || asks || names || class == Class::Blocklist, creates],
            tcp: has(&[Exception::RedisTcp]),
            unix: names || has(&[Exception::RedisSocket]),
            udp: names || asks,
        }
    }
}

/// Files of the scan's folder are opened as far as the class does that; no other file is, in any way.
fn files(what: &str, widened: &Widened, ours: &Path, theirs: &Path) {
    let [reads, writes] = widened.opens;
    let append = |folder: &Path| File::options().append(true).open(folder.join("file"));
    assert_eq!(is_refused(File::open(ours.join("file"))), !reads, "{what}: a file of the scan, to read");
    assert_eq!(is_refused(append(ours)), !writes, "{what}: a file of the scan, to write");
    assert!(is_refused(File::open(theirs.join("file"))), "{what}: another file, to read");
    assert!(is_refused(File::open("/etc/passwd")), "{what}: a file of the system");
    assert!(is_refused(append(theirs)), "{what}: another file, to write");
    assert!(is_refused(File::create(theirs.join("new"))), "{what}: a new file");
    assert!(fs::rename(ours.join("file"), theirs.join("new")).is_err(), "{what}: a file is moved out");
    assert!(is_refused(fs::remove_file(theirs.join("file"))), "{what}: another file is removed");
    assert!(is_refused(std::os::unix::fs::symlink("/", ours.join("link"))), "{what}: a link");
    assert!(is_refused(fs::create_dir(ours.join("folder"))), "{what}: a folder");
}

/// Connections are made only where an exception says so, and over TCP to the port of the scan alone.
fn connections(what: &str, widened: &Widened, surroundings: &Surroundings, landlock: u32) {
    let [redis, other] = surroundings.servers;
    assert_eq!(is_refused(TcpStream::connect(redis)), !widened.tcp, "{what}: the scan's server");
    if !widened.tcp || landlock >= TCP {
        assert!(is_refused(TcpStream::connect(other)), "{what}: another server");
    }
    assert!(is_refused(TcpListener::bind("127.0.0.1:0")), "{what}: a server of its own");
    assert_eq!(is_refused(UnixDatagram::unbound()), !widened.unix, "{what}: Unix sockets");
    if !widened.unix || landlock >= ABSTRACT {
        let connected = UnixStream::connect_addr(&surroundings.name);
        assert!(is_refused(connected), "{what}: a Unix socket without a file");
    }
    assert_eq!(is_refused(UdpSocket::bind("127.0.0.1:0")), !widened.udp, "{what}: UDP");
}

/// Nothing is run, started, traced or ended, by anybody.
fn processes(what: &str) {
    // If it succeeded, the tests would end here, and fail.
    let run = execv(c"/bin/false", &[c"/bin/false"]);
    assert!(matches!(run, Err(Errno::EPERM | Errno::EACCES)), "{what}: execve: {run:?}");
    assert!(is_refused(clean("/bin/true").spawn()), "{what}: another process");
    assert!(is_refused(thread::Builder::new().spawn(|| {})), "{what}: another thread");
    assert_eq!(ptrace::traceme(), Err(Errno::EPERM), "{what}: ptrace");
    assert_eq!(kill(Pid::parent(), None), Err(Errno::EPERM), "{what}: kill");
}

/// With every exception, and every combination of those of a class.
#[test]
fn all_else_is_refused_to_every_class() {
    let surroundings = Surroundings::new();
    let mut sets = 0;
    for (class, exceptions) in every_class() {
        let what = format!("{class:?} with {exceptions:?}");
        let widened = Widened::of(class, &exceptions);
        let surroundings = &surroundings;
        let confined = move || {
            let Ok(version) = access::restrict(&surroundings.paths()) else { return false };
            let landlock = version.trim_start_matches("ABI ").parse().unwrap();
            filter::apply(class, &exceptions).unwrap();
            files(&what, &widened, &surroundings.ours, &surroundings.theirs);
            connections(&what, &widened, surroundings, landlock);
            processes(&what);
            true
        };
        let has_landlock = thread::scope(|scope| scope.spawn(confined).join().unwrap());
        let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        assert!(has_landlock || !lsm.contains("landlock"), "where the kernel has it, it must be on");
        sets += 1;
    }
    // Seven classes without an exception, one with one, two with two, one with three.
    assert_eq!(sets, 7 + 2 + 2 * 4 + 8);
}
