//! The extended handshake (BEP 10, with `upload_only` of BEP 21 and `metadata_size` of BEP 9) and
//! the messages of the extension `shoal` (§8 of the design).
//!
//! Unknown keys and types are ignored, texts are cleaned. Never here: what is done with them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    bencode::{self, Dict, Item, Value},
    config::{BLOCK_LEN, CLIENT_NAME_LEN_MAX, LABEL_LEN_MAX, LABELS_MAX, METADATA_LEN_MAX},
    policy::Labels,
    wire::fault::{InvalidMessage, PeerFault},
};

/// The id of the extended handshake.
pub const HANDSHAKE_ID: u8 = 0;

/// An extension that we speak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Extension {
    /// `shoal`: labels, pings, totals.
    Shoal,
    /// `ut_metadata`: the info dictionary (BEP 9).
    Metadata,
    /// `ut_pex`: whom the sender is connected to (BEP 11).
    Pex,
}

/// Extensions, each with the id under which somebody wants its messages; never 0.
pub type ExtensionIds = BTreeMap<Extension, u8>;

/// Every extension: its name in `m`, and the id under which we receive its messages.
const EXTENSIONS: [(Extension, &str, u8); 3] = [
    (Extension::Shoal, "shoal", 1),
    (Extension::Metadata, "ut_metadata", 2),
    (Extension::Pex, "ut_pex", 3),
];

impl Extension {
    /// The extension of which we receive messages under `id`.
    #[must_use]
    pub fn of_id(id: u8) -> Option<Self> {
        EXTENSIONS.iter().find(|(.., ours)| *ours == id).map(|(extension, ..)| *extension)
    }

    /// These extensions with our ids.
    #[must_use]
    pub fn offer(extensions: &[Self]) -> ExtensionIds {
        let offered = EXTENSIONS.iter().filter(|(extension, ..)| extensions.contains(extension));
        offered.map(|&(extension, _, id)| (extension, id)).collect()
    }
}

/// What the extended handshake tells; everything in it is optional.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtendedHandshake {
    /// The extensions that the sender speaks.
    pub ids: ExtensionIds,
    /// What the sender offers with the extension `shoal`.
    pub shoal: Option<ShoalOffer>,
    /// What the sender calls itself: at most [`CLIENT_NAME_LEN_MAX`] characters, none of them a
    /// control character; empty where it does not say.
    pub client: String,
    /// The port where the sender accepts connections.
    pub port: Option<u16>,
    /// How many requests the sender takes before it drops some; at least 1.
    pub reqq: Option<u32>,
    /// The address under which the sender sees the receiver.
    pub your_ip: Option<IpAddr>,
    /// The sender wants nothing, whatever the receiver has (BEP 21).
    pub upload_only: Option<bool>,
    /// Bytes of the info dictionary, from who has it (BEP 9): 1 to [`METADATA_LEN_MAX`].
    pub metadata_size: Option<u32>,
}

/// The key `shoal` of an extended handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShoalOffer {
    /// The version of the extension: 1.
    pub version: u32,
    /// The longest `request` that the sender serves, bytes; at least [`BLOCK_LEN`].
    pub request_len_max: u32,
}

/// A message of the extension `shoal`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShoalMessage {
    /// The operator's labels of the sender.
    Hello {
        /// At most [`LABELS_MAX`], each key and value at most [`LABEL_LEN_MAX`] bytes.
        labels: Labels,
    },
    /// To be answered with a pong of the same number.
    Ping {
        /// At most `i64::MAX`.
        n: u64,
    },
    /// The answer to a ping.
    Pong {
        /// The ping's.
        n: u64,
    },
    /// Payload bytes of the torrent in the sender's life.
    Status {
        /// Served.
        up: u64,
        /// Received.
        down: u64,
    },
    /// A type that we do not know. Never sent.
    Unknown,
}

impl ExtendedHandshake {
    /// The payload of extended message 0. Stays below 1 000 bytes, because rTorrent 0.9.8 drops
    /// handshakes over its buffer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let m = EXTENSIONS.iter().filter_map(|(extension, name, _)| {
            let id = self.ids.get(extension)?;
            Some((*name, Item::from(u32::from(*id))))
        });
        let mut entries = vec![("m", Item::dict(m))];
        let client = clean(&self.client, CLIENT_NAME_LEN_MAX);
        if !client.is_empty() {
            entries.push(("v", Item::from(client)));
        }
        entries.extend(self.metadata_size.map(|size| ("metadata_size", Item::from(size))));
        entries.extend(self.port.map(|port| ("p", Item::from(u32::from(port)))));
        entries.extend(self.reqq.map(|reqq| ("reqq", Item::from(reqq))));
        let upload_only = self.upload_only.map(|only| Item::from(u32::from(only)));
        entries.extend(upload_only.map(|only| ("upload_only", only)));
        entries.extend(self.your_ip.map(|ip| ("yourip", Item::from(ip_bytes(ip)))));
        entries.extend(self.shoal.map(|offer| {
            let version = ("v", Item::from(offer.version));
            ("shoal", Item::dict([version, ("maxreq", Item::from(offer.request_len_max))]))
        }));
        Item::dict(entries).encode()
    }

    /// Reads the payload of extended message 0. A key of the wrong type or out of its range counts
    /// as absent; `reqq` and `maxreq` are raised to their least value.
    ///
    /// # Errors
    /// [`InvalidMessage::Extended`] where it is not bencoded, [`InvalidMessage::ExtendedField`]
    /// where it is no dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, PeerFault> {
        let value = dictionary(payload)?;
        let dict = value.as_dict().ok_or(InvalidMessage::ExtendedField("dictionary"))?;
        let m = dict.get("m").and_then(Value::as_dict);
        let ids = EXTENSIONS.iter().filter_map(|&(extension, name, _)| {
            let id = u8::try_from(unsigned(m?, name)?).ok();
            Some((extension, id.filter(|id| *id != 0)?))
        });
        let size = unsigned(dict, "metadata_size").filter(|size| *size <= METADATA_LEN_MAX);
        let client = dict.get("v").and_then(Value::as_bytes).unwrap_or_default();
        let port = unsigned(dict, "p").and_then(|port| u16::try_from(port).ok());
        Ok(Self {
            ids: ids.collect(),
            shoal: dict.get("shoal").and_then(Value::as_dict).and_then(ShoalOffer::read),
            client: clean(&String::from_utf8_lossy(client), CLIENT_NAME_LEN_MAX),
            port: port.filter(|port| *port != 0),
            reqq: unsigned(dict, "reqq").map(|reqq| clamp(reqq, 1)),
            your_ip: dict.get("yourip").and_then(Value::as_bytes).and_then(ip_of),
            upload_only: unsigned(dict, "upload_only").map(|only| only != 0),
            metadata_size: size.and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0),
        })
    }
}

impl ShoalOffer {
    /// An offer of a version that does not exist (0) counts as none.
    fn read(dict: &Dict<'_>) -> Option<Self> {
        let version = unsigned(dict, "v").map(|version| clamp(version, 0))?;
        let request_len_max =
            unsigned(dict, "maxreq").map_or(BLOCK_LEN, |len| clamp(len, BLOCK_LEN));
        (version >= 1).then_some(Self { version, request_len_max })
    }
}

impl ShoalMessage {
    /// The payload of the extended message. [`Self::Unknown`] becomes a message that every
    /// receiver ignores.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let typed = |t: &'static str, rest: Vec<(&'static str, Item<'_>)>| {
            Item::dict([("t", Item::from(t))].into_iter().chain(rest)).encode()
        };
        match self {
            Self::Hello { labels } => {
                let labels = labels.iter().map(|(key, value)| (key.as_str(), Item::from(value)));
                typed("hello", vec![("labels", Item::dict(labels))])
            }
            Self::Ping { n } => typed("ping", vec![("n", Item::from(*n))]),
            Self::Pong { n } => typed("pong", vec![("n", Item::from(*n))]),
            Self::Status { up, down } => {
                typed("status", vec![("up", Item::from(*up)), ("down", Item::from(*down))])
            }
            Self::Unknown => typed("", Vec::new()),
        }
    }

    /// Reads the payload of a message of [`Extension::Shoal`].
    ///
    /// # Errors
    /// [`InvalidMessage`]: `Extended` where it is not bencoded, `ExtendedField` naming the key
    /// that is missing or of the wrong type, `TooManyLabels`, `MalformedLabel`.
    pub fn decode(payload: &[u8]) -> Result<Self, PeerFault> {
        let value = dictionary(payload)?;
        let dict = value.as_dict().ok_or(InvalidMessage::ExtendedField("dictionary"))?;
        let number = |key| unsigned(dict, key).ok_or(InvalidMessage::ExtendedField(key));
        let kind = dict.get("t").and_then(Value::as_bytes);
        Ok(match kind.ok_or(InvalidMessage::ExtendedField("t"))? {
            b"hello" => Self::Hello { labels: read_labels(dict)? },
            b"ping" => Self::Ping { n: number("n")? },
            b"pong" => Self::Pong { n: number("n")? },
            b"status" => Self::Status { up: number("up")?, down: number("down")? },
            _ => Self::Unknown,
        })
    }
}

/// Checks one label, wherever it comes from: the key is not empty, both are at most
/// [`LABEL_LEN_MAX`] bytes and without control characters.
///
/// # Errors
/// [`InvalidMessage::MalformedLabel`] with the label, shortened.
pub fn check_label(key: &str, value: &str) -> Result<(), InvalidMessage> {
    let fits = |text: &str| text.len() <= LABEL_LEN_MAX && !text.chars().any(char::is_control);
    if !key.is_empty() && fits(key) && fits(value) {
        return Ok(());
    }
    Err(InvalidMessage::MalformedLabel(clean(&format!("{key}={value}"), 2 * LABEL_LEN_MAX)))
}

/// Text from a stranger as it may be shown: control characters and those that turn the direction
/// of writing removed, blanks at the ends too, at most `max` characters.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let shown = text.chars().filter(|c| !c.is_control() && !is_invisible(*c));
    let text: String = shown.skip_while(|c| c.is_whitespace()).take(max).collect();
    text.trim_end().to_owned()
}

/// Characters that change how the text around them looks.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn read_labels(dict: &Dict<'_>) -> Result<Labels, PeerFault> {
    let labels = dict.get("labels").and_then(Value::as_dict);
    let labels = labels.ok_or(InvalidMessage::ExtendedField("labels"))?;
    if labels.len() > LABELS_MAX {
        return Err(InvalidMessage::TooManyLabels(labels.len()).into());
    }
    let mut read = Labels::new();
    for (key, value) in labels.iter() {
        let malformed = || {
            let key = String::from_utf8_lossy(key);
            InvalidMessage::MalformedLabel(clean(&key, LABEL_LEN_MAX))
        };
        let key = std::str::from_utf8(key).map_err(|_| malformed())?;
        let value = value.as_str().ok_or_else(malformed)?;
        check_label(key, value)?;
        read.insert(key.to_owned(), value.to_owned());
    }
    Ok(read)
}

/// The value that the payload begins with: extensions may put raw bytes behind theirs.
fn dictionary(payload: &[u8]) -> Result<Value<'_>, PeerFault> {
    match bencode::decode_prefix(payload) {
        Ok((value, _)) => Ok(value),
        Err(error) => Err(InvalidMessage::Extended(error).into()),
    }
}

pub(super) fn unsigned(dict: &Dict<'_>, key: &str) -> Option<u64> {
    dict.get(key)?.as_unsigned()
}

fn clamp(number: u64, least: u32) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).max(least)
}

fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into())
}
