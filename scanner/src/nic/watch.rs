//! How an interface stands from one moment to the next: link, XDP programs, queues.
//!
//! The kernel's own notices (`RTNLGRP_LINK`) only say that there may be something new, and they come late: it sends no two
//! sets of them within a second unless it calls them urgent, which a lost carrier of a NIC is not (`net/core/link_watch.c`).
//! So the interface is asked as well, and often. Its count of lost carriers tells of those that came back in between.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage, LinkXdp};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::interface::{name_of, queues_in_use};

/// `RTMGRP_LINK`: the bit of the group `RTNLGRP_LINK`.
const GROUP_LINK: u32 = 1;

/// How an interface stands at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Its present name.
    pub name: String,
    /// Whether it is set up and its other end is there.
    pub is_linked: bool,
    /// How often its carrier has been lost since it was made.
    pub times_lost: u32,
    /// The kernel's numbers of the XDP programs on it.
    pub programs: Vec<u32>,
}

/// Looks at interfaces, again and again.
pub struct LinkWatch {
    questions: Socket,
    notices: Socket,
}

impl LinkWatch {
    /// A watch on the interfaces of the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel gives no netlink sockets.
    pub fn open() -> io::Result<Self> {
        let mut questions = Socket::new(NETLINK_ROUTE)?;
        questions.bind_auto()?;
        questions.connect(&SocketAddr::new(0, 0))?;
        let mut notices = Socket::new(NETLINK_ROUTE)?;
        notices.bind(&SocketAddr::new(0, GROUP_LINK))?;
        notices.set_non_blocking(true)?;
        Ok(Self { questions, notices })
    }

    /// Sleeps until something may have changed, but no longer than `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let Ok(timeout) = PollTimeout::try_from(timeout) else { return };
        let mut descriptors = [PollFd::new(self.notices.as_fd(), PollFlags::POLLIN)];
        // A signal only ends the sleep.
        let _ = poll(&mut descriptors, timeout);
        // What they say is asked for anyway; ENOBUFS means that some were lost, which does not matter.
        while self.notices.recv_from_full().is_ok() {}
    }

    /// How the interface with this number stands; `None` if there is none in this namespace any more.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn look(&mut self, index: u32) -> io::Result<Option<Sight>> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(question));
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.questions.send(&bytes, 0)?;
        let (datagram, _) = self.questions.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(Some(sight(&link))),
            NetlinkPayload::Error(error) => match error.to_io() {
                error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                error => Err(error),
            },
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no answer about the interface")),
        }
    }
}

/// RX queues in use of the interface of this name, if the kernel lists them.
pub fn rx_queues(name: &str) -> Option<u32> {
    queues_in_use(name)
}

fn sight(link: &LinkMessage) -> Sight {
    let mut sight = Sight {
        name: name_of(link).unwrap_or_default().to_owned(),
        is_linked: link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        ..Sight::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::CarrierDownCount(times) => sight.times_lost = *times,
            LinkAttribute::Xdp(xdp) => sight.programs.extend(xdp.iter().filter_map(|xdp| match xdp {
                LinkXdp::ProgId(id)
                | LinkXdp::DrvProgId(id)
                | LinkXdp::SkbProgId(id)
                | LinkXdp::HwProgId(id) => Some(*id),
                _ => None,
            })),
            _ => {}
        }
    }
    sight.programs.sort_unstable();
    sight.programs.dedup();
    sight
}
