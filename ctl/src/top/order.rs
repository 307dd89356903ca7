//! Which torrents, peers and decisions are shown, in which order. Never here: how they are drawn.

use std::cmp::Reverse;

use shoal::v1::{self, TorrentState};

use super::{
    list::{List, Order},
    world::World,
};
use crate::human;

/// An order of torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TorrentOrder {
    /// What is at work or in trouble first, then by name.
    State,
    /// By name.
    Name,
    /// The least done first.
    Done,
    /// The fastest download first.
    Down,
    /// The fastest upload first.
    Up,
    /// The most peers first.
    Peers,
    /// The largest first.
    Size,
}

impl Order for TorrentOrder {
    const ALL: &'static [Self] =
        &[Self::State, Self::Name, Self::Done, Self::Down, Self::Up, Self::Peers, Self::Size];

    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "name",
            Self::Done => "done",
            Self::Down => "rate down",
            Self::Up => "rate up",
            Self::Peers => "peers",
            Self::Size => "size",
        }
    }
}

/// An order of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerOrder {
    /// The fastest first, both ways together.
    Rate,
    /// The fastest to us first.
    Down,
    /// The fastest from us first.
    Up,
    /// The most chunks first.
    Chunks,
    /// By address.
    Address,
    /// By what it calls itself.
    Client,
    /// The oldest first.
    Age,
}

impl Order for PeerOrder {
    const ALL: &'static [Self] =
        &[Self::Rate, Self::Down, Self::Up, Self::Chunks, Self::Address, Self::Client, Self::Age];

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Down => "rate down",
            Self::Up => "rate up",
            Self::Chunks => "chunks",
            Self::Address => "address",
            Self::Client => "client",
            Self::Age => "age",
        }
    }
}

/// An order of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecisionOrder {
    /// The newest first.
    Time,
    /// The longest to make first.
    Took,
    /// By chunk.
    Chunk,
}

impl Order for DecisionOrder {
    const ALL: &'static [Self] = &[Self::Time, Self::Took, Self::Chunk];

    fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Took => "time taken",
            Self::Chunk => "chunk",
        }
    }
}

/// The torrents that are shown, in their order.
pub(super) fn torrents<'w>(world: &'w World, list: &List<TorrentOrder>) -> Vec<&'w v1::Torrent> {
    let all = world.torrents.values().map(|known| &known.torrent);
    let state = |torrent: &v1::Torrent| human::word(torrent.state().as_str_name(), STATE_PREFIX);
    let wanted = |torrent: &&v1::Torrent| {
        list.filter.is_empty()
            || list.wants([&*torrent.name, &*torrent.info_hash, &*state(torrent)])
    };
    let mut shown: Vec<&v1::Torrent> = all.filter(wanted).collect();
    shown.sort_by(|a, b| (&a.name, &a.info_hash).cmp(&(&b.name, &b.info_hash)));
    match list.order {
        TorrentOrder::State => shown.sort_by_key(|torrent| rank(torrent.state())),
        TorrentOrder::Name => {}
        TorrentOrder::Done => shown.sort_by_key(|torrent| per_mille(torrent)),
        TorrentOrder::Down => shown.sort_by_key(|torrent| Reverse(torrent.download_bps)),
        TorrentOrder::Up => shown.sort_by_key(|torrent| Reverse(torrent.upload_bps)),
        TorrentOrder::Peers => shown.sort_by_key(|torrent| Reverse(torrent.peers)),
        TorrentOrder::Size => shown.sort_by_key(|torrent| Reverse(torrent.total_bytes)),
    }
    turned(shown, list.reversed)
}

/// What the names of states begin with.
pub(super) const STATE_PREFIX: &str = "TORRENT_STATE_";

/// What is at work or in trouble comes first.
const fn rank(state: TorrentState) -> u8 {
    match state {
        TorrentState::Error => 0,
        TorrentState::DiskFull => 1,
        TorrentState::Downloading => 2,
        TorrentState::Metadata => 3,
        TorrentState::Checking => 4,
        TorrentState::Seeding => 5,
        TorrentState::Idle => 6,
        TorrentState::Paused => 7,
        TorrentState::Quit => 8,
        TorrentState::Unspecified => 9,
    }
}

/// How much of the wanted bytes is done, in thousandths.
pub(super) fn per_mille(torrent: &v1::Torrent) -> u64 {
    let (done, wanted) = (torrent.wanted_done_bytes, torrent.wanted_bytes);
    let (done, wanted) =
        if wanted == 0 { (torrent.done_bytes, torrent.total_bytes) } else { (done, wanted) };
    let share = u128::from(done.min(wanted)) * 1000 / u128::from(wanted.max(1));
    u64::try_from(share).unwrap_or(1000)
}

/// The peers that are shown, in their order, each with the key that it is selected by.
pub(super) fn peers<'w>(
    world: &'w World,
    list: &List<PeerOrder>,
) -> Vec<(String, &'w v1::Connection)> {
    let all = world.chosen.as_ref().and_then(|chosen| chosen.peers.as_deref()).unwrap_or_default();
    let wanted = |peer: &&v1::Connection| {
        let labels = peer.labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        list.filter.is_empty()
            || list.wants([&*human::address(peer.peer.as_ref()), &*peer.client])
            || list.wants(labels)
            || list.wants([&*human::pairs(&peer.labels)])
    };
    let mut shown: Vec<&v1::Connection> = all.iter().filter(wanted).collect();
    match list.order {
        PeerOrder::Age => shown.sort_by_key(|peer| Reverse(peer.connected_ms)),
        PeerOrder::Rate => shown
            .sort_by_key(|peer| Reverse(u64::saturating_add(peer.download_bps, peer.upload_bps))),
        PeerOrder::Down => shown.sort_by_key(|peer| Reverse(peer.download_bps)),
        PeerOrder::Up => shown.sort_by_key(|peer| Reverse(peer.upload_bps)),
        PeerOrder::Chunks => shown.sort_by_key(|peer| Reverse(peer.chunks_have)),
        PeerOrder::Client => shown.sort_by(|a, b| a.client.cmp(&b.client)),
        PeerOrder::Address => shown.sort_by_cached_key(|peer| {
            let peer = peer.peer.as_ref();
            peer.map(|peer| (peer.ip.parse::<std::net::IpAddr>().ok(), peer.port))
        }),
    }
    let keyed = |peer: &'w v1::Connection| {
        (format!("{} {}", human::address(peer.peer.as_ref()), peer.peer_id), peer)
    };
    turned(shown.into_iter().map(keyed).collect(), list.reversed)
}

/// The decisions that are shown, in their order, each with the key that it is selected by.
pub(super) fn decisions<'w>(
    world: &'w World,
    list: &List<DecisionOrder>,
) -> Vec<(String, &'w v1::Decision)> {
    let chosen = world.chosen.as_ref();
    let all = chosen.and_then(|chosen| chosen.decisions.as_deref()).unwrap_or_default();
    let wanted = |decision: &&v1::Decision| {
        let peer = human::address(decision.chosen.as_ref());
        list.filter.is_empty()
            || list.wants([&*decision.chunk, &*peer, &*decision.policy, &*decision.reason])
    };
    let mut shown: Vec<&v1::Decision> = all.iter().filter(wanted).collect();
    match list.order {
        DecisionOrder::Time => {}
        DecisionOrder::Took => shown.sort_by_key(|decision| Reverse(decision.spent_us)),
        DecisionOrder::Chunk => shown.sort_by_key(|decision| (decision.piece, decision.offset)),
    }
    let keyed = |decision: &'w v1::Decision| (decision.sequence.to_string(), decision);
    turned(shown.into_iter().map(keyed).collect(), list.reversed)
}

fn turned<T>(mut shown: Vec<T>, reversed: bool) -> Vec<T> {
    if reversed {
        shown.reverse();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{list::Cursor, world::Fact};

    fn torrent(name: &str, state: TorrentState, rate: u64, done: u64) -> v1::Torrent {
        v1::Torrent {
            info_hash: format!("hash of {name}"),
            name: name.to_owned(),
            state: state.into(),
            download_bps: rate,
            wanted_bytes: 1000,
            wanted_done_bytes: done,
            ..v1::Torrent::default()
        }
    }

    #[test]
    fn torrents_stand_in_each_order_and_the_other_way_round() {
        let mut world = World::default();
        let torrents = vec![
            torrent("b", TorrentState::Seeding, 1, 1000),
            torrent("a", TorrentState::Paused, 0, 10),
            torrent("c", TorrentState::Downloading, 9, 500),
            torrent("d", TorrentState::Error, 0, 0),
        ];
        world.hear(Fact::Page { torrents, last: true });
        let mut list = List::new(Cursor::default());
        let mut check = |order, reversed, expected: &str| {
            list.order = order;
            list.reversed = reversed;
            let names: String = torrents_of(&world, &list);
            assert_eq!(names, expected, "{order:?}");
        };
        check(TorrentOrder::State, false, "dcba");
        check(TorrentOrder::Name, false, "abcd");
        check(TorrentOrder::Name, true, "dcba");
        check(TorrentOrder::Down, false, "cbad");
        check(TorrentOrder::Done, false, "dacb");
    }

    fn torrents_of(world: &World, list: &List<TorrentOrder>) -> String {
        torrents(world, list).iter().map(|torrent| torrent.name.as_str()).collect()
    }

    #[test]
    fn a_filter_finds_names_hashes_and_states() {
        let mut world = World::default();
        let torrents = vec![
            torrent("Film", TorrentState::Seeding, 1, 0),
            torrent("song", TorrentState::DiskFull, 0, 0),
        ];
        world.hear(Fact::Page { torrents, last: true });
        let mut list = List::new(Cursor::default());
        for (filter, expected) in [
            ("film", "Film"),
            ("disk full", "song"),
            ("of song", "song"),
            ("x", ""),
            ("", "songFilm"),
        ] {
            list.filter = filter.to_owned();
            assert_eq!(torrents_of(&world, &list), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_done_of_nothing_is_nothing() {
        let empty = v1::Torrent::default();
        assert_eq!(per_mille(&empty), 0);
        let all = torrent("a", TorrentState::Seeding, 0, 2000);
        assert_eq!(per_mille(&all), 1000);
    }
}
