//! Sweeps the local link by ARP (RFC 826) for the MAC addresses of the neighbours among the targets.
//!
//! It sends its own requests and does not use the kernel's neighbour discovery: the kernel's table holds 1,024 entries
//! by default, and the host needs them. Answers to these requests do not change the kernel's table.
//!
//! Each address gets one request, and a second one if it has not answered. The rate is bounded because every request
//! reaches every host on the link.

mod frame;
mod socket;

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

pub use socket::ArpSocket;
use targets::ranges::{AddressRange, RangeSet};
use wire::packet::MacAddr;

/// Most requests per address. With 1, a lost request or answer loses the neighbour; each further round costs up to
/// [`ANSWER_WAIT`].
const ROUNDS: u32 = 2;
/// How long to wait for answers after the last request of a round. Neighbours answer within milliseconds, or within a
/// second if they sleep to save power. A shorter wait misses the sleepers; a longer one delays every scan.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long the sweep waits at a time for answers or for its next request. Longer makes bursts of requests; shorter
/// costs CPU time.
const TURN: Duration = Duration::from_millis(5);
/// Most time that the sweep makes up for after it was off the processor. Longer would send a burst of requests; shorter
/// only lengthens the sweep.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long the interface may refuse every frame before the sweep fails. Shorter fails on a short congestion; longer
/// hides an interface that does not work.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the sweep reports its progress. More often fills the log; less often leaves the user waiting.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The neighbours to find, and how to ask for them.
#[derive(Clone, Debug)]
pub struct Sweep<'a> {
    /// The neighbours' addresses.
    pub wanted: &'a RangeSet,
    /// Our networks, each with our address in it, which its requests come from.
    pub askers: &'a [(AddressRange, Ipv4Addr)],
    /// Our MAC address.
    pub mac: MacAddr,
    /// Requests per second, above 0.
    pub rate_pps: f64,
}

/// The progress of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepProgress {
    /// The round, from 1.
    pub round: u32,
    /// Requests sent.
    pub requests: u64,
    /// Neighbours that answered.
    pub answered: u64,
}

/// The result of a sweep.
#[derive(Clone, Debug, Default)]
pub struct FoundNeighbors {
    /// The neighbours by address.
    pub neighbors: HashMap<u32, MacAddr>,
    /// Requests sent.
    pub requests: u64,
}

impl Sweep<'_> {
    /// Sends requests for all addresses. `tell` is called now and then with the progress; `is_over` ends the sweep
    /// early.
    ///
    /// # Errors
    /// The interface went away, or accepted no frames for a while.
    pub fn run(
        &self,
        socket: &ArpSocket,
        is_over: impl Fn() -> bool,
        mut tell: impl FnMut(SweepProgress),
    ) -> io::Result<FoundNeighbors> {
        let mut found = FoundNeighbors::default();
        let mut told = Instant::now();
        for round in 1..=ROUNDS {
            let mut rest = self.addresses().peekable();
            let mut clock = Clock::new(self.rate_pps);
            let mut answers_until = Instant::now();
            let mut refused_since = None;
            while rest.peek().is_some() || Instant::now() < answers_until {
                let mut due = clock.due();
                while let Some(&address) = rest.peek() {
                    if found.neighbors.contains_key(&address) {
                        rest.next();
                        continue;
                    }
                    if due == 0 {
                        break;
                    }
                    if !socket.send(&self.request(address))? {
                        let since = *refused_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > PATIENCE {
                            return Err(io::Error::new(
                                io::ErrorKind::TimedOut,
                                "the interface accepts no frames",
                            ));
                        }
                        break;
                    }
                    rest.next();
                    clock.spend();
                    due -= 1;
                    found.requests += 1;
                    (refused_since, answers_until) = (None, Instant::now() + ANSWER_WAIT);
                }
                socket.wait(TURN);
                self.take_answers(socket, &mut found)?;
                let answered = found.neighbors.len() as u64;
                if answered == self.wanted.len() || is_over() {
                    return Ok(found);
                }
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    tell(SweepProgress { round, requests: found.requests, answered });
                }
            }
        }
        Ok(found)
    }

    fn addresses(&self) -> impl Iterator<Item = u32> {
        self.wanted.ranges().iter().flat_map(|range| range.first()..=range.last())
    }

    fn request(&self, address: u32) -> [u8; frame::LEN] {
        let asker = self.askers.iter().find(|(network, _)| network.contains(address));
        let asker = asker.or(self.askers.first()).map_or(Ipv4Addr::UNSPECIFIED, |(_, asker)| *asker);
        frame::request(self.mac, asker, Ipv4Addr::from_bits(address))
    }

    fn take_answers(&self, socket: &ArpSocket, found: &mut FoundNeighbors) -> io::Result<()> {
        let mut buffer = [0; 128];
        while let Some(len) = socket.receive(&mut buffer)? {
            let Some((address, mac)) = frame::answer(&buffer[..len]) else { continue };
            if self.wanted.contains(address.to_bits()) {
                // The first answer counts: a second sender shares the address or forges.
                found.neighbors.entry(address.to_bits()).or_insert(mac);
            }
        }
        Ok(())
    }
}

/// Decides when the next requests may leave.
struct Clock {
    rate_pps: f64,
    /// Everything that was due up to this moment has been sent or dropped.
    paid: Instant,
}

impl Clock {
    fn new(rate_pps: f64) -> Self {
        Self { rate_pps, paid: Instant::now() }
    }

    /// How many requests may be sent now.
    fn due(&mut self) -> u64 {
        let now = Instant::now();
        if let Some(earliest) = now.checked_sub(CATCH_UP) {
            // At a low rate one request takes longer than [`CATCH_UP`].
            self.paid = self.paid.max(earliest.checked_sub(self.interval()).unwrap_or(earliest));
        }
        (now.saturating_duration_since(self.paid).as_secs_f64() * self.rate_pps) as u64
    }

    fn spend(&mut self) {
        self.paid += self.interval();
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate_pps)
    }
}
