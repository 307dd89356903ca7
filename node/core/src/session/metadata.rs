//! Who gets the metadata of our torrents (BEP 9), and how much of it at a time.

use super::{Action, Session};
use crate::{
    config::{METADATA_BURST, METADATA_SERVED_PER, METADATA_SERVED_TIMES},
    ids::ConnId,
    wire::{
        Message, MetadataMessage, PeerFault,
        metadata::{piece_count, piece_range},
    },
};

impl Session {
    pub(super) fn on_metadata(
        &mut self,
        conn: ConnId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        match MetadataMessage::decode(payload)? {
            MetadataMessage::Request { piece } => self.on_metadata_request(conn, piece, out),
            // We have it, and asked for nothing.
            MetadataMessage::Data { .. }
            | MetadataMessage::Reject { .. }
            | MetadataMessage::Unknown => {}
        }
        Ok(())
    }

    /// A peer asks for a piece: it gets it in its turn, or a rejection where there is none or it
    /// had enough.
    fn on_metadata_request(&mut self, conn: ConnId, piece: u32, out: &mut Vec<Action>) {
        let Some(len) = self.metadata_len(conn) else { return };
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let serving = &mut state.metadata;
        if self.now.since(serving.granted_since) >= METADATA_SERVED_PER {
            (serving.granted, serving.granted_since) = (0, self.now);
        }
        let had_enough = serving.granted >= piece_count(len) * METADATA_SERVED_TIMES;
        if had_enough || piece_range(piece, len).is_none() {
            return self.say_metadata(conn, &MetadataMessage::Reject { piece }, out);
        }
        serving.granted += 1;
        serving.queue.push_back(piece);
        self.serve_metadata(conn, out);
    }

    /// A tick is over: a peer gets more of what it waits for.
    pub(super) fn next_metadata(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.metadata.burst = 0;
        self.serve_metadata(conn, out);
    }

    fn serve_metadata(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        while let Some(state) = self.conns.get_mut(&conn)
            && state.metadata.burst < METADATA_BURST
            && let Some(piece) = state.metadata.queue.pop_front()
        {
            state.metadata.burst += 1;
            let Some(torrent) = self.torrents.get(&state.torrent) else { return };
            let info = &torrent.metainfo.info_bytes;
            let len = u32::try_from(info.len()).unwrap_or(u32::MAX);
            let Some(bytes) = piece_range(piece, len).and_then(|range| info.get(range)) else {
                continue;
            };
            let bytes = bytes.to_vec();
            let data = MetadataMessage::Data { piece, total_size: Some(len), bytes };
            self.say_metadata(conn, &data, out);
        }
    }

    /// Bytes of the metadata that a connection is about.
    fn metadata_len(&self, conn: ConnId) -> Option<u32> {
        let torrent = self.torrents.get(&self.conns.get(&conn)?.torrent)?;
        u32::try_from(torrent.metainfo.info_bytes.len()).ok()
    }

    fn say_metadata(&self, conn: ConnId, message: &MetadataMessage, out: &mut Vec<Action>) {
        // Who did not say under which id it takes answers gets none.
        let Some(id) = self.conns.get(&conn).and_then(|state| state.metadata.id) else { return };
        let message = Message::Extended { id, payload: message.encode() };
        out.push(Action::Send { conn, message });
    }
}
