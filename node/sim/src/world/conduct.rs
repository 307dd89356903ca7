//! What adversaries do instead of what their sessions say, and who means no harm. Their sessions are
//! real ones all the same. Never here: what honest hosts do.

use std::time::Duration;

use shoal_core::{ids::PieceIndex, session::fault::CloseCause, wire::Message};

use super::{
    World,
    agenda::What,
    link::{EndId, Phase},
};
use crate::plan::Conduct;

impl World {
    pub(super) fn conduct(&self, host: usize) -> Conduct {
        self.plan.classes[self.hosts[host].class].conduct
    }

    /// Whether a host lets anybody have anything.
    pub(super) fn serves_at_all(&self, host: usize) -> bool {
        self.conduct(host) != Conduct::FreeRider
    }

    /// Whether a host tells of pieces one by one: who claims everything need not.
    pub(super) fn says_have(&self, host: usize) -> bool {
        !matches!(self.conduct(host), Conduct::Liar | Conduct::Corrupter(_))
    }

    /// Whether a host sends what it has not.
    pub(super) fn makes_it_up(&self, host: usize) -> bool {
        matches!(self.conduct(host), Conduct::Corrupter(_))
    }

    /// Whether nothing that a host sends is ever wrong.
    pub(super) fn is_harmless(&self, host: usize) -> bool {
        let broken = self.hosts[host].was_broken;
        let corrupts = matches!(self.conduct(host), Conduct::Corrupter(part) if part > 0.0);
        !broken && !corrupts
    }

    /// What a host really says where its session wants this said; none where nothing.
    pub(super) fn bend(&self, host: usize, message: Message) -> Option<Message> {
        if self.says_have(host) {
            return Some(message);
        }
        let has = matches!(message, Message::Bitfield(_) | Message::HaveNone | Message::HaveAll);
        let tells = matches!(message, Message::Have(_));
        (!tells).then_some(if has { Message::HaveAll } else { message })
    }

    /// What is wrong with the next block of a piece that a host sends; 0: nothing.
    pub(super) fn noise(&mut self, host: usize, piece: PieceIndex) -> u64 {
        let sender = &self.hosts[host];
        let made_up = sender.node.as_ref().is_none_or(|node| !node.serves.get(piece));
        let part = if made_up { 1.0 } else { sender.noise };
        match part > 0.0 && self.mischief.unit() < part {
            true => self.mischief.u64().max(1),
            false => 0,
        }
    }

    /// What part of its blocks a host means to send wrong.
    pub(super) fn own_noise(&self, host: usize) -> f64 {
        if let Conduct::Corrupter(part) = self.conduct(host) { part } else { 0.0 }
    }

    /// What a host's conduct means for a connection that is open.
    pub(super) fn set_up(&mut self, host: usize, id: EndId) {
        let conduct = self.conduct(host);
        let Some(end) = self.links.get_mut(id) else { return };
        match conduct {
            Conduct::SlowLoris(bps) => end.pace = Some(bps),
            Conduct::Flapper(mean) => {
                let micros = mean.as_micros() as f64 * (0.5 + self.mischief.unit());
                self.plan_for(Duration::from_micros(micros as u64), What::Flap(id));
            }
            Conduct::Honest | Conduct::FreeRider | Conduct::Liar | Conduct::Corrupter(_) => {}
        }
    }

    /// A flapper breaks a connection.
    pub(super) fn flap(&mut self, id: EndId) {
        if self.links.get(id).is_some_and(|end| end.phase == Phase::Open) {
            self.end(id, CloseCause::Io("connection reset".to_owned()));
            self.send_on(id, What::Hangup);
        }
    }
}
