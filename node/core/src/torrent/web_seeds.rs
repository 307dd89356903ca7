//! The web seeds of a torrent (BEP 19): which are in use, which rest after a failure and which are
//! given up. Never here: connections, or when a web seed is wanted.

use std::time::Duration;

use crate::{
    ids::{ConnId, PeerId},
    rng::Rng,
    session::{
        fault::{CloseCause, Retry},
        view::WebSeedView,
    },
    time::Timestamp,
};

/// How long a web seed rests after a failure; twice as long after each further one in a row.
pub const REST: Duration = Duration::from_secs(10);
/// The longest rest.
pub const REST_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a web seed rests that an operator disconnected.
const DISMISSED: Duration = Duration::from_secs(60);

/// The web seeds of a torrent.
#[derive(Debug, Default)]
pub struct WebSeeds(Vec<WebSeed>);

/// One web seed.
#[derive(Debug)]
pub struct WebSeed {
    /// Where it is.
    pub url: String,
    /// As what it stands among peers. At random: no peer can take its name, and its blame.
    pub peer_id: PeerId,
    state: State,
    /// In a row.
    failures: u32,
    rests_until: Timestamp,
    given_up: bool,
    error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Opening(ConnId),
    Open(ConnId),
}

impl WebSeeds {
    /// None of them in use.
    #[must_use]
    pub fn new(urls: &[String], rng: &mut Rng) -> Self {
        let seed = |url: &String| WebSeed {
            url: url.clone(),
            peer_id: peer_id(rng),
            state: State::Idle,
            failures: 0,
            rests_until: Timestamp::default(),
            given_up: false,
            error: None,
        };
        Self(urls.iter().map(seed).collect())
    }

    /// Whether the torrent has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are among the torrent's connections.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.0.iter().filter(|seed| matches!(seed.state, State::Open(_))).count()
    }

    /// Whether one may deliver yet.
    #[must_use]
    pub fn is_hopeful(&self) -> bool {
        self.0.iter().any(|seed| !seed.given_up)
    }

    /// Those that may be opened now, as indexes.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<usize> {
        let due =
            |seed: &WebSeed| seed.state == State::Idle && !seed.given_up && seed.rests_until <= now;
        (0..self.0.len()).filter(|&index| due(&self.0[index])).collect()
    }

    /// One is being opened as this connection; its URL.
    pub fn opening(&mut self, index: usize, conn: ConnId) -> Option<&str> {
        let seed = self.0.get_mut(index)?;
        seed.state = State::Opening(conn);
        Some(&seed.url)
    }

    /// One that was being opened is open; as whom.
    pub fn opened(&mut self, conn: ConnId) -> Option<PeerId> {
        let seed = self.0.iter_mut().find(|seed| seed.state == State::Opening(conn))?;
        seed.state = State::Open(conn);
        Some(seed.peer_id)
    }

    /// Those that are open, or being opened.
    pub fn conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.0.iter().filter_map(WebSeed::conn)
    }

    /// A piece of it was right.
    pub fn delivered(&mut self, conn: ConnId) {
        if let Some(seed) = self.of(conn) {
            seed.failures = 0;
            seed.error = None;
        }
    }

    /// A connection ended: by what it failed says how it goes on.
    pub fn ended(&mut self, conn: ConnId, cause: &CloseCause, now: Timestamp) {
        let Some(seed) = self.of(conn) else { return };
        seed.state = State::Idle;
        match cause {
            CloseCause::WebSeed(fault) => {
                seed.error = Some(fault.cause.clone());
                let doublings = seed.failures.min(16);
                seed.failures += 1;
                let rest = (REST * (1 << doublings)).min(REST_MAX);
                match fault.retry {
                    Retry::Later => seed.rests_until = now + rest,
                    Retry::After(wish) => seed.rests_until = now + rest.max(wish),
                    Retry::Never => seed.given_up = true,
                }
            }
            // Only wrong data is a fault of a web seed.
            CloseCause::Fault(_) => {
                seed.error = Some(cause.to_string());
                seed.given_up = true;
            }
            CloseCause::Operator => seed.rests_until = now + DISMISSED,
            CloseCause::Remote
            | CloseCause::Io(_)
            | CloseCause::Idle
            | CloseCause::TorrentStopped
            | CloseCause::Recanted
            | CloseCause::UnknownTorrent
            | CloseCause::Own
            | CloseCause::Duplicate
            | CloseCause::BothComplete
            | CloseCause::NotNeeded
            | CloseCause::NoMetadata
            | CloseCause::MetadataFound
            | CloseCause::Banned
            | CloseCause::Full
            | CloseCause::Shutdown => {}
        }
    }

    /// How they stand.
    #[must_use]
    pub fn views(&self, now: Timestamp) -> Vec<WebSeedView> {
        let view = |seed: &WebSeed| WebSeedView {
            url: seed.url.clone(),
            in_use: matches!(seed.state, State::Open(_)),
            given_up: seed.given_up,
            rests: if seed.given_up { Duration::ZERO } else { seed.rests_until.since(now) },
            error: seed.error.clone(),
        };
        self.0.iter().map(view).collect()
    }

    fn of(&mut self, conn: ConnId) -> Option<&mut WebSeed> {
        self.0.iter_mut().find(|seed| seed.conn() == Some(conn))
    }
}

impl WebSeed {
    fn conn(&self) -> Option<ConnId> {
        match self.state {
            State::Idle => None,
            State::Opening(conn) | State::Open(conn) => Some(conn),
        }
    }
}

fn peer_id(rng: &mut Rng) -> PeerId {
    let mut id = *b"-WS0000-............";
    for byte in &mut id[8..] {
        *byte = rng.below(256) as u8;
    }
    PeerId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        session::fault::WebSeedFault,
        wire::{Misbehaved, PeerFault},
    };

    const CONN: ConnId = ConnId(7);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn one() -> WebSeeds {
        WebSeeds::new(&["http://w/".to_owned()], &mut Rng::new(1))
    }

    fn fault(retry: Retry) -> CloseCause {
        CloseCause::WebSeed(WebSeedFault { cause: "HTTP status 503".to_owned(), retry })
    }

    /// How long it rests after it was opened and ended so.
    fn rest(seeds: &mut WebSeeds, cause: &CloseCause, now: Timestamp) -> Duration {
        seeds.opening(0, CONN);
        seeds.opened(CONN).unwrap();
        assert!(seeds.due(Timestamp::NEVER).is_empty(), "it is in use");
        seeds.ended(CONN, cause, now);
        seeds.views(now)[0].rests
    }

    #[test]
    fn rests_double_up_to_half_an_hour_and_begin_anew_after_a_delivery() {
        let mut seeds = one();
        let rests = (0..20).map(|_| rest(&mut seeds, &fault(Retry::Later), at(0)).as_secs());
        let rests = rests.collect::<Vec<_>>();
        assert_eq!(rests[..8], [10, 20, 40, 80, 160, 320, 640, 1280]);
        assert!(rests[8..].iter().all(|&rest| rest == 1800), "{rests:?}");
        assert!(seeds.due(at(1799)).is_empty() && seeds.due(at(1800)) == [0]);
        seeds.opening(0, CONN);
        seeds.opened(CONN).unwrap();
        seeds.delivered(CONN);
        assert_eq!(seeds.views(at(0))[0].error, None);
        seeds.ended(CONN, &CloseCause::NotNeeded, at(1800));
        assert_eq!(rest(&mut seeds, &fault(Retry::Later), at(1800)), REST);
    }

    #[test]
    fn the_server_may_ask_for_a_longer_rest_and_never_for_a_shorter_one() {
        let after = |seconds| fault(Retry::After(Duration::from_secs(seconds)));
        assert_eq!(rest(&mut one(), &after(3), at(0)), REST);
        assert_eq!(rest(&mut one(), &after(300), at(0)), Duration::from_secs(300));
    }

    #[test]
    fn what_cannot_get_better_is_given_up() {
        let piece = Misbehaved::CorruptPiece { piece: 1 };
        for cause in [fault(Retry::Never), CloseCause::Fault(PeerFault::from(piece))] {
            let mut seeds = one();
            rest(&mut seeds, &cause, at(0));
            let view = &seeds.views(at(0))[0];
            assert!(view.given_up && view.error.is_some() && !view.in_use, "{view:?}");
            assert!(seeds.due(Timestamp::NEVER).is_empty() && !seeds.is_hopeful());
        }
    }

    #[test]
    fn an_operators_word_holds_for_a_minute_and_other_ends_not_at_all() {
        assert_eq!(rest(&mut one(), &CloseCause::Operator, at(0)), DISMISSED);
        assert_eq!(rest(&mut one(), &CloseCause::NotNeeded, at(0)), Duration::ZERO);
        let mut opening = one();
        opening.opening(0, CONN);
        assert_eq!((opening.open_count(), opening.conns().count()), (0, 1));
        opening.ended(CONN, &fault(Retry::Later), at(0));
        assert_eq!(opening.views(at(4))[0].rests, Duration::from_secs(6));
    }
}
