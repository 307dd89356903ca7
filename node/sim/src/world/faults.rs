//! What goes wrong, and is mended. Never here: what sessions make of it.

use std::time::Duration;

use shoal_core::{config::Config, session::fault::CloseCause, time::Timestamp};

use super::{
    World,
    agenda::{Turn, What},
    link::{EndId, Phase},
};
use crate::plan::FaultKind;

/// The first time until something that got no answer is sent again; each next one is twice as long
/// (RFC 6298).
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);
/// The longest such time: Linux's.
const RETRANSMIT_MAX: Duration = Duration::from_secs(120);

/// A cut between two zones.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Index into the plan's faults.
    fault: usize,
    zones: (usize, usize),
    since: Timestamp,
    /// What is sent again and again.
    pub(super) held: Vec<What>,
    /// Ends that have something to send.
    pub(super) waiting: Vec<EndId>,
}

impl World {
    pub(super) fn on_fault(&mut self, fault: usize, turn: Turn) {
        let begins = turn == Turn::Begins;
        match self.plan.faults[fault].kind {
            FaultKind::TrackerOutage if begins => self.tracker_down += 1,
            FaultKind::TrackerOutage => self.tracker_down -= 1,
            FaultKind::Cut(a, b) if begins => self.cut(fault, (a, b)),
            FaultKind::Cut(..) => self.heal(fault),
            FaultKind::DiskFull(class, count) => {
                for host in self.struck(class, count) {
                    self.hosts[host].disk.full = begins;
                }
            }
            FaultKind::SlowDisk(class, count, bps) => {
                for host in self.struck(class, count) {
                    self.hosts[host].disk.slow = begins.then_some(bps);
                }
            }
            FaultKind::Crash(class, count) => {
                for host in self.struck(class, count) {
                    if begins { self.crash(host) } else { self.revive(host) }
                }
            }
            FaultKind::BadMemory(class, count, part) => {
                for host in self.struck(class, count) {
                    let own = self.own_noise(host);
                    let struck = &mut self.hosts[host];
                    struck.noise = if begins { part } else { own };
                    struck.was_broken |= begins;
                }
            }
        }
    }

    /// The hosts that a fault strikes: the first of their class.
    fn struck(&self, class: usize, count: u32) -> Vec<usize> {
        let of_class = (0..self.hosts.len()).filter(|&host| self.hosts[host].class == class);
        of_class.take(count as usize).collect()
    }

    fn cut(&mut self, fault: usize, zones: (usize, usize)) {
        let (held, waiting) = (Vec::new(), Vec::new());
        self.cuts.push(Cut { fault, zones, since: self.now, held, waiting });
        self.plan_for(Config::default().idle_timeout, What::GiveUp(fault));
    }

    /// A cut is mended: whoever sends again next gets through.
    fn heal(&mut self, fault: usize) {
        let Some(place) = self.cuts.iter().position(|cut| cut.fault == fault) else { return };
        let cut = self.cuts.remove(place);
        let at = cut.since + retransmitted_after(self.now.since(cut.since));
        for what in cut.held {
            self.agenda.at(at, what);
        }
        for end in cut.waiting {
            self.agenda.at(at, What::Paced(end));
        }
    }

    /// Nobody has heard anything from beyond a cut for as long as connections are kept.
    pub(super) fn give_up(&mut self, fault: usize) {
        let Some(cut) = self.cuts.iter().find(|cut| cut.fault == fault) else { return };
        let zones = cut.zones;
        let open = self.links.iter().filter(|(_, end)| end.phase == Phase::Open);
        let across = open.filter(|(id, end)| {
            let other = self.links.get(id.other()).map(|other| self.zone(other.host));
            other.is_some_and(|other| is_between(zones, (self.zone(end.host), other)))
        });
        for id in across.map(|(id, _)| id).collect::<Vec<_>>() {
            self.end(id, CloseCause::Idle);
        }
    }

    /// The cut between two zones, if there is one.
    pub(super) fn cut_between(&mut self, zones: (usize, usize)) -> Option<&mut Cut> {
        self.cuts.iter_mut().find(|cut| is_between(cut.zones, zones))
    }

    /// Whether what is sent to an end does not get there.
    pub(super) fn is_cut_off(&self, id: EndId) -> bool {
        !self.cuts.is_empty()
            && self
                .zones_of(id)
                .is_some_and(|zones| self.cuts.iter().any(|cut| is_between(cut.zones, zones)))
    }

    pub(super) fn hold(&mut self, id: EndId, what: What) {
        let zones = self.zones_of(id);
        if let Some(cut) = zones.and_then(|zones| self.cut_between(zones)) {
            cut.held.push(what);
        }
    }

    fn zones_of(&self, id: EndId) -> Option<(usize, usize)> {
        let (a, b) = (self.links.get(id)?.host, self.links.get(id.other())?.host);
        Some((self.zone(a), self.zone(b)))
    }

    /// The processes of a host are killed: its system ends its connections.
    pub(super) fn crash(&mut self, host: usize) {
        self.count_decisions(host);
        self.settle_totals(host);
        let Some(node) = self.hosts[host].node.take() else { return };
        self.hosts[host].life += 1;
        self.checks.crashed(host);
        for (_, id) in node.conns {
            self.note_served(id);
            if let Some(end) = self.links.get_mut(id) {
                end.fetches.clear();
            }
            self.send_on(id, What::Hangup);
            self.set_gone(id);
        }
    }

    fn revive(&mut self, host: usize) {
        let record = &self.hosts[host].record;
        if self.hosts[host].node.is_none() && record.came.is_some() && record.left.is_none() {
            self.start(host);
        }
    }
}

/// When something is sent again for the first time after it was lost for so long.
fn retransmitted_after(lost: Duration) -> Duration {
    let (mut at, mut wait) = (RETRANSMIT_FIRST, RETRANSMIT_FIRST);
    while at < lost {
        wait = (wait * 2).min(RETRANSMIT_MAX);
        at += wait;
    }
    at
}

fn is_between(cut: (usize, usize), zones: (usize, usize)) -> bool {
    cut == zones || cut == (zones.1, zones.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_sent_again_at_doubling_times() {
        let ms = Duration::from_millis;
        assert_eq!(retransmitted_after(ms(0)), ms(200));
        assert_eq!(retransmitted_after(ms(200)), ms(200));
        assert_eq!(retransmitted_after(ms(201)), ms(600));
        assert_eq!(retransmitted_after(ms(30_000)), ms(51_000));
        let late = Duration::from_secs(1000);
        assert!(retransmitted_after(late) - late <= RETRANSMIT_MAX);
    }
}
