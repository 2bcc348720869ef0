//! The list of the probe modules, and their construction by name.
//!
//! Owns that list. A module's arguments are checked once, when the plan is made; constructing its probe afterwards
//! cannot fail.

use std::ffi::OsStr;

use targets::PortList;
use wire::packet::{LinkHeader, MacAddr, VlanTags};
use wire::proof::{Check, Copies, Echo, Key, PortRange, ProbeForm, Proof, SourcePool};

use super::attribution::Uri;
use super::bacnet::{self, Bacnet};
use super::dns::{self, Dns};
use super::icmp::echo::{self, IcmpEcho};
use super::icmp::echo_time::{self, IcmpEchoTime};
use super::ipip::{self, IpIp};
use super::ntp::{self, Ntp};
use super::tcp_synackscan::{self, TcpSynAckScan};
use super::tcp_synscan::{self, TcpSynScan};
use super::udp::{self, Payload, Udp};
use super::upnp::{self, Upnp};
use super::{ModuleInfo, Probe, ProbeSettings};
use crate::printable::printable;

/// All modules.
pub const MODULES: [&ModuleInfo; 10] = [
    &tcp_synscan::INFO,
    &tcp_synackscan::INFO,
    &echo::INFO,
    &echo_time::INFO,
    &udp::INFO,
    &dns::INFO,
    &ntp::INFO,
    &upnp::INFO,
    &bacnet::INFO,
    &ipip::INFO,
];

/// A module with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Module {
    /// `tcp_synscan`
    TcpSynScan(tcp_synscan::Args),
    /// `tcp_synackscan`
    TcpSynAckScan,
    /// `icmp_echoscan`, with its payload.
    IcmpEcho(Vec<u8>),
    /// `icmp_echo_time`, with what follows the time and the target.
    IcmpEchoTime(Vec<u8>),
    /// `udp`, with its payload.
    Udp(Payload),
    /// `ipip`, with its payload.
    IpIp(Vec<u8>),
    /// `dns`, with its questions, at least one.
    Dns(Vec<dns::args::Query>),
    /// `ntp`
    Ntp,
    /// `upnp`
    Upnp,
    /// `bacnet`
    Bacnet,
}

/// Why a module is unavailable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// No module has this name.
    #[error("there is no module \"{0}\"")]
    Unknown(String),
    /// The module does not accept these arguments.
    #[error("{0}")]
    Args(String),
    /// The probes are to be as short as can be.
    #[error(
        "smallest-probes leaves no room for it; give another layout with --probe-args, or leave one of both out"
    )]
    NoRoom,
    /// Some questions would be sent more often than others.
    #[error("{copies} copies cannot ask {questions} questions equally often; give a multiple of {questions}")]
    Copies {
        /// Copies of each probe.
        copies: u32,
        /// Questions that they ask in turn.
        questions: usize,
    },
}

impl Module {
    /// The module with this name and these arguments.
    ///
    /// # Errors
    /// There is no such module, or it does not accept these arguments.
    pub fn parse(name: &str, args: Option<&str>) -> Result<Self, ModuleError> {
        Self::parse_os(name, args.map(OsStr::new))
    }

    /// The same for arguments that may name a file, and then need not be text.
    ///
    /// # Errors
    /// The same as those of [`Self::parse`].
    pub fn parse_os(name: &str, args: Option<&OsStr>) -> Result<Self, ModuleError> {
        let text = || args.map(|args| args.to_str().ok_or_else(|| ModuleError::no_text(args))).transpose();
        match name {
            "tcp_synscan" => {
                let args = text()?.map(str::parse).transpose();
                Ok(Self::TcpSynScan(args.map_err(ModuleError::of)?.unwrap_or_default()))
            }
            "tcp_synackscan" => Self::TcpSynAckScan.without(args),
            "icmp_echoscan" => Ok(Self::IcmpEcho(echo::parse_args(args).map_err(ModuleError::of)?)),
            "icmp_echo_time" => Self::IcmpEchoTime(Vec::new()).without(args),
            "udp" => Ok(Self::Udp(Payload::parse(args).map_err(ModuleError::of)?)),
            "ipip" => Ok(Self::IpIp(ipip::parse_args(args).map_err(ModuleError::of)?)),
            "dns" => Ok(Self::Dns(dns::args::Query::parse_all(text()?).map_err(ModuleError::of)?)),
            "ntp" => ntp::check_args(args).map(|()| Self::Ntp).map_err(ModuleError::of),
            "upnp" => Self::Upnp.without(args),
            "bacnet" => Self::Bacnet.without(args),
            _ => Err(ModuleError::Unknown(name.to_owned())),
        }
    }

    /// The same, with `uri` in its probes wherever their protocol lets any bytes be there.
    ///
    /// # Errors
    /// As [`Self::parse_os`], or there is no room for the URI.
    pub fn attributed(name: &str, args: Option<&OsStr>, uri: &Uri) -> Result<Self, ModuleError> {
        // A datagram needs no other content than that.
        if name == udp::INFO.name && args.is_none() {
            return Ok(Self::Udp(Payload::Fixed(uri.alone())));
        }
        let mut module = Self::parse_os(name, args)?;
        match &mut module {
            Self::IcmpEcho(payload) => {
                echo::attribute(payload, args.is_some(), uri).map_err(ModuleError::of)?;
            }
            Self::IcmpEchoTime(more) => *more = uri.behind(),
            Self::Udp(Payload::Auto { otherwise, .. }) => *otherwise = uri.alone(),
            Self::IpIp(payload) if args.is_none() => *payload = uri.alone(),
            Self::TcpSynScan(args) if args.layout == tcp_synscan::OptionLayout::SmallestProbes => {
                return Err(ModuleError::NoRoom);
            }
            _ => {}
        }
        Ok(module)
    }

    /// Which of its probes have `uri` in them.
    pub fn carries(&self, uri: &Uri) -> Carried {
        match self {
            Self::IcmpEcho(payload)
            | Self::IcmpEchoTime(payload)
            | Self::IpIp(payload)
            | Self::Udp(Payload::Fixed(payload))
                if memchr::memmem::find(payload, uri.as_str().as_bytes()).is_some() =>
            {
                Carried::All
            }
            Self::Udp(Payload::Auto { otherwise, .. }) if !otherwise.is_empty() => Carried::Some,
            _ => Carried::None(self.why_unattributed()),
        }
    }

    /// Why its probes have no URI in them.
    fn why_unattributed(&self) -> &'static str {
        match self {
            Self::TcpSynScan(_) | Self::TcpSynAckScan => {
                "data in a segment without an established connection changes how hosts answer"
            }
            Self::Udp(Payload::Auto { .. }) => "there is a ready payload for each port",
            Self::Udp(_) | Self::IpIp(_) => "a payload that was given may have the form of a protocol",
            _ => "its datagrams have the form of a protocol",
        }
    }

    /// The module itself, if there are no arguments.
    fn without(self, args: Option<&OsStr>) -> Result<Self, ModuleError> {
        let name = self.info().name;
        args.map_or(Ok(self), |args| {
            let args = printable(args);
            Err(ModuleError::Args(format!("{name} takes no arguments; leave \"{args}\" out")))
        })
    }

    /// Checks that a target's copies ask all questions equally often.
    ///
    /// # Errors
    /// They do not.
    pub fn check_copies(&self, copies: u32) -> Result<(), ModuleError> {
        match self {
            Self::Dns(queries) if !(copies as usize).is_multiple_of(queries.len()) => {
                Err(ModuleError::Copies { copies, questions: queries.len() })
            }
            _ => Ok(()),
        }
    }

    /// Its description.
    pub fn info(&self) -> &'static ModuleInfo {
        match self {
            Self::TcpSynScan(_) => &tcp_synscan::INFO,
            Self::TcpSynAckScan => &tcp_synackscan::INFO,
            Self::IcmpEcho(_) => &echo::INFO,
            Self::IcmpEchoTime(_) => &echo_time::INFO,
            Self::Udp(_) => &udp::INFO,
            Self::IpIp(_) => &ipip::INFO,
            Self::Dns(_) => &dns::INFO,
            Self::Ntp => &ntp::INFO,
            Self::Upnp => &upnp::INFO,
            Self::Bacnet => &bacnet::INFO,
        }
    }

    /// Whether an answer must come from the probed port, unless `--validate-source-port` says otherwise. The rule is
    /// ZMap's: servers of some protocols over UDP answer from another port.
    pub fn validates_source_port(&self) -> bool {
        !matches!(self, Self::Udp(_))
    }

    /// Adapts it to the scanned ports. Returns a message for the user, if there is one.
    pub fn fit(&mut self, ports: &PortList) -> Option<String> {
        match self {
            Self::Udp(payload) => payload.keep(ports).map(|without| {
                format!("there is no payload for ports {without}; they get {}", payload.otherwise())
            }),
            _ => None,
        }
    }

    /// Makes a probe from each of `settings`, which differ only in what depends on the interface, and passes them to
    /// `visitor`: the engine is compiled for each type of probe.
    pub fn visit<V: Visitor>(&self, settings: &[ProbeSettings], visitor: V) -> V::Output {
        fn each<P>(settings: &[ProbeSettings], make: impl Fn(&ProbeSettings) -> P) -> Vec<P> {
            settings.iter().map(make).collect()
        }
        match self {
            Self::TcpSynScan(args) => visitor.visit(&each(settings, |own| TcpSynScan::new(own, *args))),
            Self::TcpSynAckScan => visitor.visit(&each(settings, TcpSynAckScan::new)),
            Self::IcmpEcho(payload) => visitor.visit(&each(settings, |own| IcmpEcho::new(own, payload))),
            Self::IcmpEchoTime(more) => visitor.visit(&each(settings, |own| IcmpEchoTime::new(own, more))),
            Self::Udp(payload) => visitor.visit(&each(settings, |own| Udp::new(own, payload))),
            Self::IpIp(payload) => visitor.visit(&each(settings, |own| IpIp::new(own, payload))),
            Self::Dns(queries) => visitor.visit(&each(settings, |own| Dns::new(own, queries))),
            Self::Ntp => visitor.visit(&each(settings, Ntp::new)),
            Self::Upnp => visitor.visit(&each(settings, Upnp::new)),
            Self::Bacnet => visitor.visit(&each(settings, Bacnet::new)),
        }
    }

    /// The proof of its replies, with these source ports and this many copies of each probe.
    pub fn proof(&self, ports: PortRange, copies: u32) -> Proof {
        Proof::of(&self.check(ports, copies))
    }

    /// Its form of probe, and the part of the cookie that an answer repeats.
    pub fn replies(&self) -> (ProbeForm, Echo) {
        let check = self.check(PortRange { first: 1, count: 1 }, 1);
        (check.form, check.echo)
    }

    /// The check of its replies, without the parts that only a scan knows.
    fn check(&self, ports: PortRange, copies: u32) -> Check {
        struct OfProbe;
        impl Visitor for OfProbe {
            type Output = Option<Check>;
            fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
                probes.first().map(|probe| probe.check().clone())
            }
        }
        let settings = ProbeSettings {
            key: Key::from_bytes([0; 16]),
            sources: SourcePool { addresses: vec![0], ports },
            other_sources: vec![],
            copies: Copies::of(copies),
            link: LinkHeader::Ethernet,
            source_mac: MacAddr::default(),
            gateway_mac: MacAddr::default(),
            tags: VlanTags::default(),
            ttl: 0,
            timestamp: 0,
            reset: false,
            port_in_cookie: true,
        };
        let check = self.visit(&[settings], OfProbe);
        check.unwrap_or_else(|| unreachable!("one probe was requested"))
    }
}

impl ModuleError {
    fn no_text(args: &OsStr) -> Self {
        Self::Args(format!("\"{}\" is not UTF-8, which these arguments must be", printable(args)))
    }

    fn of(error: impl ToString) -> Self {
        Self::Args(error.to_string())
    }
}

/// Which probes of a scan have the URI of their sender in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Each.
    All,
    /// Those to ports for which there is no ready payload.
    Some,
    /// None, for this reason.
    None(&'static str),
}

impl Carried {
    /// Its word in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Some => "some",
            Self::None(_) => "none",
        }
    }
}

/// An operation on probes of any type.
pub trait Visitor {
    /// Its result.
    type Output;

    /// Runs the operation.
    fn visit<P: Probe>(self, probes: &[P]) -> Self::Output;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(module: &str, count: u32, copies: u32) -> [String; 2] {
        let args = (module == "udp").then_some("text:x");
        let proof = Module::parse(module, args).unwrap().proof(PortRange { first: 1, count }, copies);
        [proof.answer_bits, proof.error_bits].map(|bits| format!("{bits:.1}"))
    }

    /// Probes have the URI wherever any bytes may be, and the module knows whether they have.
    #[test]
    fn attribution() {
        let uri: Uri = "https://example.org/x".parse().unwrap();
        for (name, args, carried) in [
            ("icmp_echoscan", None, "all"),
            ("icmp_echoscan", Some("text:hello"), "all"),
            ("icmp_echo_time", None, "all"),
            ("udp", None, "all"),
            ("udp", Some("auto"), "some"),
            ("udp", Some("text:https://example.org/x"), "all"),
            ("udp", Some("hex:00"), "none"),
            ("ipip", None, "all"),
            ("ipip", Some("text:x"), "none"),
            ("dns", Some("A,example.org"), "none"),
            ("ntp", None, "none"),
            ("upnp", None, "none"),
            ("bacnet", None, "none"),
            ("tcp_synscan", None, "none"),
            ("tcp_synackscan", None, "none"),
        ] {
            let module = Module::attributed(name, args.map(OsStr::new), &uri).unwrap();
            assert_eq!(module.carries(&uri).name(), carried, "{name} {args:?}");
            if name != "udp" || args.is_some() {
                assert_eq!(
                    Module::parse(name, args).unwrap().carries(&uri) == module.carries(&uri),
                    carried == "none" || args == Some("text:https://example.org/x")
                );
            }
        }
        let payload = |name, args: Option<&str>| match Module::attributed(name, args.map(OsStr::new), &uri) {
            Ok(Module::IcmpEcho(payload) | Module::Udp(Payload::Fixed(payload))) => payload,
            other => panic!("{other:?}"),
        };
        assert_eq!(payload("icmp_echoscan", None), b"https://example.org/x\0");
        assert_eq!(payload("icmp_echoscan", Some("text:hi")), b"hi\0https://example.org/x\0");
        assert_eq!(payload("udp", None), b"https://example.org/x\0");
        let short: Uri = "tel:1".parse().unwrap();
        assert_eq!(
            Module::attributed("icmp_echoscan", None, &short),
            Ok(Module::IcmpEcho([&b"tel:1"[..], &[0; 15]].concat()))
        );
        for (name, args, words) in [
            ("tcp_synscan", "smallest-probes".to_owned(), "smallest-probes leaves no room"),
            ("icmp_echoscan", format!("text:{}", "x".repeat(1440)), "the payload has 1463 bytes"),
        ] {
            let error = Module::attributed(name, Some(OsStr::new(&args)), &uri).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        // Where each port has a ready payload, no probe has it.
        let mut module = Module::attributed("udp", Some(OsStr::new("auto")), &uri).unwrap();
        assert_eq!(module.fit(&PortList::parse("53,123").unwrap()), None);
        assert_eq!(module.carries(&uri), Carried::None("there is a ready payload for each port"));
        let mut module = Module::attributed("udp", Some(OsStr::new("auto")), &uri).unwrap();
        assert!(module.fit(&PortList::parse("80").unwrap()).unwrap().contains("datagrams with the URI of"));
        assert_eq!(module.carries(&uri), Carried::All);
    }

    #[test]
    fn bits_of_each_module() {
        for (module, all, one) in [
            ("tcp_synscan", ["45.8", "46.8"], ["31.0", "32.0"]),
            ("tcp_synackscan", ["45.2", "46.8"], ["30.4", "32.0"]),
            ("icmp_echoscan", ["32.0", "32.0"], ["32.0", "32.0"]),
            ("icmp_echo_time", ["32.0", "32.0"], ["32.0", "32.0"]),
            ("udp", ["14.8", "14.8"], ["0.0", "0.0"]),
            ("upnp", ["14.8", "14.8"], ["0.0", "0.0"]),
            ("bacnet", ["14.8", "14.8"], ["0.0", "0.0"]),
            ("dns", ["30.8", "14.8"], ["16.0", "0.0"]),
            ("ntp", ["64.0", "14.8"], ["64.0", "0.0"]),
            ("ipip", ["14.8", "16.0"], ["0.0", "16.0"]),
        ] {
            assert_eq!(bits(module, 28_233, 1), all, "{module}");
            assert_eq!(bits(module, 1, 1), one, "{module}");
        }
        assert_eq!(bits("udp", 28_233, 8), ["11.8", "11.8"]);
        assert_eq!(bits("udp", 8, 8), ["0.0", "0.0"]);
    }
}
