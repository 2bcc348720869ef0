//! The record of one validated reply: a fixed header and the captured bytes, as a worker passes it on.
//!
//! Owns the layout. A record travels through a byte ring (one producer, one consumer, one ring per worker): header,
//! captured bytes, zeroes up to the next multiple of 8. Nothing in it is IPv4-only. Fields of the output that need more
//! than the header are parsed from the captured bytes by the collector, not by the worker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtrb::{Consumer, Producer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of all workers' rings together, unless there are many workers: some 120,000 short replies. A collector that
/// takes a million per second may then pause for a tenth of a second. Less loses records in such a pause; more only
/// takes memory.
const RINGS_LEN: usize = 16 << 20;
/// Minimum bytes of a worker's ring: some 30,000 short replies, a fifth of a second at line rate and a hit rate of one
/// per cent. Less loses records when replies come in bursts; more takes memory per worker.
const RING_LEN_MIN: usize = 4 << 20;

/// Bytes of the ring of each of `workers`, which is at least one. The memory is allocated as the ring is used for the
/// first time.
pub fn ring_capacity(workers: usize) -> usize {
    (RINGS_LEN / workers).max(RING_LEN_MIN)
}

/// The kind of a reply in a record; the classification names of ZMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it, and `KINDS` how each is written")]
pub enum ReplyKind {
    SynAck = 1,
    Rst = 2,
    /// An ICMP error that quotes a TCP or UDP probe.
    Icmp = 3,
    EchoReply = 4,
    /// ICMP errors that quote an echo request: destination unreachable and so on.
    Unreachable = 5,
    SourceQuench = 6,
    Redirect = 7,
    TimeExceeded = 8,
    Other = 9,
    Udp = 10,
    Dns = 11,
    Ntp = 12,
    Upnp = 13,
    /// A UPnP answer that does not begin as HTTP.
    NoHttpHeader = 14,
    Bacnet = 15,
    /// An ICMP error that quotes an IP-in-IP probe.
    IcmpUnreach = 16,
}

/// All kinds, in the order of their numbers, with ZMap's words for them in the field `classification`.
const KINDS: [(ReplyKind, &str); 16] = [
    (ReplyKind::SynAck, "synack"),
    (ReplyKind::Rst, "rst"),
    (ReplyKind::Icmp, "icmp"),
    (ReplyKind::EchoReply, "echoreply"),
    (ReplyKind::Unreachable, "unreach"),
    (ReplyKind::SourceQuench, "sourcequench"),
    (ReplyKind::Redirect, "redirect"),
    (ReplyKind::TimeExceeded, "timxceed"),
    (ReplyKind::Other, "other"),
    (ReplyKind::Udp, "udp"),
    (ReplyKind::Dns, "dns"),
    (ReplyKind::Ntp, "ntp"),
    (ReplyKind::Upnp, "upnp"),
    (ReplyKind::NoHttpHeader, "no-http-header"),
    (ReplyKind::Bacnet, "bacnet"),
    (ReplyKind::IcmpUnreach, "icmp-unreach"),
];

impl ReplyKind {
    /// ZMap's word for it, in the field `classification`.
    pub fn classification(self) -> &'static str {
        KINDS[self as usize - 1].1
    }

    /// The kind with this number in a record's header.
    pub fn from_number(number: u8) -> Option<Self> {
        KINDS.get(usize::from(number).checked_sub(1)?).map(|(kind, _)| *kind)
    }
}

/// Bit of [`Header::flags`]: the reply is a success of the module.
pub const SUCCESS: u8 = 1;
/// Bit of [`Header::flags`]: the application behind the reply did what the probe requested.
pub const APP_SUCCESS: u8 = 2;
/// Bit of [`Header::flags`]: the reply is an ICMP error that quotes the probe.
pub const ICMP_ERROR: u8 = 4;
/// Bit of [`Header::flags`]: the probe held its time of sending in a field that the reply echoes.
pub const RTT_ECHOED: u8 = 8;

/// The first 64 bytes of a record. Multi-byte values are in host order, addresses in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// Receive time, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The sender of the reply; IPv4 as ::ffff:a.b.c.d.
    pub responder: [u8; 16],
    /// The probed target: the responder, unless a router answered for it.
    pub target: [u8; 16],
    /// Port the reply came from; 0 where there is none.
    pub responder_port: u16,
    /// Our port that the reply went to; 0 where there is none.
    pub local_port: u16,
    /// Target port of the probe.
    pub target_port: u16,
    /// RX queue it arrived on.
    pub queue: u16,
    /// Length of the frame on the wire, without FCS.
    pub frame_len: u32,
    /// Bytes of the frame that follow this header, at most [`CAPTURE_MAX`](wire::packet::CAPTURE_MAX).
    pub captured_len: u16,
    /// Where the IP header starts in the captured bytes.
    pub ip_offset: u8,
    /// 4 or 6.
    pub family: u8,
    /// A [`ReplyKind`].
    pub kind: u8,
    /// Which copy of the probe is answered, from 0.
    pub probe: u8,
    /// 1 when it arrived after the last probe was sent.
    pub cooldown: u8,
    /// [`SUCCESS`], [`APP_SUCCESS`], [`ICMP_ERROR`], [`RTT_ECHOED`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 4],
}

const _: () = assert!(size_of::<Header>() == 64);

impl Header {
    /// Whether the reply is a success of the module.
    pub fn is_success(&self) -> bool {
        self.flags & SUCCESS != 0
    }

    /// Whether the application did what the probe requested.
    pub fn is_app_success(&self) -> bool {
        self.flags & APP_SUCCESS != 0
    }

    /// The responder as an address.
    pub fn responder(&self) -> IpAddr {
        Ipv6Addr::from(self.responder).to_canonical()
    }

    /// The probed target as an address.
    pub fn target(&self) -> IpAddr {
        Ipv6Addr::from(self.target).to_canonical()
    }
}

/// An IPv4 address as a record and the XDP program's maps hold it: ::ffff:a.b.c.d.
pub fn mapped(address: Ipv4Addr) -> [u8; 16] {
    address.to_ipv6_mapped().octets()
}

/// Bytes that a record with `captured_len` captured bytes takes in the ring.
pub fn ring_len(captured_len: usize) -> usize {
    (size_of::<Header>() + captured_len).next_multiple_of(8)
}

/// Puts a record into a worker's ring. Returns false if it does not fit; then no part of it is in the ring.
pub fn push(ring: &mut Producer<u8>, header: &Header, captured: &[u8]) -> bool {
    debug_assert_eq!(usize::from(header.captured_len), captured.len());
    let Ok(mut chunk) = ring.write_chunk(ring_len(captured.len())) else { return false };
    let (first, second) = chunk.as_mut_slices();
    let written = copy_into(first, second, 0, header.as_bytes());
    copy_into(first, second, written, captured);
    chunk.commit_all();
    true
}

fn copy_into(first: &mut [u8], second: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    if at >= first.len() {
        let at = at - first.len();
        second[at..at + bytes.len()].copy_from_slice(bytes);
    } else {
        let here = bytes.len().min(first.len() - at);
        first[at..at + here].copy_from_slice(&bytes[..here]);
        second[..bytes.len() - here].copy_from_slice(&bytes[here..]);
    }
    at + bytes.len()
}

/// Takes the oldest record out of a worker's ring; its captured bytes go into `captured` (cleared first).
pub fn pop(ring: &mut Consumer<u8>, captured: &mut Vec<u8>) -> Option<Header> {
    captured.clear();
    let mut bytes = [0u8; size_of::<Header>()];
    ring.pop_entire_slice(&mut bytes).ok()?;
    let header = Header::read_from_bytes(&bytes).ok()?;
    captured.resize(ring_len(header.captured_len.into()) - bytes.len(), 0);
    let rest = ring.pop_entire_slice(captured);
    debug_assert!(rest.is_ok(), "a record is committed whole");
    captured.truncate(header.captured_len.into());
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::packet::CAPTURE_MAX;

    fn header(len: usize) -> Header {
        Header {
            time_ns: len as u64,
            responder: mapped(Ipv4Addr::new(198, 18, 0, 1)),
            target: mapped(Ipv4Addr::new(198, 18, 0, 2)),
            responder_port: 80,
            local_port: 40_000,
            target_port: 80,
            queue: 3,
            frame_len: len as u32,
            captured_len: len as u16,
            ip_offset: 14,
            family: 4,
            kind: ReplyKind::Rst as u8,
            probe: 0,
            cooldown: 0,
            flags: 0,
            reserved: [0; 4],
        }
    }

    #[test]
    fn kinds_are_in_the_order_of_their_numbers() {
        for (place, (kind, word)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, place + 1);
            assert_eq!(ReplyKind::from_number(*kind as u8), Some(*kind));
            assert_eq!(kind.classification(), *word);
        }
        assert_eq!(ReplyKind::from_number(0), None);
        assert_eq!(ReplyKind::from_number(KINDS.len() as u8 + 1), None);
    }

    /// Records of every length survive the ring, at every position of its end, and a full ring refuses whole records.
    #[test]
    fn ring_round_trip() {
        let (mut producer, mut consumer) = rtrb::RingBuffer::new(2048);
        let mut captured = vec![];
        for round in 0..2_000usize {
            let len = round % (CAPTURE_MAX + 1);
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + round) as u8).collect();
            assert!(push(&mut producer, &header(len), &bytes));
            assert_eq!(pop(&mut consumer, &mut captured), Some(header(len)));
            assert_eq!(captured, bytes);
        }
        let mut pushed = 0;
        while push(&mut producer, &header(100), &[7; 100]) {
            pushed += 1;
        }
        assert_eq!(pushed, 2048 / ring_len(100));
        for _ in 0..pushed {
            assert_eq!(pop(&mut consumer, &mut captured), Some(header(100)));
        }
        assert_eq!(pop(&mut consumer, &mut captured), None);
    }
}
