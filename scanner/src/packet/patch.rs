//! What makes one frame of a template differ from the next.

use crate::targets::BATCH_MAX;

/// What differs between the frames of one template, as a structure of arrays: a probe or a RST writes it, a back
/// end turns it into frames. Only the first `len` entries mean anything.
///
/// The words are in network order, ready to be stored as they are, and in the widest pieces in which they stand in a
/// frame: turning them round is vector work here and would be one instruction each in a back end.
#[derive(Clone, Debug)]
pub struct PatchBatch {
    /// How many frames the batch describes.
    pub len: usize,
    /// IPv4 source address, destination address.
    pub addresses: [u64; BATCH_MAX],
    /// The first 8 bytes of the transport header; of TCP: source port, destination port, sequence number.
    pub l4_starts: [u64; BATCH_MAX],
    /// IP identification.
    pub ip_ids: [u16; BATCH_MAX],
    /// IPv4 header checksums.
    pub ip_checksums: [u16; BATCH_MAX],
    /// Checksums of the transport header.
    pub l4_checksums: [u16; BATCH_MAX],
}

impl Default for PatchBatch {
    fn default() -> Self {
        Self {
            len: 0,
            addresses: [0; BATCH_MAX],
            l4_starts: [0; BATCH_MAX],
            ip_ids: [0; BATCH_MAX],
            ip_checksums: [0; BATCH_MAX],
            l4_checksums: [0; BATCH_MAX],
        }
    }
}

impl PatchBatch {
    /// Adds one frame to the batch, which must not be full.
    #[inline]
    pub fn push(&mut self, patch: Patch) {
        self.set(self.len, patch);
        self.len += 1;
    }

    /// Writes entry `i`, which may lie past the present end.
    #[inline(always)]
    pub(crate) fn set(&mut self, i: usize, patch: Patch) {
        self.addresses[i] = (u64::from(patch.source) << 32 | u64::from(patch.destination)).to_be();
        self.l4_starts[i] = (u64::from(patch.ports) << 32 | u64::from(patch.sequence)).to_be();
        self.ip_ids[i] = patch.ip_id.to_be();
        self.ip_checksums[i] = patch.ip_checksum.to_be();
        self.l4_checksums[i] = patch.l4_checksum.to_be();
    }

    /// Frame `i` of the batch.
    #[inline]
    pub fn get(&self, i: usize) -> Patch {
        let (addresses, start) = (u64::from_be(self.addresses[i]), u64::from_be(self.l4_starts[i]));
        Patch {
            source: (addresses >> 32) as u32,
            destination: addresses as u32,
            ports: (start >> 32) as u32,
            sequence: start as u32,
            ip_id: u16::from_be(self.ip_ids[i]),
            ip_checksum: u16::from_be(self.ip_checksums[i]),
            l4_checksum: u16::from_be(self.l4_checksums[i]),
        }
    }
}

/// One frame of a [`PatchBatch`], as numbers in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// IPv4 source address.
    pub source: u32,
    /// IPv4 destination address.
    pub destination: u32,
    /// Source port in the upper half, destination port in the lower.
    pub ports: u32,
    /// TCP sequence number.
    pub sequence: u32,
    /// IP identification.
    pub ip_id: u16,
    /// IPv4 header checksum.
    pub ip_checksum: u16,
    /// Checksum of the transport header.
    pub l4_checksum: u16,
}
