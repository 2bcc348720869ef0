//! Attaching to an interface and detaching.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use wire::proof::{Copies, PortRange};
use xdpmap::io::bpf::{AttachError, AttachMode, LoadError, MapError, ProgramSettings, XdpProgram};

use crate::fixtures::settings;
use lab::have_root;
use lab::tools::clean;
use support::network::{Socket, enter_namespace, ip, veth_pair};

fn load() -> XdpProgram {
    XdpProgram::load(&settings(false)).expect("the program loads")
}

fn attached() -> bool {
    ip("link show dev left").contains("prog/xdp")
}

/// Waits until the interface is free: a closed link lives on for a moment in what another test has just forked.
fn detached() -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while attached() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    !attached()
}

#[test]
fn both_modes_attach_and_drop_detaches() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let left = veth_pair();
    for (mode, word) in [(AttachMode::Native, " xdp "), (AttachMode::Generic, " xdpgeneric ")] {
        let mut program = load();
        program.attach(left, mode).expect("it attaches");
        assert!(ip("link show dev left").contains(word), "{mode}");
        assert!(matches!(program.attach(left, mode), Err(AttachError::AlreadyAttached)));
        drop(program);
        assert!(detached(), "{mode}");
    }
}

#[test]
fn a_second_program_is_busy_and_says_whose_the_first_is() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let left = veth_pair();
    let mut first = load();
    first.attach(left, AttachMode::Native).expect("it attaches");
    let mut second = load();
    for mode in [AttachMode::Native, AttachMode::Generic] {
        let error = second.attach(left, mode).expect_err("the place is taken");
        assert!(matches!(error.errno(), Some(libc::EBUSY | libc::EEXIST)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("(native, id ") && text.contains(" `xdpmap`): another scan by xdpmap"),
            "{text}"
        );
        assert!(!error.generic_may_help());
    }
    first.detach();
    assert!(detached());
    second.attach(left, AttachMode::Native).expect("the place is free");
}

#[test]
fn refusals_keep_their_errno_and_tell_whether_generic_mode_may_help() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let left = veth_pair();
    let mut program = load();
    let refusal = |program: &mut XdpProgram, ifindex| {
        let error = program.attach(ifindex, AttachMode::Native).expect_err("a refusal");
        (error.errno(), error.generic_may_help())
    };

    assert_eq!(refusal(&mut program, 9_999), (Some(libc::ENODEV), false));
    assert_eq!(
        refusal(&mut program, 1),
        (Some(libc::EOPNOTSUPP), true),
        "the loopback interface has generic mode only"
    );
    for end in ["left", "right"] {
        ip(&format!("link set dev {end} mtu 9000"));
    }
    assert_eq!(refusal(&mut program, left), (Some(libc::ERANGE), true));
    program.attach(left, AttachMode::Generic).expect("generic mode takes any MTU");
}

#[test]
fn too_few_queues_for_native_mode_is_enospc() {
    if !have_root() {
        return;
    }
    enter_namespace();
    ip("link add left numrxqueues 1 numtxqueues 1 type veth peer name right numrxqueues 4 numtxqueues 4");
    for end in ["left", "right"] {
        ip(&format!("link set dev {end} up"));
    }
    let error = load().attach(support::network::index("left"), AttachMode::Native).expect_err("a refusal");
    assert_eq!((error.errno(), error.generic_may_help()), (Some(libc::ENOSPC), true));
    assert!(error.to_string().contains("ethtool -L"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused_before_the_kernel_is_asked() {
    let good = settings(false);
    let load = |settings: ProgramSettings<'_>| XdpProgram::load(&settings).expect_err("a refusal");
    let many = vec![Ipv4Addr::LOCALHOST; 257];
    for sources in [&[][..], &many] {
        let error = load(ProgramSettings { sources, ..good });
        assert!(matches!(error, LoadError::SourceCount { given } if given == sources.len()), "{error}");
    }
    for (first, count, probes) in [(1, 0, 1), (1, 65_536, 1), (65_535, 2, 1), (1, 10, 0), (1, 10, 11)] {
        let error =
            load(ProgramSettings { ports: PortRange { first, count }, copies: Copies::of(probes), ..good });
        assert!(matches!(error, LoadError::Ports { .. }), "{error}");
    }
}

#[test]
fn a_queue_beyond_the_map_or_a_stranger_descriptor_is_refused() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let left = veth_pair();
    let mut program = load();
    let socket = Socket::bind(left, 0);
    program.set_socket(255, socket.as_fd()).expect("the last place");
    assert!(matches!(program.set_socket(256, socket.as_fd()), Err(MapError::Queue { queue: 256 })));
    let error = program.set_socket(0, std::io::stderr().as_fd()).expect_err("no AF_XDP socket");
    assert!(matches!(error, MapError::Refused { map: "xsks", .. }), "{error}");
}

const CHILD: &str = "XDPMAP_TEST_CHILD_IFINDEX";

/// Not a test: the next test starts it as a separate process and kills it.
#[test]
fn child_that_attaches_and_waits() {
    let Ok(ifindex) = std::env::var(CHILD) else { return };
    let mut program = load();
    program.attach(ifindex.parse().expect("a number"), AttachMode::Native).expect("it attaches");
    println!("\nATTACHED");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_process_leaves_no_program_behind() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let left = veth_pair();
    let mut child = clean(std::env::current_exe().expect("this test"))
        .args(["--exact", "attach::child_that_attaches_and_waits", "--nocapture"])
        .env(CHILD, left.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let seen = output.lines().map_while(Result::ok).any(|line| line == "ATTACHED");
    assert!(seen && attached(), "the child has attached");

    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    assert!(detached(), "the program outlived its process");
    load().attach(left, AttachMode::Native).expect("a new scan starts at once");
}
