//! Tells systemd how the scan stands, if systemd has started it as a service that reports (`Type=notify`): that sending
//! begins, the status once per second, that the workers make turns, and that the end has come. See `sd_notify(3)`.
//!
//! The socket is connected before the privileges are dropped, and a message that systemd does not take is lost: nothing
//! waits for it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;

use super::board::Board;
use crate::engine::Phase;
use crate::sandbox::{self, Class};

/// How often the status is told.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two looks at the workers. Lower: workers that take a nap are mistaken for stuck ones.
const LOOK_MIN: Duration = Duration::from_millis(50);

/// A connection to the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    /// Within which time the service manager wants a sign of life.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The connection that the environment names; `None` if it names none or if that does not work, which is logged.
    pub(super) fn of_environment() -> Option<Self> {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        let watchdog = watchdog(std::env::var_os("WATCHDOG_USEC"), std::env::var_os("WATCHDOG_PID"));
        let opened = Self::open(&address, watchdog);
        opened
            .inspect_err(|error| {
                warn!(target: "service", "NOTIFY_SOCKET={}: {error}", address.to_string_lossy());
            })
            .ok()
    }

    fn open(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match address.as_bytes() {
            [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            [b'/', ..] => socket.connect(address)?,
            _ => return Err(io::Error::other("it is neither an absolute path nor an abstract name")),
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, watchdog })
    }

    fn tell(&self, text: &str) {
        // The service manager may be busy, or restart.
        let _ = self.socket.send(text.as_bytes());
    }
}

/// The time of the watchdog, if one is set for this process.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(std::process::id().into())) {
        return None;
    }
    number(usec?).filter(|&usec| usec > 0).map(Duration::from_micros)
}

/// Whether the workers make turns: a function of the numbers that they count up.
#[derive(Debug, Default)]
struct Pulse {
    before: Vec<u64>,
}

impl Pulse {
    /// Whether each has made a turn since the last call. So many have not been looked at before: they count as alive.
    fn is_alive(&mut self, beats: Vec<u64>) -> bool {
        let before = std::mem::replace(&mut self.before, beats);
        before.iter().zip(&self.before).all(|(before, now)| before != now)
    }
}

/// The reports to the service manager. Ends them when it is dropped.
pub(super) struct Service {
    notifier: Arc<Notifier>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Reports how the scan of `board` stands, from [`Self::ready`] on.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(notifier: Notifier, board: Arc<Board>) -> io::Result<Self> {
        let notifier = Arc::new(notifier);
        let (stop, stopped) = mpsc::channel();
        let telling = Arc::clone(&notifier);
        let tell = move || {
            sandbox::enter(Class::Control);
            let look_every = telling.watchdog.map(|time| (time / 2).max(LOOK_MIN));
            let mut pulse = Pulse::default();
            let mut tell_at = Instant::now() + STATUS_EVERY;
            let mut look_at = look_every.map(|look| Instant::now() + look);
            let until_next = |tell_at: Instant, look_at: Option<Instant>| {
                look_at
                    .map_or(tell_at, |look_at| look_at.min(tell_at))
                    .saturating_duration_since(Instant::now())
            };
            while stopped.recv_timeout(until_next(tell_at, look_at)) == Err(RecvTimeoutError::Timeout) {
                let now = Instant::now();
                if now >= tell_at {
                    tell_at = now + STATUS_EVERY;
                    telling.tell(&format!("STATUS={}", board.status()));
                }
                if look_at.is_some_and(|look_at| now >= look_at) {
                    look_at = look_every.map(|look| now + look);
                    // After their end the process waits for outputs, and is alive.
                    let is_over = board.control.phase() == Phase::Done;
                    if pulse.is_alive(board.control.beats()) || is_over {
                        telling.tell("WATCHDOG=1");
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("service".to_owned()).spawn(tell)?;
        Ok(Self { notifier, stop: Some(stop), thread: Some(thread) })
    }

    /// Sending begins.
    pub(super) fn ready(&self) {
        self.notifier.tell("READY=1\nSTATUS=sending");
    }

    /// Everything is sent and received; what is left is to write the results.
    pub(super) fn stopping(&self) {
        self.notifier.tell("STOPPING=1\nSTATUS=writing the results");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::test_board;
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn watchdogs() {
        let text = |text: &str| Some(OsString::from(text));
        let own = std::process::id().to_string();
        assert_eq!(watchdog(text("3000000"), None), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(text("3000000"), text(&own)), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(text("3000000"), text("1")), None, "it is another process's");
        for none in [None, text(""), text("0"), text("soon"), text("-1")] {
            assert_eq!(watchdog(none, None), None);
        }
    }

    #[test]
    fn every_worker_must_make_turns() {
        let mut pulse = Pulse::default();
        assert!(pulse.is_alive(vec![0, 0]), "nothing is known yet");
        assert!(pulse.is_alive(vec![5, 1]));
        assert!(!pulse.is_alive(vec![9, 1]), "the second is stuck");
        assert!(pulse.is_alive(vec![10, 2]));
        assert!(!pulse.is_alive(vec![10, 2]));
    }

    /// Over a path and over an abstract name; the watchdog is told only while workers make turns.
    #[test]
    fn what_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("xdpmap-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_name).unwrap();
        for (socket, address) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let notifier = Notifier::open(&address, Some(Duration::from_millis(200))).unwrap();
            let board = Arc::new(test_board());
            let service = Service::start(notifier, Arc::clone(&board)).unwrap();
            service.ready();
            assert_eq!(heard(&socket), "READY=1\nSTATUS=sending");
            // The worker makes no turns: only the first look, which has nothing to compare, may count.
            let silent = Instant::now();
            let mut alive = 0;
            while silent.elapsed() < Duration::from_millis(700) {
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                let mut bytes = [0; 4096];
                alive += usize::from(socket.recv(&mut bytes).is_ok_and(|len| &bytes[..len] == b"WATCHDOG=1"));
            }
            assert!(alive <= 1, "{alive}");
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let (mut alive, mut status) = (0, 0);
            while alive < 3 || status < 1 {
                board.control.beat(0);
                let text = heard(&socket);
                alive += usize::from(text == "WATCHDOG=1");
                status += usize::from(text.starts_with("STATUS=sending 0%: 0 of 1000 targets"));
            }
            service.stopping();
            let stopping =
                std::iter::from_fn(|| Some(heard(&socket))).find(|text| text.starts_with("STOPPING"));
            assert_eq!(stopping.unwrap(), "STOPPING=1\nSTATUS=writing the results");
        }
        for wrong in ["relative", ""] {
            assert!(Notifier::open(OsStr::new(wrong), None).is_err());
        }
    }
}
