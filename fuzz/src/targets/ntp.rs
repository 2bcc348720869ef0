//! NTP answers: the input is a whole answer, or one in which the probe's timestamp is put where an answer repeats it.

use crate::support::{module, probe_frame, received, udp_answer};

const NTP: u8 = 9;
/// The transmit timestamp of a request, at its end; the originate timestamp of an answer.
const TRANSMIT: usize = 42 + 40;
const ORIGINATE: usize = 24;

pub fn run(bytes: &[u8]) {
    let (module, port) = module(NTP);
    let probe = probe_frame(&module, port);
    let repeats = bytes.get(ORIGINATE..ORIGINATE + 8) == Some(&probe[TRANSMIT..]);
    assert_eq!(received(&module, &udp_answer(&probe, bytes)).is_some(), repeats);
    let mut answer = bytes.to_vec();
    let Some(room) = answer.get_mut(ORIGINATE..ORIGINATE + 8) else { return };
    room.copy_from_slice(&probe[TRANSMIT..]);
    let seen = received(&module, &udp_answer(&probe, &answer)).expect("an answer");
    let server = answer.len() >= 48 && answer[0] & 7 == 4;
    assert_eq!(seen.fields["classification"] == "ntp", server);
    assert_eq!(seen.fields["stratum"].is_null(), answer.len() < 48);
}
