//! What can be wrong with a line of a list.

use super::ranges::AddressRange;

/// What is wrong with an entry; the text includes the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A host name, in a list that takes none.
    #[error("is a host name, and this list takes addresses: give its addresses")]
    HostName,
    /// Not an address and a port.
    #[error("is not an IPv4 address and a port: write it as 192.0.2.1:80 or 192.0.2.1,80")]
    NotAPair,
    /// It is none of the forms.
    #[error(
        "is not an IPv4 address, prefix or range: write it as 192.0.2.1, 192.0.2.0/24 or 192.0.2.1-192.0.2.9"
    )]
    NotAnAddress,
    /// The part after the slash is not a number from 0 to 32.
    #[error("has a bad prefix length: write a number from 0 to 32 after the slash")]
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
    #[error("is more than one entry: give each a line of its own")]
    Several,
    /// More than one target in an argument.
    #[error("is more than one target: give each as an argument of its own, not quoted together")]
    SeveralTargets,
    /// An entry, and more behind it.
    #[error("has more in it than an entry: write a # before a comment")]
    Trailing,
    /// An argument that names nothing.
    #[error("names no target: give one, or leave it out")]
    Empty,
    /// A line of which not even all can be kept.
    #[error("begins a line that is too long for an entry: write one entry a line")]
    TooLong,
}
