//! What the XDP program and the scanner agree on: the Rust mirror of `xdp-prog/abi.h`.
//!
//! A test holds it against the BTF of the compiled object, so a change on one side only does not pass.

/// Entries of the program's XSKMAP: most queues of a NIC.
pub const QUEUES_MAX: u32 = 256;
/// Entries of the program's map of source addresses.
pub const SOURCES_MAX: u32 = 256;

macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// Why a packet was passed, dropped or steered; the program raises one for each packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Counter {
            /// All of them, in order.
            pub const ALL: [Self; COUNTERS] = [$(Self::$variant,)*];

            /// Its name in the metadata.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

/// How many counters there are.
pub const COUNTERS: usize = 12;

verdicts! {
    /// Passed: no IPv4.
    PassNotIpv4 = 0, "pass_not_ipv4";
    /// Passed: IPv4, but no TCP.
    PassNotTcp = 1, "pass_not_tcp";
    /// Passed: a fragment.
    PassFragment = 2, "pass_fragment";
    /// Passed: ends inside a header, or a length in it is impossible.
    PassTruncated = 3, "pass_truncated";
    /// Passed: not to a source address of the scan.
    PassOtherAddress = 4, "pass_other_address";
    /// Passed: not to a source port of the scan.
    PassOtherPort = 5, "pass_other_port";
    /// Passed: to a source port, but neither SYN-ACK nor RST.
    PassOtherFlags = 6, "pass_other_flags";
    /// Passed: SYN-ACK or RST with a wrong cookie.
    PassBadCookie = 7, "pass_bad_cookie";
    /// Dropped by `--drop-invalid`: neither SYN-ACK nor RST.
    DropOtherFlags = 8, "drop_other_flags";
    /// Dropped by `--drop-invalid`: wrong cookie.
    DropBadCookie = 9, "drop_bad_cookie";
    /// A valid reply, handed to its queue's socket.
    ValidRedirected = 10, "valid_redirected";
    /// A valid reply on a queue without a socket, passed to the host.
    ValidNoSocket = 11, "valid_no_socket";
}

/// `struct xdpmap_config`: set once, when the program is loaded. Numbers in host order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Config {
    /// SipHash key: k0, k1.
    pub cookie_key: [u64; 2],
    /// First source port.
    pub source_port_first: u32,
    /// How many, 1 to 65,536.
    pub source_port_count: u32,
    /// Copies of each probe.
    pub probes: u32,
    /// Not 0: drop what is aimed at us and is not valid.
    pub drop_invalid: u32,
}

// SAFETY: repr(C), made of integers only, without padding: any bytes are a value and every byte is initialised.
unsafe impl aya::Pod for Config {}

const _: () = assert!(size_of::<Config>() == 32);
