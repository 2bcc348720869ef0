//! `xdpmap doctor --check`, `--apply` and `--undo`: an interface and its host made ready for fast scans, and put back
//! as they were. `scripts/tune-nic.sh` calls these.
//!
//! What always holds: before a setting is changed, what it was is on record (`memory`), the first time only. A setting
//! that cannot be set is reported, and the others are set nevertheless.

mod memory;

use std::io;
use std::time::Duration;

use clap::Args;

use super::interface::below;
use super::settings::{Key, Stage, Subject, Wanted};
use crate::cli;
use crate::exit::Exit;
use crate::journal::Held;
use crate::nic::{Interface, NicError, default_interface};
use crate::plan::network_text;
use crate::report::log;
use memory::{FoundMemory, Memory, MemoryState, Standing, Values};

/// What settings were, and what tuning has set them to.
pub type Journal = crate::journal::Journal<Values>;

/// How often a setting is set before it counts as refused, and how long the doctor waits in between: a driver that
/// brings its link back, as after new rings, may write over it what was negotiated.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// What a change of channels resets.
const RESET_BY_CHANNELS: [Stage; 2] = [Stage::Rss, Stage::Irq];

/// The flags of tuning.
#[derive(Clone, Debug, Args)]
pub(super) struct TuningArgs {
    /// Compare settings of the interface and the host with what a fast scan wants, and do nothing else
    #[arg(long, group = "settings", conflicts_with_all = ["json", "repair"])]
    check: bool,

    /// Set what --check finds to be off, and write down what was there before; needs root
    #[arg(long, group = "settings", conflicts_with_all = ["json", "repair"])]
    apply: bool,

    /// Set what was there before the first --apply, on all interfaces or that of -i; needs root
    #[arg(long, conflicts_with_all = ["settings", "json", "repair"])]
    undo: bool,

    /// Check or apply only these, comma separated: channels, ring, coalesce, offload, pause, rss, irq, irqbalance,
    /// governor, hugepages; and busy-poll, for scans with --busy-poll, which only this flag names, because all of the
    /// interface's interrupts wait then
    #[arg(long, value_name = "LIST", requires = "settings")]
    only: Option<String>,

    /// Workers of the scan [default: one for each core that this process may use]
    #[arg(long, value_name = "N", requires = "settings")]
    workers: Option<String>,

    /// A VLAN of the interface will be scanned
    #[arg(long, requires = "settings")]
    vlan: bool,
}

/// Why nothing more was done.
#[derive(Debug)]
struct Refused {
    exit_code: Exit,
    what: String,
}

impl Refused {
    fn new(exit_code: Exit, what: impl Into<String>) -> Self {
        Self { exit_code, what: what.into() }
    }
}

impl From<NicError> for Refused {
    fn from(error: NicError) -> Self {
        Self::new(error.exit_code(), network_text(&error))
    }
}

/// Checks, sets or undoes if the flags ask for it, and returns the exit code. `names` are interfaces, comma separated.
pub(super) fn run(options: &TuningArgs, names: Option<&str>) -> Option<Exit> {
    let done = match options {
        TuningArgs { check: true, .. } | TuningArgs { apply: true, .. } => examine(options, names),
        TuningArgs { undo: true, .. } => undo(names),
        _ => return None,
    };
    Some(match done {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(Refused { exit_code, what }) => {
            log::fatal("doctor", &what);
            exit_code
        }
    })
}

/// Only root may: the capabilities of the program's file are for scans.
fn need_root(flag: &str) -> Result<(), Refused> {
    match nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Refused::new(Exit::Privilege, format!("{flag} needs root"))),
    }
}

/// Checks all interfaces, or sets what is off. Whether all is as wanted in the end.
fn examine(options: &TuningArgs, names: Option<&str>) -> Result<bool, Refused> {
    let stages = stages(options.only.as_deref())?;
    let workers = options.workers.as_deref().map(workers).transpose()?;
    if options.apply {
        need_root("--apply")?;
    }
    let interfaces = match names {
        Some(names) => {
            names.split(',').map(|name| Interface::by_name(name.trim())).collect::<Result<Vec<_>, _>>()?
        }
        None => vec![default_interface()?],
    };
    let mut is_well = true;
    for interface in interfaces {
        // The one that has the queues.
        let device = below(&interface);
        let vlan = options.vlan || device.is_some();
        let device = device.unwrap_or(interface);
        let subject = subject(Subject::new(&device, workers, vlan))?;
        let mut memory = if options.apply { Some(Memory::of(&device)?) } else { None };
        row("", "setting", "now", "wanted", "why");
        if let Some(memory) = &mut memory {
            write_down_what_channels_reset(&subject, memory, &stages)?;
        }
        for key in stages.iter().flat_map(|stage| subject.keys(*stage)) {
            is_well &= settle(&subject, &key, memory.as_mut())?;
        }
        if memory.is_none() {
            boot_options();
        }
    }
    Ok(is_well)
}

fn subject(made: io::Result<Subject>) -> Result<Subject, Refused> {
    made.map_err(|error| Refused::new(Exit::Failed, format!("a socket to ask drivers with: {error}")))
}

/// The stages of `--only`, or those that all scans have.
fn stages(only: Option<&str>) -> Result<Vec<Stage>, Refused> {
    let Some(only) = only else {
        let usual = Stage::ALL.into_iter().map(|(stage, _)| stage);
        return Ok(usual.filter(|stage| *stage != Stage::BusyPoll).collect());
    };
    let stage = |name: &str| {
        let all = Stage::ALL.map(|(_, name)| name).join(", ");
        let what = || format!("--only: there is no stage '{name}'; there are {all}");
        Stage::by_name(name).ok_or_else(|| Refused::new(Exit::Usage, what()))
    };
    let mut stages = only.split(',').map(|name| stage(name.trim())).collect::<Result<Vec<_>, _>>()?;
    stages.sort_unstable();
    stages.dedup();
    Ok(stages)
}

fn workers(text: &str) -> Result<u32, Refused> {
    let workers = text.parse().ok().filter(|workers| *workers > 0);
    workers
        .ok_or_else(|| Refused::new(Exit::Usage, format!("--workers: '{text}' is not a number of workers")))
}

fn write_down_what_channels_reset(
    subject: &Subject,
    memory: &mut Memory<'_>,
    stages: &[Stage],
) -> Result<(), Refused> {
    if !stages.iter().any(|stage| *stage == Stage::Channels || RESET_BY_CHANNELS.contains(stage)) {
        return Ok(());
    }
    // Interrupts that another number of channels has brought have the masks that were set for them.
    let unknown: Vec<Stage> = RESET_BY_CHANNELS.into_iter().filter(|stage| !memory.knows(*stage)).collect();
    memory.write(&memory::values(subject, &unknown), None)
}

/// Compares a setting with what is wanted, and sets it where there is a memory to write to. Whether it is as wanted.
fn settle(subject: &Subject, key: &Key, memory: Option<&mut Memory<'_>>) -> Result<bool, Refused> {
    let Some(now) = subject.now(key) else { return Ok(true) };
    let (wanted, why) = subject.wanted(key, &now);
    let name = key.to_string();
    let shown = key.shown(&now);
    let value = match wanted {
        Wanted::Nothing => return Ok(true),
        Wanted::Fine(words) => {
            // A table that will do may be too long for a column.
            let shown = if key.stage == Stage::Rss { &words } else { &shown };
            row("ok", &name, shown, &words, why);
            return Ok(true);
        }
        Wanted::LeftAlone(words, _) => {
            row("note", &name, &shown, &words, why);
            return Ok(true);
        }
        Wanted::Value(value) => value,
    };
    let shown_wanted = key.shown(&value);
    if now == value {
        row("ok", &name, &shown, &shown_wanted, why);
        return Ok(true);
    }
    let Some(memory) = memory else {
        row("off", &name, &shown, &shown_wanted, why);
        return Ok(false);
    };
    // All interrupts are on record already, by the names that they had first.
    if key.stage != Stage::Irq {
        memory.write(&[(key.clone(), now)], Some((key, &value)))?;
    }
    match insist(subject, key, &value) {
        Ok(()) => row("set", &name, &shown, &shown_wanted, why),
        Err(error) => {
            let why = format!("the driver or the kernel refuses it: {error}");
            row("FAIL", &name, &shown, &shown_wanted, &why);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sets a setting until it has the value.
fn insist(subject: &Subject, key: &Key, value: &str) -> io::Result<()> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(BETWEEN_TRIES);
        }
        subject.put(key, value)?;
        if subject.now(key).as_deref() == Some(value) {
            return Ok(());
        }
    }
    Err(io::Error::other("it was set, and has another value"))
}

/// Puts back what was set. Whether all of it is as it was.
fn undo(names: Option<&str>) -> Result<bool, Refused> {
    need_root("--undo")?;
    let mut found = memory::journals(&memory::folder())?;
    let Some(names) = names else {
        if found.is_empty() {
            eprintln!("nothing to undo: no --apply has changed an interface");
        }
        return found.into_iter().try_fold(true, |is_well, found| Ok(undo_found(found)? && is_well));
    };
    let mut is_well = true;
    for name in names.split(',').map(str::trim) {
        // Journals have the kernel's names. An interface that is gone has no other.
        let interface = Interface::by_name(name);
        let kernels =
            interface.as_ref().map(|interface| below(interface).unwrap_or_else(|| interface.clone()));
        let kernels = kernels.map_or_else(|_| name.to_owned(), |device| device.name);
        let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.name == kernels);
        found = others;
        if own.is_empty() {
            let interface = interface?;
            eprintln!("nothing to undo: no --apply has changed {}", interface.name);
        }
        for found in own {
            is_well &= undo_found(found)?;
        }
    }
    Ok(is_well)
}

fn undo_found(found: FoundMemory) -> Result<bool, Refused> {
    let FoundMemory { path, name, state } = found;
    let say = |what: &str| cli::print(format!("{name}: {what}\n"));
    let (held, interface) = match state {
        MemoryState::Here(held, Standing::Same(interface)) => (held, Some(*interface)),
        MemoryState::Here(held, Standing::Again(interface)) => {
            say(
                "the interface was removed and made again since; it gets the settings that it had before --apply",
            );
            (held, Some(*interface))
        }
        MemoryState::Here(held, Standing::Gone) => {
            say("the interface is gone, or has another MAC address: only the host's settings are put back");
            (held, None)
        }
        MemoryState::OfEarlierBoot(held) => {
            say("nothing to undo: the host was booted since");
            remove(&held)?;
            return Ok(true);
        }
        MemoryState::Elsewhere => {
            say("it is an interface of another network namespace: undo it from there");
            return Ok(true);
        }
        MemoryState::InUse => {
            say("another process sets its settings: wait for its end");
            return Ok(false);
        }
        MemoryState::Nonsense(what) => {
            cli::print(format!("{}: not a journal of xdpmap ({what}): remove it\n", path.display()));
            return Ok(false);
        }
    };
    let subject = subject(match &interface {
        Some(interface) => Subject::new(interface, None, false),
        None => Subject::gone(&held.journal.interface),
    })?;
    let mut is_well = true;
    for (key, was) in &held.journal.before.0 {
        if interface.is_some() || key.stage.is_of_host() {
            is_well &= put_back(&subject, key, was, held.journal.set.0.get(key));
        }
    }
    if is_well {
        remove(&held)?;
    }
    Ok(is_well)
}

fn remove(held: &Held<Values>) -> Result<(), Refused> {
    held.remove()
        .map_err(|error| Refused::new(Exit::Failed, format!("{}: removing it: {error}", held.path.display())))
}

/// Puts a setting back. Whether it is as it was.
fn put_back(subject: &Subject, key: &Key, was: &str, set: Option<&String>) -> bool {
    let now = subject.now(key);
    if now.as_deref() == Some(was) {
        return true;
    }
    let is_changed = set.is_some_and(|set| now.as_ref() != Some(set));
    let (name, shown_was) = (key.to_string(), key.shown(was));
    let shown = now.map_or_else(String::new, |now| key.shown(&now));
    match insist(subject, key, was) {
        Ok(()) => {
            let why = if is_changed { "not as --apply has set it: changed since" } else { "" };
            row("undo", &name, &shown, &shown_was, why);
            true
        }
        Err(error) => {
            row("FAIL", &name, &shown, &shown_was, &format!("cannot be set back: {error}"));
            false
        }
    }
}

/// Reports what only a boot can change.
fn boot_options() {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    for (word, why) in [
        ("isolcpus", "keeps other work off the workers' cores (--cores)"),
        ("nohz_full", "no timer ticks on the workers' cores"),
        ("mitigations", "off is faster, and unsafe where others run code"),
    ] {
        let is_it = |given: &&str| given.strip_prefix(word).is_some_and(|rest| rest.starts_with('='));
        let (now, why) = match line.split_whitespace().find(is_it) {
            Some(given) => (given, "as the kernel was booted"),
            None => ("not given", why),
        };
        row("info", &format!("kernel {word}"), now, "-", why);
    }
}

fn row(verdict: &str, setting: &str, now: &str, wanted: &str, why: &str) {
    let line = format!("{verdict:<5} {setting:<26} {now:<22} {wanted:<22} {why}");
    cli::print(format!("{}\n", line.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_by_name() {
        let usual = stages(None).unwrap();
        assert_eq!((usual.len(), usual.contains(&Stage::BusyPoll)), (10, false));
        assert_eq!(stages(Some("irq, channels,irq")).unwrap(), [Stage::Channels, Stage::Irq]);
        let refused = stages(Some("channels,chanels")).unwrap_err();
        assert!(refused.what.starts_with("--only: there is no stage 'chanels'; there are channels, ring,"));
        assert_eq!(refused.exit_code, Exit::Usage);
    }

    #[test]
    fn numbers_of_workers() {
        assert_eq!(workers("3").unwrap(), 3);
        for bad in ["0", "-1", "", "two"] {
            assert_eq!(workers(bad).unwrap_err().exit_code, Exit::Usage, "{bad}");
        }
    }
}
