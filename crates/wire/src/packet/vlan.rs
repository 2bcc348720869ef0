//! VLAN tags in front of a packet: IEEE 802.1Q, and 802.1ad for two of them.

use std::fmt;

/// Most tags of a frame that is sent or parsed: those of 802.1ad.
pub const TAGS_MAX: usize = 2;

/// The tags of a scan's frames, outer first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanTags {
    tags: [(u16, u16); TAGS_MAX],
    len: usize,
}

impl VlanTags {
    /// These tags with one more inside them: its EtherType and its VLAN's number. `None` if there is no room.
    pub fn with(mut self, ethertype: u16, id: u16) -> Option<Self> {
        *self.tags.get_mut(self.len)? = (ethertype, id & 0xfff);
        self.len += 1;
        Some(self)
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The VLANs' numbers, outer first.
    pub fn ids(&self) -> impl Iterator<Item = u16> + '_ {
        self.tags[..self.len].iter().map(|(_, id)| *id)
    }

    /// The tags as they are between the MAC addresses and the EtherType.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        let tags = self.tags[..self.len].iter();
        tags.flat_map(|(ethertype, id)| ethertype.to_be_bytes().into_iter().chain(id.to_be_bytes()))
    }
}

/// The numbers with dots between them, as interfaces are often named.
impl fmt::Display for VlanTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        self.ids().try_for_each(|id| write!(f, "{}{id}", std::mem::replace(&mut separator, ".")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_tags() {
        let one = VlanTags::default().with(0x8100, 100).unwrap();
        assert_eq!(one.bytes().collect::<Vec<_>>(), [0x81, 0, 0, 100]);
        let two = VlanTags::default().with(0x88a8, 7).and_then(|tags| tags.with(0x8100, 0xffff)).unwrap();
        assert_eq!(two.bytes().collect::<Vec<_>>(), [0x88, 0xa8, 0, 7, 0x81, 0, 0x0f, 0xff]);
        assert_eq!((one.to_string(), two.to_string()), ("100".to_owned(), "7.4095".to_owned()));
        assert_eq!(two.with(0x8100, 1), None);
    }
}
