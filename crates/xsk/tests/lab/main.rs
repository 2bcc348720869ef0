//! Sockets on the ends of a wire between two interfaces, in a namespace of its own.

#[expect(dead_code, reason = "its `main`")]
#[path = "../../examples/two_ends.rs"]
mod two_ends;

use lab::{Lab, have_root, run};
use xsk::{BindMode, Layout, Socket, SocketError};

const LAYOUT: Layout = Layout { rx_frames: 64, tx_ring_len: 64, tx_frames: 64, tx_longest: 60 };

/// A lab with a second wire, both ends of which are in the namespace `scan`.
fn wire() -> Lab {
    let lab = Lab::new(1);
    let ip = |arguments: &str| run("ip", ["-n", &lab.scan].into_iter().chain(arguments.split(' ')));
    ip("link add left type veth peer name right");
    ip("link set left up");
    ip("link set right up");
    lab
}

#[test]
fn frames_go_from_one_end_to_the_other() {
    if !have_root() {
        return;
    }
    let lab = wire();
    let work = || two_ends::run("left", "right").map_err(|error| error.to_string());
    assert_eq!(lab.thread_in(&lab.scan, work).join().unwrap(), Ok(()));
}

#[test]
fn a_queue_has_one_socket() {
    if !have_root() {
        return;
    }
    let lab = wire();
    let work = || {
        let open = || Socket::open("left", 0, &[BindMode::Copy], LAYOUT);
        let first = open().unwrap();
        let refused = open().unwrap_err();
        assert!(matches!(refused, SocketError::Bind { queue: 0, mode: BindMode::Copy, .. }), "{refused}");
        assert_eq!(refused.os_error(), Some(libc::EBUSY));
        drop(first);
        let (socket, frames) = open().expect("the queue is free again");
        assert_eq!((socket.mode(), socket.queue(), frames.len()), (BindMode::Copy, 0, 64));
    };
    lab.thread_in(&lab.scan, work).join().unwrap();
}

/// A veth has no zero-copy: the list of modes goes on to the next, and says why.
#[test]
fn modes_are_tried_in_turn() {
    if !have_root() {
        return;
    }
    let lab = wire();
    let work = || {
        let alone = Socket::open("left", 0, BindMode::ZeroCopy.alone(), LAYOUT).unwrap_err();
        assert!(alone.copy_may_help(), "{alone}");
        let (socket, _) = Socket::open("left", 0, &[BindMode::ZeroCopy, BindMode::Copy], LAYOUT).unwrap();
        assert!(socket.mode() == BindMode::Copy && !socket.is_zero_copy() && !socket.statistics().zero_copy);
        assert!(matches!(socket.refusals(), [SocketError::Bind { mode: BindMode::ZeroCopy, .. }]));
    };
    lab.thread_in(&lab.scan, work).join().unwrap();
}

#[test]
fn refusals_of_the_kernel() {
    if !have_root() {
        return;
    }
    let lab = wire();
    let work = || {
        let open = |interface, queue, layout| {
            Socket::open(interface, queue, &[BindMode::Copy], layout).unwrap_err().os_error()
        };
        assert_eq!(open("right", 1, LAYOUT), Some(libc::EINVAL), "no such queue");
        assert_eq!(open("nowhere", 0, LAYOUT), Some(libc::ENODEV));
        assert_eq!(open("right", 0, Layout { tx_ring_len: 6, ..LAYOUT }), Some(libc::EINVAL));
    };
    lab.thread_in(&lab.scan, work).join().unwrap();
}
