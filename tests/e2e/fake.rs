//! A peer from a script: it listens, shakes hands, claims to have everything, and serves as its
//! [`Conduct`] has it, on threads of its own. It speaks plain BEP 3. Never here: a node.

use std::{
    collections::{BTreeSet, VecDeque},
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use shoal_core::{
    bitfield::Bitfield,
    ids::{InfoHash, PeerId, PieceIndex},
    wire::{
        BlockRange, Handshake, Message, MessageKind,
        handshake::HANDSHAKE_LEN,
        message::{self, PIECE_HEAD_LEN},
    },
};

/// How a fake serves.
#[derive(Clone, Copy, Debug)]
pub enum Conduct {
    /// Right and at once.
    Honest,
    /// At once, with a byte of every block wrong.
    Liar,
    /// Right, one block after each pause.
    Drip(Duration),
    /// Right, so many bytes a second.
    Paced(u32),
    /// Right and at once, but nothing before [`Fake::release`].
    Held,
    /// Closes the connection when it is asked for something.
    HangsUp,
    /// Closes the connection after the handshake, without another word.
    Leaves,
    /// Has everything and never unchokes.
    Chokes,
    /// Has the first chunk only.
    Poor,
}

/// What a fake shares.
pub struct Content {
    pub info_hash: InfoHash,
    pub chunk: u32,
    pub data: Vec<u8>,
}

/// A fake that listens until it is dropped.
pub struct Fake {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    content: Arc<Content>,
    conduct: Conduct,
    id: PeerId,
    ended: AtomicBool,
    released: AtomicBool,
    served: AtomicU64,
    asked: Mutex<BTreeSet<u32>>,
    connections: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// The requests of one connection.
#[derive(Default)]
struct Queue {
    asked: Mutex<(VecDeque<BlockRange>, bool)>,
    bell: Condvar,
}

impl Fake {
    /// A fake on a port of its own; `n` makes its id.
    pub fn start(n: u8, content: &Arc<Content>, conduct: Conduct) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut id = *b"-FK0001-000000000000";
        id[19] = n;
        let shared = Arc::new(Shared {
            content: Arc::clone(content),
            conduct,
            id: PeerId(id),
            ended: AtomicBool::new(false),
            released: AtomicBool::new(false),
            served: AtomicU64::new(0),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let accept = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept.accept(&listener));
        Self { addr, shared, accepting: Some(accepting) }
    }

    /// Payload bytes sent.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// The chunks of which it was asked for anything.
    pub fn asked(&self) -> BTreeSet<u32> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Connections that were made to it, ever.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Lets one that is [`Conduct::Held`] serve.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::Relaxed);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The listener wakes up and sees that it is over.
        let _ = TcpStream::connect(self.addr);
        let _ = self.accepting.take().unwrap().join();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            self.connections.fetch_add(1, Ordering::Relaxed);
            self.streams.lock().unwrap().push(stream.try_clone().unwrap());
            let shared = Arc::clone(self);
            // A connection that breaks is the node's good right.
            thread::spawn(move || drop(shared.converse(stream)));
        }
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut theirs = [0; HANDSHAKE_LEN];
        stream.read_exact(&mut theirs)?;
        let mut ours = Handshake::new(self.content.info_hash, self.id);
        ours.reserved = [0; 8];
        stream.write_all(&ours.encode())?;
        if matches!(self.conduct, Conduct::Leaves) {
            return stream.shutdown(Shutdown::Both);
        }
        let pieces = self.content.data.len().div_ceil(self.content.chunk as usize);
        let mut hello = Vec::new();
        message::encode(&Message::Bitfield(self.have(pieces).to_wire()), &mut hello);
        if !matches!(self.conduct, Conduct::Chokes) {
            message::encode(&Message::Unchoke, &mut hello);
        }
        stream.write_all(&hello)?;
        let queue = Queue::default();
        let out = stream.try_clone()?;
        thread::scope(|scope| {
            scope.spawn(|| drop(self.serve(out, &queue)));
            let heard = self.listen(stream, &queue);
            queue.asked.lock().unwrap().1 = true;
            queue.bell.notify_all();
            heard
        })
    }

    fn have(&self, pieces: usize) -> Bitfield {
        if matches!(self.conduct, Conduct::Poor) {
            let mut first = Bitfield::new(pieces);
            first.set(PieceIndex(0));
            return first;
        }
        Bitfield::full(pieces)
    }

    /// Serves what is asked until the other side is gone.
    fn serve(&self, mut out: TcpStream, queue: &Queue) -> io::Result<()> {
        let mut due = Instant::now();
        while let Some(range) = queue.next() {
            let pause = match self.conduct {
                Conduct::HangsUp => return out.shutdown(Shutdown::Both),
                Conduct::Held => {
                    while !self.released.load(Ordering::Relaxed) {
                        if !queue.pause_until(Instant::now() + Duration::from_millis(10)) {
                            return Ok(());
                        }
                    }
                    Duration::ZERO
                }
                Conduct::Honest
                | Conduct::Liar
                | Conduct::Leaves
                | Conduct::Chokes
                | Conduct::Poor => Duration::ZERO,
                Conduct::Drip(pause) => pause,
                Conduct::Paced(rate) => Duration::from_secs(1) * range.len / rate,
            };
            due = due.max(Instant::now()) + pause;
            if !queue.pause_until(due) {
                return Ok(());
            }
            let mut block = vec![0; PIECE_HEAD_LEN];
            let head = block.first_chunk_mut().unwrap();
            message::encode_piece_head(range.piece, range.offset, range.len, head);
            block.extend_from_slice(self.content.block(range));
            if matches!(self.conduct, Conduct::Liar) {
                block[PIECE_HEAD_LEN] ^= 0xff;
            }
            out.write_all(&block)?;
            self.served.fetch_add(range.len.into(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads messages, and keeps what is asked for, to the end of the stream.
    fn listen(&self, mut stream: TcpStream, queue: &Queue) -> io::Result<()> {
        loop {
            let mut len = [0; 4];
            stream.read_exact(&mut len)?;
            let mut body = vec![0; u32::from_be_bytes(len) as usize];
            stream.read_exact(&mut body)?;
            let Some((&id, body)) = body.split_first() else { continue };
            let said = MessageKind::from_id(id).map(|kind| message::decode_body(kind, body));
            let Some(Ok(said)) = said else { continue };
            let mut asked = queue.asked.lock().unwrap();
            match said {
                Message::Request(range) => {
                    self.asked.lock().unwrap().insert(range.piece.0);
                    asked.0.push_back(range);
                }
                Message::Cancel(range) => asked.0.retain(|other| *other != range),
                _ => {}
            }
            drop(asked);
            queue.bell.notify_all();
        }
    }
}

impl Queue {
    /// The next request; none once the other side is gone.
    fn next(&self) -> Option<BlockRange> {
        let mut asked = self.asked.lock().unwrap();
        loop {
            if asked.1 {
                return None;
            }
            match asked.0.pop_front() {
                Some(range) => return Some(range),
                None => asked = self.bell.wait(asked).unwrap(),
            }
        }
    }

    /// Waits; false once the other side is gone.
    fn pause_until(&self, due: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if asked.1 || left.is_zero() {
                return !asked.1;
            }
            asked = self.bell.wait_timeout(asked, left).unwrap().0;
        }
    }
}

impl Content {
    /// A torrent of one file, without a tracker, and its metainfo.
    pub fn new(name: &str, data: Vec<u8>, chunk: u32) -> (Arc<Self>, Vec<u8>) {
        let metainfo = crate::harness::metainfo(name, &data, chunk, &[]);
        let info_hash = crate::harness::info_hash(&metainfo);
        (Arc::new(Self { info_hash, chunk, data }), metainfo)
    }

    /// The bytes of a block.
    pub fn block(&self, range: BlockRange) -> &[u8] {
        let at = range.piece.0 as usize * self.chunk as usize + range.offset as usize;
        &self.data[at..at + range.len as usize]
    }
}
