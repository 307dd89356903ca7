//! Announces: when a torrent makes them, what they say, what follows from the answers.

use super::{
    Action, Session,
    command::{CommandError, Done},
    event::AnnounceFailure,
    notice::Notice,
    notify, reply,
    timers::Timer,
    view::PeerSetView,
};
use crate::{
    config::ANNOUNCE_HAVE_LEN_MAX,
    ids::{AnnounceId, CommandId, TorrentId},
    torrent::{
        announcing::{Outcome, Step, Wait, describe},
        book::Source,
    },
    tracker::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest, ShoalStatus},
};

/// Peers asked for in an announce; trackers give fewer as they like.
pub(super) const NUMWANT: u32 = 200;

impl Session {
    /// Makes the announce that is due in a torrent, if any, and sets the timer for the next.
    pub(super) fn announce_due(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let announce = AnnounceId(self.next_id());
        let leaving = self.leaving.is_some();
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let totals = (torrent.uploaded, torrent.downloaded);
        if let Some(step) = torrent.announcing.step(announce, self.now, leaving, totals) {
            self.launch(id, announce, step, out);
        }
        let due = self.torrents[&id].announcing.due();
        let due = if leaving { crate::time::Timestamp::NEVER } else { due };
        self.timers.set(Timer::Announce(id), due);
    }

    fn launch(&mut self, id: TorrentId, announce: AnnounceId, step: Step, out: &mut Vec<Action>) {
        let request = Box::new(self.announce_request(id, &step));
        let deadline = self.now + self.config.announce_timeout;
        self.timers.set(Timer::AnnounceDeadline(id, announce), deadline);
        out.push(Action::Announce { announce, url: step.url, request });
    }

    fn announce_request(&self, id: TorrentId, step: &Step) -> AnnounceRequest {
        let torrent = &self.torrents[&id];
        let identity = &self.identity;
        let totals = (torrent.uploaded, torrent.downloaded);
        let session = torrent.announcing.session_totals(totals);
        let info_hash = torrent.metainfo.info_hash;
        let port = identity.listen_port;
        let mut request =
            AnnounceRequest::new(info_hash, identity.peer_id, port, torrent.left_bytes());
        (request.uploaded, request.downloaded) = session;
        request.event = step.event;
        request.ip = identity.advertise;
        request.tracker_id = step.tracker_id.clone();
        let stopped = step.event == Some(AnnounceEvent::Stopped);
        let wants_peers = !stopped;
        request.numwant = Some(if wants_peers { NUMWANT } else { 0 });
        request.shoal = (!stopped).then(ShoalStatus::default);
        if step.with_status && !stopped {
            let have = torrent.have();
            let tell = !have.is_full() && have.len().div_ceil(8) <= ANNOUNCE_HAVE_LEN_MAX;
            request.shoal = Some(ShoalStatus {
                have: tell.then(|| have.to_wire()),
                up: totals.0,
                down: totals.1,
                labels: (*identity.labels).clone(),
            });
        }
        request
    }

    pub(super) fn on_announce_finished(
        &mut self,
        announce: AnnounceId,
        result: Result<AnnounceReply, AnnounceFailure>,
        out: &mut Vec<Action>,
    ) {
        let ids = self.torrents.keys().chain(self.quests.keys()).copied();
        let timer = ids.map(|id| Timer::AnnounceDeadline(id, announce));
        let Some(timer) =
            timer.collect::<Vec<_>>().into_iter().find(|timer| self.timers.is_set(*timer))
        else {
            return;
        };
        self.timers.clear(timer);
        let Timer::AnnounceDeadline(id, _) = timer else { return };
        self.announce_ended(id, announce, result, out);
    }

    /// An announce ended, or its deadline passed.
    pub(super) fn announce_ended(
        &mut self,
        id: TorrentId,
        announce: AnnounceId,
        result: Result<AnnounceReply, AnnounceFailure>,
        out: &mut Vec<Action>,
    ) {
        if self.quests.contains_key(&id) {
            return self.quest_announce_ended(id, announce, &result, out);
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let url = torrent.announcing.url().unwrap_or_default().to_owned();
        let outcome = match &result {
            Ok(reply) => torrent.announcing.succeeded(announce, reply, self.now),
            Err(failure) => torrent.announcing.failed(announce, failure, self.now, &mut self.rng),
        };
        if outcome == Outcome::Stale {
            return;
        }
        self.dirty.insert(id);
        let failed = match result {
            Ok(answer) => {
                self.learn_peers(id, &url, answer, out);
                None
            }
            Err(failure) => {
                let cause = describe(&failure);
                notify(out, Notice::AnnounceFailed { torrent: id, url: url.clone(), cause });
                Some(failure)
            }
        };
        match outcome {
            Outcome::Stale => {}
            Outcome::GoesOn => {
                let next = AnnounceId(self.next_id());
                let Some(torrent) = self.torrents.get_mut(&id) else { return };
                if let Some(step) = torrent.announcing.proceed(next) {
                    self.launch(id, next, step, out);
                }
            }
            Outcome::Settled(waiters) => self.announce_settled(id, &url, waiters, out),
            Outcome::Failed(waiters) => {
                let Some(failure) = failed else { return };
                self.announce_failed(id, &url, &failure, waiters, out);
            }
        }
    }

    /// Takes over what a tracker answered: addresses, the peer set, totals of connected peers.
    fn learn_peers(
        &mut self,
        id: TorrentId,
        url: &str,
        answer: AnnounceReply,
        out: &mut Vec<Action>,
    ) {
        let limit = self.config.peers_per_torrent_max;
        let own = self.identity.peer_id;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !torrent.announcing.is_started() {
            return; // The answer to `stopped` names nobody.
        }
        let plain = answer.peers.iter().map(|peer| (peer.addr, peer.id));
        let told = answer.shoal.iter().flat_map(|shoal| &shoal.peers);
        let told = told.map(|peer| (peer.addr, Some(peer.id)));
        for (addr, peer_id) in plain.chain(told) {
            if peer_id == Some(own) {
                torrent.book.is_ourselves(addr);
            } else {
                torrent.book.learn(addr, Source::Tracker, limit);
            }
        }
        let mut set = PeerSetView {
            plain: answer.peers,
            shoal: answer.shoal.map(|shoal| shoal.peers).unwrap_or_default(),
            url: Some(url.to_owned()),
            at: Some(self.now),
            seeders: answer.complete.unwrap_or(0),
            leechers: answer.incomplete.unwrap_or(0),
        };
        set.plain.truncate(limit);
        set.shoal.truncate(limit);
        let peers = set.plain.len().max(set.shoal.len());
        torrent.take_peer_set(set);
        for conn in torrent.conns.clone() {
            self.adopt_report(conn);
        }
        notify(out, Notice::Announced { torrent: id, url: url.to_owned(), peers });
    }

    fn announce_settled(
        &mut self,
        id: TorrentId,
        url: &str,
        waiters: Vec<(CommandId, Wait)>,
        out: &mut Vec<Action>,
    ) {
        let torrent = &self.torrents[&id];
        let set = torrent.peer_set();
        let done = Done::Announced {
            url: url.to_owned(),
            peers: set.plain.len().max(set.shoal.len()),
            interval_ms: torrent.announcing.interval_ms(),
            shoal: torrent.announcing.keeps_status(),
        };
        for (command, wait) in waiters {
            let done = if wait == Wait::Stop { Done::Ok } else { done.clone() };
            reply(out, command, Ok(done));
        }
        notify(out, Notice::TorrentChanged(id));
        self.leave_if_done(out);
    }

    fn announce_failed(
        &mut self,
        id: TorrentId,
        url: &str,
        failure: &AnnounceFailure,
        waiters: Vec<(CommandId, Wait)>,
        out: &mut Vec<Action>,
    ) {
        let url = url.to_owned();
        let error = match failure {
            AnnounceFailure::Refused { reason, .. } => {
                CommandError::TrackerRefused { url, reason: reason.clone() }
            }
            AnnounceFailure::Unreachable { cause } | AnnounceFailure::Malformed { cause } => {
                CommandError::TrackerUnreachable { url, cause: cause.clone() }
            }
        };
        self.tracker_failed_jobs(id, &error, out);
        let wished = waiters.iter().any(|(_, wait)| *wait == Wait::Connect);
        if let Some(torrent) = self.torrents.get_mut(&id) {
            // A wish that could not come true leaves nothing half done.
            if wished && !torrent.announcing.is_started() && torrent.auto_download.is_none() {
                torrent.announcing.unwant();
            }
        }
        for (command, _) in waiters {
            reply(out, command, Err(error.clone()));
        }
        notify(out, Notice::TorrentChanged(id));
        self.leave_if_done(out);
    }
}
