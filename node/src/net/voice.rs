//! What a connection may say: everything but payload goes out through a [`Voice`], which lets no
//! message pass that the peer does not know. Never here: what is said, and when.

use shoal_core::wire::{Message, Terms};

/// Writes messages to one peer.
#[derive(Debug)]
pub(super) struct Voice<'a> {
    terms: Terms,
    out: &'a mut Vec<u8>,
}

impl<'a> Voice<'a> {
    /// A voice that speaks what was agreed on with the peer, into `out`.
    pub(super) fn new(terms: Terms, out: &'a mut Vec<u8>) -> Self {
        Self { terms, out }
    }

    /// Says something. What the peer does not know is left unsaid.
    pub(super) fn say(&mut self, message: &Message) {
        if let Err(error) = self.terms.write(message, self.out) {
            // Our mistake, which the peer must not pay for with its connection.
            tracing::warn!(%error, "a message was held back");
        }
    }
}
