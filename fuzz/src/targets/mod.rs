//! The targets, a file each. A target takes any bytes, hands them to a parser, and panics where what comes out breaks
//! a promise of that parser.

mod args;
mod bacnet;
mod config;
mod dns;
mod filter;
mod frame;
mod http;
mod journal;
mod list;
mod ntp;
mod pairs;
mod quote;
mod redis;
mod reply;
mod tee;
mod template;

/// Takes one made-up input.
pub type Target = fn(&[u8]);

/// All targets by name; each has a folder of that name in `corpus`.
const TARGETS: [(&str, Target); 16] = [
    ("args", args::run),
    ("bacnet", bacnet::run),
    ("config", config::run),
    ("dns", dns::run),
    ("filter", filter::run),
    ("frame", frame::run),
    ("http", http::run),
    ("journal", journal::run),
    ("list", list::run),
    ("ntp", ntp::run),
    ("pairs", pairs::run),
    ("quote", quote::run),
    ("redis", redis::run),
    ("reply", reply::run),
    ("tee", tee::run),
    ("template", template::run),
];

/// The target of this name, or the names that there are.
pub fn named(name: &str) -> Result<Target, String> {
    let found = TARGETS.iter().find(|target| target.0 == name);
    found.map(|target| target.1).ok_or_else(|| TARGETS.map(|target| target.0).join(", "))
}
