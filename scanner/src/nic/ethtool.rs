//! What a driver says of its queues, rings, interrupts, flow control and offloads, over `SIOCETHTOOL`
//! (`linux/ethtool.h`), and how these are set.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::generic_netlink;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCOALESCE: u32 = 0x0e;
const ETHTOOL_SCOALESCE: u32 = 0x0f;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_SRINGPARAM: u32 = 0x11;
const ETHTOOL_GPAUSEPARAM: u32 = 0x12;
const ETHTOOL_SPAUSEPARAM: u32 = 0x13;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GRXFHINDIR: u32 = 0x38;
const ETHTOOL_SRXFHINDIR: u32 = 0x39;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_SCHANNELS: u32 = 0x3d;
const ETH_SS_STATS: u32 = 1;
const ETH_SS_FEATURES: u32 = 4;
/// 32-bit words of a string in a set: 32 bytes.
const STRING_WORDS: usize = 8;
/// Words per block of 32 features in the answer of `ETHTOOL_GFEATURES`: available, requested, active, never changed.
const FEATURE_WORDS: usize = 4;
/// Words of `struct ethtool_coalesce`.
const COALESCE_WORDS: usize = 23;
// The family of generic netlink with the same name (`linux/ethtool_netlink.h`).
const FAMILY: &str = "ethtool";
const ETHTOOL_MSG_COALESCE_GET: u8 = 19;
const ETHTOOL_A_COALESCE_HEADER: u16 = 1;
const ETHTOOL_A_COALESCE_RX_USECS: u16 = 2;
const ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX: u16 = 11;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
/// More features than any kernel has.
const FEATURES_MAX: usize = 1024;
/// More counters than any driver has: some have dozens for each of hundreds of queues. The kernel writes as many as the
/// driver has at that moment, so this is also the room for them.
const STATISTICS_MAX: usize = 1 << 16;
/// More entries than any NIC's RSS indirection table has. It bounds the buffer: if it were lower, larger tables would
/// be refused.
pub const INDIRECTION_MAX: usize = 1 << 14;

/// A number that can be set in a driver, and its maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The present value.
    pub now: u32,
    /// The maximum.
    pub max: u32,
}

/// Channels: queues with separate interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Channels that only receive.
    pub rx: Setting,
    /// Channels that only send.
    pub tx: Setting,
    /// Channels that do both.
    pub combined: Setting,
}

/// Descriptors in each of the driver's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// RX descriptors.
    pub rx: Setting,
    /// TX descriptors.
    pub tx: Setting,
}

/// How a driver delays interrupts of received frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coalescing {
    /// For so many microseconds at most; `None` where the driver has no such setting.
    pub rx_usecs: Option<u32>,
    /// The driver changes that with the load.
    pub adaptive_rx: bool,
}

/// Flow control by pause frames (IEEE 802.3, annex 31B).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// The two ends of the link agree on it.
    pub autoneg: bool,
    /// Received pause frames are obeyed.
    pub rx: bool,
    /// Pause frames are sent.
    pub tx: bool,
}

/// An offload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The kernel's name: `rx-lro`, `rx-gro-hw`, ...
    pub name: String,
    /// Whether it is on.
    pub is_on: bool,
    /// Whether it cannot be changed.
    pub is_fixed: bool,
}

/// What a driver says of itself and its device. Empty texts are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverInfo {
    /// The driver's version. Drivers that come with the kernel have the kernel's.
    pub version: Option<String>,
    /// The version of the device's firmware.
    pub firmware: Option<String>,
}

/// One interface, asked through a socket in its network namespace.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
    name: String,
}

impl Ethtool {
    /// Prepares queries to the driver of the interface `name`.
    ///
    /// # Errors
    /// No socket is available.
    pub fn new(name: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, name: name.to_owned() })
    }

    /// What the driver says of itself.
    ///
    /// # Errors
    /// EOPNOTSUPP if it says nothing.
    pub fn driver_info(&self) -> io::Result<DriverInfo> {
        // The driver's name, its version, the firmware's, and what is not needed (`struct ethtool_drvinfo`).
        let mut answer = [0; 1 + 5 * STRING_WORDS + 8];
        answer[0] = ETHTOOL_GDRVINFO;
        self.ask(&mut answer)?;
        let (texts, _) = answer[1..].as_chunks::<STRING_WORDS>();
        let text = |place: usize| Some(text(&texts[place])).filter(|text| !text.is_empty());
        Ok(DriverInfo { version: text(1), firmware: text(2) })
    }

    /// The channels.
    ///
    /// # Errors
    /// EOPNOTSUPP if the driver does not report them.
    pub fn channels(&self) -> io::Result<Channels> {
        let mut answer = [ETHTOOL_GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
        self.ask(&mut answer)?;
        let [_, max_rx, max_tx, _, max_combined, rx, tx, _, combined] = answer;
        let setting = |now, max| Setting { now, max };
        Ok(Channels {
            rx: setting(rx, max_rx),
            tx: setting(tx, max_tx),
            combined: setting(combined, max_combined),
        })
    }

    /// The rings.
    ///
    /// # Errors
    /// EOPNOTSUPP if the driver does not report them.
    pub fn rings(&self) -> io::Result<Rings> {
        let mut answer = [ETHTOOL_GRINGPARAM, 0, 0, 0, 0, 0, 0, 0, 0];
        self.ask(&mut answer)?;
        let [_, rx_max, _, _, tx_max, rx, _, _, tx] = answer;
        Ok(Rings { rx: Setting { now: rx, max: rx_max }, tx: Setting { now: tx, max: tx_max } })
    }

    /// Sets the number of channels of each kind.
    ///
    /// # Errors
    /// The driver's refusal; EINVAL where the RSS indirection table names a queue that would be gone; EPERM.
    pub fn set_channels(&self, channels: &Channels) -> io::Result<()> {
        let mut words = [ETHTOOL_GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
        self.ask(&mut words)?;
        words[0] = ETHTOOL_SCHANNELS;
        (words[5], words[6], words[8]) = (channels.rx.now, channels.tx.now, channels.combined.now);
        self.ask(&mut words)
    }

    /// Sets the length of the rings.
    ///
    /// # Errors
    /// The driver's refusal; EPERM.
    pub fn set_rings(&self, rings: &Rings) -> io::Result<()> {
        let mut words = [ETHTOOL_GRINGPARAM, 0, 0, 0, 0, 0, 0, 0, 0];
        self.ask(&mut words)?;
        words[0] = ETHTOOL_SRINGPARAM;
        (words[5], words[8]) = (rings.rx.now, rings.tx.now);
        self.ask(&mut words)
    }

    /// How interrupts are delayed.
    ///
    /// # Errors
    /// EOPNOTSUPP where the driver does not tell.
    pub fn coalescing(&self) -> io::Result<Coalescing> {
        // The ioctl has 0 both for "not at all" and for what the driver does not have; netlink leaves the latter out.
        let name = [self.name.as_bytes(), &[0]].concat();
        let header = generic_netlink::nested(ETHTOOL_A_HEADER_DEV_NAME, &name);
        let header = (generic_netlink::NESTED | ETHTOOL_A_COALESCE_HEADER, header.as_slice());
        let answer = generic_netlink::get(FAMILY, ETHTOOL_MSG_COALESCE_GET, header)?;
        Ok(Coalescing {
            rx_usecs: answer.bytes(ETHTOOL_A_COALESCE_RX_USECS).map(u32::from_ne_bytes),
            adaptive_rx: answer.bytes(ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX) == Some([1]),
        })
    }

    /// Lets interrupts of received frames wait for so many microseconds at most.
    ///
    /// # Errors
    /// The driver's refusal; EPERM.
    pub fn set_rx_usecs(&self, usecs: u32) -> io::Result<()> {
        let mut words = [0; COALESCE_WORDS];
        words[0] = ETHTOOL_GCOALESCE;
        self.ask(&mut words)?;
        (words[0], words[1]) = (ETHTOOL_SCOALESCE, usecs);
        self.ask(&mut words)
    }

    /// Flow control.
    ///
    /// # Errors
    /// EOPNOTSUPP where the driver does not tell.
    pub fn pause(&self) -> io::Result<Pause> {
        let mut answer = [ETHTOOL_GPAUSEPARAM, 0, 0, 0];
        self.ask(&mut answer)?;
        let [_, autoneg, rx, tx] = answer.map(|word| word != 0);
        Ok(Pause { autoneg, rx, tx })
    }

    /// Sets flow control.
    ///
    /// # Errors
    /// The driver's refusal; EPERM.
    pub fn set_pause(&self, pause: Pause) -> io::Result<()> {
        let Pause { autoneg, rx, tx } = pause;
        self.ask(&mut [ETHTOOL_SPAUSEPARAM, autoneg.into(), rx.into(), tx.into()])
    }

    /// All offloads that this kernel knows, in the order of its numbers for them.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn features(&self) -> io::Result<Vec<Feature>> {
        let names = self.names(ETH_SS_FEATURES, FEATURES_MAX)?;
        let count = names.len();
        let blocks = count.div_ceil(32);
        let mut features = vec![0; 2 + blocks * FEATURE_WORDS];
        features[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
        self.ask(&mut features)?;
        let feature = |index: usize| {
            let word = |word: usize| features[2 + index / 32 * FEATURE_WORDS + word] >> (index % 32) & 1 == 1;
            let [available, _, active, never_changed] = [0, 1, 2, 3].map(word);
            Feature { name: names[index].clone(), is_on: active, is_fixed: !available || never_changed }
        };
        Ok((0..count).map(feature).collect())
    }

    /// The driver's own counters since it was loaded, in its order. Empty where it has none.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn statistics(&self) -> io::Result<Vec<(String, u64)>> {
        let names = match self.names(ETH_SS_STATS, STATISTICS_MAX) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
            names => names?,
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut words = vec![0; 2 + 2 * STATISTICS_MAX];
        words[..2].copy_from_slice(&[ETHTOOL_GSTATS, names.len() as u32]);
        self.ask(&mut words)?;
        // There may be others by now, if the number of queues was changed.
        let count = words[1] as usize;
        let is_same = count == names.len();
        let (values, _) = words[2..].as_chunks::<2>();
        let value = |[low, high]: &[u32; 2]| {
            let [a, b, c, d] = low.to_ne_bytes();
            let [e, f, g, h] = high.to_ne_bytes();
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        };
        let counts = names.into_iter().zip(values.iter().map(value));
        Ok(if is_same { counts.collect() } else { Vec::new() })
    }

    /// The strings of a set, of which there are at most `most`; none if the driver does not have the set.
    fn names(&self, set: u32, most: usize) -> io::Result<Vec<String>> {
        let mut size = [ETHTOOL_GSSET_INFO, 0, 1 << set, 0, 0];
        self.ask(&mut size)?;
        // The kernel clears the bit of a set that it does not have.
        let count = if size[2] == 0 { 0 } else { size[4] as usize };
        if count > most {
            return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
        }
        // The kernel writes as many as there are at that moment.
        let mut strings = vec![0; 3 + most * STRING_WORDS];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, set, count as u32]);
        if count > 0 {
            self.ask(&mut strings)?;
        }
        let (strings, _) = strings[3..].as_chunks::<STRING_WORDS>();
        Ok(strings.iter().take(count).map(text).collect())
    }

    /// Turns an offload on or off. The kernel may refuse that without an error: then it stays as it was.
    ///
    /// # Errors
    /// ENOENT where the kernel does not know it; the driver's refusal; EPERM.
    pub fn set_feature(&self, name: &str, on: bool) -> io::Result<()> {
        let features = self.features()?;
        let Some(index) = features.iter().position(|feature| feature.name == name) else {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        };
        let blocks = features.len().div_ceil(32);
        // Which are meant, and whether they are to be on.
        let mut words = vec![0; 2 + 2 * blocks];
        words[..2].copy_from_slice(&[ETHTOOL_SFEATURES, blocks as u32]);
        words[2 + 2 * (index / 32)] = 1 << (index % 32);
        words[2 + 2 * (index / 32) + 1] = u32::from(on) << (index % 32);
        self.ask(&mut words)
    }

    /// The RSS indirection table: the queue of each hash value. Empty if the driver has no table.
    ///
    /// # Errors
    /// EOPNOTSUPP, also from drivers without a table.
    pub fn indirection(&self) -> io::Result<Vec<u32>> {
        let mut size = [ETHTOOL_GRXFHINDIR, 0];
        self.ask(&mut size)?;
        let entries = size[1] as usize;
        if entries > INDIRECTION_MAX {
            return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
        }
        let mut table = vec![0; 2 + entries];
        table[..2].copy_from_slice(&[ETHTOOL_GRXFHINDIR, size[1]]);
        if entries > 0 {
            self.ask(&mut table)?;
        }
        table.drain(..2);
        Ok(table)
    }

    /// Sets the RSS indirection table.
    ///
    /// # Errors
    /// EINVAL if the length differs from the driver's table, or a queue does not exist; EPERM.
    pub fn set_indirection(&self, table: &[u32]) -> io::Result<()> {
        if table.is_empty() || table.len() > INDIRECTION_MAX {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut words = [&[ETHTOOL_SRXFHINDIR, table.len() as u32], table].concat();
        self.ask(&mut words)
    }

    /// Resets the RSS indirection table to the kernel's default, which spreads it over all queues. The kernel may then
    /// change it when the number of queues changes.
    ///
    /// # Errors
    /// EPERM, or the driver's refusal.
    pub fn reset_indirection(&self) -> io::Result<()> {
        self.ask(&mut [ETHTOOL_SRXFHINDIR, 0])
    }

    /// One call: the command and its arguments; the answer replaces them.
    fn ask(&self, words: &mut [u32]) -> io::Result<()> {
        let mut name = [0; libc::IFNAMSIZ];
        if self.name.len() >= name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (place, byte) in name.iter_mut().zip(self.name.bytes()) {
            *place = byte.cast_signed();
        }
        let data = words.as_mut_ptr().cast();
        let request =
            libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data } };
        #[expect(unsafe_code, reason = "neither libc nor nix wraps this ioctl")]
        // SAFETY: the kernel reads the request, and reads and writes the words that it leads to: as many as the
        // command has, or as its own length says, for which there is room. Both outlive the call.
        let status =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw const request) };
        // `ETHTOOL_SFEATURES` returns more than 0 where it has changed less than was wished.
        if status >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// A string in an answer, which a zero ends.
fn text(words: &[u32; STRING_WORDS]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback interface is in every network namespace.
    #[test]
    fn loopback() {
        let lo = Ethtool::new("lo").unwrap();
        let features = lo.features().unwrap();
        let fixed = |feature: &Feature| feature.name == "loopback" && feature.is_on && feature.is_fixed;
        assert!(features.iter().any(fixed), "{features:?}");
        assert!(features.iter().any(|feature| !feature.is_fixed), "{features:?}");
        let nameless = features.iter().filter(|feature| feature.is_on && feature.name.is_empty());
        assert_eq!(nameless.count(), 0, "{features:?}");
        assert_eq!(lo.set_feature("nonesuch", true).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(lo.driver_info().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.channels().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.rings().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.coalescing().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.pause().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.indirection().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.set_indirection(&[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn no_such_interface() {
        for name in ["nonesuch", "a name that is too long"] {
            let error = Ethtool::new(name).unwrap().channels().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name}");
        }
    }
}
