//! Which system calls each class of threads makes: the allow-lists, and the exceptions to them.
//!
//! What always holds: a call that is in no list of a class is refused to its threads. Nothing here starts a thread or a
//! process, runs a program, traces another process, or makes executable memory. `docs/reference/sandbox.md` has the
//! same table for people.

use libc::c_long;

/// A class of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `worker-N`: sends and receives.
    Worker,
    /// `live-sender`: runs the live-frame program.
    LiveSender,
    /// `collector`, `closer` and `probes`: write files that are open.
    Collector,
    /// `redis`: talks to a Redis server.
    Redis,
    /// The scan's own thread, `signals` and `watch`: phases, status, interfaces, metadata.
    Monitor,
    /// `checkpoint`: writes the checkpoint anew.
    Checkpoint,
    /// `control` and `service`: the control socket, and reports to a service manager.
    Control,
    /// `metrics`: serves metrics over HTTP.
    Metrics,
    /// `metrics-file`: replaces the file of the metrics.
    MetricsFile,
    /// `blocklist`: reads the block list again.
    Blocklist,
    /// The process that restores the NIC's RSS indirection tables.
    Guardian,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Worker,
        Self::LiveSender,
        Self::Collector,
        Self::Redis,
        Self::Monitor,
        Self::Checkpoint,
        Self::Control,
        Self::Metrics,
        Self::MetricsFile,
        Self::Blocklist,
        Self::Guardian,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::LiveSender => "live_sender",
            Self::Collector => "collector",
            Self::Redis => "redis",
            Self::Monitor => "monitor",
            Self::Checkpoint => "checkpoint",
            Self::Control => "control",
            Self::Metrics => "metrics",
            Self::MetricsFile => "metrics_file",
            Self::Blocklist => "blocklist",
            Self::Guardian => "guardian",
        }
    }

    /// The calls that its threads make in every scan, in addition to those of [`RUNTIME`].
    pub(super) fn calls(self) -> &'static [&'static [Call]] {
        match self {
            Self::Worker => &[PORT],
            Self::LiveSender => &[LIVE_FRAMES, LOOK, QUERY],
            Self::Collector => &[WRITE_ON],
            Self::Redis => &[],
            Self::Monitor => &[LOOK, QUERY, KNOCK, PROGRAM, WRITE_ON],
            Self::Checkpoint => &[WRITE_ON, LOOK, CREATE, REMOVE, LOCK],
            Self::Control => &[ACCEPT, SERVE, REMOVE],
            Self::Metrics => &[ACCEPT],
            Self::MetricsFile => &[LOOK, CREATE, REMOVE],
            Self::Blocklist => &[LOOK],
            Self::Guardian => &[LOOK, QUERY, REMOVE],
        }
    }
}

/// What a scan was asked for that makes a class need more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exception {
    /// Outputs are files that others follow, or that get their names when they are complete: rotation, Parquet and
    /// `--atomic-output`.
    Rotation,
    /// An output is parted into folders, which are made when their first result comes, and has many files.
    Partitions,
    /// The metadata is a file that is created or opened at the end of the scan.
    Metadata,
    /// Results go to a Redis server at a Unix socket, which is connected to again if it breaks.
    RedisSocket,
    /// Results go to a Redis server over TCP, which is connected to again if it breaks.
    RedisTcp,
    /// That server has a host name, which is looked up again.
    RedisName,
    /// The block list has host names, which are looked up again when it is read again.
    BlocklistNames,
    /// A guardian restores the NIC's RSS indirection tables, and is waited for.
    Steering,
}

impl Exception {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Rotation,
        Self::Partitions,
        Self::Metadata,
        Self::RedisSocket,
        Self::RedisTcp,
        Self::RedisName,
        Self::BlocklistNames,
        Self::Steering,
    ];

    /// The class that it is for.
    pub fn class(self) -> Class {
        match self {
            Self::Rotation | Self::Partitions => Class::Collector,
            Self::Metadata | Self::Steering => Class::Monitor,
            Self::RedisSocket | Self::RedisTcp | Self::RedisName => Class::Redis,
            Self::BlocklistNames => Class::Blocklist,
        }
    }

    /// The calls that it adds.
    pub(super) fn calls(self) -> &'static [&'static [Call]] {
        match self {
            Self::Rotation | Self::Metadata => &[LOOK, CREATE, REMOVE],
            Self::Partitions => &[LOOK, CREATE, REMOVE, FOLDERS],
            Self::RedisSocket => &[UNIX_SOCKET, CONNECT],
            Self::RedisTcp => &[TCP_SOCKET, CONNECT],
            Self::RedisName | Self::BlocklistNames => {
                &[LOOK, QUERY, UNIX_SOCKET, UDP_SOCKET, CONNECT, NAME_SERVICE]
            }
            Self::Steering => &[WAIT],
        }
    }
}

/// A condition on an argument of a call, by its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// It has this value.
    Is(u8, u64),
    /// The bits of the first number have the value of the second.
    Masked(u8, u64, u64),
    /// It is the number of this process.
    IsThisProcess(u8),
}

/// A call that is allowed if all tests hold. A list may have a call several times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) number: c_long,
    pub(super) tests: &'static [Test],
}

const fn any(number: c_long) -> Call {
    Call { number, tests: &[] }
}

const fn only(number: c_long, tests: &'static [Test]) -> Call {
    Call { number, tests }
}

const fn is(place: u8, value: libc::c_int) -> Test {
    Test::Is(place, value.cast_unsigned() as u64)
}

/// Memory that is not executable.
const NOT_EXECUTABLE: &[Test] = &[Test::Masked(2, libc::PROT_EXEC as u64, 0)];
/// A file that is opened to be read, and not created.
const READ_ONLY: &[Test] =
    &[Test::Masked(2, (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64, libc::O_RDONLY as u64)];

/// The bits of a socket's type that are not flags.
const SOCKET_TYPE: u64 = 0xf;

const fn socket(family: &'static [Test]) -> Call {
    only(libc::SYS_socket, family)
}

/// `TCGETS2` of glibc 2.42, which tells terminals by it.
const TCGETS2: u64 = 0x802c_542a;
/// `SIOCETHTOOL` of `linux/sockios.h`.
const SIOCETHTOOL: u64 = 0x8946;
/// Commands of bpf(2): `BPF_MAP_LOOKUP_ELEM`, `BPF_PROG_TEST_RUN` and `BPF_OBJ_GET_INFO_BY_FD`.
const MAP_LOOKUP: i32 = 1;
const PROG_TEST_RUN: i32 = 10;
const OBJ_GET_INFO: i32 = 15;

/// The calls that are made most, in the order in which the filter tests them before all others: wake-ups of the TX
/// ring, waits, and what a batch of AF_PACKET is sent by.
pub(super) const HOT: &[c_long] = &[
    libc::SYS_sendto,
    libc::SYS_ppoll,
    libc::SYS_sendmmsg,
    libc::SYS_sched_yield,
    libc::SYS_recvfrom,
    libc::SYS_clock_nanosleep,
    libc::SYS_write,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
];

/// All classes: what the standard library and glibc do on their own, the log, panics, and the end of a thread.
pub(super) const RUNTIME: &[Call] = &[
    // Wake-ups of AF_XDP, signals to their thread, the system's log.
    any(libc::SYS_sendto),
    any(libc::SYS_recvfrom),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_poll),
    any(libc::SYS_ppoll),
    any(libc::SYS_sched_yield),
    any(libc::SYS_futex),
    any(libc::SYS_write),
    any(libc::SYS_close),
    // Clocks, where the vDSO does not answer.
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_nanosleep),
    any(libc::SYS_clock_gettime),
    any(libc::SYS_clock_getres),
    any(libc::SYS_gettimeofday),
    any(libc::SYS_getcpu),
    any(libc::SYS_getrandom),
    // Memory.
    only(libc::SYS_mmap, NOT_EXECUTABLE),
    only(libc::SYS_mprotect, NOT_EXECUTABLE),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_brk),
    any(libc::SYS_membarrier),
    // How many arenas malloc may have.
    any(libc::SYS_sched_getaffinity),
    // Descriptors, and whether standard error is a terminal, and how wide.
    only(libc::SYS_fcntl, &[is(1, libc::F_DUPFD_CLOEXEC)]),
    only(libc::SYS_fcntl, &[is(1, libc::F_GETFD)]),
    only(libc::SYS_fcntl, &[is(1, libc::F_SETFD)]),
    only(libc::SYS_fcntl, &[is(1, libc::F_GETFL)]),
    only(libc::SYS_fcntl, &[is(1, libc::F_SETFL)]),
    only(libc::SYS_ioctl, &[Test::Is(1, libc::TCGETS)]),
    only(libc::SYS_ioctl, &[Test::Is(1, TCGETS2)]),
    only(libc::SYS_ioctl, &[Test::Is(1, libc::TIOCGWINSZ)]),
    // Signals: to itself only, which is how a process ends by one.
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_restart_syscall),
    any(libc::SYS_sigaltstack),
    any(libc::SYS_getpid),
    any(libc::SYS_gettid),
    only(libc::SYS_tgkill, &[Test::IsThisProcess(0)]),
    any(libc::SYS_rseq),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
];

/// A worker's port: batches of AF_PACKET, counters of sockets.
const PORT: &[Call] = &[any(libc::SYS_sendmmsg), any(libc::SYS_getsockopt)];

/// Runs a program that is loaded.
const LIVE_FRAMES: &[Call] = &[only(libc::SYS_bpf, &[is(0, PROG_TEST_RUN)])];

/// Reads counters of the XDP program, and closes what it had.
const PROGRAM: &[Call] = &[
    only(libc::SYS_bpf, &[is(0, MAP_LOOKUP)]),
    only(libc::SYS_bpf, &[is(0, OBJ_GET_INFO)]),
    any(libc::SYS_getsockopt),
    any(libc::SYS_uname),
];

/// Goes on with files that are open, and brings them to disk.
const WRITE_ON: &[Call] = &[
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_ftruncate),
    any(libc::SYS_lseek),
    any(libc::SYS_fstat),
];

/// Reads files, which landlock limits to a few, and looks at them.
const LOOK: &[Call] = &[
    only(libc::SYS_openat, READ_ONLY),
    any(libc::SYS_read),
    any(libc::SYS_lseek),
    any(libc::SYS_statx),
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_getdents64),
    any(libc::SYS_readlinkat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
    any(libc::SYS_getcwd),
];

/// Creates files, under the folders that landlock leaves, and gives them names, owners and modes.
const CREATE: &[Call] = &[
    any(libc::SYS_openat),
    any(libc::SYS_fsync),
    any(libc::SYS_ftruncate),
    any(libc::SYS_fchown),
    any(libc::SYS_fchmod),
    any(libc::SYS_renameat),
    any(libc::SYS_renameat2),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_rename),
];

/// Makes folders, and brings all of a file system to the disk.
const FOLDERS: &[Call] = &[
    any(libc::SYS_mkdirat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_mkdir),
    any(libc::SYS_syncfs),
];

/// Removes files: those that a scan did not use, and the guardian's journals.
const REMOVE: &[Call] = &[
    any(libc::SYS_unlinkat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_unlink),
    any(libc::SYS_getppid),
];

/// Asks the kernel about interfaces and neighbours, over netlink and ethtool. A socket of the network is made only for
/// ethtool's ioctl, and TCP not at all.
const QUERY: &[Call] = &[
    socket(&[is(0, libc::AF_NETLINK)]),
    socket(&[is(0, libc::AF_INET), Test::Masked(1, SOCKET_TYPE, libc::SOCK_DGRAM as u64)]),
    any(libc::SYS_bind),
    any(libc::SYS_connect),
    any(libc::SYS_getsockname),
    only(libc::SYS_ioctl, &[Test::Is(1, SIOCETHTOOL)]),
    only(libc::SYS_ioctl, &[Test::Is(1, libc::FIONBIO)]),
];

/// Makes the kernel look for a gateway, by an empty datagram.
const KNOCK: &[Call] = &[
    socket(&[is(0, libc::AF_INET6), Test::Masked(1, SOCKET_TYPE, libc::SOCK_DGRAM as u64)]),
    any(libc::SYS_setsockopt),
];

/// Holds a file.
const LOCK: &[Call] = &[any(libc::SYS_flock)];

/// Accepts the peers of a socket that is there, and waits for none of them. What they send and get is in [`RUNTIME`].
const ACCEPT: &[Call] = &[any(libc::SYS_accept4), only(libc::SYS_ioctl, &[Test::Is(1, libc::FIONBIO)])];

/// Reads what the peers of the control socket ask, asks who they are, and looks whether its file is still the same.
const SERVE: &[Call] = &[any(libc::SYS_read), any(libc::SYS_getsockopt), any(libc::SYS_statx)];

const UNIX_SOCKET: &[Call] = &[socket(&[is(0, libc::AF_UNIX)])];

const TCP_SOCKET: &[Call] = &[
    socket(&[is(0, libc::AF_INET), Test::Masked(1, SOCKET_TYPE, libc::SOCK_STREAM as u64)]),
    socket(&[is(0, libc::AF_INET6), Test::Masked(1, SOCKET_TYPE, libc::SOCK_STREAM as u64)]),
];

const UDP_SOCKET: &[Call] = &[
    socket(&[is(0, libc::AF_INET), Test::Masked(1, SOCKET_TYPE, libc::SOCK_DGRAM as u64)]),
    socket(&[is(0, libc::AF_INET6), Test::Masked(1, SOCKET_TYPE, libc::SOCK_DGRAM as u64)]),
];

/// Connects to a server.
const CONNECT: &[Call] = &[
    any(libc::SYS_connect),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
    any(libc::SYS_shutdown),
    only(libc::SYS_ioctl, &[Test::Is(1, libc::FIONBIO)]),
];

/// What glibc and its modules look a name up by.
const NAME_SERVICE: &[Call] = &[
    any(libc::SYS_sendmmsg),
    any(libc::SYS_sendmsg),
    any(libc::SYS_recvmsg),
    any(libc::SYS_uname),
    any(libc::SYS_getuid),
    any(libc::SYS_geteuid),
    only(libc::SYS_ioctl, &[Test::Is(1, libc::FIONREAD)]),
];

/// Waits for the end of a process that was started before.
const WAIT: &[Call] = &[any(libc::SYS_wait4), any(libc::SYS_waitid)];
