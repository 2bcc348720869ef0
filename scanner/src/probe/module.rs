//! The probe modules by name, and how one is made.
//!
//! Owns the list of them. A module's arguments are checked once, when the plan is made; what is made from it afterwards
//! cannot fail.

use super::tcp_synscan::{self, OptionLayout, TcpSynScan};
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
pub const MODULES: [&ModuleInfo; 1] = [&tcp_synscan::INFO];

/// A module with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Module {
    /// `tcp_synscan`
    TcpSynScan(OptionLayout),
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
                let layout = args.map(str::parse).transpose();
                Ok(Self::TcpSynScan(layout.map_err(ModuleError::of)?.unwrap_or_default()))
            }
            _ => Err(ModuleError::Unknown(name.to_owned())),
        }
    }

    /// What it is.
    pub fn info(&self) -> &'static ModuleInfo {
        match self {
            Self::TcpSynScan(_) => &tcp_synscan::INFO,
        }
    }

    /// Makes the probe and hands it to `visitor`: the engine knows it as a type of its own.
    pub fn visit<V: Visitor>(&self, settings: &Settings, visitor: V) -> V::Output {
        match self {
            Self::TcpSynScan(layout) => visitor.visit(&TcpSynScan::new(settings, *layout)),
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
