//! Scrapes: the numbers of several torrents without an announce ([BEP 48]). Never here: peers.
//!
//! [BEP 48]: https://www.bittorrent.org/beps/bep_0048.html

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    bencode::Item,
    ids::InfoHash,
    tracker::reply::{ReplyError, read_count, read_reply},
};

/// What a tracker answers to a scrape.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrapeReply {
    /// The torrents it knows, of those asked for, in order of info hash once decoded.
    pub files: Vec<(InfoHash, ScrapeEntry)>,
}

/// The numbers of one torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrapeEntry {
    /// Seeds.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// How often it was completed.
    pub downloaded: u32,
}

impl ScrapeReply {
    /// The bencoded reply.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let files = self.files.iter().map(|(info_hash, entry)| {
            let numbers = [
                ("complete", entry.complete),
                ("downloaded", entry.downloaded),
                ("incomplete", entry.incomplete),
            ];
            let numbers = numbers.map(|(key, number)| (key, Item::Int(number.into())));
            (Cow::Borrowed(&info_hash.0[..]), Item::dict(numbers))
        });
        let files: BTreeMap<_, _> = files.collect();
        Item::dict([("files", Item::Dict(files))]).encode()
    }

    /// Reads a reply. Entries whose key is no info hash are skipped, absent numbers are 0.
    ///
    /// # Errors
    /// A failure, bytes that are not bencoded, or no `files`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReplyError> {
        let dict = read_reply(bytes)?;
        let files = dict.get("files").and_then(|files| files.as_dict());
        let files = files.ok_or(ReplyError::Missing("files"))?.iter();
        let files = files.filter_map(|(key, entry)| {
            let (info_hash, entry) = (InfoHash(key.try_into().ok()?), entry.as_dict()?);
            let count = |key| read_count(entry, key).unwrap_or(0);
            let entry = ScrapeEntry {
                complete: count("complete"),
                incomplete: count("incomplete"),
                downloaded: count("downloaded"),
            };
            Some((info_hash, entry))
        });
        Ok(Self { files: files.collect() })
    }
}

/// The scrape URL of an announce URL by BEP 48's rule: the text after the last slash must begin with
/// `announce`, which becomes `scrape`. `None`: the tracker answers no scrapes.
#[must_use]
pub fn scrape_url(announce_url: &str) -> Option<String> {
    let (base, last) = announce_url.rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    Some(format!("{base}/scrape{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::announce::Failure;

    #[test]
    fn scrape_urls_follow_the_examples_of_bep_48() {
        for (announce, scrape) in [
            ("http://example.com/announce", Some("http://example.com/scrape")),
            ("http://example.com/x/announce", Some("http://example.com/x/scrape")),
            ("http://example.com/announce.php", Some("http://example.com/scrape.php")),
            ("http://example.com/a", None),
            ("http://example.com/announce?x2%0644", Some("http://example.com/scrape?x2%0644")),
            ("http://example.com/announce?x=2/4", None),
            ("http://example.com/x%064announce", None),
        ] {
            assert_eq!(scrape_url(announce).as_deref(), scrape, "{announce}");
        }
    }

    #[test]
    fn a_scrape_reply_reads_as_it_was_written() {
        let entry = |n| ScrapeEntry { complete: n, incomplete: n + 1, downloaded: n + 2 };
        let files = vec![(InfoHash([1; 20]), entry(1)), (InfoHash([0xff; 20]), entry(7))];
        let reply = ScrapeReply { files };
        assert_eq!(ScrapeReply::decode(&reply.encode()), Ok(reply));
        let empty = b"d5:filesdee";
        assert_eq!(ScrapeReply::default().encode(), empty);
    }

    #[test]
    fn a_refused_scrape_is_an_error() {
        let refused = Err(ReplyError::Refused(Failure::new("no")));
        assert_eq!(ScrapeReply::decode(b"d14:failure reason2:noe"), refused);
        assert_eq!(ScrapeReply::decode(b"de"), Err(ReplyError::Missing("files")));
    }
}
