//! Every method of the API: the command that calls it, and what of its reply identifies things. Never
//! here: a call.

use crate::cli::Format;

/// A command, what it calls, and what `-o name` prints of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The method, `PeerService.Ping`; empty where the command calls none of its own.
    pub method: &'static str,
    /// Its words, `torrent list`.
    pub command: &'static str,
    /// Which formats it has.
    pub knows: Knows,
}

/// Which formats a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// All. Identifiers are what the path of fields leads to: `torrents[].info_hash` is that field of
    /// each item of a list, and that list is what jsonl writes a line an item of; `a|b` is `b` where
    /// there is no `a`.
    Names(&'static str),
    /// All but `name`: nothing of what it says identifies anything.
    NoNames,
    /// Text for people only.
    Text,
}

impl Knows {
    /// The path of the identifiers; empty where there is none.
    #[must_use]
    pub const fn names(self) -> &'static str {
        match self {
            Self::Names(path) => path,
            Self::NoNames | Self::Text => "",
        }
    }

    /// Whether the command can write so.
    #[must_use]
    pub const fn has(self, format: Format) -> bool {
        match format {
            Format::Table => true,
            Format::Json | Format::Jsonl | Format::Yaml => !matches!(self, Self::Text),
            Format::Name => matches!(self, Self::Names(_)),
        }
    }
}

use Knows::{Names, NoNames, Text};

const fn rpc(method: &'static str, command: &'static str, knows: Knows) -> Entry {
    Entry { method, command, knows }
}

const fn local(command: &'static str, knows: Knows) -> Entry {
    Entry { method: "", command, knows }
}

/// Every command, in the order of the services; a method without a line fails a test.
pub const ENTRIES: &[Entry] = &[
    rpc("PeerService.ConnectTracker", "connect-tracker", NoNames),
    rpc("PeerService.GetPeerSet", "get-peer-set", Names("set.peers[].address")),
    rpc("PeerService.UpdateStatusToTracker", "update-status-to-tracker", NoNames),
    rpc("PeerService.DisconnectTracker", "disconnect-tracker", NoNames),
    rpc("PeerService.QuitTorrent", "quit-torrent", NoNames),
    rpc("PeerService.ConnectPeer", "connect-peer", Names("peer_id")),
    rpc("PeerService.Ping", "ping", NoNames),
    rpc("PeerService.RequestDownload", "request-download", NoNames),
    rpc("PeerService.DisconnectPeer", "disconnect-peer", NoNames),
    rpc("PeerService.CheckTrackerConnected", "check-tracker-connected", NoNames),
    rpc("PeerService.CheckTargetPeerConnected", "check-target-peer-connected", NoNames),
    rpc("PeerService.SeeThisPeerInfo", "see-this-peer-info", Names("self")),
    rpc("PeerService.SeePeerSet", "see-peer-set", Names("set.peers[].address")),
    rpc("PeerService.SeeConnected", "see-connected", Names("connections[].peer")),
    rpc("PeerService.SeeChunkStatus", "see-chunk-status", Names("chunks[]")),
    rpc("PeerService.MergeChunks", "merge-chunks", Names("paths")),
    rpc("PeerService.AutoDownload", "auto-download", Names("job_id")),
    rpc("TorrentService.CreateTorrent", "torrent create", Names("info_hash")),
    rpc("TorrentService.AddTorrent", "torrent add", Names("torrent.info_hash")),
    rpc("TorrentService.ListTorrents", "torrent list", Names("torrents[].info_hash")),
    rpc("TorrentService.GetTorrent", "torrent show", Names("torrent.info_hash")),
    rpc("TorrentService.SelectFiles", "torrent select", Names("torrent.info_hash")),
    rpc("TorrentService.VerifyTorrent", "torrent verify", Names("torrent.info_hash")),
    rpc("TorrentService.PauseTorrent", "torrent pause", Names("torrent.info_hash")),
    rpc("TorrentService.ResumeTorrent", "torrent resume", Names("torrent.info_hash")),
    rpc("TorrentService.RemoveTorrent", "torrent remove", Names("info_hash")),
    rpc("JobService.ListJobs", "jobs list", Names("jobs[].id")),
    rpc("JobService.CancelJob", "jobs cancel", Names("job.id")),
    rpc("TrackerService.ListSwarms", "tracker swarms", Names("swarms[].info_hash")),
    rpc("TrackerService.GetSwarm", "tracker peers", Names("peers[].entry.address")),
    rpc("NodeService.GetInfo", "node info", Names("peer_address|tracker_address")),
    rpc("NodeService.GetSettings", "settings show", NoNames),
    rpc("NodeService.UpdateSettings", "settings set", NoNames),
    rpc("NodeService.Shutdown", "node shutdown", NoNames),
    rpc("NodeService.WatchEvents", "events", NoNames),
    rpc("PolicyService.ValidatePolicy", "policy check", Names("declared_name")),
    rpc("PolicyService.SetPolicy", "policy set", Names("status.name")),
    rpc("PolicyService.GetPolicy", "policy status", Names("status.name")),
    rpc("PolicyService.ResetPolicy", "policy reset", Names("status.name")),
    rpc("PolicyService.ListPolicies", "policy list", Names("policies[].name")),
    rpc("PolicyService.ExplainDecision", "policy explain", Names("chosen")),
    rpc("PolicyService.WatchDecisions", "policy trace", NoNames),
    rpc("PolicyService.TestPolicy", "policy test", NoNames),
    rpc("PolicyService.BenchPolicy", "policy bench", NoNames),
    rpc("PolicyService.SimulatePolicy", "policy sim", NoNames),
    rpc("AuthService.CreateToken", "token create", NoNames),
    rpc("AuthService.ListTokens", "token list", Names("tokens[].id")),
    rpc("AuthService.RevokeToken", "token revoke", Names("token.id")),
    local("jobs wait", Names("id")),
    local("policy init", Names("created")),
    local("context add", Names("name")),
    local("context list", Names("contexts[].name")),
    local("context use", Names("name")),
    local("context remove", Names("name")),
    local("context show", Names("name")),
    local("call", Names("")),
    local("describe", Names("name")),
    local("shell", Names("")),
    local("top", Text),
    local("completions", Text),
    local("man", Names("created")),
];

/// The line of a command; what has none yet writes no names.
#[must_use]
pub fn of_command(command: &str) -> Knows {
    ENTRIES.iter().find(|entry| entry.command == command).map_or(NoNames, |entry| entry.knows)
}

/// The command of a method, by the method's full name.
#[must_use]
pub fn command_of(full_name: &str) -> Option<&'static str> {
    let short = full_name.strip_prefix("shoal.v1.")?;
    ENTRIES.iter().find(|entry| entry.method == short).map(|entry| entry.command)
}

/// The path of the identifiers of a method's reply, by the method's full name,
/// `shoal.v1.PeerService.Ping`.
#[must_use]
pub fn of_method(full_name: &str) -> Knows {
    let short = full_name.strip_prefix("shoal.v1.").unwrap_or(full_name);
    ENTRIES.iter().find(|entry| entry.method == short).map_or(NoNames, |entry| entry.knows)
}
