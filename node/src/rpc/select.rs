//! Which torrent a selector means: its name, its info hash, a prefix of the hash of at least four
//! digits, or nothing where there is only one. Also: names that are near to a wrong one.

use shoal_core::ids::InfoHash;

use super::status::{Reason, Refusal};

/// The shortest prefix of an info hash that selects, digits.
pub const PREFIX_LEN_MIN: usize = 4;
/// Names told of an ambiguous selector.
const NAMES_MAX: usize = 20;
/// Names compared for a suggestion.
const COMPARED_MAX: usize = 10_000;
/// How alike a suggestion has to be, 0-1 (Jaro-Winkler).
const ALIKE_MIN: f64 = 0.8;

/// What a selector means among `all`; `key` tells the name and the hash of one. A name beats a hash
/// beats a prefix.
///
/// # Errors
/// `NO_TORRENT`, `SEVERAL_TORRENTS` or `UNKNOWN_TORRENT`.
pub fn pick<T>(
    selector: &str,
    mut all: Vec<T>,
    key: impl Fn(&T) -> (&str, InfoHash),
) -> Result<T, Refusal> {
    let by_name = |item: &T| key(item).0 == selector;
    let digits = selector.to_ascii_lowercase();
    let is_prefix = (PREFIX_LEN_MIN..=40).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let by_hash = |item: &T| is_prefix && key(item).1.to_string().starts_with(&digits);

    let mut fits: Vec<usize> = match selector {
        "" => (0..all.len()).collect(),
        _ => (0..all.len()).filter(|&i| by_name(&all[i])).collect(),
    };
    if fits.is_empty() {
        fits = (0..all.len()).filter(|&i| by_hash(&all[i])).collect();
    }
    match fits[..] {
        [only] => Ok(all.swap_remove(only)),
        [] if selector.is_empty() => {
            Err(Refusal::new(Reason::NoTorrent, "the node has no torrent; add one first"))
        }
        [] => Err(unknown(selector, all.iter().map(|item| key(item).0))),
        _ => Err(several(selector, &fits.iter().map(|&i| key(&all[i])).collect::<Vec<_>>())),
    }
}

/// The one of `names` that is most like a wrong one, where any is alike.
pub fn near<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let alike = |name: &str| strsim::jaro_winkler(&wrong, &name.to_lowercase());
    let scored = names.take(COMPARED_MAX).map(|name| (alike(name), name));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= ALIKE_MIN).map(|(_, name)| name)
}

fn unknown<'a>(selector: &str, names: impl Iterator<Item = &'a str>) -> Refusal {
    let suggestion = near(selector, names);
    let hint = match suggestion {
        Some(name) => format!("; did you mean '{name}'?"),
        None if selector.len() < PREFIX_LEN_MIN => {
            format!("; a prefix of an info hash has at least {PREFIX_LEN_MIN} digits")
        }
        None => String::new(),
    };
    Refusal::new(Reason::UnknownTorrent, format!("no torrent '{selector}'{hint}"))
        .with_some("suggestion", suggestion)
}

fn several(selector: &str, fits: &[(&str, InfoHash)]) -> Refusal {
    let told = &fits[..fits.len().min(NAMES_MAX)];
    let list: Vec<_> = told.iter().map(|(name, hash)| format!("'{name}' ({hash:.8})")).collect();
    let more = if fits.len() > told.len() { ", …" } else { "" };
    let what = match selector {
        "" => format!("the node has {} torrents; select one", fits.len()),
        _ => format!("'{selector}' fits {} torrents; be more exact", fits.len()),
    };
    let names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
    let hashes: Vec<_> = told.iter().map(|(_, hash)| hash.to_string()).collect();
    Refusal::new(Reason::SeveralTorrents, format!("{what}: {}{more}", list.join(", ")))
        .with("names", names.join(", "))
        .with("info_hashes", hashes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(&'static str, InfoHash)> {
        let hash = |text: &str| format!("{text:0<40}").parse().unwrap();
        vec![
            ("ubuntu.iso", hash("abcd1")),
            ("movies", hash("abcd2")),
            ("twice", hash("1111")),
            ("twice", hash("2222")),
            ("abcd2", hash("3333")),
        ]
    }

    fn picked(selector: &str) -> Result<String, &'static str> {
        let picked = pick(selector, all(), |(name, hash)| (name, *hash));
        picked.map(|(_, hash)| hash.to_string()[..5].to_owned()).map_err(|r| r.reason.name())
    }

    #[test]
    fn a_name_beats_a_hash_and_a_prefix_has_four_digits() {
        assert_eq!(picked("movies").unwrap(), "abcd2");
        assert_eq!(picked("abcd2").unwrap(), "33330", "the name, not the prefix of another");
        assert_eq!(picked("ABCD1").unwrap(), "abcd1");
        assert_eq!(picked("1111").unwrap(), "11110");
        assert_eq!(picked("111"), Err("UNKNOWN_TORRENT"));
        assert_eq!(picked(&format!("{:0<40}", "2222")).unwrap(), "22220");
        assert_eq!(picked("zzzz"), Err("UNKNOWN_TORRENT"));
    }

    #[test]
    fn what_fits_several_names_them() {
        let refusal = pick("abcd", all(), |(name, hash)| (name, *hash)).unwrap_err();
        assert_eq!(refusal.reason, Reason::SeveralTorrents);
        assert_eq!(refusal.metadata["names"], "ubuntu.iso, movies");
        assert_eq!(picked("twice"), Err("SEVERAL_TORRENTS"));
        assert_eq!(picked(""), Err("SEVERAL_TORRENTS"));
    }

    #[test]
    fn nothing_means_the_only_one() {
        assert_eq!(
            pick("", all()[..1].to_vec(), |(name, hash)| (name, *hash)).unwrap().0,
            "ubuntu.iso"
        );
        assert_eq!(
            pick("", Vec::<(&str, InfoHash)>::new(), |(name, hash)| (name, *hash))
                .unwrap_err()
                .reason,
            Reason::NoTorrent
        );
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let refusal = pick("ubunut.iso", all(), |(name, hash)| (name, *hash)).unwrap_err();
        assert_eq!(refusal.metadata["suggestion"], "ubuntu.iso");
        let refusal = pick("holiday", all(), |(name, hash)| (name, *hash)).unwrap_err();
        assert!(refusal.metadata.is_empty());
    }
}
