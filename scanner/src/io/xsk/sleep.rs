//! What a port sleeps on: packets on any of its sockets, or the end of a time.
//!
//! A zero-copy socket that is polled itself wakes its driver whenever the driver has asked for that (`xsk_poll` in
//! `net/xdp/xsk.c`): before the sleep and after it, with an interrupt each time. So such sockets are in an epoll
//! instance, which asks a socket only after a packet has come, and the instance is polled. What always holds: a sleep
//! wakes no zero-copy driver. There are two exceptions: a port that polls its driver, for which this is one more time,
//! and a process that can open no more files.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll;
use xsk::{BindMode, Socket};

/// Where the sleep of a port's thread ends.
#[derive(Debug)]
pub(super) struct Sleep {
    /// The sockets that are polled themselves, and the epoll instance. The first is the sending socket, or -1, which
    /// `ppoll` ignores.
    polled: Vec<libc::pollfd>,
    /// The instance with the zero-copy sockets, once there is one.
    zero_copy: Option<OwnedFd>,
    /// Whether all sockets are polled themselves.
    asks_all: bool,
}

/// A socket's descriptor as a number; -1 for a stand-in.
fn raw_fd(socket: &Socket) -> RawFd {
    socket.fd().map_or(-1, |fd| fd.as_raw_fd())
}

fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

impl Sleep {
    /// A sleep that a packet on one of these sockets ends. The first of them sends. `asks_all`: whether zero-copy
    /// drivers are to be woken.
    pub(super) fn new(sockets: &[Socket], asks_all: bool) -> Self {
        let mut sleep = Self { polled: vec![readable(-1)], zero_copy: None, asks_all };
        let mut sockets = sockets.iter();
        if let Some(sender) = sockets.next()
            && !sleep.add_zero_copy(sender)
        {
            sleep.polled[0].fd = raw_fd(sender);
        }
        sockets.for_each(|socket| sleep.add(socket));
        sleep
    }

    /// A packet on `socket` ends the sleep as well.
    pub(super) fn add(&mut self, socket: &Socket) {
        if !self.add_zero_copy(socket) {
            self.polled.push(readable(raw_fd(socket)));
        }
    }

    /// Adds the socket to the epoll instance, if it is a zero-copy one; whether that is done.
    fn add_zero_copy(&mut self, socket: &Socket) -> bool {
        if self.asks_all || socket.mode() != BindMode::ZeroCopy {
            return false;
        }
        if self.zero_copy.is_none()
            && let Ok(instance) = epoll::create(epoll::CreateFlags::CLOEXEC)
        {
            self.polled.push(readable(instance.as_raw_fd()));
            self.zero_copy = Some(instance);
        }
        let (Some(instance), Some(fd)) = (&self.zero_copy, socket.fd()) else { return false };
        epoll::add(instance, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).is_ok()
    }

    /// Sleeps for `timeout`, or until a packet arrives. `asks_sender` is false if the sending socket must not be polled
    /// itself.
    pub(super) fn until(&mut self, timeout: Duration, asks_sender: bool) {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let polled = &mut self.polled[usize::from(!asks_sender)..];
        let (first, count) = (polled.as_mut_ptr(), polled.len() as libc::nfds_t);
        // SAFETY: the array is valid for the count given; the descriptors are open. Its result tells nothing that the
        // rings do not; a signal only ends the sleep.
        unsafe { libc::ppoll(first, count, &raw const timeout, std::ptr::null()) };
    }
}
