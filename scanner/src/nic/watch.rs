//! Watches the changing state of an interface: link, XDP programs, queues.
//!
//! The kernel's notices (`RTNLGRP_LINK`) only say that something may have changed, and they come late. It sends at most
//! one set of them per second unless it considers them urgent, and a NIC's lost carrier is not urgent to it
//! (`net/core/link_watch.c`). So the interface is also queried, and often. Its count of lost carriers reveals those
//! that came back in between.
//!
//! Only the parts of an answer that say these things are parsed: the whole is many times as long.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, ErrorBuffer, ErrorMessage, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
    Parseable, parse_string, parse_u32,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage, LinkXdp,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::interface::{Side, queues_in_use};
use super::netlink::{malformed, request, socket};

/// `RTMGRP_LINK`: the bit of the group `RTNLGRP_LINK`.
const GROUP_LINK: u32 = 1;

/// The state of an interface at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its present name.
    pub name: String,
    /// Whether it is up and its other end is connected.
    pub is_linked: bool,
    /// How often it has lost its carrier since it was created.
    pub times_lost: u32,
    /// The kernel's ids of the XDP programs on it.
    pub programs: Vec<u32>,
}

/// Queries interfaces repeatedly.
pub struct LinkWatch {
    questions: Socket,
    notices: Socket,
    /// The sequence number of the last query, which its answer repeats.
    asked: u32,
    /// The last received datagram; its capacity bounds the length of an answer.
    datagram: Vec<u8>,
}

/// Longer than nearly every answer about one interface: the kernel's buffers for a dump of all have this length. A
/// shorter buffer truncates answers, which then cost a second query; a longer one only takes memory.
const ANSWER_LEN: usize = 32_768;

impl LinkWatch {
    /// A watch on the interfaces of the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel refuses netlink sockets.
    pub fn open() -> io::Result<Self> {
        let questions = socket()?;
        let mut notices = Socket::new(NETLINK_ROUTE)?;
        notices.bind(&SocketAddr::new(0, GROUP_LINK))?;
        notices.set_non_blocking(true)?;
        let datagram = Vec::with_capacity(ANSWER_LEN);
        Ok(Self { questions, notices, asked: 0, datagram })
    }

    /// Sleeps until something may have changed, but no longer than `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let Ok(timeout) = PollTimeout::try_from(timeout) else { return };
        let mut descriptors = [PollFd::new(self.notices.as_fd(), PollFlags::POLLIN)];
        // A signal only ends the sleep.
        if poll(&mut descriptors, timeout) == Ok(0) {
            return;
        }
        // A query reads the present state anyway. ENOBUFS means that notices were lost, which does not matter.
        while self.notices.recv_from_full().is_ok() {}
    }

    fn ask(&mut self, index: u32) -> io::Result<()> {
        self.asked = self.asked.wrapping_add(1);
        self.questions.send(&question(index, self.asked), 0).map(drop)
    }

    /// The state of the interface with this number; `None` if it is no longer in this namespace.
    ///
    /// # Errors
    /// The kernel could not be queried.
    pub fn look(&mut self, index: u32) -> io::Result<Option<LinkStatus>> {
        self.ask(index)?;
        loop {
            self.datagram.clear();
            let len = self.questions.recv(&mut self.datagram, libc::MSG_TRUNC)?;
            if len > self.datagram.len() {
                self.datagram.reserve(len);
                self.ask(index)?;
                continue;
            }
            let answer = NetlinkBuffer::new_checked(self.datagram.as_slice()).map_err(malformed)?;
            // The answer to an earlier query may still arrive, if receiving it failed or it was too long.
            if answer.sequence_number() == self.asked {
                return read(&answer);
            }
        }
    }
}

fn question(index: u32, number: u32) -> Vec<u8> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    request(RouteNetlinkMessage::GetLink(question), NLM_F_REQUEST, number)
}

/// The state in an answer; `None` if there is no such interface.
fn read(answer: &NetlinkBuffer<&[u8]>) -> io::Result<Option<LinkStatus>> {
    match answer.message_type() {
        libc::RTM_NEWLINK => status(answer.payload()).map(Some).map_err(malformed),
        NLMSG_ERROR => {
            let payload = answer.payload();
            let error = ErrorBuffer::new_checked(&payload).and_then(|error| ErrorMessage::parse(&error));
            match error.map_err(malformed)?.to_io() {
                error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                error => Err(error),
            }
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not about an interface")),
    }
}

/// RX queues in use of the interface with this name, if the kernel lists them.
pub fn rx_queues(name: &str) -> Option<u32> {
    queues_in_use(name, Side::Receive)
}

/// The state in an `RTM_NEWLINK` message, without its netlink header.
fn status(link: &[u8]) -> Result<LinkStatus, DecodeError> {
    let flags = LinkHeader::parse(link)?.flags;
    let mut status =
        LinkStatus { is_linked: flags.contains(LinkFlags::Up | LinkFlags::LowerUp), ..LinkStatus::default() };
    let attributes = link.get(size_of::<libc::ifinfomsg>()..).unwrap_or_default();
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFLA_IFNAME => status.name = parse_string(attribute.value())?,
            libc::IFLA_CARRIER_DOWN_COUNT => status.times_lost = parse_u32(attribute.value())?,
            libc::IFLA_XDP => status.programs = programs(attribute.value())?,
            _ => {}
        }
    }
    Ok(status)
}

/// The programs in an `IFLA_XDP` attribute. A single program is in it twice.
fn programs(xdp: &[u8]) -> Result<Vec<u32>, DecodeError> {
    let mut programs = Vec::new();
    for attribute in NlasIterator::new(xdp) {
        match LinkXdp::parse(&attribute?)? {
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
                programs.push(id);
            }
            _ => {}
        }
    }
    programs.sort_unstable();
    programs.dedup();
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::link::XdpAttached;
    use proptest::prelude::*;

    use super::*;

    /// The loopback interface, which every network namespace has as its first.
    const LOOPBACK: u32 = 1;

    /// Looks repeatedly, also after a look at an interface that does not exist, and after an answer that did not fit.
    #[test]
    fn looks_at_what_there_is() {
        let mut links = LinkWatch::open().unwrap();
        for capacity in [ANSWER_LEN, 64, ANSWER_LEN] {
            links.datagram = Vec::with_capacity(capacity);
            let status = links.look(LOOPBACK).unwrap().unwrap();
            assert_eq!((status.name.as_str(), status.programs.as_slice()), ("lo", [].as_slice()));
            assert_eq!(links.look(u32::MAX >> 1).unwrap(), None);
        }
    }

    /// The content that another implementation puts into a message is found in it.
    #[test]
    fn all_that_is_looked_for_is_found() {
        for (flags, is_linked) in [(LinkFlags::Up | LinkFlags::LowerUp, true), (LinkFlags::Up, false)] {
            let mut link = LinkMessage::default();
            link.header.flags = flags;
            link.attributes = vec![
                LinkAttribute::Mtu(1_500),
                LinkAttribute::Xdp(vec![
                    LinkXdp::Attached(XdpAttached::Multiple),
                    LinkXdp::ProgId(9),
                    LinkXdp::SkbProgId(9),
                    LinkXdp::DrvProgId(4),
                ]),
                LinkAttribute::CarrierDownCount(3),
                LinkAttribute::IfName("eth7".to_owned()),
            ];
            let mut bytes = vec![0; link.buffer_len()];
            link.emit(&mut bytes);
            let expected =
                LinkStatus { name: "eth7".to_owned(), is_linked, times_lost: 3, programs: vec![4, 9] };
            assert_eq!(status(&bytes).unwrap(), expected);
        }
    }

    /// The answer to an abandoned query does not count as the answer to the next one.
    #[test]
    fn a_late_answer_is_no_answer() {
        let mut links = LinkWatch::open().unwrap();
        links.questions.send(&question(LOOPBACK, 7_000), 0).unwrap();
        assert_eq!(links.look(u32::MAX >> 1).unwrap(), None);
    }

    proptest! {
        /// A malformed answer is an error at most.
        #[test]
        fn a_damaged_answer_does_no_harm(cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut links = LinkWatch::open().unwrap();
            links.look(LOOPBACK).unwrap();
            let mut answer = links.datagram;
            *at.get_mut(&mut answer) = byte;
            let _ = NetlinkBuffer::new_checked(answer.as_slice()).map(|answer| read(&answer));
            let link = &answer[16..];
            let _ = status(&link[..cut.index(link.len())]);
        }
    }
}
