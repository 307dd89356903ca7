//! One connection after its handshake: the task that owns its socket. It turns what arrives into
//! reports, and the session's wishes into bytes. Never here: a decision.
//!
//! The task waits for everything at once (its commands, the socket, a disk, the inbox of the
//! session, the clock) and for nothing by itself, so that neither side can hold the other. Payload
//! goes from the socket into the memory of its lease; the head of the next message comes with it.

use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use rustix::net::RecvFlags;
use shoal_core::{
    bitfield::Bitfield,
    ids::{ConnId, LeaseId, PieceIndex},
    session::{Lease, Serving, fault::CloseCause},
    wire::{
        FrameLimits, InvalidMessage, Message, Next, PeerFault, Terms, frame,
        message::PIECE_HEAD_LEN,
    },
};
use tokio::{io::Interest, net::TcpStream, sync::mpsc, time::Sleep};

use super::{
    NetLimits,
    buffer::ExtentBuffer,
    event::{NetEvent, Outbox, Room},
    leases::{Arriving, Leases},
    meter::NetMeter,
    rate_limit::Pace,
    swarm::{Content, Swarm},
    upload::{Turn, Upload},
};

/// A wish of the session.
#[derive(Debug)]
pub(super) enum Command {
    Accept(Arc<Swarm>),
    Send(Message),
    Serve(Serving, u32),
    Close(CloseCause),
    Grant(Lease, ExtentBuffer),
    Revoke(LeaseId),
}

/// Wishes on their way to a connection. Unbounded, for the session must never wait; bounded in
/// fact, for the task takes all of them at every turn and closes a peer that leaves more than 4 MiB
/// of messages unread, and leases are bounded by the budget of buffers.
pub(super) type Commands = mpsc::UnboundedReceiver<Command>;

/// The state of a connection's task.
pub(super) struct Connection {
    stream: TcpStream,
    swarm: Arc<Swarm>,
    terms: Terms,
    limits: NetLimits,
    commands: Commands,
    inbox: mpsc::Sender<NetEvent>,
    outbox: Outbox,
    leases: Leases,
    upload: Upload,
    /// How fast payload may be read.
    pace: Pace,
    head: HeadBuffer,
    arriving: Option<Arriving>,
    heard_at: Instant,
    /// When we last said of a peer whose bytes we leave unread that it has sent some.
    vouched_at: Instant,
    spoke_at: Instant,
    meter: NetMeter,
    /// Bytes read in this turn: all, and those of payload.
    got: (usize, usize),
}

/// Received bytes that are no payload: heads of `piece` messages and all other messages.
#[derive(Debug)]
struct HeadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// What woke the task.
#[derive(Default)]
struct Woken {
    command: Option<Command>,
    orphaned: bool,
}

/// The room for messages, bytes; it grows for one that is longer.
const HEAD_LEN: usize = 4096;
/// What is read at once where a `piece` message is expected: payload among it is copied.
const HEAD_READ_LEN: usize = 512;
/// What a connection reads in a turn before it sends, bytes.
const TURN_BYTES: usize = 1024 * 1024;

impl Connection {
    /// A connection whose handshake from the peer was read and fits, and led to `terms`; `hello`
    /// goes out first.
    pub(super) fn new(
        (conn, terms): (ConnId, Terms),
        (stream, commands): (TcpStream, Commands),
        swarm: Arc<Swarm>,
        (limits, [up, down], meter): (NetLimits, [Pace; 2], NetMeter),
        inbox: mpsc::Sender<NetEvent>,
        hello: &[u8],
    ) -> Self {
        let now = Instant::now();
        let upload = Upload::new(limits.requests_served_max, up, terms, hello);
        Self {
            stream,
            swarm,
            terms,
            limits,
            commands,
            inbox,
            outbox: Outbox::new(conn, now),
            leases: Leases::new(conn, terms.fast),
            upload,
            pace: down,
            head: HeadBuffer { bytes: vec![0; HEAD_LEN], start: 0, end: 0 },
            arriving: None,
            heard_at: now,
            vouched_at: now,
            spoke_at: now,
            meter,
            got: (0, 0),
        }
    }

    /// Runs until the connection ends. Every lease is back in the outbox then, or on its way to the
    /// session; `Closed` is not.
    pub(super) async fn run(mut self) -> (CloseCause, Outbox, Commands) {
        let cause = self.turns().await;
        self.leases.end_all(&mut self.outbox);
        self.outbox.tally_all(Instant::now());
        (cause, self.outbox, self.commands)
    }

    async fn turns(&mut self) -> CloseCause {
        let mut clock = std::pin::pin!(tokio::time::sleep_until(self.deadline().into()));
        let mut inbox = Room::new(self.inbox.clone());
        loop {
            let now = Instant::now();
            let turn = match self.turn(now) {
                Ok(turn) => turn,
                Err(cause) => return cause,
            };
            if !self.outbox.flush(&mut inbox) {
                return CloseCause::Shutdown;
            }
            if turn == Turn::More {
                tokio::task::yield_now().await;
            }
            let deadline = self.deadline().into();
            if deadline < clock.deadline() || clock.is_elapsed() {
                clock.as_mut().reset(deadline);
            }
            let woken = poll_fn(|cx| self.poll_wake(cx, turn, clock.as_mut(), &mut inbox)).await;
            if woken.orphaned {
                return CloseCause::Shutdown;
            }
            if let Some(cause) = woken.command.and_then(|command| self.obey(command)) {
                return cause;
            }
        }
    }

    /// Commands, then what arrived, then what is to be sent, then the clocks.
    fn turn(&mut self, now: Instant) -> Result<Turn, CloseCause> {
        while let Ok(command) = self.commands.try_recv() {
            if let Some(cause) = self.obey(command) {
                return Err(cause);
            }
        }
        let read = self.read(now)?;
        if self.pace.waits() {
            self.vouch(now);
        }
        self.leases.ask(now, &mut self.upload.voice());
        if now.saturating_duration_since(self.heard_at) >= self.limits.idle_timeout {
            return Err(CloseCause::Idle);
        }
        if now.saturating_duration_since(self.spoke_at) >= self.limits.keep_alive_after {
            self.upload.voice().say(&Message::KeepAlive);
            self.spoke_at = now;
        }
        let mut sent = 0;
        let before = self.outbox.unreported_uploads();
        let turn = self.upload.turn(&self.stream, &self.swarm, now, &mut self.outbox, &mut sent)?;
        let payload = self.outbox.unreported_uploads() - before;
        self.meter.sent.add(sent, payload as usize);
        if sent > 0 {
            self.spoke_at = now;
        }
        self.leases.tally(now, &mut self.outbox);
        self.outbox.tally(now);
        Ok(match read {
            Turn::More => Turn::More,
            Turn::Idle | Turn::Blocked | Turn::Paced => turn,
        })
    }

    fn obey(&mut self, command: Command) -> Option<CloseCause> {
        match command {
            // Accepted long ago.
            Command::Accept(_) => {}
            Command::Send(message) => self.upload.voice().say(&message),
            Command::Serve(serving, len_max) => self.upload.serve(serving, len_max),
            Command::Close(cause) => return Some(cause),
            Command::Grant(lease, buffer) => {
                self.leases.grant(lease, buffer, Instant::now(), &mut self.outbox);
            }
            Command::Revoke(lease) => {
                self.leases.revoke(lease, &mut self.upload.voice(), &mut self.outbox);
            }
        }
        None
    }

    /// Reads until the socket has no more, the session is too far behind, a rate limit makes it
    /// wait, or the turn is over.
    fn read(&mut self, now: Instant) -> Result<Turn, CloseCause> {
        let turn = self.read_all(now);
        let (all, payload) = std::mem::take(&mut self.got);
        self.meter.received.add(all, payload);
        let turn = turn?;
        if turn != Turn::Paced && self.pace.waits() {
            self.pace.leave();
        }
        Ok(turn)
    }

    fn read_all(&mut self, now: Instant) -> Result<Turn, CloseCause> {
        let mut left = TURN_BYTES;
        while !self.outbox.is_full() {
            let most = match self.may_read(now) {
                Ok(most) => most,
                Err(turn) => return Ok(turn),
            };
            let read = self.read_once(most, now);
            self.pace.used(*read.as_ref().unwrap_or(&0));
            let got = match read {
                Ok(0) => return Err(CloseCause::Remote),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Turn::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CloseCause::Io(error.to_string())),
            };
            self.got.0 += got;
            (self.heard_at, self.vouched_at) = (now, now);
            self.parse(now).map_err(CloseCause::Fault)?;
            left = left.saturating_sub(got);
            if left == 0 {
                return Ok(Turn::More);
            }
        }
        Ok(Turn::Blocked)
    }

    /// How many bytes may be read now, or how the turn ends without. Only payload waits: what a
    /// peer says besides is counted.
    fn may_read(&mut self, now: Instant) -> Result<usize, Turn> {
        let expects_payload = self.arriving.is_some() || self.leases.is_waiting();
        if !expects_payload || !self.pace.is_limited() {
            return Ok(usize::MAX);
        }
        // A peer that sends nothing is silent, and does not wait for us.
        let peeked = self.stream.try_io(Interest::READABLE, || {
            let peeked = rustix::net::recv(self.stream.as_fd(), &mut [0], RecvFlags::PEEK);
            Ok(peeked.map(drop)?)
        });
        if peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return Err(Turn::Blocked);
        }
        self.pace.ask(u32::MAX, now).map(|most| most as usize).ok_or(Turn::Paced)
    }

    /// One read of about `most` bytes: into the memory of the arriving block and the head buffer
    /// behind it, or into the head buffer alone.
    fn read_once(&mut self, most: usize, now: Instant) -> io::Result<usize> {
        let Some(arriving) = &mut self.arriving else {
            let expects_payload = self.leases.is_waiting();
            return self.head.read(&self.stream, expects_payload);
        };
        debug_assert!(self.head.is_empty(), "{:?} while a block arrives", self.head);
        let left = arriving.left();
        let got = match self.leases.target(arriving) {
            Some(target) => {
                let (len, behind) = match most < target.len() {
                    true => (most, 0),
                    false => (target.len(), PIECE_HEAD_LEN),
                };
                let behind = &mut self.head.bytes[..behind];
                let mut slices = [IoSliceMut::new(&mut target[..len]), IoSliceMut::new(behind)];
                self.stream.try_read_vectored(&mut slices)?
            }
            None => {
                let scratch = self.head.bytes.len().min(left as usize).min(most);
                self.stream.try_read(&mut self.head.bytes[..scratch])?
            }
        };
        // Of `got` the block has at most `left`, which is a u32.
        let payload = got.min(left as usize);
        self.got.1 += payload;
        self.leases.advance(arriving, payload as u32, now, &mut self.outbox);
        if arriving.left() == 0 {
            self.arriving = None;
        }
        (self.head.start, self.head.end) = (0, got - payload);
        Ok(got)
    }

    /// The peer has sent, and we leave it unread: its silence is ours, and nobody is to hold it
    /// against the peer.
    fn vouch(&mut self, now: Instant) {
        self.heard_at = now;
        if now.saturating_duration_since(self.vouched_at) >= self.limits.vouch_every {
            self.vouched_at = now;
            self.leases.vouch(&mut self.outbox);
        }
    }

    /// Takes every whole message out of the head buffer, and payload that came with them.
    fn parse(&mut self, now: Instant) -> Result<(), PeerFault> {
        while self.arriving.is_none() {
            let pieces = self.swarm.piece_count();
            let limits = FrameLimits {
                bitfield_len: pieces.map(|pieces| Bitfield::wire_len(pieces as usize) as u32),
                block_len_max: self.leases.longest(),
                fast: self.terms.fast,
            };
            match frame::next(self.head.filled(), &limits)? {
                Next::Need(len) => {
                    self.head.make_room(len);
                    return Ok(());
                }
                Next::Message(message, taken) => {
                    self.head.start += taken;
                    self.on_message(message)?;
                }
                Next::Piece(range) => {
                    self.head.start += PIECE_HEAD_LEN;
                    let content = self.swarm.content.as_ref();
                    let size =
                        |content: &Content| content.metainfo.layout().piece_size(range.piece);
                    let piece_len = content.map_or(0, size);
                    let mut block = self.leases.begin(range, piece_len, now, &mut self.outbox)?;
                    self.copy_payload(&mut block, now);
                    self.arriving = (block.left() > 0).then_some(block);
                }
            }
        }
        Ok(())
    }

    /// Moves payload that came with a head to where it belongs.
    fn copy_payload(&mut self, block: &mut Arriving, now: Instant) {
        let bytes = self.head.filled();
        let len = bytes.len().min(block.left() as usize);
        if let Some(target) = self.leases.target(block) {
            target[..len].copy_from_slice(&bytes[..len]);
        }
        self.got.1 += len;
        self.leases.advance(block, len as u32, now, &mut self.outbox);
        self.head.start += len;
        if self.head.is_empty() {
            (self.head.start, self.head.end) = (0, 0);
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), PeerFault> {
        match message {
            Message::KeepAlive => {}
            Message::Request(range) => self.upload.request(range, &self.swarm)?,
            Message::Cancel(range) => self.upload.cancel(range),
            Message::Reject(range) => self.leases.on_reject(range, &mut self.outbox)?,
            Message::Choke => {
                self.outbox.message(message);
                self.leases.on_choke(&mut self.outbox);
            }
            Message::Unchoke => {
                self.leases.on_unchoke();
                self.outbox.message(message);
            }
            // Deviation: BEP 6 lets these be ignored, and so they are, where they make sense.
            Message::Suggest(PieceIndex(index)) | Message::AllowedFast(PieceIndex(index)) => {
                if let Some(pieces) = self.swarm.piece_count().filter(|pieces| index >= *pieces) {
                    return Err(InvalidMessage::PieceOutOfRange { index, pieces }.into());
                }
            }
            Message::Interested
            | Message::NotInterested
            | Message::HaveAll
            | Message::HaveNone
            | Message::Have(_)
            | Message::Bitfield(_)
            | Message::Extended { .. }
            | Message::Port(_) => self.outbox.message(message),
        }
        Ok(())
    }

    /// The next time by which something has to be done though nothing happens.
    fn deadline(&self) -> Instant {
        let quiet = self.spoke_at + self.limits.keep_alive_after;
        let idle = self.heard_at + self.limits.idle_timeout;
        let vouch = self.pace.waits().then(|| self.vouched_at + self.limits.vouch_every);
        let paces = [self.pace.deadline(), self.upload.pace().deadline()];
        let reports = [self.leases.due(), self.outbox.due(), vouch];
        reports.into_iter().chain(paces).flatten().fold(quiet.min(idle), Instant::min)
    }

    /// Waits for anything that makes another turn worth while.
    fn poll_wake(
        &mut self,
        cx: &mut Context<'_>,
        turn: Turn,
        clock: Pin<&mut Sleep>,
        inbox: &mut Room,
    ) -> Poll<Woken> {
        let mut woken = Woken::default();
        let mut ready = turn == Turn::More;
        match self.commands.poll_recv(cx) {
            Poll::Ready(Some(command)) => {
                woken.command = Some(command);
                ready = true;
            }
            Poll::Ready(None) => {
                woken.orphaned = true;
                ready = true;
            }
            Poll::Pending => {}
        }
        if !self.outbox.is_full() && !self.pace.waits() {
            ready |= self.stream.poll_read_ready(cx).is_ready();
        }
        for pace in [&self.pace, self.upload.pace()] {
            ready |= pace.waits() && pace.is_called(cx);
        }
        if turn == Turn::Blocked {
            ready |= self.stream.poll_write_ready(cx).is_ready();
        }
        if let Some(warming) = self.upload.warming()
            && Pin::new(warming).poll(cx).is_ready()
        {
            self.upload.warmed();
            ready = true;
        }
        if !self.outbox.is_empty() {
            ready |= inbox.poll(cx).is_ready();
        }
        ready |= clock.poll(cx).is_ready();
        if ready { Poll::Ready(woken) } else { Poll::Pending }
    }
}

impl HeadBuffer {
    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Makes room for a message of `len` bytes at `start`, which is within the limits.
    fn make_room(&mut self, len: usize) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let len = len.max(HEAD_LEN);
        if len > self.bytes.len() {
            self.bytes.resize(len, 0);
        } else if self.bytes.len() > len && self.end <= len {
            self.bytes.truncate(len);
            self.bytes.shrink_to_fit();
        }
    }

    /// Reads behind what is there; there is room.
    fn read(&mut self, stream: &TcpStream, expects_payload: bool) -> io::Result<usize> {
        let room = self.bytes.len() - self.end;
        let most = if expects_payload && self.end < HEAD_READ_LEN { HEAD_READ_LEN } else { room };
        let end = self.end + most.min(room);
        let got = stream.try_read(&mut self.bytes[self.end..end])?;
        self.end += got;
        Ok(got)
    }
}
