//! How the trackers of a torrent stand: tiers (BEP 12), events, intervals, back-off, and who waits
//! for an answer. Never here: the network.

use std::time::Duration;

use crate::{
    ids::{AnnounceId, CommandId},
    rng::Rng,
    session::{event::AnnounceFailure, view::TrackerView},
    time::Timestamp,
    tracker::announce::{AnnounceEvent, AnnounceReply},
};

#[derive(Debug)]
struct Tracker {
    url: String,
    /// It answered with the key `shoal`: from then on it gets our status.
    shoal: bool,
    /// Its `tracker id`, to be repeated.
    id: Option<Vec<u8>>,
}

/// What a command waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// `connect_tracker`: an answer, with our status told.
    Connect,
    /// `get_peer_set` or `update_status_to_tracker`: an answer.
    Answer,
    /// `disconnect_tracker`: `stopped` was said, or could not be.
    Stop,
}

#[derive(Debug)]
struct Waiter {
    command: CommandId,
    wait: Wait,
    /// It is content with an announce that began in this round or later.
    round: u64,
}

#[derive(Debug)]
struct Flight {
    id: AnnounceId,
    event: Option<AnnounceEvent>,
    with_status: bool,
}

/// An announce to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where to.
    pub url: String,
    /// What happened.
    pub event: Option<AnnounceEvent>,
    /// Tell our status in the extension `shoal`; else only ask for it.
    pub with_status: bool,
    /// Repeat this.
    pub tracker_id: Option<Vec<u8>>,
}

/// What followed from the end of an announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was not awaited any more.
    Stale,
    /// Another announce follows at once: the next tracker, or the same with our status.
    GoesOn,
    /// The round ended well; these commands are content.
    Settled(Vec<(CommandId, Wait)>),
    /// No tracker answered; these commands hear of it.
    Failed(Vec<(CommandId, Wait)>),
}

/// The trackers of a torrent.
#[derive(Debug)]
pub struct Announcing {
    tiers: Vec<Vec<Tracker>>,
    wanted: bool,
    /// A tracker counts us in, and which.
    started: bool,
    completed: bool,
    /// What we have changed as a whole since the last announce began.
    changed: bool,
    cursor: (usize, usize),
    flight: Option<Flight>,
    round: u64,
    next: Timestamp,
    interval: Duration,
    interval_min: Duration,
    failures: u32,
    last_ok: Option<Timestamp>,
    last_error: Option<String>,
    waiters: Vec<Waiter>,
    /// Lifetime totals when `started` was said: BEP 3 counts from there.
    base: (u64, u64),
}

/// The first wait after a round in which no tracker answered; it doubles up to [`BACK_OFF_MAX`].
const BACK_OFF_FIRST: Duration = Duration::from_secs(5);
/// The longest wait after such rounds.
const BACK_OFF_MAX: Duration = Duration::from_secs(1800);
/// How often a download without peers asks a tracker that names no least interval.
const SEEK_EVERY: Duration = Duration::from_secs(30);
/// The shortest interval that a tracker may set.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// The longest interval that a tracker may set.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);

impl Announcing {
    /// The tiers of a metainfo, each shuffled once (BEP 12).
    #[must_use]
    pub fn new(tiers: &[Vec<String>], rng: &mut Rng) -> Self {
        let tracker = |url: &String| Tracker { url: url.clone(), shoal: false, id: None };
        let mut tiers = tiers
            .iter()
            .filter(|tier| !tier.is_empty())
            .map(|tier| tier.iter().map(tracker).collect::<Vec<_>>())
            .collect::<Vec<_>>();
        for tier in &mut tiers {
            for last in (1..tier.len()).rev() {
                tier.swap(last, rng.below(last + 1));
            }
        }
        Self {
            tiers,
            wanted: false,
            started: false,
            completed: false,
            changed: false,
            cursor: (0, 0),
            flight: None,
            round: 0,
            next: Timestamp::default(),
            interval: Duration::from_secs(1800),
            interval_min: Duration::ZERO,
            failures: 0,
            last_ok: None,
            last_error: None,
            waiters: Vec::new(),
            base: (0, 0),
        }
    }

    /// Whether there is a tracker at all.
    #[must_use]
    pub fn has_tracker(&self) -> bool {
        !self.tiers.is_empty()
    }

    /// Whether announcing is wanted.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a tracker counts us in.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether an announce is under way.
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Why the last round failed.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The tracker in use.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        let tier = self.tiers.get(self.cursor.0)?;
        tier.get(self.cursor.1).map(|tracker| tracker.url.as_str())
    }

    /// Announce from now on, beginning at once.
    pub fn want(&mut self, now: Timestamp) {
        if !self.wanted {
            self.wanted = true;
            self.next = now;
        }
    }

    /// Announce at once, where announcing is wanted: the peer set is needed now.
    pub fn hurry(&mut self, now: Timestamp) {
        if self.wanted {
            self.next = self.next.min(now);
        }
    }

    /// A download has no peer: announce as often as the tracker allows, or every 30 s where it does
    /// not say, until one turns up.
    pub fn seek(&mut self, now: Timestamp) {
        let Some(last) = self.last_ok.filter(|_| self.wanted && self.last_error.is_none()) else {
            return;
        };
        let sooner = last + self.interval_min.max(SEEK_EVERY).min(self.interval);
        self.next = self.next.min(sooner.max(now));
    }

    /// Announce no longer: `stopped` follows where a tracker counts us in.
    pub fn unwant(&mut self) {
        self.wanted = false;
    }

    /// What we have changed as a whole: the next announce is made at once.
    pub fn tell_soon(&mut self, now: Timestamp) {
        self.changed = true;
        if self.started {
            self.next = now;
        }
    }

    /// The last piece arrived: `completed` is said once.
    pub fn completed(&mut self, now: Timestamp) {
        if self.started {
            self.completed = true;
            self.next = now;
        }
    }

    /// A command waits for an announce that begins from now on.
    pub fn wait(&mut self, command: CommandId, wait: Wait, now: Timestamp) {
        self.waiters.push(Waiter { command, wait, round: self.round + 1 });
        if wait != Wait::Stop {
            self.next = now;
        }
    }

    /// When [`Self::step`] may have something to do.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        match (&self.flight, self.wanted, self.started) {
            (Some(_), ..) => Timestamp::NEVER,
            (None, true, _) => self.next,
            (None, false, true) => Timestamp::default(),
            (None, false, false) => Timestamp::NEVER,
        }
    }

    /// The announce to make now, if any. `leaving` says `stopped` without forgetting the wish.
    /// `totals` are the lifetime bytes served and downloaded.
    pub fn step(
        &mut self,
        id: AnnounceId,
        now: Timestamp,
        leaving: bool,
        totals: (u64, u64),
    ) -> Option<Step> {
        if self.flight.is_some() {
            return None;
        }
        let wanted = self.wanted && !leaving;
        let event = match (wanted, self.started) {
            (false, false) => return None,
            (false, true) => Some(AnnounceEvent::Stopped),
            (true, _) if now < self.next => return None,
            (true, false) => Some(AnnounceEvent::Started),
            (true, true) if self.completed => Some(AnnounceEvent::Completed),
            (true, true) => None,
        };
        if event == Some(AnnounceEvent::Started) {
            self.base = totals;
        }
        self.round += 1;
        self.launch(id, event)
    }

    /// Bytes served and downloaded since `started`.
    #[must_use]
    pub fn session_totals(&self, totals: (u64, u64)) -> (u64, u64) {
        (totals.0.saturating_sub(self.base.0), totals.1.saturating_sub(self.base.1))
    }

    /// Whether a round goes on after [`Outcome::GoesOn`], and with what.
    pub fn proceed(&mut self, id: AnnounceId) -> Option<Step> {
        let event = match (self.started, self.completed) {
            (false, _) => Some(AnnounceEvent::Started),
            (true, true) => Some(AnnounceEvent::Completed),
            (true, false) => None,
        };
        self.launch(id, event)
    }

    /// A tracker answered.
    pub fn succeeded(&mut self, id: AnnounceId, reply: &AnnounceReply, now: Timestamp) -> Outcome {
        let Some(flight) = self.flight.take_if(|flight| flight.id == id) else {
            return Outcome::Stale;
        };
        self.failures = 0;
        self.last_error = None;
        if flight.event == Some(AnnounceEvent::Stopped) {
            self.started = false;
            return Outcome::Settled(self.content(|wait| wait == Wait::Stop));
        }
        self.started = true;
        self.completed &= flight.event != Some(AnnounceEvent::Completed);
        self.last_ok = Some(now);
        let asked = Duration::from_secs(u64::from(reply.interval_s));
        self.interval = asked.clamp(INTERVAL_MIN, INTERVAL_MAX);
        self.interval_min = Duration::from_secs(u64::from(reply.min_interval_s.unwrap_or(0)));
        // Whoever began to wait meanwhile wants an announce of its own.
        let awaited = self.changed || self.waiters.iter().any(|w| w.round > self.round);
        self.next = if awaited { now } else { now + self.interval };
        self.promote();
        let Some(tracker) = self.current() else { return Outcome::Stale };
        tracker.id = reply.tracker_id.clone().or(tracker.id.take());
        tracker.shoal = reply.shoal.is_some();
        if (tracker.shoal && !flight.with_status) || self.completed {
            return Outcome::GoesOn;
        }
        Outcome::Settled(self.content(|wait| wait != Wait::Stop))
    }

    /// A tracker did not answer, or refused.
    pub fn failed(
        &mut self,
        id: AnnounceId,
        failure: &AnnounceFailure,
        now: Timestamp,
        rng: &mut Rng,
    ) -> Outcome {
        let Some(flight) = self.flight.take_if(|flight| flight.id == id) else {
            return Outcome::Stale;
        };
        if flight.event == Some(AnnounceEvent::Stopped) {
            self.started = false;
            return Outcome::Settled(self.content(|wait| wait == Wait::Stop));
        }
        self.last_error = Some(describe(failure));
        if self.advance() {
            return Outcome::GoesOn;
        }
        self.cursor = (0, 0);
        self.failures += 1;
        let wait =
            BACK_OFF_FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(BACK_OFF_MAX);
        let asked = match failure {
            AnnounceFailure::Refused { retry_in_s: Some(s), .. } => {
                Duration::from_secs(u64::from(*s))
            }
            AnnounceFailure::Refused { retry_in_s: None, .. }
            | AnnounceFailure::Unreachable { .. }
            | AnnounceFailure::Malformed { .. } => Duration::ZERO,
        };
        // A fifth more or less, so that a fleet does not come back as one.
        let jitter = wait.mul_f64(0.8 + 0.4 * rng.unit());
        self.next = now + jitter.max(asked);
        Outcome::Failed(self.content(|_| true))
    }

    /// How announcing stands.
    #[must_use]
    pub fn view(&self) -> TrackerView {
        TrackerView {
            connected: self.wanted && self.started && self.last_error.is_none(),
            url: self.url().map(str::to_owned),
            last_ok: self.last_ok,
            next: (self.wanted && self.flight.is_none()).then_some(self.next),
            last_error: self.last_error.clone(),
        }
    }

    /// The interval in force, milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the tracker in use keeps our status.
    #[must_use]
    pub fn keeps_status(&self) -> bool {
        let tier = self.tiers.get(self.cursor.0);
        tier.and_then(|tier| tier.get(self.cursor.1)).is_some_and(|tracker| tracker.shoal)
    }

    fn launch(&mut self, id: AnnounceId, event: Option<AnnounceEvent>) -> Option<Step> {
        let tracker = self.tiers.get(self.cursor.0)?.get(self.cursor.1)?;
        let (url, tracker_id, with_status) =
            (tracker.url.clone(), tracker.id.clone(), tracker.shoal);
        self.changed = false;
        self.flight = Some(Flight { id, event, with_status });
        Some(Step { url, event, with_status, tracker_id })
    }

    fn current(&mut self) -> Option<&mut Tracker> {
        self.tiers.get_mut(self.cursor.0)?.get_mut(self.cursor.1)
    }

    /// The tracker that answered goes to the front of its tier (BEP 12).
    fn promote(&mut self) {
        if let Some(tier) = self.tiers.get_mut(self.cursor.0) {
            tier[..=self.cursor.1].rotate_right(1);
            self.cursor.1 = 0;
        }
    }

    fn advance(&mut self) -> bool {
        let (tier, index) = self.cursor;
        if self.tiers.get(tier).is_some_and(|trackers| index + 1 < trackers.len()) {
            self.cursor = (tier, index + 1);
            return true;
        }
        if tier + 1 < self.tiers.len() {
            self.cursor = (tier + 1, 0);
            return true;
        }
        false
    }

    /// Takes out the waiters that this round contents.
    fn content(&mut self, contents: impl Fn(Wait) -> bool) -> Vec<(CommandId, Wait)> {
        let round = self.round;
        let mut done = Vec::new();
        self.waiters.retain(|waiter| {
            let content = waiter.round <= round && contents(waiter.wait);
            if content {
                done.push((waiter.command, waiter.wait));
            }
            !content
        });
        done
    }
}

/// A failure as one line for a person.
#[must_use]
pub fn describe(failure: &AnnounceFailure) -> String {
    match failure {
        AnnounceFailure::Unreachable { cause } => cause.clone(),
        AnnounceFailure::Refused { reason, .. } => format!("refused: {reason}"),
        AnnounceFailure::Malformed { cause } => format!("malformed reply: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::announce::ShoalReply;

    fn machine(tiers: &[&[&str]]) -> Announcing {
        let tiers =
            tiers.iter().map(|tier| tier.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        Announcing::new(&tiers.collect::<Vec<_>>(), &mut Rng::new(1))
    }

    fn refused() -> AnnounceFailure {
        AnnounceFailure::Unreachable { cause: "connection refused".to_owned() }
    }

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn connect_is_content_only_when_a_shoal_tracker_has_our_status() {
        let mut machine = machine(&[&["http://a"]]);
        machine.want(NOW);
        machine.wait(CommandId(1), Wait::Connect, NOW);
        let step = machine.step(AnnounceId(1), NOW, false, (5, 7)).unwrap();
        assert_eq!((step.event, step.with_status), (Some(AnnounceEvent::Started), false));
        let mut reply = AnnounceReply::new(60);
        reply.shoal = Some(ShoalReply::default());
        assert_eq!(machine.succeeded(AnnounceId(1), &reply, NOW), Outcome::GoesOn);
        let step = machine.proceed(AnnounceId(2)).unwrap();
        assert_eq!((step.event, step.with_status), (None, true));
        let settled = Outcome::Settled(vec![(CommandId(1), Wait::Connect)]);
        assert_eq!(machine.succeeded(AnnounceId(2), &reply, NOW), settled);
        assert!(machine.view().connected);
        assert_eq!(machine.due(), NOW + Duration::from_secs(60));
    }

    #[test]
    fn every_tracker_of_every_tier_is_tried_before_a_round_fails() {
        let mut machine = machine(&[&["http://a", "http://b"], &["http://c"]]);
        let mut rng = Rng::new(2);
        machine.want(NOW);
        machine.wait(CommandId(1), Wait::Connect, NOW);
        let mut urls = vec![machine.step(AnnounceId(1), NOW, false, (0, 0)).unwrap().url];
        for id in 1..3 {
            assert_eq!(machine.failed(AnnounceId(id), &refused(), NOW, &mut rng), Outcome::GoesOn);
            urls.push(machine.proceed(AnnounceId(id + 1)).unwrap().url);
        }
        let failed = Outcome::Failed(vec![(CommandId(1), Wait::Connect)]);
        assert_eq!(machine.failed(AnnounceId(3), &refused(), NOW, &mut rng), failed);
        urls[..2].sort();
        assert_eq!(urls, ["http://a", "http://b", "http://c"]);
        assert!(machine.due() > NOW + Duration::from_secs(3));
        assert!(machine.step(AnnounceId(4), NOW, false, (0, 0)).is_none());
    }

    #[test]
    fn stopped_is_said_once_and_only_where_a_tracker_counts_us_in() {
        let mut machine = machine(&[&["http://a"]]);
        machine.want(NOW);
        machine.step(AnnounceId(1), NOW, false, (0, 0)).unwrap();
        machine.succeeded(AnnounceId(1), &AnnounceReply::new(60), NOW);
        machine.unwant();
        machine.wait(CommandId(2), Wait::Stop, NOW);
        let step = machine.step(AnnounceId(2), NOW, false, (0, 0)).unwrap();
        assert_eq!(step.event, Some(AnnounceEvent::Stopped));
        let settled = Outcome::Settled(vec![(CommandId(2), Wait::Stop)]);
        assert_eq!(machine.failed(AnnounceId(2), &refused(), NOW, &mut Rng::new(1)), settled);
        assert!(machine.step(AnnounceId(3), NOW, false, (0, 0)).is_none());
    }

    #[test]
    fn waiter_that_comes_during_an_announce_waits_for_the_next() {
        let mut machine = machine(&[&["http://a"]]);
        machine.want(NOW);
        machine.step(AnnounceId(1), NOW, false, (0, 0)).unwrap();
        machine.wait(CommandId(9), Wait::Answer, NOW);
        let outcome = machine.succeeded(AnnounceId(1), &AnnounceReply::new(60), NOW);
        assert_eq!(outcome, Outcome::Settled(Vec::new()));
    }

    #[test]
    fn download_without_peers_asks_as_often_as_the_tracker_allows() {
        for (least, seconds) in [(None, 30), (Some(10), 30), (Some(45), 45), (Some(900), 120)] {
            let mut machine = machine(&[&["http://a"]]);
            machine.want(NOW);
            machine.step(AnnounceId(1), NOW, false, (0, 0)).unwrap();
            let mut reply = AnnounceReply::new(120);
            reply.min_interval_s = least;
            machine.succeeded(AnnounceId(1), &reply, NOW);
            machine.seek(NOW);
            assert_eq!(machine.due(), NOW + Duration::from_secs(seconds), "least {least:?}");
        }
    }
}
