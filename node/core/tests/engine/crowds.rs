//! Many peers and facts at once, around one session without a world: what is quick must also be
//! right.

use std::sync::Arc;

use shoal_core::{
    bitfield::Bitfield,
    config::{BLOCK_LEN, Config},
    ids::{CommandId, ConnId, LeaseId, PeerId, PieceIndex, TorrentId},
    metainfo::Metainfo,
    session::{
        Action, Event, Identity, Session,
        command::{Command, Done, Resume},
        event::{INCOMING_BIT, Opened, PieceOutcome},
    },
    time::Timestamp,
    torrent::selection::Selection,
    wire::{Message, Terms},
};

use crate::world::metainfo;

const PIECES: u32 = 200;
const NOW: Timestamp = Timestamp(1_000_000);

/// A session that downloads, and what it said since it was asked last.
struct Downloader {
    session: Session,
    torrent: TorrentId,
    metainfo: Arc<Metainfo>,
    said: Vec<Action>,
}

fn conn(number: u32) -> ConnId {
    ConnId(INCOMING_BIT | u64::from(number))
}

fn message(number: u32, message: Message) -> Event {
    Event::MessageReceived { conn: conn(number), message }
}

impl Downloader {
    fn new() -> Self {
        let metainfo = metainfo(u64::from(PIECES * BLOCK_LEN), BLOCK_LEN);
        let identity = Identity {
            peer_id: PeerId(*b"-SH0100-000000000000"),
            listen_port: 7000,
            advertise: None,
            labels: Arc::default(),
        };
        let session = Session::new(Config::default(), identity, 1, NOW);
        let torrent = TorrentId(0);
        let mut this = Self { session, torrent, metainfo: metainfo.clone(), said: Vec::new() };
        let have = Bitfield::new(PIECES as usize);
        let opened = Opened { have, unverified: Vec::new(), downloaded: 0, uploaded: 0 };
        let (resume, selection) = (Resume::default(), Selection::default());
        let add = Command::Add { metainfo, opened, resume, selection };
        this.handle(Event::CommandIssued { id: CommandId(1), command: add });
        let added = this.said.drain(..).find_map(|action| match action {
            Action::Reply { result: Ok(Done::Added(torrent)), .. } => Some(torrent),
            _ => None,
        });
        this.torrent = added.expect("it is added");
        let (torrent, available_only, patient) = (this.torrent, false, true);
        let command = Command::AutoDownload { torrent, available_only, patient };
        this.handle(Event::CommandIssued { id: CommandId(2), command });
        this
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(NOW, event, &mut self.said);
        self.session.check_invariants();
    }

    /// A peer that has these pieces connects; it chokes us.
    fn meet(&mut self, number: u32, pieces: &[u32]) {
        let mut have = Bitfield::new(PIECES as usize);
        for &piece in pieces {
            have.set(PieceIndex(piece));
        }
        let mut peer_id = *b"-SH0100-000000000000";
        peer_id[16..].copy_from_slice(&(number + 1).to_be_bytes());
        self.handle(Event::Incoming {
            conn: conn(number),
            addr: ([10, 0, (number >> 8) as u8, number as u8], 7000).into(),
            info_hash: self.metainfo.info_hash,
            peer_id: PeerId(peer_id),
            terms: Terms { fast: true, extended: true },
        });
        self.handle(message(number, Message::Bitfield(have.to_wire())));
    }

    /// What was granted since, in order: by whom, which lease, which piece.
    fn granted(&mut self) -> Vec<(ConnId, LeaseId, u32)> {
        let grants = self.said.drain(..).filter_map(|action| match action {
            Action::GrantLease { conn, lease } => Some((conn, lease.id, lease.piece.0)),
            _ => None,
        });
        grants.collect()
    }

    /// An extent comes, and its piece is what it should be, or not.
    fn receive(&mut self, (conn, lease, piece): (ConnId, LeaseId, u32), good: bool) {
        self.handle(Event::ExtentReceived { conn, lease });
        let blocks = Vec::new();
        let outcome = match good {
            true => PieceOutcome::Written { blocks },
            false => PieceOutcome::Mismatch { blocks },
        };
        let (torrent, piece) = (self.torrent, PieceIndex(piece));
        self.handle(Event::PieceVerified { torrent, piece, outcome });
    }
}

#[test]
fn what_is_taken_together_lets_work_begin_once_it_is_settled() {
    let mut downloader = Downloader::new();
    let all = (0..PIECES).collect::<Vec<_>>();
    (0..3).for_each(|number| downloader.meet(number, &all));
    for number in 0..3 {
        let unchoked = message(number, Message::Unchoke);
        downloader.session.take(NOW, unchoked, &mut downloader.said);
    }
    assert_eq!(downloader.granted(), []);
    downloader.session.settle(NOW, &mut downloader.said);
    downloader.session.check_invariants();
    let mut asked = downloader.granted().into_iter().map(|(conn, ..)| conn).collect::<Vec<_>>();
    asked.sort_unstable();
    assert_eq!(asked, [conn(0), conn(1), conn(2)]);
}

#[test]
fn peers_without_a_waiting_piece_are_asked_again_once_there_is_one() {
    let mut downloader = Downloader::new();
    for number in 0..20 {
        downloader.meet(number, &[0, 1]);
        downloader.handle(message(number, Message::Unchoke));
    }
    let begun = downloader.granted();
    assert_eq!(begun.len(), 2, "{begun:?}");
    // One has something new, another one something that is being fetched.
    downloader.handle(message(8, Message::Have(PieceIndex(0))));
    assert_eq!(downloader.granted(), []);
    downloader.handle(message(7, Message::Have(PieceIndex(150))));
    let found = downloader.granted();
    assert!(matches!(found[..], [(asked, _, 150)] if asked == conn(7)), "{found:?}");
    // A copy that is wrong makes its piece wait again, and nothing else.
    downloader.receive(found[0], false);
    let again = downloader.granted();
    assert!(matches!(again[..], [(asked, _, 150)] if asked == conn(7)), "{again:?}");
    downloader.receive(begun[0], true);
    assert_eq!(downloader.granted(), []);
}

#[test]
fn whoever_was_asked_least_of_hundreds_is_asked_next() {
    let mut downloader = Downloader::new();
    let all = (0..PIECES).collect::<Vec<_>>();
    for number in 0..150 {
        // Every other one is a seed.
        downloader.meet(number, if number % 2 == 0 { &all } else { &all[1..] });
        downloader.handle(message(number, Message::Unchoke));
    }
    let first = downloader.granted();
    let mut asked = first.iter().map(|&(conn, ..)| conn).collect::<Vec<_>>();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!((first.len(), asked.len()), (150, 150), "one each while slow start begins");
    for grant in first {
        downloader.receive(grant, true);
    }
    let then = downloader.granted();
    let mut pieces = then.iter().map(|&(.., piece)| piece).collect::<Vec<_>>();
    pieces.sort_unstable();
    pieces.dedup();
    assert_eq!((then.len(), pieces.len()), (50, 50), "what is left, each piece once");
    // All have sent one extent by the end; whoever came back first was asked first.
    let mut asked = then.iter().map(|&(conn, ..)| conn).collect::<Vec<_>>();
    asked.sort_unstable();
    asked.dedup();
    assert!(asked.len() >= 25, "{} peers shared the rest", asked.len());
}
