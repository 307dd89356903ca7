//! An announce and a scrape as the query of an HTTP URL, and back. A query is bytes, not text: a
//! binary info hash is not UTF-8 once it is decoded. Never here: URLs as a whole, or sockets.
//!
//! The extension `shoal` adds `shoal=1`, `have` (base64url of the bitfield, no padding), `up`,
//! `down` and `labels` (base64url, no padding, of the bencoded dictionary of the labels). The last
//! four are left out where they are empty or zero.

use std::fmt::Write as _;

use data_encoding::BASE64URL_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::{
    config::ANNOUNCE_HAVE_LEN_MAX,
    ids::{InfoHash, PeerId},
    tracker::{
        announce::{
            AnnounceEvent, AnnounceRequest, BYTES_MAX, Failure, KEY_LEN_MAX, ShoalStatus,
            TRACKER_ID_LEN_MAX,
        },
        labels,
    },
};

/// The longest query that a tracker reads, bytes: a bitfield of 32 KiB and 16 labels in base64,
/// with room; an URL in hyper ends at 64 KiB.
pub const QUERY_LEN_MAX: usize = 60 * 1024;
/// The most info hashes of one scrape (what a stock tracker answers; BEP 48 names none).
pub const SCRAPE_MAX: usize = 74;

impl AnnounceRequest {
    /// The query of this announce, without `?`, to be appended to an announce URL.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = String::with_capacity(256);
        push_bytes(&mut query, "info_hash", &self.info_hash.0);
        push_bytes(&mut query, "peer_id", &self.peer_id.0);
        push_number(&mut query, "port", self.port.into());
        push_number(&mut query, "uploaded", self.uploaded.min(BYTES_MAX));
        push_number(&mut query, "downloaded", self.downloaded.min(BYTES_MAX));
        push_number(&mut query, "left", self.left.min(BYTES_MAX));
        push_number(&mut query, "compact", self.compact.into());
        if self.no_peer_id {
            push_number(&mut query, "no_peer_id", 1);
        }
        if let Some(event) = self.event {
            push_bytes(&mut query, "event", event.as_str().as_bytes());
        }
        if let Some(numwant) = self.numwant {
            push_number(&mut query, "numwant", numwant.into());
        }
        if let Some(ip) = self.ip {
            push_bytes(&mut query, "ip", ip.to_string().as_bytes());
        }
        if let Some(key) = &self.key {
            push_bytes(&mut query, "key", key);
        }
        if let Some(tracker_id) = &self.tracker_id {
            push_bytes(&mut query, "trackerid", tracker_id);
        }
        if let Some(shoal) = &self.shoal {
            push_shoal(&mut query, shoal);
        }
        query
    }

    /// Reads the raw (still percent-encoded) query of an announce. The first of a repeated key
    /// wins; unknown keys, an unknown event and an `ip` that is no address are ignored.
    ///
    /// # Errors
    /// A failure that names the key and what is wrong with it.
    pub fn parse_query(query: &[u8]) -> Result<Self, Failure> {
        let fields = Fields::split(query)?;
        let shoal = match fields.flag("shoal") {
            true => Some(parse_shoal(&fields)?),
            false => None,
        };
        Ok(Self {
            info_hash: InfoHash(fields.twenty("info_hash")?),
            peer_id: PeerId(fields.twenty("peer_id")?),
            port: parse_port(&fields)?,
            uploaded: fields.number("uploaded")?.unwrap_or(0),
            downloaded: fields.number("downloaded")?.unwrap_or(0),
            left: fields.number("left")?.ok_or_else(|| Failure::never("left is missing"))?,
            event: parse_event(&fields),
            numwant: parse_numwant(&fields)?,
            compact: fields.flag("compact"),
            no_peer_id: fields.flag("no_peer_id"),
            ip: fields.bytes("ip").and_then(|ip| std::str::from_utf8(&ip).ok()?.parse().ok()),
            key: fields.bounded("key", KEY_LEN_MAX)?,
            tracker_id: fields.bounded("trackerid", TRACKER_ID_LEN_MAX)?,
            shoal,
        })
    }
}

/// The query of a scrape, without `?`, of at most [`SCRAPE_MAX`] info hashes.
#[must_use]
pub fn scrape_query(info_hashes: &[InfoHash]) -> String {
    let mut query = String::new();
    for info_hash in info_hashes.iter().take(SCRAPE_MAX) {
        push_bytes(&mut query, "info_hash", &info_hash.0);
    }
    query
}

/// Reads the raw query of a scrape: every `info_hash` in it, in order. An empty list asks for
/// everything.
///
/// # Errors
/// A query that is too long, an info hash of another length than 20, or too many of them.
pub fn parse_scrape_query(query: &[u8]) -> Result<Vec<InfoHash>, Failure> {
    let fields = Fields::split(query)?;
    let mut hashes = Vec::new();
    for &(_, value) in fields.0.iter().filter(|(key, _)| *key == b"info_hash") {
        if hashes.len() == SCRAPE_MAX {
            return Err(Failure::never(format!("more than {SCRAPE_MAX} info hashes in a scrape")));
        }
        hashes.push(InfoHash(twenty("info_hash", &decode(value))?));
    }
    Ok(hashes)
}

/// Everything but RFC 3986's unreserved characters is escaped: right in every server.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn push_bytes(query: &mut String, key: &str, value: &[u8]) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(key);
    query.push('=');
    query.extend(percent_encode(value, ESCAPED));
}

fn push_number(query: &mut String, key: &str, value: u64) {
    push_bytes(query, key, b"");
    // Writing to a string cannot fail.
    let _ = write!(query, "{value}");
}

fn push_shoal(query: &mut String, status: &ShoalStatus) {
    push_number(query, "shoal", 1);
    if let Some(have) = status.have.as_ref().filter(|have| have.len() <= ANNOUNCE_HAVE_LEN_MAX) {
        push_bytes(query, "have", BASE64URL_NOPAD.encode(have).as_bytes());
    }
    if status.up != 0 {
        push_number(query, "up", status.up.min(BYTES_MAX));
    }
    if status.down != 0 {
        push_number(query, "down", status.down.min(BYTES_MAX));
    }
    if !status.labels.is_empty() {
        let encoded = BASE64URL_NOPAD.encode(&labels::encode(&status.labels));
        push_bytes(query, "labels", encoded.as_bytes());
    }
}

fn parse_shoal(fields: &Fields<'_>) -> Result<ShoalStatus, Failure> {
    let have = fields.base64("have", ANNOUNCE_HAVE_LEN_MAX)?;
    let labels = match fields.base64("labels", labels::ENCODED_LEN_MAX)? {
        Some(bytes) => labels::decode(&bytes)
            .map_err(|error| Failure::never(format!("labels is malformed: {error}")))?,
        None => Default::default(),
    };
    let up = fields.number("up")?.unwrap_or(0);
    let down = fields.number("down")?.unwrap_or(0);
    Ok(ShoalStatus { have, up, down, labels })
}

fn parse_port(fields: &Fields<'_>) -> Result<u16, Failure> {
    let port = fields.number("port")?.ok_or_else(|| Failure::never("port is missing"))?;
    u16::try_from(port).map_err(|_| Failure::never(format!("port is {port}, above 65535")))
}

/// BEP 21's `paused` and whatever else is no event of BEP 3 count as a regular announce.
fn parse_event(fields: &Fields<'_>) -> Option<AnnounceEvent> {
    let event = fields.bytes("event")?;
    let all = [AnnounceEvent::Started, AnnounceEvent::Completed, AnnounceEvent::Stopped];
    all.into_iter().find(|known| known.as_str().as_bytes() == event)
}

/// A negative `numwant` leaves it to the tracker: clients send -1 for that.
fn parse_numwant(fields: &Fields<'_>) -> Result<Option<u32>, Failure> {
    if fields.raw("numwant").is_some_and(|value| value.starts_with(b"-")) {
        return Ok(None);
    }
    let numwant = fields.number("numwant")?;
    Ok(numwant.map(|numwant| u32::try_from(numwant).unwrap_or(u32::MAX)))
}

/// The fields of a query, in order, still percent-encoded.
struct Fields<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Fields<'a> {
    fn split(query: &'a [u8]) -> Result<Self, Failure> {
        if query.len() > QUERY_LEN_MAX {
            let len = query.len();
            return Err(Failure::never(format!("query is {len} bytes, above {QUERY_LEN_MAX}")));
        }
        let fields = query.split(|&byte| byte == b'&').filter(|field| !field.is_empty());
        let fields = fields.map(|field| match field.iter().position(|&byte| byte == b'=') {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &b""[..]),
        });
        Ok(Self(fields.collect()))
    }

    fn raw(&self, key: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(name, _)| *name == key.as_bytes()).map(|&(_, value)| value)
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.raw(key).map(decode)
    }

    fn flag(&self, key: &str) -> bool {
        self.raw(key) == Some(b"1")
    }

    fn twenty(&self, key: &str) -> Result<[u8; 20], Failure> {
        let bytes = self.bytes(key).ok_or_else(|| Failure::never(format!("{key} is missing")))?;
        twenty(key, &bytes)
    }

    fn bounded(&self, key: &str, len_max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = self.bytes(key).filter(|bytes| !bytes.is_empty());
        match bytes {
            Some(bytes) if bytes.len() > len_max => {
                Err(Failure::never(format!("{key} is {} bytes, above {len_max}", bytes.len())))
            }
            bytes => Ok(bytes),
        }
    }

    /// A decimal number of at most [`BYTES_MAX`]; an empty value counts as absent.
    fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        let Some(value) = self.raw(key).filter(|value| !value.is_empty()) else { return Ok(None) };
        let digits = std::str::from_utf8(value).ok();
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.and_then(|text| text.parse().ok()) {
            Some(number) if number <= BYTES_MAX => Ok(Some(number)),
            _ => {
                let shown = value.iter().take(32).map(|byte| byte.escape_ascii().to_string());
                let shown: String = shown.collect();
                Err(Failure::never(format!("{key} is {shown}, not a whole number below 2^63")))
            }
        }
    }

    /// base64url with or without its padding; an empty value counts as absent.
    fn base64(&self, key: &str, len_max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let Some(text) = self.bytes(key) else { return Ok(None) };
        let text = text.trim_ascii_end();
        let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
        let text = &text[..text.len() - padding.min(2)];
        if text.is_empty() {
            return Ok(None);
        }
        let bytes = BASE64URL_NOPAD.decode(text);
        let bytes =
            bytes.map_err(|error| Failure::never(format!("{key} is no base64: {error}")))?;
        if bytes.len() > len_max {
            let len = bytes.len();
            return Err(Failure::never(format!("{key} is {len} bytes, above {len_max}")));
        }
        Ok(Some(bytes))
    }
}

fn twenty(key: &str, bytes: &[u8]) -> Result<[u8; 20], Failure> {
    let wrong = |_| Failure::never(format!("{key} is {} bytes, not 20", bytes.len()));
    bytes.try_into().map_err(wrong)
}

/// Percent-decodes a value; `+` is a space, as in every form encoder (encoders that escape nothing
/// else of it write `+` itself as `%2B`).
fn decode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (at, part) in value.split(|&byte| byte == b'+').enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend(percent_decode(part));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{LABEL_LEN_MAX, LABELS_MAX},
        policy::Labels,
    };

    const REQUIRED: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb";

    fn parse(more: &str) -> Result<AnnounceRequest, String> {
        let query = format!("{REQUIRED}&{more}");
        AnnounceRequest::parse_query(query.as_bytes()).map_err(|failure| failure.reason)
    }

    fn labels() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("\\PC{0,16}", "\\PC{0,16}", 0..=LABELS_MAX)
    }

    fn status() -> impl Strategy<Value = ShoalStatus> {
        let have = prop::option::of(prop::collection::vec(any::<u8>(), 1..300));
        let status = (have, 0..=BYTES_MAX, 0..=BYTES_MAX, labels());
        status.prop_map(|(have, up, down, labels)| ShoalStatus { have, up, down, labels })
    }

    prop_compose! {
        fn request()(
            ids in any::<([u8; 20], [u8; 20])>(),
            port in any::<u16>(),
            totals in (0..=BYTES_MAX, 0..=BYTES_MAX, 0..=BYTES_MAX),
            event in prop::sample::select(vec![
                None,
                Some(AnnounceEvent::Started),
                Some(AnnounceEvent::Completed),
                Some(AnnounceEvent::Stopped),
            ]),
            numwant in any::<Option<u32>>(),
            flags in any::<(bool, bool)>(),
            ip in any::<Option<std::net::IpAddr>>(),
            key in prop::option::of(prop::collection::vec(any::<u8>(), 1..=KEY_LEN_MAX)),
            tracker_id in prop::option::of(prop::collection::vec(any::<u8>(), 1..=256)),
            shoal in prop::option::of(status()),
        ) -> AnnounceRequest {
            AnnounceRequest {
                info_hash: InfoHash(ids.0),
                peer_id: PeerId(ids.1),
                port,
                uploaded: totals.0,
                downloaded: totals.1,
                left: totals.2,
                event,
                numwant,
                compact: flags.0,
                no_peer_id: flags.1,
                ip,
                key,
                tracker_id,
                shoal,
            }
        }
    }

    #[test]
    fn a_plus_is_a_space_and_an_escaped_plus_is_none() {
        for (value, decoded) in
            [("", ""), ("+", " "), ("a+b%2Bc", "a b+c"), ("++%20+", "    "), ("%+2B%", "% 2B%")]
        {
            assert_eq!(decode(value.as_bytes()), decoded.as_bytes(), "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_request_reads_as_it_was_written(request in request()) {
            let query = request.to_query();
            prop_assert!(query.is_ascii());
            prop_assert_eq!(AnnounceRequest::parse_query(query.as_bytes()), Ok(request));
        }

        #[test]
        fn garbage_never_panics(query in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = AnnounceRequest::parse_query(&query);
            let _ = parse_scrape_query(&query);
        }

        #[test]
        fn garbage_in_known_keys_never_panics(
            fields in prop::collection::vec(
                (prop::sample::select(vec![
                    "info_hash", "peer_id", "port", "left", "numwant", "shoal", "have", "up",
                    "labels", "event", "ip", "key", "compact", "trackerid",
                ]), "[%a-f0-9=+&i:de-]{0,30}"),
                0..20,
            ),
        ) {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let _ = AnnounceRequest::parse_query(fields.join("&").as_bytes());
            let _ = parse(&format!("port=1&left=0&shoal=1&{}", fields.join("&")));
        }
    }

    #[test]
    fn a_stock_announce_reads_as_plain_bep_3() {
        // As Transmission 3.00 writes it.
        let query = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=-TR3000-\
                     abcdefghijkl&port=51413&uploaded=0&downloaded=0&left=1048576&numwant=80&\
                     key=5ac53f8f&compact=1&supportcrypto=1&event=started&ipv6=%20%01";
        let request = AnnounceRequest::parse_query(query.as_bytes()).unwrap();
        let info_hash = "123456789abcdef123456789abcdef123456789a".parse().unwrap();
        let mut expected =
            AnnounceRequest::new(info_hash, PeerId(*b"-TR3000-abcdefghijkl"), 51413, 1_048_576);
        expected.event = Some(AnnounceEvent::Started);
        expected.numwant = Some(80);
        expected.key = Some(b"5ac53f8f".to_vec());
        assert_eq!(request, expected);
    }

    #[test]
    fn the_first_of_a_repeated_key_wins() {
        let request = parse("port=1&port=2&left=3&left=x&info_hash=short").unwrap();
        assert_eq!((request.port, request.left), (1, 3));
    }

    #[test]
    fn failures_name_the_key_and_the_value() {
        let cases = [
            ("left=1", "port is missing"),
            ("port=1", "left is missing"),
            ("port=65536&left=1", "port is 65536, above 65535"),
            ("port=-1&left=1", "port is -1, not a whole number below 2^63"),
            (
                "port=1&left=9223372036854775808",
                "left is 9223372036854775808, not a whole number below 2^63",
            ),
            ("port=1&left=1&shoal=1&have=%2A", "have is no base64: invalid length at 0"),
            ("port=1&left=1&shoal=1&labels=bGU", "labels is malformed: a list, not a dictionary"),
        ];
        for (query, reason) in cases {
            assert_eq!(parse(query), Err(reason.to_owned()), "{query}");
        }
        let short = AnnounceRequest::parse_query(b"info_hash=%00%ff&port=1&left=0").unwrap_err();
        assert_eq!(short.reason, "info_hash is 2 bytes, not 20");
        let none = AnnounceRequest::parse_query(b"").unwrap_err();
        assert_eq!(none.reason, "info_hash is missing");
    }

    #[test]
    fn a_negative_numwant_leaves_it_to_the_tracker() {
        assert_eq!(parse("port=1&left=1&numwant=-1").unwrap().numwant, None);
        assert_eq!(parse("port=1&left=1&numwant=99999999999").unwrap().numwant, Some(u32::MAX));
    }

    #[test]
    fn unknown_events_and_host_names_are_ignored() {
        let request = parse("port=1&left=1&event=paused&ip=peer.example&event=stopped").unwrap();
        assert_eq!((request.event, request.ip), (None, None));
    }

    #[test]
    fn a_bitfield_at_its_limit_passes_and_above_it_does_not() {
        for (len, passes) in [
            (ANNOUNCE_HAVE_LEN_MAX - 1, true),
            (ANNOUNCE_HAVE_LEN_MAX, true),
            (ANNOUNCE_HAVE_LEN_MAX + 1, false),
        ] {
            let have = vec![0xa5; len];
            let query = format!("port=1&left=1&shoal=1&have={}", BASE64URL_NOPAD.encode(&have));
            assert_eq!(parse(&query).is_ok(), passes, "{len}");
            let mut request = AnnounceRequest::new(InfoHash([1; 20]), PeerId([2; 20]), 1, 1);
            request.shoal = Some(ShoalStatus { have: Some(have), ..ShoalStatus::default() });
            let read = AnnounceRequest::parse_query(request.to_query().as_bytes()).unwrap();
            assert_eq!(read.shoal.unwrap().have.is_some(), passes, "{len}");
        }
    }

    #[test]
    fn the_largest_announce_of_ours_fits_a_query() {
        let mut request = AnnounceRequest::new(InfoHash([0xff; 20]), PeerId([0xff; 20]), 1, 1);
        request.key = Some(vec![0xff; KEY_LEN_MAX]);
        request.tracker_id = Some(vec![0xff; TRACKER_ID_LEN_MAX]);
        let label = |i: usize| (format!("{i:064}"), "v".repeat(LABEL_LEN_MAX));
        request.shoal = Some(ShoalStatus {
            have: Some(vec![0xff; ANNOUNCE_HAVE_LEN_MAX]),
            up: BYTES_MAX,
            down: BYTES_MAX,
            labels: (0..LABELS_MAX).map(label).collect(),
        });
        let query = request.to_query();
        assert!(query.len() < QUERY_LEN_MAX, "{}", query.len());
        assert_eq!(AnnounceRequest::parse_query(query.as_bytes()), Ok(request));
    }

    #[test]
    fn a_query_at_its_limit_passes_and_above_it_does_not() {
        for (len, passes) in
            [(QUERY_LEN_MAX - 1, true), (QUERY_LEN_MAX, true), (QUERY_LEN_MAX + 1, false)]
        {
            let mut query = format!("{REQUIRED}&port=1&left=1&x=");
            query.push_str(&"x".repeat(len - query.len()));
            let read = AnnounceRequest::parse_query(query.as_bytes());
            assert_eq!(read.is_ok(), passes, "{len}");
        }
    }

    #[test]
    fn a_scrape_names_several_torrents() {
        let hashes: Vec<InfoHash> = (0..SCRAPE_MAX as u8).map(|i| InfoHash([i; 20])).collect();
        assert_eq!(parse_scrape_query(scrape_query(&hashes).as_bytes()), Ok(hashes.clone()));
        let mut query = scrape_query(&hashes);
        query.push_str("&info_hash=aaaaaaaaaaaaaaaaaaaa");
        assert!(parse_scrape_query(query.as_bytes()).is_err());
        assert!(parse_scrape_query(b"info_hash=aa").is_err());
        assert_eq!(parse_scrape_query(b""), Ok(Vec::new()));
    }
}
