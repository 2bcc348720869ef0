//! From targets to patches: what the probes' `emit` have in common.
//!
//! Owns the order of the patches (the copies of a target stay next to each other) and the two ways to make them: frames
//! that differ in their headers only, in vectors, and frames with a tail, one by one.

use std::hint::black_box;

use super::{Check, Cookies, SourcePool};
use crate::cookie::{Cookie, Halves};
use crate::packet::{PatchBatch, Sums, Template};
use crate::simd::{Kernel, Lane, Level, Quad};
use crate::targets::{BATCH_MAX, TargetBatch};

/// How a probe's first 8 bytes behind the IP header are made, as two words.
pub(super) trait FirstWords: Copy {
    /// Whether the template is TCP, whose checksum takes less.
    const IS_TCP: bool = false;

    /// The words of a probe, or of several at once, as [`Lane::wire`] makes them. Nothing in it branches, so a loop becomes
    /// one over vectors.
    fn words<L: Lane>(self, head: Head<L>) -> [L; 2];
}

/// What the first words of a probe are made of, or those of several at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<L> {
    /// Both ports, ours in the upper half, as [`Lane::wire`] makes them.
    pub(super) ports: L,
    /// Its cookie.
    pub(super) cookie: Halves<L>,
    /// Which copy for the target it is, from 0.
    pub(super) copy: L,
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
    /// What its first words are made of.
    #[inline(always)]
    pub(super) fn head(self) -> Head<u32> {
        let ports = u32::from(self.source_port) << 16 | u32::from(self.target_port);
        Head { ports: ports.wire(), cookie: self.cookie.halves(), copy: self.copy }
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
    /// The addresses that row `row` comes from.
    fn sources<L: Lane>(self, row: usize) -> L;
    /// The numbers of the copies that row `row` is; `None` where all are copies 0.
    fn copies<L: Lane>(self, row: usize) -> Option<L>;
}

/// The one address there is, and one copy: known to be the same for all, they are not loaded, nor summed, for each.
#[derive(Clone, Copy)]
struct Only(u32);

impl Origins for Only {
    #[inline(always)]
    fn sources<L: Lane>(self, _: usize) -> L {
        L::of(self.0)
    }

    #[inline(always)]
    fn copies<L: Lane>(self, _: usize) -> Option<L> {
        None
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
    fn sources<L: Lane>(self, row: usize) -> L {
        L::load(self.sources, row)
    }

    #[inline(always)]
    fn copies<L: Lane>(self, row: usize) -> Option<L> {
        Some(L::load(self.copies, row))
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

    /// Two loops, each of which the compiler turns into vectors. Of those that every processor has it makes none that are
    /// worth it, so portable code says how: in one loop, four probes at a time.
    #[inline(always)]
    fn run(mut self) {
        let (origins, targets, makes) = (self.origins, self.targets, self.check.cookies());
        let len = targets.len.min(BATCH_MAX);
        self.out.len = len;
        if self.level == Level::Portable {
            // Kept in memory: there are too few registers for all constants, and to make a vector of a number again and again
            // takes the units that the hash needs most.
            let quads = black_box(makes.quads());
            for row in 0..len.div_ceil(Quad::WIDTH) {
                let (addresses, ports) =
                    (Quad::load(&targets.addresses, row), Quad::load_shorts(&targets.ports, row));
                self.finish(row, quads.make(origins.sources(row), addresses, ports));
            }
            return;
        }
        let mut cookies = [Cookie(0); BATCH_MAX];
        for i in 0..len {
            cookies[i] = makes.cookie(origins.sources(i), targets.addresses[i], targets.ports[i]);
        }
        for i in 0..len {
            self.finish(i, cookies[i].halves());
        }
    }
}

impl<W: FirstWords, O: Origins> Fixed<'_, W, O> {
    /// Makes row `row` of patches, which may reach past the last, from their cookies.
    #[inline(always)]
    fn finish<L: Lane>(&mut self, row: usize, cookie: Halves<L>) {
        let copies = self.origins.copies(row);
        let source_port = self.check.sources.ports.source_ports(cookie, copies);
        // In one word: their bytes are turned round together.
        let id_and_port = cookie.ip_id_above().or(source_port).wire();
        let target_port = L::load_shorts(&self.targets.ports, row).wire();
        let words = self.first.words(Head {
            ports: id_and_port.left(16).or(target_port),
            cookie,
            copy: copies.unwrap_or(L::of(0)),
        });
        let (source, target) = (self.origins.sources::<L>(row), L::load(&self.targets.addresses, row));
        let sums = if W::IS_TCP { self.sums.of_tcp() } else { self.sums };
        let fields = sums.fields(source.wire(), target.wire(), words, id_and_port.right(16), [0; 2]);
        self.out.set(row, fields);
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
