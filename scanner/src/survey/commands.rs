//! Carries out what comes through the control socket.
//!
//! One thread serves all peers and waits for none of them: what a peer sends is bounded by the length of a line, and a
//! peer that does not read its answers is disconnected. A change of the block list takes time, and only the peer that
//! has asked for it waits. A failure of this thread does not end the scan.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{info, warn};

use super::blocklist::{Change, Desk, Ticket};
use super::board::Board;
use super::peer::Peer;
use crate::control_socket::{Answer, Listener, Request};
use crate::engine::{EndReason, PauseCause, Phase};
use crate::plan;
use crate::sandbox::{self, Class};

/// Most peers at a time. Lower: somebody who watches keeps others out. Higher: more memory.
const PEERS_MAX: usize = 16;
/// How long to wait after a connection could not be accepted. Lower: more CPU time while that lasts. Higher: peers wait
/// longer.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How often those who watch get the status.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often to look whether a change of the block list is certain, while a peer waits for that. Lower: more CPU time
/// during an outage. Higher: the peer waits longer.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why something that concerns the sending is refused.
const OVER: &str = "nothing is sent any more: the scan is waiting for late replies or ends";

/// The running service of a control socket. Ends it when it is dropped, and removes the socket.
pub(super) struct Commands {
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Commands {
    /// Serves the peers of `listener` from now on. A probe and its framing take `wire_len` bytes on the wire.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(
        listener: Listener,
        board: Arc<Board>,
        desk: Desk,
        wire_len: usize,
    ) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let mut service = Server { listener, scan: Scan { board, desk, wire_len }, peers: Vec::new() };
        let serve = move || {
            sandbox::enter(Class::Control);
            service.serve(&woken);
        };
        let thread = thread::Builder::new().name("control".to_owned()).spawn(serve)?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        drop(self.wake.take());
        // A panic has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Server {
    listener: Listener,
    scan: Scan,
    peers: Vec<Peer>,
}

/// What requests are about.
struct Scan {
    board: Arc<Board>,
    desk: Desk,
    wire_len: usize,
}

/// What a request leads to.
enum Reaction {
    /// An answer.
    Now(Box<Answer>),
    /// An answer when a change is certain.
    Later(Ticket),
}

impl Server {
    /// Serves until the other end of `woken` is closed.
    fn serve(&mut self, woken: &UnixStream) {
        while self.wait(woken) {
            self.accept();
            for peer in &mut self.peers {
                peer.receive();
                self.scan.settle(peer);
                while let Some(request) = peer.next() {
                    match request {
                        Ok(request @ (Request::Watch {} | Request::Details {})) => {
                            peer.tell_at = Some(Instant::now());
                            peer.is_detailed = request == Request::Details {};
                        }
                        Ok(request) => match self.scan.act(request, peer.user) {
                            Reaction::Now(answer) => peer.answer(&answer),
                            Reaction::Later(ticket) => peer.ticket = Some(ticket),
                        },
                        Err(why) => peer.answer(&Answer::refused(why)),
                    }
                }
            }
            self.tell_watchers();
            self.peers.iter_mut().for_each(Peer::send);
            self.peers.retain(|peer| !peer.is_gone());
        }
        // The last thing that watchers learn is how it ended.
        for peer in &mut self.peers {
            self.scan.settle(peer);
            if peer.tell_at.is_some() {
                peer.answer(&self.scan.news(peer));
            }
            peer.send();
        }
    }

    /// Waits until there is something to do. Returns whether to go on.
    fn wait(&mut self, woken: &UnixStream) -> bool {
        let mut fds = vec![
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        let awaited: Vec<Option<PollFlags>> = self.peers.iter().map(Peer::awaited).collect();
        let polled = self.peers.iter().zip(&awaited);
        fds.extend(polled.filter_map(|(peer, awaited)| Some(PollFd::new(peer.as_fd(), (*awaited)?))));
        let result = poll(&mut fds, self.timeout());
        let events = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let is_woken = !events(&fds[0]).is_empty();
        let found: Vec<PollFlags> = fds[2..].iter().map(events).collect();
        match result {
            Ok(_) => {
                let polled = self.peers.iter_mut().zip(awaited).filter(|(_, awaited)| awaited.is_some());
                polled.zip(found).for_each(|((peer, _), events)| peer.polled(events));
                !is_woken
            }
            Err(nix::errno::Errno::EINTR) => true,
            Err(error) => {
                warn!(target: "control", "the control socket is closed: {error}");
                false
            }
        }
    }

    /// How long to wait at most.
    fn timeout(&self) -> PollTimeout {
        let next = self.peers.iter().filter_map(|peer| peer.tell_at).min();
        let until_next = next.map(|at| at.saturating_duration_since(Instant::now()).min(WATCH_EVERY));
        let look = self.peers.iter().any(|peer| peer.ticket.is_some()).then_some(LOOK_EVERY);
        // Rounded up, so that the time has come when the wait is over.
        let millis = |left: Duration| PollTimeout::from(left.as_millis() as u16 + 1);
        until_next.into_iter().chain(look).min().map_or(PollTimeout::NONE, millis)
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(Some((stream, user))) => {
                    let mut peer = Peer::new(stream, user);
                    if self.peers.len() >= PEERS_MAX {
                        peer.answer(&Answer::refused("too many connections; close one"));
                        peer.send();
                        continue;
                    }
                    self.peers.push(peer);
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Such as too many open files, which would be found again at once.
                Err(_) => return thread::sleep(RETRY_AFTER),
            }
        }
    }

    fn tell_watchers(&mut self) {
        let now = Instant::now();
        for peer in self.peers.iter_mut().filter(|peer| peer.tell_at.is_some_and(|at| at <= now)) {
            peer.tell_at = Some(now + WATCH_EVERY);
            let news = self.scan.news(peer);
            peer.answer(&news);
        }
    }
}

impl Reaction {
    fn now(answer: Answer) -> Self {
        Self::Now(Box::new(answer))
    }
}

impl Scan {
    /// What a peer gets that watches.
    fn news(&self, peer: &Peer) -> Answer {
        let status = self.board.status();
        if peer.is_detailed { Answer::detailed(status, self.board.details()) } else { Answer::done(status) }
    }

    /// Answers a peer that has waited for a change, if that is certain now.
    fn settle(&self, peer: &mut Peer) {
        if let Some(outcome) = peer.ticket.as_ref().and_then(Ticket::outcome) {
            peer.ticket = None;
            peer.answer(&match outcome {
                Ok(change) => Answer::changed(change, self.board.status()),
                Err(why) => Answer::refused(why),
            });
        }
    }

    /// Carries out a request of a user.
    fn act(&self, request: Request, user: u32) -> Reaction {
        let Self { board, desk, wire_len } = self;
        let control = &board.control;
        let is_sending = control.phase() == Phase::Sending && !control.is_stopping();
        let over = || Reaction::now(Answer::refused(OVER));
        match request {
            Request::Status {} | Request::Watch {} | Request::Details {} => {}
            Request::Reload {} => return Reaction::Later(desk.ask(Change::Reload, format!("user {user}"))),
            Request::Exclude { network } => {
                return Reaction::Later(desk.ask(Change::Exclude(network), format!("user {user}")));
            }
            Request::Pause {} if !is_sending => return over(),
            Request::Pause {} => {
                if !control.is_paused_by(PauseCause::Command) {
                    info!(target: "control", "user {user} pauses the sending");
                }
                control.pause(PauseCause::Command);
            }
            Request::Resume {} => {
                if control.is_paused_by(PauseCause::Command) {
                    info!(target: "control", "user {user} resumes the sending");
                }
                control.unpause(PauseCause::Command);
            }
            Request::Rate { pps } if is_sending => change_rate(board, pps, false, user),
            Request::Bandwidth { bps } if is_sending => match plan::rate_of_bandwidth(bps, *wire_len) {
                Ok(pps) => change_rate(board, pps, true, user),
                Err(why) => return Reaction::now(Answer::refused(format!("bps: {why}"))),
            },
            Request::Rate { .. } | Request::Bandwidth { .. } => return over(),
            Request::Stop {} => {
                if control.is_stopping() || control.phase() == Phase::Done {
                    warn!(target: "control", "stopped by user {user}: no longer waiting");
                    control.hurry();
                } else {
                    warn!(
                        target: "control",
                        "stopped by user {user}: no more probes; waiting for late replies (again to skip)"
                    );
                }
                control.stop(EndReason::Interrupted);
            }
        }
        Reaction::now(Answer::done(board.status()))
    }
}

fn change_rate(board: &Board, rate_pps: f64, caps_all: bool, user: u32) {
    let before_pps = board.pacer.rate_pps();
    board.pacer.set_capping_all(caps_all);
    board.pacer.set_rate_pps(rate_pps);
    board.control.restart_pace();
    let resets = if caps_all { ", resets included" } else { "" };
    info!(target: "control", "user {user} changes the rate from {before_pps} to {rate_pps} probes/s{resets} (0: no limit)");
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    use super::super::blocklist::test_desk;
    use super::super::board::test_board;
    use super::*;
    use crate::checkpoint::BlocklistChange;
    use crate::control_socket::{Connection, LINE_MAX};
    use crate::report::status::Snapshot;

    /// A service on a socket of its own, and the folder that the socket is in.
    fn service() -> (tempfile::TempDir, std::path::PathBuf, Arc<Board>, Commands) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.sock");
        let board = Arc::new(test_board());
        let listener = Listener::at(&path).unwrap();
        let commands = Commands::start(listener, Arc::clone(&board), test_desk().0, 84).unwrap();
        (folder, path, board, commands)
    }

    #[test]
    fn requests_are_carried_out() {
        let (_folder, path, board, commands) = service();
        let mut scan = Connection::open(&path).unwrap();
        let mut ask = |request| scan.ask(&request).unwrap();
        assert!(!ask(Request::Status {}).status.unwrap().paused);
        assert!(ask(Request::Pause {}).status.unwrap().paused && board.control.is_paused());
        assert!(!ask(Request::Resume {}).status.unwrap().paused && !board.control.is_paused());
        let rate = ask(Request::Rate { pps: 0.5 }).status.unwrap();
        assert_eq!((rate.rate_pps, rate.rate_changes, rate.rate_counts_resets), (0.5, 1, false));
        let bandwidth = ask(Request::Bandwidth { bps: 672_000 }).status.unwrap();
        assert_eq!((bandwidth.rate_pps, bandwidth.rate_counts_resets), (1_000.0, true));
        // Less than the pacer can keep: nothing changes.
        let commands_seen = board.pacer.changes();
        let service = Scan { board: Arc::clone(&board), desk: test_desk().0, wire_len: 10_000_000 };
        let Reaction::Now(refused) = service.act(Request::Bandwidth { bps: 1 }, 0) else { panic!("at once") };
        assert!(!refused.ok && refused.error.unwrap().starts_with("bps: "));
        assert_eq!(board.pacer.changes(), commands_seen);
        let stopped = ask(Request::Stop {}).status.unwrap();
        assert_eq!(stopped.end_reason.as_deref(), Some("interrupted"));
        assert!(!board.control.is_hurried());
        let refused = ask(Request::Pause {});
        assert!(!refused.ok && !board.control.is_paused());
        assert!(!ask(Request::Rate { pps: 7.0 }).ok);
        assert!(ask(Request::Stop {}).ok && board.control.is_hurried());
        drop(commands);
        assert!(!path.exists());
        assert!(scan.receive().unwrap().is_none());
    }

    /// A peer that waits for a change of the block list keeps nobody else waiting, and gets its answers in order.
    #[test]
    fn changes_take_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.sock");
        let (desk, asked) = test_desk();
        let board = Arc::new(test_board());
        let commands = Commands::start(Listener::at(&path).unwrap(), Arc::clone(&board), desk, 84).unwrap();
        let mut waiting = UnixStream::connect(&path).unwrap();
        let lines = "{\"command\":\"exclude\",\"network\":\"192.0.2.0/24\"}\n{\"command\":\"status\"}\n{\"command\":\"reload\"}\n";
        waiting.write_all(lines.as_bytes()).unwrap();
        let (change, by, outcome) = asked();
        assert_eq!(by, format!("user {}", nix::unistd::geteuid()));
        assert_eq!(change, Change::Exclude(targets::list::parse_range("192.0.2.0/24").unwrap()));
        let mut other = Connection::open(&path).unwrap();
        for _ in 0..3 {
            assert!(other.ask(&Request::Status {}).unwrap().ok);
        }
        waiting.set_nonblocking(true).unwrap();
        let early = waiting.read(&mut [0; 1]).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "no answer before it is certain");
        waiting.set_nonblocking(false).unwrap();
        outcome.send(Ok(BlocklistChange { addresses_taken_out: 7, ..BlocklistChange::default() })).unwrap();
        let mut answers = BufReader::new(waiting.try_clone().unwrap()).lines().map(Result::unwrap);
        let changed = answers.next().unwrap();
        assert!(changed.contains("\"addresses_taken_out\":7") && changed.contains("\"status\""), "{changed}");
        let status = answers.next().unwrap();
        assert!(status.starts_with("{\"ok\":true,\"status\""), "{status}");
        let (change, _, outcome) = asked();
        assert_eq!(change, Change::Reload);
        outcome.send(Err("list:7: no".to_owned())).unwrap();
        assert_eq!(answers.next().unwrap(), "{\"ok\":false,\"error\":\"list:7: no\"}");
        // One that has gone without waiting for its answer; and one that waits when the scan ends.
        waiting.write_all(b"{\"command\":\"reload\"}\n").unwrap();
        drop((asked(), other));
        assert!(answers.next().unwrap().contains("the scan is over"));
        waiting.write_all(b"{\"command\":\"reload\"}\n").unwrap();
        let held = asked();
        drop((waiting, commands));
        drop(held);
    }

    #[test]
    fn lines_that_are_no_requests() {
        let (_folder, path, _board, _commands) = service();
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        // In pieces, and with an empty line.
        for piece in ["\n{\"comm", "and\":\"status\"}\n{\"command\"", ":\"no\"}\n"] {
            stream.write_all(piece.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        assert!(answers.next().unwrap().starts_with("{\"ok\":true,\"status\":{\"phase\":\"sending\""));
        assert!(answers.next().unwrap().starts_with("{\"ok\":false,\"error\":\"not a request:"));
        // A line without an end is refused, and the connection closed.
        stream.write_all(&vec![b'x'; LINE_MAX + 1]).unwrap();
        assert!(answers.next().unwrap().contains("4096 bytes"));
        assert_eq!(answers.next(), None);
    }

    /// One that watches gets the status once per second, and the end; one that asks and closes gets its answer.
    #[test]
    fn watching() {
        let (_folder, path, board, commands) = service();
        let mut watcher = Connection::open(&path).unwrap();
        assert!(watcher.ask(&Request::Watch {}).unwrap().ok);
        let begun = Instant::now();
        for _ in 0..3 {
            assert!(watcher.receive().unwrap().unwrap().ok);
        }
        let took = begun.elapsed();
        assert!((1_900..4_000).contains(&took.as_millis()), "{took:?}");
        let mut brief = UnixStream::connect(&path).unwrap();
        brief.write_all(b"{\"command\":\"status\"}\n").unwrap();
        brief.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(BufReader::new(brief).lines().count(), 1);
        board.conclude(&Snapshot::default(), EndReason::Complete);
        drop(commands);
        let mut last = None;
        while let Some(answer) = watcher.receive().unwrap() {
            last = answer.status;
        }
        assert_eq!(last.unwrap().end_reason.as_deref(), Some("complete"));
    }

    #[test]
    fn peers_that_do_not_read_and_too_many() {
        let (_folder, path, _board, _commands) = service();
        let mut deaf = UnixStream::connect(&path).unwrap();
        deaf.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        let flood = "{\"command\":\"status\"}\n".repeat(100);
        let written = (0..10_000).take_while(|_| deaf.write_all(flood.as_bytes()).is_ok()).count();
        assert!(written < 10_000, "it is disconnected");
        // Others are served all the same.
        let mut peers: Vec<Connection> = (0..PEERS_MAX).map(|_| Connection::open(&path).unwrap()).collect();
        for peer in &mut peers {
            assert!(peer.ask(&Request::Status {}).unwrap().ok);
        }
        let mut one_more = Connection::open(&path).unwrap();
        let refused = one_more.ask(&Request::Status {}).unwrap();
        assert!(refused.error.unwrap().contains("too many"));
    }
}
