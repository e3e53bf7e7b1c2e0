//! What a run asks for: the operations, and how often each is chosen.

use std::str::FromStr;

use rand::Rng;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `POST /check`.
    Check,
    /// `POST /log`.
    Log,
    /// `POST /query`.
    Query,
}

impl Operation {
    /// All of them, in the order of their discriminants.
    pub(super) const ALL: [Self; 3] = [Self::Check, Self::Log, Self::Query];

    /// As the command line and the summary call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Log => "log",
            Self::Query => "query",
        }
    }
}

/// Weights of the operations, such as `check=80,log=15,query=5`; at least one is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// By discriminant.
    weights: [u32; Operation::ALL.len()],
}

impl Mix {
    /// Chooses an operation.
    pub(super) fn choose(&self, rng: &mut impl Rng) -> Operation {
        let mut point = rng.random_range(0..self.weights.iter().sum());
        for (operation, weight) in Operation::ALL.into_iter().zip(self.weights) {
            match point.checked_sub(weight) {
                None => return operation,
                Some(rest) => point = rest,
            }
        }
        unreachable!("the point lies below the sum of the weights")
    }

    /// Whether an operation is chosen at all.
    pub(super) fn has(&self, operation: Operation) -> bool {
        self.weights[operation as usize] > 0
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [None; Operation::ALL.len()];
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(|| {
                format!("{part:?} is not like check=80; an example: check=1,log=1")
            })?;
            let operation = Operation::ALL
                .into_iter()
                .find(|operation| operation.name() == name)
                .ok_or_else(|| format!("{name:?} is none of check, log and query"))?;
            // Sixteen bits, so that no sum of weights overflows.
            let weight: u16 = weight.parse().map_err(|_| {
                format!("the weight of {name} is an integer from 0 to {}", u16::MAX)
            })?;
            if weights[operation as usize].replace(weight.into()).is_some() {
                return Err(format!("{name} is there twice"));
            }
        }
        let weights = weights.map(Option::unwrap_or_default);
        if weights == [0; Operation::ALL.len()] {
            return Err("all weights are zero".into());
        }
        Ok(Self { weights })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_mix_is_weights_by_name() {
        let mix: Mix = "query=5,check=80".parse().unwrap();
        assert_eq!(mix, Mix { weights: [80, 0, 5] });
        assert!(mix.has(Operation::Check) && mix.has(Operation::Query));
        assert!(!mix.has(Operation::Log));
        for wrong in
            ["", "check", "check=", "check=-1", "check=65536", "chek=1", "check=1,check=1", "log=0"]
        {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn operations_are_chosen_by_their_weights() {
        let mix: Mix = "check=80,log=15,query=5".parse().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = [0_i32; 3];
        for _ in 0..100_000 {
            counts[mix.choose(&mut rng) as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([80_000, 15_000, 5_000]) {
            // Five standard deviations are at most 632.
            assert!((count - expected).abs() < 650, "{counts:?}");
        }
    }
}
