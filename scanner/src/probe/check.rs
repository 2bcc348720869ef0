//! Whether a packet answers a probe of ours: the same tests as the XDP program's, with the same verdicts.
//!
//! Owns the forms that probes have and where the cookie is in each (`xdp-prog/abi.h` says it for both sides). A probe
//! module fills its frames from [`Check::cookie`] and hears from [`Check::answer`] what came back; what that means is
//! its own business.

use super::SourcePool;
use crate::cookie::{Cookie, Key, QuadCookies, cookie};
use crate::io::batch::RxFrame;
use crate::packet::view::{Datagram, Message, Packet, Quote, Segment, Unfit};
use crate::packet::{
    ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_PARAMETER_PROBLEM, ICMP_REDIRECT, ICMP_SOURCE_QUENCH,
    ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, Link, PROTOCOL_ICMP, PROTOCOL_IPIP, PROTOCOL_TCP, PROTOCOL_UDP,
    TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN,
};

/// What a probe is, and so what answers it (`enum xdpmap_form`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Form {
    /// A TCP SYN.
    TcpSyn = 0,
    /// A TCP SYN-ACK.
    TcpSynAck = 1,
    /// An ICMP echo request.
    IcmpEcho = 2,
    /// A UDP datagram.
    Udp = 3,
    /// A UDP datagram in IPv4 in IPv4.
    IpIp = 4,
}

impl Form {
    /// All of them, by number.
    pub const ALL: [Self; 5] = [Self::TcpSyn, Self::TcpSynAck, Self::IcmpEcho, Self::Udp, Self::IpIp];

    /// IP protocol number of the probe.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::TcpSyn | Self::TcpSynAck => PROTOCOL_TCP,
            Self::IcmpEcho => PROTOCOL_ICMP,
            Self::Udp => PROTOCOL_UDP,
            Self::IpIp => PROTOCOL_IPIP,
        }
    }
}

/// What of its probe's cookie a UDP answer repeats in its payload (`enum xdpmap_echo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Echo {
    /// Nothing.
    #[default]
    Nothing = 0,
    /// 16 bits, as the number of a DNS message.
    DnsId = 1,
    /// All of it, as the origin timestamp of an NTP message.
    NtpOrigin = 2,
}

impl Echo {
    /// All of them, by number.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::DnsId, Self::NtpOrigin];

    /// Whether `payload` repeats what the probe with this cookie carried.
    fn is_in(self, payload: &[u8], cookie: Cookie) -> bool {
        match self {
            Self::Nothing => true,
            Self::DnsId => payload.starts_with(&cookie.payload_bits().to_be_bytes()),
            Self::NtpOrigin => {
                payload.get(NTP_ORIGIN..).is_some_and(|rest| rest.starts_with(&cookie.0.to_be_bytes()))
            }
        }
    }
}

/// Where the origin timestamp lies in an NTP message (RFC 5905, figure 8).
pub(super) const NTP_ORIGIN: usize = 24;

/// What tells a scan's answers from other packets.
#[derive(Clone, Debug)]
pub struct Check {
    /// The scan's secret.
    pub key: Key,
    /// What is sent.
    pub form: Form,
    /// What stands before the IP header of a frame.
    pub link: Link,
    /// Where it is sent from.
    pub sources: SourcePool,
    /// Where the scan's other probes are sent from, by other interfaces.
    pub other_sources: Vec<u32>,
    /// Copies of each probe.
    pub copies: u32,
    /// What UDP answers repeat.
    pub echo: Echo,
    /// Whether the cookie holds the target's port, so that an answer from another port is none.
    pub port_in_cookie: bool,
}

/// A packet that answers a probe. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What the packet is.
    pub what: What<'a>,
    /// Who sent it.
    pub responder: u32,
    /// Our address.
    pub source: u32,
    /// Who was probed.
    pub target: u32,
    /// Port that was probed; 0 where there is none.
    pub target_port: u16,
    /// Whether the answer tells that port: without it in the cookie, a server may answer from another one.
    pub tells_port: bool,
    /// Port that the answer came from; 0 where there is none.
    pub responder_port: u16,
    /// Our port; 0 where there is none.
    pub local_port: u16,
    /// Which copy of the probe is answered, from 0.
    pub probe: u8,
    /// Offset of the IP header in the frame.
    pub ip_offset: usize,
}

/// What kind of packet answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram: what it carries, as far as it was captured.
    Udp(&'a [u8]),
    /// An ICMP echo reply: what it carries, likewise.
    Echo(&'a [u8]),
    /// An ICMP error of this type that quotes the probe.
    Error(u8),
}

/// Why a packet answers no probe: the first test that it fails, which are the XDP program's, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another EtherType or IP version.
    NotIpv4,
    /// The frame ends inside a header, or a length is impossible.
    Truncated,
    /// A later fragment, in a scan of TCP any.
    Fragment,
    /// Neither ICMP nor the protocol in which answers come.
    OtherProtocol,
    /// The destination port is none of the scan's source ports.
    OtherPort,
    /// TCP that is neither SYN-ACK nor RST.
    OtherFlags,
    /// ICMP that is neither an error nor, in an echo scan, an echo reply.
    OtherIcmp,
    /// The destination is none of the scan's source addresses.
    OtherAddress,
    /// The kind of packet that answers, with a wrong cookie.
    BadCookie,
    /// An ICMP error that quotes no probe of ours, or too little of it.
    BadQuote,
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NotIpv4 => Self::NotIpv4,
            Unfit::Truncated => Self::Truncated,
            Unfit::Fragment => Self::Fragment,
        }
    }
}

/// Makes the cookies of a scan's probes.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    key: Key,
    port_mask: u16,
    protocol: u8,
}

impl Cookies {
    /// The cookie of the probe from `source` to `target:port`.
    #[inline(always)]
    pub fn cookie(self, source: u32, target: u32, port: u16) -> Cookie {
        cookie(self.key, source, target, port & self.port_mask, self.protocol)
    }

    /// What makes the cookies of four probes at once, [`Self::cookie`] for each.
    #[inline(always)]
    pub(super) fn quads(self) -> QuadCookies {
        QuadCookies::new(self.key, self.protocol, self.port_mask)
    }
}

impl Answer<'_> {
    /// Whether it is an ICMP error.
    pub fn is_error(&self) -> bool {
        matches!(self.what, What::Error(_))
    }
}

impl Check {
    /// The cookie of the probe from `source` to `target:port`.
    #[inline(always)]
    pub fn cookie(&self, source: u32, target: u32, port: u16) -> Cookie {
        self.cookies().cookie(source, target, port)
    }

    /// What makes cookies, by itself: a loop that holds it in registers becomes one over vectors.
    #[inline(always)]
    pub fn cookies(&self) -> Cookies {
        let port_mask = if self.port_in_cookie { u16::MAX } else { 0 };
        Cookies { key: self.key, port_mask, protocol: self.form.protocol() }
    }

    /// What a received frame answers; `None` if its cookie is not right or it is no answer at all.
    pub fn answer<'a>(&self, frame: RxFrame<'a>) -> Option<Answer<'a>> {
        self.verdict(frame).ok()
    }

    /// What a received frame answers.
    ///
    /// # Errors
    /// Why it is no answer.
    pub fn verdict<'a>(&self, frame: RxFrame<'a>) -> Result<Answer<'a>, Refusal> {
        let packet = Packet::parse(frame.captured, frame.frame_len, self.link)?;
        // No TCP that answers is so long.
        if packet.is_fragment && matches!(self.form, Form::TcpSyn | Form::TcpSynAck) {
            return Err(Refusal::Fragment);
        }
        match (packet.protocol, self.form) {
            (PROTOCOL_ICMP, _) => self.icmp(&packet),
            (PROTOCOL_TCP, Form::TcpSyn | Form::TcpSynAck) => self.tcp(&packet),
            (PROTOCOL_UDP, Form::Udp | Form::IpIp) => self.udp(&packet),
            _ => Err(Refusal::OtherProtocol),
        }
    }

    fn to_a_source(&self, packet: &Packet<'_>) -> Result<(), Refusal> {
        let ours = self.sources.addresses.contains(&packet.destination)
            || self.other_sources.contains(&packet.destination);
        if ours { Ok(()) } else { Err(Refusal::OtherAddress) }
    }

    fn to_a_source_port(&self, port: u16) -> Result<(), Refusal> {
        if self.sources.ports.contains(port) { Ok(()) } else { Err(Refusal::OtherPort) }
    }

    fn tcp<'a>(&self, packet: &Packet<'a>) -> Result<Answer<'a>, Refusal> {
        let segment = Segment::parse(packet).ok_or(Refusal::Truncated)?;
        self.to_a_source_port(segment.destination_port)?;
        let reset = segment.flags & TCP_RST != 0;
        let syn_ack = segment.flags & (TCP_SYN | TCP_ACK | TCP_FIN) == TCP_SYN | TCP_ACK;
        if !(reset || syn_ack) {
            return Err(Refusal::OtherFlags);
        }
        self.to_a_source(packet)?;
        let cookie = self.cookie(packet.destination, packet.source, segment.source_port);
        let ahead = segment.acknowledgement.wrapping_sub(cookie.sequence());
        let matches = match self.form {
            Form::TcpSyn => ahead == 1 || ahead == 0 && reset,
            _ => ahead == 1 || reset && segment.sequence.wrapping_sub(cookie.acknowledgement()) <= 1,
        };
        let probe = self.sources.ports.probe_number(cookie, segment.destination_port, self.copies);
        let probe = probe.filter(|_| matches).ok_or(Refusal::BadCookie)?;
        let ports = [segment.source_port, segment.destination_port];
        Ok(self.direct(packet, What::Tcp(segment), ports, probe))
    }

    fn udp<'a>(&self, packet: &Packet<'a>) -> Result<Answer<'a>, Refusal> {
        let datagram = Datagram::parse(packet).ok_or(Refusal::Truncated)?;
        self.to_a_source_port(datagram.destination_port)?;
        self.to_a_source(packet)?;
        let cookie = self.cookie(packet.destination, packet.source, datagram.source_port);
        let probe = self.sources.ports.probe_number(cookie, datagram.destination_port, self.copies);
        let probe = probe.filter(|_| self.echo.is_in(datagram.payload, cookie));
        let ports = [datagram.source_port, datagram.destination_port];
        Ok(self.direct(packet, What::Udp(datagram.payload), ports, probe.ok_or(Refusal::BadCookie)?))
    }

    fn icmp<'a>(&self, packet: &Packet<'a>) -> Result<Answer<'a>, Refusal> {
        let message = Message::parse(packet.payload).ok_or(Refusal::Truncated)?;
        match message.kind {
            ICMP_ECHO_REPLY if self.form == Form::IcmpEcho => {
                self.to_a_source(packet)?;
                let cookie = self.cookie(packet.destination, packet.source, 0);
                let probe = self.echo(cookie, message.id, message.sequence).ok_or(Refusal::BadCookie)?;
                Ok(self.direct(packet, What::Echo(message.body), [0; 2], probe))
            }
            ICMP_UNREACHABLE
            | ICMP_SOURCE_QUENCH
            | ICMP_REDIRECT
            | ICMP_TIME_EXCEEDED
            | ICMP_PARAMETER_PROBLEM => {
                self.to_a_source(packet)?;
                self.error(packet, &message).ok_or(Refusal::BadQuote)
            }
            _ => Err(Refusal::OtherIcmp),
        }
    }

    /// Which copy of the probe an echo with this identifier and sequence number is or answers.
    fn echo(&self, cookie: Cookie, id: u16, sequence: u16) -> Option<u8> {
        let probe = sequence.wrapping_sub(cookie.echo_sequence(0));
        (id == cookie.echo_id() && u32::from(probe) < self.copies).then_some(probe as u8)
    }

    fn error<'a>(&self, packet: &Packet<'a>, message: &Message<'a>) -> Option<Answer<'a>> {
        let quote = Quote::parse(message.body)?;
        if quote.source != packet.destination || quote.protocol != self.form.protocol() {
            return None;
        }
        let cookie = |port| self.cookie(quote.source, quote.destination, port);
        let (ports, probe) = match self.form {
            Form::TcpSyn | Form::TcpSynAck | Form::Udp => {
                let [ours, theirs] = [quote.source_port(), quote.destination_port()];
                let cookie = cookie(theirs);
                let probe = self.sources.ports.probe_number(cookie, ours, self.copies)?;
                if self.form != Form::Udp && quote.sequence() != cookie.sequence() {
                    return None;
                }
                ([ours, theirs], probe)
            }
            Form::IcmpEcho => {
                let echo = Message::parse(quote.payload)?;
                if echo.kind != ICMP_ECHO_REQUEST {
                    return None;
                }
                ([0; 2], self.echo(cookie(0), echo.id, echo.sequence)?)
            }
            Form::IpIp => {
                let inner_id = u16::from_be_bytes([quote.payload[4], quote.payload[5]]);
                ([0; 2], (inner_id == cookie(0).payload_bits()).then_some(0)?)
            }
        };
        Some(Answer {
            what: What::Error(message.kind),
            responder: packet.source,
            source: packet.destination,
            target: quote.destination,
            target_port: ports[1],
            // Eight bytes of IP in IP hold no port.
            tells_port: self.form != Form::IpIp,
            responder_port: 0,
            local_port: ports[0],
            probe,
            ip_offset: packet.ip_offset,
        })
    }

    /// The answer of the target itself. `ports`: its own, ours.
    fn direct<'a>(&self, packet: &Packet<'a>, what: What<'a>, ports: [u16; 2], probe: u8) -> Answer<'a> {
        Answer {
            what,
            responder: packet.source,
            source: packet.destination,
            target: packet.source,
            target_port: ports[0],
            // The answer to IP in IP is what the probe held, ports included; an echo has none.
            tells_port: self.port_in_cookie || matches!(self.form, Form::IpIp | Form::IcmpEcho),
            responder_port: ports[0],
            local_port: ports[1],
            probe,
            ip_offset: packet.ip_offset,
        }
    }
}
