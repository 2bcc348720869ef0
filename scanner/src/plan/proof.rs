//! Whether what comes back can be told from what is not for the scan: by how many bits, and beside which sockets.

use std::net::Ipv4Addr;

use super::{PlanError, ProbePlan};
use crate::cli::{Args, IoMode};
use crate::cookie::PortRange;
use crate::nic;
use crate::probe::{Echo, Form};

const FLAG: &str = "--source-port";

/// One target in so many whose answer would stay with a socket of the host is too many.
const TARGETS_PER_LOSS: u32 = 100;

/// Warns of a weak proof, and of sockets of this host that have some of the source ports; refuses where these would get what
/// the scan is for.
pub(super) fn check(
    probe: &ProbePlan,
    sources: &[Ipv4Addr],
    args: &Args,
    warnings: &mut Vec<String>,
) -> Result<(), PlanError> {
    let (module, proof, ports) = (probe.module.info().name, probe.proof(), probe.source_ports);
    if proof.is_weak() {
        let from = match (ports.count, probe.copies) {
            (1, _) => "from one source port".to_owned(),
            (count, 1) => format!("from {count} source ports"),
            (count, copies) => format!("from {count} source ports, {copies} probes to each target,"),
        };
        warnings.push(format!(
            "{FLAG}: {from} an answer to {module} proves itself by {:.1} bits only: one in {} packets of a target passes for \
             one, asked for or not; more ports make it harder",
            proof.answer_bits,
            proof.one_in()
        ));
    }
    if args.scan.is_dry() || !takes_from_sockets(probe) {
        return Ok(());
    }
    let own: Vec<Ipv4Addr> = sources.iter().copied().filter(|source| nic::is_local(*source)).collect();
    let owned = nic::udp_owners(ports, &own);
    let Some(first) = owned.first() else { return Ok(()) };
    // A packet socket hears what the host's sockets hear.
    let both_hear = args.engine.io_mode == IoMode::Packet;
    if proof.is_weak() || !both_hear && is_too_many(owned.len(), ports) {
        let what = format!(
            "a socket of this host has UDP port {first}, and it cannot be told which answers are for whom; end its program \
             (`ss -lup` names it), or give other ports"
        );
        return Err(PlanError::usage(FLAG, what));
    }
    if !both_hear {
        warnings.push(format!(
            "{FLAG}: sockets of this host have {} of the {} ports ({first} is the first); what comes there stays with them, \
             answers to probes too",
            owned.len(),
            ports.count
        ));
    }
    Ok(())
}

/// Whether what comes to a scan's port may be for a socket instead, which the XDP program then leaves it to. TCP and echo
/// replies prove themselves by 30 bits and more, NTP answers by 64.
fn takes_from_sockets(probe: &ProbePlan) -> bool {
    matches!(probe.module.replies(), (Form::Udp, Echo::Nothing | Echo::DnsId) | (Form::IpIp, _))
}

fn is_too_many(owned: usize, ports: PortRange) -> bool {
    owned as u64 * u64::from(TARGETS_PER_LOSS) >= u64::from(ports.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_of_many_is_no_reason() {
        let ports = |count| PortRange { first: 1_000, count };
        assert!(is_too_many(1, ports(1)) && is_too_many(1, ports(100)) && is_too_many(300, ports(28_233)));
        assert!(!is_too_many(1, ports(101)) && !is_too_many(282, ports(28_233)));
    }
}
