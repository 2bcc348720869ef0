//! Checks that a stream of targets, as `xdpmap --fast-dryrun` writes it to standard input, is all of IPv4 that the
//! given files do not block, each address once, and nothing else: with one bit an address, and with code of its own.
//!
//! ```text
//! xdpmap --fast-dryrun -p 80 -b blocklist.conf | cover 80 blocklist.conf
//! ```
//!
//! The files hold prefixes and addresses, one a line; `#` starts a comment. What is not to be found in them is
//! expected, so they must list what the scanner leaves out by itself, too.

use std::io::Read;
use std::process::ExitCode;

/// A bit for each address: set if a target is still to come.
struct Expected(Vec<u64>);

impl Expected {
    /// Everything but what the files list.
    fn new(files: &[String]) -> Result<Self, String> {
        let mut all = Self(vec![u64::MAX; 1 << 26]);
        for file in files {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            for line in text.lines() {
                let entry = line.split('#').next().unwrap_or_default().trim();
                if !entry.is_empty() {
                    all.block(entry).ok_or_else(|| format!("{file}: '{entry}' is no prefix"))?;
                }
            }
        }
        Ok(all)
    }

    /// Clears the bits of one prefix, one after the other.
    fn block(&mut self, entry: &str) -> Option<()> {
        let (address, bits) = entry.split_once('/').unwrap_or((entry, "32"));
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok().filter(|&bits| bits <= 32)?;
        let size = 1u64 << (32 - bits);
        let first = u64::from(address.to_bits()) / size * size;
        (first..first + size).for_each(|address| self.clear(address as u32));
        Some(())
    }

    fn has(&self, address: u32) -> bool {
        self.0[address as usize / 64] >> (address % 64) & 1 == 1
    }

    fn clear(&mut self, address: u32) {
        self.0[address as usize / 64] &= !(1 << (address % 64));
    }

    fn left(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Reads all targets; how many there were.
fn check(input: &mut impl Read, port: u16, expected: &mut Expected) -> Result<u64, String> {
    let mut buffer = vec![0; 6 << 16];
    let mut targets = 0u64;
    let mut held = 0;
    loop {
        let len = input.read(&mut buffer[held..]).map_err(|error| format!("standard input: {error}"))?;
        if len == 0 {
            return if held == 0 { Ok(targets) } else { Err("the stream ends inside a target".to_owned()) };
        }
        held += len;
        let whole = held / 6 * 6;
        for target in buffer[..whole].chunks_exact(6) {
            let address = u32::from_be_bytes([target[0], target[1], target[2], target[3]]);
            let found = u16::from_be_bytes([target[4], target[5]]);
            targets += 1;
            if found != port || !expected.has(address) {
                let address = std::net::Ipv4Addr::from_bits(address);
                return Err(format!(
                    "target {targets}, {address} port {found}: blocked, seen before, or another port"
                ));
            }
            expected.clear(address);
        }
        buffer.copy_within(whole..held, 0);
        held -= whole;
    }
}

fn run() -> Result<String, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, files) = arguments.split_first().ok_or("usage: cover PORT [BLOCKLIST...]")?;
    let port = port.parse().map_err(|_| format!("'{port}' is no port"))?;
    let mut expected = Expected::new(files)?;
    let count = expected.left();
    let targets = check(&mut std::io::stdin().lock(), port, &mut expected)?;
    match expected.left() {
        0 => Ok(format!("{targets} of {count} addresses, each once, and nothing else")),
        left => Err(format!("{left} of {count} addresses were not among the targets")),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("cover: {text}");
            ExitCode::FAILURE
        }
    }
}
