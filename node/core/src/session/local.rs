//! Local discovery (BEP 14): which torrents are announced on the local network, and what is believed
//! of what is announced there. Nothing of it happens in a private torrent (BEP 27).

use std::net::SocketAddr;

use super::{Action, Session, timers::Timer};
use crate::{
    address::is_shared,
    config::LOCAL_PATIENCE,
    ids::{InfoHash, JobId, TorrentId},
    time::Timestamp,
    torrent::{Torrent, book::Source},
};

impl Session {
    /// Whether a torrent is announced on the local network, and listens for others there.
    pub(super) fn is_local(&self, torrent: &Torrent) -> bool {
        let open = torrent.takes_part() && !torrent.metainfo.private;
        self.config.local_discovery && open && self.leaving.is_none()
    }

    /// A download that began a moment ago: local answers may yet come.
    pub(super) fn awaits_local(&self, id: TorrentId, job: JobId) -> bool {
        let (torrent, job) = (self.torrents.get(&id), self.jobs.get(&job));
        let young = job.is_some_and(|job| self.now.since(job.began) < LOCAL_PATIENCE);
        young && torrent.is_some_and(|torrent| self.is_local(torrent))
    }

    /// Sees whether a torrent is to be announced. One of which nothing is had and nothing wanted
    /// is nobody's business.
    pub(super) fn stand_locally(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let looking = torrent.auto_download.is_some() && !torrent.is_finished();
        let some = looking || torrent.have().count_ones() > 0;
        let announced = some && self.is_local(torrent);
        let lonely = looking && torrent.conns.is_empty();
        let now = self.now;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.local.stand(announced, looking, now);
        if lonely {
            torrent.local.seek(now);
        }
        let next = torrent.local.next();
        self.timers.set_sooner(Timer::LocalAnnounce, next);
    }

    /// Announces the torrents that are due.
    pub(super) fn announce_locally(&mut self, out: &mut Vec<Action>) {
        let (mut info_hashes, mut next) = (Vec::new(), Timestamp::NEVER);
        for torrent in self.torrents.values_mut() {
            if torrent.local.take_due(self.now) {
                info_hashes.push(torrent.metainfo.info_hash);
            }
            next = next.min(torrent.local.next());
        }
        self.timers.set(Timer::LocalAnnounce, next);
        if !info_hashes.is_empty() {
            out.push(Action::AnnounceLocally { info_hashes, port: self.identity.listen_port });
        }
    }

    /// Somebody on the local network announced torrents. Of ours it is told of us, where we have
    /// something for it and are strangers.
    pub(super) fn on_heard_locally(&mut self, addr: SocketAddr, info_hashes: &[InfoHash]) {
        let from = addr.ip().to_canonical();
        if !is_shared(addr, from) {
            return;
        }
        for info_hash in info_hashes {
            let Some(&id) = self.by_hash.get(info_hash) else { continue };
            let Some(torrent) = self.torrents.get(&id).filter(|t| self.is_local(t)) else {
                continue;
            };
            let useful = torrent.have().count_ones() > 0 && self.conn_at(id, &addr).is_none();
            self.hear_of(id, addr, Source::Local(from));
            let now = self.now;
            if let Some(torrent) = self.torrents.get_mut(&id).filter(|_| useful) {
                torrent.local.wish(now);
                let next = torrent.local.next();
                self.timers.set_sooner(Timer::LocalAnnounce, next);
            }
        }
    }
}
