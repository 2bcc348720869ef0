//! Queries to the kernel over netlink, one at a time; most are of rtnetlink.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// All objects of a kind.
pub(super) fn dump(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    ask(NETLINK_ROUTE, question, NLM_F_REQUEST | NLM_F_DUMP)
}

/// The answer to a query about one object.
pub(super) fn get(question: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
    get_by(NETLINK_ROUTE, question)
}

/// The answer to a query about one object, by any of netlink's protocols.
pub(super) fn get_by<I: NetlinkSerializable + NetlinkDeserializable>(
    protocol: isize,
    question: I,
) -> io::Result<Option<I>> {
    Ok(ask(protocol, question, NLM_F_REQUEST | NLM_F_ACK)?.pop())
}

/// Sends a request that changes something; `flags` are added to those of every request.
pub(super) fn tell(request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    ask(NETLINK_ROUTE, request, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
}

/// A socket for rtnetlink's queries and answers.
pub(super) fn socket() -> io::Result<Socket> {
    open(NETLINK_ROUTE)
}

fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The bytes of a query with this sequence number, which its answers repeat.
pub(super) fn request<I: NetlinkSerializable>(question: I, flags: u16, number: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = number;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The error for an answer that cannot be read.
pub(super) fn malformed(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn ask<I: NetlinkSerializable + NetlinkDeserializable>(
    protocol: isize,
    question: I,
    flags: u16,
) -> io::Result<Vec<I>> {
    let socket = open(protocol)?;
    socket.send(&request(question, flags, 1), 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if collect(&datagram, &mut answers)? {
            return Ok(answers);
        }
    }
}

/// Collects the messages of one datagram; true after the last one.
fn collect<I: NetlinkDeserializable>(datagram: &[u8], answers: &mut Vec<I>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<I>::deserialize(rest).map_err(malformed)?;
        let len = (message.header.length as usize).next_multiple_of(4);
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                return match error.code {
                    None => Ok(true),
                    Some(_) => Err(error.to_io()),
                };
            }
            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
            _ => {}
        }
        rest = rest.get(len.max(1)..).unwrap_or_default();
    }
    Ok(false)
}
