//! Numbers as a person reads them: bytes, rates, durations, addresses, times. Never here: layout.

use std::net::{IpAddr, SocketAddr};

use bytesize::ByteSize;
use prost_types::Timestamp;
use shoal::v1::PeerAddress;

use crate::clean::clean;

/// Digits of an info hash shown in a table.
pub(crate) const HASH_DIGITS: usize = 12;

/// Bytes: `512.0 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    ByteSize::b(count).display().iec().to_string()
}

/// Bytes a second: `41.2 MiB/s`.
pub(crate) fn rate(bps: u64) -> String {
    format!("{}/s", bytes(bps))
}

/// Bytes in few columns: `41.2M`.
pub(crate) fn short_bytes(count: u64) -> String {
    ByteSize::b(count).display().iec_short().to_string()
}

/// Bytes a second in few columns: `41.2M`; `-` for none.
pub(crate) fn short_rate(bps: u64) -> String {
    if bps == 0 { "-".to_owned() } else { short_bytes(bps) }
}

/// Bytes a second over a time in microseconds.
pub(crate) fn average_rate(count: u64, elapsed_us: u64) -> String {
    let bps = u128::from(count) * 1_000_000 / u128::from(elapsed_us.max(1));
    rate(u64::try_from(bps).unwrap_or(u64::MAX))
}

/// Milliseconds: `840 ms`, `12.3 s`, `4m05s`, `2h03m`, `3d04h`.
pub(crate) fn millis(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// Microseconds: `740 µs`, `12.3 ms`, then as [`millis`].
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => millis(us / 1000),
    }
}

/// Nanoseconds: `850 ns`, `1.6 µs`, then as [`micros`].
pub(crate) fn nanos(ns: u64) -> String {
    match ns {
        0..1000 => format!("{ns} ns"),
        1000..1_000_000 => format!("{}.{} µs", ns / 1000, ns % 1000 / 100),
        _ => micros(ns / 1000),
    }
}

/// `have` of `total` in percent, rounded down: only what is complete reads `100%`.
pub(crate) fn percent(have: u64, total: u64) -> String {
    if total == 0 {
        return "-".to_owned();
    }
    format!("{}%", u128::from(have.min(total)) * 100 / u128::from(total))
}

/// Where a peer listens: `10.0.0.2:7000`, `[2001:db8::1]:7000`; `-` where not known.
pub(crate) fn address(peer: Option<&PeerAddress>) -> String {
    let Some(peer) = peer else { return "-".to_owned() };
    match (peer.ip.parse::<IpAddr>(), u16::try_from(peer.port)) {
        (Ok(ip), Ok(port)) => SocketAddr::new(ip, port).to_string(),
        _ => format!("{}:{}", clean(&peer.ip), peer.port),
    }
}

/// The first digits of an id of hexadecimal digits; `-` for none.
pub(crate) fn short_id(id: &str) -> String {
    if id.is_empty() { "-".to_owned() } else { id.chars().take(HASH_DIGITS).collect() }
}

/// A time to the second, UTC: `2026-05-04T10:20:30Z`; `-` where absent.
pub(crate) fn time(at: Option<&Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| Timestamp { nanos: 0, ..*at }.to_string())
}

/// A day, UTC: `2026-05-04`; `-` where absent.
pub(crate) fn date(at: Option<&Timestamp>) -> String {
    let time = time(at);
    time.split_once('T').map_or_else(|| time.clone(), |(date, _)| date.to_owned())
}

/// Labels or parameters in order of key: `rack=7 zone=a`; `-` for none.
pub(crate) fn pairs<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut pairs: Vec<String> =
        map.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(" ") }
}

/// A number in few columns: whole ones below 10^9 as they are, others with some four digits.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size < 1e9 && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = match size {
        1000.0.. => 0,
        1.0.. => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// `1 chunk`, `2 chunks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The short name of an enum value: `TORRENT_STATE_DISK_FULL` without its prefix, `disk full`.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_change_their_unit_at_the_boundary() {
        let table = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (59_999, "59.9 s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (3_600_000, "1h00m"),
            (86_400_000, "1d00h"),
        ];
        for (ms, text) in table {
            assert_eq!(millis(ms), text);
        }
        assert_eq!(micros(999), "999 µs");
        assert_eq!(micros(1_250), "1.2 ms");
        assert_eq!(micros(2_000_000), "2.0 s");
        assert_eq!((nanos(999), nanos(1_650)), ("999 ns".to_owned(), "1.6 µs".to_owned()));
        assert_eq!(nanos(1_250_000), "1.2 ms");
    }

    #[test]
    fn only_the_complete_reads_hundred_percent() {
        assert_eq!(percent(999_999, 1_000_000), "99%");
        assert_eq!(percent(7, 7), "100%");
        assert_eq!(percent(u64::MAX, 7), "100%");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn a_v6_address_is_bracketed_and_a_hostile_one_cleaned() {
        let at = |ip: &str, port| address(Some(&PeerAddress { ip: ip.to_owned(), port }));
        assert_eq!(at("10.0.0.2", 7000), "10.0.0.2:7000");
        assert_eq!(at("2001:db8::1", 7000), "[2001:db8::1]:7000");
        assert_eq!(at("a\x1bb", 70_000), "a\u{fffd}b:70000");
        assert_eq!(address(None), "-");
    }

    #[test]
    fn bytes_are_binary_and_rates_do_not_overflow() {
        assert_eq!(bytes(524_288), "512.0 KiB");
        assert_eq!(average_rate(u64::MAX, 0), rate(u64::MAX));
        assert_eq!(average_rate(1_048_576, 2_000_000), "512.0 KiB/s");
    }

    #[test]
    fn a_number_is_short_and_a_whole_one_exact() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (123.456_7, "123.457"),
            (1234.5, "1234"),
            (1_234_567.0, "1234567"),
            (0.25, "0.25"),
            (0.1 + 0.2, "0.3"),
            (1e-9, "1.00e-9"),
            (4.2e12, "4.20e12"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
