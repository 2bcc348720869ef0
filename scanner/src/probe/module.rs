//! The probe modules by name, and how one is made.
//!
//! Owns the list of them. A module's arguments are checked once, when the plan is made; what is made from it afterwards
//! cannot fail.

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
use super::{Probe, Settings};
use crate::results::fields::Table;
use crate::targets::PortList;

/// What a probe module is, for lists and help texts.
#[derive(Clone, Copy, Debug)]
pub struct ModuleInfo {
    /// Its name in `--probe-module`, ZMap's.
    pub name: &'static str,
    /// What it sends, what answers count, which arguments it takes.
    pub help: &'static str,
    /// The fields of its replies.
    pub fields: Table,
    /// Whether it probes ports; if not, `--target-ports` is refused.
    pub has_ports: bool,
    /// Whether it looks at what the application answered: the status line then tells of it.
    pub has_app_success: bool,
}

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
    /// `icmp_echo_time`
    IcmpEchoTime,
    /// `udp`, with what it sends.
    Udp(Payload),
    /// `ipip`, with its payload.
    IpIp(Vec<u8>),
    /// `dns`, with its questions, one at least.
    Dns(Vec<dns::args::Query>),
    /// `ntp`
    Ntp,
    /// `upnp`
    Upnp,
    /// `bacnet`
    Bacnet,
}

/// Why a module cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// No module has this name.
    #[error("--probe-module: there is no module \"{0}\"; --list-probe-modules lists them all")]
    Unknown(String),
    /// The module does not take such arguments.
    #[error("--probe-args: {0}")]
    Args(String),
    /// Some questions would be asked more often than others.
    #[error(
        "--probes: a target gets {copies}, which do not share {questions} questions evenly; give a multiple of {questions}"
    )]
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
    /// There is none, or it takes no such arguments.
    pub fn parse(name: &str, args: Option<&str>) -> Result<Self, ModuleError> {
        match name {
            "tcp_synscan" => {
                let args = args.map(str::parse).transpose();
                Ok(Self::TcpSynScan(args.map_err(ModuleError::of)?.unwrap_or_default()))
            }
            "tcp_synackscan" => Self::TcpSynAckScan.without(args),
            "icmp_echoscan" => Ok(Self::IcmpEcho(echo::parse_args(args).map_err(ModuleError::of)?)),
            "icmp_echo_time" => Self::IcmpEchoTime.without(args),
            "udp" => Ok(Self::Udp(Payload::parse(args).map_err(ModuleError::of)?)),
            "ipip" => Ok(Self::IpIp(ipip::parse_args(args).map_err(ModuleError::of)?)),
            "dns" => Ok(Self::Dns(dns::args::Query::parse_all(args).map_err(ModuleError::of)?)),
            "ntp" => ntp::check_args(args).map(|()| Self::Ntp).map_err(ModuleError::of),
            "upnp" => Self::Upnp.without(args),
            "bacnet" => Self::Bacnet.without(args),
            _ => Err(ModuleError::Unknown(name.to_owned())),
        }
    }

    /// Itself, a module that takes no arguments.
    fn without(self, args: Option<&str>) -> Result<Self, ModuleError> {
        let name = self.info().name;
        args.map_or(Ok(self), |args| {
            Err(ModuleError::Args(format!("{name} takes none, but was given \"{args}\"")))
        })
    }

    /// Checks that this many copies of each probe make sense.
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

    /// What it is.
    pub fn info(&self) -> &'static ModuleInfo {
        match self {
            Self::TcpSynScan(_) => &tcp_synscan::INFO,
            Self::TcpSynAckScan => &tcp_synackscan::INFO,
            Self::IcmpEcho(_) => &echo::INFO,
            Self::IcmpEchoTime => &echo_time::INFO,
            Self::Udp(_) => &udp::INFO,
            Self::IpIp(_) => &ipip::INFO,
            Self::Dns(_) => &dns::INFO,
            Self::Ntp => &ntp::INFO,
            Self::Upnp => &upnp::INFO,
            Self::Bacnet => &bacnet::INFO,
        }
    }

    /// Whether an answer must come from the port that was probed, unless `--validate-source-port` says otherwise: ZMap's
    /// rule. Servers of some protocols over UDP answer from another one.
    pub fn validates_source_port(&self) -> bool {
        !matches!(self, Self::Udp(_))
    }

    /// Fits it to the ports that are scanned. What the user should know about it, if anything.
    pub fn fit(&mut self, ports: &PortList) -> Option<String> {
        match self {
            Self::Udp(payload) => payload.keep(ports).map(|without| {
                format!(
                    "--probe-args auto: there is no payload for ports {without}; they get empty datagrams"
                )
            }),
            _ => None,
        }
    }

    /// Makes a probe of each of `settings`, all alike but for what an interface has of its own, and hands them to
    /// `visitor`: the engine knows them as a type of its own.
    pub fn visit<V: Visitor>(&self, settings: &[Settings], visitor: V) -> V::Output {
        fn each<P>(settings: &[Settings], make: impl Fn(&Settings) -> P) -> Vec<P> {
            settings.iter().map(make).collect()
        }
        match self {
            Self::TcpSynScan(args) => visitor.visit(&each(settings, |own| TcpSynScan::new(own, *args))),
            Self::TcpSynAckScan => visitor.visit(&each(settings, TcpSynAckScan::new)),
            Self::IcmpEcho(payload) => visitor.visit(&each(settings, |own| IcmpEcho::new(own, payload))),
            Self::IcmpEchoTime => visitor.visit(&each(settings, IcmpEchoTime::new)),
            Self::Udp(payload) => visitor.visit(&each(settings, |own| Udp::new(own, payload))),
            Self::IpIp(payload) => visitor.visit(&each(settings, |own| IpIp::new(own, payload))),
            Self::Dns(queries) => visitor.visit(&each(settings, |own| Dns::new(own, queries))),
            Self::Ntp => visitor.visit(&each(settings, Ntp::new)),
            Self::Upnp => visitor.visit(&each(settings, Upnp::new)),
            Self::Bacnet => visitor.visit(&each(settings, Bacnet::new)),
        }
    }
}

impl ModuleError {
    fn of(error: impl ToString) -> Self {
        Self::Args(error.to_string())
    }
}

/// Something that is done with probes, whatever their type.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<P: Probe>(self, probes: &[P]) -> Self::Output;
}
