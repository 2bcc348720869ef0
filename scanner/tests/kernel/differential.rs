//! The program and the scanner's own check, on many thousand frames: both steer, pass or drop the same ones, for the
//! same reason.
//!
//! Each frame is a real answer with up to five edits. Edits know where the headers begin, also those of a quoted probe,
//! and mostly change what the two judges look at: lengths that lie, options, tags, fragments, ports and cookies that
//! are wrong by one, an end inside a header. `PROPTEST_CASES` asks for more frames than the usual ones.

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use lab::have_root;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::network::{Socket, enter_namespace, index};
use wire::packet::view::Packet;
use wire::packet::{LinkHeader, VlanTags};
use wire::proof::{Check, Copies, Echo, PortRange, ProbeForm, SourcePool};
use xdpmap::io::bpf::abi::{COUNTERS, Counter, Counts};
use xdpmap::io::bpf::{ProgramSettings, XdpProgram};

use crate::fixtures::action;
use crate::forms::{KEY, SOURCE, answers, kinds, own_verdict};

/// Frames of a usual run.
const FRAMES: u32 = 30_000;

/// The sources of a scan: one address, or addresses with gaps between them, which are looked up in a map.
const SOURCES: [&[Ipv4Addr]; 2] =
    [&[SOURCE], &[SOURCE, Ipv4Addr::new(198, 18, 0, 3), Ipv4Addr::new(10, 0, 0, 1)]];
/// Their ports. The second range ends where ports end.
const PORTS: [PortRange; 2] =
    [PortRange { first: 40_000, count: 1_000 }, PortRange { first: 65_529, count: 7 }];
/// Their copies: with canaries, and without.
const COPIES: [Copies; 2] = [Copies::of(3).with_canaries(), Copies::of(5)];

/// One scan's two judges.
struct Judges {
    check: Check,
    sources: &'static [Ipv4Addr],
    drop_invalid: bool,
    program: XdpProgram,
    /// The program's counters after its last frame.
    counts: Cell<Counts>,
}

impl Judges {
    /// Those of a scan of this kind; `variant` is 0 or 1.
    fn of((form, echo): (ProbeForm, Echo), port_in_cookie: bool, variant: usize, socket: &Socket) -> Self {
        let (sources, ports, copies) = (SOURCES[variant], PORTS[variant], COPIES[variant]);
        let addresses = sources.iter().map(|address| address.to_bits()).collect();
        let check = Check {
            key: KEY,
            form,
            link: LinkHeader::Ethernet,
            sources: SourcePool { addresses, ports },
            other_sources: vec![],
            copies,
            echo,
            port_in_cookie,
        };
        let drop_invalid = variant == 1;
        let settings = ProgramSettings {
            key: KEY,
            ports,
            copies,
            form,
            port_in_cookie,
            echo,
            drop_invalid,
            // There are none in the test's namespace, and they are looked for.
            own_sockets: drop_invalid,
            sources,
            tags: VlanTags::default(),
        };
        let mut program = XdpProgram::load(&settings).expect("aya loads the object");
        program.set_socket(0, socket.as_fd()).expect("a socket in the map");
        Self { check, sources, drop_invalid, program, counts: Cell::new([0; COUNTERS]) }
    }

    /// The program's action and the counter that it raised.
    fn program(&self, frame: &[u8]) -> (u32, Counter) {
        let action = self.program.test_run(frame, 1).expect("a test run").action;
        let counts = self.program.counters().expect("counters");
        let before = self.counts.replace(counts);
        let mut raised = Counter::ALL.iter().filter(|&&one| counts[one as usize] != before[one as usize]);
        let counter = *raised.next().expect("a counter");
        assert_eq!(raised.next(), None, "one counter for each frame");
        (action, counter)
    }

    /// The same according to the scanner's own check.
    fn check(&self, frame: &[u8]) -> (u32, Counter) {
        let counter = match own_verdict(&self.check, frame) {
            Counter::ValidNoSocket => Counter::ValidRedirected,
            Counter::PassOtherFlags if self.drop_invalid && self.is_for_us(frame) => Counter::DropOtherFlags,
            // ICMP may be the host's, and is never dropped.
            Counter::PassBadCookie if self.drop_invalid && self.check.form != ProbeForm::IcmpEcho => {
                Counter::DropBadCookie
            }
            counter => counter,
        };
        (action(counter), counter)
    }

    fn is_for_us(&self, frame: &[u8]) -> bool {
        let packet = Packet::parse(frame, frame.len() as u32, LinkHeader::Ethernet).expect("it has flags");
        self.check.sources.addresses.contains(&packet.destination)
    }
}

/// The parts of a frame. Each but the last begins with a header.
#[derive(Clone, Copy, Debug)]
enum Part {
    Link,
    Ip,
    Transport,
    /// What an ICMP error quotes.
    Quote,
    /// The quoted packet's payload.
    Quoted,
    End,
}

impl Part {
    const ALL: [Self; 6] = [Self::Link, Self::Ip, Self::Transport, Self::Quote, Self::Quoted, Self::End];

    /// Where the part begins, if all lengths before it are true.
    fn start(self, frame: &[u8]) -> usize {
        let header_len = |at: usize| usize::from(frame.get(at).unwrap_or(&0) & 0xf) * 4;
        match self {
            Self::Link => 0,
            Self::Ip => {
                let is_tag = |at: usize| matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8]));
                (14..).step_by(4).find(|at| !is_tag(at - 2)).unwrap_or_default()
            }
            Self::Transport => Self::Ip.start(frame) + header_len(Self::Ip.start(frame)),
            Self::Quote => Self::Transport.start(frame) + 8,
            Self::Quoted => Self::Quote.start(frame) + header_len(Self::Quote.start(frame)),
            Self::End => frame.len(),
        }
    }
}

/// Fields of headers: the part, the offset in it, the length.
const FIELDS: [(Part, usize, usize); 34] = [
    (Part::Link, 12, 2),
    // IPv4, in the frame and in a quote: version and IHL, total length, fragment, protocol, addresses.
    (Part::Ip, 0, 1),
    (Part::Ip, 2, 2),
    (Part::Ip, 6, 2),
    (Part::Ip, 9, 1),
    (Part::Ip, 12, 4),
    (Part::Ip, 16, 4),
    (Part::Quote, 0, 1),
    (Part::Quote, 2, 2),
    (Part::Quote, 6, 2),
    (Part::Quote, 9, 1),
    (Part::Quote, 12, 4),
    (Part::Quote, 16, 4),
    // TCP and UDP: ports, TCP's numbers or UDP's length and the first of its payload, data offset, flags.
    (Part::Transport, 0, 2),
    (Part::Transport, 2, 2),
    (Part::Transport, 4, 4),
    (Part::Transport, 8, 4),
    (Part::Transport, 8, 2),
    (Part::Transport, 12, 1),
    (Part::Transport, 13, 1),
    (Part::Quoted, 0, 2),
    (Part::Quoted, 2, 2),
    (Part::Quoted, 4, 4),
    // ICMP: type, identifier, sequence number; in the quote the identification of IP in IP as well.
    (Part::Transport, 0, 1),
    (Part::Transport, 1, 1),
    (Part::Transport, 4, 2),
    (Part::Transport, 6, 2),
    (Part::Quoted, 0, 1),
    (Part::Quoted, 4, 2),
    (Part::Quoted, 6, 2),
    // The origin timestamp of NTP, behind UDP's header.
    (Part::Transport, 32, 4),
    (Part::Transport, 36, 4),
    // Fields that nothing depends on.
    (Part::Ip, 4, 2),
    (Part::Ip, 8, 1),
];

/// A change of a field.
#[derive(Clone, Debug)]
enum Change {
    /// Adds to it, with wrap-around.
    Add(i32),
    /// Sets it, as far as it has room.
    Set(u32),
    /// Flips a bit.
    Flip(u8),
}

/// An edit of a frame. What does not fit changes nothing.
#[derive(Clone, Debug)]
enum Edit {
    Field(usize, Change),
    /// Puts tags before the IP header, the outer one first.
    Tags(Vec<u16>),
    /// Adds that many words of options to the header of a part. The header's length counts them if `counted`.
    Options {
        part: Part,
        words: usize,
        counted: bool,
    },
    /// Ends the frame near the start of a part.
    Cut(Part, isize),
    /// Adds bytes at the end.
    Grow(usize),
    /// Makes the IP total length that of the frame.
    Count,
    Byte(Index, u8),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
}

/// Longest frame that is tried.
const LONGEST: usize = 400;
/// The shortest frame that the kernel accepts for a test run.
const SHORTEST: usize = 14;

impl Edit {
    fn apply(&self, frame: &mut Vec<u8>) {
        match self {
            Self::Field(number, change) => {
                let (part, offset, len) = FIELDS[*number];
                let at = part.start(frame) + offset;
                let Some(field) = frame.get_mut(at..at + len) else { return };
                let value = field.iter().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
                let value = match change {
                    Change::Add(step) => value.wrapping_add_signed(*step),
                    Change::Set(value) => *value,
                    Change::Flip(bit) => value ^ 1 << (usize::from(*bit) % (8 * len)),
                };
                field.copy_from_slice(&value.to_be_bytes()[4 - len..]);
            }
            Self::Tags(tags) => {
                let tags = tags.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 7]].concat());
                insert(frame, 12, tags);
            }
            Self::Options { part, words, counted } => {
                let start = part.start(frame);
                let (len_at, fixed, shift) =
                    if matches!(part, Part::Transport) { (12, 20, 4) } else { (0, 20, 0) };
                insert(frame, start + fixed, std::iter::repeat_n(1, 4 * words));
                if let Some(len) = frame.get_mut(start + len_at).filter(|_| *counted) {
                    *len = len.wrapping_add((*words as u8) << shift);
                }
            }
            Self::Cut(part, near) => frame.truncate(part.start(frame).saturating_add_signed(*near)),
            Self::Grow(len) => frame.resize(frame.len() + len, 0),
            Self::Count => {
                let ip = Part::Ip.start(frame);
                let len = (frame.len().saturating_sub(ip) as u16).to_be_bytes();
                if let Some(field) = frame.get_mut(ip + 2..ip + 4) {
                    field.copy_from_slice(&len);
                }
            }
            Self::Byte(place, value) => {
                let place = place.index(frame.len());
                frame[place] = *value;
            }
            Self::Remove(place, len) => {
                let start = place.index(frame.len());
                frame.drain(start..(start + len).min(frame.len()));
            }
            Self::Insert(place, bytes) => insert(frame, place.index(frame.len()), bytes.iter().copied()),
        }
        frame.resize(frame.len().clamp(SHORTEST, LONGEST), 0);
    }
}

fn insert(frame: &mut Vec<u8>, at: usize, bytes: impl IntoIterator<Item = u8>) {
    if at <= frame.len() {
        frame.splice(at..at, bytes);
    }
}

/// Values at which a field's meaning changes: protocols, types, EtherTypes, lengths, fragments, addresses of sources.
fn values() -> impl Strategy<Value = u32> {
    let known = [
        0,
        1,
        3,
        4,
        5,
        6,
        8,
        11,
        12,
        17,
        19,
        20,
        21,
        27,
        28,
        29,
        36,
        40,
        60,
        0x02,
        0x04,
        0x12,
        0x13,
        0x14,
        0x16,
        0x44,
        0x45,
        0x46,
        0x4f,
        0x50,
        0x55,
        0x60,
        0xf0,
        0xff,
        0x0800,
        0x0806,
        0x1fff,
        0x2000,
        0x4000,
        0x8100,
        0x86dd,
        0x88a8,
        0xffff,
        u32::MAX,
    ];
    let addresses = SOURCES[1].iter().map(|address| address.to_bits());
    let near = addresses.flat_map(|address| [address, address - 1, address + 1]);
    prop_oneof![3 => select(known.into_iter().chain(near).collect::<Vec<u32>>()), 1 => any::<u32>()]
}

fn edit() -> impl Strategy<Value = Edit> {
    let change = prop_oneof![
        (-3..=3_i32).prop_map(Change::Add),
        values().prop_map(Change::Set),
        any::<u8>().prop_map(Change::Flip),
    ];
    let part = || select(Part::ALL.to_vec());
    let header = select(vec![Part::Ip, Part::Transport, Part::Quote]);
    prop_oneof![
        8 => (0..FIELDS.len(), change).prop_map(|(number, change)| Edit::Field(number, change)),
        1 => prop::collection::vec(select(vec![0x8100_u16, 0x88a8]), 1..4).prop_map(Edit::Tags),
        2 => (header, 1..11_usize, any::<bool>())
            .prop_map(|(part, words, counted)| Edit::Options { part, words, counted }),
        2 => (part(), -2..=30_isize).prop_map(|(part, near)| Edit::Cut(part, near)),
        1 => (1..60_usize).prop_map(Edit::Grow),
        2 => Just(Edit::Count),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(place, value)| Edit::Byte(place, value)),
        1 => (any::<Index>(), 1..9_usize).prop_map(|(place, len)| Edit::Remove(place, len)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(place, bytes)| Edit::Insert(place, bytes)),
    ]
}

#[test]
fn the_program_and_the_check_agree_on_every_frame() {
    if !have_root() {
        return;
    }
    enter_namespace();
    // A test run counts as received on queue 0 of the namespace's loopback interface.
    let socket = Socket::bind(index("lo"), 0);
    let mut scans = vec![];
    for kind in kinds() {
        for (port_in_cookie, variant) in [(true, 0), (false, 0), (true, 1), (false, 1)] {
            scans.push(Judges::of(kind, port_in_cookie, variant, &socket));
        }
    }
    let verdicts = RefCell::new([0_u64; COUNTERS]);
    let default = ProptestConfig::default();
    let config = ProptestConfig { cases: default.cases.max(FRAMES), failure_persistence: None, ..default };
    proptest!(config, |(
        scan: Index,
        // Now and then an answer to the probes of another scan.
        other in prop::option::weighted(0.05, any::<Index>()),
        source: Index,
        copy: Index,
        answer: Index,
        target: (Ipv4Addr, u16),
        edits in prop::collection::vec(edit(), 0..6),
    )| {
        let judges = scan.get(&scans);
        let asked = other.map_or(judges, |other| other.get(&scans));
        let copy = copy.index(asked.check.copies.all() as usize) as u32;
        let mut answers = answers(&asked.check, *source.get(asked.sources), target, copy);
        let frame = answer.get_mut(&mut answers);
        edits.iter().for_each(|edit| edit.apply(frame));
        let (program, check) = (judges.program(frame), judges.check(frame));
        prop_assert_eq!(program, check, "the program, and the check; {:?}: {:02x?}", judges.check.form, frame);
        verdicts.borrow_mut()[program.1 as usize] += 1;
    });
    for &counter in Counter::ALL {
        let count = verdicts.borrow()[counter as usize];
        // Other tests have scans of a VLAN and sockets of the host; here each queue has a socket.
        let is_none =
            matches!(counter, Counter::PassOtherVlan | Counter::PassOwnSocket | Counter::ValidNoSocket);
        assert!(is_none == (count == 0), "{counter:?}: {count} frames");
    }
}
