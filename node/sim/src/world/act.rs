//! Carrying out what a session says. Never here: why it says so.

use std::time::Duration;

use shoal_core::{
    ids::{AnnounceId, PolicyId},
    policy::{Answer, Consultation, Report, Verdict},
    session::{
        Action, Event,
        decisions::{Consulted, DecidedBy},
        event::{AnnounceFailure, MergeDone},
        notice::{Notice, PeerNews},
    },
    tracker::announce::AnnounceRequest,
};

use super::{World, agenda::What};
use crate::checks::{Check, pace::Announced};

/// The only policy of a host.
pub(super) const POLICY: PolicyId = PolicyId(1);
/// From a session to its policy thread and back, beside what the script takes.
const CONSULT_TAKES: Duration = Duration::from_micros(30);
/// What bringing a complete file to its place takes: a rename.
const MERGE_TAKES: Duration = Duration::from_millis(2);

impl World {
    pub(crate) fn act(&mut self, host: usize, action: Action) {
        match action {
            Action::Dial { conn, addr, .. } => self.dial(host, conn, addr),
            // No plan has web seeds, nor magnet links: nothing asks for either.
            Action::OpenWebSeed { .. } | Action::MetadataFound { .. } => {}
            Action::Accept { conn, .. } => self.accept(host, conn),
            Action::Send { conn, message } => self.send(host, conn, message),
            Action::Serve { conn, serving, .. } => self.serve(host, conn, serving),
            Action::Close { conn, cause } => self.close(host, conn, cause),
            Action::GrantLease { conn, lease } => self.grant(host, conn, lease),
            Action::RevokeLease { conn, lease } => self.revoke(host, conn, lease),
            Action::VerifyAndWrite { piece, compare, .. } => self.verify(host, piece, compare),
            Action::DropPiece { piece, .. } => self.drop_piece(host, piece),
            Action::CheckPieces { torrent, pieces, .. } => self.check_disk(host, torrent, pieces),
            Action::Merge { torrent, merge, .. } => {
                let paths = vec![self.metainfo.name.clone()];
                let result = Ok(MergeDone { paths, already: false });
                self.later(host, MERGE_TAKES, Event::Merged { torrent, merge, result });
            }
            Action::Announce { announce, request, .. } => self.announce(host, announce, &request),
            // Hosts of a zone are not on one local network.
            Action::AnnounceLocally { .. } | Action::StopOutsideJob { .. } => {}
            Action::Consult(question) => self.consult(host, *question),
            Action::Inform(report) => self.inform(host, &report),
            Action::Reply { command, result } => {
                if let Some(node) = self.node(host) {
                    if node.leaving {
                        return self.gone(host);
                    }
                    node.replies.insert(command, result);
                }
            }
            Action::Notify(notice) => self.noticed(host, &notice),
        }
    }

    fn announce(&mut self, host: usize, announce: AnnounceId, request: &AnnounceRequest) {
        let now = self.now;
        let before = self.hosts[host].node.as_ref().and_then(|node| node.announced);
        self.checks.announces(now, host, request, before);
        let result = if self.tracker_down > 0 {
            Err(AnnounceFailure::Unreachable { cause: "connection refused".to_owned() })
        } else {
            let source = self.hosts[host].addr.ip();
            self.registry.announce(self.now, request, source).map_err(|failure| {
                AnnounceFailure::Refused { reason: failure.to_string(), retry_in_s: None }
            })
        };
        if let (Ok(reply), Some(node)) = (&result, self.node(host)) {
            let min_interval_s = reply.min_interval_s.unwrap_or(0);
            node.announced = Some(Announced::new(now, request, min_interval_s));
        }
        let round_trip = self.plan.tracker.round_trip;
        self.later(host, round_trip, Event::AnnounceFinished { announce, result });
    }

    fn consult(&mut self, host: usize, question: Consultation) {
        let (round, chunks) = (question.round, question.chunks.len());
        let Some(node) = self.node(host) else { return };
        let answer = match &mut node.script {
            Some(script) => Answer { round, verdicts: script.answer(question) },
            None => Answer::all(round, chunks, &Verdict::Bypassed),
        };
        let spent = answer.verdicts.iter().map(|judged| u64::from(judged.spent_us)).sum();
        let takes = CONSULT_TAKES + Duration::from_micros(spent);
        self.later(host, takes, Event::PolicyAnswered(answer));
    }

    fn inform(&mut self, host: usize, report: &Report) {
        let Some(node) = self.node(host) else { return };
        let advice = node.script.as_mut().and_then(|script| script.report(report));
        if let Some(advice) = advice {
            self.later(host, CONSULT_TAKES, Event::PolicyAdvised(advice));
        }
    }

    fn noticed(&mut self, host: usize, notice: &Notice) {
        let now = self.now;
        match notice {
            Notice::PieceHave { piece, .. } => {
                let held = self.hosts[host].disk.holds.get(*piece);
                self.checks.that(now, host, Check::Verified, held, || {
                    format!("{piece:?} is served and was not written")
                });
                if let Some(node) = self.node(host) {
                    node.serves.set(*piece);
                }
            }
            Notice::PieceLost { piece, .. } => {
                if let Some(node) = self.node(host) {
                    node.serves.clear(*piece);
                }
            }
            Notice::PeerBanned(PeerNews { peer_id, .. }) => {
                if let Some(&banned) = self.by_id.get(peer_id) {
                    self.hosts[banned].record.banned_by += 1;
                    let harmless = self.is_harmless(banned);
                    self.checks.that(now, host, Check::Blame, !harmless, || {
                        format!("host {banned} is banned and sent nothing wrong")
                    });
                }
            }
            Notice::JobEnded(job) => self.job_ended(host, *job),
            Notice::TorrentAdded(_)
            | Notice::TorrentChanged(_)
            | Notice::Selected(_)
            | Notice::TorrentRemoved { .. }
            | Notice::QuestBegan(_)
            | Notice::QuestFailed { .. }
            | Notice::QuestEnded { .. }
            | Notice::PeerConnected(_)
            | Notice::PeerDisconnected(_)
            | Notice::PeerSnubbed(_)
            | Notice::PeerCharged(_)
            | Notice::Announced { .. }
            | Notice::AnnounceFailed { .. }
            | Notice::JobBegan(_)
            | Notice::JobProgress(_)
            | Notice::Merged { .. }
            | Notice::Disk { .. }
            | Notice::PolicyLate { .. } => {}
        }
    }

    /// Counts what came of the decisions of a host since the last count.
    pub(super) fn count_decisions(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        for decision in node.session.decisions_after(node.decisions_seen) {
            // What was made and is not kept any more counts as the one after it.
            let made = decision.sequence - node.decisions_seen;
            node.decisions_seen = decision.sequence;
            let what = match &decision.by {
                DecidedBy::Native(_) => "native",
                DecidedBy::Blind => "blind",
                DecidedBy::Consulted { outcome, .. } => match outcome {
                    Consulted::Chosen => "chosen",
                    Consulted::Abstained => "abstained",
                    Consulted::Deferred => "deferred",
                    Consulted::Starved => "starved",
                    Consulted::Failed => "failed",
                    Consulted::Bypassed => "bypassed",
                    Consulted::Late => "late",
                    Consulted::Stale => "stale",
                    Consulted::Nobody => "nobody",
                },
            };
            *self.decisions.entry(what).or_default() += made;
        }
    }

    /// The agenda's door for the other verbs.
    pub(super) fn plan_for(&mut self, delay: Duration, what: What) {
        self.agenda.after(self.now, delay, what);
    }
}
