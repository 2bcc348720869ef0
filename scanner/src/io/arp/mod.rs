//! A sweep of the own link by ARP (RFC 826): which MAC addresses the neighbours among the targets have.
//!
//! The requests are our own. The kernel is not asked to find thousands of neighbours: its table holds 1,024 by default,
//! and the host needs it. Answers that nobody waits for leave the kernel's table as it is.
//!
//! Each address is asked for once, and once more if it has not answered; the rate is bounded, as every request reaches
//! every host on the link.

mod frame;
mod socket;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::packet::MacAddr;
use crate::targets::ranges::{AddressRange, RangeSet};
pub use socket::Socket;

/// How often an address is asked for.
const ROUNDS: u32 = 2;
/// How long answers are waited for after the last request of a round: a neighbour answers within milliseconds, one that
/// sleeps to save power within a second.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long the sweep waits at a time for answers or for its next turn to ask.
const TURN: Duration = Duration::from_millis(5);
/// Most time that is made good when the sweep was kept from the processor.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long the interface may take no frame before the sweep is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the caller is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is asked for, and by whom.
#[derive(Clone, Debug)]
pub struct Sweep<'a> {
    /// The neighbours' addresses.
    pub wanted: &'a RangeSet,
    /// Our networks, each with our address there: the asker's.
    pub askers: &'a [(AddressRange, Ipv4Addr)],
    /// Our MAC address.
    pub mac: MacAddr,
    /// Requests a second, above 0.
    pub rate_pps: f64,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which time round, from 1.
    pub round: u32,
    /// Requests sent.
    pub requests: u64,
    /// Neighbours that answered.
    pub answered: u64,
}

/// What a sweep has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The neighbours by address.
    pub neighbors: HashMap<u32, MacAddr, RandomState>,
    /// Requests sent.
    pub requests: u64,
}

impl Sweep<'_> {
    /// Asks for all addresses. `tell` hears now and then how far it is; `is_over` ends the sweep early.
    ///
    /// # Errors
    /// The interface went away, or takes no frames for a while.
    pub fn run(
        &self,
        socket: &Socket,
        is_over: impl Fn() -> bool,
        mut tell: impl FnMut(Progress),
    ) -> io::Result<Found> {
        let mut found = Found::default();
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
                                "the interface takes no frames",
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
                    tell(Progress { round, requests: found.requests, answered });
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

    fn take_answers(&self, socket: &Socket, found: &mut Found) -> io::Result<()> {
        let mut buffer = [0; 128];
        while let Some(len) = socket.receive(&mut buffer)? {
            let Some((address, mac)) = frame::answer(&buffer[..len]) else { continue };
            if self.wanted.contains(address.to_bits()) {
                // The first answer counts: whoever answers second shares the address or forges.
                found.neighbors.entry(address.to_bits()).or_insert(mac);
            }
        }
        Ok(())
    }
}

/// When the next requests may leave.
struct Clock {
    rate_pps: f64,
    /// Up to when everything due has been sent or forgiven.
    paid: Instant,
}

impl Clock {
    fn new(rate_pps: f64) -> Self {
        Self { rate_pps, paid: Instant::now() }
    }

    /// How many requests are due.
    fn due(&mut self) -> u64 {
        let now = Instant::now();
        if let Some(earliest) = now.checked_sub(CATCH_UP) {
            // At a low rate a request takes longer than that.
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
