//! A lab whose wire is a switch: the scanning side, a router, and hosts with several addresses each, all on
//! 10.77.0.0/16.

use std::time::{Duration, Instant};

use crate::{Lab, run};

/// The lab, and the namespaces of its hosts.
pub struct Lan {
    /// The hosts' namespaces.
    pub hosts: Vec<String>,
    /// The MAC addresses of the hosts' links.
    pub macs: Vec<String>,
    /// The lab that contains it.
    pub lab: Lab,
}

impl Lan {
    /// A switch with a host for each list of last bytes: 10.77.0.x.
    pub fn new(hosts: &[&[u8]]) -> Self {
        let lab = Lab::new(1);
        let mut lan = Self { hosts: vec![], macs: vec![], lab };
        let net = lan.lab.net.clone();
        let ip = |ns: &str, arguments: &str| run("ip", ["-n", ns].into_iter().chain(arguments.split(' ')));
        ip(&net, "link add br0 type bridge");
        ip(&net, "addr flush dev net0");
        ip(&net, "link set net0 master br0");
        ip(&net, "addr add 198.19.0.2/30 dev br0");
        ip(&net, "link set br0 up");
        ip(&lan.lab.scan, "addr add 10.77.0.1/16 dev scan0");
        for (i, addresses) in hosts.iter().enumerate() {
            let (host, mac) = (format!("{net}-{i}"), format!("02:77:00:00:00:{i:02x}"));
            lan.lab.add_namespace(&host);
            lan.hosts.push(host.clone());
            lan.macs.push(mac.clone());
            ip(&net, &format!("link add port{i} type veth peer name lan0 netns {host} address {mac}"));
            ip(&net, &format!("link set port{i} master br0"));
            ip(&net, &format!("link set port{i} up"));
            lan.lab.in_ns(&host, "sysctl", ["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            ip(&host, "link set lo up");
            for address in *addresses {
                ip(&host, &format!("addr add 10.77.0.{address}/16 dev lan0"));
            }
            ip(&host, "link set lan0 up");
            // A scan's source address may be the second address of its interface.
            ip(&host, "route add 198.19.0.0/30 dev lan0");
        }
        lan.wait_until_forwarding();
        lan
    }

    /// Waits until the switch forwards: it first learns for a moment, and links take time to come up.
    fn wait_until_forwarding(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_up = || {
            let links = run("ip", ["-n", &self.lab.net, "-d", "link", "show", "master", "br0"]);
            links.matches("state forwarding").count() == self.hosts.len() + 1
        };
        while !is_up() {
            assert!(Instant::now() < deadline, "the switch does not forward");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
