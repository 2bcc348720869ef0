//! The fields in which the frames of a template differ.

use std::ops::Range;

use simd::Lane;

use super::{BATCH_MAX, MacAddr};

/// The fields in which the frames of one template differ, as a structure of arrays. A probe or a RST writes them, and a
/// back end makes frames from them. Only the first `len` entries are valid.
///
/// Words are big-endian and paired as they lie in the frame, so a back end stores each pair with one instruction.
/// Swapping and pairing is vectorised here; in the back end it would cost an instruction per field.
#[derive(Clone, Debug)]
pub struct PatchBatch {
    /// How many frames the batch describes.
    pub len: usize,
    /// Words 1 and 2 of the IPv4 header: [`Patch::ip_words`].
    pub ip_words: [u64; BATCH_MAX],
    /// IPv4 source address, destination address.
    pub addresses: [u64; BATCH_MAX],
    /// The first two words of the transport header: [`Patch::l4_words`].
    pub l4_words: [u64; BATCH_MAX],
    /// Checksums of the transport header.
    pub l4_checksums: [u16; BATCH_MAX],
    /// The bytes after the constant part of each frame, for templates whose frames differ there.
    pub tails: Tails,
    /// Destination MAC addresses, if they differ; empty if all frames keep the template's.
    pub next_hops: Vec<MacAddr>,
}

impl Default for PatchBatch {
    fn default() -> Self {
        Self::with_tails(0)
    }
}

impl PatchBatch {
    /// An empty batch for frames with tails of at most `tail_len_max` bytes; 0 for templates without tails.
    pub fn with_tails(tail_len_max: usize) -> Self {
        Self {
            len: 0,
            ip_words: [0; BATCH_MAX],
            addresses: [0; BATCH_MAX],
            l4_words: [0; BATCH_MAX],
            l4_checksums: [0; BATCH_MAX],
            tails: Tails {
                stride: tail_len_max,
                lens: [0; BATCH_MAX],
                bytes: vec![0; tail_len_max * BATCH_MAX],
            },
            next_hops: Vec::new(),
        }
    }

    /// The batch with a column for destination MAC addresses.
    pub fn with_next_hops(self) -> Self {
        Self { next_hops: vec![MacAddr::default(); BATCH_MAX], ..self }
    }

    /// The batch without such a column, but with memory reserved for one.
    pub fn with_room_for_next_hops(self) -> Self {
        Self { next_hops: Vec::with_capacity(BATCH_MAX), ..self }
    }

    /// Gives every frame, of this batch and the next ones, this destination MAC address.
    #[inline]
    pub fn send_all_to(&mut self, mac: MacAddr) {
        self.next_hops.clear();
        self.next_hops.resize(BATCH_MAX, mac);
    }

    /// Writes the destination MAC address of frame `i`, if the batch has such a column.
    #[inline]
    pub fn write_next_hop(&self, frame: &mut [u8], i: usize) {
        if let Some(mac) = self.next_hops.get(i) {
            frame[..6].copy_from_slice(&mac.0);
        }
    }

    /// Adds one frame to the batch, which must not be full.
    #[inline]
    pub fn push(&mut self, patch: Patch) {
        let Patch { ip_words, source, destination, l4_words, l4_checksum } = patch;
        self.set(
            self.len,
            Fields { ip_words, source, destination, l4_words, l4_checksum: l4_checksum.into() },
        );
        self.len += 1;
    }

    /// Writes row `row` of entries, as many as a lane holds; they may lie past the present end.
    #[inline(always)]
    pub fn set<L: Lane>(&mut self, row: usize, fields: Fields<L>) {
        let Fields { ip_words, source, destination, l4_words, l4_checksum } = fields;
        L::store_words(&mut self.ip_words, row, ip_words[0], ip_words[1]);
        L::store_words(&mut self.addresses, row, source, destination);
        L::store_words(&mut self.l4_words, row, l4_words[0], l4_words[1]);
        l4_checksum.store_shorts(&mut self.l4_checksums, row);
    }

    /// Puts the frames of `others` between those of this batch: frame `i` of them behind `places[i]` of its own frames.
    /// Both are of one template.
    ///
    /// # Panics
    ///
    /// If `places` are not ascending or not as many as there are frames in `others`, if one is behind the end, or if
    /// all together are more than [`BATCH_MAX`] frames.
    pub fn insert(&mut self, others: &Self, places: &[usize]) {
        assert_eq!(others.len, places.len());
        let mut end = self.len;
        self.len += places.len();
        for (i, place) in places.iter().copied().enumerate().rev() {
            // Those behind it move by as many as are inserted up to there, the last ones first.
            self.copy_within(place..end, place + i + 1);
            self.copy_from(others, i, place + i);
            end = place;
        }
    }

    fn copy_within(&mut self, from: Range<usize>, to: usize) {
        self.ip_words.copy_within(from.clone(), to);
        self.addresses.copy_within(from.clone(), to);
        self.l4_words.copy_within(from.clone(), to);
        self.l4_checksums.copy_within(from.clone(), to);
        if !self.next_hops.is_empty() {
            self.next_hops.copy_within(from.clone(), to);
        }
        self.tails.copy_within(from, to);
    }

    fn copy_from(&mut self, others: &Self, from: usize, to: usize) {
        self.ip_words[to] = others.ip_words[from];
        self.addresses[to] = others.addresses[from];
        self.l4_words[to] = others.l4_words[from];
        self.l4_checksums[to] = others.l4_checksums[from];
        if let (Some(mac), Some(other)) = (self.next_hops.get_mut(to), others.next_hops.get(from)) {
            *mac = *other;
        }
        self.tails.copy_from(&others.tails, from, to);
    }

    /// Frame `i` of the batch.
    #[inline]
    pub fn get(&self, i: usize) -> Patch {
        let pair = |words: u64| [(u64::from_be(words) >> 32) as u32, u64::from_be(words) as u32];
        let [source, destination] = pair(self.addresses[i]);
        Patch {
            ip_words: pair(self.ip_words[i]),
            source,
            destination,
            l4_words: pair(self.l4_words[i]),
            l4_checksum: u16::from_be(self.l4_checksums[i]),
        }
    }
}

/// The fields of [`Patch`], of one frame or of several at once, in wire order ([`Lane::wire`]).
#[derive(Clone, Copy, Debug)]
pub struct Fields<L> {
    /// [`Patch::ip_words`].
    pub ip_words: [L; 2],
    /// [`Patch::source`].
    pub source: L,
    /// [`Patch::destination`].
    pub destination: L,
    /// [`Patch::l4_words`].
    pub l4_words: [L; 2],
    /// [`Patch::l4_checksum`], below 2^16.
    pub l4_checksum: L,
}

impl From<Fields<u32>> for Patch {
    #[inline(always)]
    fn from(fields: Fields<u32>) -> Self {
        let Fields { ip_words, source, destination, l4_words, l4_checksum } = fields;
        Self { ip_words, source, destination, l4_words, l4_checksum: l4_checksum as u16 }
    }
}

impl Patch {
    /// IP identification.
    #[inline]
    pub fn ip_id(&self) -> u16 {
        (self.ip_words[0] >> 16) as u16
    }

    /// IPv4 header checksum.
    #[inline]
    pub fn ip_checksum(&self) -> u16 {
        self.ip_words[1] as u16
    }
}

/// The tails of a batch: bytes that differ from frame to frame in value and number.
#[derive(Clone, Debug)]
pub struct Tails {
    stride: usize,
    lens: [u16; BATCH_MAX],
    bytes: Vec<u8>,
}

impl Tails {
    /// Most bytes of a tail; 0 if there are no tails.
    #[inline]
    pub fn len_max(&self) -> usize {
        self.stride
    }

    /// Writes tail `i`: `write` gets all its room and returns how much of it is used.
    #[inline]
    pub fn write(&mut self, i: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let len = write(&mut self.bytes[i * self.stride..(i + 1) * self.stride]);
        self.lens[i] = len.min(self.stride) as u16;
    }

    /// Tail `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.stride..][..usize::from(self.lens[i])]
    }

    fn copy_within(&mut self, from: Range<usize>, to: usize) {
        let bytes = from.start * self.stride..from.end * self.stride;
        self.lens.copy_within(from, to);
        self.bytes.copy_within(bytes, to * self.stride);
    }

    fn copy_from(&mut self, others: &Self, from: usize, to: usize) {
        self.write(to, |room| {
            let tail = others.get(from);
            room[..tail.len()].copy_from_slice(tail);
            tail.len()
        });
    }
}

/// One frame of a [`PatchBatch`], as numbers in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Words 1 and 2 of the IPv4 header: identification, flags and fragment offset; time to live, protocol, checksum.
    pub ip_words: [u32; 2],
    /// IPv4 source address.
    pub source: u32,
    /// IPv4 destination address.
    pub destination: u32,
    /// The first 8 bytes of the transport header. Of TCP: the ports, source first; the sequence number. Of UDP: the
    /// ports; the length, 0. Of an echo: type, code, 0; identifier, sequence number.
    pub l4_words: [u32; 2],
    /// Checksum of the transport header.
    pub l4_checksum: u16,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A batch of frames with these numbers in all of their fields.
    fn batch(numbers: &[u8]) -> PatchBatch {
        let mut batch = PatchBatch::with_tails(9).with_next_hops();
        for (i, number) in numbers.iter().copied().enumerate() {
            let word = u32::from(number);
            batch.push(Patch {
                ip_words: [word, word + 1],
                source: word + 2,
                destination: word + 3,
                l4_words: [word + 4, word + 5],
                l4_checksum: u16::from(number) + 6,
            });
            batch.next_hops[i] = MacAddr([number; 6]);
            batch.tails.write(i, |room| {
                room.fill(number);
                usize::from(number % 10)
            });
        }
        batch
    }

    proptest! {
        /// The same as putting the numbers into a list.
        #[test]
        fn others_are_between(
            own in prop::collection::vec(any::<u8>(), 0..=BATCH_MAX - 20),
            others in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>()), 0..=20),
        ) {
            let mut places: Vec<_> = others.iter().map(|(_, index)| index.index(own.len() + 1)).collect();
            places.sort_unstable();
            let others: Vec<u8> = others.iter().map(|(number, _)| *number).collect();
            let mut all = own.clone();
            for (i, place) in places.iter().enumerate() {
                all.insert(place + i, others[i]);
            }
            let (mut found, expected) = (batch(&own), batch(&all));
            found.insert(&batch(&others), &places);
            prop_assert_eq!(found.len, expected.len);
            for i in 0..all.len() {
                prop_assert_eq!(found.get(i), expected.get(i));
                prop_assert_eq!(found.next_hops[i], expected.next_hops[i]);
                prop_assert_eq!(found.tails.get(i), expected.tails.get(i));
            }
        }
    }

    /// Without columns that differ there are none to move.
    #[test]
    fn others_without_tails_and_next_hops() {
        let plain = |numbers: &[u8]| {
            let whole = batch(numbers);
            let mut plain = PatchBatch::default();
            (0..whole.len).for_each(|i| plain.push(whole.get(i)));
            plain
        };
        let mut found = plain(&[1, 2, 3]);
        found.insert(&plain(&[8, 9]), &[0, 3]);
        let destinations: Vec<_> = (0..found.len).map(|i| found.get(i).destination - 3).collect();
        assert_eq!(destinations, [8, 1, 2, 3, 9]);
    }
}
