//! The sending side of one connection: control messages, and the requests it serves, lazily and in
//! order, by sendfile. Never here: what is received, or who is served.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    ops::Range,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{fs::sendfile, io::Errno, net::SendFlags};
use shoal_core::{
    config::SHOAL_REQUEST_LEN_MAX,
    ids::PieceIndex,
    session::{Serving, fault::CloseCause},
    wire::{
        BlockRange, Consequence, InvalidMessage, Message, Misbehaved, PeerFault, Terms,
        message::{self, PIECE_HEAD_LEN},
    },
};
use tokio::{io::Interest, net::TcpStream, task::JoinHandle};

use super::{
    event::{NetEvent, Outbox},
    rate_limit::Pace,
    swarm::{Source, SourceError, Swarm},
    voice::Voice,
    warm,
};

/// Requests kept until it is known whether the peer speaks `shoal`: more than a peer may have out
/// in its first round trip.
const EARLY_MAX: usize = 64;

/// What one connection sends.
///
/// Invariant: bytes in `out` come before the payload of `current`, those in `later` after it.
#[derive(Debug)]
pub(super) struct Upload {
    /// With the fast extension what is not served is rejected, else it is ignored.
    terms: Terms,
    out: Vec<u8>,
    sent: usize,
    later: Vec<u8>,
    current: Option<Sending>,
    queue: VecDeque<BlockRange>,
    source: Option<PieceSource>,
    warming: Option<JoinHandle<()>>,
    /// The first request of the queue was brought into memory: it is not probed again.
    brought: Option<BlockRange>,
    serving: Serving,
    request_len_max: u32,
    /// Requests longer than that which came before the peer's handshake was judged: it may speak
    /// `shoal`, and has seen our offer already. None once it was judged.
    early: Option<VecDeque<BlockRange>>,
    requests_max: u32,
    asked_while_choked: u32,
    /// How fast payload may go out.
    pace: Pace,
}

/// How a turn of sending ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Nothing is left to send, or a disk is waited for.
    Idle,
    /// The socket takes no more.
    Blocked,
    /// A rate limit makes it wait for its turn.
    Paced,
    /// There is more to send, after the others' turns.
    More,
}

/// The payload of a `piece` message that was begun.
#[derive(Clone, Copy, Debug)]
struct Sending {
    /// Where in the piece the next byte is.
    at: u32,
    end: u32,
}

/// Where bytes of one piece are: asked once for several requests.
#[derive(Debug)]
struct PieceSource {
    piece: PieceIndex,
    /// Which bytes of the piece the parts are, one after the other.
    range: Range<u32>,
    asked_at: Instant,
    parts: Vec<Source>,
    /// No part is on a disk.
    in_memory: bool,
}

/// A part of a file, or zeros.
enum Part<'a> {
    File { file: &'a Arc<File>, offset: u64, len: u32 },
    Zeros { len: u32 },
}

/// What a connection sends in a turn before others have theirs, bytes.
const TURN_BYTES: usize = 1024 * 1024;
/// After this time a piece's place is asked for again: files change.
const SOURCE_AGE_MAX: Duration = Duration::from_secs(1);
/// How much of a piece is located at once, bytes: enough for a run of short requests, and not so
/// much that a piece of a thousand small files opens all of them.
const SOURCE_LEN: u32 = 256 * 1024;
/// Control messages that a peer leaves unread, bytes: a `have` for each of 2^20 pieces is 9 MiB, a
/// peer that is so far behind is not reading at all.
const UNREAD_MAX: usize = 4 * 1024 * 1024;
/// Requests of a choked peer beyond those that its `reqq` lets be under way (libtorrent's number).
const WHILE_CHOKED_MAX: u32 = 300;

static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

impl Upload {
    /// Nothing but `hello` to send, and choking. At most `requests_max` requests are kept.
    pub(super) fn new(requests_max: u32, pace: Pace, terms: Terms, hello: &[u8]) -> Self {
        Self {
            terms,
            out: hello.to_vec(),
            sent: 0,
            later: Vec::new(),
            current: None,
            queue: VecDeque::new(),
            source: None,
            warming: None,
            brought: None,
            serving: Serving::Choked,
            request_len_max: 0,
            early: terms.extended.then(VecDeque::new),
            requests_max,
            asked_while_choked: 0,
            pace,
        }
    }

    /// How fast payload may go out.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Where control messages go.
    pub(super) fn voice(&mut self) -> Voice<'_> {
        let out = if self.current.is_some() { &mut self.later } else { &mut self.out };
        Voice::new(self.terms, out)
    }

    /// Serves or chokes from now on; tells the peer where that is news. The first call comes with
    /// the connection, the second at the earliest when the peer's extended handshake was judged.
    pub(super) fn serve(&mut self, serving: Serving, request_len_max: u32) {
        let judged = self.request_len_max > 0;
        self.request_len_max = request_len_max;
        let early = self.early.take().unwrap_or_default();
        let (fit, mut long): (VecDeque<_>, VecDeque<_>) =
            early.into_iter().partition(|range| range.len <= request_len_max);
        self.queue.extend(fit);
        if !judged && serving == Serving::Unchoked && self.terms.extended {
            self.early = Some(std::mem::take(&mut long));
        }
        if serving != self.serving {
            self.serving = serving;
            match serving {
                Serving::Choked => {
                    self.asked_while_choked = 0;
                    self.voice().say(&Message::Choke);
                    long.extend(std::mem::take(&mut self.queue));
                }
                Serving::Unchoked => self.voice().say(&Message::Unchoke),
            }
        }
        long.into_iter().for_each(|range| self.reject(range));
    }

    /// Says that a request will not be answered, where the peer has a word for that (BEP 6).
    fn reject(&mut self, range: BlockRange) {
        if self.terms.fast {
            self.voice().say(&Message::Reject(range));
        }
    }

    /// A request arrived.
    ///
    /// # Errors
    /// The fault of a peer that is to be closed; what merely is not served is rejected, or ignored.
    pub(super) fn request(&mut self, range: BlockRange, swarm: &Swarm) -> Result<(), PeerFault> {
        if let Some(content) = &swarm.content {
            let layout = content.metainfo.layout();
            if !layout.has_piece(range.piece) {
                let (index, pieces) = (range.piece.0, layout.piece_count());
                return Err(InvalidMessage::PieceOutOfRange { index, pieces }.into());
            }
            range.check(layout.piece_size(range.piece))?;
        }
        let Some(fault) = self.refusal(range, swarm) else {
            self.queue.push_back(range);
            return Ok(());
        };
        let too_long = matches!(fault, Misbehaved::RequestTooLong { .. });
        if let Some(early) = &mut self.early
            && too_long
            && range.len <= SHOAL_REQUEST_LEN_MAX
            && early.len() < EARLY_MAX
        {
            early.push_back(range);
            return Ok(());
        }
        let fault = PeerFault::from(fault);
        match fault.consequence() {
            Consequence::Ignore => self.reject(range),
            Consequence::Close | Consequence::Ban => return Err(fault),
        }
        Ok(())
    }

    /// The peer takes a request back.
    pub(super) fn cancel(&mut self, range: BlockRange) {
        let take = |queue: &mut VecDeque<BlockRange>| {
            let index = queue.iter().position(|&asked| asked == range)?;
            queue.remove(index)
        };
        let taken = take(&mut self.queue).or_else(|| take(self.early.as_mut()?));
        // Every request is answered, one that was cancelled too (BEP 6).
        taken.into_iter().for_each(|range| self.reject(range));
    }

    /// The disk work that is waited for, if any.
    pub(super) fn warming(&mut self) -> Option<&mut JoinHandle<()>> {
        self.warming.as_mut()
    }

    /// The disk work ended.
    pub(super) fn warmed(&mut self) {
        self.warming = None;
    }

    /// Sends until the socket takes no more, nothing is left, or the turn is over. Adds what went
    /// out to `sent`.
    ///
    /// # Errors
    /// Why the connection ends.
    pub(super) fn turn(
        &mut self,
        stream: &TcpStream,
        swarm: &Swarm,
        now: Instant,
        outbox: &mut Outbox,
        sent: &mut usize,
    ) -> Result<Turn, CloseCause> {
        let turn = self.send_all(stream, swarm, now, outbox, sent)?;
        if turn != Turn::Paced && self.pace.waits() {
            self.pace.leave();
        }
        Ok(turn)
    }

    fn send_all(
        &mut self,
        stream: &TcpStream,
        swarm: &Swarm,
        now: Instant,
        outbox: &mut Outbox,
        sent: &mut usize,
    ) -> Result<Turn, CloseCause> {
        if self.out.len() - self.sent + self.later.len() > UNREAD_MAX {
            return Err(CloseCause::Io("the peer does not read".to_owned()));
        }
        while *sent < TURN_BYTES {
            let wrote = if self.sent < self.out.len() {
                self.send_out(stream)
            } else if let Some(sending) = self.current {
                let left = sending.end - sending.at;
                if self.pace.is_limited() && !is_writable(stream) {
                    // Whoever waits for its peer does not wait for its turn.
                    return Ok(Turn::Blocked);
                }
                let Some(most) = self.pace.ask(left, now) else { return Ok(Turn::Paced) };
                let wrote = self.send_payload(stream, swarm, most, outbox);
                self.pace.used(*wrote.as_ref().unwrap_or(&0));
                wrote
            } else if self.prepare(swarm, now, outbox) {
                continue;
            } else {
                return Ok(Turn::Idle);
            };
            match wrote {
                Ok(bytes) => *sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Turn::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseCause::Io(error.to_string())),
            }
        }
        Ok(Turn::More)
    }

    fn refusal(&mut self, range: BlockRange, swarm: &Swarm) -> Option<Misbehaved> {
        let (len, max) = (range.len, self.request_len_max);
        if self.serving == Serving::Choked {
            // What was under way when the choke went out is no fault; more than that is.
            self.asked_while_choked += 1;
            let count = self.asked_while_choked;
            if count > self.requests_max.saturating_add(WHILE_CHOKED_MAX) {
                return Some(Misbehaved::RequestWhileChoked { count });
            }
            // Treated like a piece that is not there.
            return Some(Misbehaved::RequestNotHad { piece: range.piece.0 });
        }
        if len > max {
            return Some(Misbehaved::RequestTooLong { len, max });
        }
        if !swarm.serves(range.piece) {
            return Some(Misbehaved::RequestNotHad { piece: range.piece.0 });
        }
        let max = self.requests_max;
        (self.queue.len() >= max as usize).then_some(Misbehaved::TooManyRequests { max })
    }

    /// Sends bytes that lie before the payload; corked with it.
    fn send_out(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let flags = match self.current {
            Some(_) => SendFlags::MORE | SendFlags::NOSIGNAL,
            None => SendFlags::NOSIGNAL,
        };
        let bytes = &self.out[self.sent..];
        let wrote = stream.try_io(Interest::WRITABLE, || {
            rustix::net::send(stream.as_fd(), bytes, flags).map_err(io::Error::from)
        })?;
        self.sent += wrote;
        if self.sent == self.out.len() {
            self.sent = 0;
            self.out.clear();
            // A bitfield or a burst of requests went through; most messages are small.
            self.out.shrink_to(64 * 1024);
        } else if self.sent > self.out.len() / 2 {
            // A peer that never quite catches up must not make this grow.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(wrote)
    }

    fn send_payload(
        &mut self,
        stream: &TcpStream,
        swarm: &Swarm,
        most: u32,
        outbox: &mut Outbox,
    ) -> io::Result<usize> {
        let (Some(sending), Some(source)) = (&mut self.current, &self.source) else {
            return Ok(0);
        };
        let part = source.part(sending.at, sending.at + most.min(sending.end - sending.at));
        let wrote = match part.map_or(Ok(0), |part| part.send(stream)) {
            Ok(0) => Err(io::Error::other("a file is shorter than its pieces")),
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Err(error),
            Err(error) => return Err(error),
            Ok(wrote) => Ok(wrote),
        };
        let wrote = wrote.inspect_err(|error| {
            let (torrent, piece, cause) = (swarm.torrent, source.piece, error.to_string());
            outbox.push(NetEvent::SourceChanged { torrent, piece, cause });
        })?;
        outbox.uploaded(wrote as u64);
        // At most what was asked for, which is a u32.
        sending.at += wrote as u32;
        if sending.at == sending.end {
            self.current = None;
            std::mem::swap(&mut self.out, &mut self.later);
        }
        Ok(wrote)
    }

    /// Begins the next request. `false` where there is none, or its bytes are on a disk.
    fn prepare(&mut self, swarm: &Swarm, now: Instant, outbox: &mut Outbox) -> bool {
        if self.warming.is_some() {
            return false;
        }
        let Some(&range) = self.queue.front() else { return false };
        if !swarm.serves(range.piece) || !self.locate(range, swarm, now, outbox) {
            self.queue.pop_front();
            self.reject(range);
            return true;
        }
        let Some(source) = &self.source else { return false };
        if self.brought.take() != Some(range) {
            let cold = source.cold(range);
            if !cold.is_empty() {
                let bring = move || cold.iter().for_each(|(file, part)| warm::bring(file, part));
                self.warming = Some(tokio::task::spawn_blocking(bring));
                self.brought = Some(range);
                return false;
            }
        }
        self.queue.pop_front();
        let mut head = [0; PIECE_HEAD_LEN];
        message::encode_piece_head(range.piece, range.offset, range.len, &mut head);
        self.out.extend_from_slice(&head);
        self.current = Some(Sending { at: range.offset, end: range.offset + range.len });
        true
    }

    /// Knows where the bytes of the piece are, or reports why nobody does.
    fn locate(
        &mut self,
        range: BlockRange,
        swarm: &Swarm,
        now: Instant,
        outbox: &mut Outbox,
    ) -> bool {
        let end = range.offset + range.len;
        let known = self.source.as_ref().is_some_and(|source| {
            source.piece == range.piece
                && source.range.start <= range.offset
                && end <= source.range.end
                && now.saturating_duration_since(source.asked_at) < SOURCE_AGE_MAX
        });
        if known {
            return true;
        }
        let piece = range.piece;
        let Some(content) = &swarm.content else { return false };
        let left = content.metainfo.layout().piece_size(piece) - range.offset;
        let len = range.len.max(SOURCE_LEN).min(left);
        match content.source.source(piece, range.offset, len) {
            Ok(parts) => {
                let in_memory = parts.iter().all(|part| match part {
                    Source::File { file, .. } => warm::is_tmpfs(file),
                    Source::Zeros(_) => true,
                });
                self.source = Some(PieceSource {
                    piece,
                    range: range.offset..range.offset + len,
                    asked_at: now,
                    parts,
                    in_memory,
                });
                true
            }
            Err(SourceError::Missing(_)) => false,
            Err(error @ (SourceError::Changed(_) | SourceError::Io(_))) => {
                let (torrent, cause) = (swarm.torrent, error.to_string());
                outbox.push(NetEvent::SourceChanged { torrent, piece, cause });
                // One report is enough: the session takes the piece out of what is served.
                let queue = std::mem::take(&mut self.queue).into_iter();
                let (lost, kept): (VecDeque<_>, _) =
                    queue.partition(|&asked| asked.piece == piece && asked != range);
                self.queue = kept;
                lost.into_iter().for_each(|range| self.reject(range));
                false
            }
        }
    }
}

/// Whether the socket takes more, as far as is known.
fn is_writable(stream: &TcpStream) -> bool {
    stream.try_io(Interest::WRITABLE, || Ok(())).is_ok()
}

impl Part<'_> {
    /// Sends as much of it as the socket takes; 0 where the file ends before.
    fn send(self, stream: &TcpStream) -> io::Result<usize> {
        match self {
            Self::Zeros { len } => stream.try_write(&ZEROS[..ZEROS.len().min(len as usize)]),
            Self::File { file, mut offset, len } => stream.try_io(Interest::WRITABLE, || {
                let sent = sendfile(stream.as_fd(), file.as_fd(), Some(&mut offset), len as usize);
                sent.map_err(io::Error::from)
            }),
        }
    }
}

impl PieceSource {
    /// The part that has the byte at `at`, no further than `end`; both in the piece.
    fn part(&self, at: u32, end: u32) -> Option<Part<'_>> {
        let mut start = self.range.start;
        for source in &self.parts {
            let stop = start + source.len();
            if at < stop {
                let len = stop.min(end) - at;
                return Some(match source {
                    Source::Zeros(_) => Part::Zeros { len },
                    Source::File { file, offset, .. } => {
                        Part::File { file, offset: offset + u64::from(at - start), len }
                    }
                });
            }
            start = stop;
        }
        None
    }

    /// The parts of files of the range that are not all in memory.
    fn cold(&self, range: BlockRange) -> Vec<(Arc<File>, Range<u64>)> {
        let end = range.offset + range.len;
        let mut cold = Vec::new();
        // Nothing has to be looked at where nothing can be cold.
        let mut at = if self.in_memory { end } else { range.offset };
        while let Some(part) = (at < end).then(|| self.part(at, end)).flatten() {
            at += match part {
                Part::Zeros { len } => len,
                Part::File { file, offset, len } => {
                    let bytes = offset..offset + u64::from(len);
                    if !warm::is_warm(file, &bytes) {
                        cold.push((Arc::clone(file), bytes));
                    }
                    len
                }
            };
        }
        cold
    }
}
