//! The settings of an interface and its host that a fast scan depends on: how each is read, what is wanted of it and
//! why, and how it is set.
//!
//! `table` has a row for each. Both the doctor's findings and its tuning know from here what is wanted. A value is
//! text, as reports and journals have it. To undo a change is to set what was there.

mod host;
pub(super) mod interrupts;
mod rss;
mod table;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::cores;
use crate::nic::Interface;
use crate::nic::ethtool::{self, Ethtool};
use table::{Parts, SETTINGS, Setting};

pub(super) use host::{GOVERNOR, governor};

/// Descriptors of a ring that hold a burst.
const RING_LEN: u32 = 4096;
/// Offloads by their names for `ethtool -K` and for the kernel.
const OFFLOADS: [(&str, &str); 3] = [(LRO, "rx-lro"), (GRO_HW, "rx-gro-hw"), (RX_VLAN, "rx-vlan-hw-parse")];
/// Merges received frames.
pub(super) const LRO: &str = "lro";
/// Merges received frames as well.
pub(super) const GRO_HW: &str = "rx-gro-hw";
/// Removes the VLAN tag of received frames.
pub(super) const RX_VLAN: &str = "rxvlan";

/// Settings that are examined and set together. Stages are set and undone in this order: channels first, because a
/// change of them resets others and makes new interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Channels,
    Ring,
    Coalesce,
    Offload,
    Pause,
    Rss,
    Irq,
    Irqbalance,
    Governor,
    Hugepages,
    BusyPoll,
}

impl Stage {
    /// All of them, with their names.
    pub(super) const ALL: [(Self, &str); 11] = [
        (Self::Channels, "channels"),
        (Self::Ring, "ring"),
        (Self::Coalesce, "coalesce"),
        (Self::Offload, "offload"),
        (Self::Pause, "pause"),
        (Self::Rss, "rss"),
        (Self::Irq, "irq"),
        (Self::Irqbalance, "irqbalance"),
        (Self::Governor, "governor"),
        (Self::Hugepages, "hugepages"),
        (Self::BusyPoll, "busy-poll"),
    ];

    /// Whether it is of the host, so that it outlives the interface.
    pub(super) fn is_of_host(self) -> bool {
        matches!(self, Self::Irqbalance | Self::Governor | Self::Hugepages)
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, own)| *own == name).map(|(stage, _)| stage)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

/// A setting's name: `channels.rx`, `pause`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Key {
    pub(super) stage: Stage,
    part: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part.as_str() {
            "" => f.write_str(self.stage.name()),
            part => write!(f, "{}.{part}", self.stage.name()),
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let (stage, part) = name.split_once('.').unwrap_or((&name, ""));
        let unknown = || format!("there is no setting '{name}'");
        let key = Self { stage: Stage::by_name(stage).ok_or_else(unknown)?, part: part.to_owned() };
        match key.to_string() == name && key.row().is_some() {
            true => Ok(key),
            false => Err(unknown()),
        }
    }
}

impl Key {
    /// Its place in the table.
    fn row(&self) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| {
            let has = match setting.parts {
                Parts::Fixed(parts) => parts.contains(&self.part.as_str()),
                // It becomes a part of a file's name.
                Parts::Found(_) => {
                    !self.part.is_empty() && !self.part.contains(|c: char| c == '/' || c.is_control())
                }
            };
            setting.stage == self.stage && has
        })
    }

    /// A value of it, in words for a report.
    pub(super) fn shown(&self, value: &str) -> String {
        match self.stage {
            Stage::Rss => rss::describe(value),
            _ => value.to_owned(),
        }
    }
}

/// What is wanted of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing here.
    Nothing,
    /// As it is; in these words.
    Fine(String),
    /// This value.
    Value(String),
    /// Something else, but it is not ours to set: what, and why not.
    LeftAlone(String, &'static str),
}

/// An interface of which the settings are, and what is known about the scan for which they are examined.
#[derive(Debug)]
pub(super) struct Subject {
    /// Its name.
    pub(super) name: String,
    driver: Option<String>,
    ethtool: Ethtool,
    workers: u32,
    /// The cores, in the order in which workers get them.
    cores: Vec<usize>,
    /// Whether a VLAN of it is scanned.
    has_vlans: bool,
}

impl Subject {
    /// This interface. Without a number of workers a scan has one for each core.
    ///
    /// # Errors
    /// The kernel gives no socket to ask drivers with.
    pub(super) fn new(interface: &Interface, workers: Option<u32>, vlan: bool) -> io::Result<Self> {
        let cores = cores::choose_near(&[], interface.numa_node).unwrap_or_default();
        Ok(Self {
            driver: interface.driver.clone(),
            workers: workers.unwrap_or(cores.len() as u32),
            cores,
            has_vlans: vlan || has_vlans(&interface.name),
            ..Self::gone(&interface.name)?
        })
    }

    /// An interface of this name that is no longer there: only its host's settings are.
    ///
    /// # Errors
    /// As for `new`.
    pub(super) fn gone(name: &str) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            driver: None,
            ethtool: Ethtool::new(name)?,
            workers: 0,
            cores: Vec::new(),
            has_vlans: false,
        })
    }

    /// The names of a stage's settings.
    pub(super) fn keys(&self, stage: Stage) -> Vec<Key> {
        let rows = SETTINGS.iter().filter(|setting| setting.stage == stage);
        let parts = rows.flat_map(|setting| match setting.parts {
            Parts::Fixed(parts) => parts.iter().map(|part| (*part).to_owned()).collect(),
            Parts::Found(find) => find(self),
        });
        parts.map(|part| Key { stage, part }).collect()
    }

    /// The value of a setting now; `None` where there is no such setting, or it cannot be changed.
    pub(super) fn now(&self, key: &Key) -> Option<String> {
        (key.row()?.read)(self, &key.part)
    }

    /// What is wanted of a setting that has the value `now`, and why.
    pub(super) fn wanted(&self, key: &Key, now: &str) -> (Wanted, &'static str) {
        let Some(row) = key.row() else { return (Wanted::Nothing, "") };
        match (row.wanted)(self, &key.part, now) {
            Wanted::LeftAlone(value, why) => (Wanted::LeftAlone(value, why), why),
            wanted => (wanted, row.why),
        }
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// The driver's or the kernel's refusal.
    pub(super) fn put(&self, key: &Key, value: &str) -> io::Result<()> {
        (key.row().ok_or(io::ErrorKind::NotFound)?.write)(self, &key.part, value)
    }

    /// How many queues receive; 0 where the driver does not tell.
    fn rx_queues(&self) -> u32 {
        let channels = self.ethtool.channels().unwrap_or_default();
        if channels.combined.now > 0 { channels.combined.now } else { channels.rx.now }
    }
}

/// How many of `max` channels a scan can use.
pub(super) fn usable_channels(driver: Option<&str>, max: u32) -> u32 {
    // Amazon's driver runs no XDP program while more than half of its channels are in use.
    if driver == Some("ena") && max > 1 { max / 2 } else { max }
}

/// How many descriptors a ring should have.
pub(super) fn ring_len(ring: ethtool::Setting) -> u32 {
    ring.now.max(RING_LEN.min(ring.max))
}

/// Whether an offload is on, be it fixed or not, by its name for `ethtool -K`.
pub(super) fn is_offload_on(ethtool: &Ethtool, name: &str) -> io::Result<bool> {
    Ok(feature(ethtool, name)?.is_some_and(|feature| feature.is_on))
}

/// Whether there are VLANs on top of the interface of this name.
pub(super) fn has_vlans(name: &str) -> bool {
    let is_vlan = |entry: fs::DirEntry| {
        let file = entry.file_name().to_string_lossy().into_owned();
        file.strip_prefix("upper_").is_some_and(|upper| Path::new("/proc/net/vlan").join(upper).exists())
    };
    fs::read_dir(Path::new("/sys/class/net").join(name)).is_ok_and(|files| files.flatten().any(is_vlan))
}

fn feature(ethtool: &Ethtool, name: &str) -> io::Result<Option<ethtool::Feature>> {
    let name = kernel_name(name);
    Ok(ethtool.features()?.into_iter().find(|feature| feature.name == name))
}

fn kernel_name(name: &str) -> &str {
    OFFLOADS.iter().find(|(switch, _)| *switch == name).map_or(name, |(_, kernel)| kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each setting has one row, by the name that a journal has.
    #[test]
    fn names() {
        let lo = Subject { cores: vec![0, 7], ..Subject::gone("lo").unwrap() };
        let mut names = Vec::new();
        for (stage, name) in Stage::ALL {
            assert_eq!((Stage::by_name(name), stage.name()), (Some(stage), name));
            for key in lo.keys(stage) {
                assert_eq!(Key::try_from(key.to_string()), Ok(key.clone()));
                names.push(key.to_string());
            }
        }
        let expected = "channels.combined channels.rx channels.tx ring.rx ring.tx coalesce.rx-usecs offload.lro \
                        offload.rx-gro-hw offload.rxvlan pause rss irqbalance governor.0 governor.7 hugepages \
                        busy-poll.napi_defer_hard_irqs busy-poll.gro_flush_timeout";
        assert_eq!(names.join(" "), expected);
        for bad in
            ["", "pause.", "pause.rx", "channels", "channels.other", "irq.", "irq.a/b", "governor.1\n", "mtu"]
        {
            assert!(Key::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Key::try_from("irq.igb0-rx-1".to_owned()).is_ok());
    }

    /// The loopback interface has none of the settings of a NIC, and what it has is left alone unless wanted.
    #[test]
    fn loopback() {
        let lo = Subject::gone("lo").unwrap();
        for stage in [Stage::Channels, Stage::Ring, Stage::Coalesce, Stage::Offload, Stage::Pause, Stage::Rss]
        {
            for key in lo.keys(stage) {
                assert_eq!(lo.now(&key), None, "{key}");
                assert!(lo.put(&key, "1").is_err(), "{key}");
            }
        }
        assert_eq!(lo.keys(Stage::Irq), []);
        assert_eq!(lo.rx_queues(), 0);
    }

    #[test]
    fn what_is_wanted() {
        let ring = |now, max| ring_len(ethtool::Setting { now, max });
        assert_eq!((ring(256, 512), ring(256, 8192), ring(8192, 8192)), (512, 4096, 8192));
        assert_eq!((usable_channels(Some("ena"), 8), usable_channels(Some("ena"), 1)), (4, 1));
        assert_eq!((usable_channels(Some("igb"), 8), usable_channels(None, 0)), (8, 0));
        let subject = Subject { cores: vec![0, 5], ..Subject::gone("lo").unwrap() };
        let wanted = |name: &str, now| subject.wanted(&Key::try_from(name.to_owned()).unwrap(), now).0;
        let value = |text: &str| Wanted::Value(text.to_owned());
        assert_eq!(wanted("irq.x-1", "ff"), value("20"));
        assert_eq!(wanted("irq.x-2", "ff"), value("01"));
        assert_eq!(wanted("coalesce.rx-usecs", "3"), value("30"));
        assert_eq!(wanted("coalesce.rx-usecs", "50"), value("50"));
        assert_eq!(wanted("offload.rxvlan", "on"), Wanted::Nothing);
        assert_eq!(wanted("pause", "on on off"), value("off off off"));
        assert_eq!(wanted("hugepages", "never"), value("madvise"));
        assert_eq!(wanted("hugepages", "always"), Wanted::Fine("madvise or always".to_owned()));
        assert_eq!(wanted("irqbalance", "stopped"), value("stopped"));
        assert!(matches!(wanted("irqbalance", "run by hand"), Wanted::LeftAlone(..)));
    }
}
