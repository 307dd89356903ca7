//! Announces over UDP (BEP 15) from one thread: a window of packets under way on each of several
//! sockets, sent and received in batches. Every answer is checked. Never here: who answers.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::load::{Goal, Load, Outcome, PACKET_LEN};
use crate::interrupt;

/// How the generator goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Sockets, each with a connection id of its own.
    pub(super) sockets: u16,
    /// Packets under way on each.
    pub(super) window: u16,
}

/// Packets of one system call.
const BATCH: usize = 64;
/// Room for an answer of 200 peers.
const ANSWER_LEN_MAX: usize = 1500;
/// How long an answer may take before its request is sent anew.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// How often requests without an answer are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a tracker may say nothing at all.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// How long nothing may happen before the clock is looked at.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// Torrents of one scrape; trackers take 70 and more.
const SCRAPE_MAX: usize = 70;
/// BEP 15.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
const HEAD_LEN: usize = 20;
const PEER_LEN: usize = 6;

/// A socket and its packets under way.
struct Lane {
    socket: UdpSocket,
    connection: u64,
    slots: Vec<Slot>,
    free: Vec<u16>,
    wire: Wire,
}

/// Place of one packet under way.
#[derive(Clone, Copy)]
struct Slot {
    /// Which peer's announce; none: free.
    turn: Option<u64>,
    /// Told apart from what was here before.
    generation: u16,
    sent: Instant,
}

/// Memory of the batches.
struct Wire {
    headers: MultiHeaders<()>,
    out: Vec<[u8; PACKET_LEN]>,
    input: Vec<[u8; ANSWER_LEN_MAX]>,
}

/// Sends announces and checks what comes, until the goal is reached.
///
/// # Errors
/// An answer that is none, an error of the tracker, silence, or "interrupted".
pub(super) fn drive(
    load: &Load,
    tracker: SocketAddr,
    shape: Shape,
    goal: Goal,
) -> anyhow::Result<Outcome> {
    let mut lanes = (0..shape.sockets)
        .map(|_| Lane::open(tracker, shape.window))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut outcome, mut next) = (Outcome::default(), 0);
    let start = Instant::now();
    let (mut looked, mut heard) = (start, start);
    loop {
        let now = Instant::now();
        interrupt::check()?;
        let (begins, end) = match goal {
            Goal::Once => (true, load.len()),
            Goal::For(time) if start.elapsed() < time => (false, u64::MAX),
            Goal::For(_) => break,
        };
        let before = outcome.answers;
        for lane in &mut lanes {
            lane.receive(load.numwant(), &mut outcome)?;
            lane.send(load, begins, &mut next, end, now)?;
        }
        if goal == Goal::Once && outcome.answers >= load.len() {
            break;
        }
        if outcome.answers > before {
            heard = now;
        } else {
            ensure!(now - heard < SILENT_MAX, "the tracker says nothing for {SILENT_MAX:?}");
            let fds = lanes
                .iter()
                .map(|lane| PollFd::from_borrowed_fd(lane.socket.as_fd(), PollFlags::IN));
            let mut fds: Vec<_> = fds.collect();
            poll(&mut fds, Some(&PAUSE))?;
        }
        if now - looked > LOOK_EVERY {
            looked = now;
            for lane in &mut lanes {
                outcome.lost += lane.resend(load, begins, now)?;
            }
        }
    }
    Ok(Outcome { wall: start.elapsed(), ..outcome })
}

impl Lane {
    fn open(tracker: SocketAddr, window: u16) -> anyhow::Result<Self> {
        let (socket, connection) = connect(tracker)?;
        socket.set_nonblocking(true)?;
        let free = Slot { turn: None, generation: 0, sent: Instant::now() };
        let wire = Wire {
            headers: MultiHeaders::preallocate(BATCH, None),
            out: Vec::with_capacity(BATCH),
            input: vec![[0; ANSWER_LEN_MAX]; BATCH],
        };
        let slots = vec![free; window.into()];
        Ok(Self { socket, connection, slots, free: (0..window).collect(), wire })
    }

    /// Sends a batch of what the window has room for.
    fn send(
        &mut self,
        load: &Load,
        begins: bool,
        next: &mut u64,
        end: u64,
        now: Instant,
    ) -> anyhow::Result<()> {
        let room = u64::try_from(self.free.len().min(BATCH))?;
        let count = room.min(end.saturating_sub(*next)) as usize;
        let slots = self.free.split_off(self.free.len() - count);
        self.wire.out.clear();
        for (turn, &at) in (*next..).zip(&slots) {
            let slot = &mut self.slots[usize::from(at)];
            let generation = slot.generation.wrapping_add(1);
            *slot = Slot { turn: Some(turn), generation, sent: now };
            let transaction = u32::from(generation) << 16 | u32::from(at);
            self.wire.out.push(load.packet(
                self.connection,
                transaction,
                load.announcer(turn),
                begins,
            ));
        }
        let sent = self.wire.send(&self.socket)?;
        *next += sent as u64;
        for &at in &slots[sent..] {
            self.slots[usize::from(at)].turn = None;
            self.free.push(at);
        }
        Ok(())
    }

    /// Sends anew what is not answered for so long that it is lost: how many there were.
    fn resend(&mut self, load: &Load, begins: bool, now: Instant) -> anyhow::Result<u64> {
        let mut lost = 0;
        for (at, slot) in (0_u32..).zip(&mut self.slots) {
            let Some(turn) = slot.turn.filter(|_| now - slot.sent > LOST_AFTER) else { continue };
            (slot.generation, slot.sent) = (slot.generation.wrapping_add(1), now);
            let transaction = u32::from(slot.generation) << 16 | at;
            let packet = load.packet(self.connection, transaction, load.announcer(turn), begins);
            lost += 1;
            // A full socket loses it again.
            let _ = self.socket.send(&packet);
        }
        Ok(lost)
    }

    fn receive(&mut self, numwant: u32, outcome: &mut Outcome) -> anyhow::Result<()> {
        for (at, len) in self.wire.receive(&self.socket)?.into_iter().enumerate() {
            let (transaction, peers) = answer(&self.wire.input[at][..len], numwant)?;
            let (generation, at) = ((transaction >> 16) as u16, transaction as u16);
            let slot = self.slots.get_mut(usize::from(at)).context("an answer to nothing")?;
            // One that was sent anew may be answered twice.
            if slot.turn.is_some() && slot.generation == generation {
                slot.turn = None;
                self.free.push(at);
                outcome.answers += 1;
                outcome.peers += u64::from(peers);
            }
        }
        Ok(())
    }
}

impl Wire {
    /// How many of `out` were sent.
    fn send(&mut self, socket: &UdpSocket) -> anyhow::Result<usize> {
        let slices: Vec<_> = self.out.iter().map(|packet| [IoSlice::new(packet)]).collect();
        let addrs = vec![None; slices.len()];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        match sendmmsg(fd, &mut self.headers, &slices, &addrs, [], flags) {
            Ok(sent) => Ok(sent.count()),
            Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(0),
            Err(error) => Err(error).context("sending to the tracker"),
        }
    }

    /// The lengths of the packets that are in `input` now.
    fn receive(&mut self, socket: &UdpSocket) -> anyhow::Result<Vec<usize>> {
        let mut slices: Vec<_> = self.input.iter_mut().map(|it| [IoSliceMut::new(it)]).collect();
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        match recvmmsg(fd, &mut self.headers, &mut slices, flags, None) {
            Ok(messages) => Ok(messages.map(|message| message.bytes).collect()),
            Err(Errno::EAGAIN) => Ok(Vec::new()),
            Err(error) => Err(error).context("receiving from the tracker"),
        }
    }
}

/// A socket that the tracker answers, and its connection id.
///
/// # Errors
/// No answer, or a bad one.
pub(super) fn connect(tracker: SocketAddr) -> anyhow::Result<(UdpSocket, u64)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(tracker)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let mut request = PROTOCOL_ID.to_be_bytes().to_vec();
    request.extend([0, 0, 0, 0, 1, 2, 3, 4]);
    socket.send(&request)?;
    let mut reply = [0; 16];
    let len = socket.recv(&mut reply).context("no answer to connect")?;
    ensure!(len == 16 && reply[..8] == [0, 0, 0, 0, 1, 2, 3, 4], "a bad answer to connect");
    let [.., a, b, c, d, e, f, g, h] = reply;
    Ok((socket, u64::from_be_bytes([a, b, c, d, e, f, g, h])))
}

/// How many peers of these torrents the tracker knows.
///
/// # Errors
/// No answer, or a bad one.
pub(crate) fn known(tracker: SocketAddr, info_hashes: &[[u8; 20]]) -> anyhow::Result<u64> {
    let (socket, connection) = connect(tracker)?;
    let mut known = 0;
    for (transaction, hashes) in (0_u32..).zip(info_hashes.chunks(SCRAPE_MAX)) {
        let mut request = connection.to_be_bytes().to_vec();
        request.extend(SCRAPE.to_be_bytes());
        request.extend(transaction.to_be_bytes());
        request.extend(hashes.concat());
        socket.send(&request)?;
        let mut reply = [0; ANSWER_LEN_MAX];
        let len = socket.recv(&mut reply).context("no answer to scrape")?;
        let head = SCRAPE.to_be_bytes().into_iter().chain(transaction.to_be_bytes());
        let is_right = len == 8 + 12 * hashes.len() && head.eq(reply[..8].iter().copied());
        ensure!(is_right, "a bad answer to scrape");
        for [complete, _, incomplete] in reply[8..len].as_chunks::<4>().0.as_chunks::<3>().0 {
            known += u64::from(u32::from_be_bytes(*complete));
            known += u64::from(u32::from_be_bytes(*incomplete));
        }
    }
    Ok(known)
}

/// The transaction and the number of peers of an answer to an announce.
///
/// # Errors
/// It is none, has more peers than wanted, or is an error.
fn answer(packet: &[u8], numwant: u32) -> anyhow::Result<(u32, u32)> {
    let word = |at: usize| {
        let bytes = packet.get(at..at + 4).and_then(|bytes| bytes.as_array::<4>());
        bytes.map(|bytes| u32::from_be_bytes(*bytes)).context("an answer cut short")
    };
    match word(0)? {
        ANNOUNCE => {}
        ERROR => {
            let reason = packet.get(8..).unwrap_or_default();
            bail!("the tracker refuses: {}", String::from_utf8_lossy(reason))
        }
        action => bail!("an announce is answered with action {action}"),
    }
    let transaction = word(4)?;
    word(HEAD_LEN - 4)?;
    let peers = packet.len() - HEAD_LEN;
    ensure!(peers.is_multiple_of(PEER_LEN), "an answer with {peers} bytes of peers");
    let peers = u32::try_from(peers / PEER_LEN)?;
    ensure!(peers <= numwant, "{peers} peers, {numwant} were wanted");
    Ok((transaction, peers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked() {
        let reply = |action: u32, rest: usize| {
            let mut packet = action.to_be_bytes().to_vec();
            packet.extend(9_u32.to_be_bytes());
            packet.resize(packet.len() + rest, 0);
            packet
        };
        assert_eq!(answer(&reply(1, 12), 2).unwrap(), (9, 0));
        assert_eq!(answer(&reply(1, 24), 2).unwrap(), (9, 2));
        let error = |packet: Vec<u8>| answer(&packet, 2).unwrap_err().to_string();
        assert!(error(reply(1, 30)).contains("3 peers, 2 were wanted"));
        assert!(error(reply(1, 13)).contains("1 bytes of peers"));
        assert!(error(reply(1, 11)).contains("cut short"));
        assert!(error(reply(0, 8)).contains("action 0"));
        let mut refusal = reply(3, 0);
        refusal.extend(b"no room");
        assert!(error(refusal).contains("no room"));
    }

    /// A tracker that answers every announce with no peers, the first ones not.
    fn deaf_at_first(socket: &UdpSocket, deaf: usize) -> anyhow::Result<()> {
        let mut packet = [0; 200];
        for index in 0.. {
            let (len, from) = socket.recv_from(&mut packet)?;
            let reply = match len {
                16 => [&[0; 4], &packet[12..16], &[7; 8]].concat(),
                PACKET_LEN if index < deaf => continue,
                _ => [&1_u32.to_be_bytes(), &packet[12..16], &[0; 12]].concat(),
            };
            socket.send_to(&reply, from)?;
        }
        Ok(())
    }

    #[test]
    fn what_is_lost_is_sent_anew_until_everyone_is_answered() {
        let tracker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        tracker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let addr = tracker.local_addr().unwrap();
        std::thread::spawn(move || deaf_at_first(&tracker, 3));
        let (load, shape) = (Load::new(10, 3, 30), Shape { sockets: 1, window: 8 });
        let outcome = drive(&load, addr, shape, Goal::Once).unwrap();
        assert_eq!((outcome.answers, outcome.peers), (30, 0));
        assert!(outcome.lost >= 2, "{outcome:?}");
    }
}
