//! The units of a plan: sizes, rates, durations and parts, read from text. Never here: which key
//! they belong to, or how large they may be.

use std::time::Duration;

use bytesize::ByteSize;

/// Units of durations and their length, nanoseconds; what is spelled is the longest that fits.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Digits of a duration behind the point: nanoseconds of a second.
const DECIMALS_MAX: usize = 9;

/// A number of bytes: `64MiB`, `1.5 GB`, `4096`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size = text.trim().parse::<ByteSize>().map(|size| size.as_u64());
    size.map_err(|_| format!("{} is no size such as 512MiB or 1GB", quoted(text)))
}

/// Bytes a second: `20MB/s`, `512KiB/s`, and both without `/s`.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let bytes = text.strip_suffix("/s").unwrap_or(text);
    size(bytes).map_err(|_| {
        format!("{} is no rate such as 20MB/s or 512KiB/s, bytes a second", quoted(text))
    })
}

/// A number with `ns`, `us`, `ms`, `s`, `m`, `h` or `d`: `1500ms`, `1.5s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let bad = || format!("{} is no duration such as 500us, 20ms, 1.5s, 3m or 1h", quoted(text));
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let &(_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let (whole, decimals) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
    let digits = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    if decimals.len() > DECIMALS_MAX {
        return Err(bad());
    }
    let whole = digits(whole).ok_or_else(bad)?;
    let scale = decimals.chars().fold(1_u128, |scale, _| scale * 10);
    let decimals = digits(decimals).ok_or_else(bad)?;
    // 2^64 units of a day fit well below 2^128 nanoseconds.
    let total =
        u128::from(whole) * u128::from(nanos) + u128::from(decimals) * u128::from(nanos) / scale;
    Ok(Duration::from_nanos(u64::try_from(total).map_err(|_| bad())?))
}

/// A part of something, 0 to 1: `0.5`, `50%`.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let trimmed = text.trim();
    let (number, unit) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (trimmed, 1.0),
    };
    let part = number.parse::<f64>().ok().map(|number| number / unit);
    let part = part.filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| format!("{} is no part such as 0.5 or '50%', from 0 to 1", quoted(text)))
}

/// A duration as [`duration`] reads it.
pub(super) fn spell_duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    let fits = |&&(_, unit): &&(&str, u64)| nanos > 0 && nanos.is_multiple_of(u128::from(unit));
    let (name, unit) = UNITS.iter().find(fits).copied().unwrap_or(("s", 1_000_000_000));
    format!("{}{name}", nanos / u128::from(unit))
}

/// A size as [`size`] reads it.
pub(super) fn spell_size(bytes: u64) -> String {
    const BINARY: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |&&(_, bits): &&(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= bits;
    match BINARY.iter().find(fits) {
        Some((name, bits)) => format!("{}{name}", bytes >> bits),
        None => bytes.to_string(),
    }
}

/// What somebody wrote, in an error: short, and without what would break the line.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let mut shown = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect::<String>();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// The one of `names` that is most like a wrong one, where any is alike.
pub(super) fn near<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Of 1 in Jaro-Winkler similarity: a letter left out, doubled or swapped in a word of five.
    const ALIKE_MIN: f64 = 0.8;
    /// A longer text is no slip, and would take its square in time.
    const WRONG_LEN_MAX: usize = 128;
    if wrong.len() > WRONG_LEN_MAX {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&wrong, name), name));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= ALIKE_MIN).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, nanos) in [
            ("1500ms", 1_500_000_000),
            ("1.5s", 1_500_000_000),
            ("2s", 2_000_000_000),
            ("3 m", 180_000_000_000),
            ("500us", 500_000),
            ("1h", 3_600_000_000_000),
            ("7d", 604_800_000_000_000),
            ("0s", 0),
            ("0.000000001s", 1),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.s",
            ".5s",
            "1.2.3s",
            "1e3s",
            "+1s",
            "5 fortnights",
            "1S",
            "99999999999999999999s",
            "18446744073709551615d",
            "1.0000000001s",
            "٣s",
            "5s s",
        ] {
            let error = duration(bad).unwrap_err();
            assert!(error.contains("is no duration"), "{bad}: {error}");
        }
    }

    #[test]
    fn durations_are_spelled_as_they_are_read() {
        for text in ["0s", "500us", "1500ms", "90s", "3m", "25h", "7d", "1ns"] {
            assert_eq!(spell_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_and_rates_know_both_kinds_of_units() {
        for (text, bytes) in
            [("512MiB", 512 << 20), ("1GB", 1_000_000_000), ("1.5 KiB", 1536), ("7", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(rate(&format!("{text}/s")), Ok(bytes), "{text}");
            assert_eq!(size(&spell_size(bytes)), Ok(bytes), "{text}");
        }
        for bad in ["", "much", "-1MB", "20Mbit", "1MB/min", "MB", "1..5MB"] {
            assert!(size(bad).unwrap_err().contains("is no size"), "{bad}");
            assert!(rate(bad).unwrap_err().contains("bytes a second"), "{bad}");
        }
    }

    #[test]
    fn absurd_sizes_saturate_and_do_not_wrap() {
        for text in ["99999999999999999999", "99999999999EiB", "1e300", "18446744073709551615EB"] {
            assert!(size(text).is_err() || size(text) == Ok(u64::MAX), "{text}");
        }
    }

    #[test]
    fn parts_are_numbers_up_to_one_or_percents() {
        for (text, expected) in [("0.5", 0.5), ("50%", 0.5), ("0", 0.0), ("100 %", 1.0)] {
            assert_eq!(part(text), Ok(expected), "{text}");
        }
        for bad in ["", "half", "1.01", "101%", "-0.1", "NaN", "inf", "%", "5%%"] {
            assert!(part(bad).unwrap_err().contains("from 0 to 1"), "{bad}");
        }
    }

    #[test]
    fn what_is_quoted_is_short_and_one_line() {
        assert_eq!(quoted("a\nb"), "'a\\nb'");
        assert_eq!(quoted(&"x".repeat(41)).chars().count(), 43);
    }

    #[test]
    fn only_names_that_are_alike_are_near() {
        let names = ["honest", "free_rider", "liar"];
        assert_eq!(near("freerider", names), Some("free_rider"));
        assert_eq!(near("Honset", names), Some("honest"));
        assert_eq!(near("quantum", names), None);
        assert_eq!(near(&"liar".repeat(1000), names), None);
    }
}
