//! What a client sends (BEP 15): connect, announce, scrape.

use std::net::{IpAddr, Ipv4Addr};

use sha1::{Digest as _, Sha1};

use super::{ANNOUNCE_LEN, Action, CONNECT_LEN, PROTOCOL_ID, PacketError, Reader, options};
use crate::{
    ids::{InfoHash, PeerId},
    tracker::{
        announce::{AnnounceEvent, AnnounceRequest, BYTES_MAX},
        query::SCRAPE_MAX,
    },
};

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// To be repeated in the reply.
        transaction: u32,
    },
    /// Announces a peer.
    Announce {
        /// What a connect was answered.
        connection: u64,
        /// To be repeated in the reply.
        transaction: u32,
        /// What is announced. A packet has no place for a tracker id, an IPv6 address or the
        /// extension `shoal`; a key has 32 bits, as 8 hexadecimal digits here.
        announce: Box<AnnounceRequest>,
        /// Path and query of the announce URL (BEP 41), empty where there is none, at most
        /// [`options::URL_DATA_LEN_MAX`] bytes where it is ours.
        url_data: Vec<u8>,
    },
    /// Asks for the numbers of torrents.
    Scrape {
        /// What a connect was answered.
        connection: u64,
        /// To be repeated in the reply.
        transaction: u32,
        /// The torrents, 1 to [`SCRAPE_MAX`].
        info_hashes: Vec<InfoHash>,
    },
}

/// What a client asks whose address is proven, as a tracker reads it: without copies of what may be
/// long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query<'a> {
    /// See [`Request::Announce`]; the options are checked and forgotten.
    Announce(AnnounceRequest),
    /// The info hashes of a [`Request::Scrape`], 1 to [`SCRAPE_MAX`].
    Scrape(&'a [[u8; 20]]),
}

/// What every request begins with: enough to know whether the rest deserves a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The connection id; [`PROTOCOL_ID`] in a connect.
    pub connection: u64,
    /// What is asked, never [`Action::Error`].
    pub action: Action,
    /// To be repeated in the reply.
    pub transaction: u32,
}

impl Head {
    /// Reads the first 16 bytes.
    ///
    /// # Errors
    /// Fewer bytes, an action that is none of a request, or a connect of another protocol.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        Self::read(&mut Reader::new(bytes))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PacketError> {
        let (connection, number) = (reader.u64()?, reader.u32()?);
        let action = Action::read(number)?;
        match action {
            Action::Error => return Err(PacketError::Action(number)),
            Action::Connect if connection != PROTOCOL_ID => {
                return Err(PacketError::ProtocolId(connection));
            }
            Action::Connect | Action::Announce | Action::Scrape => {}
        }
        Ok(Self { connection, action, transaction: reader.u32()? })
    }

    fn write(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ANNOUNCE_LEN);
        out.extend(self.connection.to_be_bytes());
        out.extend(self.action.number().to_be_bytes());
        out.extend(self.transaction.to_be_bytes());
        out
    }
}

impl Request {
    /// The packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            &Self::Connect { transaction } => {
                let action = Action::Connect;
                Head { connection: PROTOCOL_ID, action, transaction }.write()
            }
            Self::Announce { connection, transaction, announce, url_data } => {
                let (connection, transaction) = (*connection, *transaction);
                let action = Action::Announce;
                let mut out = Head { connection, action, transaction }.write();
                write_announce(announce, &mut out);
                options::write_url_data(url_data, &mut out);
                out
            }
            Self::Scrape { connection, transaction, info_hashes } => {
                let (connection, transaction) = (*connection, *transaction);
                let mut out = Head { connection, action: Action::Scrape, transaction }.write();
                let info_hashes = info_hashes.iter().take(SCRAPE_MAX);
                out.extend(info_hashes.flat_map(|info_hash| info_hash.0));
                out
            }
        }
    }

    /// Reads a packet. Byte counts above [`BYTES_MAX`] (clients send -1 for "unknown") become
    /// that, an unknown event counts as none, a negative `num_want` leaves it to the tracker.
    ///
    /// # Errors
    /// [`PacketError`]: one variant for each way it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(bytes);
        let Head { connection, action, transaction } = Head::read(&mut reader)?;
        match action {
            Action::Connect if bytes.len() != CONNECT_LEN => {
                Err(PacketError::ConnectLen(bytes.len()))
            }
            Action::Connect => Ok(Self::Connect { transaction }),
            Action::Announce => {
                let announce = Box::new(read_announce(&mut reader)?);
                let url_data = options::read_url_data(reader.rest)?;
                Ok(Self::Announce { connection, transaction, announce, url_data })
            }
            Action::Scrape => {
                let info_hashes = read_scrape(&reader)?.iter().copied().map(InfoHash).collect();
                Ok(Self::Scrape { connection, transaction, info_hashes })
            }
            Action::Error => Err(PacketError::Action(action.number())),
        }
    }
}

impl<'a> Query<'a> {
    /// Reads a packet as [`Request::decode`] does; `None` for a connect.
    ///
    /// # Errors
    /// As there.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, PacketError> {
        let mut reader = Reader::new(bytes);
        let Head { action, .. } = Head::read(&mut reader)?;
        match action {
            Action::Connect => Ok(None),
            Action::Announce => {
                let announce = read_announce(&mut reader)?;
                options::check(reader.rest)?;
                Ok(Some(Self::Announce(announce)))
            }
            Action::Scrape => Ok(Some(Self::Scrape(read_scrape(&reader)?))),
            Action::Error => Err(PacketError::Action(action.number())),
        }
    }
}

fn read_scrape<'a>(reader: &Reader<'a>) -> Result<&'a [[u8; 20]], PacketError> {
    let (hashes, rest) = reader.rest.as_chunks::<20>();
    if !rest.is_empty() || !(1..=SCRAPE_MAX).contains(&hashes.len()) {
        return Err(PacketError::ScrapeLen(reader.rest.len()));
    }
    Ok(hashes)
}

fn write_announce(announce: &AnnounceRequest, out: &mut Vec<u8>) {
    out.extend(announce.info_hash.0);
    out.extend(announce.peer_id.0);
    for count in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend(count.min(BYTES_MAX).to_be_bytes());
    }
    out.extend(event_number(announce.event).to_be_bytes());
    out.extend(match announce.ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.octets(),
        Some(IpAddr::V6(_)) | None => [0; 4],
    });
    out.extend(announce.key.as_deref().map_or(0, key_number).to_be_bytes());
    let numwant = announce.numwant.map(|numwant| i32::try_from(numwant).unwrap_or(i32::MAX));
    out.extend(numwant.unwrap_or(-1).to_be_bytes());
    out.extend(announce.port.to_be_bytes());
}

fn read_announce(reader: &mut Reader<'_>) -> Result<AnnounceRequest, PacketError> {
    let (info_hash, peer_id) = (InfoHash(reader.array()?), PeerId(reader.array()?));
    let [downloaded, left, uploaded] = [reader.u64()?, reader.u64()?, reader.u64()?];
    let event = read_event(reader.u32()?);
    let ip = Ipv4Addr::from(reader.array::<4>()?);
    let key = reader.u32()?;
    let numwant = u32::try_from(i32::from_be_bytes(reader.array()?)).ok();
    let port = reader.u16()?;
    Ok(AnnounceRequest {
        downloaded: downloaded.min(BYTES_MAX),
        uploaded: uploaded.min(BYTES_MAX),
        event,
        numwant,
        ip: (!ip.is_unspecified()).then_some(ip.into()),
        key: (key != 0).then(|| format!("{key:08X}").into_bytes()),
        ..AnnounceRequest::new(info_hash, peer_id, port, left.min(BYTES_MAX))
    })
}

fn event_number(event: Option<AnnounceEvent>) -> u32 {
    match event {
        None => 0,
        Some(AnnounceEvent::Completed) => 1,
        Some(AnnounceEvent::Started) => 2,
        Some(AnnounceEvent::Stopped) => 3,
    }
}

fn read_event(number: u32) -> Option<AnnounceEvent> {
    let all = [AnnounceEvent::Completed, AnnounceEvent::Started, AnnounceEvent::Stopped];
    all.into_iter().find(|&event| event_number(Some(event)) == number)
}

/// A key of 8 hexadecimal digits, as clients have it over HTTP, is the number; of another one, the
/// first bits of its SHA-1.
fn key_number(key: &[u8]) -> u32 {
    let hexadecimal = key.len() == 8 && key.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(key).ok().filter(|_| hexadecimal);
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.unwrap_or_else(|| {
        let [a, b, c, d, ..]: [u8; 20] = Sha1::digest(key).into();
        u32::from_be_bytes([a, b, c, d])
    })
}
