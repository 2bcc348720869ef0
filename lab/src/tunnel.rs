//! A tunnel: an interface without an Ethernet header.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::tools::tool;
use crate::{Lab, run};

/// Two ends of a WireGuard tunnel over the lab's wire; the far one answers for the lab's networks.
pub struct Tunnel {
    /// The lab that contains it.
    pub lab: Lab,
    /// Name of the scanning end's device.
    pub scan: String,
}

impl Tunnel {
    /// A tunnel to nginx on these addresses of the lab.
    pub fn new(servers: &[Ipv4Addr]) -> Self {
        let mut lab = Lab::new(1);
        // The control sockets of all tunnels are in one directory, whatever their namespaces.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let [scan, net] = ["s", "n"].map(|end| format!("xw{end}{number}"));
        let ends = [(lab.scan.clone(), scan.clone()), (lab.net.clone(), net)];
        let key = |name: &str| {
            let file = lab.folder().join(name);
            let private = run("wg", ["genkey"]);
            std::fs::write(&file, &private).unwrap();
            let public = run("sh", ["-c", &format!("wg pubkey < {}", file.display())]);
            (file, public.trim().to_owned())
        };
        let keys = [key("scan"), key("net")];
        for (ns, device) in &ends {
            lab.start(ns, "wireguard-go", ["-f", device]);
        }
        let peers = [
            ("203.0.113.1/32", "198.18.0.0/16", "198.19.0.2:51820"),
            ("203.0.113.2/32", "203.0.113.1/32", "198.19.0.1:51820"),
        ];
        for (i, (ns, device)) in ends.iter().enumerate() {
            let (address, allowed, endpoint) = peers[i];
            let (private, public) = (keys[i].0.display().to_string(), &keys[1 - i].1);
            let set = format!(
                "set {device} listen-port 51820 private-key {private} peer {public} allowed-ips {allowed} endpoint {endpoint}"
            );
            let deadline = Instant::now() + Duration::from_secs(20);
            while !tool("ip")
                .args(["netns", "exec", ns, "wg"])
                .args(set.split(' '))
                .output()
                .unwrap()
                .status
                .success()
            {
                assert!(Instant::now() < deadline, "{device} did not appear");
                std::thread::sleep(Duration::from_millis(50));
            }
            run("ip", ["-n", ns, "addr", "add", address, "dev", device]);
            run("ip", ["-n", ns, "link", "set", device, "up"]);
            run("ip", ["-n", ns, "route", "add", allowed, "dev", device]);
        }
        lab.start_nginx(servers);
        Self { lab, scan }
    }
}
