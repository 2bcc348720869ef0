//! Queries to the families of generic netlink (`Documentation/userspace-api/netlink/intro.rst`).
//!
//! A family is a named set of commands. Its number differs from boot to boot; the controller, which is also a family,
//! reports it.

use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, Nla,
    NlaBuffer, NlasIterator, Parseable,
};
use netlink_sys::protocols::NETLINK_GENERIC;

use super::netlink::get_by;

// `linux/genetlink.h`
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// The bit of an attribute's number which says that it holds others (`NLA_F_NESTED` of `linux/netlink.h`).
pub(super) const NESTED: u16 = 1 << 15;
/// Bytes of `struct genlmsghdr`: command, version, and two that are reserved.
const HEADER_LEN: usize = 4;

/// A command of a family, or its answer, with its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    family: u16,
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        HEADER_LEN + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(HEADER_LEN);
        header.copy_from_slice(&[self.command, 1, 0, 0]);
        self.attributes.as_slice().emit(attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let Some((&[command, _, _, _], attributes)) = payload.split_first_chunk::<HEADER_LEN>() else {
            return Err("the generic netlink header is missing".into());
        };
        let attribute = |bytes: Result<NlaBuffer<_>, _>| DefaultNla::parse(&bytes?);
        let attributes = NlasIterator::new(attributes).map(attribute).collect::<Result<_, _>>()?;
        Ok(Self { family: header.message_type, command, attributes })
    }
}

/// The attributes of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<DefaultNla>);

impl Attributes {
    /// The bytes of the attribute with this number; `None` if it is missing or too short.
    pub(super) fn bytes<const LEN: usize>(&self, number: u16) -> Option<[u8; LEN]> {
        let attribute =
            self.0.iter().find(|attribute| attribute.kind() == number && attribute.value_len() == LEN)?;
        let mut bytes = [0; LEN];
        attribute.emit_value(&mut bytes);
        Some(bytes)
    }
}

/// Queries the family of this name: `command` with one attribute, given by its number and its bytes.
///
/// # Errors
/// The kernel's refusal; `ENOENT` if it does not have the family.
pub(super) fn get(family: &str, command: u8, attribute: (u16, &[u8])) -> io::Result<Attributes> {
    let name = [family.as_bytes(), &[0]].concat();
    let found = ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, (CTRL_ATTR_FAMILY_NAME, &name))?;
    let number = found.bytes(CTRL_ATTR_FAMILY_ID).map(u16::from_ne_bytes);
    ask(number.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?, command, attribute)
}

/// An attribute as the bytes that another one holds.
pub(super) fn nested(number: u16, bytes: &[u8]) -> Vec<u8> {
    let attribute = DefaultNla::new(number, bytes.to_vec());
    let mut buffer = vec![0; attribute.buffer_len()];
    attribute.emit(&mut buffer);
    buffer
}

fn ask(family: u16, command: u8, (number, bytes): (u16, &[u8])) -> io::Result<Attributes> {
    let question = Message { family, command, attributes: vec![DefaultNla::new(number, bytes.to_vec())] };
    let answer = get_by(NETLINK_GENERIC, question)?;
    Ok(answer.map_or_else(Attributes::default, |answer| Attributes(answer.attributes)))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NetlinkMessage, NetlinkPayload};

    use super::*;
    use crate::nic::netlink::request;

    /// A query has the bytes that `struct nlmsghdr`, `genlmsghdr` and `nlattr` describe, and can be read back.
    #[test]
    fn messages_on_the_wire() {
        let attributes = vec![DefaultNla::new(CTRL_ATTR_FAMILY_NAME, b"netdev\0".to_vec())];
        let message = Message { family: GENL_ID_CTRL, command: CTRL_CMD_GETFAMILY, attributes };
        let bytes = request(message.clone(), 5, 1);
        let expected = [
            32, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 11, 0, 2, 0, 110, 101, 116, 100,
            101, 118, 0, 0,
        ];
        assert_eq!(bytes, expected);
        let read = NetlinkMessage::<Message>::deserialize(&bytes).unwrap();
        assert_eq!(read.payload, NetlinkPayload::InnerMessage(message));
        let header = NetlinkHeader::default();
        for bad in [&[3][..], &[3, 1, 0, 0, 3, 0, 2, 0], &[3, 1, 0, 0, 9, 0, 2, 0, 1]] {
            assert!(Message::deserialize(&header, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_attribute_in_another() {
        assert_eq!(nested(2, b"lo\0"), [7, 0, 2, 0, 108, 111, 0, 0]);
        let attributes = vec![DefaultNla::new(NESTED | 1, nested(2, b"lo\0"))];
        let bytes = request(Message { family: 20, command: 19, attributes }, 5, 1);
        assert_eq!(bytes[20..], [12, 0, 1, 128, 7, 0, 2, 0, 108, 111, 0, 0]);
    }

    /// The controller knows itself, and no family that does not exist.
    #[test]
    fn families() {
        let controller = get("nlctrl", CTRL_CMD_GETFAMILY, (CTRL_ATTR_FAMILY_NAME, b"nlctrl\0")).unwrap();
        assert_eq!(controller.bytes(CTRL_ATTR_FAMILY_ID), Some(GENL_ID_CTRL.to_ne_bytes()));
        assert_eq!(controller.bytes::<8>(CTRL_ATTR_FAMILY_ID), None);
        let unknown = get("no-such-family", 1, (1, &[0; 4])).unwrap_err();
        assert_eq!(unknown.raw_os_error(), Some(libc::ENOENT));
    }
}
