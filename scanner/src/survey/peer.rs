//! A peer of the control socket: what it has asked, in order, and what waits to be sent to it.
//!
//! What always holds: a peer gets its answers in the order of its requests. While it waits for a change of the block
//! list, nothing more is read from it.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::poll::PollFlags;

use super::blocklist::Ticket;
use crate::control_socket::{Answer, Lines, Request};

/// Most bytes that wait for a peer to read them. Lower: one that is slow for a moment is disconnected. Higher: more
/// memory.
const WAITING_MAX: usize = 1 << 16;

/// A connection.
pub(super) struct Peer {
    stream: UnixStream,
    pub(super) user: u32,
    lines: Lines,
    /// What it has asked and what is not carried out yet: requests, or why a line is none.
    asked: VecDeque<Result<Request, String>>,
    /// The change that it waits for.
    pub(super) ticket: Option<Ticket>,
    /// What waits to be sent.
    waiting: Vec<u8>,
    /// When it gets the status next, if it watches.
    pub(super) tell_at: Option<Instant>,
    /// Whether it gets the details as well.
    pub(super) is_detailed: bool,
    /// Whether nothing more comes from it.
    is_read_out: bool,
    has_failed: bool,
}

impl Peer {
    pub(super) fn new(stream: UnixStream, user: u32) -> Self {
        Self {
            stream,
            user,
            lines: Lines::default(),
            asked: VecDeque::new(),
            ticket: None,
            waiting: Vec::new(),
            tell_at: None,
            is_detailed: false,
            is_read_out: false,
            has_failed: false,
        }
    }

    /// What to wait for; `None` for nothing at all.
    pub(super) fn awaited(&self) -> Option<PollFlags> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, !self.is_read_out && self.ticket.is_none());
        flags.set(PollFlags::POLLOUT, !self.waiting.is_empty());
        // One that has left would be reported by every poll, while what it has asked is still being done.
        (self.ticket.is_none() || !flags.is_empty()).then_some(flags)
    }

    /// The poll has found this.
    pub(super) fn polled(&mut self, events: PollFlags) {
        // One that has left for good is reported at once by every poll, even if nothing is awaited of it.
        let has_left = events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        self.has_failed |= has_left && self.is_read_out && self.ticket.is_none();
    }

    /// Reads what has come, unless it waits.
    pub(super) fn receive(&mut self) {
        if self.is_read_out || self.ticket.is_some() {
            return;
        }
        let mut bytes = [0; 1 << 12];
        // One read at a time, so that a peer that floods does not keep others waiting.
        match self.stream.read(&mut bytes) {
            Ok(0) => self.is_read_out = true,
            Ok(len) => {
                let asked = &mut self.asked;
                let fed = self.lines.feed(&bytes[..len], |line| asked.push_back(Request::parse(line)));
                if let Err(why) = fed {
                    self.asked.push_back(Err(why));
                    self.is_read_out = true;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.has_failed = true,
        }
    }

    /// What to carry out next, unless it waits.
    pub(super) fn next(&mut self) -> Option<Result<Request, String>> {
        if self.ticket.is_some() { None } else { self.asked.pop_front() }
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        self.waiting.extend(answer.to_line().as_bytes());
        self.has_failed |= self.waiting.len() > WAITING_MAX;
    }

    pub(super) fn send(&mut self) {
        while !self.waiting.is_empty() && !self.has_failed {
            match self.stream.write(&self.waiting) {
                Ok(sent) => drop(self.waiting.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.has_failed = true,
            }
        }
    }

    /// Whether there is no more use for it. One that watches may have closed its own direction.
    pub(super) fn is_gone(&self) -> bool {
        let is_served = self.asked.is_empty() && self.ticket.is_none() && self.waiting.is_empty();
        self.has_failed || self.is_read_out && is_served && self.tell_at.is_none()
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
