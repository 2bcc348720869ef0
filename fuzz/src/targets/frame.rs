//! Received frames that have nothing to do with the scan, given to each module and each parser of headers.

use crate::support::{MODULES, TARGET, module, received};
use wire::packet::view::{Datagram, IcmpMessage, Packet, Quote, TcpSegment};
use wire::packet::{LinkHeader, TcpOptions};

pub fn run(bytes: &[u8]) {
    for link in [LinkHeader::Ethernet, LinkHeader::Bare] {
        let Ok(packet) = Packet::parse(bytes, bytes.len() as u32, link) else { continue };
        assert!(packet.ip_offset + packet.payload.len() <= bytes.len());
        assert!(packet.payload.len() <= packet.payload_len);
        let _ = (TcpSegment::parse(&packet), Datagram::parse(&packet));
        let _ = IcmpMessage::parse(packet.payload).map(|message| Quote::parse(message.body));
        TcpOptions::parse(packet.payload);
    }
    TcpOptions::parse(bytes);
    for number in 0..MODULES.len() as u8 {
        let (module, _) = module(number);
        if let Some(seen) = received(&module, bytes)
            && seen.reply.kind.classification() == "synack"
        {
            assert_eq!(seen.reply.target, TARGET, "32 bits are not guessed");
        }
    }
}
