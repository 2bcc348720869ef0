//! The scan, as its control socket has it: one connection for what comes by itself, and one for what keys ask for.

use std::os::fd::AsFd as _;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::control_socket::{Answer, ClientError, Connection, Request};

/// A scan that is watched.
pub(super) struct Remote {
    watched: Connection,
    asked: Connection,
    /// What came before the first look.
    first: Option<Answer>,
}

/// What has come since the last look.
pub(super) struct News {
    /// What the scan has sent, oldest first.
    pub(super) answers: Vec<Answer>,
    /// Whether more may come.
    pub(super) is_open: bool,
}

impl Remote {
    /// Connects to the scan at `path`.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn open(path: &Path) -> Result<Self, ClientError> {
        let mut watched = Connection::open(path)?;
        let first = Some(watched.ask(&Request::Details {})?);
        Ok(Self { watched, asked: Connection::open(path)?, first })
    }

    /// What has come. Waits for nothing.
    pub(super) fn news(&mut self) -> News {
        let mut answers: Vec<Answer> = self.first.take().into_iter().collect();
        loop {
            if !self.watched.has_line() && !self.is_readable() {
                return News { answers, is_open: true };
            }
            match self.watched.receive() {
                Ok(Some(answer)) => answers.push(answer),
                // What is not an answer, or the end.
                Ok(None) | Err(_) => return News { answers, is_open: false },
            }
        }
    }

    fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(self.watched.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Asks for something that is answered at once.
    ///
    /// # Errors
    /// No answer came.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        self.asked.ask(request)
    }
}
