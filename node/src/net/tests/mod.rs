//! Two parties over loopback: whole connections with a scripted session at one end and another, or
//! a scripted peer, at the other. Here the fixture; the behaviour is in its folder's files.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one event among others")]

mod fast;
mod foreign;
mod limits;
mod transfer;

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use shoal_core::{
    config::{BLOCK_LEN, Config},
    ids::{ConnId, InfoHash, LeaseId, PeerId, PieceIndex, TorrentId},
    metainfo::{Content, CreateOptions, Metainfo, NewFile, Pad, Plan},
    session::{Event, Lease, Serving, event::LeaseEnd, fault::CloseCause},
    wire::{Handshake, Message, message},
};
use tokio::sync::mpsc;

use super::{
    BlockSource, BufferPool, Content as Shared, ExtentBuffer, HaveMap, Net, NetConfig, NetEvent,
    NetLimits, Rates, Source, SourceError, Swarm,
};
use crate::clock::Clock;

const TORRENT: TorrentId = TorrentId(7);
/// Reserved bytes of a peer that speaks the extension protocol.
const PLAIN: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0];
/// Those of one that speaks the fast extension too.
const FAST: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 4];
const PIECE_LEN: u32 = 64 * 1024;
/// Nothing in a test takes as long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that differ from place to place, from piece to piece.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// One file of `len` bytes that are served from a temporary file.
struct Data {
    metainfo: Arc<Metainfo>,
    bytes: Vec<u8>,
    file: Arc<File>,
    /// What the source answers, where it is not to answer with the file.
    refusal: Mutex<Option<SourceError>>,
}

impl Data {
    fn single(len: usize) -> Arc<Self> {
        Self::of(Content::Single { len: len as u64 }, content(len))
    }

    /// Two files, the first of which is followed by padding to the next piece.
    fn padded(first: usize, second: usize) -> Arc<Self> {
        let file =
            |name: &str, len: usize| NewFile { path: vec![name.to_owned()], len: len as u64 };
        let mut bytes = content(first);
        bytes.resize(first.next_multiple_of(PIECE_LEN as usize), 0);
        bytes.extend(content(second));
        Self::of(Content::Multi(vec![file("a", first), file("b", second)]), bytes)
    }

    fn of(content: Content, bytes: Vec<u8>) -> Arc<Self> {
        Self::cut(content, bytes, PIECE_LEN)
    }

    /// One file in pieces of `piece_len` bytes.
    fn of_pieces(len: usize, piece_len: u32) -> Arc<Self> {
        Self::cut(Content::Single { len: len as u64 }, content(len), piece_len)
    }

    fn cut(content: Content, bytes: Vec<u8>, piece_len: u32) -> Arc<Self> {
        let plan = Plan::new(CreateOptions {
            name: "data".to_owned(),
            content,
            piece_len: Some(piece_len),
            pad: Pad::Always,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        });
        let plan = plan.unwrap();
        let hashes = vec![[0; 20]; plan.layout().piece_count() as usize];
        let metainfo = Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap();
        assert_eq!(metainfo.total_len(), bytes.len() as u64);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let (metainfo, file) = (Arc::new(metainfo), Arc::new(file));
        Arc::new(Self { metainfo, bytes, file, refusal: Mutex::new(None) })
    }

    fn piece(&self, piece: u32) -> &[u8] {
        let layout = self.metainfo.layout();
        let start = layout.piece_offset(PieceIndex(piece)) as usize;
        &self.bytes[start..start + layout.piece_size(PieceIndex(piece)) as usize]
    }

    /// The torrent for one party, which serves `served`.
    fn swarm(self: &Arc<Self>, served: impl IntoIterator<Item = u32>) -> Arc<Swarm> {
        let map = HaveMap::new(self.metainfo.piece_count());
        served.into_iter().for_each(|piece| map.set(PieceIndex(piece)));
        Arc::new(Swarm {
            torrent: TORRENT,
            info_hash: self.metainfo.info_hash,
            content: Some(Shared {
                metainfo: Arc::clone(&self.metainfo),
                served: Arc::new(map),
                source: Arc::clone(self) as Arc<dyn BlockSource>,
            }),
            limits: Arc::default(),
        })
    }
}

/// The pieces that a party serves.
fn served(swarm: &Swarm) -> &HaveMap {
    &swarm.content.as_ref().unwrap().served
}

impl BlockSource for Data {
    fn source(&self, piece: PieceIndex, offset: u32, len: u32) -> Result<Vec<Source>, SourceError> {
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        let layout = self.metainfo.layout();
        // The file holds the padding too; its bytes must not be asked for.
        let mut at = layout.piece_offset(piece) + u64::from(offset);
        let slices = layout.slices(piece, offset, len).map(|slice| {
            let (offset, len) = (at, slice.len as u32);
            at += slice.len;
            match slice.pad {
                true => Source::Zeros(len),
                false => Source::File { file: Arc::clone(&self.file), offset, len },
            }
        });
        Ok(slices.collect())
    }
}

/// A node's peer sockets, and the test as its session.
struct Party {
    net: Net,
    inbox: mpsc::Receiver<NetEvent>,
    seen: VecDeque<NetEvent>,
    pool: BufferPool,
    leases: u64,
}

impl Party {
    fn start(id: u8) -> Self {
        Self::limited(id, |_| {})
    }

    fn limited(id: u8, change: impl FnOnce(&mut NetLimits)) -> Self {
        let (sender, inbox) = mpsc::channel(16);
        let mut limits = NetLimits::of(&Config::default());
        change(&mut limits);
        let listen = "127.0.0.1:0".parse().unwrap();
        let (peer_id, rates, clock) = (PeerId([id; 20]), Rates::default(), Clock::start());
        let config = NetConfig { listen, peer_id, limits, rates, clock };
        let net = Net::start(config, sender).unwrap();
        let pool = BufferPool::new(1 << 26);
        Self { net, inbox, seen: VecDeque::new(), pool, leases: 0 }
    }

    /// The next event for which `pick` has an answer; the others are thrown away.
    async fn until<T>(&mut self, mut pick: impl FnMut(&NetEvent) -> Option<T>) -> (T, NetEvent) {
        loop {
            let event = self.next().await;
            if let Some(found) = pick(&event) {
                return (found, event);
            }
        }
    }

    async fn next(&mut self) -> NetEvent {
        if let Some(event) = self.seen.pop_front() {
            return event;
        }
        let received = tokio::time::timeout(PATIENCE, self.inbox.recv()).await;
        received.expect("an event in time").expect("a room that lives")
    }

    async fn incoming(&mut self) -> (ConnId, InfoHash, PeerId) {
        let pick = |event: &NetEvent| match *event {
            NetEvent::Core(Event::Incoming { conn, info_hash, peer_id, .. }) => {
                Some((conn, info_hash, peer_id))
            }
            _ => None,
        };
        self.until(pick).await.0
    }

    async fn dialled(&mut self) -> (ConnId, PeerId) {
        let pick = |event: &NetEvent| match *event {
            NetEvent::Core(Event::Dialled { conn, peer_id, .. }) => Some((conn, peer_id)),
            _ => None,
        };
        self.until(pick).await.0
    }

    async fn closed(&mut self) -> CloseCause {
        let pick = |event: &NetEvent| match event {
            NetEvent::Core(Event::Closed { cause, .. }) => Some(cause.clone()),
            _ => None,
        };
        self.until(pick).await.0
    }

    async fn dial_failed(&mut self) -> String {
        let pick = |event: &NetEvent| match event {
            NetEvent::Core(Event::DialFailed { cause, .. }) => Some(cause.clone()),
            _ => None,
        };
        self.until(pick).await.0
    }

    async fn message(&mut self, wanted: &Message) {
        let pick = |event: &NetEvent| match event {
            NetEvent::Core(Event::MessageReceived { message, .. }) => {
                (message == wanted).then_some(())
            }
            _ => None,
        };
        self.until(pick).await;
    }

    /// Adds up what is wasted until it is `bytes`.
    async fn wasted(&mut self, bytes: u64) {
        let mut total = 0;
        while total < bytes {
            let pick = |event: &NetEvent| match *event {
                NetEvent::Core(Event::Wasted { bytes, .. }) => Some(bytes),
                _ => None,
            };
            total += self.until(pick).await.0;
        }
        assert_eq!(total, bytes);
    }

    /// A lease of the whole piece, with padding filled in.
    fn grant(&mut self, conn: ConnId, swarm: &Swarm, piece: u32, request_len: u32) -> LeaseId {
        self.grant_at_most(conn, swarm, piece, request_len, 250)
    }

    fn grant_at_most(
        &mut self,
        conn: ConnId,
        swarm: &Swarm,
        piece: u32,
        request_len: u32,
        requests_max: u32,
    ) -> LeaseId {
        let layout = swarm.content.as_ref().unwrap().metainfo.layout();
        let mut buffer = self.pool.take(layout.piece_size(PieceIndex(piece)));
        buffer.fill_padding(0, &layout.pad_ranges(PieceIndex(piece)));
        let lease = Lease { requests_max, ..self.lease(swarm, piece, request_len) };
        let id = lease.id;
        self.seen.extend(self.net.grant(lease, conn, buffer));
        id
    }

    fn grant_buffer(
        &mut self,
        conn: ConnId,
        swarm: &Swarm,
        piece: u32,
        request_len: u32,
        buffer: ExtentBuffer,
    ) {
        let lease = self.lease(swarm, piece, request_len);
        self.seen.extend(self.net.grant(lease, conn, buffer));
    }

    fn lease(&mut self, swarm: &Swarm, piece: u32, request_len: u32) -> Lease {
        self.leases += 1;
        Lease {
            id: LeaseId(self.leases),
            torrent: swarm.torrent,
            piece: PieceIndex(piece),
            extent: 0,
            offset: 0,
            len: swarm.content.as_ref().unwrap().metainfo.layout().piece_size(PieceIndex(piece)),
            request_len,
            requests_max: 250,
            duplicate: false,
        }
    }

    /// The bytes of a lease, once all are there.
    async fn received(&mut self, wanted: LeaseId) -> Vec<u8> {
        let pick = |event: &NetEvent| match event {
            NetEvent::ExtentReceived { lease, .. } => (*lease == wanted).then_some(()),
            NetEvent::LeaseEnded { lease, .. } if *lease == wanted => panic!("{event:?}"),
            _ => None,
        };
        let (_, event) = self.until(pick).await;
        let buffer = buffer_of(event);
        let bytes = buffer.bytes().to_vec();
        self.pool.put(buffer);
        bytes
    }

    /// How much of a lease was filled when it ended.
    async fn ended(&mut self, wanted: LeaseId) -> u32 {
        self.ended_by(wanted).await.0
    }

    /// The same, where the peer rejected it.
    async fn rejected(&mut self, wanted: LeaseId) -> u32 {
        let (filled, end) = self.ended_by(wanted).await;
        assert_eq!(end, LeaseEnd::Rejected);
        filled
    }

    async fn ended_by(&mut self, wanted: LeaseId) -> (u32, LeaseEnd) {
        let pick = |event: &NetEvent| match event {
            NetEvent::LeaseEnded { lease, buffer, end, .. } if *lease == wanted => {
                Some((buffer.filled_bytes(), *end))
            }
            _ => None,
        };
        self.until(pick).await.0
    }
}

/// The buffer that came with an event.
fn buffer_of(event: NetEvent) -> ExtentBuffer {
    match event {
        NetEvent::ExtentReceived { buffer, .. } | NetEvent::LeaseEnded { buffer, .. } => buffer,
        other => panic!("{other:?}"),
    }
}

/// A seeder and a leecher, connected, the leecher unchoked.
async fn pair(data: &Arc<Data>) -> (Party, ConnId, Arc<Swarm>, Party, ConnId, Arc<Swarm>) {
    let (mut seeder, mut leecher) = (Party::start(1), Party::start(2));
    let (full, empty) = (data.swarm(0..data.metainfo.piece_count()), data.swarm([]));
    leecher.net.dial(ConnId(5), Arc::clone(&empty), seeder.net.local_addr());
    let (up, info_hash, peer_id) = seeder.incoming().await;
    assert_eq!((info_hash, peer_id), (data.metainfo.info_hash, PeerId([2; 20])));
    seeder.net.accept(up, Arc::clone(&full));
    seeder.net.serve(up, Serving::Unchoked, 1 << 20);
    assert_eq!(leecher.dialled().await, (ConnId(5), PeerId([1; 20])));
    leecher.message(&Message::Unchoke).await;
    (seeder, up, full, leecher, ConnId(5), empty)
}

/// The other end of a connection, byte by byte. Blocking: used where the node is on other threads.
struct Script {
    stream: TcpStream,
}

impl Script {
    /// Dials a node and shakes hands, as far as the node is to answer.
    fn dial(addr: SocketAddr, info_hash: InfoHash) -> Self {
        Self::dial_with(addr, info_hash, PLAIN)
    }

    /// As one that offers this.
    fn dial_with(addr: SocketAddr, info_hash: InfoHash, reserved: [u8; 8]) -> Self {
        let mut script = Self::connect(addr);
        let handshake = Handshake { reserved, ..Handshake::new(info_hash, PeerId([9; 20])) };
        script.bytes(&handshake.encode());
        script
    }

    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // The node may have closed already: what it says of us is what is judged.
        let _ = self.stream.write_all(bytes);
    }

    fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message::encode(message, &mut bytes);
        self.bytes(&bytes);
    }

    fn piece(&mut self, piece: u32, offset: u32, payload: &[u8]) {
        let mut head = [0; 13];
        let len = payload.len() as u32;
        message::encode_piece_head(PieceIndex(piece), offset, len, &mut head);
        self.bytes(&[&head, payload].concat());
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next message: its id and its body.
    fn hear(&mut self) -> (u8, Vec<u8>) {
        loop {
            let prefix = self.read(4);
            let len = u32::from_be_bytes(prefix.try_into().unwrap()) as usize;
            if len > 0 {
                let mut message = self.read(len);
                let body = message.split_off(1);
                return (message[0], body);
            }
        }
    }

    /// Whether the node closed the connection, however it did.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// A node and a scripted peer of it, connected.
async fn scripted(data: &Arc<Data>, party: &mut Party, swarm: &Arc<Swarm>) -> (Script, ConnId) {
    scripted_with(data, party, swarm, PLAIN).await
}

/// The same, of a peer that offers this.
async fn scripted_with(
    data: &Arc<Data>,
    party: &mut Party,
    swarm: &Arc<Swarm>,
    reserved: [u8; 8],
) -> (Script, ConnId) {
    let addr = party.net.local_addr();
    let mut script = Script::dial_with(addr, data.metainfo.info_hash, reserved);
    let (conn, ..) = party.incoming().await;
    party.net.accept(conn, Arc::clone(swarm));
    let theirs = Handshake::decode(&script.read(68).try_into().unwrap()).unwrap();
    assert_eq!(theirs.info_hash, data.metainfo.info_hash);
    (script, conn)
}

/// The first block of a piece.
fn block(data: &Data, piece: u32, block: u32) -> &[u8] {
    let start = (block * BLOCK_LEN) as usize;
    let bytes = &data.piece(piece)[start..];
    &bytes[..bytes.len().min(BLOCK_LEN as usize)]
}
