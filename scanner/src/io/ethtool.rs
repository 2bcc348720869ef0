//! What a driver says of its queues, rings and offloads, over `SIOCETHTOOL` (`linux/ethtool.h`). Only questions, but for the
//! RSS indirection table, which can be set.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GRXFHINDIR: u32 = 0x38;
const ETHTOOL_SRXFHINDIR: u32 = 0x39;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_FEATURES: u32 = 4;
/// Words of a string in a set: 32 bytes.
const STRING_WORDS: usize = 8;
/// Words of 32 features in the answer of `ETHTOOL_GFEATURES`: available, requested, active, never changed.
const FEATURE_WORDS: usize = 4;
/// More features than any kernel has.
const FEATURES_MAX: usize = 1024;
/// More entries than any NIC's RSS indirection table has.
pub const INDIRECTION_MAX: usize = 1 << 14;

/// A number that a driver lets be set, and the most it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// What is set.
    pub now: u32,
    /// The most.
    pub max: u32,
}

/// Channels: queues with an interrupt of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Those that only receive.
    pub rx: Setting,
    /// Those that only send.
    pub tx: Setting,
    /// Those that do both.
    pub combined: Setting,
}

/// Descriptors in each of the driver's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// To receive.
    pub rx: Setting,
    /// To send.
    pub tx: Setting,
}

/// One interface, asked through a socket in its network namespace.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
    name: String,
}

impl Ethtool {
    /// Ready to ask the driver of the interface `name`.
    ///
    /// # Errors
    /// No socket is to be had.
    pub fn new(name: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, name: name.to_owned() })
    }

    /// The channels.
    ///
    /// # Errors
    /// EOPNOTSUPP where the driver does not tell.
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
    /// EOPNOTSUPP where the driver does not tell.
    pub fn rings(&self) -> io::Result<Rings> {
        let mut answer = [ETHTOOL_GRINGPARAM, 0, 0, 0, 0, 0, 0, 0, 0];
        self.ask(&mut answer)?;
        let [_, rx_max, _, _, tx_max, rx, _, _, tx] = answer;
        Ok(Rings { rx: Setting { now: rx, max: rx_max }, tx: Setting { now: tx, max: tx_max } })
    }

    /// Names of the offloads that are on, as `ethtool -k` has them in the kernel: `rx-lro`, `rx-gro-hw`, ...
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn active_features(&self) -> io::Result<Vec<String>> {
        let mut set = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        self.ask(&mut set)?;
        let count = (set[4] as usize).min(FEATURES_MAX);
        let mut strings = vec![0; 3 + count * STRING_WORDS];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
        self.ask(&mut strings)?;
        let blocks = count.div_ceil(32);
        let mut features = vec![0; 2 + blocks * FEATURE_WORDS];
        features[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
        self.ask(&mut features)?;
        let active = |index: &usize| features[2 + index / 32 * FEATURE_WORDS + 2] >> (index % 32) & 1 == 1;
        let name = |index: usize| {
            let words = &strings[3 + index * STRING_WORDS..][..STRING_WORDS];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Ok((0..count).filter(active).map(name).collect())
    }

    /// The RSS indirection table: the queue of each hash value. Empty where the driver has none.
    ///
    /// # Errors
    /// EOPNOTSUPP where the driver has none either.
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
    /// EINVAL where it has another length than the driver's, or a queue that is not there; EPERM.
    pub fn set_indirection(&self, table: &[u32]) -> io::Result<()> {
        if table.is_empty() || table.len() > INDIRECTION_MAX {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut words = [&[ETHTOOL_SRXFHINDIR, table.len() as u32], table].concat();
        self.ask(&mut words)
    }

    /// Gives the RSS indirection table back to the kernel, which spreads it over all queues and is free to do so again when
    /// their number changes.
    ///
    /// # Errors
    /// EPERM, or the driver's refusal.
    pub fn reset_indirection(&self) -> io::Result<()> {
        self.ask(&mut [ETHTOOL_SRXFHINDIR, 0])
    }

    /// One call: the command and its arguments, replaced by the answer.
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
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback interface is in every network namespace.
    #[test]
    fn loopback() {
        let lo = Ethtool::new("lo").unwrap();
        let features = lo.active_features().unwrap();
        assert!(features.iter().any(|name| name == "loopback"), "{features:?}");
        assert!(features.iter().all(|name| !name.is_empty()), "{features:?}");
        assert_eq!(lo.channels().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(lo.rings().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
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
