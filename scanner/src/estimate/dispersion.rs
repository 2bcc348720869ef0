//! By how much hits differ between groups, compared with hits that know nothing of each other.
//!
//! Hits that come together, because their networks or their seconds have something in common, are worth fewer than as
//! many that do not. The factor is Pearson's chi-squared over its degrees of freedom, as for a quasi-binomial model (P.
//! McCullagh, J. A. Nelder, "Generalized Linear Models", 2nd edition, 1989, section 4.5.2): the variance between groups
//! in units of what is expected of independent trials. It counts where it is larger than chance explains (with an error
//! of 5 %). Otherwise trials are taken for independent: a factor that is above 1 by chance would widen all intervals,
//! and one below 1 is always chance.

use serde::{Deserialize, Serialize};

use super::NORMAL;

/// Fewest groups that say anything. With fewer, the variance between them is mostly chance.
const GROUPS_MIN: usize = 8;
/// Fewest hits, and fewest trials without a hit, per group on average. With fewer, chi-squared has a longer tail;
/// groups are put together until there are as many.
const HITS_MIN: f64 = 5.0;

/// Chance alone stays below this quantile of the normal distribution with probability 95 %.
const ONE_SIDED: f64 = 1.644_853_626_951_473;

/// Trials that may have something in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Trials.
    pub trials: u64,
    /// Those with a hit.
    pub hits: u64,
}

impl Group {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { trials: self.trials + other.trials, hits: self.hits + other.hits }
    }
}

/// How much the variance between groups is, in units of that of independent trials.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// As it was measured.
    pub measured: f64,
    /// The groups that it was taken from; 0: nothing is known of groups, and the trials are taken for independent.
    pub groups: u64,
}

impl Default for Dispersion {
    fn default() -> Self {
        Self::INDEPENDENT
    }
}

impl Dispersion {
    /// That of independent trials.
    pub const INDEPENDENT: Self = Self { measured: 1.0, groups: 0 };

    /// The dispersion between groups, which are in the order in which they may be put together.
    pub fn between(groups: &[Group]) -> Self {
        let all = groups.iter().fold(Group::default(), |sum, group| sum.and(*group));
        let rarer = all.hits.min(all.trials.saturating_sub(all.hits)) as f64;
        let most = groups.len().min((rarer / HITS_MIN) as usize);
        if most < GROUPS_MIN {
            return Self::INDEPENDENT;
        }
        let share = all.hits as f64 / all.trials as f64;
        let together = groups.chunks(groups.len().div_ceil(most));
        let together = together.map(|some| some.iter().fold(Group::default(), |sum, group| sum.and(*group)));
        let (mut squares, mut count) = (0.0, 0u64);
        for group in together.filter(|group| group.trials > 0) {
            let expected = share * group.trials as f64;
            squares += (group.hits as f64 - expected).powi(2) / (expected * (1.0 - share));
            count += 1;
        }
        if count < GROUPS_MIN as u64 {
            return Self::INDEPENDENT;
        }
        Self { measured: squares / (count - 1) as f64, groups: count }
    }

    /// That of several parts of a scan together, each of which counts by the number of its groups.
    pub fn pooled(parts: &[Self]) -> Self {
        let known: Vec<&Self> = parts.iter().filter(|part| part.groups > 1).collect();
        let freedom: f64 = known.iter().map(|part| (part.groups - 1) as f64).sum();
        if freedom == 0.0 {
            return Self::INDEPENDENT;
        }
        let sum: f64 = known.iter().map(|part| part.measured * (part.groups - 1) as f64).sum();
        Self {
            measured: sum / freedom,
            groups: known.iter().fold(0, |sum, part| sum.saturating_add(part.groups)),
        }
    }

    /// The factor that counts: what was measured if chance does not explain it, or else 1.
    pub fn factor(&self) -> f64 {
        if self.groups > 1 && self.measured > by_chance(self.groups - 1) { self.measured } else { 1.0 }
    }

    /// How far an interval reaches, in standard errors: Student's quantile where the variance is an estimate itself.
    pub(super) fn quantile(&self) -> f64 {
        if self.factor() > 1.0 { student(self.groups - 1) } else { NORMAL }
    }
}

/// What chi-squared over its degrees of freedom stays below by chance (E. B. Wilson, M. M. Hilferty, "The distribution
/// of chi-square", PNAS 17, 1931).
fn by_chance(freedom: u64) -> f64 {
    let variance = 2.0 / (9.0 * freedom as f64);
    (1.0 - variance + ONE_SIDED * variance.sqrt()).powi(3)
}

/// The quantile of Student's distribution that belongs to [`NORMAL`], by R. A. Fisher's and E. A. Cornish's expansion
/// (M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5). From 7 degrees on it is right to
/// 3 digits.
fn student(freedom: u64) -> f64 {
    let (z, n) = (NORMAL, freedom.max(1) as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tables of Student's distribution.
    #[test]
    fn students_quantile() {
        for (freedom, expected) in [(7, 2.3646), (10, 2.2281), (30, 2.0423), (63, 1.9983), (127, 1.9788)] {
            let quantile = student(freedom);
            assert!((quantile - expected).abs() < 1e-3, "{freedom}: {quantile}");
        }
    }

    /// From tables of the chi-squared distribution.
    #[test]
    fn quantile_of_chi_squared() {
        for (freedom, expected) in [(7, 14.067), (30, 43.773), (100, 124.342)] {
            let quantile = by_chance(freedom) * freedom as f64;
            assert!((quantile - expected).abs() < 0.03, "{freedom}: {quantile}");
        }
    }

    #[test]
    fn groups_that_differ() {
        let group = |hits| Group { trials: 1_000, hits };
        assert_eq!(Dispersion::between(&[group(50); 64]), Dispersion { measured: 0.0, groups: 64 });
        // Half of them have 40 hits and half 60: each differs by 10 from 50, of which chance explains 47.5 squared.
        let uneven: Vec<Group> = (0..64).map(|number| group(40 + 20 * (number % 2))).collect();
        let dispersion = Dispersion::between(&uneven);
        let expected = 64.0 * 100.0 / 47.5 / 63.0;
        assert!((dispersion.measured - expected).abs() < 1e-9 && dispersion.groups == 64, "{dispersion:?}");
        assert!(dispersion.factor() > 2.0 && dispersion.quantile() > NORMAL);
        let by_chance = Dispersion { measured: 1.2, groups: 64 };
        assert_eq!((by_chance.factor(), by_chance.quantile()), (1.0, NORMAL));
    }

    #[test]
    fn too_little_says_nothing() {
        let group = |hits| Group { trials: 1_000, hits };
        let uneven = |count: u64| (0..count).map(|number| group(100 * (number % 2))).collect::<Vec<_>>();
        assert_eq!(Dispersion::between(&uneven(7)), Dispersion::INDEPENDENT);
        assert_eq!(Dispersion::between(&[]), Dispersion::INDEPENDENT);
        assert_eq!(Dispersion::between(&[group(0); 64]), Dispersion::INDEPENDENT);
        assert_eq!(Dispersion::between(&[group(1_000); 64]), Dispersion::INDEPENDENT);
        // One hit per group: groups are put together until there are five.
        assert_eq!(Dispersion::between(&[group(1); 100]).groups, 20);
    }

    #[test]
    fn parts_count_by_their_groups() {
        let of = |measured, groups| Dispersion { measured, groups };
        assert_eq!(Dispersion::pooled(&[of(3.0, 11), of(1.0, 31)]), of(1.5, 42));
        assert_eq!(Dispersion::pooled(&[of(2.0, 11), Dispersion::INDEPENDENT]), of(2.0, 11));
        assert_eq!(Dispersion::pooled(&[]), Dispersion::INDEPENDENT);
    }
}
