//! Commands about one peer: connect, ping, disconnect, one piece of it.

use std::{net::SocketAddr, time::Duration};

use super::PING_TIMEOUT;
use crate::{
    ids::{CommandId, ConnId, PieceIndex, TorrentId},
    peer::Origin,
    session::{
        Action, Ping, Session,
        command::{CommandError, Done},
        fault::CloseCause,
        timers::Timer,
    },
    torrent::Condition,
    wire::extended::ShoalMessage,
};

impl Session {
    pub(super) fn connect_peer(
        &mut self,
        command: CommandId,
        id: TorrentId,
        addr: SocketAddr,
        out: &mut Vec<Action>,
    ) -> Result<Option<Done>, CommandError> {
        let torrent = self.find_active(id)?;
        if torrent.book.is_own(&addr) {
            return Err(CommandError::OwnAddress(addr));
        }
        if torrent.blame.is_banned_addr(&addr) {
            return Err(CommandError::PeerBanned(addr));
        }
        let dialling = torrent.book.dial_to(&addr);
        if let Some(conn) = self.conn_at(id, &addr) {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.origin = match state.origin {
                    Origin::Dialled => Origin::Operator,
                    Origin::Incoming | Origin::Operator | Origin::WebSeed => state.origin,
                };
            }
            self.answer_connected(command, conn, true, out);
            return Ok(None);
        }
        if let Some(dial) = dialling.and_then(|conn| self.dials.get_mut(&conn)) {
            dial.waiters.push(command);
            dial.origin = Origin::Operator;
            return Ok(None);
        }
        if let Some((setting, limit)) = self.limit_reached(id, self.dials.len()) {
            return Err(CommandError::TooManyConnections { addr, setting, limit });
        }
        self.dial(id, addr, Origin::Operator, Some(command), out);
        Ok(None)
    }

    /// The connection to a peer, or why there is none.
    pub(super) fn peer(&mut self, id: TorrentId, addr: SocketAddr) -> Result<ConnId, CommandError> {
        self.find_active(id)?;
        if let Some(conn) = self.conn_at(id, &addr) {
            return Ok(conn);
        }
        let torrent = &self.torrents[&id];
        if torrent.book.is_own(&addr) {
            return Err(CommandError::OwnAddress(addr));
        }
        if torrent.blame.is_banned_addr(&addr) {
            return Err(CommandError::PeerBanned(addr));
        }
        if torrent.book.knows(&addr) {
            return Err(CommandError::PeerNotConnected(addr));
        }
        let suggestion = torrent.book.similar(&addr);
        Err(CommandError::UnknownPeer { addr, suggestion })
    }

    pub(super) fn ping(
        &mut self,
        command: CommandId,
        id: TorrentId,
        addr: SocketAddr,
        out: &mut Vec<Action>,
    ) -> Result<Option<Done>, CommandError> {
        let conn = self.peer(id, addr)?;
        let state = &self.conns[&conn];
        if state.shoal.is_none() {
            let age = self.now.since(state.last_heard).as_millis();
            return Ok(Some(Done::Pong {
                round_trip_us: None,
                last_message_age_ms: u64::try_from(age).unwrap_or(u64::MAX),
                request_latency_us: (state.rtt_us > 0).then_some(state.rtt_us),
            }));
        }
        let n = self.next_id();
        self.pings.insert(n, Ping { conn, command, sent: self.now });
        self.timers.set(Timer::Ping(command), self.now + PING_TIMEOUT);
        self.send_shoal(conn, &ShoalMessage::Ping { n }, out);
        Ok(None)
    }

    pub(super) fn disconnect_peer(
        &mut self,
        id: TorrentId,
        addr: SocketAddr,
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        let conn = self.peer(id, addr)?;
        self.close(conn, CloseCause::Operator, out);
        if let Some(torrent) = self.torrents.get_mut(&id) {
            // An operator who disconnects a peer does not want it back at once.
            torrent.book.closed(addr, conn, self.now + Duration::from_secs(60));
        }
        Ok(Done::Ok)
    }

    pub(super) fn order_request(
        &mut self,
        id: TorrentId,
        addr: SocketAddr,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        let conn = self.peer(id, addr)?;
        let torrent = &self.torrents[&id];
        let chunk = torrent.metainfo.chunk_name(piece);
        match &torrent.condition {
            Condition::Failed(cause) => return Err(CommandError::InError(cause.clone())),
            Condition::DiskFull(cause) => return Err(CommandError::DiskFull(cause.clone())),
            Condition::Active | Condition::Paused | Condition::Quit => {}
        }
        if !torrent.have().get(piece) {
            if torrent.pieces.is_checking(piece) {
                return Err(CommandError::Checking);
            }
            if !torrent.pieces.is_missing(piece) {
                return Err(CommandError::ChunkBusy(chunk));
            }
            if !self.conns[&conn].have.get(piece) {
                return Err(CommandError::PeerLacksChunk { addr, chunk });
            }
        }
        let job = self.request_download(id, conn, piece, out);
        Ok(Done::Job { job, joined: false })
    }
}
