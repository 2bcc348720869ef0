//! Sockets of this network namespace: which ports the host's own programs use.
//!
//! Read from `/proc/self/net`, which lists all sockets and needs no privilege.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use wire::proof::PortRange;

/// A socket as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSocket {
    /// Its local address; all zeros for any.
    pub address: IpAddr,
    /// Its local port.
    pub port: u16,
    /// Whether it receives packets from any sender: TCP that listens, UDP that is not connected.
    pub listens: bool,
}

/// The tables, with the state of a socket that receives from any sender.
const TCP: [(&str, &str); 2] = [("tcp", "0A"), ("tcp6", "0A")];
const UDP: [(&str, &str); 2] = [("udp", "07"), ("udp6", "07")];

/// All TCP and UDP sockets.
pub fn own_sockets() -> Vec<OwnSocket> {
    tables(&[TCP, UDP].concat())
}

/// The ports of the range on which a UDP socket of the host receives datagrams to one of `addresses` from any sender,
/// ascending.
pub fn udp_owners(ports: PortRange, addresses: &[Ipv4Addr]) -> Vec<u16> {
    let has = |socket: &OwnSocket| match socket.address.to_canonical() {
        IpAddr::V4(address) => address.is_unspecified() || addresses.contains(&address),
        IpAddr::V6(address) => address.is_unspecified(),
    };
    let sockets = tables(&UDP).into_iter().filter(|socket| socket.listens && ports.contains(socket.port));
    let mut owned: Vec<u16> = sockets.filter(has).map(|socket| socket.port).collect();
    owned.sort_unstable();
    owned.dedup();
    owned.retain(|&port| addresses.iter().any(|&address| is_taken(address, port)));
    owned
}

/// Whether the address and port, which a table has, are in use: a socket for all of IPv6 may be for IPv4 as well, or
/// not. If a privilege is missing, the table alone decides.
fn is_taken(address: Ipv4Addr, port: u16) -> bool {
    match UdpSocket::bind((address, port)) {
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::AddrNotAvailable,
    }
}

fn tables(which: &[(&str, &str)]) -> Vec<OwnSocket> {
    let read = |(file, listens): &(&str, &str)| {
        let text = fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default();
        text.lines().skip(1).filter_map(|line| parse(line, listens)).collect::<Vec<_>>()
    };
    which.iter().flat_map(read).collect()
}

/// A line: `sl local_address rem_address st ...`. Addresses are words of 32 bits in the host's order, ports are
/// numbers.
fn parse(line: &str, listens: &str) -> Option<OwnSocket> {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    let (address, port) = local.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(word(0)?.into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(*words.as_flattened().first_chunk()?)))
        }
        _ => return None,
    };
    Some(OwnSocket { address, port: u16::from_str_radix(port, 16).ok()?, listens: state == listens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn tcp_sockets_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let there = || {
            let of_port = own_sockets().into_iter().filter(|socket| socket.port == address.port());
            of_port.map(|socket| (socket.address, socket.listens)).collect::<Vec<_>>()
        };
        assert_eq!(there(), [(address.ip(), true)]);
        let _peer = TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(there().iter().filter(|(ip, listens)| *ip == address.ip() && !listens).count(), 1);
    }

    /// Sockets for one address, for all, and for both families count; those for another address or that are connected
    /// do not.
    #[test]
    fn udp_owners_are_found() {
        let here = Ipv4Addr::LOCALHOST;
        let other = Ipv4Addr::new(127, 0, 0, 2);
        let owners = |socket: &UdpSocket| {
            let port = socket.local_addr().unwrap().port();
            udp_owners(PortRange { first: port, count: 1 }, &[here]) == [port]
        };
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(owners(&UdpSocket::bind(address).unwrap()), "{address}");
        }
        assert!(!owners(&UdpSocket::bind((other, 0)).unwrap()));
        let connected = UdpSocket::bind((here, 0)).unwrap();
        connected.connect("127.0.0.1:9").unwrap();
        assert!(!owners(&connected));
    }

    #[test]
    fn odd_lines_are_none() {
        for line in [
            "",
            "0:",
            "0: 0100007F:0035",
            "0: 0100007F 0:0 07",
            "0: XX00007F:0035 0:0 07",
            "0: é:0035 0:0 07",
        ] {
            assert_eq!(parse(line, "07"), None, "{line}");
        }
        let parsed = parse("0: 0100007F:0035 00000000:0000 07 rest", "07");
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(parsed, Some(OwnSocket { address, port: 53, listens: true }));
    }
}
