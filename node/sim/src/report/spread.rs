//! Where the values of several runs lie. The median, because a run that something disturbed is to
//! count as one run and not by how much it was disturbed.

/// The middle and the ends of some values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Half of the values are at or below; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of these values, none of which is not a number; infinite is a value like others. `None`
    /// without any.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min, max, count: values.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle_and_ends() {
        let check = |values: &[f64], expected: Option<[f64; 3]>| {
            let spread = Spread::of(values.iter().copied());
            assert_eq!(spread.map(|it| [it.min, it.median, it.max]), expected, "{values:?}");
            assert_eq!(spread.map_or(0, |it| it.count), values.len());
        };
        check(&[], None);
        check(&[2.0], Some([2.0, 2.0, 2.0]));
        check(&[9.0, 1.0, 3.0], Some([1.0, 3.0, 9.0]));
        check(&[4.0, 1.0, 9.0, 2.0], Some([1.0, 3.0, 9.0]));
        check(&[f64::INFINITY, 1.0], Some([1.0, f64::INFINITY, f64::INFINITY]));
    }
}
