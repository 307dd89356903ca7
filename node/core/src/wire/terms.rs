//! What the two handshakes of a connection agreed on, and so which messages may be sent over it:
//! the one place that knows. Never here: what a message means.

use crate::wire::{
    handshake::Handshake,
    message::{self, Message, MessageKind},
};

/// What both sides of a connection speak beside BEP 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// The fast extension (BEP 6).
    pub fast: bool,
    /// The extension protocol (BEP 10).
    pub extended: bool,
}

/// A message that the receiver does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} was not agreed on")]
pub struct NotAgreed(pub MessageKind);

impl Terms {
    /// What two handshakes have in common.
    #[must_use]
    pub fn agreed(ours: &Handshake, theirs: &Handshake) -> Self {
        Self {
            fast: ours.has_fast() && theirs.has_fast(),
            extended: ours.has_extensions() && theirs.has_extensions(),
        }
    }

    /// Whether messages of this kind may be sent.
    #[must_use]
    pub fn allow(self, kind: MessageKind) -> bool {
        match kind {
            MessageKind::Choke
            | MessageKind::Unchoke
            | MessageKind::Interested
            | MessageKind::NotInterested
            | MessageKind::Have
            | MessageKind::Bitfield
            | MessageKind::Request
            | MessageKind::Cancel => true,
            MessageKind::Suggest
            | MessageKind::HaveAll
            | MessageKind::HaveNone
            | MessageKind::Reject
            | MessageKind::AllowedFast => self.fast,
            MessageKind::Extended => self.extended,
            // We have no DHT.
            MessageKind::Port => false,
        }
    }

    /// Appends a message that may be sent to `out`; nothing of one that may not.
    ///
    /// # Errors
    /// [`NotAgreed`] where it may not be sent.
    pub fn write(self, message: &Message, out: &mut Vec<u8>) -> Result<(), NotAgreed> {
        if let Some(kind) = message.kind().filter(|&kind| !self.allow(kind)) {
            return Err(NotAgreed(kind));
        }
        message::encode(message, out);
        Ok(())
    }
}
