//! Whole scans between two network namespaces, against the kernel, real servers and zmap. They run side by side, for each
//! makes namespaces of its own; what measures is in `../alone`.

#[path = "../support/mod.rs"]
mod support;

mod books;
mod busy_poll;
mod doctor;
mod ends;
mod interfaces;
mod live;
mod modules;
mod neighbors;
mod nic;
mod outputs;
mod packet;
mod privileges;
mod probes;
mod proof;
mod recipes;
mod refused_interfaces;
mod routes;
mod secrets;
mod servers;
mod steering;
mod survey;
mod tunnel;
mod udp;
mod vlan;
