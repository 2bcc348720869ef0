//! The hosts of a lab's part of 198.18.0.0/15, and so the results that a scan of it must have. They are defined only
//! here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

/// 198.18.0.0, the first host.
const FIRST: u32 = 0xc612_0000;
/// How many of the servers also listen on port 8080.
const SERVERS_8080: usize = 40;

/// Hosts from 198.18.0.0 on. Those of the lower half exist: their kernel resets connections to ports without a server.
/// The upper half is silent, except for its servers.
#[derive(Clone, Copy, Debug)]
pub struct Hosts {
    /// Number of addresses; a power of two.
    pub addresses: u32,
    /// How many of them have a server on port 80.
    pub servers: u32,
    /// The index of the first server.
    pub first: u32,
    /// The distance between servers, so that they are in both halves.
    pub apart: u32,
}

/// The hosts of a lab, 198.18.0.0/16.
pub const HOSTS: Hosts = Hosts { addresses: 65_536, servers: 300, first: 3, apart: 211 };
/// The hosts of the virtual machines, 198.18.0.0/20: `scripts/lab-zerocopy/guest.sh` creates them.
pub const GUEST: Hosts = Hosts { addresses: 4_096, servers: 120, first: 5, apart: 31 };

/// The answer of a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A server listens.
    SynAck,
    /// The host exists, but no server listens.
    Reset,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SynAck => "synack",
            Self::Reset => "rst",
        })
    }
}

impl Hosts {
    /// The addresses with a server.
    pub fn servers(self) -> Vec<Ipv4Addr> {
        (0..self.servers).map(|i| Ipv4Addr::from(FIRST + self.first + i * self.apart)).collect()
    }

    /// The servers that listen on a port.
    pub fn listening_on(self, port: u16) -> Vec<Ipv4Addr> {
        let mut servers = self.servers();
        servers.truncate(match port {
            80 => usize::MAX,
            8080 => SERVERS_8080,
            _ => 0,
        });
        servers
    }

    /// The addresses that answer on a port on which these servers listen, in order.
    pub fn answers(self, servers: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Answer)> {
        let servers: BTreeSet<Ipv4Addr> = servers.iter().copied().collect();
        let answer = |place: u32| {
            let address = Ipv4Addr::from(FIRST + place);
            if servers.contains(&address) {
                return Some((address, Answer::SynAck));
            }
            (place < self.addresses / 2).then_some((address, Answer::Reset))
        };
        (0..self.addresses).filter_map(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, GUEST, HOSTS};

    #[test]
    fn servers_are_in_both_halves_and_all_answer() {
        for (hosts, ports) in [(HOSTS, &[80, 8080, 443][..]), (GUEST, &[80])] {
            for &port in ports {
                let servers = hosts.listening_on(port);
                let answers = hosts.answers(&servers);
                let open = answers.iter().filter(|(_, answer)| *answer == Answer::SynAck);
                assert_eq!(open.map(|(address, _)| *address).collect::<Vec<_>>(), servers, "{port}");
                let half = hosts.addresses / 2;
                let in_upper = servers.iter().filter(|address| u32::from(**address) & half != 0).count();
                assert_eq!(answers.len(), half as usize + in_upper, "{port}");
            }
            assert_eq!(hosts.servers().len(), hosts.servers as usize);
            let last = u32::from(*hosts.servers().last().unwrap());
            assert!(last & (hosts.addresses / 2) != 0, "{last:#x} is in the upper half");
        }
        assert_eq!(HOSTS.listening_on(8080).len(), 40);
        assert!(HOSTS.listening_on(443).is_empty());
    }
}
