//! The end of a session, in order: trackers told, connections closed, data committed, rooms ended.
//! Every step has a deadline; what does not finish in it is named.
//!
//! Never here: when a node ends.

use std::{collections::BTreeMap, thread::JoinHandle, time::Duration};

use shoal_core::{ids::TorrentId, session::command::Command};
use tokio::sync::mpsc;

use super::{
    adding::remove_data,
    inbox::Input,
    notices::tracker_name,
    perform::guarded,
    run::{ReplyTo, Shell, Stopping},
    torrents::Torrent,
};
use crate::disk::Store;

/// How long the session may take to tell the trackers: its own five seconds and some.
const SESSION_MAX: Duration = Duration::from_secs(6);
/// How long the peers' sockets may take; the room itself gives up after two seconds.
const NET_MAX: Duration = Duration::from_secs(3);
/// How long queued writes, and opens and merges under way, may take.
const DISK_MAX: Duration = Duration::from_secs(20);
/// How long the last commit may take: 64 MiB and their sync on a slow disk.
const COMMIT_MAX: Duration = Duration::from_secs(20);
/// How long the policy thread may take.
const POLICY_MAX: Duration = Duration::from_secs(1);
/// How long tasks that have nothing left to wait for may take.
const TASKS_MAX: Duration = Duration::from_secs(1);

/// How often it is looked whether threads have ended.
const JOIN_EVERY: Duration = Duration::from_millis(5);

/// How the end went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShutdownReport {
    /// What did not finish in its time, one sentence each; empty where all went well.
    pub unfinished: Vec<String>,
}

impl Shell {
    pub(super) fn begin_shutdown(&mut self, reply: Option<mpsc::Sender<ShutdownReport>>) {
        if let Some(stopping) = &mut self.stopping {
            stopping.replies.extend(reply);
            return;
        }
        tracing::info!("shutting down");
        let deadline = self.clock.now() + SESSION_MAX;
        let replies = reply.into_iter().collect();
        self.stopping = Some(Stopping { replies, deadline, answered: false });
        self.issue(Command::Shutdown, ReplyTo::Shutdown);
    }

    /// Ends everything that the loop owns.
    pub(super) async fn finish(mut self, inputs: mpsc::Receiver<Input>) -> ShutdownReport {
        let stopping = self.stopping.take().unwrap_or_default();
        let mut report = ShutdownReport::default();
        if !stopping.answered {
            report.add("the session did not end in time");
        }
        for url in self.waiting.announces.values() {
            tracing::warn!(tracker = tracker_name(url), "a tracker was not told in time");
        }
        let totals = self.changed_totals();
        let Self {
            net, web_seeds, mut rooms, tasks, events, jobs, torrents, store, policies, ..
        } = self;
        let (mut creations, leaving) = (self.creations, self.chores.leaving);

        within(&mut report, NET_MAX, "the peers' sockets", net.shutdown()).await;
        within(&mut report, NET_MAX, "the web seeds", web_seeds.shutdown()).await;
        let mut threads = creations.stop_all();
        threads.extend(rooms.pieces.close());
        threads.extend(rooms.files.close());
        let hearing = tokio::spawn(hear(inputs));
        within(&mut report, DISK_MAX, "writes under way", join_all(threads)).await;

        let last = LastCommit { store, torrents, leaving, totals };
        let (told, failures) = tokio::sync::oneshot::channel();
        let submitted = rooms.store.submit(move || {
            let broken = || vec!["the last commit failed".to_owned()];
            drop(told.send(guarded(|| last.run(), broken)));
        });
        if submitted.is_err() {
            report.add("the last commit was not made");
        }
        let store_threads = rooms.store.close();
        within(&mut report, COMMIT_MAX, "the last commit", join_all(store_threads)).await;
        if let Ok(Ok(failures)) = tokio::time::timeout(TASKS_MAX, failures).await {
            failures.iter().for_each(|failure| report.add(failure));
        }

        within(&mut report, POLICY_MAX, "the policy thread", join_all(policies.host.stop())).await;
        hearing.abort();
        tasks.close();
        within(&mut report, TASKS_MAX, "announces under way", tasks.wait()).await;
        jobs.close();
        events.close();
        for reply in stopping.replies {
            // A caller that went away needs no answer.
            let _ = reply.try_send(report.clone());
        }
        tracing::info!(unfinished = report.unfinished.len(), "session ended");
        report
    }
}

impl ShutdownReport {
    fn add(&mut self, what: &str) {
        tracing::warn!(what, "shutdown");
        self.unfinished.push(what.to_owned());
    }
}

/// Throws away what the rooms still report while they end, so that none of them waits for the loop;
/// what somebody waits for is answered by its dropped channel. Buffers go with it.
async fn hear(mut inputs: mpsc::Receiver<Input>) {
    while let Some(input) = inputs.recv().await {
        if let Input::Shutdown { reply: Some(reply) } = input {
            // A second caller: it hears that the end came, and nothing of how.
            let _ = reply.try_send(ShutdownReport::default());
        }
    }
}

/// What is kept at the very end.
struct LastCommit {
    store: Store,
    torrents: BTreeMap<TorrentId, Torrent>,
    /// Removed torrents whose data is still there; whether merged files go too.
    leaving: Vec<(Torrent, bool)>,
    totals: Vec<(shoal_core::ids::InfoHash, u64, u64)>,
}

impl LastCommit {
    /// Commits every torrent and the totals, and removes what was to be removed; tells what failed.
    /// The store is closed with it.
    fn run(self) -> Vec<String> {
        let mut failures = Vec::new();
        for (torrent, delete_data) in &self.leaving {
            if let Err(cause) = remove_data(&self.store, torrent, *delete_data) {
                failures.push(format!("{} was not removed: {cause}", torrent.metainfo.name));
            }
        }
        for torrent in self.torrents.values() {
            if let Err(error) = torrent.store.commit() {
                failures.push(format!("{}: {error}: {}", torrent.metainfo.name, error.source));
            }
        }
        if !self.totals.is_empty()
            && let Err(error) = self.store.save_totals(&self.totals)
        {
            failures.push(format!("totals: {error}"));
        }
        failures
    }
}

/// Joins threads once they have ended. Looks instead of waiting in a thread: one that never ends
/// must not hold up the runtime's own end.
async fn join_all(mut threads: Vec<JoinHandle<()>>) {
    loop {
        for ended in threads.extract_if(.., |thread| thread.is_finished()) {
            if ended.join().is_err() {
                tracing::error!("a thread of the session panicked");
            }
        }
        if threads.is_empty() {
            return;
        }
        tokio::time::sleep(JOIN_EVERY).await;
    }
}

async fn within(
    report: &mut ShutdownReport,
    time: Duration,
    what: &str,
    end: impl Future<Output = ()>,
) {
    if tokio::time::timeout(time, end).await.is_err() {
        report.add(&format!("{what} did not end within {} s", time.as_secs()));
    }
}
