//! xdpmap: an Internet scanner on AF_XDP, the kernel's fast path to a NIC.
//!
//! [`cli`] reads the command line. From it a [`plan`] is made, and [`survey`] carries the plan out. The workers of the
//! [`engine`] walk over the [`targets`] and let a [`probe`] fill batches of frames, which [`io`] sends. A received
//! frame that passes the [`proof`](wire::proof) is a [`reply`]: the probe classifies it, and [`results`] writes it.
//! [`report`] shows the progress of the scan.
//!
//! # Rooms
//!
//! Each module here is about one thing. It imports only from modules below it in this list, and the files of a folder
//! never import each other in a circle; a test holds them to both (`tests/offline/house.rs`).
//!
//! - [`calibrate`]: how much is lost at which rate, and which rate to scan with: its table, its picture
//! - [`survey`]: carries a plan out: opens what it names, starts the threads, writes down the outcome
//! - [`generate`]: manual pages and completions for shells, from the grammars of all commands
//! - [`doctor`]: what this host and an interface can do for a scan, and what to change; sends no probe
//! - [`companions`]: iterate, blocklist and tee: small programs to use in a pipe with a scan; ctl and checkpoint,
//!   which control a scan and show what it has done; verify, merge and diff, which read stored results; report and
//!   map, which draw them; probing-txt
//! - [`steering`]: the NIC's RSS indirection table: set for a scan, restored however the scan ends
//! - [`live`]: the terminal view of a running scan, which is another process: its screen, its keys
//! - [`metrics`]: how a scan stands for Prometheus: the metrics, their text, their file, and what HTTP is asked for
//! - [`control_socket`]: the socket through which a running scan is controlled: its protocol, its file, its clients
//! - [`journal`]: settings of an interface before they were changed, in a file that outlives the process
//! - [`plan`]: what will be done: validated, immutable, decided before the first packet
//! - [`checkpoint`]: what a scan needs to go on after an interruption, and its file
//! - [`report`]: status line and updates, log, the file of the metadata
//! - [`ledger`]: what became of every target, probe, frame and reply: accounts that add up, and what losses mean
//! - [`cli`]: the command line, completed from the environment and config files: flags as values, no side effects
//! - [`governor`]: which rate loses nothing: a state machine over the facts of slots of time
//! - [`engine`]: the worker loop, pacing, the cap on resets, counters, next hops
//! - [`results`]: from records to output files: deduplication, filter, formats, one collector thread
//! - [`io`]: frames in and out: AF_XDP (`io/xsk`; the sockets themselves are the crate `xsk`), live frames (`io/live`),
//!   AF_PACKET (`io/packet`), the XDP program's loader (`io/bpf`), the dry run, the search for neighbours (`io/arp`)
//! - [`probe`]: what is sent, and how answers are read: pure functions over values and byte slices, one file a probe
//! - [`nic`]: facts about an interface and its route, over netlink, ethtool and sysfs
//! - [`reply`]: what a reply is: the record that a worker makes of it, and the fields that a result may have
//! - [`lists`]: lists of targets and networks, opened by their path or read from standard input
//! - [`name_service`]: where a statically linked program looks up host names
//! - [`sandbox`]: which files a running scan may still open, and which system calls its threads may make
//! - [`privileges`]: which capabilities a scan needs, for what, and which are missing
//! - [`input`]: files that are read before a scan; a long wait for a writer is reported
//! - [`compressed`]: text that gzip, xz or zstd have compressed, found by how it begins
//! - [`secrets`]: hides passwords wherever typed or received text is quoted
//! - [`printable`]: names from the system as text for messages and metadata
//! - [`local_time`]: the local time, by a time zone that is read once
//! - [`wall_clock`]: what the kernel says of the clock that results are dated by
//! - [`exit`]: exit codes, each with its number and its meaning
//! - [`estimate`]: what a scan says about what it did not see: hit rate and missed hosts, with their intervals
//! - [`distribution`]: how often durations were seen, and their percentiles
//! - [`counters`]: how counters are declared: once each, to be counted by one thread and read by others
//! - [`sync`]: the atomics of what threads share without locks
//! - [`units`]: numbers with units, as people type them, and long numbers as people read them
//!
//! Below them all are crates of their own, in `crates`:
//!
//! - [`xsk`]: AF_XDP sockets: rings, UMEM, tokens of frames
//! - [`wire`]: headers, checksums and templates that probes share, batches of frames; the cookie that ties a reply to a
//!   probe, and the test of received frames for it
//! - [`targets`]: the allowed addresses (rank to address), ports, the permutation, shards, leases, the cursor
//! - [`simd`]: which vector instructions the batch kernels are compiled for, and the vectors that are written out
//!
//! `docs/design.md` holds the architecture and the invariants that the modules refer to.

pub mod calibrate;
pub mod checkpoint;
pub mod cli;
pub mod companions;
pub mod compressed;
pub mod control_socket;
pub mod counters;
pub mod distribution;
pub mod doctor;
pub mod engine;
pub mod estimate;
pub mod exit;
pub mod generate;
pub mod governor;
pub mod input;
pub mod io;
pub mod journal;
pub mod ledger;
pub mod lists;
pub mod live;
pub mod local_time;
pub mod metrics;
pub mod name_service;
pub mod nic;
pub mod plan;
pub mod printable;
pub mod privileges;
pub mod probe;
pub mod reply;
pub mod report;
pub mod results;
pub mod sandbox;
pub mod secrets;
pub mod steering;
pub mod survey;
pub mod sync;
pub mod units;
pub mod wall_clock;
