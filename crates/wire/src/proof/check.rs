//! Decides whether a packet answers a probe of ours, by the same tests as the XDP program's, with the same verdicts.
//!
//! Owns the forms of probes and the place of the cookie in each (`xdp-prog/abi.h` states it for both sides). A probe
//! module fills its frames from [`Check::cookie`] and gets answers from [`Check::answer`]; the module decides what they
//! mean.

use super::cookie::cookie;
use super::{Cookie, Copies, Key, QuadCookies, SourcePool};
use crate::packet::view::{Datagram, IcmpMessage, Packet, Quote, TcpSegment, Unfit};
use crate::packet::{
    ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_PARAMETER_PROBLEM, ICMP_REDIRECT, ICMP_SOURCE_QUENCH,
    ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, LinkHeader, PROTOCOL_ICMP, PROTOCOL_IPIP, PROTOCOL_TCP,
    PROTOCOL_UDP, RxFrame, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN,
};

/// The form of a probe, which determines its answers (`enum xdpmap_form`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProbeForm {
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

impl ProbeForm {
    /// All of them, by number.
    pub const ALL: [Self; 5] = [Self::TcpSyn, Self::TcpSynAck, Self::IcmpEcho, Self::Udp, Self::IpIp];

    /// IP protocol number of the probe.
    #[inline]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::TcpSyn | Self::TcpSynAck => PROTOCOL_TCP,
            Self::IcmpEcho => PROTOCOL_ICMP,
            Self::Udp => PROTOCOL_UDP,
            Self::IpIp => PROTOCOL_IPIP,
        }
    }
}

/// The part of its probe's cookie that a UDP answer repeats in its payload (`enum xdpmap_echo`).
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
    #[inline]
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
pub const NTP_ORIGIN: usize = 24;

/// Distinguishes a scan's answers from other packets.
#[derive(Clone, Debug)]
pub struct Check {
    /// The scan's secret.
    pub key: Key,
    /// The form of its probes.
    pub form: ProbeForm,
    /// The header before the IP header of a frame.
    pub link: LinkHeader,
    /// The source addresses and ports of its probes.
    pub sources: SourcePool,
    /// The source addresses of the scan's probes through other interfaces.
    pub other_sources: Vec<u32>,
    /// The numbers of each probe's copies. Answers to all of them are accepted.
    pub copies: Copies,
    /// The part of the cookie that UDP answers repeat.
    pub echo: Echo,
    /// Whether the cookie holds the target's port, so that a packet from another port is not an answer.
    pub port_in_cookie: bool,
}

/// A packet that answers a probe. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The kind of packet, with its content.
    pub what: AnswerBody<'a>,
    /// The sender of the packet.
    pub responder: u32,
    /// Our address.
    pub source: u32,
    /// The target that was probed.
    pub target: u32,
    /// Port that was probed; 0 where there is none.
    pub target_port: u16,
    /// Whether the answer proves that port: without it in the cookie, a server may answer from another one.
    pub tells_port: bool,
    /// Port that the answer came from; 0 where there is none.
    pub responder_port: u16,
    /// Our port; 0 where there is none.
    pub local_port: u16,
    /// Which copy of the probe is answered, from 0; [`Copies::kind`] tells why that was sent.
    pub probe: u8,
    /// Offset of the IP header in the frame.
    pub ip_offset: usize,
}

/// The kind of packet that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody<'a> {
    /// A TCP segment.
    Tcp(TcpSegment),
    /// A UDP datagram, with its payload as far as it was captured.
    Udp(&'a [u8]),
    /// An ICMP echo reply, with its payload as far as it was captured.
    Echo(&'a [u8]),
    /// An ICMP error of this type that quotes the probe.
    Error(u8),
}

/// Why a packet is not an answer: the first test that it fails. The tests and their order are the XDP program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Another EtherType or IP version.
    NotIpv4,
    /// The frame ends inside a header, or a length is impossible.
    Truncated,
    /// A later fragment, in a scan of TCP any.
    Fragment,
    /// Neither ICMP nor the protocol of answers.
    OtherProtocol,
    /// The destination port is not one of the scan's source ports.
    OtherPort,
    /// TCP that is neither SYN-ACK nor RST.
    OtherFlags,
    /// ICMP that is neither an error nor, in an echo scan, an echo reply.
    OtherIcmp,
    /// The destination is not one of the scan's source addresses.
    OtherAddress,
    /// A packet that could be an answer, with a wrong cookie.
    BadCookie,
    /// An ICMP error that does not quote a probe of ours, or too little of it.
    BadQuote,
}

impl From<Unfit> for Reject {
    #[inline]
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

    /// Computes the cookies of four probes at once, the same as [`Self::cookie`] for each.
    #[inline(always)]
    pub fn quads(self) -> QuadCookies {
        QuadCookies::new(self.key, self.protocol, self.port_mask)
    }
}

impl Answer<'_> {
    /// Whether it is an ICMP error.
    #[inline]
    pub fn is_error(&self) -> bool {
        matches!(self.what, AnswerBody::Error(_))
    }
}

impl Check {
    /// The cookie of the probe from `source` to `target:port`.
    #[inline(always)]
    pub fn cookie(&self, source: u32, target: u32, port: u16) -> Cookie {
        self.cookies().cookie(source, target, port)
    }

    /// The computation of cookies with only the values that it needs: a loop that keeps them in registers can be
    /// vectorised.
    #[inline(always)]
    pub fn cookies(&self) -> Cookies {
        let port_mask = if self.port_in_cookie { u16::MAX } else { 0 };
        Cookies { key: self.key, port_mask, protocol: self.form.protocol() }
    }

    /// The answer in a received frame; `None` if its cookie is wrong or it is not an answer at all.
    #[inline]
    pub fn answer<'a>(&self, frame: RxFrame<'a>) -> Option<Answer<'a>> {
        self.verdict(frame).ok()
    }

    /// The answer in a received frame.
    ///
    /// # Errors
    /// Why it is not an answer.
    #[inline]
    pub fn verdict<'a>(&self, frame: RxFrame<'a>) -> Result<Answer<'a>, Reject> {
        let packet = Packet::parse(frame.captured, frame.frame_len, self.link)?;
        // No TCP answer is long enough to be fragmented.
        if packet.is_fragment && matches!(self.form, ProbeForm::TcpSyn | ProbeForm::TcpSynAck) {
            return Err(Reject::Fragment);
        }
        match (packet.protocol, self.form) {
            (PROTOCOL_ICMP, _) => self.icmp(&packet),
            (PROTOCOL_TCP, ProbeForm::TcpSyn | ProbeForm::TcpSynAck) => self.tcp(&packet),
            (PROTOCOL_UDP, ProbeForm::Udp | ProbeForm::IpIp) => self.udp(&packet),
            _ => Err(Reject::OtherProtocol),
        }
    }

    #[inline]
    fn to_a_source(&self, packet: &Packet<'_>) -> Result<(), Reject> {
        let ours = self.sources.addresses.contains(&packet.destination)
            || self.other_sources.contains(&packet.destination);
        if ours { Ok(()) } else { Err(Reject::OtherAddress) }
    }

    #[inline]
    fn to_a_source_port(&self, port: u16) -> Result<(), Reject> {
        if self.sources.ports.contains(port) { Ok(()) } else { Err(Reject::OtherPort) }
    }

    #[inline]
    fn tcp<'a>(&self, packet: &Packet<'a>) -> Result<Answer<'a>, Reject> {
        let segment = TcpSegment::parse(packet).ok_or(Reject::Truncated)?;
        self.to_a_source_port(segment.destination_port)?;
        let reset = segment.flags & TCP_RST != 0;
        let syn_ack = segment.flags & (TCP_SYN | TCP_ACK | TCP_FIN) == TCP_SYN | TCP_ACK;
        if !(reset || syn_ack) {
            return Err(Reject::OtherFlags);
        }
        self.to_a_source(packet)?;
        let cookie = self.cookie(packet.destination, packet.source, segment.source_port);
        let ahead = segment.acknowledgement.wrapping_sub(cookie.sequence());
        let matches = match self.form {
            ProbeForm::TcpSyn => ahead == 1 || ahead == 0 && reset,
            _ => ahead == 1 || reset && segment.sequence.wrapping_sub(cookie.acknowledgement()) <= 1,
        };
        let probe = self.sources.ports.probe_number(cookie, segment.destination_port, self.copies.all());
        let probe = probe.filter(|_| matches).ok_or(Reject::BadCookie)?;
        let ports = [segment.source_port, segment.destination_port];
        Ok(self.direct(packet, AnswerBody::Tcp(segment), ports, probe))
    }

    #[inline]
    fn udp<'a>(&self, packet: &Packet<'a>) -> Result<Answer<'a>, Reject> {
        let datagram = Datagram::parse(packet).ok_or(Reject::Truncated)?;
        self.to_a_source_port(datagram.destination_port)?;
        self.to_a_source(packet)?;
        let cookie = self.cookie(packet.destination, packet.source, datagram.source_port);
        let probe = self.sources.ports.probe_number(cookie, datagram.destination_port, self.copies.all());
        let probe = probe.filter(|_| self.echo.is_in(datagram.payload, cookie));
        let ports = [datagram.source_port, datagram.destination_port];
        Ok(self.direct(packet, AnswerBody::Udp(datagram.payload), ports, probe.ok_or(Reject::BadCookie)?))
    }

    fn icmp<'a>(&self, packet: &Packet<'a>) -> Result<Answer<'a>, Reject> {
        let message = IcmpMessage::parse(packet.payload).ok_or(Reject::Truncated)?;
        match message.kind {
            ICMP_ECHO_REPLY if self.form == ProbeForm::IcmpEcho => {
                self.to_a_source(packet)?;
                let cookie = self.cookie(packet.destination, packet.source, 0);
                let probe = self.echo(cookie, message.id, message.sequence).ok_or(Reject::BadCookie)?;
                Ok(self.direct(packet, AnswerBody::Echo(message.body), [0; 2], probe))
            }
            ICMP_UNREACHABLE
            | ICMP_SOURCE_QUENCH
            | ICMP_REDIRECT
            | ICMP_TIME_EXCEEDED
            | ICMP_PARAMETER_PROBLEM => {
                self.to_a_source(packet)?;
                self.error(packet, &message).ok_or(Reject::BadQuote)
            }
            _ => Err(Reject::OtherIcmp),
        }
    }

    /// Which copy of the probe an echo with this identifier and sequence number is or answers.
    fn echo(&self, cookie: Cookie, id: u16, sequence: u16) -> Option<u8> {
        let probe = sequence.wrapping_sub(cookie.echo_sequence(0));
        (id == cookie.echo_id() && u32::from(probe) < self.copies.all()).then_some(probe as u8)
    }

    fn error<'a>(&self, packet: &Packet<'a>, message: &IcmpMessage<'a>) -> Option<Answer<'a>> {
        let quote = Quote::parse(message.body)?;
        if quote.source != packet.destination || quote.protocol != self.form.protocol() {
            return None;
        }
        let cookie = |port| self.cookie(quote.source, quote.destination, port);
        let (ports, probe) = match self.form {
            ProbeForm::TcpSyn | ProbeForm::TcpSynAck | ProbeForm::Udp => {
                let [ours, theirs] = [quote.source_port(), quote.destination_port()];
                let cookie = cookie(theirs);
                let probe = self.sources.ports.probe_number(cookie, ours, self.copies.all())?;
                if self.form != ProbeForm::Udp && quote.sequence() != cookie.sequence() {
                    return None;
                }
                ([ours, theirs], probe)
            }
            ProbeForm::IcmpEcho => {
                let echo = IcmpMessage::parse(quote.payload)?;
                if echo.kind != ICMP_ECHO_REQUEST {
                    return None;
                }
                ([0; 2], self.echo(cookie(0), echo.id, echo.sequence)?)
            }
            ProbeForm::IpIp => {
                let inner_id = u16::from_be_bytes([quote.payload[4], quote.payload[5]]);
                ([0; 2], (inner_id == cookie(0).payload_bits()).then_some(0)?)
            }
        };
        Some(Answer {
            what: AnswerBody::Error(message.kind),
            responder: packet.source,
            source: packet.destination,
            target: quote.destination,
            target_port: ports[1],
            // Eight bytes of IP in IP hold no port.
            tells_port: self.form != ProbeForm::IpIp,
            responder_port: 0,
            local_port: ports[0],
            probe,
            ip_offset: packet.ip_offset,
        })
    }

    /// An answer from the target itself. `ports`: its port and ours.
    #[inline]
    fn direct<'a>(
        &self,
        packet: &Packet<'a>,
        what: AnswerBody<'a>,
        ports: [u16; 2],
        probe: u8,
    ) -> Answer<'a> {
        Answer {
            what,
            responder: packet.source,
            source: packet.destination,
            target: packet.source,
            target_port: ports[0],
            // The answer to IP in IP is the datagram in the probe, ports included; an echo has no ports.
            tells_port: self.port_in_cookie || matches!(self.form, ProbeForm::IpIp | ProbeForm::IcmpEcho),
            responder_port: ports[0],
            local_port: ports[1],
            probe,
            ip_offset: packet.ip_offset,
        }
    }
}
