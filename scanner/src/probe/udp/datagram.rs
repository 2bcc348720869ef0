//! The shared part of all probes that are UDP datagrams: how they are made, their answers, and their first fields.
//!
//! A datagram's cookie is in its source port and its IP identification. A module may put 16 bits more into the payload
//! ([`Cookie::payload_bits`](wire::proof::Cookie::payload_bits)).

use simd::{Lane, Level};
use targets::TargetBatch;
use wire::packet::{IPV4_LEN, PatchBatch, RxFrame, Template, UDP_LEN};
use wire::proof::{Answer, Check, Echo, Numbers, ProbeForm};

use crate::probe::ProbeSettings;
use crate::probe::emit::{self, FirstWords, Head, Outgoing};
use crate::reply::fields::FieldInfo;
use crate::reply::fields::FieldType::{Binary, Int};

/// Most bytes of payload: a packet for an MTU of 1500, as in ZMap.
pub const PAYLOAD_LEN_MAX: usize = 1500 - IPV4_LEN - UDP_LEN;

/// Length of the datagram, as its header says.
pub const UDP_PKT_SIZE: FieldInfo = FieldInfo::new(
    "udp_pkt_size",
    Int,
    "length of the UDP datagram, header included, as its header says",
    |r, _| r.udp_len().into(),
);

/// The payload of the datagram.
pub const DATA: FieldInfo =
    FieldInfo::new("data", Binary, "payload of the UDP datagram", |r, _| r.udp_payload().into());

/// The probes of a scan that are UDP datagrams.
#[derive(Debug)]
pub struct Datagrams {
    /// Distinguishes their answers from other packets.
    pub check: Check,
    /// The frame that each of them starts from.
    pub template: Template,
    level: Level,
}

impl Datagrams {
    /// Datagrams that all carry `payload`.
    pub fn fixed(settings: &ProbeSettings, payload: &[u8]) -> Self {
        Self::new(settings, Template::udp(settings.envelope(), payload))
    }

    /// Datagrams with different payloads of at most `payload_len_max` bytes.
    pub fn varying(settings: &ProbeSettings, payload_len_max: usize) -> Self {
        Self::new(settings, Template::udp_with_tail(settings.envelope(), payload_len_max))
    }

    /// The same, if answers repeat the part of the cookie in the payload.
    pub fn echoed(mut self, echo: Echo) -> Self {
        self.check.echo = echo;
        self
    }

    fn new(settings: &ProbeSettings, template: Template) -> Self {
        Self { check: settings.check(ProbeForm::Udp), template, level: Level::detect() }
    }

    /// [`Probe::emit`](crate::probe::Probe::emit) for datagrams with the same payload.
    pub fn emit_fixed(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        let payload_len = self.template.bytes().len() - self.template.layout().l4() - UDP_LEN;
        emit::fixed(self.level, &self.check, &self.template, Header { payload_len }, targets, copies, out);
    }

    /// The same for datagrams with different payloads: `make` writes each into the given room of `payload_len_max`
    /// bytes, and returns its length. The room still holds bytes of an earlier datagram.
    pub(in crate::probe) fn emit_varying(
        &self,
        targets: &TargetBatch,
        copies: Numbers,
        out: &mut PatchBatch,
        mut make: impl FnMut(Outgoing, &mut [u8]) -> usize,
    ) {
        emit::with_tails(&self.check, &self.template, targets, copies, out, |probe, room| {
            let payload_len = make(probe, room);
            (Header { payload_len }.words(probe.head()), payload_len)
        });
    }

    /// The answer in a received frame: [`AnswerBody::Udp`](wire::proof::AnswerBody::Udp), or an ICMP error. The payload
    /// ends where the datagram's header says, or at the end of the capture.
    pub fn classify_udp<'a>(&self, frame: RxFrame<'a>) -> Option<Answer<'a>> {
        self.check.answer(frame)
    }
}

/// Ports; length and a checksum of zero.
#[derive(Clone, Copy)]
struct Header {
    payload_len: usize,
}

impl FirstWords for Header {
    #[inline(always)]
    fn words<L: Lane>(self, head: Head<L>) -> [L; 2] {
        [head.ports, L::of(((UDP_LEN + self.payload_len) as u32) << 16).wire()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{TARGET, assert_is_sound, icmp_error, packet, patched, settings, udp_answer};
    use proptest::prelude::*;
    use wire::packet::checksum;
    use wire::proof::AnswerBody;

    fn batch(targets: &[(u32, u16)]) -> TargetBatch {
        let mut batch = TargetBatch { len: targets.len(), ..TargetBatch::default() };
        for (i, target) in targets.iter().enumerate() {
            (batch.addresses[i], batch.ports[i]) = *target;
        }
        batch
    }

    fn rx(frame: &[u8]) -> RxFrame<'_> {
        RxFrame { captured: frame, frame_len: frame.len() as u32, queue: 0 }
    }

    proptest! {
        /// Both ways to make a datagram have the same result, and answers to it are distinguished from other packets.
        #[test]
        fn fixed_and_varying_agree(
            targets in prop::collection::vec((any::<u32>(), any::<u16>()), 1..20),
            payload in prop::collection::vec(any::<u8>(), 0..80),
            spare in 0usize..9,
            copies in 1u32..4,
            bit in 0usize..16,
        ) {
            let settings = settings(copies);
            let mut fixed = Datagrams::fixed(&settings, &payload);
            let levels = Level::available().into_iter().map(|level| {
                fixed.level = level;
                let mut patches = fixed.template.batch();
                fixed.emit_fixed(&batch(&targets), settings.copies.ordinary(), &mut patches);
                patched(&fixed.template, &patches)
            });
            let mut levels: Vec<_> = levels.collect();
            levels.dedup();
            let frames = levels.pop().unwrap();
            prop_assert!(levels.is_empty(), "the levels differ");

            let varying = Datagrams::varying(&settings, payload.len() + spare);
            let mut patches = varying.template.batch();
            varying.emit_varying(&batch(&targets), settings.copies.ordinary(), &mut patches, |_, room| {
                room[..payload.len()].copy_from_slice(&payload);
                payload.len()
            });
            prop_assert_eq!(&frames, &patched(&varying.template, &patches));

            prop_assert_eq!(frames.len(), targets.len() * copies as usize);
            for (i, frame) in frames.iter().enumerate() {
                assert_is_sound(frame);
                prop_assert_eq!(&frame[14 + IPV4_LEN + UDP_LEN..], &payload[..]);
                let (address, port) = targets[i / copies as usize];
                let reply = udp_answer(frame, b"hello");
                let found = fixed.classify_udp(rx(&reply)).unwrap();
                prop_assert_eq!(found.what, AnswerBody::Udp(b"hello"));
                prop_assert_eq!((found.target, found.target_port), (address, port));
                prop_assert_eq!(usize::from(found.probe), i % copies as usize);
                let error = icmp_error(frame, 3, 3, 8);
                let found = fixed.classify_udp(rx(&error)).unwrap();
                prop_assert_eq!((found.target, found.target_port, found.responder), (address, port, 0xc000_0209));
                if copies == 1 {
                    let mut forged = udp_answer(frame, b"hello");
                    forged[36 + bit / 8] ^= 1 << (bit % 8); // our port
                    prop_assert_eq!(fixed.classify_udp(rx(&forged)), None);
                }
            }
        }
    }

    /// A checksum that is computed as zero is sent as all ones, because zero means that there is none (RFC 768).
    #[test]
    fn a_checksum_is_never_zero() {
        let settings = settings(1);
        let frame_with = |level, payload: [u8; 2]| {
            let datagrams = Datagrams { level, ..Datagrams::fixed(&settings, &payload) };
            let mut patches = datagrams.template.batch();
            datagrams.emit_fixed(&batch(&[(TARGET, 53)]), datagrams.check.copies.ordinary(), &mut patches);
            patched(&datagrams.template, &patches).remove(0)
        };
        for level in Level::available() {
            let checksum = packet(&frame_with(level, [0, 0])).payload[6..8].to_vec();
            // The difference of the sum to all ones.
            let frame = frame_with(level, [checksum[0], checksum[1]]);
            assert_eq!(packet(&frame).payload[6..8], [0xff, 0xff], "{level:?}");
            assert_is_sound(&frame);
        }
        assert_eq!(checksum::finish(checksum::sum(&[0xff, 0xff])), 0);
    }
}
