//! Frames that wait for the kernel: a ring of slots that hold the template, with the messages that point to them.
//!
//! What always holds: the `waiting` frames from `first` on are to be sent, in that order; all other slots are free. A
//! frame that the kernel refuses moves behind the others and keeps its strikes.

use std::mem::MaybeUninit;

use wire::packet::{Layout, PatchBatch, Template};

/// Alignment of a slot: a cache line.
const LINE: usize = 64;

/// The frames of one stream.
pub(super) struct Outbox {
    frames: Box<[u8]>,
    slot_len: usize,
    layout: Layout,
    // Point into `frames`, whose heap memory never moves; and the messages into the vectors.
    vectors: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
    /// How often a frame was refused although the kernel accepted another one right after it.
    strikes: Box<[u8]>,
    /// How many frames had left, or were lost, when a frame was first set aside: at least so many were added before it.
    /// `u64::MAX` for one that keeps its place.
    behind: Box<[u64]>,
    /// How many of the waiting frames have been set aside.
    aside: usize,
    first: usize,
    waiting: usize,
    /// How many frames have left or are lost.
    over: u64,
}

// SAFETY: the pointers in it lead to its own heap memory, whichever thread has it.
unsafe impl Send for Outbox {}

impl Outbox {
    /// An outbox of this many slots, all free. Without a template it has none.
    pub(super) fn new(slots: usize, template: Option<&Template>) -> Self {
        let bytes = template.map_or(&[][..], Template::bytes);
        let slots = if template.is_some() { slots } else { 0 };
        let slot_len = bytes.len().next_multiple_of(LINE).max(LINE);
        let mut frames = vec![0; slots * slot_len].into_boxed_slice();
        let vector = |frame: &mut [u8]| {
            frame[..bytes.len()].copy_from_slice(bytes);
            libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: bytes.len() }
        };
        let mut vectors: Box<[libc::iovec]> = frames.chunks_exact_mut(slot_len).map(vector).collect();
        let messages = vectors.iter_mut().map(message).collect();
        let layout = template.map_or(Layout::default(), Template::layout);
        let strikes = vec![0; slots].into_boxed_slice();
        let behind = vec![u64::MAX; slots].into_boxed_slice();
        Self {
            frames,
            slot_len,
            layout,
            vectors,
            messages,
            strikes,
            behind,
            aside: 0,
            first: 0,
            waiting: 0,
            over: 0,
        }
    }

    /// How many more frames fit.
    pub(super) fn room(&self) -> usize {
        self.messages.len() - self.waiting
    }

    /// How many frames are to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds all frames of the batch, for which there must be room.
    pub(super) fn add(&mut self, patches: &PatchBatch) {
        debug_assert!(patches.len <= self.room(), "more frames than there was room for");
        for i in 0..patches.len.min(self.room()) {
            let slot = (self.first + self.waiting) % self.messages.len();
            let frame = &mut self.frames[slot * self.slot_len..][..self.slot_len];
            self.strikes[slot] = 0;
            self.behind[slot] = u64::MAX;
            patches.write_next_hop(frame, i);
            match self.layout.tail {
                None => self.layout.patch(frame, patches, i),
                Some(at) => self.vectors[slot].iov_len = self.layout.patch_with_tail(frame, patches, i, at),
            }
            self.waiting += 1;
        }
    }

    /// The messages of the oldest frames, as many as are contiguous.
    pub(super) fn pending(&mut self) -> &mut [libc::mmsghdr] {
        let end = self.messages.len().min(self.first + self.waiting);
        &mut self.messages[self.first..end]
    }

    /// The strikes of the oldest frame. There must be one.
    pub(super) fn strikes(&self) -> u8 {
        self.strikes[self.first]
    }

    /// Moves the oldest frame, which must exist, behind all others. Returns its new slot.
    pub(super) fn set_aside(&mut self) -> usize {
        let last = (self.first + self.waiting) % self.messages.len();
        self.aside += usize::from(self.behind[self.first] == u64::MAX);
        self.behind[self.first] = self.behind[self.first].min(self.over);
        // In a full ring the slot behind the last frame is the one that it already has.
        if last != self.first {
            let from = self.first * self.slot_len;
            self.frames.copy_within(from..from + self.slot_len, last * self.slot_len);
            self.vectors[last].iov_len = self.vectors[self.first].iov_len;
            self.strikes[last] = self.strikes[self.first];
            self.behind[last] = self.behind[self.first];
        }
        self.first = (self.first + 1) % self.messages.len();
        last
    }

    /// Counts a strike of the frame in this slot: it was refused where another one was accepted right after it.
    pub(super) fn strike(&mut self, place: usize) {
        self.strikes[place] = self.strikes[place].saturating_add(1);
    }

    /// Of the frames in the order in which they were added, how many have all left or are lost.
    pub(super) fn left_in_order(&self) -> u64 {
        if self.aside == 0 {
            return self.over;
        }
        let behind = |i| self.behind[(self.first + i) % self.messages.len()];
        (0..self.waiting).fold(self.over, |all, i| all.min(behind(i)))
    }

    /// Frees the oldest frames: they have left or are lost.
    pub(super) fn done(&mut self, count: usize) {
        debug_assert!(count <= self.waiting, "more than there are");
        if self.aside > 0 {
            let is_aside = |i: &usize| self.behind[(self.first + i) % self.messages.len()] != u64::MAX;
            self.aside -= (0..count).filter(is_aside).count();
        }
        self.over += count as u64;
        self.waiting -= count;
        self.first = (self.first + count) % self.messages.len().max(1);
    }
}

/// A message that sends the data of `vector` to the interface that the socket is bound to.
fn message(vector: &mut libc::iovec) -> libc::mmsghdr {
    let message = MaybeUninit::<libc::mmsghdr>::zeroed();
    // SAFETY: null pointers and zero lengths are what an empty message has.
    let mut message = unsafe { message.assume_init() };
    message.msg_hdr.msg_iov = vector;
    message.msg_hdr.msg_iovlen = 1;
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::packet::{Envelope, LinkHeader, MacAddr};

    /// A template of frames with up to 70 bytes behind their headers.
    fn template() -> Template {
        let envelope = Envelope {
            link: LinkHeader::Bare,
            source_mac: MacAddr::default(),
            gateway_mac: MacAddr::default(),
            tags: wire::packet::VlanTags::default(),
            ttl: 9,
        };
        Template::udp_with_tail(envelope, 70)
    }

    /// Frames leave in the order in which they came, round the end of the ring, each with its own bytes.
    #[test]
    fn first_in_first_out() {
        let template = template();
        let mut outbox = Outbox::new(8, Some(&template));
        let (mut added, mut sent) = (0u8, 0u8);
        for round in 0..100usize {
            let mut patches = template.batch();
            for i in 0..(round * 5 % 8).min(outbox.room()) {
                patches.tails.write(i, |tail| {
                    tail[..usize::from(added % 70)].fill(added);
                    usize::from(added % 70)
                });
                patches.push(template.finish(1, u32::from(added), [0; 2], 0));
                added = added.wrapping_add(1);
            }
            outbox.add(&patches);
            assert_eq!(outbox.waiting() + outbox.room(), 8);
            let take = outbox.pending().len().min(round % 4);
            for i in 0..take {
                let slot = (outbox.first + i) % 8;
                let len = outbox.vectors[slot].iov_len;
                let frame = &outbox.frames[slot * outbox.slot_len..][..len];
                assert_eq!((frame[19], len), (sent, 28 + usize::from(sent % 70)));
                assert!(frame[28..].iter().all(|&byte| byte == sent));
                sent = sent.wrapping_add(1);
            }
            outbox.done(take);
        }
        assert!(sent > 60);
        assert_eq!(Outbox::new(8, None).room(), 0);
    }

    /// A frame that is set aside comes last, with its own bytes, length and strikes, whether the ring is full or not.
    #[test]
    fn what_is_set_aside_comes_last() {
        let template = template();
        for count in 2..=5u8 {
            let mut outbox = Outbox::new(5, Some(&template));
            let mut patches = template.batch();
            for i in 0..count {
                patches.tails.write(usize::from(i), |tail| {
                    tail[..usize::from(i)].fill(i);
                    usize::from(i)
                });
                patches.push(template.finish(1, u32::from(i), [0; 2], 0));
            }
            outbox.add(&patches);
            for round in 1..=3 {
                let place = outbox.set_aside();
                outbox.strike(place);
                for _ in 1..count {
                    outbox.set_aside();
                }
                assert_eq!((outbox.strikes(), outbox.waiting()), (round, count.into()));
                assert_eq!(outbox.left_in_order(), 0);
            }
            for i in 0..count {
                let len = outbox.vectors[outbox.first].iov_len;
                let frame = &outbox.frames[outbox.first * outbox.slot_len..][..len];
                assert_eq!((frame[19], len), (i, 28 + usize::from(i)));
                assert_eq!(outbox.strikes(), if i == 0 { 3 } else { 0 });
                outbox.done(1);
            }
            assert_eq!(outbox.left_in_order(), u64::from(count));
            outbox.add(&patches);
            assert_eq!(outbox.strikes(), 0, "another frame begins anew");
        }
    }

    /// A frame that was set aside holds back the frames that leave before it, also when it is set aside once more.
    #[test]
    fn what_is_set_aside_is_not_overtaken() {
        let template = template();
        let mut outbox = Outbox::new(8, Some(&template));
        let mut patches = template.batch();
        for i in 0..4 {
            patches.tails.write(i, |_| 0);
            patches.push(template.finish(1, i as u32, [0; 2], 0));
        }
        outbox.add(&patches);
        outbox.done(1);
        assert_eq!(outbox.left_in_order(), 1);
        outbox.set_aside();
        outbox.done(1);
        outbox.set_aside();
        assert_eq!(outbox.left_in_order(), 1, "of 1, 2, 3, 4 the first and the third have left");
        outbox.set_aside();
        outbox.done(1);
        assert_eq!((outbox.waiting(), outbox.left_in_order()), (1, 1), "the second waits, behind the fourth");
        outbox.done(1);
        assert_eq!(outbox.left_in_order(), 4);
    }
}
