//! How an interface stands from one moment to the next: link, XDP programs, queues.
//!
//! The kernel's own notices (`RTNLGRP_LINK`) only say that there may be something new, and they come late: it sends no two
//! sets of them within a second unless it calls them urgent, which a lost carrier of a NIC is not (`net/core/link_watch.c`).
//! So the interface is asked as well, and often. Its count of lost carriers tells of those that came back in between.
//!
//! Of an answer only what tells of these is taken apart: it is many times as long.

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
    /// The number of the last question, which its answer has as well.
    asked: u32,
    /// What was received last; its capacity is what an answer may take.
    datagram: Vec<u8>,
}

/// Bytes that an answer about one interface hardly ever takes: the kernel's own buffers for a dump of all have as many.
const ANSWER_LEN: usize = 32_768;

impl LinkWatch {
    /// A watch on the interfaces of the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel gives no netlink sockets.
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
        // What they say is asked for anyway; ENOBUFS means that some were lost, which does not matter.
        while self.notices.recv_from_full().is_ok() {}
    }

    fn ask(&mut self, index: u32) -> io::Result<()> {
        self.asked = self.asked.wrapping_add(1);
        self.questions.send(&question(index, self.asked), 0).map(drop)
    }

    /// How the interface with this number stands; `None` if there is none in this namespace any more.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn look(&mut self, index: u32) -> io::Result<Option<Sight>> {
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
            // An earlier question's may still come, where its receiving failed or it was too long.
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

/// What an answer says; `None` where there is no such interface.
fn read(answer: &NetlinkBuffer<&[u8]>) -> io::Result<Option<Sight>> {
    match answer.message_type() {
        libc::RTM_NEWLINK => sight(answer.payload()).map(Some).map_err(malformed),
        NLMSG_ERROR => {
            let payload = answer.payload();
            let error = ErrorBuffer::new_checked(&payload).and_then(|error| ErrorMessage::parse(&error));
            match error.map_err(malformed)?.to_io() {
                error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                error => Err(error),
            }
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no answer about the interface")),
    }
}

/// RX queues in use of the interface of this name, if the kernel lists them.
pub fn rx_queues(name: &str) -> Option<u32> {
    queues_in_use(name, Side::Receive)
}

/// What a `RTM_NEWLINK` says, without its netlink header.
fn sight(link: &[u8]) -> Result<Sight, DecodeError> {
    let flags = LinkHeader::parse(link)?.flags;
    let mut sight =
        Sight { is_linked: flags.contains(LinkFlags::Up | LinkFlags::LowerUp), ..Sight::default() };
    let attributes = link.get(size_of::<libc::ifinfomsg>()..).unwrap_or_default();
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFLA_IFNAME => sight.name = parse_string(attribute.value())?,
            libc::IFLA_CARRIER_DOWN_COUNT => sight.times_lost = parse_u32(attribute.value())?,
            libc::IFLA_XDP => sight.programs = programs(attribute.value())?,
            _ => {}
        }
    }
    Ok(sight)
}

/// The programs that an `IFLA_XDP` names: one that is the only one is there twice.
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

    /// Looks again and again, also after one for an interface that is not there, and where an answer finds too little room.
    #[test]
    fn looks_at_what_there_is() {
        let mut links = LinkWatch::open().unwrap();
        for capacity in [ANSWER_LEN, 64, ANSWER_LEN] {
            links.datagram = Vec::with_capacity(capacity);
            let sight = links.look(LOOPBACK).unwrap().unwrap();
            assert_eq!((sight.name.as_str(), sight.programs.as_slice()), ("lo", [].as_slice()));
            assert_eq!(links.look(u32::MAX >> 1).unwrap(), None);
        }
    }

    /// What another hand has put into a message is found there.
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
            let expected = Sight { name: "eth7".to_owned(), is_linked, times_lost: 3, programs: vec![4, 9] };
            assert_eq!(sight(&bytes).unwrap(), expected);
        }
    }

    /// The answer to a question that was given up is not taken for that to the next one.
    #[test]
    fn a_late_answer_is_no_answer() {
        let mut links = LinkWatch::open().unwrap();
        links.questions.send(&question(LOOPBACK, 7_000), 0).unwrap();
        assert_eq!(links.look(u32::MAX >> 1).unwrap(), None);
    }

    proptest! {
        /// Whatever is wrong with an answer is an error at most.
        #[test]
        fn a_damaged_answer_does_no_harm(cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut links = LinkWatch::open().unwrap();
            links.look(LOOPBACK).unwrap();
            let mut answer = links.datagram;
            *at.get_mut(&mut answer) = byte;
            let _ = NetlinkBuffer::new_checked(answer.as_slice()).map(|answer| read(&answer));
            let link = &answer[16..];
            let _ = sight(&link[..cut.index(link.len())]);
        }
    }
}
