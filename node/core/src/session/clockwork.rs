//! What time brings: the tick, and everything that is overdue.

use std::time::Duration;

use super::{
    Action, Leaving, Session,
    command::{CommandError, Done},
    event::AnnounceFailure,
    fault::CloseCause,
    notice::Notice,
    notify, reply,
    timers::Timer,
};
use crate::{
    ids::{CommandId, ConnId, TorrentId},
    policy::ChunkFault,
};

/// How often rates, snubs and take-overs are looked at.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Our totals are told at most this often (design §8).
const STATUS_EVERY: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn run_timers(&mut self, out: &mut Vec<Action>) {
        while let Some(timer) = self.timers.due(self.now) {
            match timer {
                Timer::Tick => self.tick(out),
                Timer::Announce(id) | Timer::Redial(id) | Timer::Deferred(id) => {
                    self.dirty.insert(id);
                }
                Timer::AnnounceDeadline(id, announce) => {
                    let seconds = self.config.announce_timeout.as_secs();
                    let cause = format!("no answer within {seconds} s");
                    let failure = AnnounceFailure::Unreachable { cause };
                    self.announce_ended(id, announce, Err(failure), out);
                }
                Timer::Dial(conn) => {
                    out.push(Action::Close { conn, cause: CloseCause::Io("timed out".to_owned()) });
                    self.on_dial_failed(conn, "timed out", out);
                }
                Timer::Metadata(quest) => self.on_metadata_timer(quest, out),
                Timer::Introduction(conn) => self.introduced(conn, out),
                Timer::Gossip(id) => self.gossip(id, out),
                Timer::LocalAnnounce => self.announce_locally(out),
                Timer::Round(round) => self.on_round_overdue(round, out),
                Timer::Ping(command) => self.on_ping_overdue(command, out),
                Timer::Request(job) => self.on_request_overdue(job, out),
                Timer::DiskRetry(id) => self.on_disk_retry(id, out),
                Timer::Shutdown => self.leave_now(out),
            }
        }
    }

    fn tick(&mut self, out: &mut Vec<Action>) {
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            state.tick(self.now);
            self.snub_if_silent(conn, out);
            self.tell_status_if_changed(conn, out);
            self.next_metadata(conn, out);
        }
        for id in self.loads.busy().collect::<Vec<_>>() {
            let Some(torrent) = self.torrents.get_mut(&id) else { continue };
            torrent.rate_in.tick(self.now);
            torrent.rate_out.tick(self.now);
            self.rescue(id, out);
            self.rechoke(id, out);
            self.choose_blind(id);
            self.tell_tick(id, out);
            self.make_room(id, out);
            self.dirty.insert(id);
        }
        self.job_news(out);
    }

    /// A peer silent with requests out loses what it holds, and gets one slot and small requests
    /// until bytes come again.
    fn snub_if_silent(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let silent = self.now.since(state.last_progress) >= self.config.snub_after;
        if state.leases.is_empty() || !silent {
            return;
        }
        let first = !state.snubbed;
        state.snubbed = true;
        state.failures += 1;
        state.fail_streak += 1;
        state.rest(self.now);
        state.last_progress = self.now;
        let (leases, peer) = (state.leases.iter().copied().collect::<Vec<_>>(), state.peer_id);
        for lease in leases {
            let record = &self.leases[&lease];
            let chunk = (record.piece, record.extent);
            if let Some(torrent) = self.torrents.get_mut(&record.torrent) {
                torrent.pieces.mark_tried(record.piece, record.extent, peer);
            }
            self.tell_failed(conn, chunk, ChunkFault::Timeout, out);
            self.revoke(lease, out);
        }
        if first {
            notify(out, Notice::PeerSnubbed(self.news(conn, String::new())));
        }
    }

    fn tell_status_if_changed(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let state = &self.conns[&conn];
        let torrent = &self.torrents[&state.torrent];
        let changed = state.told_status != (torrent.uploaded, torrent.downloaded);
        let due = self.now.since(state.told_status_at) >= STATUS_EVERY;
        if state.shoal.is_some() && changed && due {
            self.tell_status(conn, out);
        }
    }

    fn on_ping_overdue(&mut self, command: CommandId, out: &mut Vec<Action>) {
        let ping = self.pings.iter().find(|(_, ping)| ping.command == command);
        let Some(n) = ping.map(|(&n, _)| n) else { return };
        let Some(ping) = self.pings.remove(&n) else { return };
        let Some(state) = self.conns.get(&ping.conn) else { return };
        let cause = format!("no pong within {} s", super::orders::PING_TIMEOUT.as_secs());
        reply(out, command, Err(CommandError::PeerLost { addr: state.address(), cause }));
    }

    /// The end: `stopped` is said where a tracker counts us in, connections are closed.
    pub(super) fn begin_leaving(
        &mut self,
        command: CommandId,
        limit: Duration,
        out: &mut Vec<Action>,
    ) {
        if self.leaving.is_some() {
            return reply(out, command, Err(CommandError::ShuttingDown));
        }
        self.leaving = Some(Leaving::Asked(command));
        self.timers.set(Timer::Shutdown, self.now + limit);
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.close(conn, CloseCause::Shutdown, out);
        }
        for id in self.quests.keys().copied().collect::<Vec<TorrentId>>() {
            self.close_sources(id, &CloseCause::Shutdown, out);
            self.quest_announce_due(id, out);
        }
        let ids = self.torrents.keys().copied().collect::<Vec<TorrentId>>();
        for &id in &ids {
            self.announce_due(id, out);
        }
        self.leave_if_done(out);
    }

    /// Answers the shutdown once no tracker counts us in any more.
    pub(super) fn leave_if_done(&mut self, out: &mut Vec<Action>) {
        if self.leaving.is_none() {
            return;
        }
        let quests = self.quests.values().map(|quest| &quest.announcing);
        let mut all = self.torrents.values().map(|torrent| &torrent.announcing).chain(quests);
        if !all.any(|announcing| announcing.in_flight() || announcing.is_started()) {
            self.leave_now(out);
        }
    }

    fn leave_now(&mut self, out: &mut Vec<Action>) {
        self.timers.clear(Timer::Shutdown);
        if let Some(Leaving::Asked(command)) = self.leaving.replace(Leaving::Answered) {
            reply(out, command, Ok(Done::Ok));
        }
    }
}
