//! How peers are dialled that are in several torrents of a node.

use std::{net::SocketAddr, sync::Arc};

use shoal_core::{
    bitfield::Bitfield,
    ids::{CommandId, ConnId, PeerId},
    session::{Action, Identity, Session, command::Resume, event::Opened},
    time::Timestamp,
    torrent::selection::Selection,
    tracker::announce::{AnnounceReply, PeerEntry},
    wire::Terms,
};

use super::*;

/// A session with some torrents, all of which the tracker says one peer is in.
struct Dialling {
    session: Session,
    now: Timestamp,
    peer: SocketAddr,
    /// Dials that have not ended, oldest first.
    dials: Vec<(ConnId, TorrentId)>,
    /// The torrent that was added last.
    added: Option<TorrentId>,
}

impl Dialling {
    fn new(torrents: u32) -> Self {
        let identity = Identity {
            peer_id: PeerId(*b"-SH0100-000000000000"),
            listen_port: 7000,
            advertise: None,
            labels: Arc::default(),
        };
        let now = Timestamp(1);
        let session = Session::new(Config::default(), identity, 1, now);
        let peer = SocketAddr::from(([10, 0, 0, 9], 6881));
        let mut this = Self { session, now, peer, dials: Vec::new(), added: None };
        for number in 0..torrents {
            this.download(number);
        }
        this
    }

    fn download(&mut self, number: u32) {
        let metainfo = metainfo(MIB + u64::from(number), 512 * 1024);
        let have = bits(metainfo.piece_count() as usize, []);
        let opened = Opened { have, unverified: Vec::new(), downloaded: 0, uploaded: 0 };
        let (resume, selection) = (Resume::default(), Selection::default());
        let command = Command::Add { metainfo, opened, resume, selection };
        self.fact(Event::CommandIssued { id: CommandId(u64::from(number) * 2), command });
        let Some(torrent) = self.added else { panic!("{number} was not added") };
        let command = Command::AutoDownload { torrent, available_only: false, patient: true };
        self.fact(Event::CommandIssued { id: CommandId(u64::from(number) * 2 + 1), command });
    }

    fn fact(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.session.handle(self.now, event, &mut actions);
        for action in actions {
            match action {
                Action::Announce { announce, .. } => {
                    let peers = vec![PeerEntry { addr: self.peer, id: None }];
                    let result = Ok(AnnounceReply { peers, ..AnnounceReply::new(120) });
                    self.fact(Event::AnnounceFinished { announce, result });
                }
                Action::Dial { conn, torrent, addr, .. } => {
                    assert_eq!(addr, self.peer);
                    self.dials.push((conn, torrent));
                }
                Action::Reply { result: Ok(Done::Added(torrent)), .. } => {
                    self.added = Some(torrent)
                }
                _ => {}
            }
        }
        self.session.check_invariants();
    }

    /// The oldest dial ends.
    fn end(&mut self, is_there: bool) -> TorrentId {
        let (conn, torrent) = self.dials.remove(0);
        let terms = Terms { fast: true, extended: true };
        self.fact(match is_there {
            true => Event::Dialled { conn, peer_id: PeerId([9; 20]), terms },
            false => Event::DialFailed { conn, cause: "connection refused".to_owned() },
        });
        torrent
    }
}

#[test]
fn a_peer_that_hangs_up_on_further_handshakes_is_sent_one_after_the_other() {
    let mut dialling = Dialling::new(12);
    assert_eq!(dialling.dials.len(), 12);
    for _ in 0..11 {
        dialling.end(false);
    }
    let mut dialled = vec![dialling.end(true)];
    while dialled.len() < 12 {
        assert_eq!(dialling.dials.len(), 1, "after {}", dialled.len());
        dialled.push(dialling.end(true));
    }
    assert!(dialling.dials.is_empty());
    dialled.sort_unstable();
    dialled.dedup();
    assert_eq!(dialled.len(), 12, "for each torrent once");
}

#[test]
fn dials_to_a_peer_that_is_not_there_fail_all_at_once() {
    let mut dialling = Dialling::new(3);
    for _ in 0..3 {
        dialling.end(false);
    }
    assert!(dialling.dials.is_empty(), "all of them wait");
    dialling.now = dialling.now + Duration::from_secs(3);
    dialling.fact(Event::Wake);
    assert_eq!(dialling.dials.len(), 3);
}

#[test]
fn torrents_that_were_left_are_passed_over() {
    let mut dialling = Dialling::new(4);
    let (first, second) = (dialling.end(false), dialling.end(false));
    let third = dialling.end(false);
    let left = if first < second { first } else { second };
    let command = Command::Quit(left.min(third));
    dialling.fact(Event::CommandIssued { id: CommandId(99), command });
    dialling.end(true);
    let rest = [dialling.end(true), dialling.end(true)];
    assert!(!rest.contains(&left.min(third)) && dialling.dials.is_empty());
}

/// Two nodes that have something, the first told where the second listens.
fn offering(announces: bool, of_the_other: Bitfield) -> (World, usize, usize) {
    let mut world = World::new(metainfo(MIB, 512 * 1024));
    let all = Bitfield::full(of_the_other.len());
    let seed = world.node(Host::default(), Config::default(), all);
    let torrent = world.torrent(seed);
    if announces {
        world.command(seed, Command::ConnectTracker(torrent));
    }
    let other = world.node(Host::default(), Config::default(), of_the_other);
    let addr = world.addr(other);
    world.command(seed, Command::LearnPeers(torrent, vec![addr]));
    (world, seed, other)
}

#[test]
fn a_seed_dials_who_has_not_come_by_itself_within_ten_seconds() {
    let (mut world, seed, other) = offering(true, bits(2, []));
    let begun = world.now;
    world.run(Duration::from_secs(60), |world| !world.dialled.is_empty());
    assert_eq!(world.now.since(begun).as_secs(), 10);
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(world.dialled, [(seed, world.addr(other))]);
    assert_eq!(world.session(seed).connections(world.torrent(seed)).len(), 1);
}

#[test]
fn a_torrent_that_was_merely_added_dials_nobody() {
    let (mut world, ..) = offering(false, bits(2, []));
    world.run(Duration::from_secs(300), |_| false);
    assert_eq!(world.dialled, []);
}

#[test]
fn a_seed_that_met_a_seed_leaves_it_alone_for_half_an_hour() {
    let (mut world, ..) = offering(true, bits(2, [0, 1]));
    world.run(Duration::from_secs(1790), |_| false);
    assert_eq!(world.dialled.len(), 1);
    world.run(Duration::from_secs(60), |_| false);
    assert_eq!(world.dialled.len(), 2);
}

/// A node that may have eight connections, and downloads from twelve seeds.
fn of_eight(seed: Host) -> (World, usize) {
    let mut world = World::new(metainfo(64 * MIB, 1024 * 1024));
    for _ in 0..12 {
        world.seed(seed);
    }
    let config = Config { connections_per_torrent_max: 8, ..Config::default() };
    let node = world.node(Host::default(), config, bits(64, []));
    world.download(node, false);
    world.run(Duration::from_secs(5), |_| false);
    (world, node)
}

#[test]
fn a_quarter_of_the_connections_is_left_for_who_dials_us() {
    let (mut world, node) = of_eight(Host { upload_bps: 256 * 1024, ..Host::default() });
    assert_eq!(world.session(node).connection_count(), 6);
    let addr = world.addr(node);
    let taken = [(); 3].map(|()| {
        let caller = world.node(Host::default(), Config::default(), bits(64, []));
        let torrent = world.torrent(caller);
        world.ask(caller, Command::ConnectPeer(torrent, addr)).is_ok()
    });
    assert_eq!(taken, [true, true, false]);
    assert_eq!(world.session(node).connection_count(), 8);
}

#[test]
fn connections_of_no_use_are_no_reason_to_dial_nobody_else() {
    let (mut world, node) = of_eight(Host { rejects: true, ..Host::default() });
    assert_eq!(world.session(node).connection_count(), 6);
    world.run(MINUTE, |_| false);
    assert_eq!(world.session(node).connection_count(), 8);
}
