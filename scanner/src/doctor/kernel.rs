//! The kernel's version, and the features that depend on it.

/// A kernel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

/// The oldest kernel that xdpmap runs on.
pub(super) const OLDEST: Version = Version(5, 15);
/// The first kernel with XDP live frames.
pub(super) const LIVE_FRAMES: Version = Version(5, 18);
/// The first kernel that reports the XDP features of drivers.
pub(super) const XDP_FEATURES: Version = Version(6, 3);

/// The release name of this kernel.
pub(super) fn release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

impl Version {
    /// The running kernel's version. If its name cannot be parsed, the oldest that xdpmap runs on.
    pub(super) fn running() -> Self {
        Self::parse(&release()).unwrap_or(OLDEST)
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(Version::parse("6.18.5-cloud-amd64"), Some(Version(6, 18)));
        assert_eq!(Version::parse("5.15.0"), Some(Version(5, 15)));
        assert_eq!(Version::parse("7.1"), Some(Version(7, 1)));
        assert_eq!(Version::parse("next"), None);
        assert!(
            Version(5, 15) < LIVE_FRAMES && Version(6, 18) > XDP_FEATURES && Version(6, 2) < XDP_FEATURES
        );
    }
}
