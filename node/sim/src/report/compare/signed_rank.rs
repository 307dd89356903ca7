//! The signed-rank test of paired values, exact for any number of pairs and with ties. Source:
//! Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
//!
//! Were two policies equal, each pair could as well have come out the other way round: every
//! assignment of signs to the magnitudes is as likely as every other one. The statistic is the sum
//! of the ranks of the magnitudes that have a plus; its distribution over all 2ⁿ assignments is
//! counted rank by rank, not one by one. Equal magnitudes share the mean of their ranks, so ranks
//! are doubled to be whole. Ranks, not sums, because a magnitude may be infinite: where one policy
//! completes and the other never does.

/// The two-sided p-value: the part of all assignments of signs that lie as far from the middle as
/// this one, or farther. The pairs are given by their magnitude, which is positive, and whether
/// their sign is a plus; pairs without a difference are not given. 1 without any.
pub(super) fn p_value(pairs: &[(f64, bool)]) -> f64 {
    let ranks = doubled_ranks(pairs);
    let seen: usize =
        pairs.iter().zip(&ranks).filter(|(pair, _)| pair.1).map(|(_, rank)| rank).sum();
    let total: usize = ranks.iter().sum();
    // How likely each sum of ranks is. Powers of two and sums of such: exact up to 53 pairs, and
    // within rounding beyond.
    let mut likely = vec![0.0; total + 1];
    likely[0] = 1.0;
    let mut reached = 0;
    for rank in ranks {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if sum >= rank { likely[sum - rank] } else { 0.0 };
            likely[sum] = (likely[sum] + with) / 2.0;
        }
    }
    let distance = (2 * seen).abs_diff(total);
    let far = |sum: &usize| (2 * sum).abs_diff(total) >= distance;
    (0..=total).filter(far).map(|sum| likely[sum]).sum::<f64>().min(1.0)
}

/// Twice the rank of each magnitude, from 2 on; those that are equal share their mean.
fn doubled_ranks(pairs: &[(f64, bool)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|a, b| pairs[*a].0.total_cmp(&pairs[*b].0));
    let mut ranks = vec![0; pairs.len()];
    let mut below = 0;
    for tied in order.chunk_by(|a, b| pairs[*a].0.total_cmp(&pairs[*b].0).is_eq()) {
        // Ranks below + 1 to below + len: twice their mean is the sum of the ends.
        for place in tied {
            ranks[*place] = 2 * below + 1 + tied.len();
        }
        below += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By trying every assignment of signs.
    fn enumerated(pairs: &[(f64, bool)]) -> f64 {
        let ranks = doubled_ranks(pairs);
        let total: usize = ranks.iter().sum();
        let sum = |signs: u32| -> usize {
            ranks.iter().enumerate().filter(|(it, _)| signs >> it & 1 == 1).map(|(_, r)| r).sum()
        };
        let seen = (0..).zip(pairs).map(|(it, pair)| u32::from(pair.1) << it).sum();
        let distance = |signs| (2 * sum(signs)).abs_diff(total);
        let all = 1_u32 << pairs.len();
        let far = (0..all).filter(|signs| distance(*signs) >= distance(seen)).count();
        far as f64 / f64::from(all)
    }

    fn signed(values: &[f64]) -> Vec<(f64, bool)> {
        values.iter().map(|it| (it.abs(), *it > 0.0)).collect()
    }

    #[test]
    fn the_count_is_that_of_all_assignments() {
        for values in [
            &[1.0][..],
            &[1.0, -2.0, 3.0],
            &[1.0, 1.0, 1.0, -1.0],
            &[-0.5, 2.0, 2.0, -2.0, 7.0, f64::INFINITY, f64::INFINITY],
            &[1.1, 2.2, -0.3, 4.0, 5.0, -0.6, 7.0, 8.0, 0.9, 10.0, -11.0, 12.0],
        ] {
            let pairs = signed(values);
            assert!((p_value(&pairs) - enumerated(&pairs)).abs() < 1e-12, "{values:?}");
        }
    }

    #[test]
    fn published_values_are_reproduced() {
        // Table of the smaller rank sum at two-sided 0.05: n = 8 has T = 3 (p 0.0391), not 4.
        let eight = |minus: &[usize]| -> f64 {
            let sign = |rank: usize| if minus.contains(&rank) { -1.0 } else { 1.0 };
            p_value(&signed(&(1..=8).map(|rank| sign(rank) * rank as f64).collect::<Vec<_>>()))
        };
        assert!((eight(&[3]) - 10.0 / 256.0).abs() < 1e-12);
        assert!((eight(&[4]) - 14.0 / 256.0).abs() < 1e-12);
        assert!((eight(&[]) - 2.0 / 256.0).abs() < 1e-12);
    }

    #[test]
    fn the_sign_of_all_pairs_makes_no_difference_and_none_is_no_evidence() {
        let values = [1.0, -2.0, 3.0, 4.0, 5.5];
        let turned = values.map(|it| -it);
        assert!((p_value(&signed(&values)) - p_value(&signed(&turned))).abs() < f64::EPSILON);
        assert!((p_value(&[]) - 1.0).abs() < f64::EPSILON);
    }
}
