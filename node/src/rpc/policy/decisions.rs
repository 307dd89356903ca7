//! One decision explained, and decisions as they are made.

use std::{collections::BTreeMap, time::Duration};

use shoal::v1::{self as api};
use shoal_core::{
    ids::{InfoHash, PolicyId},
    policy::{Candidate, PeerView, Verdict, native::Native},
    session::{
        Chooser, Session,
        decisions::{Consulted, DecidedBy, Decision},
        explain::{Explained, LeftOut, LeftOutPeer},
    },
};
use shoal_policy::script::Explanation;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{scope, show};
use crate::{
    policy_host::{PolicyState, Scope, script},
    rpc::{
        context::Context,
        field,
        follow::{REPLIES_MAX, Replies, ending_refusal},
        message::{labels, piece_state, timestamp},
        status::{Reason, Refusal},
    },
    session::handle::SessionHandle,
};

/// How often those who watch are told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Decides one chunk without side effects, and says why.
pub(super) async fn explain(
    this: &Context,
    request: api::ExplainDecisionRequest,
) -> Result<api::ExplainDecisionResponse, Refusal> {
    let view = this.torrent(request.torrent).await?;
    let piece = match request.chunk.as_str() {
        "" => None,
        chunk => Some(field::chunk(&view.metainfo, chunk)?),
    };
    let session = this.peer_role()?;
    let explained = session.explain(view.id, piece).await?;
    let Some((explained, said)) = explained else {
        let message =
            format!("nothing of '{}' is left to be fetched; name a chunk", view.metainfo.name);
        return Err(Refusal::new(Reason::NothingToExplain, message));
    };
    let status = session.policy_status(Scope::Torrent(view.metainfo.info_hash));
    let policy = match explained.chooser {
        Chooser::Native(native) => native.name().to_owned(),
        Chooser::Consulted(..) => status.name,
    };
    Ok(told(&explained, said.as_ref(), policy, status.state, session))
}

fn told(
    explained: &Explained,
    said: Option<&Explanation>,
    policy: String,
    state: PolicyState,
    session: &SessionHandle,
) -> api::ExplainDecisionResponse {
    let (question, chunk) = (&explained.question, &explained.question.chunks[0]);
    let natively = |native| explained.natively(native, 1).map(|peer| &question.peers[peer]);
    let default = natively(Native::default());
    let (outcome, chosen) = match (explained.chooser, said) {
        _ if chunk.candidates.is_empty() => (api::Outcome::Nobody, None),
        (Chooser::Native(native), _) => (api::Outcome::Native, natively(native)),
        (Chooser::Consulted(..), Some(said)) if state == PolicyState::Active => {
            let named = |conn| question.peers.iter().find(|peer| peer.conn == conn);
            match said.verdict {
                Verdict::Chosen { conn, .. } => (api::Outcome::Chosen, named(conn)),
                Verdict::Abstained => (api::Outcome::Abstained, default),
                Verdict::Deferred { .. } => (api::Outcome::Deferred, None),
                Verdict::Starved => (api::Outcome::Starved, default),
                Verdict::Failed => (api::Outcome::Failed, default),
                Verdict::Bypassed => (api::Outcome::Bypassed, default),
            }
        }
        (Chooser::Consulted(..), _) => (api::Outcome::Bypassed, default),
    };
    let reason = match said.map(|said| &said.verdict) {
        Some(Verdict::Chosen { reason, .. }) => reason.clone().unwrap_or_default(),
        Some(Verdict::Deferred { ms }) => format!("asks to wait {ms} ms"),
        Some(Verdict::Abstained | Verdict::Starved | Verdict::Failed | Verdict::Bypassed)
        | None => String::new(),
    };
    let clock = &session.facts().clock;
    let error = said.and_then(|said| said.failure.as_ref());
    let error = error.map(|failure| show::issue(script::issue(failure, clock.wall(clock.now()))));
    let score = |at: usize| said.and_then(|said| said.scores.get(at).copied().flatten());
    let candidates = chunk.candidates.iter().enumerate();
    let address = |peer: &PeerView| field::address(peer.addr);
    api::ExplainDecisionResponse {
        chunk: chunk.name.clone(),
        piece: explained.piece.0,
        state: piece_state(explained.state).to_owned(),
        size: chunk.size,
        availability: chunk.availability,
        policy,
        outcome: outcome.into(),
        chosen: chosen.map(address),
        reason,
        default_choice: default.map(address),
        spent_us: said
            .map_or(0, |said| u32::try_from(show::micros(said.spent)).unwrap_or(u32::MAX)),
        error,
        candidates: candidates
            .map(|(at, candidate)| explained_peer(candidate, &question.peers, score(at)))
            .collect(),
        left_out: explained.left_out.iter().map(left_out).collect(),
    }
}

fn explained_peer(
    candidate: &Candidate,
    peers: &[PeerView],
    score: Option<f64>,
) -> api::ExplainedPeer {
    let peer = &peers[candidate.peer];
    api::ExplainedPeer {
        peer: Some(field::address(peer.addr)),
        peer_id: peer.id.to_string(),
        client: peer.client.to_string(),
        labels: labels(&peer.labels),
        uploaded: peer.uploaded,
        downloaded: peer.downloaded,
        inflight: peer.inflight,
        slots: peer.slots,
        rate_bps: peer.rate_bps,
        rtt_us: peer.rtt_us,
        failures: peer.failures,
        fail_streak: peer.fail_streak,
        tried: candidate.tried,
        is_seed: peer.is_seed,
        estimated: peer.estimated,
        score,
    }
}

fn left_out(peer: &LeftOutPeer) -> api::LeftOutPeer {
    let why = match peer.why {
        LeftOut::Banned => api::LeftOut::Banned,
        LeftOut::HasItNot => api::LeftOut::HasItNot,
        LeftOut::Choking => api::LeftOut::Choking,
        LeftOut::NoSlot => api::LeftOut::NoSlot,
        LeftOut::Resting => api::LeftOut::Resting,
        LeftOut::Tried => api::LeftOut::Tried,
        LeftOut::NotSampled => api::LeftOut::NotSampled,
        LeftOut::LastResort => api::LeftOut::LastResort,
    };
    api::LeftOutPeer {
        peer: Some(field::address(peer.addr)),
        peer_id: peer.peer_id.map(|id| id.to_string()).unwrap_or_default(),
        why: why.into(),
        detail: peer.detail.clone(),
    }
}

/// Begins to tell of decisions: the last ones, then, if asked, those to come.
pub(super) async fn watch(
    this: &Context,
    request: api::WatchDecisionsRequest,
) -> Result<Replies<api::WatchDecisionsResponse>, Refusal> {
    let only = scope(this, request.torrent).await?.torrent();
    let session = this.peer_role()?.clone();
    let (replies, stream) = mpsc::channel(REPLIES_MAX);
    let ending = this.ending.clone();
    let run = async move {
        let told = tokio::select! {
            biased;
            () = replies.closed() => return,
            () = ending.cancelled() => Err(ending_refusal()),
            told = tell(&session, only, request.follow, &replies) => told,
        };
        if let Err(refusal) = told {
            // A caller that went away needs no status.
            let _ = replies.send(Err(refusal.into())).await;
        }
    };
    tokio::spawn(run);
    Ok(ReceiverStream::new(stream))
}

async fn tell(
    session: &SessionHandle,
    only: Option<InfoHash>,
    follow: bool,
    replies: &mpsc::Sender<Result<api::WatchDecisionsResponse, Status>>,
) -> Result<(), Refusal> {
    let mut last = 0;
    let mut first = true;
    loop {
        let (decisions, skipped, seen) = next(session, only, last).await?;
        let quiet = decisions.is_empty() && skipped == 0;
        // What was before the first look is not skipped.
        let skipped = if first { 0 } else { skipped };
        if first || !quiet {
            let message = api::WatchDecisionsResponse { decisions, skipped };
            let gone = |_| Refusal::internal("the caller went away");
            replies.send(Ok(message)).await.map_err(gone)?;
        }
        if !follow {
            return Ok(());
        }
        (last, first) = (seen, false);
        tokio::time::sleep(TOLD_EVERY).await;
    }
}

/// The decisions after a sequence that are kept, how many are not, and the last sequence seen.
async fn next(
    session: &SessionHandle,
    only: Option<InfoHash>,
    last: u64,
) -> Result<(Vec<api::Decision>, u64, u64), Refusal> {
    let clock = session.facts().clock;
    let names = session.policy_names();
    let look = move |session: &Session| {
        let mut told = Vec::new();
        let (mut oldest, mut newest) = (last + 1, last);
        for decision in session.decisions_after(last) {
            if newest == last {
                oldest = decision.sequence;
            }
            newest = decision.sequence;
            if let Some(decision) = decision_of(session, decision, only, &names, &clock) {
                told.push(decision);
            }
        }
        (told, oldest - last - 1, newest)
    };
    Ok(session.query(look).await?)
}

fn decision_of(
    session: &Session,
    decision: &Decision,
    only: Option<InfoHash>,
    names: &BTreeMap<PolicyId, String>,
    clock: &crate::clock::Clock,
) -> Option<api::Decision> {
    let view = session.torrent(decision.torrent)?;
    if only.is_some_and(|only| only != view.metainfo.info_hash) {
        return None;
    }
    let (outcome, policy, reason) = match &decision.by {
        DecidedBy::Native(native) => {
            (api::Outcome::Native, native.name().to_owned(), String::new())
        }
        DecidedBy::Blind => (api::Outcome::Blind, String::new(), String::new()),
        DecidedBy::Consulted { policy, outcome, reason } => {
            let name = names.get(policy).cloned().unwrap_or_default();
            (outcome_of(*outcome), name, reason.clone().unwrap_or_default())
        }
    };
    Some(api::Decision {
        sequence: decision.sequence,
        at: Some(timestamp(clock.wall(decision.at))),
        info_hash: view.metainfo.info_hash.to_string(),
        chunk: view.metainfo.chunk_name(decision.piece),
        piece: decision.piece.0,
        offset: decision.offset,
        candidates: decision.candidates,
        outcome: outcome.into(),
        chosen: decision.chosen.map(field::address),
        reason,
        spent_us: decision.spent_us,
        policy,
    })
}

fn outcome_of(outcome: Consulted) -> api::Outcome {
    match outcome {
        Consulted::Chosen => api::Outcome::Chosen,
        Consulted::Abstained => api::Outcome::Abstained,
        Consulted::Deferred => api::Outcome::Deferred,
        Consulted::Starved => api::Outcome::Starved,
        Consulted::Failed => api::Outcome::Failed,
        Consulted::Bypassed => api::Outcome::Bypassed,
        Consulted::Late => api::Outcome::Late,
        Consulted::Stale => api::Outcome::Stale,
        Consulted::Nobody => api::Outcome::Nobody,
    }
}
