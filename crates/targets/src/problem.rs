//! The problems of a line in a list.

use super::ranges::AddressRange;

/// The problem with an entry; the text includes the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A host name in a list that does not accept host names.
    #[error("is a host name, but this list accepts only addresses: give its addresses")]
    HostName,
    /// An AS number, and no table of them.
    #[error("is an AS number, and no table says which networks it has")]
    NoSystems,
    /// An AS number that a table does not have.
    #[error("is an AS number without a prefix in the table of AS numbers: correct it, or use a newer table")]
    UnknownSystem,
    /// A number that no system can have.
    #[error("is above the highest AS number, 4294967295: correct it")]
    SystemNumber,
    /// An AS number in a list of single hosts.
    #[error(
        "is an AS number, but this list holds single hosts: give it as a target, or in a list of networks"
    )]
    SystemAmongHosts,
    /// No line of a table of AS numbers.
    #[error("is not a prefix and its AS number: write it as 192.0.2.0/24 64500, or 192.0.2.0 24 64500")]
    NotAnOrigin,
    /// Not an address and a port.
    #[error("is not an IPv4 address and a port: write it as 192.0.2.1:80 or 192.0.2.1,80")]
    NotAPair,
    /// None of the forms.
    #[error(
        "is not an IPv4 address, prefix or range: write it as 192.0.2.1, 192.0.2.0/24 or 192.0.2.1-192.0.2.9"
    )]
    NotAnAddress,
    /// The part after the slash is not a number from 0 to 32, or has leading zeros.
    #[error("has a bad prefix length: write a number from 0 to 32 after the slash, without leading zeros")]
    PrefixLength,
    /// A range whose first address is above its last.
    #[error("runs backwards: write the lower address first")]
    Backwards,
    /// A range or a prefix with blanks or words in it.
    #[error("has blanks in it: write it as {0}")]
    Spaced(AddressRange),
    /// An address and a netmask.
    #[error("is an address and a netmask: write it as {0}")]
    Netmask(AddressRange),
    /// More than one entry in a line.
    #[error("is more than one entry: write each on a separate line")]
    Several,
    /// More than one target in an argument.
    #[error("is more than one target: give each as a separate argument, not quoted together")]
    SeveralTargets,
    /// An entry, followed by more.
    #[error("has text after its entry: write a # before a comment")]
    Trailing,
    /// An argument without a target.
    #[error("names no target: give one, or leave it out")]
    Empty,
    /// The start of a line that is too long to be kept whole.
    #[error("begins a line that is too long for an entry: write one entry per line")]
    TooLong,
}
