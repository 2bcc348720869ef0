//! The interrupts of an interface's queues, and on which cores they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const INTERRUPTS: &str = "/proc/interrupts";

/// The numbers of all interrupts of the interface's device; `None` where it has none of its own.
pub(in crate::doctor) fn numbers(interface: &str) -> Option<Vec<String>> {
    let device = Path::new("/sys/class/net").join(interface).join("device");
    // A virtio device's interrupts are those of the PCI device above it.
    let folders = [device.join("msi_irqs"), device.join("../msi_irqs")];
    let list = folders.into_iter().find_map(|folder| fs::read_dir(folder).ok())?;
    Some(list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// The names of the interrupts of the interface's queues.
pub(super) fn of_queues(interface: &str) -> Vec<String> {
    let Some(numbers) = numbers(interface) else { return Vec::new() };
    named(&fs::read_to_string(INTERRUPTS).unwrap_or_default(), &numbers, interface)
}

/// The cores of an interrupt, as a mask.
pub(super) fn mask(name: &str) -> Option<String> {
    fs::read_to_string(file(name)?).ok().map(|text| text.trim().to_owned())
}

/// Sets the cores of an interrupt.
pub(super) fn set_mask(name: &str, mask: &str) -> io::Result<()> {
    fs::write(file(name).ok_or(io::ErrorKind::NotFound)?, format!("{mask}\n"))
}

/// The queue that an interrupt is of, which is what its name ends with.
pub(super) fn queue(name: &str) -> Option<usize> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name[name.len() - digits..].parse().ok()
}

/// The mask of one core, in words of 32 bits as the kernel prints masks: as many of them as in `like`.
pub(super) fn mask_of(core: usize, like: &str) -> String {
    let words = like.split(',').count();
    let width = if words == 1 { like.len() } else { 8 };
    let word = |number: usize| match number == core / 32 {
        true => format!("{:0width$x}", 1u32 << (core % 32)),
        false => format!("{:0width$x}", 0),
    };
    (0..words).rev().map(word).collect::<Vec<_>>().join(",")
}

fn file(name: &str) -> Option<PathBuf> {
    let table = fs::read_to_string(INTERRUPTS).ok()?;
    let (number, _) = lines(&table).find(|(_, own)| *own == name)?;
    Some(Path::new("/proc/irq").join(number).join("smp_affinity"))
}

/// The names of those with these numbers that end with a queue's number. The interface's own name may do so as well.
fn named(table: &str, numbers: &[String], interface: &str) -> Vec<String> {
    let is_queues = |(number, name): &(&str, &str)| {
        *name != interface && numbers.iter().any(|own| own == number) && queue(name).is_some()
    };
    lines(table).filter(is_queues).map(|(_, name)| name.to_owned()).collect()
}

/// Number and name of each line of `/proc/interrupts`.
fn lines(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        Some((number.trim(), rest.split_whitespace().last()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "           CPU0       CPU1
  24:          0          0  PCI-MSIX-0000:01:00.0   0-edge      igb0
  25:         12          0  PCI-MSIX-0000:01:00.0   1-edge      igb0-TxRx-0
  26:          0          7  PCI-MSIX-0000:01:00.0   2-edge      igb0-rx-11
  27:          0          7  PCI-MSIX-0000:02:00.0   1-edge      igb1-TxRx-0
 NMI:          0          0   Non-maskable interrupts
";

    #[test]
    fn those_of_queues() {
        let own = ["24", "25", "26"].map(str::to_owned);
        assert_eq!(named(TABLE, &own, "igb0"), ["igb0-TxRx-0", "igb0-rx-11"]);
        assert_eq!(named(TABLE, &[], "igb0"), [""; 0]);
        assert_eq!(["igb0-rx-11", "virtio1-input.3", "eth"].map(queue), [Some(11), Some(3), None]);
        assert_eq!(file("no such interrupt"), None);
    }

    #[test]
    fn masks() {
        for (core, like, mask) in [
            (0, "3", "1"),
            (1, "3", "2"),
            (5, "ff", "20"),
            (0, "ff", "01"),
            (33, "ffffffff,ffffffff", "00000002,00000000"),
            (2, "f,ffffffff", "00000000,00000004"),
        ] {
            assert_eq!(mask_of(core, like), mask);
        }
    }
}
