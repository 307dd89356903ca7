//! The datagram of local discovery, `BT-SEARCH` (BEP 14): which torrents the sender takes part in,
//! and at which port it listens. Never here: when it is sent, or what is believed.

use std::{fmt::Write as _, net::SocketAddr};

use crate::{
    config::{LOCAL_COOKIE_LEN_MAX, LOCAL_HASHES_MAX, LOCAL_LEN_MAX},
    ids::InfoHash,
};

/// What a datagram says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAnnounce {
    /// Where the sender accepts connections, at the address that the datagram comes from; not 0.
    pub port: u16,
    /// Its torrents, at least one.
    pub info_hashes: Vec<InfoHash>,
    /// What the sender knows its own datagrams by; printable, may be empty.
    pub cookie: String,
}

/// Why a datagram says nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LocalError {
    /// It is longer than any may be.
    #[error("{0} bytes where at most {LOCAL_LEN_MAX} are allowed")]
    TooLong(usize),
    /// Its first line is another one.
    #[error("is no BT-SEARCH")]
    NoSearch,
    /// There is no port, or none that can be listened on.
    #[error("names no port")]
    Port,
    /// There is no info hash.
    #[error("names no torrent")]
    InfoHash,
    /// The cookie is none.
    #[error("has a cookie that is too long or not printable")]
    Cookie,
}

impl LocalAnnounce {
    /// The datagram for this group. Of more than [`LOCAL_HASHES_MAX`] torrents the others are left
    /// out; it is at most [`LOCAL_LEN_MAX`] bytes.
    #[must_use]
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for info_hash in self.info_hashes.iter().take(LOCAL_HASHES_MAX) {
            // Writing to a string does not fail.
            let _ = write!(text, "Infohash: {info_hash}\r\n");
        }
        if !self.cookie.is_empty() {
            let _ = write!(text, "cookie: {}\r\n", self.cookie);
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// Reads a datagram. Headers that nobody knows are ignored, and info hashes that are none; of
    /// two ports or cookies the first counts.
    ///
    /// # Errors
    /// [`LocalError`]: one variant for each way it says nothing.
    pub fn decode(datagram: &[u8]) -> Result<Self, LocalError> {
        if datagram.len() > LOCAL_LEN_MAX {
            return Err(LocalError::TooLong(datagram.len()));
        }
        let mut lines = datagram.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        if !lines.next().is_some_and(|line| line.starts_with(b"BT-SEARCH * HTTP/1.")) {
            return Err(LocalError::NoSearch);
        }
        let (mut port, mut cookie, mut info_hashes) = (None, None, Vec::new());
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = std::str::from_utf8(line).ok().and_then(header) else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "port" => port = port.or_else(|| value.parse::<u16>().ok()),
                "infohash" => info_hashes.extend(value.parse::<InfoHash>().ok()),
                "cookie" => cookie = cookie.or(Some(value)),
                _ => {}
            }
        }
        let cookie = cookie.unwrap_or_default();
        if cookie.len() > LOCAL_COOKIE_LEN_MAX || cookie.chars().any(char::is_control) {
            return Err(LocalError::Cookie);
        }
        let port = port.filter(|port| *port != 0).ok_or(LocalError::Port)?;
        if info_hashes.is_empty() {
            return Err(LocalError::InfoHash);
        }
        Ok(Self { port, info_hashes, cookie: cookie.to_owned() })
    }
}

fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim(), value.trim()))
}

#[cfg(test)]
mod tests;
