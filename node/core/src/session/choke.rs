//! Whom requests are served where upload slots are few (BEP 3 §choking): the choice is a pure
//! function of how the connections of a torrent stand. Never here: who fetches what.

use std::{cmp::Reverse, time::Duration};

use super::{Action, Session};
use crate::{
    config::Unchoke,
    ids::{ConnId, TorrentId},
    time::Timestamp,
};

/// A choke or an unchoke holds at least so long (BEP 3 against fibrillation, Transmission's
/// number; aria2 closes a peer that flips twice in 5 s).
const HOLD: Duration = Duration::from_secs(10);
/// How long the optimistic slot stays with one peer (BEP 3), and how long a peer is not replaced by
/// an equal one that waits.
const TURN: Duration = Duration::from_secs(30);
/// A rate that orders peers is smoothed over as many ticks: 20 s (BEP 3).
const SMOOTHING_TICKS: u64 = 80;

/// How a connection stands with us as an uploader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Standing {
    /// Which.
    conn: ConnId,
    /// It wants something of us.
    wants: bool,
    /// Its requests are served.
    unchoked: bool,
    /// When that began; none: choked from its first day.
    flipped: Option<Timestamp>,
    /// When the connection was made.
    since: Timestamp,
    /// It has the optimistic slot, since then.
    optimistic: Option<Timestamp>,
    /// By which peers are ordered, bytes a second: what it sends us, or, where we have everything,
    /// what it took from us when it was last served.
    rate_bps: u64,
}

/// Who is served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Choice {
    /// All of them, at most as many as there are slots.
    unchoked: Vec<ConnId>,
    /// The one of them that has the optimistic slot.
    optimistic: Option<ConnId>,
}

/// Chooses whom `slots` serve. One of them is the optimistic one, which goes to who has waited
/// longest, whatever its rate; the others go by rate. Rates of the same power of two count as
/// equal, and equals take turns: who is served is faster for that alone, and would be for ever.
fn choose(now: Timestamp, slots: usize, peers: &[Standing]) -> Choice {
    // What was decided a moment ago stands, and takes its slot.
    let held = |peer: &&Standing| peer.unchoked && !peer.may_flip(now);
    let mut chosen = peers.iter().filter(held).collect::<Vec<_>>();
    let keeps = |peer: &&Standing| {
        peer.wants && peer.unchoked && peer.optimistic.is_some_and(|at| now.since(at) < TURN)
    };
    let mut optimistic = peers.iter().find(keeps);
    if let Some(peer) = optimistic.filter(|peer| !held(peer)) {
        chosen.push(peer);
    }
    let may_be = |peer: &&Standing| peer.wants && peer.may_flip(now);
    let mut rest = peers.iter().filter(may_be).filter(|peer| !keeps(peer)).collect::<Vec<_>>();
    let free = slots.saturating_sub(chosen.len());
    if optimistic.is_none() && free > 0 {
        let waiting = rest.iter().copied().filter(|peer| !peer.unchoked);
        optimistic = waiting.min_by_key(|peer| (peer.begun(), peer.conn));
    }
    if let Some(peer) = optimistic.filter(|peer| !keeps(peer)) {
        rest.retain(|other| other.conn != peer.conn);
        chosen.push(peer);
    }
    rest.sort_by_key(|peer| peer.rank(now));
    chosen.extend(rest.into_iter().take(slots.saturating_sub(chosen.len())));
    let unchoked = chosen.iter().map(|peer| peer.conn).collect();
    Choice { unchoked, optimistic: optimistic.map(|peer| peer.conn) }
}

impl Standing {
    fn may_flip(&self, now: Timestamp) -> bool {
        self.flipped.is_none_or(|at| now.since(at) >= HOLD)
    }

    /// Since when it is served, or waits.
    fn begun(&self) -> Timestamp {
        self.flipped.unwrap_or(self.since)
    }

    /// The least comes first.
    fn rank(&self, now: Timestamp) -> (Reverse<u32>, u8, u64, ConnId) {
        let magnitude = u64::BITS - self.rate_bps.leading_zeros();
        let Timestamp(begun) = self.begun();
        let (turn, order) = match self.unchoked {
            true if now.since(self.begun()) < TURN => (0, begun),
            // Who has waited longest comes first, and who was served longest last.
            false => (1, begun),
            true => (2, u64::MAX - begun),
        };
        (Reverse(magnitude), turn, order, self.conn)
    }
}

impl Session {
    /// Chokes and unchokes by the order of rates, where slots are few.
    pub(super) fn rechoke(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Unchoke::Slots(slots) = self.config.unchoke else { return };
        let Some(torrent) = self.torrents.get(&id) else { return };
        let (conns, finished) = (torrent.conns.clone(), torrent.is_finished());
        let mut peers = Vec::with_capacity(conns.len());
        for &conn in &conns {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            let measured = match finished {
                false => Some(state.rate_in.bps()),
                // What a choked peer takes says nothing of it.
                true => (!state.am_choking).then(|| state.rate_out.bps()),
            };
            if let Some(bps) = measured {
                let known = state.order_bps * (SMOOTHING_TICKS - 1);
                state.order_bps = known.saturating_add(bps) / SMOOTHING_TICKS;
            }
            peers.push(Standing {
                conn,
                wants: state.peer_interested && !state.upload_only,
                unchoked: !state.am_choking,
                flipped: state.choke_flipped,
                since: state.since,
                optimistic: state.optimistic,
                rate_bps: state.order_bps,
            });
        }
        let choice = choose(self.now, slots as usize, &peers);
        for conn in conns {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            let kept = state.optimistic.unwrap_or(self.now);
            state.optimistic = (choice.optimistic == Some(conn)).then_some(kept);
            let choking = !choice.unchoked.contains(&conn);
            if choking != state.am_choking {
                state.am_choking = choking;
                state.choke_flipped = Some(self.now);
                self.serve(conn, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn peer(conn: u64, rate_bps: u64) -> Standing {
        let conn = ConnId(conn);
        let (flipped, optimistic, since) = (None, None, at(0));
        Standing { conn, wants: true, unchoked: false, flipped, since, optimistic, rate_bps }
    }

    /// Lets `seconds` pass for peers, second by second; how long each was served.
    fn run(peers: &mut [Standing], slots: usize, seconds: u64) -> BTreeMap<ConnId, u64> {
        let mut served = BTreeMap::new();
        for second in 1..=seconds {
            let now = at(second);
            let choice = choose(now, slots, peers);
            assert!(choice.unchoked.len() <= slots, "{choice:?} at {now:?}");
            for peer in peers.iter_mut() {
                let kept = peer.optimistic.unwrap_or(now);
                peer.optimistic = (choice.optimistic == Some(peer.conn)).then_some(kept);
                let unchoked = choice.unchoked.contains(&peer.conn);
                if unchoked != peer.unchoked {
                    let held = peer.flipped.map(|at| now.since(at));
                    assert!(held.is_none_or(|held| held >= HOLD), "{peer:?} at {now:?}");
                    (peer.unchoked, peer.flipped) = (unchoked, Some(now));
                }
                *served.entry(peer.conn).or_insert(0) += u64::from(unchoked);
            }
        }
        served
    }

    #[test]
    fn the_fastest_are_served_and_one_slot_goes_round_among_the_others() {
        let mut peers = (0..10).map(|n| peer(n, 1000 << n)).collect::<Vec<_>>();
        let served = run(&mut peers, 4, 700);
        for (conn, seconds) in served {
            match conn.0 {
                7.. => assert!(seconds > 650, "{conn:?} was served {seconds} s"),
                _ => assert!((80..=120).contains(&seconds), "{conn:?} was served {seconds} s"),
            }
        }
    }

    #[test]
    fn equals_take_turns() {
        for slots in [1, 2, 4, 19, 20, 30] {
            let mut peers = (0..20).map(|n| peer(n, 1 << 20)).collect::<Vec<_>>();
            let served = run(&mut peers, slots, 1800);
            let mean = 1800 * slots.min(20) as u64 / 20;
            for (conn, seconds) in served {
                let off = seconds.abs_diff(mean);
                assert!(off <= 60, "{conn:?}: {seconds} s of {mean} with {slots} slots");
            }
        }
    }

    #[test]
    fn who_wants_nothing_loses_its_slot_once_the_hold_is_over() {
        let mut peers = [peer(1, 1 << 30), peer(2, 0)];
        run(&mut peers, 1, 1);
        let first = peers.iter().position(|peer| peer.unchoked).unwrap();
        peers[first].wants = false;
        let now = |seconds| at(1) + Duration::from_secs(seconds);
        assert_eq!(choose(now(9), 1, &peers).unchoked, [peers[first].conn]);
        assert_eq!(choose(now(10), 1, &peers).unchoked, [peers[1 - first].conn]);
    }

    #[test]
    fn a_faster_peer_takes_the_slot_of_a_slower_one_after_the_hold() {
        let mut peers = vec![peer(1, 1000), peer(2, 1000)];
        run(&mut peers, 2, 5);
        peers.push(peer(3, 1 << 30));
        let served = |peers: &[Standing], now| choose(now, 2, peers).unchoked.contains(&ConnId(3));
        assert!(!served(&peers, at(10)));
        assert!(served(&peers, at(11)));
    }

    #[test]
    fn no_slots_serve_nobody() {
        assert_eq!(choose(at(9), 0, &[peer(1, 5)]), Choice::default());
    }
}
