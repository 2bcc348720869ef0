//! From targets to patches: what the probes' `emit` have in common.
//!
//! Owns the order of the patches (the copies of a target stay next to each other) and the two ways to make them: frames
//! that differ in their headers only, in vectors, and frames with a tail, one by one.

use super::{Check, Cookies, SourcePool};
use crate::cookie::Cookie;
use crate::packet::{PatchBatch, Sums, Template};
use crate::simd::{Kernel, Level};
use crate::targets::{BATCH_MAX, TargetBatch};

/// How a probe's first 8 bytes behind the IP header are made, as two words.
pub(super) trait FirstWords: Copy {
    /// Whether the template is TCP, whose checksum takes less.
    const IS_TCP: bool = false;

    /// The words of copy number `copy` of a probe. Nothing in it branches, so a loop becomes one over vectors.
    fn words(self, out: Outgoing) -> [u32; 2];
}

/// A probe that is being made. Numbers are in host order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    /// Our address.
    pub(super) source: u32,
    /// The target's address.
    pub(super) target: u32,
    /// Our port.
    pub(super) source_port: u16,
    /// The target's port.
    pub(super) target_port: u16,
    /// Its cookie.
    pub(super) cookie: Cookie,
    /// Which copy for the target it is, from 0.
    pub(super) copy: u32,
    /// When it leaves, in nanoseconds since the Unix epoch.
    pub(super) time_ns: u64,
}

impl Outgoing {
    /// Both ports, ours in the upper half.
    #[inline(always)]
    pub(super) fn ports(self) -> u32 {
        u32::from(self.source_port) << 16 | u32::from(self.target_port)
    }
}

/// Makes the patches of frames that differ in their headers only, in place of what `out` holds.
pub(super) fn fixed<W: FirstWords>(
    level: Level,
    check: &Check,
    template: &Template,
    first: W,
    targets: &TargetBatch,
    out: &mut PatchBatch,
) {
    let sums = template.sums();
    if let ([only], 1) = (&check.sources.addresses[..], check.copies) {
        return level.run(Fixed { level, check, origins: Only(*only), sums, first, targets, out });
    }
    let expanded;
    let (targets, copies) = match check.copies {
        1 => (targets, &[0; BATCH_MAX]),
        copies => {
            expanded = expand(targets, copies);
            (&expanded.0, &expanded.1)
        }
    };
    let mut sources = [0; BATCH_MAX];
    for (i, source) in sources.iter_mut().enumerate().take(targets.len) {
        *source = check.sources.address(targets.addresses[i], copies[i]);
    }
    let origins = Listed { sources: &sources, copies };
    level.run(Fixed { level, check, origins, sums, first, targets, out });
}

/// Where the probes of a batch come from, and which copies they are.
trait Origins: Copy {
    /// The address that entry `i` comes from.
    fn source(self, i: usize) -> u32;
    /// The number of the copy that entry `i` is.
    fn copy(self, i: usize) -> u32;
}

/// The one address there is, and one copy: known to be the same for all, they are not loaded, nor summed, for each.
#[derive(Clone, Copy)]
struct Only(u32);

impl Origins for Only {
    #[inline(always)]
    fn source(self, _: usize) -> u32 {
        self.0
    }

    #[inline(always)]
    fn copy(self, _: usize) -> u32 {
        0
    }
}

/// An address and a copy for each entry.
#[derive(Clone, Copy)]
struct Listed<'a> {
    sources: &'a [u32; BATCH_MAX],
    copies: &'a [u32; BATCH_MAX],
}

impl Origins for Listed<'_> {
    #[inline(always)]
    fn source(self, i: usize) -> u32 {
        self.sources[i]
    }

    #[inline(always)]
    fn copy(self, i: usize) -> u32 {
        self.copies[i]
    }
}

/// A batch with an entry for each copy, and which copy each entry is.
fn expand(targets: &TargetBatch, copies: u32) -> (TargetBatch, [u32; BATCH_MAX]) {
    let len = targets.len * copies as usize;
    let mut expanded = TargetBatch { len, time_ns: targets.time_ns, ..TargetBatch::default() };
    let mut numbers = [0; BATCH_MAX];
    for i in 0..expanded.len {
        let target = i / copies as usize;
        expanded.addresses[i] = targets.addresses[target];
        expanded.ports[i] = targets.ports[target];
        numbers[i] = i as u32 % copies;
    }
    (expanded, numbers)
}

/// The work of [`fixed`], once for each instruction set.
struct Fixed<'a, W, O> {
    /// What it is compiled for.
    level: Level,
    check: &'a Check,
    origins: O,
    sums: Sums,
    first: W,
    targets: &'a TargetBatch,
    out: &'a mut PatchBatch,
}

impl<W: FirstWords, O: Origins> Kernel for Fixed<'_, W, O> {
    type Output = ();

    /// Two loops, each of which the compiler turns into vectors. In portable code, one over pairs: the compiler leaves what
    /// follows the cookies in single numbers, which the processor works on beside the vectors of the next two.
    #[inline(always)]
    fn run(mut self) {
        let (origins, targets, makes) = (self.origins, self.targets, self.check.cookies());
        let len = targets.len.min(BATCH_MAX);
        self.out.len = len;
        if self.level == Level::Portable {
            const { assert!(BATCH_MAX.is_power_of_two(), "the last pair ends inside, and that is cheap to know") };
            for i in (0..len).step_by(2) {
                let at = [i, (i + 1) % BATCH_MAX]; // never wraps
                let (addresses, ports) = (at.map(|i| targets.addresses[i]), at.map(|i| targets.ports[i]));
                let [even, odd] = makes.pair(at.map(|i| origins.source(i)), addresses, ports);
                self.finish(at[0], even);
                self.finish(at[1], odd);
            }
            return;
        }
        let mut cookies = [Cookie(0); BATCH_MAX];
        for i in 0..len {
            cookies[i] = makes.cookie(origins.source(i), targets.addresses[i], targets.ports[i]);
        }
        for i in 0..len {
            self.finish(i, cookies[i]);
        }
    }
}

impl<W: FirstWords, O: Origins> Fixed<'_, W, O> {
    /// Makes patch `i`, which may be one past the last, from its cookie.
    #[inline(always)]
    fn finish(&mut self, i: usize, cookie: Cookie) {
        let (targets, ports) = (self.targets, self.check.sources.ports);
        let (source, target, copy) = (self.origins.source(i), targets.addresses[i], self.origins.copy(i));
        let words = self.first.words(Outgoing {
            source,
            target,
            source_port: ports.source_port(cookie, copy),
            target_port: targets.ports[i],
            cookie,
            copy,
            time_ns: targets.time_ns,
        });
        let finish = if W::IS_TCP { Sums::finish_tcp } else { Sums::finish };
        self.out.set(i, finish(self.sums, source, target, words, cookie.ip_id()));
    }
}

/// Makes the patches and tails of frames that differ behind their headers, too, in place of what `out` holds. `make`
/// writes the tail into the room it is given, and returns the first words and how much of the room is used.
pub(super) fn with_tails(
    check: &Check,
    template: &Template,
    targets: &TargetBatch,
    out: &mut PatchBatch,
    mut make: impl FnMut(Outgoing, &mut [u8]) -> ([u32; 2], usize),
) {
    let Check { sources: SourcePool { ports, .. }, copies, .. } = check;
    let makes: Cookies = check.cookies();
    out.len = 0;
    for i in 0..targets.len {
        for copy in 0..*copies {
            let (target, target_port) = (targets.addresses[i], targets.ports[i]);
            let source = check.sources.address(target, copy);
            let cookie = makes.cookie(source, target, target_port);
            let source_port = ports.source_port(cookie, copy);
            let time_ns = targets.time_ns;
            let outgoing = Outgoing { source, target, source_port, target_port, cookie, copy, time_ns };
            let mut words = [0; 2];
            out.tails.write(out.len, |room| {
                let len;
                (words, len) = make(outgoing, room);
                len
            });
            let tail = out.tails.get(out.len);
            out.push(template.finish_with_tail(source, target, words, cookie.ip_id(), tail));
        }
    }
}
