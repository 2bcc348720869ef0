//! The thread that serves the metrics over HTTP.
//!
//! What always holds: it serves one connection at a time, reads one request of bounded length from it, and closes it
//! after a bounded time, whatever the other side does. It opens no file and no connection, and says nothing of a
//! request in the log.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{info, warn};

use super::scrapes::Scrapes;
use crate::engine::{Control, EndReason};
use crate::metrics;
use crate::metrics::http::{self, REQUEST_LEN_MAX, Refusal, Request};
use crate::sandbox::{self, Class};
use crate::survey::board::Board;

/// How long a connection may take. Lower: slow networks get no metrics. Higher: somebody who connects and says nothing
/// keeps Prometheus waiting for longer.
const CONNECTION_MAX: Duration = Duration::from_secs(2);
/// How long to wait after a connection could not be accepted. Lower: more CPU time while that lasts. Higher: others
/// wait longer.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How often to look whether the last counts were fetched. Lower: more CPU time. Higher: every scan ends later.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The thread. Dropping it closes the address.
pub(super) struct Server {
    scrapes: Arc<Mutex<Scrapes>>,
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves how the scan of `board` stands from now on.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(listener: TcpListener, board: Arc<Board>) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let scrapes = Arc::<Mutex<Scrapes>>::default();
        let desk = Desk { listener, woken, board, scrapes: Arc::clone(&scrapes) };
        let serve = move || {
            sandbox::enter(Class::Metrics);
            desk.serve();
        };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { scrapes, wake: Some(wake), thread: Some(thread) })
    }

    /// Waits until the last counts were fetched, as long as that can be expected.
    pub(super) fn wait_for_last(&self, control: &Control) {
        let Some(until) = locked(&self.scrapes).wait_until() else { return };
        let was_interrupted = control.stop_reason() == Some(EndReason::Interrupted);
        let is_interrupted = || {
            control.is_hurried() || !was_interrupted && control.stop_reason() == Some(EndReason::Interrupted)
        };
        let is_over = || locked(&self.scrapes).has_last() || is_interrupted() || Instant::now() >= until;
        let left = until.saturating_duration_since(Instant::now());
        if !is_over() && left > Duration::from_secs(1) {
            let seconds = left.as_secs();
            info!(
                target: "metrics",
                "the scan is over; waiting for at most {seconds} s until its metrics are fetched once more (interrupt \
                 to skip)"
            );
        }
        while !is_over() {
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.wake.take());
        // A panic has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn locked(scrapes: &Mutex<Scrapes>) -> MutexGuard<'_, Scrapes> {
    // It holds plain values, which a panic cannot leave half written in a way that matters.
    scrapes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread has.
struct Desk {
    listener: TcpListener,
    /// Its other end is closed when the thread has to end.
    woken: UnixStream,
    board: Arc<Board>,
    scrapes: Arc<Mutex<Scrapes>>,
}

impl Desk {
    fn serve(&self) {
        while self.wait(&self.listener, PollFlags::POLLIN, None) {
            match self.listener.accept() {
                // One that fails has only itself to blame.
                Ok((peer, _)) => drop(self.answer(peer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Such as too many open files, which would be found again at once.
                Err(_) => thread::sleep(RETRY_AFTER),
            }
        }
    }

    /// Waits for this event. Returns whether it has come; otherwise time is up, or the thread has to end.
    fn wait(&self, socket: &impl AsFd, event: PollFlags, until: Option<Instant>) -> bool {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // Rounded up, so that the time has come when the wait is over.
            let timeout =
                left.map_or(PollTimeout::NONE, |left| PollTimeout::from(left.as_millis() as u16 + 1));
            let mut fds =
                [PollFd::new(self.woken.as_fd(), PollFlags::POLLIN), PollFd::new(socket.as_fd(), event)];
            match poll(&mut fds, timeout) {
                Ok(0) => return false,
                Ok(_) => return fds[0].any() == Some(false),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    warn!(target: "metrics", "the metrics are no longer served: {error}");
                    return false;
                }
            }
        }
    }

    /// Serves a connection.
    fn answer(&self, mut peer: TcpStream) -> io::Result<()> {
        let until = Instant::now() + CONNECTION_MAX;
        peer.set_nonblocking(true)?;
        let asked = self.ask(&mut peer, until)?;
        // Before the counts are read: what is taken for the last counts must be them.
        let is_last = self.board.is_concluded();
        let text = || metrics::text(&self.board.reading()).map(|text| http::metrics(&text));
        let (answer, is_page) = match asked {
            Request::Metrics => {
                text().map_or_else(|_| (http::refused(Refusal::Failed), false), |text| (text, true))
            }
            Request::Refused(why) => (http::refused(why), false),
            Request::Unfinished => return Ok(()),
        };
        self.send(&mut peer, &answer, until)?;
        if is_page {
            locked(&self.scrapes).note(Instant::now(), is_last);
        }
        Ok(())
    }

    /// Reads a request; what has not ended in time or when the connection is closed stays unfinished.
    fn ask(&self, peer: &mut TcpStream, until: Instant) -> io::Result<Request> {
        let (mut bytes, mut len) = ([0; REQUEST_LEN_MAX], 0);
        while self.wait(peer, PollFlags::POLLIN, Some(until)) {
            match peer.read(&mut bytes[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if is_temporary(&error) => continue,
                Err(error) => return Err(error),
            }
            match Request::parse(&bytes[..len]) {
                Request::Unfinished => {}
                asked => return Ok(asked),
            }
        }
        Ok(Request::Unfinished)
    }

    fn send(&self, peer: &mut TcpStream, mut answer: &[u8], until: Instant) -> io::Result<()> {
        while !answer.is_empty() {
            if !self.wait(peer, PollFlags::POLLOUT, Some(until)) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match peer.write(answer) {
                Ok(sent) => answer = &answer[sent..],
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_temporary(error: &io::Error) -> bool {
    [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind())
}
