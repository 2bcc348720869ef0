//! Arguments of probe modules, and ports: what is taken makes a probe.

use crate::support::probe_frame;
use xdpmap::probe::{MODULES, Module};
use xdpmap::targets::PortList;

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
            Err(error) => assert!(error.to_string().starts_with("--probe-args: ")),
        }
    }
}
