//! The interface between the XDP program and the scanner: the mirror of `xdp-prog/abi.h`.
//!
//! A test compares every value here with the BTF of the compiled object.

use super::ProgramSettings;

/// Most queues of one NIC: entries of the map of sockets (`XDPMAP_QUEUES_MAX`). Fewer would refuse NICs that exist;
/// more take kernel memory.
pub const QUEUES_MAX: u32 = 256;

/// Most source addresses of one scan (`XDPMAP_SOURCES_MAX`). Fewer would refuse larger pools; more take kernel memory.
pub const SOURCES_MAX: usize = 256;

/// Number of counters (`XDPMAP_COUNTERS`).
pub const COUNTERS: usize = Counter::ALL.len();

/// The program's counters, indexed by [`Counter`]; each packet is in exactly one.
pub type Counts = [u64; COUNTERS];

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// Why the XDP program passed, dropped or steered a packet (`enum xdpmap_counter`). A packet that fails several
        /// tests counts for the first of them; the head of `xdp-prog/xdpmap.bpf.c` has their order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Counter {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in metadata and status files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Passed: another EtherType or IP version.
    PassNotIpv4 = 0 "pass_not_ipv4",
    /// Passed: IPv4, neither ICMP nor the protocol of answers.
    PassOtherProtocol = 1 "pass_other_protocol",
    /// Passed: a later IPv4 fragment, in a scan of TCP any.
    PassFragment = 2 "pass_fragment",
    /// Passed: the frame ends inside a header, or a length is impossible.
    PassTruncated = 3 "pass_truncated",
    /// Passed: the destination is not one of our source addresses.
    PassOtherAddress = 4 "pass_other_address",
    /// Passed: the destination port is not one of the scan's source ports.
    PassOtherPort = 5 "pass_other_port",
    /// Passed: to a port of the scan, but neither SYN-ACK nor RST: the host's own traffic.
    PassOtherFlags = 6 "pass_other_flags",
    /// Passed: a packet that could be an answer, sent to us, with a wrong cookie.
    PassBadCookie = 7 "pass_bad_cookie",
    /// Dropped, because of `drop_invalid`: neither SYN-ACK nor RST.
    DropOtherFlags = 8 "drop_other_flags",
    /// Dropped, because of `drop_invalid`: a packet that could be an answer, with a wrong cookie.
    DropBadCookie = 9 "drop_bad_cookie",
    /// A right cookie: redirected to the AF_XDP socket of the RX queue.
    ValidRedirected = 10 "valid_redirected",
    /// A right cookie, but the RX queue has no socket: passed to the host.
    ValidNoSocket = 11 "valid_no_socket",
    /// Passed: ICMP that is neither an error nor, in an echo scan, an echo reply.
    PassOtherIcmp = 12 "pass_other_icmp",
    /// Passed: an ICMP error that does not quote a probe of ours, or too little of it.
    PassBadQuote = 13 "pass_bad_quote",
    /// Passed: in a scan of a VLAN, IPv4 with the tags of another one.
    PassOtherVlan = 14 "pass_other_vlan",
    /// Passed: UDP with a right cookie, or an ICMP error that quotes it, that belongs to a socket of the host.
    PassOwnSocket = 15 "pass_own_socket",
}

/// Names and values of `counts`, in the order of their numbers.
pub fn named(counts: &Counts) -> impl Iterator<Item = (&'static str, u64)> {
    Counter::ALL.iter().map(|counter| (counter.name(), counts[*counter as usize]))
}

/// The program's configuration, set at load (`struct xdpmap_config`). Values in host order.
#[derive(Clone, Copy, PartialEq, Eq, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct Config {
    /// SipHash's state with the key in it: [`Key::begun_state`](wire::proof::Key::begun_state).
    pub cookie_state: [u64; 4],
    /// First source port of the scan.
    pub source_port_first: u32,
    /// Number of source ports, 1 to 65,536.
    pub source_port_count: u32,
    /// The copy numbers of probes, 1 to `source_port_count`: those of ordinary and second probes and of canaries.
    pub probes: u32,
    /// Not 0: drop, instead of passing, packets that are addressed to us, invalid, and not for a socket of the host.
    pub drop_invalid: u32,
    /// Lowest source address, as a number.
    pub source_first: u32,
    /// Highest source address, as a number.
    pub source_last: u32,
    /// Not 0: all addresses between these two are ours.
    pub sources_dense: u32,
    /// The kind of probe: a [`ProbeForm`](wire::proof::ProbeForm).
    pub form: u32,
    /// 0xffff; 0 where the cookie leaves the target's port out.
    pub cookie_port_mask: u32,
    /// Tags of the scan's frames, 0 to 2.
    pub vlan_tags: u32,
    /// Their VLANs' numbers: the inner one's in the lower half, the outer one's in the upper half.
    pub vlan_ids: u32,
    /// The part of the cookie that UDP answers repeat: an [`Echo`](wire::proof::Echo).
    pub echo: u32,
    /// Not 0: the host may have sockets at the source addresses.
    pub own_sockets: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Config {
    /// The configuration of a scan with these settings.
    pub fn new(settings: &ProgramSettings<'_>) -> Self {
        let mut sources: Vec<_> = settings.sources.iter().map(|address| address.to_bits()).collect();
        sources.sort_unstable();
        sources.dedup();
        // Without sources no address matches, because the lowest is above the highest.
        let (first, last) = (sources.first().copied().unwrap_or(1), sources.last().copied().unwrap_or(0));
        Self {
            cookie_state: settings.key.begun_state(),
            source_port_first: settings.ports.first.into(),
            source_port_count: settings.ports.count,
            probes: settings.copies.all(),
            drop_invalid: settings.drop_invalid.into(),
            source_first: first,
            source_last: last,
            sources_dense: (u64::from(last) + 1 == u64::from(first) + sources.len() as u64).into(),
            form: settings.form as u32,
            cookie_port_mask: if settings.port_in_cookie { 0xffff } else { 0 },
            vlan_tags: settings.tags.len() as u32,
            vlan_ids: settings.tags.ids().fold(0, |ids, id| ids << 16 | u32::from(id)),
            echo: settings.echo as u32,
            own_sockets: settings.own_sockets.into(),
            reserved: 0,
        }
    }
}

#[expect(unsafe_code, reason = "aya takes a global's value by this marker")]
// SAFETY: `Config` is `repr(C)` and holds integers without padding (zerocopy's `IntoBytes` proves that), so each of its
// bytes is initialised.
unsafe impl aya::Pod for Config {}
