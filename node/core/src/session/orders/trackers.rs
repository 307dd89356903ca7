//! Commands about trackers: connect, ask, disconnect.

use crate::{
    ids::{CommandId, TorrentId},
    session::{
        Action, Session,
        command::{CommandError, Done},
        notice::Notice,
        notify,
    },
    torrent::{Condition, announcing::Wait},
};

impl Session {
    pub(super) fn connect_tracker(
        &mut self,
        command: CommandId,
        id: TorrentId,
        out: &mut Vec<Action>,
    ) -> Result<Option<Done>, CommandError> {
        let now = self.now;
        let torrent = self.find(id)?;
        if torrent.condition == Condition::Paused {
            return Err(CommandError::Paused);
        }
        if !torrent.announcing.has_tracker() {
            return Err(CommandError::NoTracker);
        }
        if torrent.condition == Condition::Quit {
            torrent.condition = Condition::Active;
            notify(out, Notice::TorrentChanged(id));
        }
        torrent.announcing.want(now);
        torrent.announcing.wait(command, Wait::Connect, now);
        self.dirty.insert(id);
        Ok(None)
    }

    pub(super) fn ask_tracker(
        &mut self,
        command: CommandId,
        id: TorrentId,
    ) -> Result<Option<Done>, CommandError> {
        let now = self.now;
        let torrent = self.find_active(id)?;
        if !torrent.announcing.has_tracker() {
            return Err(CommandError::NoTracker);
        }
        if !torrent.announcing.is_wanted() {
            return Err(CommandError::TrackerNotConnected);
        }
        torrent.announcing.wait(command, Wait::Answer, now);
        self.dirty.insert(id);
        Ok(None)
    }

    pub(super) fn disconnect_tracker(
        &mut self,
        command: CommandId,
        id: TorrentId,
        out: &mut Vec<Action>,
    ) -> Result<Option<Done>, CommandError> {
        let now = self.now;
        let torrent = self.find(id)?;
        if !torrent.announcing.is_wanted() {
            return Err(CommandError::TrackerNotConnected);
        }
        torrent.announcing.unwant();
        let said = torrent.announcing.is_started() || torrent.announcing.in_flight();
        notify(out, Notice::TorrentChanged(id));
        if !said {
            return Ok(Some(Done::Ok));
        }
        torrent.announcing.wait(command, Wait::Stop, now);
        self.dirty.insert(id);
        Ok(None)
    }
}
