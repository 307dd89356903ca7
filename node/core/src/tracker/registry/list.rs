//! Who is listed: an announce is checked, and puts its peer into the swarm or takes it out. Never
//! here: what it is answered.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Entered, LeaveReason, Registry, SwarmEvent, SwarmEventKind,
    expire::second_after,
    peer::{Bytes, Parts, Peer, bytes_of, labels_bytes},
    swarm::{PeerKey, Place, Swarm},
};
use crate::{
    config::ANNOUNCE_HAVE_LEN_MAX,
    ids::InfoHash,
    time::Timestamp,
    tracker::{
        announce::{
            AnnounceEvent, AnnounceRequest, BYTES_MAX, Failure, KEY_LEN_MAX, ShoalPeer, ShoalStatus,
        },
        labels,
    },
};

/// What an announcing peer was before.
#[derive(Clone, Copy, Default)]
struct Before {
    place: Option<Place>,
    joined: Option<u32>,
    completed: bool,
    /// Lifetime totals.
    up: u64,
    down: u64,
}

impl Registry {
    /// Lists the announcing peer or takes it out.
    pub(super) fn enter(
        &mut self,
        now: Timestamp,
        request: &AnnounceRequest,
        source: IpAddr,
    ) -> Result<Entered, Failure> {
        let info_hash = request.info_hash;
        if self.config.only.as_ref().is_some_and(|only| !only.contains(&info_hash)) {
            return Err(Failure::never(format!("torrent {info_hash} is not served here")));
        }
        let source = source.to_canonical();
        let addr = SocketAddr::new(listed_ip(request.ip, source), request.port);
        let key = PeerKey::new(request.peer_id, addr.ip());
        let torrent = self.torrents.find(&self.keys, info_hash);
        let swarm = torrent.map(|index| self.torrents.swarm(index));
        let place = swarm.and_then(|swarm| swarm.find(&self.keys, key));
        if let Some((swarm, place)) = swarm.zip(place) {
            check_secret(swarm, place, request, source)?;
        }
        let entered = Entered { source, torrent, place, unlisted: None };
        if request.event == Some(AnnounceEvent::Stopped) {
            if let Some((index, place)) = torrent.zip(place) {
                self.remove(index, place, LeaveReason::Stopped);
                let is_gone = self.drop_empty(index);
                let torrent = torrent.filter(|_| !is_gone);
                return Ok(Entered { torrent, place: None, ..entered });
            }
            return Ok(entered);
        }
        if torrent.is_none() && self.torrents.len() >= self.config.torrents_max {
            let count = self.torrents.len();
            return Err(Failure::retry(format!("{count} torrents are all this tracker serves"), 5));
        }
        Ok(self.list(now, request, addr, entered))
    }

    /// Puts the announcing peer into its swarm, in place of what it was.
    fn list(
        &mut self,
        now: Timestamp,
        request: &AnnounceRequest,
        addr: SocketAddr,
        mut entered: Entered,
    ) -> Entered {
        let key = PeerKey::new(request.peer_id, addr.ip());
        if let Some(index) = entered.torrent {
            entered.place = self.make_way(index, addr, key, entered.place);
        }
        if entered.place.is_none() {
            entered.unlisted = self.lacks_room(entered.torrent);
            if entered.unlisted.is_some() {
                return entered;
            }
        }
        let index = entered.torrent;
        let index = index.unwrap_or_else(|| self.torrents.insert(&self.keys, request.info_hash));
        let before = self.before(index, entered.place);
        let is_completion = request.event == Some(AnnounceEvent::Completed) && request.left == 0;
        let completed = is_completion && !before.completed;
        let seen = second_after(now);
        let shoal = request.shoal.as_ref();
        let shoal = shoal.map(|status| Arc::new(self.status(request, addr, status, before)));
        self.status_bytes += shoal.as_ref().map_or(0, |status| bytes_of(status));
        let peer = Peer::new(Parts {
            id: request.peer_id,
            secret: request.key.as_deref().filter(|key| key.len() <= KEY_LEN_MAX),
            bytes: Bytes {
                uploaded: request.uploaded.min(BYTES_MAX),
                downloaded: request.downloaded.min(BYTES_MAX),
                left: request.left.min(BYTES_MAX),
            },
            source: Some(entered.source).filter(|&source| source != addr.ip()),
            shoal,
            joined: before.joined.unwrap_or(seen),
            seen,
            completed: is_completion || before.completed,
        });
        let swarm = self.torrents.swarm_mut(index);
        swarm.completed = swarm.completed.saturating_add(completed.into());
        let place = swarm.put(&self.keys, before.place, addr, peer);
        if swarm.due.is_none() {
            self.torrents.set_due(index, Some(self.deadline(seen)));
        }
        self.peers += usize::from(before.place.is_none());
        let kind = match before.place {
            None => SwarmEventKind::Joined { left: request.left },
            Some(_) => SwarmEventKind::Updated { left: request.left, completed },
        };
        let (info_hash, peer_id) = (request.info_hash, request.peer_id);
        self.push_event(SwarmEvent { info_hash, peer_id, addr, kind });
        Entered { torrent: Some(index), place: Some(place), ..entered }
    }

    /// Takes out who else listens at this address; returns where the peer of this key, which stood
    /// at `place`, stands then.
    fn make_way(
        &mut self,
        index: usize,
        addr: SocketAddr,
        key: PeerKey,
        place: Option<Place>,
    ) -> Option<Place> {
        let swarm = self.torrents.swarm(index);
        if place.is_some_and(|place| swarm.addr(place) == addr) {
            return place;
        }
        let Some(other) = swarm.at(&self.keys, addr) else { return place };
        self.remove(index, other, LeaveReason::Replaced);
        self.torrents.swarm(index).find(&self.keys, key)
    }

    /// Why there is no room for one more, where there is none.
    fn lacks_room(&self, torrent: Option<usize>) -> Option<&'static str> {
        let count = torrent.map_or(0, |index| self.torrents.swarm(index).len());
        if self.peers >= self.config.peers_max {
            Some("the tracker is full: you are not listed")
        } else if count >= self.config.peers_per_torrent_max {
            Some("the swarm is full: you are not listed")
        } else {
            None
        }
    }

    /// What the peer at this place was; its status no longer counts against the budget.
    fn before(&mut self, index: usize, place: Option<Place>) -> Before {
        let Some(place) = place else { return Before::default() };
        let peer = self.torrents.swarm(index).peer(place);
        self.status_bytes -= peer.status_bytes();
        let total = |of: fn(&ShoalPeer) -> Option<u64>| peer.shoal().and_then(|status| of(status));
        let (up, down) = (total(|s| s.up).unwrap_or(0), total(|s| s.down).unwrap_or(0));
        let (joined, completed) = (Some(peer.joined), peer.completed);
        Before { place: Some(place), joined, completed, up, down }
    }

    /// The status to keep of a peer: totals never fall, and what does not fit the budget is left out.
    /// One that lacks nothing may have a bitfield, if it does not want everything (BEP 21).
    fn status(
        &self,
        request: &AnnounceRequest,
        addr: SocketAddr,
        status: &ShoalStatus,
        before: Before,
    ) -> ShoalPeer {
        let room = self.config.have_bytes_max.saturating_sub(self.status_bytes);
        let is_bounded = labels::are_bounded(&status.labels);
        let labels =
            Some(&status.labels).filter(|labels| is_bounded && labels_bytes(labels) <= room);
        let labels = Arc::new(labels.cloned().unwrap_or_default());
        let room = room - labels_bytes(&labels);
        let have =
            status.have.as_deref().filter(|have| have.len() <= ANNOUNCE_HAVE_LEN_MAX.min(room));
        ShoalPeer {
            id: request.peer_id,
            addr,
            up: Some(status.up.min(BYTES_MAX).max(before.up)),
            down: Some(status.down.min(BYTES_MAX).max(before.down)),
            left: request.left.min(BYTES_MAX),
            have: have.map(Into::into),
            labels,
        }
    }

    /// Takes a peer out and says so; its swarm stays, even when it is empty.
    pub(super) fn remove(&mut self, index: usize, place: Place, reason: LeaveReason) {
        let swarm = self.torrents.swarm_mut(index);
        let info_hash = swarm.info_hash;
        let (addr, peer) = swarm.take(&self.keys, place);
        self.peers -= 1;
        self.status_bytes -= peer.status_bytes();
        let kind = SwarmEventKind::Left(reason);
        self.push_event(SwarmEvent { info_hash, peer_id: peer.id, addr, kind });
    }

    /// Drops a swarm where nobody is in it, but for those that are always served; says whether it
    /// did.
    pub(super) fn drop_empty(&mut self, index: usize) -> bool {
        let swarm = self.torrents.swarm(index);
        let is_kept = |info_hash: &InfoHash| {
            self.config.only.as_ref().is_some_and(|only| only.contains(info_hash))
        };
        let is_dropped = swarm.is_empty() && !is_kept(&swarm.info_hash);
        if is_dropped {
            self.torrents.remove(&self.keys, index);
        }
        is_dropped
    }
}

fn check_secret(
    swarm: &Swarm,
    place: Place,
    request: &AnnounceRequest,
    source: IpAddr,
) -> Result<(), Failure> {
    let peer = swarm.peer(place);
    let known = peer.source().unwrap_or_else(|| swarm.addr(place).ip());
    match peer.secret() {
        Some(secret) if known != source && request.key.as_deref() != Some(secret) => {
            let id = request.peer_id;
            Err(Failure::new(format!("peer id {id} is in use from another address")))
        }
        _ => Ok(()),
    }
}

/// The address a peer is listed with: see [`Registry::announce`].
pub(super) fn listed_ip(named: Option<IpAddr>, source: IpAddr) -> IpAddr {
    let is_near = match source {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    let named = named.map(|ip| ip.to_canonical());
    named.filter(|ip| is_near && !ip.is_unspecified() && !ip.is_multicast()).unwrap_or(source)
}
