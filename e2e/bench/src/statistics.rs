//! Several runs of the same thing as one figure and its spread.

/// The median of some runs, and how far they lie apart.
#[derive(Clone, Copy)]
pub(crate) struct Median {
    pub(crate) value: f64,
    least: f64,
    most: f64,
}

impl Median {
    /// Of at least one run.
    pub(crate) fn of(runs: impl IntoIterator<Item = f64>) -> Self {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let middle = runs.len() / 2;
        let value = if runs.len().is_multiple_of(2) {
            f64::midpoint(runs[middle - 1], runs[middle])
        } else {
            runs[middle]
        };
        Self {
            value,
            least: runs[0],
            most: runs[runs.len() - 1],
        }
    }

    /// Half the distance between the least and the most, in percent of the median.
    pub(crate) fn spread(&self) -> f64 {
        if self.value == 0.0 {
            return 0.0;
        }
        (self.most - self.least) / 2.0 / self.value * 100.0
    }
}

/// The value below which `share` of the sorted values lie.
pub(crate) fn percentile(sorted: &[u32], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_is_to_both_sides() {
        let median = Median::of([30.0, 10.0, 20.0]);
        assert!((median.value - 20.0).abs() < 1e-9);
        assert!((median.spread() - 50.0).abs() < 1e-9);
        assert!((Median::of([1.0, 2.0]).value - 1.5).abs() < 1e-9);
    }

    #[test]
    fn percentiles_count_from_the_least() {
        let values: Vec<u32> = (0..100).collect();
        assert!((percentile(&values, 0.5) - 50.0).abs() < 1e-9);
        assert!((percentile(&values, 1.0) - 99.0).abs() < 1e-9);
        assert!(percentile(&[], 0.5).abs() < 1e-9);
    }
}
