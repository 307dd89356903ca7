//! What is told of a run in the end. Never here: how it is shown.

use std::{sync::Arc, time::Duration};

use shoal_core::{config::Unchoke, time::Timestamp};

use super::{
    ORIGIN, World,
    link::{EndId, Phase},
};
use crate::outcome::{HostOutcome, Outcome};

/// The fairness of unchoking is told of seeds that served for so long, to so many peers.
const SERVED_MIN: Duration = Duration::from_secs(120);
const SERVED_PEERS_MIN: usize = 3;

impl World {
    /// Takes down what a host's session counted in this life.
    pub(super) fn settle_totals(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let Some(node) = &it.node else { return };
        let Some(view) = node.session.torrent(node.torrent) else { return };
        it.record.uploaded_told = view.uploaded;
        it.record.downloaded_told = view.downloaded;
        it.record.wasted = node.before[2] + view.wasted;
    }

    /// An end is about to go: how fairly its host served, if that is not known yet.
    pub(super) fn note_served(&mut self, id: EndId) {
        let Some(end) = self.links.get(id).filter(|end| end.phase == Phase::Open) else { return };
        self.measure_served(end.host);
    }

    /// How far the times for which a seed has unchoked each peer are from their mean.
    fn measure_served(&mut self, host: usize) {
        let class = &self.plan.classes[self.hosts[host].class];
        let seeds = class.has >= 1.0 && matches!(class.unchoke, Unchoke::Slots(_));
        let record = &self.hosts[host].record;
        let Some(came) = record.came.filter(|_| seeds && record.unchoke_spread.is_none()) else {
            return;
        };
        let now = self.now;
        let here = now.since(came);
        let Some(node) = self.hosts[host].node.as_ref().filter(|_| here >= SERVED_MIN) else {
            return;
        };
        let ends = node.conns.values().filter_map(|&id| self.links.get(id));
        let there = ends.filter(|end| end.wanted && now.since(end.opened) * 10 >= here * 9);
        let times = there.map(|end| end.served(now).as_secs_f64()).collect::<Vec<_>>();
        if times.len() < SERVED_PEERS_MIN {
            return;
        }
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let most = times.iter().map(|time| (time - mean).abs()).fold(0.0, f64::max);
        self.hosts[host].record.unchoke_spread = (mean > 0.0).then(|| most / mean);
    }

    /// What came of it all.
    pub(crate) fn outcome(&mut self, policy: &str, seed: u64) -> Outcome {
        for host in 0..self.hosts.len() {
            self.measure_served(host);
            self.count_decisions(host);
            self.settle_totals(host);
        }
        self.checks.at_the_end(self.now, &self.hosts);
        let plan = Arc::clone(&self.plan);
        let hosts = self.hosts.iter().filter(|host| host.record.came.is_some());
        let hosts = hosts.map(|host| {
            let class = &plan.classes[host.class];
            let record = &host.record;
            HostOutcome {
                class: Arc::clone(&class.name),
                zone: Arc::clone(&plan.zones[class.zone].name),
                honest: class.conduct.is_honest(),
                seed: class.has >= 1.0,
                came: record.came.map_or(Duration::ZERO, since_origin),
                complete: record.complete.map(since_origin),
                left: record.left.map(since_origin),
                uploaded_bytes: record.uploaded,
                downloaded_bytes: record.downloaded,
                wasted_bytes: record.wasted,
                banned_by: record.banned_by,
                unchoke_spread: record.unchoke_spread,
            }
        });
        Outcome {
            plan: plan.name.clone(),
            seed,
            policy: policy.to_owned(),
            content_bytes: plan.content_bytes,
            pieces: self.metainfo.piece_count(),
            digest: self.trace.digest(),
            ended: since_origin(self.now),
            facts: self.trace.facts(),
            hosts: hosts.collect(),
            across_bytes: self.across_bytes,
            decisions: self.decisions.clone(),
            checks: self.checks.names(),
            checked: self.checks.count(),
            violation: self.checks.violation().cloned(),
        }
    }
}

/// Virtual time since a run began.
pub(crate) fn since_origin(at: Timestamp) -> Duration {
    at.since(ORIGIN)
}
