//! The targets, one file each. A target accepts any bytes, gives them to a parser, and panics if the result breaks a
//! promise of that parser.

mod args;
mod bacnet;
mod checkpoint;
mod compressed;
mod config;
mod control;
mod dns;
mod filter;
mod frame;
mod http;
mod journal;
mod list;
mod metadata;
mod ntp;
mod pairs;
mod quote;
mod ranked;
mod redis;
mod reply;
mod rings;
mod scrape;
mod stored;
mod systems;
mod tee;
mod template;

/// Runs one made-up input.
pub type Target = fn(&[u8]);

/// All targets by name; each has a folder of that name in `corpus`.
const TARGETS: [(&str, Target); 25] = [
    ("args", args::run),
    ("bacnet", bacnet::run),
    ("checkpoint", checkpoint::run),
    ("compressed", compressed::run),
    ("config", config::run),
    ("control", control::run),
    ("dns", dns::run),
    ("filter", filter::run),
    ("frame", frame::run),
    ("http", http::run),
    ("journal", journal::run),
    ("list", list::run),
    ("metadata", metadata::run),
    ("ntp", ntp::run),
    ("pairs", pairs::run),
    ("quote", quote::run),
    ("ranked", ranked::run),
    ("redis", redis::run),
    ("reply", reply::run),
    ("rings", rings::run),
    ("scrape", scrape::run),
    ("stored", stored::run),
    ("systems", systems::run),
    ("tee", tee::run),
    ("template", template::run),
];

/// The target of this name, or the list of names.
pub fn named(name: &str) -> Result<Target, String> {
    let found = TARGETS.iter().find(|target| target.0 == name);
    found.map(|target| target.1).ok_or_else(|| TARGETS.map(|target| target.0).join(", "))
}
