//! Next hops of targets from an interface: gateways, or the targets themselves on the link.

use std::net::{IpAddr, Ipv4Addr};

use targets::AddressRange;

use super::routes::{Routes, Toward};
use super::{PlanError, TargetPlan};
use crate::engine::Hop;
use crate::nic::{self, Interface, NoWay};

/// The next hops of targets, according to the routes of an interface.
#[derive(Debug, Default)]
pub(super) struct NextHops {
    /// The gateways. The first is used for all targets outside `networks`, if any of these has a gateway.
    pub(super) gateways: Vec<IpAddr>,
    /// Networks that are not reached through the first gateway.
    pub(super) networks: Vec<(AddressRange, Hop)>,
    /// Which of these networks are on the link.
    pub(super) on_link: Vec<AddressRange>,
    /// The source address that the kernel prefers.
    pub(super) source: Option<Ipv4Addr>,
    pub(super) warnings: Vec<String>,
}

impl NextHops {
    /// The next hops of a scan whose next hop was given.
    pub(super) fn given(interface: &Interface, targets: &TargetPlan) -> Self {
        Self { source: preferred(interface, targets), ..Self::default() }
    }

    /// The next hops of packets from the first of `sources`, or from the address that the kernel would choose.
    ///
    /// # Errors
    /// There is no route to the targets.
    pub(super) fn find(
        interface: &Interface,
        targets: &TargetPlan,
        sources: Option<&[Ipv4Addr]>,
        is_dry: bool,
    ) -> Result<Self, PlanError> {
        // For addresses that this host does not have, the kernel knows no routes.
        let asked = sources.and_then(|sources| sources.iter().find(|source| is_own(interface, **source)));
        let mut routes = Routes::of(interface, targets, asked.copied())?;
        // A routing rule may match by source address only (`ip rule add from`), so try with one.
        if let (Some(_), None, Some(own)) = (routes.refusal(), sources, interface.addresses.first()) {
            routes = Routes::of(interface, targets, Some(own.address))?;
        }
        if is_dry && routes.refusal().is_some() {
            return Ok(Self { source: routes.preferred_source, ..Self::default() });
        }
        if let Some(why) = routes.refusal() {
            // Without an address there are few routes, and the missing address is the fault to report.
            if sources.is_none() {
                own_address(interface, routes.preferred_source)?;
            }
            let first = Ipv4Addr::from_bits(targets.space.addresses().address(0));
            let what = match why {
                NoWay::NoRoute => {
                    format!("there is no route through it to {first}; add one, or give --gateway-mac")
                }
                _ => format!(
                    "the targets, from {first} on, cannot be reached: {}; remove that route (`ip route get {first}` names \
                     it), or give --gateway-mac",
                    why.describe()
                ),
            };
            return Err(PlanError::Interface { interface: interface.name.clone(), what });
        }
        let mut gateways: Vec<IpAddr> = routes.main.iter().filter_map(|main| main.gateway).collect();
        let mut networks = Vec::new();
        for &(range, toward) in &routes.pieces {
            let hop = match toward {
                Toward::Neighbors => Hop::Neighbor,
                Toward::Nowhere(_) => Hop::Nowhere,
                Toward::Gateway(gateway) => {
                    let known = gateways.iter().position(|known| *known == gateway);
                    Hop::Gateway(known.unwrap_or_else(|| {
                        gateways.push(gateway);
                        gateways.len() - 1
                    }))
                }
            };
            // A dry run sends no ARP.
            if !(is_dry && hop == Hop::Neighbor) {
                networks.push((range, hop));
            }
        }
        let (on_link, source) = (routes.on_link(), routes.preferred_source);
        Ok(Self { gateways, networks, on_link, source, warnings: routes.warnings })
    }
}

/// The source address that the kernel prefers for the first target.
fn preferred(interface: &Interface, targets: &TargetPlan) -> Option<Ipv4Addr> {
    let first = targets.space.addresses().address(0).into();
    nic::route_to(first, interface.index, None).ok()?.ok()?.preferred_source
}

/// The address of `interface` that probes are sent from: the preferred one if the host has it, or else its first.
pub(super) fn own_address(interface: &Interface, preferred: Option<Ipv4Addr>) -> Result<Ipv4Addr, PlanError> {
    let first = interface.addresses.first().map(|address| address.address);
    preferred.filter(|address| is_own(interface, *address)).or(first).ok_or_else(|| PlanError::Interface {
        interface: interface.name.clone(),
        what: "it has no IPv4 address; give one with --source-ip".to_owned(),
    })
}

/// Whether the host answers ARP for `address` on this interface. It also answers for addresses of its other interfaces,
/// including `lo`.
pub(super) fn is_own(interface: &Interface, address: Ipv4Addr) -> bool {
    interface.has_address(address) || nic::is_local(address)
}
