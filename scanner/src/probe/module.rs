//! The probe modules by name, and how one is made.
//!
//! Owns the list of them. A module's arguments are checked once, when the plan is made; what is made from it afterwards
//! cannot fail.

use super::icmp::echo::{self, IcmpEcho};
use super::icmp::echo_time::{self, IcmpEchoTime};
use super::tcp_synackscan::{self, TcpSynAckScan};
use super::tcp_synscan::{self, TcpSynScan};
use super::{Probe, Settings};
use crate::results::fields::Table;

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
pub const MODULES: [&ModuleInfo; 4] =
    [&tcp_synscan::INFO, &tcp_synackscan::INFO, &echo::INFO, &echo_time::INFO];

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

    /// What it is.
    pub fn info(&self) -> &'static ModuleInfo {
        match self {
            Self::TcpSynScan(_) => &tcp_synscan::INFO,
            Self::TcpSynAckScan => &tcp_synackscan::INFO,
            Self::IcmpEcho(_) => &echo::INFO,
            Self::IcmpEchoTime => &echo_time::INFO,
        }
    }

    /// Makes the probe and hands it to `visitor`: the engine knows it as a type of its own.
    pub fn visit<V: Visitor>(&self, settings: &Settings, visitor: V) -> V::Output {
        match self {
            Self::TcpSynScan(args) => visitor.visit(&TcpSynScan::new(settings, *args)),
            Self::TcpSynAckScan => visitor.visit(&TcpSynAckScan::new(settings)),
            Self::IcmpEcho(payload) => visitor.visit(&IcmpEcho::new(settings, payload)),
            Self::IcmpEchoTime => visitor.visit(&IcmpEchoTime::new(settings)),
        }
    }
}

impl ModuleError {
    fn of(error: impl ToString) -> Self {
        Self::Args(error.to_string())
    }
}

/// Something that is done with a probe, whatever its type.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<P: Probe>(self, probe: &P) -> Self::Output;
}
