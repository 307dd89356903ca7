//! Numbers as a person reads them, with about three significant digits. Never here: layout.

use std::time::Duration;

use bytesize::ByteSize;

/// What stands for a time that never came.
pub(crate) const NEVER: &str = "never";
/// What stands for a value that there is nothing to measure of.
pub(crate) const NONE: &str = "-";

/// Three significant digits: `0.0312`, `1.30`, `41.2`, `845`, `1.20e9`.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = match size {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        0.01.. => 4,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

/// Seconds: `840 ms`, `41.2 s`, `4m05s`, `2h03m`; infinite: `never`.
pub(crate) fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return NEVER.to_owned();
    }
    let whole = value.round();
    if value < 1.0 {
        format!("{:.0} ms", value * 1000.0)
    } else if value < 60.0 {
        format!("{} s", short(value))
    } else if whole < 3600.0 {
        format!("{:.0}m{:02.0}s", (whole / 60.0).floor(), whole % 60.0)
    } else if whole < HOURS_LONG * 3600.0 {
        format!("{:.0}h{:02.0}m", (whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor())
    } else {
        format!("{}h", short(whole / 3600.0))
    }
}

/// Hours from which minutes say nothing.
const HOURS_LONG: f64 = 1000.0;

/// A point in virtual time, to the microsecond: `12.345678 s`.
pub(crate) fn moment(at: Duration) -> String {
    format!("{}.{:06} s", at.as_secs(), at.subsec_micros())
}

/// Multiples of the content: `1.31×`.
pub(crate) fn copies(value: f64) -> String {
    if value.is_finite() { format!("{}×", short(value)) } else { NEVER.to_owned() }
}

/// A part in percent: `0.31%`, `12.5%`, `100%`. What is not all never reads `100%`, what is not
/// nothing never `0%`.
pub(crate) fn percent(part: f64) -> String {
    let value = part * 100.0;
    if value == 0.0 {
        "0%".to_owned()
    } else if value.abs() < 0.01 {
        if value > 0.0 { "<0.01%".to_owned() } else { ">-0.01%".to_owned() }
    } else if (99.95..100.0).contains(&value) {
        ">99.9%".to_owned()
    } else {
        format!("{}%", short(value))
    }
}

/// A number between 0 and 1: `0.987`.
pub(crate) fn index(value: f64) -> String {
    format!("{value:.3}")
}

/// A count, or a mean of two: `100`, `99.5`, `1 234 567`.
pub(crate) fn count(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        whole(value as u64)
    } else if value.abs() < 1e6 {
        format!("{value:.1}")
    } else {
        short(value)
    }
}

/// A whole number in groups of three digits: `1 234 567`.
pub(crate) fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes: `256.0 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    ByteSize::b(count).display().iec().to_string()
}

/// `1 seed`, `2 seeds`.
pub(crate) fn many(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", whole(number), if number == 1 { "" } else { "s" })
}

/// Seeds in few words: `1 to 8`, `3`, `1, 5, 9 and 12 more`.
pub(crate) fn seeds(seeds: &[u64]) -> String {
    let follow = seeds.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    match seeds {
        [] => "none".to_owned(),
        [first, .., last] if follow && seeds.len() > 2 => format!("{first} to {last}"),
        [..] => {
            let named: Vec<String> = seeds.iter().take(SEEDS_NAMED).map(u64::to_string).collect();
            let rest = seeds.len() - named.len();
            let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
            format!("{}{more}", named.join(", "))
        }
    }
}

/// How many seeds are named one by one.
const SEEDS_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: &[(f64, &str)], say: impl Fn(f64) -> String) {
        for (value, text) in table {
            assert_eq!(say(*value), *text, "{value}");
        }
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        let table = [
            (0.0, "0"),
            (0.000_123, "1.23e-4"),
            (0.001_234, "0.00123"),
            (0.5, "0.500"),
            (1.314, "1.31"),
            (41.26, "41.3"),
            (845.4, "845"),
            (999_999.0, "999999"),
            (1.2e9, "1.20e9"),
            (-2.5, "-2.50"),
        ];
        check(&table, short);
    }

    #[test]
    fn times_change_their_unit_at_the_boundary() {
        let table = [
            (0.0, "0 ms"),
            (0.84, "840 ms"),
            (1.0, "1.00 s"),
            (59.96, "60.0 s"),
            (60.0, "1m00s"),
            (119.6, "2m00s"),
            (3599.4, "59m59s"),
            (3599.6, "1h00m"),
            (7380.0, "2h03m"),
            (1e19, "2.78e15h"),
            (f64::INFINITY, "never"),
        ];
        check(&table, seconds);
        assert_eq!(moment(Duration::from_micros(12_000_045)), "12.000045 s");
    }

    #[test]
    fn only_all_is_a_hundred_percent_and_only_nothing_none() {
        let table = [
            (0.0, "0%"),
            (0.000_01, "<0.01%"),
            (0.0031, "0.310%"),
            (0.125, "12.5%"),
            (0.9996, ">99.9%"),
            (1.0, "100%"),
            (2.5, "250%"),
        ];
        check(&table, percent);
    }

    #[test]
    fn counts_are_grouped_and_seeds_shortened() {
        check(&[(100.0, "100"), (99.5, "99.5"), (1_234_567.0, "1 234 567")], count);
        assert_eq!(whole(u64::MAX), "18 446 744 073 709 551 615");
        assert_eq!(many(1, "seed"), "1 seed");
        assert_eq!(seeds(&[]), "none");
        assert_eq!(seeds(&[3]), "3");
        assert_eq!(seeds(&[3, 4]), "3, 4");
        assert_eq!(seeds(&[3, 4, 5]), "3 to 5");
        assert_eq!(seeds(&[u64::MAX, 0, 1]), "18446744073709551615, 0, 1");
        let odd: Vec<u64> = (0..10).map(|it| it * 2).collect();
        assert_eq!(seeds(&odd), "0, 2, 4, 6, 8, 10, 12, 14 and 2 more");
    }
}
