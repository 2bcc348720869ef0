//! The names under which the tools are looked for. The build script also reads this file.

/// Environment variable that names the clang to use.
pub(crate) const CLANG_VARIABLE: &str = "XDPMAP_CLANG";

/// The message if no clang is found.
pub(crate) const NO_CLANG: &str = "clang not found: the XDP program is compiled from C; install it with: \
                                   apt-get install clang llvm (or name one in XDPMAP_CLANG)";

/// Newest and oldest versions that are looked for as `clang-N` if there is no plain `clang`.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=19;

/// `name`, then `name-19` ... `name-14`.
pub(crate) fn usual(name: &str) -> impl Iterator<Item = String> {
    let versioned = VERSIONS.rev().map(move |version| format!("{name}-{version}"));
    std::iter::once(name.to_owned()).chain(versioned)
}
