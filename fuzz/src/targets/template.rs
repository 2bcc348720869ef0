//! Templates of UDP payloads: an accepted template is sent, and is at most as long as stated.

use crate::support::{answer, probe_frame, received};
use wire::packet::{ETHERNET_LEN, IPV4_LEN, UDP_LEN};
use xdpmap::probe::Module;
use xdpmap::probe::udp::Payload;
use xdpmap::probe::udp::datagram::PAYLOAD_LEN_MAX;
use xdpmap::probe::udp::template::PayloadTemplate;

pub fn run(bytes: &[u8]) {
    let template = match PayloadTemplate::parse(bytes, PAYLOAD_LEN_MAX) {
        Ok(template) => template,
        Err(error) => return assert_eq!(error.to_string().lines().count(), 1),
    };
    let len_max = template.len_max();
    assert!(len_max <= PAYLOAD_LEN_MAX);
    let module = Module::Udp(Payload::Template(template));
    let frame = probe_frame(&module, 53);
    let headers_len = ETHERNET_LEN + IPV4_LEN + UDP_LEN;
    assert!((headers_len..=headers_len + len_max).contains(&frame.len()));
    if !bytes.windows(2).any(|two| two == b"${") {
        assert_eq!(&frame[headers_len..], bytes, "no field, so all of it is meant");
    }
    received(&module, &answer(&frame)).expect("an answer");
}
