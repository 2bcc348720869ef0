//! Asking who is on the own link, before the first probe.

use std::io::ErrorKind;

use tracing::info;

use super::SurveyError;
use crate::engine::Control;
use crate::io::arp::{Progress, Socket, Sweep};
use crate::nic::{Interface, Neighborhood};
use crate::plan::{NetworkPlan, OnLinkPlan, Plan};

/// What to do about a failure, as the end of the sentence.
pub(super) fn remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => {
            ": run as root, or with the capability CAP_NET_RAW, or name the next hop of all probes with --gateway-mac"
        }
        _ => "",
    }
}

/// Who is on the own link.
pub(super) struct Neighbors {
    pub(super) neighborhood: Neighborhood,
    /// Neighbours that answered.
    pub(super) answered: u64,
    /// ARP requests sent.
    pub(super) requests: u64,
}

/// What is ready to ask.
pub(super) struct Asker<'a> {
    interface: &'a Interface,
    network: &'a NetworkPlan,
    on_link: &'a OnLinkPlan,
    socket: Socket,
}

/// Gets ready to ask on each interface, where the plan has neighbours among its targets.
pub(super) fn open(plan: &Plan) -> Result<Vec<Option<Asker<'_>>>, SurveyError> {
    fn asker(network: &NetworkPlan) -> Result<Option<Asker<'_>>, SurveyError> {
        let NetworkPlan { interface: Some(interface), on_link: Some(on_link), .. } = network else {
            return Ok(None);
        };
        let failed = |source| SurveyError::Arp { interface: interface.name.clone(), source };
        let socket = Socket::open(interface.index).map_err(failed)?;
        Ok(Some(Asker { interface, network, on_link, socket }))
    }
    plan.networks().map(asker).collect()
}

/// Asks for all of them; not to the end if the scan is stopped.
pub(super) fn ask(
    askers: Vec<Option<Asker<'_>>>,
    control: &Control,
) -> Result<Vec<Option<Neighbors>>, SurveyError> {
    askers.into_iter().map(|asker| asker.map(|asker| asker.ask(control)).transpose()).collect()
}

impl Asker<'_> {
    fn ask(self, control: &Control) -> Result<Neighbors, SurveyError> {
        let Self { interface, network, on_link, socket } = self;
        let wanted = on_link.targets.len();
        info!(
            target: "network",
            "{} targets are on the network of {}: asking for {wanted} of them by ARP, {} a second; {} are its own or \
             nobody's",
            wanted + on_link.nobody,
            interface.name,
            on_link.rate_pps,
            on_link.nobody,
        );
        let sweep = Sweep {
            wanted: &on_link.targets,
            askers: &on_link.askers,
            // Not that of --source-mac: what is asked from is what others believe to be ours.
            mac: interface.mac.unwrap_or(network.source_mac),
            rate_pps: on_link.rate_pps,
        };
        let tell = |Progress { round, requests, answered }: Progress| {
            let time = if round == 1 { "" } else { ", asking again who was silent" };
            info!(target: "network", "{requests} ARP requests for {wanted} neighbours sent, {answered} have answered{time}");
        };
        let found = sweep.run(&socket, || control.is_stopping(), tell);
        let found = found.map_err(|source| SurveyError::Arp { interface: interface.name.clone(), source })?;
        let answered = found.neighbors.len() as u64;
        info!(target: "network", "{answered} of {wanted} neighbours have answered");
        let networks = on_link.networks.clone();
        Ok(Neighbors {
            neighborhood: Neighborhood::new(networks, found.neighbors, network.gateway_mac),
            answered,
            requests: found.requests,
        })
    }
}
