//! The 68 bytes that open a connection (BEP 3 §peer protocol), with the reserved bits of BEP 6
//! and BEP 10.

use crate::{
    ids::{InfoHash, PeerId},
    wire::fault::{Incompatible, PeerFault},
};

/// The length of a handshake, bytes.
pub const HANDSHAKE_LEN: usize = 68;
/// The first byte of a plaintext handshake: the length of the protocol's name.
pub const FIRST_BYTE: u8 = 19;

const PROTOCOL: &[u8; 19] = b"BitTorrent protocol";
/// Bit 20 from the right: the extension protocol (BEP 10).
const EXTENSIONS: (usize, u8) = (5, 0x10);
/// The third least significant bit of the last byte: the fast extension (BEP 6).
const FAST: (usize, u8) = (7, 0x04);

/// What both sides say first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// Bits that announce extensions.
    pub reserved: [u8; 8],
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who speaks.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Ours: with the extension protocol and the fast extension.
    #[must_use]
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        let mut reserved = [0; 8];
        reserved[EXTENSIONS.0] |= EXTENSIONS.1;
        reserved[FAST.0] |= FAST.1;
        Self { reserved, info_hash, peer_id }
    }

    /// Whether the sender speaks the extension protocol (BEP 10).
    #[must_use]
    pub fn has_extensions(&self) -> bool {
        self.reserved[EXTENSIONS.0] & EXTENSIONS.1 != 0
    }

    /// Whether the sender speaks the fast extension (BEP 6).
    #[must_use]
    pub fn has_fast(&self) -> bool {
        self.reserved[FAST.0] & FAST.1 != 0
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[0] = FIRST_BYTE;
        bytes[1..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Judges the first byte as soon as it is there, before the others are waited for.
    ///
    /// # Errors
    /// [`Incompatible::NotPlaintext`] unless it is 19.
    pub fn check_first_byte(byte: u8) -> Result<(), PeerFault> {
        if byte == FIRST_BYTE { Ok(()) } else { Err(Incompatible::NotPlaintext(byte).into()) }
    }

    /// Reads a handshake. Unknown reserved bits are kept and mean nothing.
    ///
    /// # Errors
    /// [`Incompatible::NotPlaintext`] by the first byte, [`Incompatible::Protocol`] by the name.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, PeerFault> {
        Self::check_first_byte(bytes[0])?;
        if &bytes[1..20] != PROTOCOL {
            return Err(Incompatible::Protocol.into());
        }
        let mut handshake =
            Self { reserved: [0; 8], info_hash: InfoHash([0; 20]), peer_id: PeerId([0; 20]) };
        handshake.reserved.copy_from_slice(&bytes[20..28]);
        handshake.info_hash.0.copy_from_slice(&bytes[28..48]);
        handshake.peer_id.0.copy_from_slice(&bytes[48..]);
        Ok(handshake)
    }
}
