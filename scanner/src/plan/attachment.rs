//! Which interface a scan uses, and which one its frames go through. Found before the targets are known.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use wire::packet::{LinkHeader, MacAddr, VlanTags};

use super::{PACKET_MAY_HELP, PlanError};
use crate::cli::{Args, IoMode};
use crate::io::bpf::holder;
use crate::nic::{self, Interface};

/// How long to wait for the XDP program of a scan that has just ended. Lower: a scan right after another one is
/// refused. Higher: a scan that must be refused, because another one runs, is refused later.
const PROGRAM_PATIENCE: Duration = Duration::from_millis(300);
/// How long to wait for a NIC's link after an XDP program is gone: some drivers reset the NIC then. Lower: a scan right
/// after another one is refused because it has no carrier. Higher: an unplugged cable is reported later.
const LINK_PATIENCE: Duration = Duration::from_secs(5);

/// Why XDP cannot be used on a tunnel.
const NO_HEADER: &str = "XDP needs an Ethernet header, and this interface has none";
/// Why XDP cannot be used on a bond. Its program runs on the members, and `xsk_rcv_check` refuses a packet that did not
/// arrive on the device that the socket is bound to. So replies are redirected, and neither the socket nor the host
/// gets them.
const BOND: &str = "it is a bond, and an XDP program there runs on its members, whose packets do not reach sockets of the bond";

/// What the command line says about one interface.
#[derive(Clone, Debug)]
pub(super) struct NetworkRequest<'a> {
    /// Its name; `None` for the interface of the default route.
    pub(super) interface: Option<&'a str>,
    /// Source addresses of the scan.
    pub(super) sources: Option<Vec<Ipv4Addr>>,
    /// Whether only those sources are used that are addresses of the interface.
    pub(super) own_sources: bool,
    pub(super) source_mac: Option<MacAddr>,
    pub(super) gateway_mac: Option<MacAddr>,
}

/// An interface that was found, and can be scanned through.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    /// The interface; `None` in a dry run that found none.
    pub(super) interface: Option<Interface>,
    /// If it is a VLAN, the interface below it, through which its frames go.
    pub(super) parent: Option<Interface>,
    /// VLAN tags of the frames.
    pub(super) tags: VlanTags,
    /// The first header of its frames.
    pub(super) link: LinkHeader,
    /// Why XDP cannot be used here, if so.
    pub(super) no_xdp: Option<&'static str>,
}

impl Attachment {
    /// The interface with this name, or the one of the default route.
    ///
    /// # Errors
    /// There is none, or the scan cannot use it.
    pub(super) fn find(args: &Args, name: Option<&str>) -> Result<Self, PlanError> {
        let (is_dry, mode) = (args.scan.is_dry(), args.engine.io_mode);
        let interface = match (name, is_dry) {
            (Some(name), _) => Some(settled(Interface::by_name(name)?)?),
            (None, false) => Some(settled(nic::default_interface()?)?),
            (None, true) => nic::default_interface().ok(),
        };
        let link = link(args, interface.as_ref())?;
        let bare = Self { interface: None, parent: None, tags: VlanTags::default(), link, no_xdp: None };
        let Some(interface) = interface else { return Ok(bare) };
        // To a packet socket a VLAN is an interface like any other.
        let (parent, tags) = match mode {
            IoMode::Packet => (None, VlanTags::default()),
            _ => below(&interface)?,
        };
        let is_over_bond = parent.as_ref().unwrap_or(&interface).is_bond();
        let found = match (mode, is_over_bond) {
            (IoMode::Auto, true) => Self { no_xdp: Some(BOND), ..bare },
            _ => Self { parent, tags, no_xdp: (link == LinkHeader::Bare).then_some(NO_HEADER), ..bare },
        };
        if !is_dry {
            usable(&interface, mode)?;
            found.parent.as_ref().map_or(Ok(()), |parent| usable(parent, mode))?;
        }
        Ok(Self { interface: Some(interface), ..found })
    }

    /// The interface that its frames go through.
    pub(super) fn device(&self) -> Option<&Interface> {
        self.parent.as_ref().or(self.interface.as_ref())
    }

    /// Its name; empty if there is none.
    pub(super) fn name(&self) -> &str {
        self.interface.as_ref().map_or("", |interface| &interface.name)
    }
}

/// The interface below a VLAN, or below two, and the VLAN tags.
pub(super) fn below(interface: &Interface) -> Result<(Option<Interface>, VlanTags), PlanError> {
    let Some(vlan) = interface.vlan else { return Ok((None, VlanTags::default())) };
    let parent = settled(Interface::by_index(vlan.parent)?)?;
    let (deeper, outer) = below(&parent)?;
    let tags = outer.with(vlan.ethertype, vlan.id).ok_or_else(|| PlanError::Interface {
        interface: interface.name.clone(),
        what: "it is a VLAN in a VLAN in a VLAN, and frames can have two tags; scan through the one below it"
            .to_owned(),
    })?;
    Ok((Some(deeper.unwrap_or(parent)), tags))
}

/// The interface after a scan that has just ended there: the kernel removes its XDP program a moment later, and then
/// the link may be down for a while.
pub(super) fn settled(interface: Interface) -> Result<Interface, PlanError> {
    let start = Instant::now();
    let mut now = interface;
    while now.xdp.is_some() && start.elapsed() < PROGRAM_PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        now = Interface::by_name(&now.name)?;
    }
    if now.is_up && !now.has_carrier && now.is_hardware() {
        nic::wait_for_carrier(now.index, LINK_PATIENCE)?;
        now = Interface::by_name(&now.name)?;
    }
    Ok(now)
}

/// The first header of a scan's frames.
fn link(args: &Args, interface: Option<&Interface>) -> Result<LinkHeader, PlanError> {
    let Some(interface) = interface.filter(|_| !args.scan.is_dry()) else {
        let found = interface.and_then(|interface| interface.link).unwrap_or_default();
        return Ok(if args.network.iplayer { LinkHeader::Bare } else { found });
    };
    let refuse = |what: &str| {
        let interface = interface.name.clone();
        Err(PlanError::Interface { interface, what: what.to_owned() })
    };
    match interface.link {
        None => refuse("its frames have a header that is not Ethernet's, and probes cannot be sent with one"),
        Some(LinkHeader::Ethernet) if args.network.iplayer => {
            refuse("its frames have an Ethernet header, which --iplayer would leave out; leave the flag out")
        }
        Some(LinkHeader::Bare) if !matches!(args.engine.io_mode, IoMode::Auto | IoMode::Packet) => refuse(
            "its packets have no Ethernet header (a tunnel), and XDP needs one; use --io-mode packet, or auto",
        ),
        Some(link) => Ok(link),
    }
}

pub(super) fn usable(interface: &Interface, mode: IoMode) -> Result<(), PlanError> {
    let refuse = |what: String| Err(PlanError::Interface { interface: interface.name.clone(), what });
    if interface.is_loopback {
        return refuse(
            "it leads back to this host, whose kernel drops packets there that come from one of its own addresses; \
             name another interface with -i, with this host's services in a network namespace behind it if need be"
                .to_owned(),
        );
    }
    if !interface.is_up {
        return refuse(format!("the interface is down; `ip link set dev {} up` starts it", interface.name));
    }
    if !interface.has_carrier {
        return refuse("it has no carrier; plug the cable in, or bring the other end up".to_owned());
    }
    if interface.is_bond() && !matches!(mode, IoMode::Auto | IoMode::Packet) {
        return refuse(format!("{BOND}; use --io-mode packet, or scan through one of its members"));
    }
    // AF_PACKET works next to another XDP program.
    let takes_xdp =
        mode != IoMode::Packet && interface.link != Some(LinkHeader::Bare) && !interface.is_bond();
    if let Some(program) = interface.xdp.as_ref().filter(|_| takes_xdp) {
        return refuse(holder::describe(Some(program), &interface.name) + PACKET_MAY_HELP);
    }
    Ok(())
}
