//! The packets of the UDP tracker protocol ([BEP 15]) and the options behind an announce
//! ([BEP 41]), as bytes and back. Never here: a socket, a clock, what a connection id is made of.
//!
//! - [`request`]: connect, announce, scrape
//! - [`reply`]: what they are answered, and the error
//! - [`options`]: the path of the announce URL
//!
//! Requests have exact lengths. Replies are read as BEP 15 asks of clients: at least so long, and
//! what follows is ignored.
//!
//! [BEP 15]: https://www.bittorrent.org/beps/bep_0015.html
//! [BEP 41]: https://www.bittorrent.org/beps/bep_0041.html

pub mod options;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;

/// What a connect begins with, in place of a connection id (BEP 15).
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// How long a client may use a connection id after it received it, seconds (BEP 15).
pub const CONNECTION_USED_S: u64 = 60;
/// How long a tracker takes a connection id after it gave it, seconds (BEP 15).
pub const CONNECTION_VALID_S: u64 = 120;
/// The length of a connect, both ways, bytes.
pub const CONNECT_LEN: usize = 16;
/// The length of an announce without options, bytes.
pub const ANNOUNCE_LEN: usize = 98;
/// The longest request that is read, bytes: the largest scrape is 1 496, and an announce whose URL
/// is longer than the rest is nobody's.
pub const REQUEST_LEN_MAX: usize = 2048;
/// The longest reply that is written, bytes: what IPv6 carries everywhere without fragments, 1 280
/// less 48 of headers. It holds 202 peers of IPv4, 67 of IPv6, 102 torrents.
pub const SENT_REPLY_LEN_MAX: usize = 1232;
/// The longest reply that is read, bytes: 2 000 peers of IPv6.
pub const READ_REPLY_LEN_MAX: usize = 20 + 18 * super::announce::REPLY_PEERS_MAX;

/// What a packet is about (BEP 15).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// Proves the client's address.
    Connect,
    /// Announces a peer.
    Announce,
    /// Asks for numbers of torrents.
    Scrape,
    /// Only in replies: the tracker refuses.
    Error,
}

/// Why bytes are no packet of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// They end too early.
    #[error("{len} bytes, below {min}")]
    TooShort {
        /// Bytes there.
        len: usize,
        /// Bytes needed.
        min: usize,
    },
    /// A connect of another length than [`CONNECT_LEN`].
    #[error("a connect of {0} bytes, not {CONNECT_LEN}")]
    ConnectLen(usize),
    /// A connect that does not begin with [`PROTOCOL_ID`].
    #[error("a connect with protocol id {0:#x}")]
    ProtocolId(u64),
    /// No action of BEP 15, or none of a request.
    #[error("action {0}")]
    Action(u32),
    /// A scrape that is not 1 to 74 whole info hashes.
    #[error("a scrape of {0} bytes of info hashes, not of 1 to {max}", max = super::query::SCRAPE_MAX)]
    ScrapeLen(usize),
    /// An option that ends behind the packet.
    #[error("option {kind} is cut off")]
    Option {
        /// Its type.
        kind: u8,
    },
}

impl Action {
    /// As it stands in a packet.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Connect => 0,
            Self::Announce => 1,
            Self::Scrape => 2,
            Self::Error => 3,
        }
    }

    fn read(number: u32) -> Result<Self, PacketError> {
        let all = [Self::Connect, Self::Announce, Self::Scrape, Self::Error];
        let found = all.into_iter().find(|action| action.number() == number);
        found.ok_or(PacketError::Action(number))
    }
}

/// Numbers off the front of a packet.
struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of the whole packet.
    len: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PacketError> {
        let min = self.len - self.rest.len() + N;
        let short = PacketError::TooShort { len: self.len, min };
        let (&array, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, PacketError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, PacketError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, PacketError> {
        self.array().map(u64::from_be_bytes)
    }
}
