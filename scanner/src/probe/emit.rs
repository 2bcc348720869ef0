//! From targets to patches: the shared part of the probes' `emit`.
//!
//! Owns the order of the patches (the copies of a target stay next to each other) and the two ways to make them: with
//! vectors if frames differ only in their headers, and one by one if frames have a tail.

use std::hint::black_box;

use simd::{Kernel, Lane, Level, Quad, Simd};
use targets::TargetBatch;
use wire::packet::{BATCH_MAX, PatchBatch, Sums, Template};
use wire::proof::{Check, Cookie, Cookies, Halves, Numbers, SourcePool};

/// Computes a probe's first 8 bytes behind the IP header, as two words.
pub(super) trait FirstWords: Copy {
    /// Whether the template is TCP, whose checksum needs less work.
    const IS_TCP: bool = false;

    /// The words of one probe or of several at once, in wire order ([`Lane::wire`]). It has no branches, so a loop over
    /// it can be vectorised.
    fn words<L: Lane>(self, head: Head<L>) -> [L; 2];
}

/// The input for the first words of one probe or of several at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<L> {
    /// Both ports, ours in the upper half, in wire order ([`Lane::wire`]).
    pub(super) ports: L,
    /// Its cookie.
    pub(super) cookie: Halves<L>,
    /// The number of the copy for its target, from 0.
    pub(super) copy: L,
}

/// A probe before its frame is written. Numbers are in host order.
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
    /// The number of the copy for its target, from 0.
    pub(super) copy: u32,
    /// When it leaves, in nanoseconds since the Unix epoch.
    pub(super) time_ns: u64,
}

impl Outgoing {
    /// The input for its first words.
    #[inline(always)]
    pub(super) fn head(self) -> Head<u32> {
        let ports = u32::from(self.source_port) << 16 | u32::from(self.target_port);
        Head { ports: ports.wire(), cookie: self.cookie.halves(), copy: self.copy }
    }
}

/// Makes the patches of frames that differ only in their headers; replaces the content of `out`.
pub(super) fn fixed<W: FirstWords>(
    level: Level,
    check: &Check,
    template: &Template,
    first: W,
    targets: &TargetBatch,
    numbers: Numbers,
    out: &mut PatchBatch,
) {
    let sums = template.sums();
    if let ([only], Numbers { first: 0, count: 1 }) = (&check.sources.addresses[..], numbers) {
        return level.run(Fixed { check, origins: Only(*only), sums, first, targets, out });
    }
    let expanded;
    let (targets, copies) = match numbers {
        Numbers { first: 0, count: 1 } => (targets, &[0; BATCH_MAX]),
        numbers => {
            expanded = expand(targets, numbers);
            (&expanded.0, &expanded.1)
        }
    };
    let mut sources = [0; BATCH_MAX];
    for (i, source) in sources.iter_mut().enumerate().take(targets.len) {
        *source = check.sources.address(targets.addresses[i], copies[i]);
    }
    let origins = Listed { sources: &sources, copies };
    level.run(Fixed { check, origins, sums, first, targets, out });
}

/// The source addresses and copy numbers of a batch's probes.
trait Origins: Copy {
    /// The source addresses of row `row`.
    fn sources<L: Lane>(self, row: usize) -> L;
    /// The copy numbers of row `row`; `None` if all are copies 0.
    fn copies<L: Lane>(self, row: usize) -> Option<L>;
}

/// One source address and one copy per target. The same for all, so they are neither loaded nor summed for each probe.
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

/// An address and a copy number for each entry.
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

/// A batch with an entry for each copy, and the copy number of each entry.
fn expand(targets: &TargetBatch, copies: Numbers) -> (TargetBatch, [u32; BATCH_MAX]) {
    let Numbers { first, count } = copies;
    let len = targets.len * count as usize;
    let mut expanded = TargetBatch { len, time_ns: targets.time_ns, ..TargetBatch::default() };
    let mut numbers = [0; BATCH_MAX];
    for i in 0..expanded.len {
        let target = i / count as usize;
        expanded.addresses[i] = targets.addresses[target];
        expanded.ports[i] = targets.ports[target];
        numbers[i] = first + i as u32 % count;
    }
    (expanded, numbers)
}

/// The work of [`fixed`], compiled once for each instruction set.
struct Fixed<'a, W, O> {
    check: &'a Check,
    origins: O,
    sums: Sums,
    first: W,
    targets: &'a TargetBatch,
    out: &'a mut PatchBatch,
}

impl<W: FirstWords, O: Origins> Kernel for Fixed<'_, W, O> {
    type Output = ();

    /// Two loops that the compiler vectorises. With SSE2 alone it does not do so well, so the baseline version
    /// processes four probes at a time explicitly, in one loop.
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (origins, targets, makes) = (self.origins, self.targets, self.check.cookies());
        let len = targets.len.min(BATCH_MAX);
        self.out.len = len;
        if simd.level().as_avx2().is_none() {
            // Kept in memory. There are too few registers for all constants, and broadcasting a number into a vector
            // again and again would occupy the execution units that the hash needs most.
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
    /// Makes row `row` of patches from their cookies. The row may reach past the last patch.
    #[inline(always)]
    fn finish<L: Lane>(&mut self, row: usize, cookie: Halves<L>) {
        let copies = self.origins.copies(row);
        let source_port = self.check.sources.ports.source_ports(cookie, copies);
        // In one word, so that their bytes are swapped together.
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

/// Makes the patches and tails of frames that also differ behind their headers; replaces the content of `out`. `make`
/// writes the tail into the given room, and returns the first words and the length of the tail.
pub(super) fn with_tails(
    check: &Check,
    template: &Template,
    targets: &TargetBatch,
    numbers: Numbers,
    out: &mut PatchBatch,
    mut make: impl FnMut(Outgoing, &mut [u8]) -> ([u32; 2], usize),
) {
    let Check { sources: SourcePool { ports, .. }, .. } = check;
    let makes: Cookies = check.cookies();
    out.len = 0;
    for i in 0..targets.len {
        for copy in numbers.first..numbers.first + numbers.count {
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
