//! The cost of passphrases.

use std::{fmt, fs};

/// The cost of a passphrase: the parameters of Argon2id, which the store records.
///
/// The default is the second recommendation of RFC 9106: 64 MiB, 3 passes, 4 lanes, which takes
/// about a tenth of a second.
///
/// A file that asks for more than 256 MiB or half of the machine's memory, 12 passes or 16 lanes is
/// refused, unless [`Root::allow_cost`](super::Root::allow_cost) allows more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory in KiB, at most 1,048,576.
    pub memory_kib: u32,
    /// Passes over the memory, at most 64.
    pub passes: u32,
    /// Lanes, at most 64.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl PassphraseCost {
    /// Returns the higher of the two in each parameter.
    pub(super) fn or_more(self, other: Self) -> Self {
        Self {
            memory_kib: self.memory_kib.max(other.memory_kib),
            passes: self.passes.max(other.passes),
            lanes: self.lanes.max(other.lanes),
        }
    }

    /// Returns whether no parameter exceeds that of `most`.
    pub(super) fn is_within(self, most: Self) -> bool {
        self.or_more(most) == most
    }

    /// Returns the cost with at most half of the machine's memory, where that is known, but with at
    /// least that of the default.
    pub(super) fn limited_by_memory(self) -> Self {
        let half = memory_of_machine_kib().map_or(self.memory_kib, |kib| kib / 2);
        Self { memory_kib: self.memory_kib.min(half.max(Self::default().memory_kib)), ..self }
    }
}

impl fmt::Display for PassphraseCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB, {} passes and {} lanes", self.memory_kib.div_ceil(1024), self.passes, self.lanes)
    }
}

/// The fewest characters of the passphrase of a backup, which can be guessed without the store;
/// [`Root::allow_short_passphrase`](super::Root::allow_short_passphrase) allows fewer.
pub const MIN_BACKUP_PASSPHRASE: usize = 12;

/// Returns the memory of the machine, on Linux.
fn memory_of_machine_kib() -> Option<u32> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| u32::try_from(kib).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: PassphraseCost = PassphraseCost { memory_kib: 256 << 10, passes: 12, lanes: 16 };

    #[test]
    fn the_memory_of_the_machine_limits_the_cost() {
        let limited = MOST.limited_by_memory();
        assert!(limited.memory_kib >= PassphraseCost::default().memory_kib);
        assert!(limited.or_more(MOST) == MOST);
        if cfg!(target_os = "linux") {
            let total = memory_of_machine_kib().expect("known on Linux");
            assert!(total > 1 << 16);
            let huge = PassphraseCost { memory_kib: u32::MAX, ..MOST };
            assert_eq!(huge.limited_by_memory().memory_kib, (total / 2).max(PassphraseCost::default().memory_kib));
        }
    }
}
