//! Who is asked for metadata, and what follows from the answers.

use std::{cmp::Reverse, collections::BTreeMap, net::SocketAddr};

use super::{
    Quest,
    assembly::{Assembly, Whole},
};
use crate::{
    config::{METADATA_PIPELINE, METADATA_SIZES_MAX, METADATA_TIMEOUT},
    ids::{ConnId, TorrentId},
    session::{Action, Session, dial::REDIAL_AFTER, fault::CloseCause, timers::Timer},
    time::Timestamp,
    wire::{
        Consequence, Message, MetadataMessage, Misbehaved, PeerFault,
        extended::{ExtendedHandshake, Extension, HANDSHAKE_ID},
        fault::InvalidMessage,
    },
};

/// Pieces in a row that a peer may fail to give before it is let go.
const FAILURES_MAX: u32 = 3;

impl Session {
    pub(in crate::session) fn on_quest_message(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        message: Message,
        out: &mut Vec<Action>,
    ) {
        // What a peer has is of no use before the metadata is here; that it says so is its right.
        let Message::Extended { id: kind, payload } = message else { return };
        let heard = match (kind, Extension::of_id(kind)) {
            (HANDSHAKE_ID, _) => self.on_quest_hello(id, conn, &payload, out),
            (_, Some(Extension::Metadata)) => self.on_quest_metadata(id, conn, &payload, out),
            (_, Some(Extension::Shoal | Extension::Pex) | None) => Ok(()),
        };
        let Err(fault) = heard else { return };
        match fault.consequence() {
            Consequence::Ignore => {}
            Consequence::Close => {
                self.close_source(conn, CloseCause::Fault(fault), REDIAL_AFTER, out);
            }
            Consequence::Ban => self.ban_source(id, conn, fault, out),
        }
    }

    fn on_quest_hello(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let hello = ExtendedHandshake::decode(payload)?;
        let limit = self.config.peers_per_torrent_max;
        let Some(quest) = self.quests.get_mut(&id) else { return Ok(()) };
        let Some(source) = quest.sources.get_mut(&conn).filter(|source| source.terms.extended)
        else {
            return Err(InvalidMessage::ExtendedNotNegotiated.into());
        };
        if let Some(port) = hello.port.filter(|_| source.listen.is_none()) {
            let listen = SocketAddr::new(source.address().ip(), port);
            source.listen = Some(listen);
            quest.book.introduced(listen, conn, limit);
        }
        let offer = hello.ids.get(&Extension::Metadata).copied().zip(hello.metadata_size);
        let Some((kind, size)) = offer else {
            // A later handshake need not say again what an earlier one said (BEP 10).
            if source.size.is_none() {
                self.let_go(conn, out);
            }
            return Ok(());
        };
        source.id = Some(kind);
        if source.size.is_some_and(|before| before != size) {
            return Err(Misbehaved::WrongMetadata.into());
        }
        source.size = Some(size);
        self.dirty.insert(id);
        Ok(())
    }

    fn on_quest_metadata(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        match MetadataMessage::decode(payload)? {
            MetadataMessage::Data { piece, total_size, bytes } => {
                self.on_data(id, conn, (piece, total_size, bytes), out)?;
            }
            MetadataMessage::Reject { piece } => {
                if self.fail_piece(id, conn, piece) {
                    self.judge_source(id, conn, out);
                }
            }
            MetadataMessage::Request { piece } => {
                self.say_to_source(id, conn, &MetadataMessage::Reject { piece }, out);
            }
            MetadataMessage::Unknown => {}
        }
        Ok(())
    }

    fn on_data(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        (piece, total_size, bytes): (u32, Option<u32>, Vec<u8>),
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let Some(quest) = self.quests.get_mut(&id) else { return Ok(()) };
        let Some(source) = quest.sources.get_mut(&conn) else { return Ok(()) };
        // Nobody asked for it, or not any more.
        if source.asked.remove(&piece).is_none() {
            return Ok(());
        }
        let Some(assembly) = source.size.and_then(|size| quest.sizes.get_mut(&size)) else {
            return Ok(());
        };
        let says_so = total_size.is_none_or(|total| source.size == Some(total));
        if !says_so || !assembly.fits(piece, bytes.len()) {
            assembly.unask(piece);
            return Err(Misbehaved::WrongMetadata.into());
        }
        source.failures = 0;
        self.dirty.insert(id);
        match assembly.take(conn, piece, bytes, &quest.magnet.info_hash) {
            None | Some(Whole::Mixed) => Ok(()),
            Some(Whole::Right(info_bytes)) => {
                self.found(id, info_bytes, out);
                Ok(())
            }
            Some(Whole::WrongOf(_)) => Err(Misbehaved::WrongMetadata.into()),
        }
    }

    fn ban_source(&mut self, id: TorrentId, conn: ConnId, fault: PeerFault, out: &mut Vec<Action>) {
        if let Some(quest) = self.quests.get_mut(&id)
            && let Some(source) = quest.sources.get(&conn)
        {
            quest.banned.add(source.peer_id, source.address());
        }
        self.close_source(conn, CloseCause::Fault(fault), REDIAL_AFTER, out);
    }

    /// A piece does not come from a peer. `false` where it was not asked for it.
    fn fail_piece(&mut self, id: TorrentId, conn: ConnId, piece: u32) -> bool {
        let Some(quest) = self.quests.get_mut(&id) else { return false };
        let Some(source) = quest.sources.get_mut(&conn) else { return false };
        if source.asked.remove(&piece).is_none() {
            return false;
        }
        source.failures += 1;
        source.rests_until = self.now + METADATA_TIMEOUT * source.failures;
        if let Some(assembly) = source.size.and_then(|size| quest.sizes.get_mut(&size)) {
            assembly.unask(piece);
            assembly.let_down(conn);
        }
        self.dirty.insert(id);
        true
    }

    /// Lets a peer go that fails again and again.
    fn judge_source(&mut self, id: TorrentId, conn: ConnId, out: &mut Vec<Action>) {
        let source = self.quests.get(&id).and_then(|quest| quest.sources.get(&conn));
        if source.is_some_and(|source| source.failures >= FAILURES_MAX) {
            self.let_go(conn, out);
        }
    }

    /// Something is overdue.
    pub(in crate::session) fn on_metadata_timer(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(quest) = self.quests.get(&id) else { return };
        let mut late = Vec::new();
        for (&conn, source) in &quest.sources {
            let pieces = source.asked.iter().filter(|(_, due)| **due <= self.now);
            let pieces: Vec<u32> = pieces.map(|(&piece, _)| piece).collect();
            late.push((conn, source.size.is_none() && source.hello_due <= self.now, pieces));
        }
        for (conn, is_silent, pieces) in late {
            if is_silent {
                self.let_go(conn, out);
                continue;
            }
            for piece in pieces {
                self.fail_piece(id, conn, piece);
            }
            self.judge_source(id, conn, out);
        }
        // Whoever rested may be asked again.
        self.dirty.insert(id);
    }

    /// Asks whom there is to ask, and sets the timer for what is overdue next.
    pub(super) fn ask_sources(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let now = self.now;
        let Some(quest) = self.quests.get_mut(&id) else { return };
        for (conn, piece) in quest.next_requests(now) {
            self.say_to_source(id, conn, &MetadataMessage::Request { piece }, out);
        }
        let due = self.quests.get(&id).map_or(Timestamp::NEVER, |quest| quest.next_due(now));
        self.timers.set(Timer::Metadata(id), due);
    }

    fn say_to_source(
        &self,
        id: TorrentId,
        conn: ConnId,
        message: &MetadataMessage,
        out: &mut Vec<Action>,
    ) {
        let source = self.quests.get(&id).and_then(|quest| quest.sources.get(&conn));
        let Some(kind) = source.and_then(|source| source.id) else { return };
        let message = Message::Extended { id: kind, payload: message.encode() };
        out.push(Action::Send { conn, message });
    }
}

impl Quest {
    /// The requests to make now, which count as made.
    fn next_requests(&mut self, now: Timestamp) -> Vec<(ConnId, u32)> {
        self.choose_sizes();
        let mut requests = Vec::new();
        for (&len, assembly) in &mut self.sizes {
            let awake = self.sources.iter().filter(|(_, s)| s.size == Some(len));
            let awake = awake.filter(|(_, source)| source.rests_until <= now);
            let mut awake: Vec<_> =
                awake.map(|(&conn, source)| (!source.outgoing, source.failures, conn)).collect();
            // Whom we dialled had to be known to somebody; whoever dials us may be anybody.
            awake.sort_unstable();
            let awake: Vec<_> = awake.into_iter().map(|(.., conn)| conn).collect();
            for conn in assembly.may_ask(&awake) {
                let Some(source) = self.sources.get_mut(&conn) else { continue };
                while source.rests_until <= now
                    && source.asked.len() < METADATA_PIPELINE
                    && let Some(piece) = assembly.ask()
                {
                    source.asked.insert(piece, now + METADATA_TIMEOUT);
                    requests.push((conn, piece));
                }
            }
        }
        requests
    }

    /// Which sizes are put together: those that most peers claim, the smaller ones first; then those
    /// of which something is here though nobody claims them any more.
    fn choose_sizes(&mut self) {
        let mut claims: BTreeMap<u32, usize> = BTreeMap::new();
        let begun = self.sizes.iter().filter(|(_, assembly)| assembly.here() > 0);
        claims.extend(begun.map(|(&len, _)| (len, 0)));
        for len in self.sources.values().filter_map(|source| source.size) {
            *claims.entry(len).or_default() += 1;
        }
        let mut chosen: Vec<_> =
            claims.into_iter().map(|(len, count)| (Reverse(count), len)).collect();
        chosen.sort_unstable();
        chosen.truncate(METADATA_SIZES_MAX);
        let is_chosen = |len: u32| chosen.iter().any(|(_, other)| *other == len);
        self.sizes.retain(|&len, _| is_chosen(len));
        for source in self.sources.values_mut() {
            if source.size.is_some_and(|len| !is_chosen(len)) {
                source.asked.clear();
            }
        }
        for (_, len) in chosen {
            self.sizes.entry(len).or_insert_with(|| Assembly::new(len));
        }
    }

    /// When somebody is late, or may be asked again.
    fn next_due(&self, now: Timestamp) -> Timestamp {
        let dues = self.sources.values().flat_map(|source| {
            let hello = source.size.is_none().then_some(source.hello_due);
            let rest = (source.rests_until > now).then_some(source.rests_until);
            source.asked.values().copied().chain(hello).chain(rest)
        });
        dues.min().unwrap_or(Timestamp::NEVER)
    }
}
