//! Received frames that have nothing to do with the scan, as each module and each reader of headers takes them.

use crate::support::{MODULES, TARGET, module, received};
use xdpmap::packet::view::{Datagram, Message, Packet, Quote, Segment};
use xdpmap::packet::{Link, TcpOptions};

pub fn run(bytes: &[u8]) {
    for link in [Link::Ethernet, Link::Bare] {
        let Ok(packet) = Packet::parse(bytes, bytes.len() as u32, link) else { continue };
        assert!(packet.ip_offset + packet.payload.len() <= bytes.len());
        assert!(packet.payload.len() <= packet.payload_len);
        let _ = (Segment::parse(&packet), Datagram::parse(&packet));
        let _ = Message::parse(packet.payload).map(|message| Quote::parse(message.body));
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
