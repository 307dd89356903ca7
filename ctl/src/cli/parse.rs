//! Values of arguments, from their text. Never here: anything that asks the node.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytesize::ByteSize;

/// Longest `--timeout`, seconds: a year.
const TIMEOUT_S_MAX: u64 = 365 * 24 * 3600;

/// Shortest interval of `--watch` and of `top`.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Chunk sizes that a node makes, bytes (powers of two).
const CHUNK_SIZE_BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=16 * 1024 * 1024;

/// Longest name that `policy init` takes, bytes; a node takes 64.
const POLICY_NAME_LEN_MAX: usize = 64;

/// Longest name of a context, bytes.
const CONTEXT_NAME_LEN_MAX: usize = 64;

/// A duration: a whole number with `ms`, `s`, `m`, `h` or `d`; seconds where none is given.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a whole number and a unit, such as 500ms, 30s, 2m, 1h".to_owned())?;
    let ms = match unit {
        "ms" => Some(number),
        "s" | "" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => return Err(format!("unknown unit '{unit}'; there are ms, s, m, h, d")),
    };
    match ms {
        Some(0) => Err("must be longer than nothing".to_owned()),
        Some(ms) if ms <= TIMEOUT_S_MAX * 1000 => Ok(Duration::from_millis(ms)),
        _ => Err("must be at most 365d".to_owned()),
    }
}

/// How often `--watch` looks: not more often than ten times a second.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        every if every < INTERVAL_MIN => Err("must be at least 100ms".to_owned()),
        every => Ok(every),
    }
}

/// An IP address, with or without the brackets of IPv6.
pub(crate) fn ip(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "expected an IPv4 or IPv6 address".to_owned())
}

/// Where a peer listens: `10.0.0.1:7000` or `[::1]:7000`.
pub(crate) fn peer(text: &str) -> Result<SocketAddr, String> {
    let addr = text.parse::<SocketAddr>().ok().filter(|addr| addr.port() != 0);
    addr.ok_or_else(|| "expected IP:PORT such as 10.0.0.1:7000 or [::1]:7000".to_owned())
}

/// A chunk size: a power of two from 16 KiB to 16 MiB.
pub(crate) fn chunk_size(text: &str) -> Result<u32, String> {
    let size = text.parse::<ByteSize>().map_err(|_| "expected a size such as 512KiB".to_owned())?;
    let bytes = size.as_u64();
    if !CHUNK_SIZE_BYTES.contains(&bytes) || !bytes.is_power_of_two() {
        return Err(format!("{bytes} bytes is no power of two from 16KiB to 16MiB"));
    }
    u32::try_from(bytes).map_err(|e| e.to_string())
}

/// A parameter: `key=value`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// The name of a new policy, which is that of its file too.
pub(crate) fn policy_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || text.len() > POLICY_NAME_LEN_MAX || !text.chars().all(plain) {
        return Err(format!(
            "expected 1 to {POLICY_NAME_LEN_MAX} letters, digits, '_' and '-', a letter or digit first"
        ));
    }
    if text.ends_with("_test") {
        return Err("'_test' is the end of the test's name".to_owned());
    }
    Ok(text.to_owned())
}

/// The name of a context.
pub(crate) fn context_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.is_empty() || text.len() > CONTEXT_NAME_LEN_MAX || !text.chars().all(plain) {
        return Err(format!(
            "expected 1 to {CONTEXT_NAME_LEN_MAX} letters, digits, '_', '-' and '.'"
        ));
    }
    Ok(text.to_owned())
}

/// A tier of trackers: announce URLs with commas between them.
pub(crate) fn tier(text: &str) -> Result<Vec<String>, String> {
    let urls: Vec<String> = text.split(',').map(|url| url.trim().to_owned()).collect();
    match urls.iter().find(|url| !url.contains("://")) {
        Some(url) => {
            Err(format!("'{url}' is no announce URL such as http://10.0.0.1:7001/announce"))
        }
        None => Ok(urls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_limits() {
        for (text, ms) in [
            ("30s", 30_000),
            ("2m", 120_000),
            ("500ms", 500),
            ("7", 7_000),
            ("1h", 3_600_000),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0s", "-1s", "1.5s", "1w", "366d", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interval_spares_the_node() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        for text in ["99ms", "film", "0s"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_context_needs_no_quotes() {
        let longest = "a".repeat(64);
        for name in ["lab", "eu-1.prod_2", &longest] {
            assert!(context_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a/b", "phở", &"a".repeat(65)] {
            assert!(context_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_peer_is_an_address_with_a_port() {
        assert_eq!(peer("10.0.0.1:7000").unwrap().port(), 7000);
        assert!(peer("[::1]:1").is_ok());
        for text in ["10.0.0.1", "10.0.0.1:0", "host:1", "::1:1", ""] {
            assert!(peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn chunk_sizes_are_powers_of_two_within_their_limits() {
        assert_eq!(chunk_size("512KiB"), Ok(524_288));
        assert_eq!(chunk_size("16384"), Ok(16_384));
        assert_eq!(chunk_size("16MiB"), Ok(16_777_216));
        for text in ["8KiB", "32MiB", "500KiB", "512KB", "0", "big"] {
            assert!(chunk_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_comma_keeps_trackers_in_a_tier() {
        assert_eq!(tier("http://a/x,udp://b:1"), Ok(vec!["http://a/x".into(), "udp://b:1".into()]));
        assert!(tier("http://a,").is_err());
        assert!(tier("10.0.0.1:7001").is_err());
    }

    #[test]
    fn a_parameter_keeps_what_stands_behind_its_first_equals_sign() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=b").is_err());
        assert!(key_value("a").is_err());
    }

    #[test]
    fn the_name_of_a_policy_is_that_of_a_file() {
        let longest = "a".repeat(64);
        for name in ["near", "near_2", "2-choices", "A", &longest] {
            assert_eq!(policy_name(name), Ok(name.to_owned()));
        }
        let too_long = "a".repeat(65);
        for name in ["", "../near", "near.lua", "-near", "a b", "phở", "near_test", &too_long] {
            assert!(policy_name(name).is_err(), "{name}");
        }
    }
}
