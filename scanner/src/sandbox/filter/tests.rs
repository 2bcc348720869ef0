//! The filters: what they say about any call, by running their instructions; and that the kernel holds threads to them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use lab::tools::clean;
use libc::c_long;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::unistd::{Pid, execv};

use super::*;

const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSAL: u32 = libc::SECCOMP_RET_ERRNO | REFUSED;

/// Classes that create files in every scan that has them.
const CREATORS: [Class; 2] = [Class::Checkpoint, Class::MetricsFile];

/// What a filter says about a call, and after how many instructions. `None`: an architecture that is not this one.
fn judge(program: &BpfProgram, number: Option<c_long>, arguments: [u64; 6]) -> (u32, usize) {
    // `struct seccomp_data`: the number, the architecture, an address, the arguments.
    let mut data = vec![number.unwrap_or(0) as u32, program[1].k ^ u32::from(number.is_none()), 0, 0];
    data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (*argument >> 32) as u32]));
    let (mut at, mut value, mut steps) = (0, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        (at, steps) = (at + 1, steps + 1);
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => value = data[k as usize / 4],
            0x54 => value &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(value == k),
            0x25 => at += jump(value > k),
            0x35 => at += jump(value >= k),
            0x06 => return (k, steps),
            _ => panic!("an instruction that is not known here: {code:#x}"),
        }
    }
}

fn every_filter() -> impl Iterator<Item = (Class, Vec<Exception>, BpfProgram)> {
    let filter = |class, exceptions: Vec<Exception>| {
        let program = compile(class, &exceptions).unwrap();
        (class, exceptions, program)
    };
    Class::ALL.into_iter().flat_map(move |class| {
        let alone = Exception::ALL.into_iter().filter(move |exception| exception.class() == class);
        let alone = alone.map(|exception| vec![exception]);
        let sets = [Vec::new(), Exception::ALL.to_vec()].into_iter().chain(alone);
        sets.map(move |set| filter(class, set))
    })
}

/// No exception, and no combination of them, allows these.
#[test]
fn what_no_class_may_do() {
    const WRITE_EXECUTE: u64 = (libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let refused: &[(c_long, [u64; 6])] = &[
        (libc::SYS_execve, [0; 6]),
        (libc::SYS_execveat, [0; 6]),
        (libc::SYS_ptrace, [0; 6]),
        (libc::SYS_process_vm_writev, [0; 6]),
        (libc::SYS_clone, [0; 6]),
        (libc::SYS_clone3, [0; 6]),
        (libc::SYS_kill, [1, 9, 0, 0, 0, 0]),
        (libc::SYS_tgkill, [1, 1, 9, 0, 0, 0]),
        (libc::SYS_mmap, [0, 4096, WRITE_EXECUTE, 0, 0, 0]),
        (libc::SYS_mprotect, [0, 4096, WRITE_EXECUTE, 0, 0, 0]),
        (libc::SYS_mount, [0; 6]),
        (libc::SYS_setns, [0; 6]),
        (libc::SYS_unshare, [0; 6]),
        (libc::SYS_prctl, [0; 6]),
        (libc::SYS_init_module, [0; 6]),
        (libc::SYS_io_uring_setup, [0; 6]),
        (libc::SYS_perf_event_open, [0; 6]),
        (libc::SYS_userfaultfd, [0; 6]),
        (libc::SYS_keyctl, [0; 6]),
        (libc::SYS_memfd_create, [0; 6]),
        // BPF_PROG_LOAD, BPF_LINK_CREATE.
        (libc::SYS_bpf, [5, 0, 0, 0, 0, 0]),
        (libc::SYS_bpf, [28, 0, 0, 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_PACKET as u64, libc::SOCK_RAW as u64, 0, 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_RAW as u64, 0, 0, 0, 0]),
        (libc::SYS_listen, [0; 6]),
        // TIOCSTI, which types on a terminal.
        (libc::SYS_ioctl, [0, libc::TIOCSTI, 0, 0, 0, 0]),
        // F_SETOWN, after which descriptors send signals.
        (libc::SYS_fcntl, [0, libc::F_SETOWN as u64, 0, 0, 0, 0]),
    ];
    for (class, exceptions, program) in every_filter() {
        for (number, arguments) in refused {
            let (verdict, _) = judge(&program, Some(*number), *arguments);
            assert_eq!(verdict, REFUSAL, "{class:?} with {exceptions:?}: call {number} {arguments:?}");
        }
        assert_eq!(judge(&program, None, [0; 6]).0, REFUSAL, "another architecture");
        // The numbers of x32.
        assert_eq!(judge(&program, Some(0x4000_0000 | libc::SYS_write), [0; 6]).0, REFUSAL);
        for sock_filter { code, k, .. } in &program {
            assert!(*code != 0x06 || [ALLOWED, REFUSAL].contains(k), "something else is returned: {k:#x}");
        }
        let this = u64::from(std::process::id());
        assert_eq!(judge(&program, Some(libc::SYS_tgkill), [this, 0, 0, 0, 0, 0]).0, ALLOWED);
    }
}

/// Opening files, and network connections, by class and exception.
#[test]
fn what_some_classes_may_do() {
    let write = [0, 0, (libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC) as u64, 0, 0, 0];
    let read = [0, 0, (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY) as u64, 0, 0, 0];
    let stream = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
    let tcp = [libc::AF_INET as u64, stream, 0, 0, 0, 0];
    let unix = [libc::AF_UNIX as u64, stream, 0, 0, 0, 0];
    let netlink = [libc::AF_NETLINK as u64, libc::SOCK_DGRAM as u64, 0, 0, 0, 0];
    for (class, exceptions, program) in every_filter() {
        let has = |exception: Exception| exception.class() == class && exceptions.contains(&exception);
        let makes_folders = has(Exception::Partitions);
        let creates = CREATORS.contains(&class)
            || makes_folders
            || has(Exception::Rotation)
            || has(Exception::Metadata);
        let accepts = matches!(class, Class::Control | Class::Metrics);
        let looks = matches!(class, Class::LiveSender | Class::Monitor | Class::Blocklist | Class::Guardian)
            || creates
            || has(Exception::RedisName);
        let queries = matches!(class, Class::LiveSender | Class::Monitor | Class::Guardian)
            || has(Exception::RedisName)
            || has(Exception::BlocklistNames);
        for (what, number, arguments, may) in [
            ("open to write", libc::SYS_openat, write, creates),
            ("open to read", libc::SYS_openat, read, looks),
            ("make a folder", libc::SYS_mkdirat, [0; 6], makes_folders),
            ("sync a file system", libc::SYS_syncfs, [0; 6], makes_folders),
            ("TCP", libc::SYS_socket, tcp, has(Exception::RedisTcp)),
            (
                "Unix sockets",
                libc::SYS_socket,
                unix,
                has(Exception::RedisSocket) || has(Exception::RedisName) || has(Exception::BlocklistNames),
            ),
            ("netlink", libc::SYS_socket, netlink, queries),
            ("a run of live frames", libc::SYS_bpf, [10, 0, 0, 0, 0, 0], class == Class::LiveSender),
            ("accept a connection", libc::SYS_accept4, [0; 6], accepts),
            ("wait for a process", libc::SYS_wait4, [0; 6], has(Exception::Steering)),
        ] {
            let verdict = judge(&program, Some(number), arguments).0;
            let expected = if may { ALLOWED } else { REFUSAL };
            assert_eq!(verdict, expected, "{class:?} with {exceptions:?}: {what}");
        }
    }
}

/// The calls that are made most are tested before all others. Kernels without a bitmap run these instructions.
#[test]
fn hot_calls_come_first() {
    for (class, exceptions, program) in every_filter() {
        for (place, number) in HOT.iter().enumerate() {
            let (verdict, steps) = judge(&program, Some(*number), [0; 6]);
            let is_hot = *number != libc::SYS_sendmmsg || class == Class::Worker;
            assert!(
                !is_hot || verdict == ALLOWED && steps <= place + 5,
                "{class:?} {exceptions:?}: {number}"
            );
        }
    }
}

/// In a thread with the filter of `class`.
fn within<T: Send + 'static>(
    class: Class,
    exceptions: &'static [Exception],
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let run = move || {
        apply(class, exceptions).unwrap();
        work()
    };
    thread::spawn(run).join().unwrap()
}

fn is_refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

/// The kernel refuses, and the thread goes on and ends in order.
#[test]
fn threads_are_held_to_it() {
    for class in Class::ALL {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        within(class, &[], move || {
            // Their folders are for landlock to decide.
            if !CREATORS.contains(&class) {
                assert!(is_refused(OpenOptions::new().append(true).open(&path)), "{class:?}: open to write");
                assert!(is_refused(File::create(path.with_extension("new"))), "{class:?}: create");
            }
            // If it succeeded, the tests would end here, and fail.
            // `Command::exec` would leave them without protection from SIGPIPE.
            let refused = execv(c"/bin/false", &[c"/bin/false"]);
            assert_eq!(refused, Err(Errno::EPERM), "{class:?}: execve");
            assert!(is_refused(clean("/bin/true").spawn()), "{class:?}: another process");
            assert!(is_refused(thread::Builder::new().spawn(|| {})), "{class:?}: another thread");
            assert!(is_refused(TcpStream::connect(address)), "{class:?}: connect");
            assert!(is_refused(UnixStream::connect("/dev/log")), "{class:?}: connect to a Unix socket");
            assert_eq!(ptrace::traceme(), Err(Errno::EPERM), "{class:?}: ptrace");
            assert_eq!(kill(Pid::this(), None), Err(Errno::EPERM), "{class:?}: kill");
        });
        drop(server);
    }
}

/// What a class goes on with: memory, locks, sleeps, messages, panics.
#[test]
fn threads_go_on() {
    for class in Class::ALL {
        let ended = thread::spawn(move || {
            apply(class, &[]).unwrap();
            let memory = vec![1_u8; 64 << 20];
            thread::sleep(std::time::Duration::from_millis(1));
            io::stderr().write_all(b"").unwrap();
            let lock = std::sync::Mutex::new(memory.len());
            assert_eq!(*lock.lock().unwrap(), 64 << 20);
            panic!("on purpose, as {class:?}");
        });
        assert!(ended.join().is_err());
    }
}

/// Each exception allows what it is for, to its class.
#[test]
fn exceptions_are_used() {
    let folder = tempfile::tempdir().unwrap();
    for (class, exceptions) in
        [(Class::Collector, &[Exception::Rotation] as &'static [_]), (Class::Monitor, &[Exception::Metadata])]
    {
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        within(class, exceptions, move || {
            let mut file = File::create(&first).unwrap();
            file.write_all(b"text").unwrap();
            file.sync_all().unwrap();
            std::fs::rename(&first, &second).unwrap();
            std::fs::remove_file(&second).unwrap();
        });
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    within(Class::Redis, &[Exception::RedisTcp], move || TcpStream::connect(address)).unwrap();
    let name = || std::net::ToSocketAddrs::to_socket_addrs("localhost:80").map(Iterator::count);
    assert!(within(Class::Redis, &[Exception::RedisTcp, Exception::RedisName], name).unwrap() > 0);
    let found = within(Class::Blocklist, &[Exception::BlocklistNames], name).unwrap();
    assert!(found > 0, "names in a block list");
    let socket = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    within(Class::Redis, &[Exception::RedisSocket], move || UnixStream::connect(socket)).unwrap();
    drop(listener);
    let missing = within(Class::Guardian, &[], || std::fs::remove_file("/no/such/file")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "a guardian removes journals");
}
