//! The native policies: Rust, no Lua involved. Pure and free of allocation, so that the engine may
//! call them for every extent. Never here: the engine's state, or a policy that remembers more
//! than the [`Cursor`] its caller keeps.

use std::{cmp::Ordering, fmt, str::FromStr};

use super::{Candidate, PeerView};
use crate::{ids::PeerId, rng::Rng};

/// A policy that is part of the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Native {
    /// The candidate that has uploaded least: the default.
    #[default]
    LowestUploaded,
    /// The candidate of which we ask least now.
    LeastInflight,
    /// The candidate that is expected to finish first.
    Fastest,
    /// Two at random, the one of which we ask less.
    TwoChoices,
    /// At random, in proportion to the rate.
    WeightedRandom,
    /// At random, all alike.
    Random,
    /// Each in its turn, in order of peer id.
    RoundRobin,
}

/// What a native policy sees of a peer.
pub trait Seen {
    /// Its id.
    fn id(&self) -> PeerId;
    /// Bytes that it has served in its life, projected.
    fn uploaded(&self) -> u64;
    /// Chunks that we have outstanding there.
    fn inflight(&self) -> u32;
    /// Chunks that we may have outstanding there.
    fn slots(&self) -> u32;
    /// Smoothed bytes a second that we get from it; 0 = unknown.
    fn rate_bps(&self) -> u64;
}

impl Seen for PeerView {
    fn id(&self) -> PeerId {
        self.id
    }

    fn uploaded(&self) -> u64 {
        self.uploaded
    }

    fn inflight(&self) -> u32 {
        self.inflight
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    fn rate_bps(&self) -> u64 {
        self.rate_bps
    }
}

/// Whose turn it was last: what [`Native::RoundRobin`] keeps between two choices of one download.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(Option<PeerId>);

/// The name is not one of [`Native::ALL`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown native policy '{0}'")]
pub struct UnknownNative(pub String);

impl Native {
    /// Every native policy, the default first.
    pub const ALL: [Self; 7] = [
        Self::LowestUploaded,
        Self::LeastInflight,
        Self::Fastest,
        Self::TwoChoices,
        Self::WeightedRandom,
        Self::Random,
        Self::RoundRobin,
    ];

    /// Its name in commands, configuration and `shoal.builtin`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LowestUploaded => "lowest_uploaded",
            Self::LeastInflight => "least_inflight",
            Self::Fastest => "fastest",
            Self::TwoChoices => "two_choices",
            Self::WeightedRandom => "weighted_random",
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
        }
    }

    /// What it does, in one sentence for a list.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::LowestUploaded => {
                "the peer that has uploaded least; then the fewest in flight, then the lowest id"
            }
            Self::LeastInflight => "the peer of which the fewest chunks are in flight",
            Self::Fastest => {
                "the least expected finish, (in flight + 1) / rate; an unknown rate counts as the best"
            }
            Self::TwoChoices => "two peers at random, the one with fewer chunks in flight",
            Self::WeightedRandom => {
                "at random in proportion to the rate; an unknown rate counts as the mean"
            }
            Self::Random => "at random, all alike",
            Self::RoundRobin => "each peer in its turn, in order of peer id",
        }
    }

    /// Chooses among `candidates`: an index into `peers`, or `None` where no candidate is open.
    ///
    /// A candidate is open while it has a free slot; one that was `tried` counts only where no
    /// other is open. Candidates whose index is not in `peers` are skipped. Ties go to the lowest
    /// `uploaded`, then to the fewest in flight, then to the lowest peer id.
    pub fn choose<P: Seen>(
        self,
        peers: &[P],
        candidates: &[Candidate],
        rng: &mut Rng,
        cursor: &mut Cursor,
    ) -> Option<usize> {
        let open = Open::new(peers, candidates);
        match self {
            Self::LowestUploaded => open.least(tie),
            Self::LeastInflight => {
                open.least(|a, b| a.inflight().cmp(&b.inflight()).then_with(|| tie(a, b)))
            }
            Self::Fastest => {
                let best = open.iter().map(|(_, p)| p.rate_bps()).max().unwrap_or(0).max(1);
                open.least(|a, b| finish(a, b, best).then_with(|| tie(a, b)))
            }
            Self::TwoChoices => open.two_choices(rng),
            Self::WeightedRandom => open.weighted(rng),
            Self::Random => open.nth(rng.below(open.count())).map(|(i, _)| i),
            Self::RoundRobin => open.next_after(cursor),
        }
    }
}

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Native {
    type Err = UnknownNative;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|native| native.name() == s);
        found.ok_or_else(|| UnknownNative(s.to_owned()))
    }
}

/// The candidates among which a choice is made.
struct Open<'a, P> {
    peers: &'a [P],
    candidates: &'a [Candidate],
    /// Nobody else is open: those that failed this chunk count too.
    tried_count: bool,
}

impl<P> Clone for Open<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Open<'_, P> {}

impl<'a, P: Seen> Open<'a, P> {
    fn new(peers: &'a [P], candidates: &'a [Candidate]) -> Self {
        let all = Self { peers, candidates, tried_count: false };
        Self { tried_count: all.iter().next().is_none(), ..all }
    }

    fn iter(self) -> impl Iterator<Item = (usize, &'a P)> {
        let counts = move |c: &&Candidate| self.tried_count || !c.tried;
        self.candidates.iter().filter(counts).filter_map(move |c| {
            let peer = self.peers.get(c.peer)?;
            (peer.inflight() < peer.slots()).then_some((c.peer, peer))
        })
    }

    fn count(self) -> usize {
        self.iter().count()
    }

    fn nth(self, n: usize) -> Option<(usize, &'a P)> {
        self.iter().nth(n)
    }

    fn least(self, order: impl Fn(&P, &P) -> Ordering) -> Option<usize> {
        self.iter().min_by(|(_, a), (_, b)| order(a, b)).map(|(i, _)| i)
    }

    fn two_choices(self, rng: &mut Rng) -> Option<usize> {
        let count = self.count();
        let first = rng.below(count);
        // The second is another one, where there is one.
        let second = if count > 1 { (first + 1 + rng.below(count - 1)) % count } else { first };
        let (a, b) = (self.nth(first)?, self.nth(second)?);
        let order = a.1.inflight().cmp(&b.1.inflight()).then_with(|| tie(a.1, b.1));
        Some(if order.is_le() { a.0 } else { b.0 })
    }

    fn weighted(self, rng: &mut Rng) -> Option<usize> {
        let (mut sum, mut known, mut strangers) = (0.0, 0_u32, 0_u32);
        for (_, peer) in self.iter() {
            sum += peer.rate_bps() as f64;
            *if peer.rate_bps() > 0 { &mut known } else { &mut strangers } += 1;
        }
        let unknown = if known == 0 { 1.0 } else { sum / f64::from(known) };
        let weight = |p: &P| if p.rate_bps() == 0 { unknown } else { p.rate_bps() as f64 };
        let total = sum + unknown * f64::from(strangers);
        let mut left = rng.unit() * total;
        let mut last = None;
        for (i, peer) in self.iter() {
            last = Some(i);
            left -= weight(peer);
            if left < 0.0 {
                break;
            }
        }
        last
    }

    fn next_after(self, cursor: &mut Cursor) -> Option<usize> {
        let last = cursor.0.map(rank);
        let mut next: Option<(Rank, usize)> = None;
        let mut lowest: Option<(Rank, usize)> = None;
        for (i, peer) in self.iter() {
            let rank = rank(peer.id());
            let place = if last.is_none_or(|last| rank > last) { &mut next } else { &mut lowest };
            if place.is_none_or(|(best, _)| rank < best) {
                *place = Some((rank, i));
            }
        }
        let (_, i) = next.or(lowest)?;
        cursor.0 = Some(self.peers[i].id());
        Some(i)
    }
}

/// A peer id as numbers in the same order: compared in a third of the time.
type Rank = (u128, u32);

fn rank(id: PeerId) -> Rank {
    let [head @ .., a, b, c, d] = id.0;
    (u128::from_be_bytes(head), u32::from_be_bytes([a, b, c, d]))
}

/// The specification's order, and how every other policy breaks its ties.
fn tie<P: Seen>(a: &P, b: &P) -> Ordering {
    let key = |p: &P| (p.uploaded(), p.inflight(), p.id());
    key(a).cmp(&key(b))
}

/// Which of two is expected to finish one more chunk first; `best` stands for an unknown rate, so
/// that a new peer is asked once and its rate learnt.
fn finish<P: Seen>(a: &P, b: &P, best: u64) -> Ordering {
    let rate = |p: &P| u128::from(if p.rate_bps() == 0 { best } else { p.rate_bps() });
    let queue = |p: &P| u128::from(p.inflight()) + 1;
    (queue(a) * rate(b)).cmp(&(queue(b) * rate(a)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{ids::ConnId, policy::Labels, rng::Rng};

    fn peer(n: u8) -> PeerView {
        PeerView {
            conn: ConnId(u64::from(n)),
            id: PeerId([n; 20]),
            addr: ([10, 0, 0, n], 7000).into(),
            labels: Arc::new(Labels::new()),
            uploaded: 0,
            downloaded: 0,
            inflight: 0,
            slots: 4,
            rate_bps: 0,
            rtt_us: 0,
            failures: 0,
            fail_streak: 0,
            is_seed: false,
            estimated: false,
            client: Arc::from("shoal 0.1.0.0"),
        }
    }

    fn all(peers: &[PeerView]) -> Vec<Candidate> {
        (0..peers.len()).map(|peer| Candidate { peer, tried: false }).collect()
    }

    fn choose(native: Native, peers: &[PeerView], candidates: &[Candidate]) -> Option<usize> {
        native.choose(peers, candidates, &mut Rng::new(1), &mut Cursor::default())
    }

    #[test]
    fn names_parse_as_they_print() {
        for native in Native::ALL {
            assert_eq!(native.to_string().parse(), Ok(native));
            assert!(!native.description().is_empty());
        }
        let error = "fasttest".parse::<Native>().unwrap_err();
        assert_eq!(error.to_string(), "unknown native policy 'fasttest'");
    }

    #[test]
    fn lowest_uploaded_breaks_ties_by_inflight_then_id() {
        let mut peers = vec![peer(3), peer(2), peer(1)];
        assert_eq!(choose(Native::LowestUploaded, &peers, &all(&peers)), Some(2), "lowest id");
        peers[2].inflight = 1;
        assert_eq!(choose(Native::LowestUploaded, &peers, &all(&peers)), Some(1), "inflight");
        peers[0].uploaded = 5;
        peers[1].uploaded = 6;
        peers[2].uploaded = 7;
        assert_eq!(choose(Native::LowestUploaded, &peers, &all(&peers)), Some(0), "uploaded");
    }

    #[test]
    fn a_full_peer_is_never_chosen() {
        let mut peers = vec![peer(1), peer(2)];
        peers[0].inflight = 4;
        for native in Native::ALL {
            assert_eq!(choose(native, &peers, &all(&peers)), Some(1), "{native}");
        }
        peers[1].slots = 0;
        for native in Native::ALL {
            assert_eq!(choose(native, &peers, &all(&peers)), None, "{native}");
            assert_eq!(choose(native, &peers, &[]), None, "{native}");
        }
    }

    #[test]
    fn a_tried_peer_is_chosen_only_when_no_other_is_open() {
        let mut peers = vec![peer(1), peer(2)];
        let candidates = [Candidate { peer: 0, tried: true }, Candidate { peer: 1, tried: false }];
        for native in Native::ALL {
            assert_eq!(choose(native, &peers, &candidates), Some(1), "{native}");
        }
        peers[1].inflight = peers[1].slots;
        for native in Native::ALL {
            assert_eq!(choose(native, &peers, &candidates), Some(0), "{native}");
        }
    }

    #[test]
    fn fastest_weighs_the_queue_and_tries_the_unknown() {
        let mut peers = vec![peer(1), peer(2), peer(3)];
        (peers[0].rate_bps, peers[1].rate_bps, peers[2].rate_bps) = (900, 400, 100);
        assert_eq!(choose(Native::Fastest, &peers, &all(&peers)), Some(0));
        peers[0].inflight = 2;
        assert_eq!(choose(Native::Fastest, &peers, &all(&peers)), Some(1), "3/900 > 1/400");
        peers[2].rate_bps = 0;
        assert_eq!(choose(Native::Fastest, &peers, &all(&peers)), Some(2), "unknown is the best");
    }

    #[test]
    fn round_robin_visits_everyone_in_order_of_id() {
        let peers = vec![peer(3), peer(1), peer(2)];
        let (mut rng, mut cursor) = (Rng::new(1), Cursor::default());
        let mut next = || Native::RoundRobin.choose(&peers, &all(&peers), &mut rng, &mut cursor);
        let turns: Vec<_> = (0..5).map(|_| next()).collect();
        assert_eq!(turns, [Some(1), Some(2), Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn weighted_random_follows_the_rates() {
        let mut peers = vec![peer(1), peer(2)];
        (peers[0].rate_bps, peers[1].rate_bps) = (3000, 1000);
        let (mut rng, mut cursor) = (Rng::new(7), Cursor::default());
        let candidates = all(&peers);
        let mut first = 0;
        for _ in 0..4000 {
            let chosen = Native::WeightedRandom.choose(&peers, &candidates, &mut rng, &mut cursor);
            first += u32::from(chosen == Some(0));
        }
        assert!((2850..3150).contains(&first), "{first} of 4000");
    }

    #[test]
    fn two_choices_prefers_the_one_of_which_less_is_asked() {
        let mut peers = vec![peer(1), peer(2)];
        peers[0].inflight = 3;
        for seed in 0..32 {
            let mut rng = Rng::new(seed);
            let chosen =
                Native::TwoChoices.choose(&peers, &all(&peers), &mut rng, &mut Cursor::default());
            assert_eq!(chosen, Some(1), "seed {seed}");
        }
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_an_open_candidate(
            table in prop::collection::vec((0..4_u64, 0..4_u32, 0..4_u32, 0..3_u64, any::<bool>()), 0..20),
            seed in any::<u64>(),
        ) {
            let peers: Vec<_> = table.iter().enumerate().map(|(n, row)| PeerView {
                uploaded: row.0, inflight: row.1, slots: row.2, rate_bps: (u64::MAX / 2) * row.3,
                ..peer(u8::try_from(n).unwrap())
            }).collect();
            let candidates: Vec<_> =
                table.iter().enumerate().map(|(peer, row)| Candidate { peer, tried: row.4 }).collect();
            let open: Vec<_> = candidates.iter().filter(|c| peers[c.peer].inflight < peers[c.peer].slots).collect();
            for native in Native::ALL {
                let chosen = native.choose(&peers, &candidates, &mut Rng::new(seed), &mut Cursor::default());
                match chosen {
                    None => prop_assert!(open.is_empty()),
                    Some(i) => {
                        let it = open.iter().find(|c| c.peer == i);
                        prop_assert!(it.is_some());
                        prop_assert!(!it.unwrap().tried || open.iter().all(|c| c.tried));
                    }
                }
            }
        }
    }
}
