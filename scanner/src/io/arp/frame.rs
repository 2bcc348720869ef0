//! ARP for IPv4 over Ethernet (RFC 826): builds a request and reads an answer.

use std::net::Ipv4Addr;

use wire::packet::{ETHERNET_LEN, MacAddr};

/// Length of a request: the shortest Ethernet frame, without FCS.
pub(super) const LEN: usize = 60;
/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
/// Where the message ends.
const END: usize = ETHERNET_LEN + 28;

/// The request of `asker`, at `mac`, for the MAC address of `wanted`.
pub(super) fn request(mac: MacAddr, asker: Ipv4Addr, wanted: Ipv4Addr) -> [u8; LEN] {
    let mut frame = [0; LEN];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&ETHERTYPE);
    frame[14..20].copy_from_slice(&KIND);
    frame[20..22].copy_from_slice(&REQUEST);
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&asker.octets());
    frame[38..END].copy_from_slice(&wanted.octets());
    frame
}

/// The sender of an answer and its MAC address; `None` for anything but a reply from an individual station's address.
pub(super) fn answer(frame: &[u8]) -> Option<(Ipv4Addr, MacAddr)> {
    let frame: &[u8; END] = frame.first_chunk()?;
    if frame[12..14] != ETHERTYPE || frame[14..20] != KIND || frame[20..22] != REPLY {
        return None;
    }
    let mac = MacAddr(frame[22..28].try_into().ok()?);
    let is_group = mac.0[0] & 1 != 0;
    if is_group || mac == MacAddr::default() {
        return None;
    }
    let address: [u8; 4] = frame[28..32].try_into().ok()?;
    Some((address.into(), mac))
}

#[cfg(test)]
mod tests {
    use etherparse::{ArpOperation, PacketBuilder};
    use proptest::prelude::*;

    use super::*;

    /// A message about `sender`, as another implementation writes it.
    fn written(operation: ArpOperation, sender: ([u8; 6], [u8; 4]), to: ([u8; 6], [u8; 4])) -> Vec<u8> {
        let arp = etherparse::ArpPacket::new(
            etherparse::ArpHardwareId::ETHERNET,
            etherparse::EtherType::IPV4,
            operation,
            &sender.0,
            &sender.1,
            &to.0,
            &to.1,
        );
        let to_mac = if operation == ArpOperation::REQUEST { [0xff; 6] } else { to.0 };
        let mut frame = vec![];
        PacketBuilder::ethernet2(sender.0, to_mac).arp(arp.unwrap()).write(&mut frame).unwrap();
        frame.resize(LEN, 0);
        frame
    }

    #[test]
    fn requests_are_what_etherparse_writes() {
        let request = request(MacAddr([2; 6]), [10, 0, 0, 1].into(), [10, 0, 0, 9].into());
        let other = written(ArpOperation::REQUEST, ([2; 6], [10, 0, 0, 1]), ([0; 6], [10, 0, 0, 9]));
        assert_eq!(request[..], other[..]);
        assert_eq!(answer(&request), None);
    }

    #[test]
    fn answers_are_read_and_nothing_else() {
        let reply = |mac| written(ArpOperation::REPLY, (mac, [10, 0, 0, 9]), ([2; 6], [10, 0, 0, 1]));
        let frame = reply([4; 6]);
        assert_eq!(answer(&frame), Some(([10, 0, 0, 9].into(), MacAddr([4; 6]))));
        assert!((0..END).all(|len| answer(&frame[..len]).is_none()));
        assert_eq!(answer(&reply([0xff; 6])), None, "a group's address");
        assert_eq!(answer(&reply([0; 6])), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = answer(&bytes);
        }
    }
}
