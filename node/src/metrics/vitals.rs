//! Whether the node lives and is ready, and a look at its rooms for whoever measures. Every question
//! to the session has a bound: a node that hangs says so. Never here: HTTP.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use shoal_core::session::{Session, census::Census, view::TorrentState};
use tokio::time::timeout;

use crate::{
    rpc::calls::Calls,
    session::{EventHub, SessionHandle},
    tracker::TrackerServer,
};

/// How long the session's loop may take to answer before the node counts as hanging.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a scrape waits for it: a page without the session is better than none in time.
const SCRAPE_MAX: Duration = Duration::from_millis(500);

/// How far the node is, and its rooms. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// It is not ready yet.
    #[default]
    Starting,
    /// It serves.
    Serving(Observed),
    /// It ends, and is not to be asked for anything any more.
    Ending(Observed),
}

/// The rooms that are looked at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The peer role.
    pub session: Option<SessionHandle>,
    /// The tracker role; not kept from ending.
    pub tracker: Option<Weak<TrackerServer>>,
    /// The calls of the control surface.
    pub calls: Calls,
    /// The events.
    pub events: EventHub,
    /// When the node started.
    pub started_at: SystemTime,
}

/// What a look at the rooms found.
#[derive(Debug)]
pub(super) struct Looked {
    /// None before the node serves.
    pub(super) rooms: Option<Observed>,
    /// How the session stands, and how long its loop took to answer; none where it did not.
    pub(super) census: Option<(Census, Duration)>,
    /// The node is ready for work.
    pub(super) ready: bool,
}

/// What was checked, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report(Vec<(&'static str, Result<(), String>)>);

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.0.iter().all(|(_, checked)| checked.is_ok())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, checked)| match checked {
            Ok(()) => writeln!(f, "ok {what}"),
            Err(cause) => writeln!(f, "failed {what}: {cause}"),
        })
    }
}

impl Vitals {
    /// Everything is loaded, bound and served.
    pub fn serving(&self, rooms: Observed) {
        *self.state() = State::Serving(rooms);
    }

    /// The node begins to end.
    pub fn ending(&self) {
        let mut state = self.state();
        *state = match std::mem::take(&mut *state) {
            State::Serving(rooms) | State::Ending(rooms) => State::Ending(rooms),
            State::Starting => State::Starting,
        };
    }

    /// Whether the node is alive: starting, ending, or its session's loop answers within
    /// [`ANSWER_MAX`].
    pub async fn health(&self) -> Report {
        let session = match &*self.state() {
            State::Serving(rooms) => rooms.session.clone(),
            State::Starting | State::Ending(_) => None,
        };
        let session = match session {
            Some(session) => census(&session, ANSWER_MAX).await.map(drop),
            None => Ok(()),
        };
        Report(vec![("process", Ok(())), ("session", session)])
    }

    /// Whether the node is ready for work: everything is loaded, bound and served, the session
    /// answers, and neither the state directory nor the disk of a torrent fails.
    pub async fn readiness(&self) -> Report {
        let rooms = match &*self.state() {
            State::Serving(rooms) => Ok(rooms.clone()),
            State::Starting => Err("the node is starting".to_owned()),
            State::Ending(_) => Err("the node is shutting down".to_owned()),
        };
        let rooms = match rooms {
            Ok(rooms) => rooms,
            Err(cause) => return Report(vec![("serving", Err(cause))]),
        };
        let mut checks = vec![("serving", Ok(()))];
        if let Some(session) = &rooms.session {
            let census = census(session, ANSWER_MAX).await;
            let disks = census.as_ref().map_or(Ok(()), |(census, _)| disks(census));
            let failed = session.meters().commit_failed.get() != 0;
            let state = if failed { Err("the last commit failed".to_owned()) } else { Ok(()) };
            checks.extend([
                ("session", census.map(drop)),
                ("state directory", state),
                ("disks of torrents", disks),
            ]);
        }
        if let Some(tracker) = &rooms.tracker {
            let there = tracker.upgrade().is_some();
            checks.push(("tracker", there.then_some(()).ok_or_else(|| "it ended".to_owned())));
        }
        Report(checks)
    }

    /// Looks at the rooms, without waiting for long.
    pub(super) async fn look(&self) -> Looked {
        let (rooms, serving) = match &*self.state() {
            State::Starting => (None, false),
            State::Serving(rooms) => (Some(rooms.clone()), true),
            State::Ending(rooms) => (Some(rooms.clone()), false),
        };
        let session = rooms.as_ref().and_then(|rooms| rooms.session.as_ref());
        let (census, well) = match session {
            Some(session) => {
                let census = census(session, SCRAPE_MAX).await.ok();
                let disks = census.as_ref().is_some_and(|(census, _)| disks(census).is_ok());
                (census, disks && session.meters().commit_failed.get() == 0)
            }
            None => (None, true),
        };
        Looked { rooms, census, ready: serving && well }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the session stands, and how long its loop took to say so.
async fn census(session: &SessionHandle, within: Duration) -> Result<(Census, Duration), String> {
    let began = Instant::now();
    match timeout(within, session.query(Session::census)).await {
        Ok(Ok(census)) => Ok((census, began.elapsed())),
        Ok(Err(gone)) => Err(gone.to_string()),
        Err(_) => Err(format!("no answer within {within:?}")),
    }
}

/// Whether the disk of a torrent is full or failing.
fn disks(census: &Census) -> Result<(), String> {
    let count = |wanted: TorrentState| {
        let of = census.torrents.iter().find(|(state, _)| *state == wanted);
        of.map_or(0, |(_, count)| *count)
    };
    match (count(TorrentState::Error), count(TorrentState::DiskFull)) {
        (0, 0) => Ok(()),
        (failed, full) => Err(format!(
            "torrents stopped by an error of the disk: {failed}, waiting for room: {full}"
        )),
    }
}
