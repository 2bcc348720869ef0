//! How soon a link is missed. What a scan makes of it is in `../lab/steady.rs`.

use std::time::{Duration, Instant};

use lab::{Lab, have_root};
use support::running::{Running, set_link};

/// A link that goes down is noticed within half a second, in copy mode, with live frames and over AF_PACKET.
#[test]
fn a_lost_link_is_noticed_at_once() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]);
    for mode in ["copy", "live", "packet"] {
        let options = format!("-p 80 -r 20000 -t 3 -c 0 --io-mode {mode} --max-link-down 1 198.18.0.0/16");
        let mut running = Running::start(&lab, &options);
        set_link(&lab.net, "net0", "down");
        let lost = Instant::now();
        running.wait_for("the link is down; sending is paused");
        let noticed = lost.elapsed();
        assert!(noticed < Duration::from_millis(500), "{mode}: noticed after {noticed:?}");
        assert_eq!(running.finish().metadata["end_reason"], "link-down", "{mode}");
        set_link(&lab.net, "net0", "up");
    }
}
