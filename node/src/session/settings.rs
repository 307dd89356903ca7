//! Settings that change while the node runs: limits, slots, labels. Those of the node hold until it
//! ends, for its configuration is where a restart finds them; those of a torrent, which have no
//! other place, are kept in its record.
//!
//! Never here: what a value may be, which is judged before it gets here.

use std::sync::Arc;

use shoal_core::{
    config::Unchoke,
    ids::TorrentId,
    policy::Labels,
    session::command::{Command, Tuning},
};

use super::{
    event_hub::{Detail, EventKind},
    run::{ReplyTo, Shell},
};
use crate::net::Rates;

/// Whose settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingsOf {
    /// The node's.
    Node,
    /// A torrent's.
    Torrent(TorrentId),
}

/// Settings as they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settings {
    /// The node's.
    Node(NodeSettings),
    /// A torrent's: what its connections together may send and receive, beside the node's limits.
    Torrent(Rates),
}

/// The node's settings as they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSettings {
    /// What all connections together may send and receive.
    pub rates: Rates,
    /// Whose requests are served.
    pub unchoke: Unchoke,
    /// Our operator's labels.
    pub labels: Arc<Labels>,
    /// Most connections.
    pub connections: usize,
    /// Most connections of a torrent.
    pub connections_per_torrent: usize,
}

/// What is to change; none: as it is. A torrent has only the two rates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SettingsChange {
    /// Payload sent, bytes a second; 0 = no limit.
    pub upload_bps: Option<u64>,
    /// Bytes received, a second; 0 = no limit.
    pub download_bps: Option<u64>,
    /// Whose requests are served.
    pub unchoke: Option<Unchoke>,
    /// Our operator's labels.
    pub labels: Option<Arc<Labels>>,
    /// Most connections.
    pub connections: Option<usize>,
    /// Most connections of a torrent.
    pub connections_per_torrent: Option<usize>,
}

impl SettingsChange {
    fn rates(&self, before: Rates) -> Rates {
        let [upload, download] = [before.upload_bps, before.download_bps]
            .map(|rate| rate.map_or(0, std::num::NonZeroU64::get));
        Rates::of(self.upload_bps.unwrap_or(upload), self.download_bps.unwrap_or(download))
    }

    /// One line for a person.
    fn told(&self) -> String {
        let rate = |bps: u64| match bps {
            0 => "none".to_owned(),
            bps => format!("{bps} bytes/s"),
        };
        let slots = |unchoke: Unchoke| match unchoke {
            Unchoke::All => "all".to_owned(),
            Unchoke::Slots(slots) => slots.to_string(),
        };
        let labels = |labels: &Labels| match labels.len() {
            0 => "none".to_owned(),
            _ => {
                let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
                pairs.collect::<Vec<_>>().join(",")
            }
        };
        let told = [
            self.upload_bps.map(|bps| format!("upload limit {}", rate(bps))),
            self.download_bps.map(|bps| format!("download limit {}", rate(bps))),
            self.unchoke.map(|unchoke| format!("upload slots {}", slots(unchoke))),
            self.labels.as_deref().map(|are| format!("labels {}", labels(are))),
            self.connections.map(|most| format!("connections {most}")),
            self.connections_per_torrent.map(|most| format!("connections per torrent {most}")),
        ];
        told.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl Shell {
    /// The settings as they stand; none of a torrent that is not here.
    pub(super) fn settings(&self, of: SettingsOf) -> Option<Settings> {
        match of {
            SettingsOf::Torrent(id) => Some(Settings::Torrent(self.torrents.get(&id)?.rates)),
            SettingsOf::Node => {
                let config = self.session.config();
                Some(Settings::Node(NodeSettings {
                    rates: self.rates,
                    unchoke: config.unchoke,
                    labels: self.session.identity().labels.clone(),
                    connections: config.connections_max,
                    connections_per_torrent: config.connections_per_torrent_max,
                }))
            }
        }
    }

    /// Changes settings, tells it, and says how they stand.
    pub(super) fn change_settings(
        &mut self,
        of: SettingsOf,
        change: SettingsChange,
    ) -> Option<Settings> {
        let message = change.told();
        let torrent = match of {
            SettingsOf::Torrent(id) => {
                self.limit_torrent(id, &change)?;
                Some(id)
            }
            SettingsOf::Node => {
                self.change_node(change);
                None
            }
        };
        tracing::info!(torrent = torrent.map(|id| id.0), message, "settings");
        let settings = self.settings(of)?;
        let detail = Detail::Settings(Box::new(settings.clone()));
        self.tell_with(EventKind::Settings, "set", torrent, message, detail);
        Some(settings)
    }

    fn change_node(&mut self, change: SettingsChange) {
        self.rates = change.rates(self.rates);
        self.net.set_limits(self.rates);
        if let Some(most) = change.connections {
            self.net.set_connections_max(most);
        }
        let tuning = Tuning {
            unchoke: change.unchoke,
            labels: change.labels,
            connections_max: change.connections,
            connections_per_torrent_max: change.connections_per_torrent,
        };
        if tuning != Tuning::default() {
            self.issue(Command::Tune(tuning), ReplyTo::Nobody);
        }
    }

    fn limit_torrent(&mut self, id: TorrentId, change: &SettingsChange) -> Option<()> {
        let torrent = self.torrents.get_mut(&id)?;
        let rates = change.rates(torrent.rates);
        torrent.rates = rates;
        self.net.set_torrent_limits(&torrent.swarm, rates);
        let (store, hash) = (self.store.clone(), torrent.info_hash);
        self.in_store(move || {
            let bps =
                |rate: Option<std::num::NonZeroU64>| rate.map_or(0, std::num::NonZeroU64::get);
            let kept = store.update_torrent(hash, |record| {
                record.upload_limit_bps = bps(rates.upload_bps);
                record.download_limit_bps = bps(rates.download_bps);
            });
            if let Err(error) = kept {
                tracing::error!(torrent = %hash, %error, "a torrent's limits were not kept");
            }
        });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let before = Rates::of(5000, 7000);
        let change = SettingsChange { upload_bps: Some(0), ..SettingsChange::default() };
        assert_eq!(change.rates(before), Rates::of(0, 7000));
        assert_eq!(change.told(), "upload limit none");
        assert_eq!(SettingsChange::default().rates(before), before);
    }

    #[test]
    fn what_changed_is_told_in_one_line() {
        let labels = Labels::from([("rack".to_owned(), "3".to_owned())]);
        let change = SettingsChange {
            download_bps: Some(2048),
            unchoke: Some(Unchoke::Slots(4)),
            labels: Some(Arc::new(labels)),
            connections: Some(10),
            ..SettingsChange::default()
        };
        let told = "download limit 2048 bytes/s; upload slots 4; labels rack=3; connections 10";
        assert_eq!(change.told(), told);
    }
}
