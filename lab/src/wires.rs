//! A lab with two wires, for scans through several interfaces.

use crate::tools::{Error, try_run};
use crate::{Lab, run};

/// A lab with a second wire between its sides.
pub fn two_wires() -> Lab {
    let lab = Lab::new(2);
    let (scan, net) = (lab.scan.clone(), lab.net.clone());
    let ip = |ns: &str, arguments: &str| run("ip", ["-n", ns].into_iter().chain(arguments.split(' ')));
    ip(
        &scan,
        &format!(
            "link add scan1 numrxqueues 2 numtxqueues 2 type veth peer name net1 netns {net} numrxqueues 2 numtxqueues 2"
        ),
    );
    for (ns, device, last) in [(&scan, "scan1", 1), (&net, "net1", 2)] {
        ip(ns, &format!("addr add 198.19.4.{last}/30 dev {device}"));
        ip(ns, &format!("link set {device} up"));
    }
    ip(&scan, "route add default via 198.19.4.2 dev scan1 metric 100");
    lab.in_ns(&net, "ethtool", ["-K", "net1", "tx", "off"]);
    for ns in [&scan, &net] {
        // Packets that come in through another interface than an answer would leave through are not dropped.
        lab.in_ns(ns, "sysctl", ["-qw", "net.ipv4.conf.all.rp_filter=0"]);
        for device in
            ["scan0", "scan1", "net0", "net1"].iter().filter(|name| ns.ends_with(&name[..name.len() - 1]))
        {
            lab.in_ns(ns, "sysctl", ["-qw", &format!("net.ipv4.conf.{device}.rp_filter=0")]);
        }
    }
    lab
}

/// The MAC address of an interface.
#[track_caller]
pub fn mac(ns: &str, device: &str) -> String {
    try_mac(ns, device).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`mac`], for callers that report the error.
pub(crate) fn try_mac(ns: &str, device: &str) -> Result<String, Error> {
    let link = try_run("ip", ["-n", ns, "-br", "link", "show", "dev", device], "")?;
    let mac = link.split_whitespace().nth(2);
    mac.map(str::to_owned)
        .ok_or_else(|| Error::Failed("ip".to_owned(), format!("{device} has no MAC address")))
}

/// From now on, replies to the second interface's address come back over the first wire.
pub fn bend_replies(lab: &Lab, address: &str, device: &str, to: &str) {
    let to = mac(&lab.scan, to);
    run("ip", ["-n", &lab.net, "route", "add", &format!("{address}/32"), "dev", device]);
    run(
        "ip",
        ["-n", &lab.net, "neigh", "replace", address, "lladdr", &to, "nud", "permanent", "dev", device],
    );
}
