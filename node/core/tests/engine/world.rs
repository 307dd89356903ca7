//! A small world around real sessions: virtual links, disks and a tracker, no payload, one seed.
//! What is proven here is the engine's conduct; the simulator proper is a crate of its own.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use shoal_core::{
    bitfield::Bitfield,
    config::{BLOCK_LEN, Config},
    ids::{CommandId, ConnId, InfoHash, JobId, LeaseId, PeerId, PieceIndex, TorrentId},
    magnet::{Magnet, metainfo_file},
    metainfo::{
        Metainfo,
        create::{Content, CreateOptions, NewFile, Pad, Plan},
    },
    policy::{Advice, Answer, Consultation, Judged, Report, Verdict},
    rng::Rng,
    session::{
        Action, Event, Identity, Lease, Serving, Session,
        command::{Command, CommandError, Done, Resume},
        event::{BlockDigest, INCOMING_BIT, LeaseEnd, MergeDone, Opened, PieceOutcome},
        fault::{CloseCause, Retry, WebSeedFault},
        notice::Notice,
    },
    time::Timestamp,
    torrent::selection::Selection,
    tracker::{
        announce::AnnounceRequest,
        registry::{Registry, RegistryConfig},
    },
    wire::{ExtendedHandshake, Extension, Message, MetadataMessage, Terms, extended::HANDSHAKE_ID},
};

/// Answers a consultation.
pub(crate) type Policy = Box<dyn FnMut(&Consultation) -> Vec<Verdict>>;

/// Answers what a policy is told.
pub(crate) type Advisor = Box<dyn FnMut(&Report) -> Option<Advice>>;

/// How a host behaves.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    /// Payload that it sends, bytes a second.
    pub(crate) upload_bps: u64,
    /// Every block it sends is wrong.
    pub(crate) corrupt: bool,
    /// It rejects every request, though it does not choke.
    pub(crate) rejects: bool,
    /// What it does about metadata.
    pub(crate) metadata: Giving,
}

/// How a host gives metadata.
#[derive(Clone, Copy)]
pub(crate) enum Giving {
    Honest,
    /// It does not speak of it.
    Silent,
    /// It claims another size.
    Size(u32),
    /// One byte of each piece is wrong.
    Wrong,
    /// It rejects every request.
    Rejects,
    /// It answers nothing.
    Stalls,
    /// It gives so many pieces, and is cut off.
    Vanishes(usize),
}

impl Default for Host {
    fn default() -> Self {
        Self { upload_bps: 10_000_000, corrupt: false, rejects: false, metadata: Giving::Honest }
    }
}

struct Node {
    session: Session,
    host: Host,
    addr: SocketAddr,
    alive: bool,
    torrent: Option<TorrentId>,
    notices: Vec<Notice>,
    replies: BTreeMap<CommandId, Result<Done, CommandError>>,
    links: BTreeMap<ConnId, Link>,
    /// Who sent each block of the pieces being fetched.
    blocks: BTreeMap<(PieceIndex, u32), (ConnId, bool)>,
}

/// One end of a connection.
struct Link {
    peer: usize,
    conn: ConnId,
    leases: BTreeMap<LeaseId, (Lease, u32)>,
    serving: bool,
    /// Its pump is at work.
    pumping: bool,
}

enum Happening {
    Fact(Event),
    /// The next block of a link arrives.
    Block(ConnId),
    /// What a link has outstanding is rejected.
    Rejections(ConnId),
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    nodes: Vec<Node>,
    queue: BinaryHeap<std::cmp::Reverse<(Timestamp, u64, usize)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    registry: Registry,
    pub(crate) metainfo: Arc<Metainfo>,
    pub(crate) tracker_down: bool,
    /// From the last byte of a piece until it is verified and written.
    pub(crate) verifying_takes: Duration,
    /// HTTP servers that have the torrent, by URL: nodes without a torrent, of which only the host
    /// matters.
    web_servers: BTreeMap<String, usize>,
    /// What else a web seed of this URL comes to.
    pub(crate) web_fault: WebSeedFault,
    /// What all connections agree on.
    pub(crate) terms: Terms,
    /// Sessions do not hear each other's extended handshakes: they are strangers to each other.
    pub(crate) foreign: bool,
    /// Every message that a session sent, by the index of its node.
    pub(crate) said: Vec<(usize, Message)>,
    /// When a session sent a message of peer exchange, by the indexes of its node and the peer.
    pub(crate) gossiped: Vec<(usize, usize, Timestamp)>,
    /// Every lease that a session granted, by the index of its node, with that of the peer.
    pub(crate) granted: Vec<(usize, usize, Lease)>,
    pub(crate) policy: Option<Policy>,
    pub(crate) advisor: Option<Advisor>,
    /// Every merge, by the index of its node: its files.
    pub(crate) merges: Vec<(usize, Vec<usize>)>,
    /// Every announce, by the index of its node.
    pub(crate) announced: Vec<(usize, AnnounceRequest)>,
    /// What policies were told.
    pub(crate) reports: Vec<Report>,
    pub(crate) trace: Vec<String>,
    /// How seeds and leechers are configured.
    pub(crate) config: Config,
    /// Every address that a session dialled, by the index of its node.
    pub(crate) dialled: Vec<(usize, SocketAddr)>,
    /// When a session announced its torrent on the local network, by the index of its node.
    pub(crate) announced_locally: Vec<(usize, Timestamp)>,
    /// Checks are left to the test.
    pub(crate) hold_checks: bool,
    /// Every check that was left to the test: its job and pieces.
    pub(crate) checks: Vec<(Option<JobId>, Vec<PieceIndex>)>,
    /// Every job whose work was to end.
    pub(crate) stopped: Vec<JobId>,
}

const LATENCY: Duration = Duration::from_micros(500);

/// A torrent of `len` bytes in one file.
pub(crate) fn metainfo(len: u64, piece_len: u32) -> Arc<Metainfo> {
    planned("file1.webm", Content::Single { len }, piece_len, Sources::default())
}

/// A torrent of files of these lengths, without padding between them.
pub(crate) fn folder(lens: &[u64], piece_len: u32) -> Arc<Metainfo> {
    let files = lens.iter().enumerate();
    let files = files.map(|(index, &len)| NewFile { path: vec![format!("{index}")], len });
    planned("release", Content::Multi(files.collect()), piece_len, Sources::default())
}

/// A torrent of one file with these trackers, private or not.
pub(crate) fn metainfo_at(
    len: u64,
    piece_len: u32,
    trackers: &[&str],
    private: bool,
) -> Arc<Metainfo> {
    let sources = Sources { trackers, private, ..Sources::default() };
    planned("file1.webm", Content::Single { len }, piece_len, sources)
}

/// A torrent of one file with web seeds.
pub(crate) fn with_web_seeds(len: u64, piece_len: u32, web_seeds: &[&str]) -> Arc<Metainfo> {
    let sources = Sources { web_seeds, ..Sources::default() };
    planned("file1.webm", Content::Single { len }, piece_len, sources)
}

/// Where a torrent says that its bytes are.
#[derive(Clone, Copy)]
struct Sources<'a> {
    trackers: &'a [&'a str],
    web_seeds: &'a [&'a str],
    private: bool,
}

impl Default for Sources<'_> {
    fn default() -> Self {
        Self { trackers: &["http://tracker/announce"], web_seeds: &[], private: false }
    }
}

fn planned(name: &str, content: Content, piece_len: u32, sources: Sources<'_>) -> Arc<Metainfo> {
    let owned = |url: &&str| (*url).to_owned();
    let plan = Plan::new(CreateOptions {
        name: name.to_owned(),
        content,
        piece_len: Some(piece_len),
        pad: Pad::Never,
        private: sources.private,
        trackers: sources.trackers.iter().map(|url| vec![owned(url)]).collect(),
        web_seeds: sources.web_seeds.iter().map(owned).collect(),
        comment: None,
        created_unix: None,
    });
    let plan = plan.unwrap();
    let hashes = vec![[7; 20]; plan.layout().piece_count() as usize];
    Arc::new(Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap())
}

impl World {
    pub(crate) fn new(metainfo: Arc<Metainfo>) -> Self {
        Self {
            now: Timestamp(1),
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            registry: Registry::new(RegistryConfig::default(), 1),
            metainfo,
            tracker_down: false,
            verifying_takes: Duration::from_millis(1),
            web_servers: BTreeMap::new(),
            web_fault: WebSeedFault { cause: "refused".to_owned(), retry: Retry::Later },
            terms: Terms { fast: true, extended: true },
            foreign: false,
            said: Vec::new(),
            gossiped: Vec::new(),
            granted: Vec::new(),
            policy: None,
            advisor: None,
            merges: Vec::new(),
            announced: Vec::new(),
            reports: Vec::new(),
            trace: Vec::new(),
            config: Config::default(),
            dialled: Vec::new(),
            announced_locally: Vec::new(),
            hold_checks: false,
            checks: Vec::new(),
            stopped: Vec::new(),
        }
    }

    /// A node that has `have` of the torrent.
    pub(crate) fn node(&mut self, host: Host, config: Config, have: Bitfield) -> usize {
        let index = self.bare(host, config);
        let opened = Opened { have, unverified: Vec::new(), downloaded: 0, uploaded: 0 };
        let metainfo = self.metainfo.clone();
        let (resume, selection) = (Resume::default(), Selection::default());
        let added = self.command(index, Command::Add { metainfo, opened, resume, selection });
        let Some(Ok(Done::Added(torrent))) = added else { panic!("not added: {added:?}") };
        self.nodes[index].torrent = Some(torrent);
        index
    }

    /// An HTTP server that is a web seed of this URL.
    pub(crate) fn web_server(&mut self, url: &str, host: Host) -> usize {
        let index = self.bare(host, Config::default());
        self.web_servers.insert(url.to_owned(), index);
        index
    }

    /// A node without a torrent.
    pub(crate) fn bare(&mut self, host: Host, config: Config) -> usize {
        let index = self.nodes.len();
        let number = index as u8 + 1;
        let addr = SocketAddr::from(([10, 0, 0, number], 7000));
        let mut peer_id = *b"-SH0100-000000000000";
        peer_id[19] = number;
        let identity = Identity {
            peer_id: PeerId(peer_id),
            listen_port: 7000,
            advertise: None,
            labels: Arc::default(),
        };
        let session = Session::new(config, identity, u64::from(number), self.now);
        self.nodes.push(Node {
            session,
            host,
            addr,
            alive: true,
            torrent: None,
            notices: Vec::new(),
            replies: BTreeMap::new(),
            links: BTreeMap::new(),
            blocks: BTreeMap::new(),
        });
        index
    }

    pub(crate) fn seed(&mut self, host: Host) -> usize {
        let have = Bitfield::full(self.metainfo.piece_count() as usize);
        let node = self.node(host, self.config.clone(), have);
        let torrent = self.torrent(node);
        self.command(node, Command::ConnectTracker(torrent));
        node
    }

    pub(crate) fn leech(&mut self, host: Host) -> (usize, JobId) {
        let none = Bitfield::new(self.metainfo.piece_count() as usize);
        let node = self.node(host, self.config.clone(), none);
        let job = self.download(node, false);
        (node, job)
    }

    pub(crate) fn download(&mut self, node: usize, available_only: bool) -> JobId {
        let torrent = self.torrent(node);
        let command = Command::AutoDownload { torrent, available_only, patient: true };
        let done = self.command(node, command);
        let Some(Ok(Done::Job { job, .. })) = done else { panic!("no job: {done:?}") };
        job
    }

    pub(crate) fn torrent(&self, node: usize) -> TorrentId {
        self.nodes[node].torrent.unwrap()
    }

    pub(crate) fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node].addr
    }

    pub(crate) fn session(&self, node: usize) -> &Session {
        &self.nodes[node].session
    }

    pub(crate) fn notices(&self, node: usize) -> &[Notice] {
        &self.nodes[node].notices
    }

    pub(crate) fn done(&self, node: usize, job: JobId) -> Option<Result<(), CommandError>> {
        let ended = self.session(node).job(job)?.ended?;
        Some(ended.1.map(|_| ()))
    }

    /// Issues a command; its reply, where it came at once.
    pub(crate) fn command(
        &mut self,
        node: usize,
        command: Command,
    ) -> Option<Result<Done, CommandError>> {
        let id = self.issue(node, command);
        self.reply(node, id)
    }

    pub(crate) fn issue(&mut self, node: usize, command: Command) -> CommandId {
        self.sequence += 1;
        let id = CommandId(self.sequence);
        self.fact(node, Event::CommandIssued { id, command });
        id
    }

    pub(crate) fn reply(&self, node: usize, id: CommandId) -> Option<Result<Done, CommandError>> {
        self.nodes[node].replies.get(&id).cloned()
    }

    /// Issues a command and lets time pass until it is answered.
    pub(crate) fn ask(&mut self, node: usize, command: Command) -> Result<Done, CommandError> {
        let id = self.issue(node, command);
        for _ in 0..100_000 {
            if let Some(reply) = self.reply(node, id) {
                return reply;
            }
            assert!(self.step(), "nothing happens, and command {id:?} is not answered");
        }
        panic!("command {id:?} is not answered");
    }

    /// Lets the world go on until `stop` says so, at most for `limit`.
    pub(crate) fn run(&mut self, limit: Duration, mut stop: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !stop(self) {
            if self.now > end || !self.step() {
                return false;
            }
        }
        true
    }

    /// Tells a node that somebody changed what it has.
    pub(crate) fn tamper(&mut self, node: usize, pieces: impl IntoIterator<Item = u32>) {
        let torrent = self.torrent(node);
        let pieces = pieces.into_iter().map(PieceIndex).collect();
        let cause = "file1.webm changed".to_owned();
        self.fact(node, Event::PiecesDoubtful { torrent, pieces, cause });
    }

    /// What a node sends, bytes a second, from now on.
    pub(crate) fn slow_down(&mut self, node: usize, upload_bps: u64) {
        self.nodes[node].host.upload_bps = upload_bps;
    }

    /// Ends a node as a cut cable would.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        let links = std::mem::take(&mut self.nodes[node].links);
        for link in links.into_values() {
            self.break_link(link.peer, link.conn, CloseCause::Remote);
        }
    }

    /// A node that has nothing but a magnet link, with these peers.
    pub(crate) fn seeker(&mut self, trackers: &[&str], peers: &[usize]) -> usize {
        let node = self.bare(Host::default(), Config::default());
        let magnet = Magnet {
            info_hash: self.metainfo.info_hash,
            name: None,
            trackers: trackers.iter().map(|url| vec![(*url).to_owned()]).collect(),
            peers: peers.iter().map(|&peer| self.addr(peer)).collect(),
        };
        let done = self.command(node, Command::AddMagnet(Box::new(magnet)));
        assert!(matches!(done, Some(Ok(Done::Seeking { already: false, .. }))), "{done:?}");
        node
    }

    /// What a node really says of what its session wants said about metadata; none where it says
    /// nothing.
    fn bend(&mut self, node: usize, message: Message) -> Option<Message> {
        let giving = self.nodes[node].host.metadata;
        let Message::Extended { id, payload } = &message else { return Some(message) };
        let id = *id;
        if id == HANDSHAKE_ID {
            let mut hello = ExtendedHandshake::decode(payload).unwrap();
            match giving {
                Giving::Silent => drop(hello.ids.remove(&Extension::Metadata)),
                Giving::Size(size) => hello.metadata_size = Some(size),
                _ => return Some(message),
            }
            return Some(Message::Extended { id, payload: hello.encode() });
        }
        let Ok(MetadataMessage::Data { piece, total_size, mut bytes }) =
            MetadataMessage::decode(payload)
        else {
            return Some(message);
        };
        let data = match giving {
            Giving::Stalls => return None,
            Giving::Rejects => MetadataMessage::Reject { piece },
            Giving::Wrong => {
                bytes[0] ^= 1;
                MetadataMessage::Data { piece, total_size, bytes }
            }
            Giving::Size(size) => MetadataMessage::Data { piece, total_size: Some(size), bytes },
            Giving::Vanishes(left) => {
                if left == 0 {
                    self.kill(node);
                    return None;
                }
                self.nodes[node].host.metadata = Giving::Vanishes(left - 1);
                return Some(message);
            }
            Giving::Honest | Giving::Silent => return Some(message),
        };
        Some(Message::Extended { id, payload: data.encode() })
    }

    /// What a session wants of a magnet link is here: its torrent is taken in.
    fn take_metadata(&mut self, node: usize, info_bytes: &[u8]) {
        let trackers = self.nodes[node].session.quests()[0].trackers.clone();
        let metainfo = Metainfo::parse(&metainfo_file(&trackers, info_bytes)).unwrap();
        let metainfo = Arc::new(metainfo);
        assert_eq!(metainfo.info_hash, self.metainfo.info_hash);
        let have = Bitfield::new(metainfo.piece_count() as usize);
        let opened = Opened { have, unverified: Vec::new(), downloaded: 0, uploaded: 0 };
        let (resume, selection) = (Resume::default(), Selection::default());
        let added = self.command(node, Command::Add { metainfo, opened, resume, selection });
        let Some(Ok(Done::Added(torrent))) = added else { panic!("not added: {added:?}") };
        self.nodes[node].torrent = Some(torrent);
    }

    fn step(&mut self) -> bool {
        let wake = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
        let wake = wake.map(|(index, node)| (node.session.next_deadline(), index)).min();
        let next = self.queue.peek().map(|next| next.0.0);
        match (next, wake) {
            (Some(at), wake) if wake.is_none_or(|(wake, _)| at <= wake) => {
                let Some(std::cmp::Reverse((at, id, node))) = self.queue.pop() else {
                    return false;
                };
                self.now = self.now.max(at);
                match self.happenings.remove(&id) {
                    Some(Happening::Fact(event)) => self.fact(node, event),
                    Some(Happening::Block(conn)) => self.block(node, conn),
                    Some(Happening::Rejections(conn)) => self.reject_all(node, conn),
                    None => {}
                }
            }
            (_, Some((wake, node))) if wake != Timestamp::NEVER => {
                self.now = self.now.max(wake);
                self.fact(node, Event::Wake);
            }
            _ => return false,
        }
        true
    }

    fn later(&mut self, after: Duration, node: usize, happening: Happening) {
        self.sequence += 1;
        self.queue.push(std::cmp::Reverse((self.now + after, self.sequence, node)));
        self.happenings.insert(self.sequence, happening);
    }

    pub(crate) fn fact(&mut self, node: usize, event: Event) {
        if !self.nodes[node].alive {
            return;
        }
        self.trace.push(format!("{} {node} {event:?}", self.now.0));
        let mut actions = Vec::new();
        self.nodes[node].session.handle(self.now, event, &mut actions);
        for action in actions {
            self.act(node, action);
        }
        self.nodes[node].session.check_invariants();
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Dial { conn, addr, .. } => {
                self.dialled.push((node, addr));
                self.dial(node, conn, addr);
            }
            Action::OpenWebSeed { conn, url, .. } => self.open_web_seed(node, conn, &url),
            Action::Accept { conn, .. } => {
                let Some(link) = self.nodes[node].links.get(&conn) else { return };
                let (peer, theirs) = (link.peer, link.conn);
                let peer_id = self.nodes[node].session.identity().peer_id;
                let event = Event::Dialled { conn: theirs, peer_id, terms: self.terms };
                self.later(LATENCY, peer, Happening::Fact(event));
            }
            Action::Send { conn, message } => self.send(node, conn, message),
            Action::Serve { conn, serving, .. } => self.serve(node, conn, serving),
            Action::Close { conn, cause } => self.close(node, conn, &cause),
            Action::GrantLease { conn, lease } => self.grant(node, conn, lease),
            Action::RevokeLease { conn, lease } => self.revoke(node, conn, lease),
            Action::VerifyAndWrite { piece, compare, .. } => self.verify(node, piece, compare),
            Action::DropPiece { piece, .. } => {
                self.nodes[node].blocks.retain(|(of, _), _| *of != piece);
            }
            Action::CheckPieces { pieces, job, .. } if self.hold_checks => {
                self.checks.push((job, pieces));
            }
            Action::CheckPieces { torrent, pieces, .. } => {
                for piece in pieces {
                    let event = Event::PieceChecked { torrent, piece, good: true };
                    self.later(LATENCY, node, Happening::Fact(event));
                }
            }
            Action::Merge { torrent, merge, files } => {
                self.merges.push((node, files));
                let result = Ok(MergeDone { paths: vec!["file1.webm".to_owned()], already: false });
                let event = Event::Merged { torrent, merge, result };
                self.later(LATENCY, node, Happening::Fact(event));
            }
            Action::Announce { announce, request, .. } => {
                self.announced.push((node, (*request).clone()));
                let source = self.nodes[node].addr.ip();
                let result = match self.tracker_down {
                    false => Ok(self.registry.announce(self.now, &request, source).unwrap()),
                    true => Err(shoal_core::session::event::AnnounceFailure::Unreachable {
                        cause: "connection refused".to_owned(),
                    }),
                };
                let event = Event::AnnounceFinished { announce, result };
                self.later(LATENCY, node, Happening::Fact(event));
            }
            Action::AnnounceLocally { info_hashes, port } => {
                self.announce_locally(node, &info_hashes, port);
            }
            Action::MetadataFound { info_bytes, .. } => self.take_metadata(node, &info_bytes),
            Action::Consult(question) => self.consult(node, &question),
            Action::Inform(report) => self.inform(node, *report),
            Action::Reply { command, result } => {
                let earlier = self.nodes[node].replies.insert(command, result);
                assert!(earlier.is_none(), "{command:?} was answered twice");
            }
            Action::Notify(notice) => self.nodes[node].notices.push(notice),
            Action::StopOutsideJob { job } => self.stopped.push(job),
        }
    }

    fn send(&mut self, node: usize, conn: ConnId, message: Message) {
        let allowed = message.kind().is_none_or(|kind| self.terms.allow(kind));
        assert!(allowed, "{message:?} under {:?}", self.terms);
        if let (Message::Extended { id, .. }, Some(link)) =
            (&message, self.nodes[node].links.get(&conn))
            && Extension::of_id(*id) == Some(Extension::Pex)
        {
            self.gossiped.push((node, link.peer, self.now));
        }
        self.said.push((node, message.clone()));
        if (!self.foreign || !matches!(message, Message::Extended { .. }))
            && let Some(message) = self.bend(node, message)
        {
            self.deliver(node, conn, message);
        }
    }

    fn close(&mut self, node: usize, conn: ConnId, cause: &CloseCause) {
        let Some(link) = self.nodes[node].links.get(&conn) else { return };
        let (peer, theirs) = (link.peer, link.conn);
        if *cause == CloseCause::Own && conn.0 & INCOMING_BIT != 0 {
            // Only our own answer tells our dial whom it reached.
            let peer_id = self.nodes[node].session.identity().peer_id;
            let event = Event::Dialled { conn: theirs, peer_id, terms: self.terms };
            return self.later(LATENCY, peer, Happening::Fact(event));
        }
        self.break_link(node, conn, CloseCause::Operator);
        self.break_link(peer, theirs, CloseCause::Remote);
    }

    fn serve(&mut self, node: usize, conn: ConnId, serving: Serving) {
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        let unchoked = serving == Serving::Unchoked;
        if std::mem::replace(&mut link.serving, unchoked) == unchoked {
            return;
        }
        let (peer, theirs) = (link.peer, link.conn);
        self.deliver(node, conn, if unchoked { Message::Unchoke } else { Message::Choke });
        if !unchoked && self.terms.fast {
            self.later(LATENCY, peer, Happening::Rejections(theirs));
        }
    }

    /// Everybody is on the same network.
    fn announce_locally(&mut self, node: usize, info_hashes: &[InfoHash], port: u16) {
        self.announced_locally.push((node, self.now));
        let addr = SocketAddr::new(self.nodes[node].addr.ip(), port);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let event = Event::HeardLocally { addr, info_hashes: info_hashes.to_vec() };
            self.later(LATENCY, other, Happening::Fact(event));
        }
    }

    fn consult(&mut self, node: usize, question: &Consultation) {
        let Some(policy) = &mut self.policy else { return };
        let judged = |verdict| Judged { verdict, spent_us: 1 };
        let verdicts = policy(question).into_iter().map(judged).collect();
        let answer = Answer { round: question.round, verdicts };
        self.later(LATENCY, node, Happening::Fact(Event::PolicyAnswered(answer)));
    }

    fn inform(&mut self, node: usize, report: Report) {
        let advice = self.advisor.as_mut().and_then(|advisor| advisor(&report));
        self.reports.push(report);
        if let Some(advice) = advice {
            self.later(LATENCY, node, Happening::Fact(Event::PolicyAdvised(advice)));
        }
    }

    fn open_web_seed(&mut self, node: usize, conn: ConnId, url: &str) {
        let server = self.web_servers.get(url).copied();
        let Some(peer) = server.filter(|&server| self.nodes[server].alive) else {
            let cause = CloseCause::WebSeed(self.web_fault.clone());
            return self.later(LATENCY, node, Happening::Fact(Event::Closed { conn, cause }));
        };
        let leases = BTreeMap::new();
        let link = Link { peer, conn, leases, serving: true, pumping: false };
        self.nodes[node].links.insert(conn, link);
        let addr = self.nodes[peer].addr;
        self.later(LATENCY, node, Happening::Fact(Event::WebSeedOpened { conn, addr }));
    }

    /// A web seed fails, as it does next time.
    pub(crate) fn fail_web_seed(&mut self, node: usize, server: usize) {
        let links = self.nodes[node].links.iter().filter(|(_, link)| link.peer == server);
        for conn in links.map(|(&conn, _)| conn).collect::<Vec<_>>() {
            self.break_link(node, conn, CloseCause::WebSeed(self.web_fault.clone()));
        }
    }

    fn dial(&mut self, node: usize, conn: ConnId, addr: SocketAddr) {
        let peer = self.nodes.iter().position(|peer| peer.addr == addr && peer.alive);
        let Some(peer) = peer else {
            let event = Event::DialFailed { conn, cause: "connection refused".to_owned() };
            return self.later(LATENCY, node, Happening::Fact(event));
        };
        self.sequence += 1;
        let theirs = ConnId(INCOMING_BIT | self.sequence);
        let link = |peer, conn| Link {
            peer,
            conn,
            leases: BTreeMap::new(),
            serving: false,
            pumping: false,
        };
        self.nodes[node].links.insert(conn, link(peer, theirs));
        self.nodes[peer].links.insert(theirs, link(node, conn));
        let addr = SocketAddr::new(self.nodes[node].addr.ip(), 40_000);
        let (info_hash, peer_id) =
            (self.metainfo.info_hash, self.nodes[node].session.identity().peer_id);
        let event = Event::Incoming { conn: theirs, addr, info_hash, peer_id, terms: self.terms };
        self.later(LATENCY, peer, Happening::Fact(event));
    }

    /// Has `node` say something to `to`, whatever its session thinks.
    pub(crate) fn say(&mut self, node: usize, to: usize, message: Message) {
        let mut links = self.nodes[node].links.iter();
        let conn = links.find(|(_, link)| link.peer == to).map(|(&conn, _)| conn);
        self.deliver(node, conn.unwrap(), message);
    }

    fn deliver(&mut self, node: usize, conn: ConnId, message: Message) {
        let Some(link) = self.nodes[node].links.get(&conn) else { return };
        let (peer, theirs) = (link.peer, link.conn);
        let event = Event::MessageReceived { conn: theirs, message };
        self.later(LATENCY, peer, Happening::Fact(event));
    }

    fn break_link(&mut self, node: usize, conn: ConnId, cause: CloseCause) {
        let Some(link) = self.nodes[node].links.remove(&conn) else { return };
        for (lease, (_, filled)) in link.leases {
            let event = Event::LeaseEnded { conn, lease, filled, end: LeaseEnd::Closing };
            self.later(Duration::ZERO, node, Happening::Fact(event));
        }
        self.later(Duration::ZERO, node, Happening::Fact(Event::Closed { conn, cause }));
    }

    fn grant(&mut self, node: usize, conn: ConnId, lease: Lease) {
        let Some(link) = self.nodes[node].links.get(&conn) else {
            let (lease, end) = (lease.id, LeaseEnd::Closing);
            let event = Event::LeaseEnded { conn, lease, filled: 0, end };
            return self.later(Duration::ZERO, node, Happening::Fact(event));
        };
        let (peer, theirs) = (link.peer, link.conn);
        self.granted.push((node, peer, lease.clone()));
        let serving = self.nodes[peer].links.get(&theirs).is_none_or(|link| link.serving);
        if self.terms.fast && (self.nodes[peer].host.rejects || !serving) {
            let (lease, end) = (lease.id, LeaseEnd::Rejected);
            let event = Event::LeaseEnded { conn, lease, filled: 0, end };
            return self.later(2 * LATENCY, node, Happening::Fact(event));
        }
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        link.leases.insert(lease.id, (lease, 0));
        if !std::mem::replace(&mut link.pumping, true) {
            self.pump(node, conn);
        }
    }

    /// Lets the next block of a link arrive when its sender's rate allows.
    fn pump(&mut self, node: usize, conn: ConnId) {
        let Some(link) = self.nodes[node].links.get(&conn) else { return };
        // A host's uplink is shared by the links that use it.
        let peer = link.peer;
        let links = self.nodes.iter().flat_map(|node| node.links.values());
        let sharing = links.filter(|link| link.peer == peer && !link.leases.is_empty()).count();
        let bps = self.nodes[peer].host.upload_bps / (sharing as u64).max(1);
        let micros = u64::from(BLOCK_LEN) * 1_000_000 / bps.max(1);
        self.later(Duration::from_micros(micros), node, Happening::Block(conn));
    }

    fn block(&mut self, node: usize, conn: ConnId) {
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        let peer = link.peer;
        let Some((&id, (lease, filled))) = link.leases.iter_mut().next() else {
            link.pumping = false;
            return;
        };
        let block = (lease.offset + *filled) / BLOCK_LEN;
        let len = BLOCK_LEN.min(lease.len - *filled);
        *filled += len;
        let (piece, complete, theirs) = (lease.piece, *filled == lease.len, link.conn);
        if complete {
            link.leases.remove(&id);
        }
        let corrupt = self.nodes[peer].host.corrupt;
        self.nodes[node].blocks.insert((piece, block), (conn, corrupt));
        let event = match complete {
            true => Event::ExtentReceived { conn, lease: id },
            false => Event::LeaseProgress { conn, lease: id, bytes: len, latency_us: 1000 },
        };
        self.fact(peer, Event::Uploaded { conn: theirs, bytes: u64::from(len) });
        self.fact(node, event);
        self.pump(node, conn);
    }

    /// Reports of every lease that its peer has sent bytes which are left unread.
    pub(crate) fn vouch(&mut self, node: usize) {
        let links = self.nodes[node].links.iter();
        let leases = links.flat_map(|(&conn, link)| link.leases.keys().map(move |&id| (conn, id)));
        for (conn, lease) in leases.collect::<Vec<_>>() {
            self.fact(node, Event::LeaseProgress { conn, lease, bytes: 0, latency_us: 0 });
        }
    }

    /// The peer of a link answers nothing more.
    fn reject_all(&mut self, node: usize, conn: ConnId) {
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        for (lease, (_, filled)) in std::mem::take(&mut link.leases) {
            let event = Event::LeaseEnded { conn, lease, filled, end: LeaseEnd::Rejected };
            self.later(Duration::ZERO, node, Happening::Fact(event));
        }
    }

    fn revoke(&mut self, node: usize, conn: ConnId, lease: LeaseId) {
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        if let Some((_, filled)) = link.leases.remove(&lease) {
            let event = Event::LeaseEnded { conn, lease, filled, end: LeaseEnd::Revoked };
            self.later(Duration::ZERO, node, Happening::Fact(event));
        }
    }

    fn verify(&mut self, node: usize, piece: PieceIndex, compare: bool) {
        let torrent = self.torrent(node);
        let mut blocks = Vec::new();
        let mut good = true;
        let sent = self.nodes[node].blocks.iter().filter(|((of, _), _)| *of == piece);
        for (&(_, block), &(from, corrupt)) in sent {
            good &= !corrupt;
            let digest = [if corrupt { 66 } else { block as u8 }; 20];
            blocks.push(BlockDigest { block, from: Some(from), digest });
        }
        self.nodes[node].blocks.retain(|(of, _), _| *of != piece);
        let outcome = match good {
            false => PieceOutcome::Mismatch { blocks },
            true if compare => PieceOutcome::Written { blocks },
            true => PieceOutcome::Written { blocks: Vec::new() },
        };
        let event = Event::PieceVerified { torrent, piece, outcome };
        self.later(self.verifying_takes, node, Happening::Fact(event));
    }
}

/// Verdicts at random, most of them nonsense.
pub(crate) fn nonsense(seed: u64) -> Policy {
    let mut rng = Rng::new(seed);
    Box::new(move |question| {
        let verdict = |rng: &mut Rng| match rng.below(6) {
            0 => Verdict::Abstained,
            1 => Verdict::Failed,
            2 => Verdict::Deferred { ms: 10 },
            3 => Verdict::Chosen { conn: ConnId(rng.u64()), reason: None },
            4 => Verdict::Bypassed,
            _ => {
                let peer = rng.below(question.peers.len());
                Verdict::Chosen { conn: question.peers[peer].conn, reason: None }
            }
        };
        let count = rng.below(question.chunks.len() + 3);
        (0..count).map(|_| verdict(&mut rng)).collect()
    })
}

/// The indexes of a set.
pub(crate) fn bits(len: usize, ones: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut field = Bitfield::new(len);
    for one in ones.into_iter().collect::<BTreeSet<_>>() {
        field.set(PieceIndex(one));
    }
    field
}
