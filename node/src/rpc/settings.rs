//! Settings that change while the node runs: what a request names is judged whole before anything
//! is changed. Never here: how a change is carried out.

use std::{collections::BTreeSet, num::NonZeroU64, sync::Arc};

use shoal::v1 as api;
use shoal_core::config::Unchoke;

use super::{
    context::Context,
    message::{count, labels},
    status::{Reason, Refusal},
};
use crate::{
    config::{RATE_MIN, check_labels},
    log::{self, FilterError},
    net::Rates,
    session::{
        NewEvent,
        event_hub::{Detail, EventKind},
        settings::{Settings, SettingsChange, SettingsOf},
    },
};

/// A field of `Settings`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Field {
    Upload,
    Download,
    Slots,
    Labels,
    Log,
    Connections,
    ConnectionsPerTorrent,
}

/// What a request wants to change.
#[derive(Clone, PartialEq, Debug, Default)]
struct Wanted {
    session: SettingsChange,
    log_filter: Option<String>,
}

/// Shows settings.
pub(super) async fn get(
    this: &Context,
    request: api::GetSettingsRequest,
) -> Result<api::GetSettingsResponse, Refusal> {
    let of = scope(this, request.torrent).await?;
    Ok(api::GetSettingsResponse { settings: Some(stand(this, of).await?) })
}

/// Changes settings.
pub(super) async fn update(
    this: &Context,
    request: api::UpdateSettingsRequest,
) -> Result<api::UpdateSettingsResponse, Refusal> {
    let of = scope(this, request.torrent).await?;
    let fields = fields(&request.update_mask.unwrap_or_default().paths, of)?;
    let wanted = wanted(&fields, &request.settings.unwrap_or_default())?;
    if wanted.session != SettingsChange::default() {
        let changed = this.peer_role()?.change_settings(of, wanted.session).await?;
        changed.ok_or_else(unknown)?;
    }
    if let Some(filter) = wanted.log_filter {
        // It was checked before anything was changed.
        log::set_filter(&filter).map_err(|error| log_refusal(&error))?;
        tracing::info!(filter, "log filter");
        tell_log_filter(this, &filter, stand_of_session(this, SettingsOf::Node).await?);
    }
    Ok(api::UpdateSettingsResponse { settings: Some(stand(this, of).await?) })
}

/// Settings as a message.
pub(super) fn message(settings: &Settings) -> api::Settings {
    let limits = |rates: Rates| {
        let bps = |rate: Option<NonZeroU64>| rate.map_or(0, NonZeroU64::get);
        api::Settings {
            upload_limit_bps: bps(rates.upload_bps),
            download_limit_bps: bps(rates.download_bps),
            ..api::Settings::default()
        }
    };
    match settings {
        Settings::Torrent(rates) => limits(*rates),
        Settings::Node(node) => api::Settings {
            upload_slots: match node.unchoke {
                Unchoke::All => 0,
                Unchoke::Slots(slots) => slots,
            },
            labels: labels(&node.labels),
            log_filter: log::filter().unwrap_or_default(),
            connections: count(node.connections),
            connections_per_torrent: count(node.connections_per_torrent),
            ..limits(node.rates)
        },
    }
}

async fn scope(this: &Context, torrent: Option<String>) -> Result<SettingsOf, Refusal> {
    match torrent {
        None => Ok(SettingsOf::Node),
        Some(selector) => Ok(SettingsOf::Torrent(this.torrent(selector).await?.id)),
    }
}

async fn stand(this: &Context, of: SettingsOf) -> Result<api::Settings, Refusal> {
    Ok(match stand_of_session(this, of).await? {
        Some(settings) => message(&settings),
        // A tracker has but a log.
        None => api::Settings {
            log_filter: log::filter().unwrap_or_default(),
            ..api::Settings::default()
        },
    })
}

async fn stand_of_session(this: &Context, of: SettingsOf) -> Result<Option<Settings>, Refusal> {
    match &this.session {
        Some(session) => Ok(Some(session.settings(of).await?.ok_or_else(unknown)?)),
        None => Ok(None),
    }
}

/// The fields that a mask names.
fn fields(paths: &[String], of: SettingsOf) -> Result<BTreeSet<Field>, Refusal> {
    if paths.is_empty() {
        return Err(Refusal::field("update_mask", "names no setting"));
    }
    let field = |path: &String| {
        let field = Field::of(path).ok_or_else(|| {
            let known = Field::ALL.map(Field::path).join(", ");
            Refusal::field("update_mask", format!("'{path}' is no setting; there are {known}"))
        })?;
        match (field, of) {
            (Field::Upload | Field::Download, _) | (_, SettingsOf::Node) => Ok(field),
            (_, SettingsOf::Torrent(_)) => {
                let fault = format!("'{path}' is a setting of the node, not of a torrent");
                Err(Refusal::field("update_mask", fault))
            }
        }
    };
    paths.iter().map(field).collect()
}

/// What is to change, where all of it makes sense.
fn wanted(fields: &BTreeSet<Field>, settings: &api::Settings) -> Result<Wanted, Refusal> {
    let mut wanted = Wanted::default();
    let change = &mut wanted.session;
    for field in fields {
        match field {
            Field::Upload => {
                let bps = rate("settings.upload_limit_bps", settings.upload_limit_bps)?;
                change.upload_bps = Some(bps);
            }
            Field::Download => {
                let bps = rate("settings.download_limit_bps", settings.download_limit_bps)?;
                change.download_bps = Some(bps);
            }
            Field::Slots => {
                change.unchoke = Some(match settings.upload_slots {
                    0 => Unchoke::All,
                    slots => Unchoke::Slots(slots),
                });
            }
            Field::Labels => {
                let labels =
                    settings.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
                let labels = labels.collect();
                let checked = check_labels(&labels);
                checked.map_err(|fault| Refusal::field("settings.labels", fault))?;
                change.labels = Some(Arc::new(labels));
            }
            Field::Log => {
                log::check(&settings.log_filter).map_err(|error| log_refusal(&error))?;
                wanted.log_filter = Some(settings.log_filter.clone());
            }
            Field::Connections => {
                let most = at_least_one("settings.connections", settings.connections)?;
                change.connections = Some(most);
            }
            Field::ConnectionsPerTorrent => {
                let of_torrent = settings.connections_per_torrent;
                let most = at_least_one("settings.connections_per_torrent", of_torrent)?;
                change.connections_per_torrent = Some(most);
            }
        }
    }
    Ok(wanted)
}

fn rate(field: &'static str, bps: u64) -> Result<u64, Refusal> {
    match bps {
        1..RATE_MIN => {
            let fault = format!("{bps} bytes a second is below {RATE_MIN}; 0 is no limit");
            Err(Refusal::field(field, fault))
        }
        bps => Ok(bps),
    }
}

fn at_least_one(field: &'static str, most: u32) -> Result<usize, Refusal> {
    match most {
        0 => Err(Refusal::field(field, "0 would let nobody in")),
        most => Ok(most as usize),
    }
}

fn tell_log_filter(this: &Context, filter: &str, settings: Option<Settings>) {
    this.events.emit(NewEvent {
        kind: EventKind::Settings,
        what: "set",
        torrent: None,
        info_hash: None,
        message: format!("log filter {filter}"),
        detail: settings.map_or(Detail::None, |settings| Detail::Settings(Box::new(settings))),
    });
}

fn unknown() -> Refusal {
    Refusal::new(Reason::UnknownTorrent, "no such torrent")
}

fn log_refusal(error: &FilterError) -> Refusal {
    match error {
        FilterError::Malformed { .. } | FilterError::TooLong(_) => {
            Refusal::field("settings.log_filter", error.to_string())
        }
        FilterError::NotOurs => Refusal::new(Reason::NoLogFilter, error.to_string()),
    }
}

impl Field {
    const ALL: [Self; 7] = [
        Self::Upload,
        Self::Download,
        Self::Slots,
        Self::Labels,
        Self::Log,
        Self::Connections,
        Self::ConnectionsPerTorrent,
    ];

    fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.path() == path)
    }

    /// Its name in the proto.
    fn path(self) -> &'static str {
        match self {
            Self::Upload => "upload_limit_bps",
            Self::Download => "download_limit_bps",
            Self::Slots => "upload_slots",
            Self::Labels => "labels",
            Self::Log => "log_filter",
            Self::Connections => "connections",
            Self::ConnectionsPerTorrent => "connections_per_torrent",
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_core::ids::TorrentId;

    use super::*;

    fn asked(paths: &[&str], of: SettingsOf, settings: &api::Settings) -> Result<Wanted, Refusal> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        wanted(&fields(&paths, of)?, settings)
    }

    fn refused(paths: &[&str], of: SettingsOf, settings: &api::Settings) -> (&'static str, String) {
        asked(paths, of, settings).unwrap_err().field.unwrap()
    }

    #[test]
    fn only_what_the_mask_names_is_looked_at() {
        let settings =
            api::Settings { upload_limit_bps: 2048, connections: 0, ..Default::default() };
        let wanted = asked(&["upload_limit_bps", "upload_slots"], SettingsOf::Node, &settings);
        let session = SettingsChange {
            upload_bps: Some(2048),
            unchoke: Some(Unchoke::All),
            ..SettingsChange::default()
        };
        assert_eq!(wanted.unwrap(), Wanted { session, log_filter: None });
    }

    #[test]
    fn a_mask_of_nothing_or_of_something_unknown_is_refused() {
        let settings = api::Settings::default;
        for paths in [&[][..], &["*"], &["upload_limit_bps", "swim"], &["uploadLimitBps"], &[""]] {
            assert_eq!(refused(paths, SettingsOf::Node, &settings()).0, "update_mask", "{paths:?}");
        }
        let torrent = SettingsOf::Torrent(TorrentId(1));
        assert!(asked(&["upload_limit_bps", "download_limit_bps"], torrent, &settings()).is_ok());
        for field in Field::ALL.map(Field::path).into_iter().skip(2) {
            let (name, fault) = refused(&[field], torrent, &settings());
            assert!(name == "update_mask" && fault.contains(field), "{fault}");
        }
    }

    #[test]
    fn every_value_has_its_bounds() {
        let node = SettingsOf::Node;
        let of = |bps| api::Settings {
            upload_limit_bps: bps,
            download_limit_bps: bps,
            ..Default::default()
        };
        for bps in [0, RATE_MIN, u64::MAX] {
            assert!(asked(&["upload_limit_bps", "download_limit_bps"], node, &of(bps)).is_ok());
        }
        for bps in [1, RATE_MIN - 1] {
            assert_eq!(
                refused(&["upload_limit_bps"], node, &of(bps)).0,
                "settings.upload_limit_bps"
            );
            let (field, _) = refused(&["download_limit_bps"], node, &of(bps));
            assert_eq!(field, "settings.download_limit_bps");
        }
        let (field, _) = refused(&["connections"], node, &of(0));
        assert_eq!(field, "settings.connections");
        let labels = |len: usize| api::Settings {
            labels: [("k".repeat(len), String::new())].into(),
            ..Default::default()
        };
        assert!(asked(&["labels"], node, &labels(64)).is_ok());
        assert_eq!(refused(&["labels"], node, &labels(65)).0, "settings.labels");
        let log = api::Settings { log_filter: "shoal=loud".to_owned(), ..Default::default() };
        assert_eq!(refused(&["log_filter"], node, &log).0, "settings.log_filter");
    }

    #[test]
    fn the_paths_are_the_fields_of_the_proto() {
        let node = Settings::Node(crate::session::settings::NodeSettings {
            rates: Rates::of(1, 2),
            unchoke: Unchoke::Slots(3),
            labels: Arc::default(),
            connections: 4,
            connections_per_torrent: 5,
        });
        let told = message(&node);
        let numbers = (told.upload_limit_bps, told.download_limit_bps, told.upload_slots);
        assert_eq!((numbers, told.connections, told.connections_per_torrent), ((1, 2, 3), 4, 5));
    }
}
