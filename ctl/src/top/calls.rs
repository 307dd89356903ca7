//! Asks the node, within bounds, and passes on what it says. A round is at most seven calls: the node,
//! a page of torrents, one torrent, its peers, its chunks, its decisions, its details; what changes
//! meanwhile comes as events. Never here: what is made of the answers.

use std::{future::Future, time::Duration};

use shoal::{
    client::Connection,
    v1::{
        self, node_service_client::NodeServiceClient, peer_service_client::PeerServiceClient,
        policy_service_client::PolicyServiceClient, torrent_service_client::TorrentServiceClient,
        watch_events_response::Item,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Response, Status};

use super::{
    screen::{Overlay, Wish},
    world::{Fact, TORRENTS_MAX},
};
use crate::{failure::Failure, session::Session};

/// Torrents of a page: a node with more is swept in as many rounds as it has pages.
const TORRENTS_PAGE: u32 = 200;

/// Connections that are asked for: a torrent has rarely more.
const PEERS_PAGE: u32 = 1000;

/// Files of the details of a torrent.
const FILES_PAGE: u32 = 200;

/// Longest wait for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a torrent stays chosen before the node is asked about it: whoever walks down the list
/// asks for each only where they stop.
const CHOICE_SETTLES: Duration = Duration::from_millis(120);

/// Wait before an attempt to follow events again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Facts under way to the screen.
pub(super) const FACTS_MAX: usize = 256;

/// Where facts go. Nobody there ends the asking.
pub(super) type Facts = mpsc::Sender<Fact>;

/// Nobody takes facts any more, or nobody answers: the round is over.
struct Over;

/// The services of a node that are asked.
#[derive(Clone)]
pub(super) struct Node {
    node: NodeServiceClient<Connection>,
    torrents: TorrentServiceClient<Connection>,
    peers: PeerServiceClient<Connection>,
    policy: PolicyServiceClient<Connection>,
    limit: Duration,
}

impl Node {
    /// Those of the session's node, each call under a limit of its own.
    pub(super) fn of(session: &Session<'_>) -> Self {
        Self {
            node: session.node(),
            torrents: session.torrents(),
            peers: session.peer(),
            policy: session.policy(),
            limit: session.unary_limit().min(CALL_TIMEOUT),
        }
    }

    /// Finds the torrent that a selector means.
    pub(super) async fn find(&mut self, selector: &str) -> Result<v1::Torrent, Failure> {
        let torrent = selector.to_owned();
        let asked = v1::GetTorrentRequest { torrent, page_size: 1, ..Default::default() };
        let reply = within(self.limit, self.torrents.get_torrent(asked)).await;
        let reply = reply.map_err(|status| Failure::status(&status))?;
        reply.torrent.ok_or_else(|| Failure::internal("the node answered without a torrent"))
    }

    /// Asks for the node and all its torrents, as many as are kept, and passes them on.
    pub(super) async fn all(&mut self, facts: &Facts) {
        let mut sweep = Sweep::default();
        for _ in 0..TORRENTS_MAX / TORRENTS_PAGE as usize {
            // What was said so far is shown all the same.
            if self.general(&mut sweep, facts).await.is_err() || sweep.token.is_empty() {
                return;
            }
        }
    }

    /// Asks for everything of one torrent once, and passes it on.
    pub(super) async fn all_of(&mut self, torrent: &str, facts: &Facts) {
        let _ = self.chosen(torrent, false, facts).await;
    }

    /// The node, and a page of its torrents.
    async fn general(&mut self, sweep: &mut Sweep, facts: &Facts) -> Result<(), Over> {
        let limit = self.limit;
        let told = within(limit, self.node.get_info(v1::GetInfoRequest {})).await;
        pass(facts, told, |node| Fact::Node(Box::new(node))).await?;
        let page_token = std::mem::take(&mut sweep.token);
        let asked = v1::ListTorrentsRequest { page_size: TORRENTS_PAGE, page_token };
        let told = within(limit, self.torrents.list_torrents(asked)).await;
        if let Ok(page) = &told {
            sweep.token.clone_from(&page.next_page_token);
            sweep.pages = if page.next_page_token.is_empty() { sweep.at + 1 } else { sweep.pages };
            sweep.at = if page.next_page_token.is_empty() { 0 } else { sweep.at + 1 };
        }
        let fact = |page: v1::ListTorrentsResponse| Fact::Page {
            last: page.next_page_token.is_empty(),
            torrents: page.torrents,
        };
        pass(facts, told, fact).await
    }

    /// One torrent, where the sweep sees it only now and then.
    async fn torrent(&mut self, torrent: &str, facts: &Facts) -> Result<(), Over> {
        let asked = v1::GetTorrentRequest {
            torrent: torrent.to_owned(),
            page_size: 1,
            ..Default::default()
        };
        let told = within(self.limit, self.torrents.get_torrent(asked)).await;
        if gone(&told) {
            return send(facts, Fact::Gone(torrent.to_owned())).await;
        }
        // Every answer has a torrent; one without says nothing.
        pass(facts, told, |reply| Fact::Torrent(Box::new(reply.torrent.unwrap_or_default()))).await
    }

    /// The peers of a torrent, and what a download of it changes.
    async fn chosen(&mut self, torrent: &str, still: bool, facts: &Facts) -> Result<(), Over> {
        let (limit, name) = (self.limit, || torrent.to_owned());
        let asked = v1::SeeConnectedRequest {
            torrent: name(),
            page_size: PEERS_PAGE,
            ..Default::default()
        };
        let told = within(limit, self.peers.see_connected(asked)).await;
        let fact = |reply: v1::SeeConnectedResponse| Fact::Peers {
            torrent: name(),
            peers: reply.connections,
        };
        pass(facts, told, fact).await?;
        if still {
            return Ok(());
        }
        // One chunk by name: the page is for the map that comes with it.
        let asked =
            v1::SeeChunkStatusRequest { torrent: name(), page_size: 1, ..Default::default() };
        let told = within(limit, self.peers.see_chunk_status(asked)).await;
        let fact = |status| Fact::Chunks { torrent: name(), status: Box::new(status) };
        pass(facts, told, fact).await?;
        let asked = v1::WatchDecisionsRequest { torrent: Some(name()), follow: false };
        let told = timeout(limit, self.decisions(asked)).await.unwrap_or_else(|_| Err(late()));
        pass(facts, told, |decisions| Fact::Decisions { torrent: name(), decisions }).await
    }

    /// The last decisions: a stream that ends.
    async fn decisions(
        &mut self,
        asked: v1::WatchDecisionsRequest,
    ) -> Result<Vec<v1::Decision>, Status> {
        let mut stream = self.policy.watch_decisions(asked).await?.into_inner();
        let mut decisions = Vec::new();
        while let Some(mut message) = stream.message().await? {
            decisions.append(&mut message.decisions);
        }
        Ok(decisions)
    }

    /// What the details that lie over the panes need.
    async fn details(&mut self, overlay: &Overlay, facts: &Facts) -> Result<(), Over> {
        match overlay {
            Overlay::Help | Overlay::Peer(_) => Ok(()),
            Overlay::Torrent(hash) => {
                let torrent = hash.clone();
                let asked =
                    v1::GetTorrentRequest { torrent, page_size: FILES_PAGE, ..Default::default() };
                let told = within(self.limit, self.torrents.get_torrent(asked)).await;
                pass(facts, told, |details| Fact::Details(Box::new(details))).await
            }
            Overlay::Decision { torrent, piece } => {
                let (torrent, chunk) = (torrent.clone(), format!("@{piece}"));
                let asked = v1::ExplainDecisionRequest { torrent, chunk };
                let told = within(self.limit, self.policy.explain_decision(asked)).await;
                let told = told.map(Box::new).map_err(|status| status.message().to_owned());
                send(facts, Fact::Explained(told)).await
            }
        }
    }
}

/// How far the list of torrents was read.
#[derive(Default)]
struct Sweep {
    token: String,
    /// The page that is read next, from 0.
    at: u32,
    /// Pages of the whole list; 0 = it was not read to its end yet.
    pages: u32,
}

/// Asks the node in rounds, one an `interval`, and at once where the screen turns to something else,
/// until nobody takes the facts.
pub(super) async fn poll(
    mut node: Node,
    interval: Duration,
    mut wishes: watch::Receiver<Wish>,
    facts: Facts,
) {
    let (mut sweep, mut done) = (Sweep::default(), Wish::default());
    let mut due = Instant::now();
    loop {
        let paused = done.paused;
        tokio::select! {
            () = facts.closed() => return,
            () = sleep_until(due), if !paused => {}
            changed = wishes.changed() => {
                if changed.is_err() {
                    return;
                }
                sleep(CHOICE_SETTLES).await;
            }
        }
        let wish = wishes.borrow_and_update().clone();
        let is_due = !wish.paused && due <= Instant::now();
        if is_due {
            due = Instant::now() + interval;
        }
        if round(&mut node, &wish, &done, &mut sweep, is_due, &facts).await.is_err() {
            // A list that was cut short begins anew.
            sweep = Sweep::default();
        }
        done = wish;
    }
}

/// One round: what is always shown where that is due, and what the screen turned to.
async fn round(
    node: &mut Node,
    wish: &Wish,
    done: &Wish,
    sweep: &mut Sweep,
    is_due: bool,
    facts: &Facts,
) -> Result<(), Over> {
    if is_due {
        node.general(sweep, facts).await?;
    }
    if let Some(torrent) = &wish.torrent
        && (is_due || wish.torrent != done.torrent)
    {
        if sweep.pages != 1 {
            node.torrent(torrent, facts).await?;
        }
        node.chosen(torrent, wish.still, facts).await?;
    }
    match &wish.details {
        Some(overlay) if wish.details != done.details => node.details(overlay, facts).await,
        Some(overlay @ Overlay::Torrent(_)) if is_due => node.details(overlay, facts).await,
        Some(_) | None => Ok(()),
    }
}

/// Follows the node's events, over every end of the stream, until nobody takes the facts.
pub(super) async fn follow(mut node: Node, facts: Facts) {
    while !facts.is_closed() {
        if let Err(status) = follow_once(&mut node, &facts).await
            && is_lost(status.code())
        {
            let _ = facts.send(Fact::Lost(status.message().to_owned())).await;
        }
        tokio::select! {
            () = facts.closed() => return,
            () = sleep(FOLLOW_AGAIN) => {}
        }
    }
}

async fn follow_once(node: &mut Node, facts: &Facts) -> Result<(), Status> {
    let asked = v1::WatchEventsRequest::default();
    let mut stream = timeout(node.limit, node.node.watch_events(asked))
        .await
        .unwrap_or_else(|_| Err(late()))?
        .into_inner();
    while let Some(message) = stream.message().await? {
        let told = match message.item {
            Some(Item::Snapshot(snapshot)) => {
                let torrents = snapshot.torrents;
                facts.send(Fact::Page { torrents, last: false }).await
            }
            Some(Item::Event(event)) => facts.send(Fact::Event(Box::new(event))).await,
            Some(Item::Idle(_)) | None => Ok(()),
        };
        if told.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits for the answer of a call.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let told = timeout(limit, call).await.unwrap_or_else(|_| Err(late()));
    told.map(Response::into_inner)
}

fn late() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// Whether an answer says that there is no such torrent.
fn gone<T>(told: &Result<T, Status>) -> bool {
    told.as_ref().is_err_and(|status| status.code() == Code::NotFound)
}

/// Whether a code says that the node as a whole does not serve us, which may change.
fn is_lost(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
            | Code::Unauthenticated
            | Code::PermissionDenied
    )
}

/// Passes on an answer, or what became of the call. A torrent that has gone, or that knows no such
/// thing, is no news: the list tells.
async fn pass<T>(
    facts: &Facts,
    told: Result<T, Status>,
    fact: impl FnOnce(T) -> Fact,
) -> Result<(), Over> {
    let fact = match told {
        Ok(told) => fact(told),
        Err(status) if is_lost(status.code()) => {
            let _ = facts.send(Fact::Lost(status.message().to_owned())).await;
            return Err(Over);
        }
        Err(status) if status.code() == Code::NotFound => return Ok(()),
        Err(status) => Fact::Refused(status.message().to_owned()),
    };
    send(facts, fact).await
}

async fn send(facts: &Facts, fact: Fact) -> Result<(), Over> {
    facts.send(fact).await.map_err(|_| Over)
}
