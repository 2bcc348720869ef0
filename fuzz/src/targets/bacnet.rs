//! BACnet/IP messages: the input unchanged, and with each of its bytes as the invoke id.

use crate::support::{module, probe_frame, received, udp_answer};

const BACNET: u8 = 11;
/// Offset of the invoke id in a probe's frame.
const INVOKE_ID: usize = 42 + 8;

pub fn run(bytes: &[u8]) {
    let (module, port) = module(BACNET);
    let probe = probe_frame(&module, port);
    let mut message = bytes.to_vec();
    for at in 0..=bytes.len().min(40) {
        let seen = received(&module, &udp_answer(&probe, &message)).expect("an answer");
        let success = seen.fields["success"] == true;
        assert_eq!(success, seen.fields["classification"] == "bacnet");
        assert!(!success || message[0] == 0x81);
        message = bytes.to_vec();
        if let Some(byte) = message.get_mut(at) {
            *byte = probe[INVOKE_ID];
        }
    }
}
