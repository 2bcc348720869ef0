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
    let (expanded, copies);
    let (targets, copies) = if check.copies == 1 {
        (targets, None)
    } else {
        (expanded, copies) = expand(targets, check.copies);
        (&expanded, Some(&copies))
    };
    if let [only] = check.sources.addresses[..] {
        return level.run(Fixed { check, sources: Only(only), sums, first, targets, copies, out });
    }
    let mut sources = [0; BATCH_MAX];
    for (i, source) in sources.iter_mut().enumerate().take(targets.len) {
        *source = check.sources.address(targets.addresses[i], copies.map_or(0, |copies| copies[i]));
    }
    level.run(Fixed { check, sources: &sources, sums, first, targets, copies, out });
}

/// Where the probes of a batch come from.
trait Sources: Copy {
    /// The address that entry `i` comes from.
    fn of(self, i: usize) -> u32;
}

/// The one address there is: known to be the same for all, it is not loaded, nor summed, for each.
#[derive(Clone, Copy)]
struct Only(u32);

impl Sources for Only {
    #[inline(always)]
    fn of(self, _: usize) -> u32 {
        self.0
    }
}

/// An address for each entry.
impl Sources for &[u32; BATCH_MAX] {
    #[inline(always)]
    fn of(self, i: usize) -> u32 {
        self[i]
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
struct Fixed<'a, W, S> {
    check: &'a Check,
    sources: S,
    sums: Sums,
    first: W,
    targets: &'a TargetBatch,
    /// Number of the copy that each entry is; `None` if all are the first.
    copies: Option<&'a [u32; BATCH_MAX]>,
    out: &'a mut PatchBatch,
}

impl<W: FirstWords, S: Sources> Kernel for Fixed<'_, W, S> {
    type Output = ();

    /// Two loops, each of which the compiler turns into vectors.
    #[inline(always)]
    fn run(self) {
        let Self { check, sources, sums, first, targets, copies, out } = self;
        let len = targets.len.min(BATCH_MAX);
        let (ports, makes, time_ns) = (check.sources.ports, check.cookies(), targets.time_ns);
        out.len = len;
        let copy = |i: usize| copies.map_or(0, |copies| copies[i]);
        let mut cookies = [Cookie(0); BATCH_MAX];
        for i in 0..len {
            cookies[i] = makes.cookie(sources.of(i), targets.addresses[i], targets.ports[i]);
        }
        for i in 0..len {
            let (source, target, cookie) = (sources.of(i), targets.addresses[i], cookies[i]);
            let words = first.words(Outgoing {
                source,
                target,
                source_port: ports.source_port(cookie, copy(i)),
                target_port: targets.ports[i],
                cookie,
                copy: copy(i),
                time_ns,
            });
            let ip_id = cookie.ip_id();
            out.set(
                i,
                match W::IS_TCP {
                    true => sums.finish_tcp(source, target, words, ip_id),
                    false => sums.finish(source, target, words, ip_id),
                },
            );
        }
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
