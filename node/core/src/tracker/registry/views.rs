//! What operators and scrapers see of the registry: pages of plain values. Never here: a change.

use std::{net::SocketAddr, time::Duration};

use super::{
    Registry,
    answer::count,
    expire::at_second,
    swarm::{PeerKey, Place, Swarm},
};
use crate::{
    ids::{InfoHash, PeerId},
    policy::Labels,
    time::Timestamp,
    tracker::scrape::{ScrapeEntry, ScrapeReply},
};

/// A swarm in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SwarmSummary {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Seeds.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// How often it was completed since the swarm was last empty.
    pub downloaded: u32,
}

/// A swarm and a page of its peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwarmView {
    /// Its numbers.
    pub summary: SwarmSummary,
    /// A page of its peers, in order of keys.
    pub peers: Vec<PeerStatus>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<PeerKey>,
}

/// A peer as the tracker knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Its id.
    pub id: PeerId,
    /// Where it listens; port 0 is nowhere.
    pub addr: SocketAddr,
    /// Bytes missing until complete.
    pub left: u64,
    /// Payload bytes served in its life; `None` where it reports none, as foreign peers.
    pub up: Option<u64>,
    /// Payload bytes fetched in its life; `None` where it reports none, as foreign peers.
    pub down: Option<u64>,
    /// Payload bytes served since it started.
    pub session_up: u64,
    /// Payload bytes fetched since it started.
    pub session_down: u64,
    /// Pieces it has; `None` where it did not say, as seeds and foreign peers.
    pub have_count: Option<u32>,
    /// Its operator's labels. From the wire: sanitise before a terminal.
    pub labels: Labels,
    /// Time since it joined, to the second.
    pub joined: Duration,
    /// Time since it last announced, to the second.
    pub age: Duration,
}

impl Registry {
    /// The swarms after this info hash (from the first with `None`), in order, at most `limit`.
    #[must_use]
    pub fn swarms(&self, after: Option<InfoHash>, limit: usize) -> Vec<SwarmSummary> {
        let swarms = self.torrents.after(after).take(limit);
        swarms.filter_map(|info_hash| self.known(info_hash)).map(summary).collect()
    }

    /// A swarm and those of its peers that come after this key, at most `limit`. `None` where
    /// nobody is in it. O(peers of the swarm), whatever `limit` is.
    #[must_use]
    pub fn swarm(
        &self,
        now: Timestamp,
        info_hash: InfoHash,
        after: Option<PeerKey>,
        limit: usize,
    ) -> Option<SwarmView> {
        let swarm = self.known(info_hash)?;
        let (page, has_more) = swarm.page(after, limit);
        let key = |place: &Place| PeerKey { id: swarm.peer(*place).id, family: place.family };
        let next = page.last().filter(|_| has_more).map(key);
        let peers = page.into_iter().map(|place| status(now, swarm, place)).collect();
        Some(SwarmView { summary: summary(swarm), peers, next })
    }

    /// The numbers of these torrents, of those that have a swarm (BEP 48).
    #[must_use]
    pub fn scrape(&self, info_hashes: &[InfoHash]) -> ScrapeReply {
        let entry = |&info_hash: &InfoHash| {
            let SwarmSummary { complete, incomplete, downloaded, .. } =
                summary(self.known(info_hash)?);
            Some((info_hash, ScrapeEntry { complete, incomplete, downloaded }))
        };
        ScrapeReply { files: info_hashes.iter().filter_map(entry).collect() }
    }

    /// How many torrents have a swarm, and how many peers are in all of them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.torrents.len(), self.peers)
    }

    fn known(&self, info_hash: InfoHash) -> Option<&Swarm> {
        self.torrents.find(&self.keys, info_hash).map(|index| self.torrents.swarm(index))
    }
}

fn summary(swarm: &Swarm) -> SwarmSummary {
    SwarmSummary {
        info_hash: swarm.info_hash,
        complete: count(swarm.seeds() as u64),
        incomplete: count(swarm.leechers() as u64),
        downloaded: swarm.completed,
    }
}

fn status(now: Timestamp, swarm: &Swarm, place: Place) -> PeerStatus {
    let (peer, bytes) = (swarm.peer(place), swarm.peer(place).bytes());
    let shoal = peer.shoal();
    let have = shoal.and_then(|status| status.have.as_deref());
    PeerStatus {
        id: peer.id,
        addr: swarm.addr(place),
        left: bytes.left,
        up: shoal.and_then(|status| status.up),
        down: shoal.and_then(|status| status.down),
        session_up: bytes.uploaded,
        session_down: bytes.downloaded,
        have_count: have.map(|have| have.iter().map(|byte| byte.count_ones()).sum()),
        labels: shoal.map(|status| (*status.labels).clone()).unwrap_or_default(),
        joined: now.since(at_second(peer.joined)),
        age: now.since(at_second(peer.seen)),
    }
}
