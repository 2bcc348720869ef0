//! UPnP answers: the input is a whole answer, or the part after its status line.

use crate::support::{module, probe_frame, received, udp_answer};

const UPNP: u8 = 10;

pub fn run(bytes: &[u8]) {
    let (module, port) = module(UPNP);
    let probe = probe_frame(&module, port);
    for payload in [bytes.to_vec(), [b"HTTP/1.1 200 OK\r\n", bytes].concat()] {
        let seen = received(&module, &udp_answer(&probe, &payload)).expect("an answer");
        let success = seen.fields["success"] == true;
        assert_eq!(success, seen.fields["classification"] == "upnp");
        assert!(success || seen.fields["server"].is_null(), "headers only of a success");
        for name in ["server", "location", "usn", "st"] {
            if let Some(value) = seen.fields[name].as_str() {
                assert_eq!(value, value.trim_matches([' ', '\t']));
                assert!(!value.contains(['\r', '\n']));
            }
        }
    }
}
