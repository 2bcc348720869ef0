//! The table: each setting with how it is read, what is wanted of it and why, and how it is set.

use std::fs;
use std::io;
use std::path::Path;

use super::{GOVERNOR, GRO_HW, LRO, RX_VLAN, Stage, Subject, Wanted};
use super::{feature, governor, host, interrupts, kernel_name, ring_len, rss, usable_channels};
use crate::nic::ethtool::{self, Channels, Pause, Rings};
use crate::units::counted;

/// For how long an interrupt may wait, in microseconds: a scan does not notice, and there are far fewer of them.
const RX_USECS: u32 = 30;
/// Settings that are one and have no other name than their stage.
const WHOLE: &[&str] = &[""];

/// A row of the table: the settings of a stage for which the same is wanted.
pub(super) struct Setting {
    pub(super) stage: Stage,
    pub(super) parts: Parts,
    pub(super) why: &'static str,
    /// The value of a part now; `None` where there is no such setting, or it cannot be changed.
    pub(super) read: fn(&Subject, &str) -> Option<String>,
    /// What is wanted of a part that has this value.
    pub(super) wanted: fn(&Subject, &str, &str) -> Wanted,
    /// Sets a part to a value.
    pub(super) write: fn(&Subject, &str, &str) -> io::Result<()>,
}

/// What a row's settings are called behind the stage's name.
pub(super) enum Parts {
    Fixed(&'static [&'static str]),
    Found(fn(&Subject) -> Vec<String>),
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        stage: Stage::Channels,
        parts: Parts::Fixed(&["combined", "rx", "tx"]),
        why: "a queue for each worker",
        read: |subject, part| {
            let channels = channel(&mut subject.ethtool.channels().ok()?, part)?.to_owned();
            (channels.max > 0).then(|| channels.now.to_string())
        },
        wanted: |subject, part, _| {
            let mut channels = subject.ethtool.channels().unwrap_or_default();
            let Some(channel) = channel(&mut channels, part) else { return Wanted::Nothing };
            let most = usable_channels(subject.driver.as_deref(), channel.max);
            Wanted::Value(subject.workers.min(most).to_string())
        },
        write: |subject, part, value| {
            let mut channels = subject.ethtool.channels()?;
            channel(&mut channels, part).ok_or(io::ErrorKind::NotFound)?.now = number(value)?;
            subject.ethtool.set_channels(&channels)
        },
    },
    Setting {
        stage: Stage::Ring,
        parts: Parts::Fixed(&["rx", "tx"]),
        why: "room for bursts",
        read: |subject, part| {
            let ring = ring(&mut subject.ethtool.rings().ok()?, part)?.to_owned();
            (ring.max > 0).then(|| ring.now.to_string())
        },
        wanted: |subject, part, _| {
            let mut rings = subject.ethtool.rings().unwrap_or_default();
            ring(&mut rings, part).map_or(Wanted::Nothing, |ring| Wanted::Value(ring_len(*ring).to_string()))
        },
        write: |subject, part, value| {
            let mut rings = subject.ethtool.rings()?;
            ring(&mut rings, part).ok_or(io::ErrorKind::NotFound)?.now = number(value)?;
            subject.ethtool.set_rings(&rings)
        },
    },
    Setting {
        stage: Stage::Coalesce,
        parts: Parts::Fixed(&["rx-usecs"]),
        why: "fewer interrupts; a scan does not mind 30 us",
        read: |subject, _| Some(subject.ethtool.coalescing().ok()?.rx_usecs?.to_string()),
        wanted: |subject, _, now| match subject.ethtool.coalescing() {
            Ok(coalescing) if coalescing.adaptive_rx => Wanted::Fine("adaptive".to_owned()),
            _ => Wanted::Value(number(now).unwrap_or_default().max(RX_USECS).to_string()),
        },
        write: |subject, _, value| subject.ethtool.set_rx_usecs(number(value)?),
    },
    Setting {
        stage: Stage::Offload,
        parts: Parts::Fixed(&[LRO, GRO_HW]),
        why: "XDP must see frames as they came",
        read: offload,
        wanted: |_, _, _| Wanted::Value(switch(false)),
        write: set_offload,
    },
    Setting {
        stage: Stage::Offload,
        parts: Parts::Fixed(&[RX_VLAN]),
        why: "XDP must see the VLAN tag",
        read: offload,
        wanted: |subject, _, _| match subject.has_vlans {
            true => Wanted::Value(switch(false)),
            false => Wanted::Nothing,
        },
        write: set_offload,
    },
    Setting {
        stage: Stage::Pause,
        parts: Parts::Fixed(WHOLE),
        why: "a full switch is to drop, not to stop all queues",
        read: |subject, _| {
            let Pause { autoneg, rx, tx } = subject.ethtool.pause().ok()?;
            Some([autoneg, rx, tx].map(switch).join(" "))
        },
        wanted: |_, _, _| Wanted::Value([false; 3].map(switch).join(" ")),
        write: |subject, _, value| {
            let words: Vec<&str> = value.split(' ').collect();
            let [autoneg, rx, tx] = words[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
            let pause = Pause { autoneg: is_on(autoneg)?, rx: is_on(rx)?, tx: is_on(tx)? };
            subject.ethtool.set_pause(pause)
        },
    },
    Setting {
        stage: Stage::Rss,
        parts: Parts::Fixed(WHOLE),
        why: "replies on all queues alike",
        read: |subject, _| rss::now(&subject.ethtool),
        wanted: |subject, _, now| match subject.rx_queues() {
            0 => Wanted::Nothing,
            // Any table that gives each queue its share will do.
            queues if rss::is_even(now, queues) => Wanted::Fine(counted(queues.into(), "queue")),
            queues if rss::describe(now) == rss::CUSTOM => Wanted::LeftAlone(
                format!("equal {queues} start 0"),
                "left alone: this table is somebody's own",
            ),
            queues => Wanted::Value(rss::spread(now, queues)),
        },
        write: |subject, _, value| rss::set(&subject.ethtool, value, subject.rx_queues()),
    },
    Setting {
        stage: Stage::Irq,
        parts: Parts::Found(|subject| interrupts::of_queues(&subject.name)),
        why: "a core for each queue",
        read: |_, name| interrupts::mask(name),
        wanted: |subject, name, now| {
            let core = |queue: usize| subject.cores.get(queue.checked_rem(subject.cores.len())?).copied();
            match interrupts::queue(name).and_then(core) {
                Some(core) => Wanted::Value(interrupts::mask_of(core, now)),
                None => Wanted::Nothing,
            }
        },
        write: |_, name, value| interrupts::set_mask(name, value),
    },
    Setting {
        stage: Stage::Irqbalance,
        parts: Parts::Fixed(WHOLE),
        why: "it would move the interrupts",
        read: |_, _| Some(host::irqbalance()),
        wanted: |_, _, now| match now {
            host::BY_HAND => Wanted::LeftAlone(
                host::STOPPED.to_owned(),
                "it would move the interrupts; not a service: stop it by hand",
            ),
            _ => Wanted::Value(host::STOPPED.to_owned()),
        },
        write: |_, _, value| host::set_irqbalance(value),
    },
    Setting {
        stage: Stage::Governor,
        parts: Parts::Found(|subject| subject.cores.iter().map(usize::to_string).collect()),
        why: "no clocking down between batches",
        read: |_, core| governor(core),
        wanted: |_, _, _| Wanted::Value(GOVERNOR.to_owned()),
        write: |_, core, value| host::set_governor(core, value),
    },
    Setting {
        stage: Stage::Hugepages,
        parts: Parts::Fixed(WHOLE),
        why: "frames lie in huge pages where there are any",
        read: |_, _| host::huge_pages(),
        wanted: |_, _, now| match now {
            "never" => Wanted::Value("madvise".to_owned()),
            _ => Wanted::Fine("madvise or always".to_owned()),
        },
        write: |_, _, value| host::set_huge_pages(value),
    },
    Setting {
        stage: Stage::BusyPoll,
        parts: Parts::Fixed(&["napi_defer_hard_irqs"]),
        why: "interrupts wait while workers poll",
        read: attribute,
        wanted: |_, _, _| Wanted::Value("2".to_owned()),
        write: set_attribute,
    },
    Setting {
        stage: Stage::BusyPoll,
        parts: Parts::Fixed(&["gro_flush_timeout"]),
        why: "but for 200 us at most",
        read: attribute,
        wanted: |_, _, _| Wanted::Value("200000".to_owned()),
        write: set_attribute,
    },
];

fn channel<'a>(channels: &'a mut Channels, part: &str) -> Option<&'a mut ethtool::Setting> {
    match part {
        "combined" => Some(&mut channels.combined),
        "rx" => Some(&mut channels.rx),
        "tx" => Some(&mut channels.tx),
        _ => None,
    }
}

fn ring<'a>(rings: &'a mut Rings, part: &str) -> Option<&'a mut ethtool::Setting> {
    match part {
        "rx" => Some(&mut rings.rx),
        "tx" => Some(&mut rings.tx),
        _ => None,
    }
}

fn offload(subject: &Subject, part: &str) -> Option<String> {
    let feature = feature(&subject.ethtool, part).ok()?.filter(|feature| !feature.is_fixed)?;
    Some(switch(feature.is_on))
}

fn set_offload(subject: &Subject, part: &str, value: &str) -> io::Result<()> {
    subject.ethtool.set_feature(kernel_name(part), is_on(value)?)
}

/// A file of the interface in sysfs.
fn attribute(subject: &Subject, file: &str) -> Option<String> {
    let path = Path::new("/sys/class/net").join(&subject.name).join(file);
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn set_attribute(subject: &Subject, file: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/sys/class/net").join(&subject.name).join(file), format!("{value}\n"))
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn is_on(text: &str) -> io::Result<bool> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn number(text: &str) -> io::Result<u32> {
    text.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}
