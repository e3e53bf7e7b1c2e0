//! Which identifier a check is about: numbers from 0, by a distribution.

use rand::Rng;
use rand_distr::{Distribution as _, Zipf};

/// How identifiers are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// Few often, most seldom: the one of rank `r` in proportion to `r^-skew`.
    Zipf,
    /// Each once, in order, and then again from the first: for filling a cluster.
    Sequential,
}

/// The numbers of identifiers, one after the other.
pub(super) enum Keys {
    Uniform {
        count: u64,
    },
    /// Ranks by rejection-inversion, in constant time and memory whatever their number: Hörmann and
    /// Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
    /// ACM TOMACS 6 (3), 1996.
    Zipf(Zipf<f64>),
    Sequential {
        count: u64,
        next: u64,
    },
}

impl Keys {
    /// Numbers below `count`, which is at least 1; `skew` is the exponent of [`Distribution::Zipf`].
    ///
    /// # Errors
    /// The skew is negative or no number.
    pub(super) fn new(distribution: Distribution, count: u64, skew: f64) -> Result<Self, String> {
        Ok(match distribution {
            Distribution::Uniform => Self::Uniform { count },
            Distribution::Zipf => Self::Zipf(
                Zipf::new(count as f64, skew).map_err(|error| format!("--skew {skew}: {error}"))?,
            ),
            Distribution::Sequential => Self::Sequential { count, next: 0 },
        })
    }

    /// The next number.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> u64 {
        match self {
            Self::Uniform { count } => rng.random_range(0..*count),
            // Rank 1 is number 0. A rank is a whole number from 1 to the count.
            Self::Zipf(zipf) => zipf.sample(rng) as u64 - 1,
            Self::Sequential { count, next } => {
                let number = *next;
                *next = (number + 1) % *count;
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const SAMPLES: u32 = 200_000;

    fn counts(distribution: Distribution, keys: usize, skew: f64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut source = Keys::new(distribution, keys as u64, skew).unwrap();
        let mut counts = vec![0.0; keys];
        for _ in 0..SAMPLES {
            counts[usize::try_from(source.next(&mut rng)).unwrap()] += 1.0;
        }
        counts
    }

    /// Pearson's statistic; its mean is the degrees of freedom, its variance twice that.
    fn chi_squared(counts: &[f64], frequencies: &[f64]) -> f64 {
        let sum: f64 = frequencies.iter().sum();
        let terms = counts.iter().zip(frequencies).map(|(count, frequency)| {
            let expected = f64::from(SAMPLES) * frequency / sum;
            (count - expected).powi(2) / expected
        });
        terms.sum()
    }

    #[test]
    fn zipf_has_its_frequencies() {
        for skew in [0.5, 0.99, 1.0, 1.3] {
            let frequencies: Vec<_> = (1..=100).map(|rank| f64::from(rank).powf(-skew)).collect();
            let statistic = chi_squared(&counts(Distribution::Zipf, 100, skew), &frequencies);
            // 99 degrees of freedom: mean 99, standard deviation 14.
            assert!(statistic < 99.0 + 5.0 * 14.1, "skew {skew}: {statistic}");
            // The test itself tells such distributions apart.
            let other = chi_squared(&counts(Distribution::Zipf, 100, skew + 0.1), &frequencies);
            assert!(other > 99.0 + 20.0 * 14.1, "skew {skew}: {other}");
        }
    }

    #[test]
    fn uniform_has_its_frequencies() {
        let statistic = chi_squared(&counts(Distribution::Uniform, 100, 0.0), &[1.0; 100]);
        assert!(statistic < 99.0 + 5.0 * 14.1, "{statistic}");
    }

    #[test]
    fn sequential_goes_around() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut keys = Keys::new(Distribution::Sequential, 3, 0.0).unwrap();
        let numbers: Vec<_> = (0..7).map(|_| keys.next(&mut rng)).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn one_key_is_always_the_same() {
        for distribution in [Distribution::Uniform, Distribution::Zipf, Distribution::Sequential] {
            assert_eq!(counts(distribution, 1, 0.99), [f64::from(SAMPLES)]);
        }
    }

    #[test]
    fn a_skew_is_not_negative() {
        assert!(Keys::new(Distribution::Zipf, 10, -0.1).is_err());
        assert!(Keys::new(Distribution::Zipf, 10, f64::NAN).is_err());
    }
}
