//! The arguments of `shoalctl settings`: keys and values as a person writes them. Never here: what
//! the node makes of them.

use std::{collections::HashMap, str::FromStr};

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use shoal::v1::Settings;

use super::manner::Watch;

/// A command about settings.
#[derive(Clone, Debug, Subcommand)]
pub enum SettingsCommand {
    /// Show what can be changed while the node runs
    Show(ShowArgs),
    /// Change settings, all of those given or none
    #[command(after_help = "\
Keys: upload-limit and download-limit, bytes a second such as 20MB, or none; of a torrent only these.
upload-slots, peers of each torrent that are served at once, or all; labels, as zone=a,rack=3, or
none; log-filter, as of shoald --log; connections; connections-per-torrent.

Settings of the node hold until it ends: for good they belong into its configuration. Those of a
torrent are kept with it.")]
    Set(SetArgs),
}

/// Arguments of settings show.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
    /// The limits of this torrent: its name, info hash or a prefix of that
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub torrent: Option<String>,
}

/// Arguments of settings set.
#[derive(Args, Clone, Debug)]
pub struct SetArgs {
    /// What to change, and to what, as upload-limit=20MB
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub pairs: Vec<Pair>,
    /// The limits of this torrent: its name, info hash or a prefix of that
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub torrent: Option<String>,
}

/// A setting and its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pair {
    /// Bytes a second; 0 = none.
    UploadLimit(u64),
    /// Bytes a second; 0 = none.
    DownloadLimit(u64),
    /// Peers; 0 = all.
    UploadSlots(u32),
    /// All labels.
    Labels(HashMap<String, String>),
    /// As of `shoald --log`.
    LogFilter(String),
    /// Connections.
    Connections(u32),
    /// Connections of a torrent.
    ConnectionsPerTorrent(u32),
}

const KEYS: &str = "upload-limit, download-limit, upload-slots, labels, log-filter, connections, \
                    connections-per-torrent";

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        match key.replace('_', "-").trim_end_matches("-bps") {
            "upload-limit" => rate(value).map(Self::UploadLimit),
            "download-limit" => rate(value).map(Self::DownloadLimit),
            "upload-slots" if value == "all" => Ok(Self::UploadSlots(0)),
            "upload-slots" => number(value, "or all").map(Self::UploadSlots),
            "labels" => labels(value).map(Self::Labels),
            "log-filter" => Ok(Self::LogFilter(value.to_owned())),
            "connections" => number(value, "from 1").map(Self::Connections),
            "connections-per-torrent" => number(value, "from 1").map(Self::ConnectionsPerTorrent),
            _ => Err(format!("there is no setting '{key}'; there are {KEYS}")),
        }
    }
}

impl Pair {
    /// Its field of `Settings`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        match self {
            Self::UploadLimit(_) => "upload_limit_bps",
            Self::DownloadLimit(_) => "download_limit_bps",
            Self::UploadSlots(_) => "upload_slots",
            Self::Labels(_) => "labels",
            Self::LogFilter(_) => "log_filter",
            Self::Connections(_) => "connections",
            Self::ConnectionsPerTorrent(_) => "connections_per_torrent",
        }
    }

    /// Puts its value into `settings`.
    pub fn put(&self, settings: &mut Settings) {
        match self.clone() {
            Self::UploadLimit(bps) => settings.upload_limit_bps = bps,
            Self::DownloadLimit(bps) => settings.download_limit_bps = bps,
            Self::UploadSlots(slots) => settings.upload_slots = slots,
            Self::Labels(labels) => settings.labels = labels,
            Self::LogFilter(filter) => settings.log_filter = filter,
            Self::Connections(most) => settings.connections = most,
            Self::ConnectionsPerTorrent(most) => settings.connections_per_torrent = most,
        }
    }
}

/// Bytes a second.
fn rate(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let size = text.strip_suffix("/s").unwrap_or(text).parse::<ByteSize>();
    let wrong = |_| format!("'{text}' is no rate such as 20MB or 512KiB, which are bytes a second");
    Ok(size.map_err(wrong)?.as_u64())
}

fn number(text: &str, or: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("'{text}' is no whole number {or}"))
}

fn labels(text: &str) -> Result<HashMap<String, String>, String> {
    if text.is_empty() || text == "none" {
        return Ok(HashMap::new());
    }
    text.split(',').map(super::parse::key_value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_a_person_writes_them() {
        let read = |text: &str| text.parse::<Pair>().unwrap();
        assert_eq!(read("upload-limit=20MB"), Pair::UploadLimit(20_000_000));
        assert_eq!(read("download-limit=1MiB/s"), Pair::DownloadLimit(1 << 20));
        assert_eq!(read("upload_limit_bps=none"), Pair::UploadLimit(0));
        assert_eq!(read("upload-slots=all"), Pair::UploadSlots(0));
        assert_eq!(read("log_filter=info,shoal_node=debug").path(), "log_filter");
        let labels = [("zone", "a"), ("rack", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(read("labels=zone=a,rack="), Pair::Labels(labels.into()));
        assert_eq!(read("labels=none"), Pair::Labels(HashMap::new()));
        assert_eq!(read("connections-per-torrent=7"), Pair::ConnectionsPerTorrent(7));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_those_there_are() {
        for wrong in
            ["swim=1", "upload-limit", "=1", "connections=many", "labels=a", "upload-limit=fast"]
        {
            assert!(wrong.parse::<Pair>().is_err(), "{wrong}");
        }
        assert!("swim=1".parse::<Pair>().unwrap_err().contains("download-limit"));
    }
}
