//! What makes one frame of a template differ from the next.

use crate::targets::BATCH_MAX;

/// What differs between the frames of one template, as a structure of arrays: a probe or a RST writes it, a back
/// end turns it into frames. Only the first `len` entries mean anything. All values are numbers in host order,
/// checksums are ready for the wire.
#[derive(Clone, Debug)]
pub struct PatchBatch {
    /// How many frames the batch describes.
    pub len: usize,
    /// IPv4 source addresses.
    pub sources: [u32; BATCH_MAX],
    /// IPv4 destination addresses.
    pub destinations: [u32; BATCH_MAX],
    /// Source port in the upper half, destination port in the lower: the first four bytes of TCP and UDP.
    pub ports: [u32; BATCH_MAX],
    /// TCP sequence numbers.
    pub sequences: [u32; BATCH_MAX],
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
            sources: [0; BATCH_MAX],
            destinations: [0; BATCH_MAX],
            ports: [0; BATCH_MAX],
            sequences: [0; BATCH_MAX],
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
        let i = self.len;
        self.sources[i] = patch.source;
        self.destinations[i] = patch.destination;
        self.ports[i] = patch.ports;
        self.sequences[i] = patch.sequence;
        self.ip_ids[i] = patch.ip_id;
        self.ip_checksums[i] = patch.ip_checksum;
        self.l4_checksums[i] = patch.l4_checksum;
        self.len += 1;
    }

    /// Frame `i` of the batch.
    #[inline]
    pub fn get(&self, i: usize) -> Patch {
        Patch {
            source: self.sources[i],
            destination: self.destinations[i],
            ports: self.ports[i],
            sequence: self.sequences[i],
            ip_id: self.ip_ids[i],
            ip_checksum: self.ip_checksums[i],
            l4_checksum: self.l4_checksums[i],
        }
    }
}

/// One frame of a [`PatchBatch`]; the fields are those of the batch.
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
