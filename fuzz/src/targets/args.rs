//! Arguments of probe modules, and ports: accepted arguments make a probe.

use crate::support::probe_frame;
use targets::PortList;
use xdpmap::probe::{MODULES, Module, ModuleError};

pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match PortList::parse(text) {
        Ok(ports) => assert!((1..=65_536).contains(&ports.len())),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
    // They read a file.
    if text.starts_with("file:") || text.starts_with("template:") {
        return;
    }
    for info in MODULES {
        match Module::parse(info.name, Some(text)) {
            Ok(module) => assert!((42..=1514).contains(&probe_frame(&module, 80).len())),
            Err(error) => assert!(matches!(error, ModuleError::Args(_))),
        }
    }
}
