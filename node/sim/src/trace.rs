//! The digest of everything that happened in a run: each fact that a session was handed, with its
//! time and host. Two runs of one digest took the same way. Never here: what is kept of a run.

use std::{fmt, hash::Hasher as _};

use shoal_core::{
    ids::PieceIndex,
    session::{Event, event::PieceOutcome},
    time::Timestamp,
    wire::Message,
};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The digest so far.
pub(crate) struct Trace {
    hasher: SipHasher13,
    facts: u64,
    /// The last facts in words, where they are wanted.
    tail: Option<Tail>,
}

/// The last facts of one host, or of all.
struct Tail {
    host: Option<usize>,
    lines: std::collections::VecDeque<String>,
}

/// Facts that are kept in words.
const TAIL_MAX: usize = 64;

impl Trace {
    pub(crate) fn new(words: Words) -> Self {
        let tail = match words {
            Words::None => None,
            Words::Of(host) => Some(Tail { host, lines: std::collections::VecDeque::new() }),
        };
        Self { hasher: SipHasher13::new(), facts: 0, tail }
    }

    /// Takes note of a fact.
    pub(crate) fn fact(&mut self, now: Timestamp, host: usize, event: &Event) {
        self.facts += 1;
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.host.is_none_or(|h| h == host)) {
            if tail.lines.len() >= TAIL_MAX {
                tail.lines.pop_front();
            }
            tail.lines.push_back(format!("{:.6} s, host {host}: {event:?}", seconds(now)));
        }
        let (at, host) = (now.0, host as u64);
        // The frequent ones by their numbers, the others by their words.
        if let Some([a, b, c, d, e]) = numbers_of(event) {
            return self.numbers([at, host, a, b, c, d, e]);
        }
        self.numbers([at, host, 0]);
        // A hasher takes everything.
        let _ = fmt::write(&mut Words128(&mut self.hasher), format_args!("{event:?}"));
    }

    /// The same bytes on every machine, in one piece: that is quicker than number by number.
    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        self.hasher.write(numbers.map(u64::to_le_bytes).as_flattened());
    }

    pub(crate) fn facts(&self) -> u64 {
        self.facts
    }

    /// 32 hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        hex::encode(self.hasher.finish128().as_bytes())
    }

    /// The last facts in words, oldest first.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().flat_map(|tail| tail.lines.iter().cloned()).collect()
    }
}

/// A frequent fact in numbers, of which the first says what it is.
#[expect(clippy::wildcard_enum_match_arm, reason = "a new fact is told in words")]
fn numbers_of(event: &Event) -> Option<[u64; 5]> {
    Some(match *event {
        Event::Wake => [1, 0, 0, 0, 0],
        Event::MessageReceived { conn, message: Message::Have(PieceIndex(piece)) } => {
            [2, conn.0, piece.into(), 0, 0]
        }
        Event::LeaseProgress { conn, lease, bytes, latency_us } => {
            [3, conn.0, lease.0, bytes.into(), latency_us]
        }
        Event::ExtentReceived { conn, lease } => [4, conn.0, lease.0, 0, 0],
        Event::Uploaded { conn, bytes } => [5, conn.0, bytes, 0, 0],
        Event::PieceVerified { piece, outcome: PieceOutcome::Written { ref blocks }, .. }
            if blocks.is_empty() =>
        {
            [6, piece.0.into(), 0, 0, 0]
        }
        Event::AnnounceFinished { announce, result: Ok(ref reply) } => {
            // Who is named in it is known by whom is dialled.
            let told = reply.shoal.as_ref().map_or(0, |shoal| shoal.peers.len());
            [7, announce.0, reply.peers.len() as u64, told as u64, reply.interval_s.into()]
        }
        _ => return None,
    })
}

/// Whose last facts are kept in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Words {
    /// Nobody's.
    #[default]
    None,
    /// Those of one host, or of all.
    Of(Option<usize>),
}

struct Words128<'a>(&'a mut SipHasher13);

impl fmt::Write for Words128<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// Virtual seconds.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(at: Timestamp) -> f64 {
    at.0.saturating_sub(crate::world::ORIGIN.0) as f64 / 1e6
}
