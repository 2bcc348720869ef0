//! The neighbours among the targets, looked up by ARP before the first probe.

use std::sync::Arc;

use tracing::info;

use super::error::SurveyError;
use crate::engine::{Control, Gateways, Neighborhood};
use crate::io::arp::{ArpSocket, Sweep, SweepProgress};
use crate::nic::Interface;
use crate::plan::{NetworkPlan, OnLinkPlan, Plan};

/// The next hops of targets that are not all behind one gateway.
pub(super) struct Neighbors {
    pub(super) neighborhood: Neighborhood,
    /// Neighbours that answered.
    pub(super) answered: u64,
    /// ARP requests sent.
    pub(super) requests: u64,
}

/// An ARP look-up that is ready to start.
pub(super) struct Asker<'a> {
    interface: &'a Interface,
    network: &'a NetworkPlan,
    /// The addresses to look up, and the socket.
    on_link: Option<(&'a OnLinkPlan, ArpSocket)>,
}

/// The gateways of each interface, as found by the plan.
pub(super) fn gateways(plan: &Plan) -> Vec<Arc<Gateways>> {
    let of = |network: &NetworkPlan| {
        let others = network.other_gateways.iter().map(|(_, mac)| *mac);
        Arc::new(Gateways::new(std::iter::once(network.gateway_mac).chain(others)))
    };
    plan.networks().map(of).collect()
}

/// Prepares the look-up on each interface on which not all targets are behind one gateway.
pub(super) fn open(plan: &Plan) -> Result<Vec<Option<Asker<'_>>>, SurveyError> {
    fn asker(network: &NetworkPlan) -> Result<Option<Asker<'_>>, SurveyError> {
        let Some(interface) = network.interface.as_ref().filter(|_| !network.networks.is_empty()) else {
            return Ok(None);
        };
        let failed = |source| SurveyError::Arp { interface: interface.name.clone(), source };
        let on_link = match &network.on_link {
            Some(on_link) => Some((on_link, ArpSocket::open(interface.index).map_err(failed)?)),
            None => None,
        };
        Ok(Some(Asker { interface, network, on_link }))
    }
    plan.networks().map(asker).collect()
}

/// Looks up all of them, unless the scan is stopped.
pub(super) fn ask(
    askers: Vec<Option<Asker<'_>>>,
    gateways: &[Arc<Gateways>],
    control: &Control,
) -> Result<Vec<Option<Neighbors>>, SurveyError> {
    let ask = |(asker, gateways): (Option<Asker<'_>>, &Arc<Gateways>)| {
        asker.map(|asker| asker.ask(gateways, control)).transpose()
    };
    askers.into_iter().zip(gateways).map(ask).collect()
}

impl Asker<'_> {
    fn ask(self, gateways: &Arc<Gateways>, control: &Control) -> Result<Neighbors, SurveyError> {
        let Self { interface, network, on_link } = self;
        let networks = network.networks.clone();
        let Some((on_link, socket)) = on_link else {
            let neighborhood = Neighborhood::new(networks, [], Arc::clone(gateways));
            return Ok(Neighbors { neighborhood, answered: 0, requests: 0 });
        };
        let wanted = on_link.targets.len();
        info!(
            target: "network",
            "{} targets are on the network of {}: looking up {wanted} of them by ARP, {} per second; {} are its own \
             addresses or cannot be a host",
            wanted + on_link.nobody,
            interface.name,
            on_link.rate_pps,
            on_link.nobody,
        );
        let sweep = Sweep {
            wanted: &on_link.targets,
            askers: &on_link.askers,
            // Not the address of --source-mac: other hosts store the sender's MAC address as ours.
            mac: interface.mac.unwrap_or(network.source_mac),
            rate_pps: on_link.rate_pps,
        };
        let tell = |SweepProgress { round, requests, answered }: SweepProgress| {
            let time = if round == 1 { "" } else { ", repeating the others" };
            info!(
                target: "network",
                "{requests} ARP requests for {wanted} neighbours sent, {answered} have answered{time}"
            );
        };
        let found = sweep.run(&socket, || control.is_stopping(), tell);
        let found = found.map_err(|source| SurveyError::Arp { interface: interface.name.clone(), source })?;
        let answered = found.neighbors.len() as u64;
        info!(target: "network", "{answered} of {wanted} neighbours have answered");
        Ok(Neighbors {
            neighborhood: Neighborhood::new(networks, found.neighbors, Arc::clone(gateways)),
            answered,
            requests: found.requests,
        })
    }
}
