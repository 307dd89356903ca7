//! What trackers hear of a quest: that we want a torrent of which nothing is known, not even how
//! much is left.

use crate::{
    config::BLOCK_LEN,
    ids::{AnnounceId, TorrentId},
    session::{
        Action, Session, announce::NUMWANT, event::AnnounceFailure, notice::Notice, notify,
        timers::Timer,
    },
    time::Timestamp,
    torrent::{
        announcing::{Outcome, Step, describe},
        book::Source,
    },
    tracker::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest, ShoalStatus},
};

/// Bytes that are said to be left: more than none, or we were a seeder (libtorrent says the same).
const LEFT_BYTES: u64 = BLOCK_LEN as u64;

impl Session {
    /// Makes the announce that is due in a quest, if any, and sets the timer for the next.
    pub(in crate::session) fn quest_announce_due(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let announce = AnnounceId(self.next_id());
        let leaving = self.leaving.is_some();
        let Some(quest) = self.quests.get_mut(&id) else { return };
        if let Some(step) = quest.announcing.step(announce, self.now, leaving, (0, 0)) {
            self.launch_for_quest(id, announce, step, out);
        }
        let due = self.quests.get(&id).map_or(Timestamp::NEVER, |quest| quest.announcing.due());
        self.timers.set(Timer::Announce(id), if leaving { Timestamp::NEVER } else { due });
    }

    fn launch_for_quest(
        &mut self,
        id: TorrentId,
        announce: AnnounceId,
        step: Step,
        out: &mut Vec<Action>,
    ) {
        let Some(quest) = self.quests.get(&id) else { return };
        let identity = &self.identity;
        let (info_hash, port) = (quest.magnet.info_hash, identity.listen_port);
        let mut request = AnnounceRequest::new(info_hash, identity.peer_id, port, LEFT_BYTES);
        let stopped = step.event == Some(AnnounceEvent::Stopped);
        request.event = step.event;
        request.ip = identity.advertise;
        request.tracker_id = step.tracker_id;
        request.numwant = Some(if stopped { 0 } else { NUMWANT });
        request.shoal = (!stopped).then(ShoalStatus::default);
        if let Some(status) = request.shoal.as_mut().filter(|_| step.with_status) {
            status.labels = (*identity.labels).clone();
        }
        let deadline = self.now + self.config.announce_timeout;
        self.timers.set(Timer::AnnounceDeadline(id, announce), deadline);
        out.push(Action::Announce { announce, url: step.url, request: Box::new(request) });
    }

    /// An announce of a quest ended, or its deadline passed.
    pub(in crate::session) fn quest_announce_ended(
        &mut self,
        id: TorrentId,
        announce: AnnounceId,
        result: &Result<AnnounceReply, AnnounceFailure>,
        out: &mut Vec<Action>,
    ) {
        let Some(quest) = self.quests.get_mut(&id) else { return };
        let url = quest.announcing.url().unwrap_or_default().to_owned();
        let outcome = match result {
            Ok(reply) => quest.announcing.succeeded(announce, reply, self.now),
            Err(failure) => quest.announcing.failed(announce, failure, self.now, &mut self.rng),
        };
        if outcome == Outcome::Stale {
            return;
        }
        self.dirty.insert(id);
        match result {
            Ok(answer) => self.learn_sources(id, url, answer, out),
            Err(failure) => {
                let cause = describe(failure);
                notify(out, Notice::AnnounceFailed { torrent: id, url, cause });
            }
        }
        if outcome == Outcome::GoesOn {
            let next = AnnounceId(self.next_id());
            let step = self.quests.get_mut(&id).and_then(|quest| quest.announcing.proceed(next));
            if let Some(step) = step {
                self.launch_for_quest(id, next, step, out);
            }
        }
        self.leave_if_done(out);
    }

    fn learn_sources(
        &mut self,
        id: TorrentId,
        url: String,
        answer: &AnnounceReply,
        out: &mut Vec<Action>,
    ) {
        let (limit, own) = (self.config.peers_per_torrent_max, self.identity.peer_id);
        let Some(quest) = self.quests.get_mut(&id) else { return };
        if !quest.announcing.is_started() {
            return; // The answer to `stopped` names nobody.
        }
        for peer in &answer.peers {
            if peer.id == Some(own) {
                quest.book.is_ourselves(peer.addr);
            } else {
                quest.book.learn(peer.addr, Source::Tracker, limit);
            }
        }
        let peers = answer.peers.len();
        notify(out, Notice::Announced { torrent: id, url, peers });
    }
}
