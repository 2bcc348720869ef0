//! What a lab itself has lost: frames that its wire and the kernel dropped before any program could see them. A test of
//! what a scan finds compares with that, since a busy machine may lose some.

use lab::Lab;

use crate::read;

/// Frames that the ends of the lab's wire, and the kernel's backlogs on the whole machine, have dropped so far.
pub fn dropped(lab: &Lab) -> u64 {
    let count = |ns: &str, file: &str| {
        let path = format!("/sys/class/net/{file}");
        lab.in_ns(ns, "cat", [path]).trim().parse::<u64>().unwrap()
    };
    let devices = count(&lab.net, "net0/statistics/tx_dropped")
        + count(&lab.net, "net0/statistics/rx_dropped")
        + count(&lab.scan, "scan0/statistics/rx_dropped");
    // Of each processor, what had no room in its backlog.
    let softnet = read("/proc/net/softnet_stat".as_ref());
    let backlogs = softnet.lines().filter_map(|line| u64::from_str_radix(line.split(' ').nth(1)?, 16).ok());
    devices + backlogs.sum::<u64>()
}
