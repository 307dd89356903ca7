//! Announces over HTTP from one thread: several connections, each kept and with several requests
//! under way, or made anew for every announce. Every answer is checked. Never here: who answers.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::load::{Goal, Load, Outcome, escape};
use crate::interrupt;

/// How the generator goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Connections at once.
    pub(super) connections: u16,
    /// Requests under way on each.
    pub(super) pipeline: u16,
    /// Whether a connection is for one request only.
    pub(super) closes: bool,
}

/// How long a tracker may say nothing at all.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// How long nothing may happen before the clock is looked at.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// Most bytes of an answer.
const ANSWER_LEN_MAX: usize = 64 << 10;
/// Bytes read at once.
const READ_LEN: usize = 16 << 10;
/// Torrents of one scrape: the request stays below the 2 KiB that some trackers take.
const SCRAPE_MAX: usize = 16;
const PEER_LEN: u32 = 6;

/// A connection.
struct Lane {
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    under_way: VecDeque<u64>,
    /// It ended with requests under way.
    is_over: bool,
}

/// What is next, and what has to be asked anew.
struct Turns {
    next: u64,
    end: u64,
    again: Vec<u64>,
}

/// Sends announces and checks what comes, until the goal is reached.
///
/// # Errors
/// An answer that is none, a failure that the tracker names, silence, or "interrupted".
pub(super) fn drive(
    load: &Load,
    tracker: SocketAddr,
    shape: Shape,
    goal: Goal,
) -> anyhow::Result<Outcome> {
    let lanes = (0..shape.connections).map(|_| Lane::open(tracker));
    let mut lanes = lanes.collect::<anyhow::Result<Vec<_>>>()?;
    let begins = goal == Goal::Once;
    let end = if begins { load.len() } else { u64::MAX };
    let mut turns = Turns { next: 0, end, again: Vec::new() };
    let mut outcome = Outcome::default();
    let mut buffer = vec![0; READ_LEN];
    let start = Instant::now();
    let mut heard = start;
    loop {
        interrupt::check()?;
        match goal {
            Goal::Once if outcome.answers >= load.len() => break,
            Goal::For(time) if start.elapsed() >= time => break,
            Goal::Once | Goal::For(_) => {}
        }
        let before = outcome.answers;
        for lane in &mut lanes {
            if lane.is_over {
                outcome.lost += lane.under_way.len() as u64;
                turns.again.extend(&lane.under_way);
                *lane = Lane::open(tracker)?;
            }
            lane.send(load, shape, begins, &mut turns)?;
            lane.receive(load.numwant(), shape, &mut buffer, &mut outcome)?;
        }
        if outcome.answers > before {
            heard = Instant::now();
        } else {
            ensure!(heard.elapsed() < SILENT_MAX, "the tracker says nothing for {SILENT_MAX:?}");
            wait(&lanes)?;
        }
    }
    Ok(Outcome { wall: start.elapsed(), ..outcome })
}

/// Waits until a connection can be read, or written if there is something to write.
fn wait(lanes: &[Lane]) -> anyhow::Result<()> {
    let fds = lanes.iter().map(|lane| {
        let out = if lane.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        PollFd::from_borrowed_fd(lane.stream.as_fd(), PollFlags::IN | out)
    });
    let mut fds: Vec<_> = fds.collect();
    poll(&mut fds, Some(&PAUSE))?;
    Ok(())
}

impl Turns {
    fn take(&mut self) -> Option<u64> {
        self.again.pop().or_else(|| {
            let turn = (self.next < self.end).then_some(self.next)?;
            self.next += 1;
            Some(turn)
        })
    }
}

impl Lane {
    fn open(tracker: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(tracker).context("connecting to the tracker")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (out, input, under_way) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(Self { stream, out, input, under_way, is_over: false })
    }

    /// Fills what may be under way, and writes what the socket takes.
    fn send(
        &mut self,
        load: &Load,
        shape: Shape,
        begins: bool,
        turns: &mut Turns,
    ) -> anyhow::Result<()> {
        while self.under_way.len() < usize::from(shape.pipeline) {
            let Some(turn) = turns.take() else { break };
            load.request(load.announcer(turn), begins, shape.closes, &mut self.out);
            self.under_way.push_back(turn);
        }
        if self.out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.out) {
            Ok(len) => drop(self.out.drain(..len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if is_end(error.kind()) => self.is_over = true,
            Err(error) => return Err(error).context("writing to the tracker"),
        }
        Ok(())
    }

    fn receive(
        &mut self,
        numwant: u32,
        shape: Shape,
        buffer: &mut [u8],
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        match self.stream.read(buffer) {
            Ok(0) => self.is_over = true,
            Ok(len) => self.input.extend(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if is_end(error.kind()) => self.is_over = true,
            Err(error) => return Err(error).context("reading from the tracker"),
        }
        let mut used = 0;
        while let Some((len, body)) = message(&self.input[used..])? {
            used += len;
            self.under_way.pop_front().context("an answer to nothing")?;
            outcome.answers += 1;
            outcome.peers += u64::from(peers(body, numwant)?);
            self.is_over |= shape.closes;
        }
        self.input.drain(..used);
        ensure!(self.input.len() <= ANSWER_LEN_MAX, "an answer without an end");
        Ok(())
    }
}

fn is_end(kind: ErrorKind) -> bool {
    [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::Interrupted].contains(&kind)
}

/// How many peers of these torrents the tracker knows.
///
/// # Errors
/// No answer, or a bad one.
pub(super) fn known(tracker: SocketAddr, info_hashes: &[[u8; 20]]) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(tracker)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENT_MAX))?;
    let (mut known, mut input, mut buffer) = (0, Vec::new(), vec![0; READ_LEN]);
    for hashes in info_hashes.chunks(SCRAPE_MAX) {
        let mut request = b"GET /scrape".to_vec();
        for (index, hash) in hashes.iter().enumerate() {
            request.extend(if index == 0 { b"?info_hash=" } else { b"&info_hash=" });
            escape(hash, &mut request);
        }
        request.extend(b" HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(&request)?;
        let used = loop {
            if let Some((len, body)) = message(&input)? {
                known += sum(body, b"8:completei") + sum(body, b"10:incompletei");
                break len;
            }
            let len = stream.read(&mut buffer)?;
            ensure!(len > 0, "the tracker closed a scrape");
            input.extend(&buffer[..len]);
        };
        input.drain(..used);
    }
    Ok(known)
}

/// The length of the first message, and its body; none: more has to come.
///
/// # Errors
/// It is no answer, or one that says no.
fn message(input: &[u8]) -> anyhow::Result<Option<(usize, &[u8])>> {
    let Some(head_len) = find(input, b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&input[..head_len]).context("a head that is no text")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "the tracker says {:?}", head.lines().next());
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lens = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, len) = lens.next().context("an answer without a length")?;
    let (body, len): (_, usize) = (head_len + 4, len.trim().parse()?);
    ensure!(len <= ANSWER_LEN_MAX, "an answer of {len} bytes");
    Ok(input.get(body..body + len).map(|bytes| (body + len, bytes)))
}

/// How many peers an answer to an announce holds.
///
/// # Errors
/// It is none, has more peers than wanted, or is a failure.
fn peers(body: &[u8], numwant: u32) -> anyhow::Result<u32> {
    if find(body, b"14:failure reason").is_some() {
        bail!("the tracker refuses: {}", String::from_utf8_lossy(body));
    }
    // Aquatic ends its answers with a line break.
    let body = body.trim_ascii_end();
    let is_answer = body.starts_with(b"d") && body.ends_with(b"e");
    ensure!(is_answer && find(body, b"8:intervali").is_some(), "no interval: {body:?}");
    let key = b"5:peers";
    let at = find(body, key).context("an answer without peers")? + key.len();
    let len = number(&body[at..]);
    ensure!(len.is_multiple_of(u64::from(PEER_LEN)), "an answer with {len} bytes of peers");
    let peers = u32::try_from(len)? / PEER_LEN;
    ensure!(peers <= numwant, "{peers} peers, {numwant} were wanted");
    Ok(peers)
}

/// The sum of the numbers after each `key`.
fn sum(mut body: &[u8], key: &[u8]) -> u64 {
    let mut sum = 0;
    while let Some(at) = find(body, key) {
        body = &body[at + key.len()..];
        sum += number(body);
    }
    sum
}

/// The digits that begin a text.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length:   3\r\n\r\nd8eHTTP/1.1 200 OK\r\n";
        assert_eq!(message(text).unwrap(), Some((43, b"d8e".as_slice())));
        assert_eq!(message(&text[..42]).unwrap(), None);
        assert_eq!(message(&text[43..]).unwrap(), None);
        for bad in ["HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(message(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n";
        assert!(message(long.as_bytes()).unwrap_err().to_string().contains("99999999 bytes"));
    }

    #[test]
    fn answers_are_checked() {
        assert_eq!(peers(b"d8:intervali60e5:peers12:123456123456e", 2).unwrap(), 2);
        assert_eq!(peers(b"d8:intervali60e5:peers0:e", 2).unwrap(), 0);
        for (bad, cause) in [
            (b"d14:failure reason4:nonee".as_slice(), "refuses"),
            (b"d5:peers0:e", "no interval"),
            (b"d8:intervali60ee", "without peers"),
            (b"d8:intervali60e5:peers7:1234567e", "7 bytes of peers"),
            (b"d8:intervali60e5:peers18:123456123456123456e", "3 peers, 2 were wanted"),
        ] {
            let error = peers(bad, 2).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn peers_are_counted_over_the_torrents_of_a_scrape() {
        let body = b"d5:filesd1:ad8:completei2e10:incompletei5eed1:bd8:completei10eeee";
        assert_eq!((sum(body, b"8:completei"), sum(body, b"10:incompletei")), (12, 5));
    }
}
