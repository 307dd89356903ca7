//! Every method of the API has its command, and every command its method.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use prost_reflect::DescriptorPool;
use shoal_ctl::cli::Cli;

/// Each method, and the command that calls it.
const METHODS: [(&str, &str); 48] = [
    ("PeerService.ConnectTracker", "connect-tracker"),
    ("PeerService.GetPeerSet", "get-peer-set"),
    ("PeerService.UpdateStatusToTracker", "update-status-to-tracker"),
    ("PeerService.DisconnectTracker", "disconnect-tracker"),
    ("PeerService.QuitTorrent", "quit-torrent"),
    ("PeerService.ConnectPeer", "connect-peer"),
    ("PeerService.Ping", "ping"),
    ("PeerService.RequestDownload", "request-download"),
    ("PeerService.DisconnectPeer", "disconnect-peer"),
    ("PeerService.CheckTrackerConnected", "check-tracker-connected"),
    ("PeerService.CheckTargetPeerConnected", "check-target-peer-connected"),
    ("PeerService.SeeThisPeerInfo", "see-this-peer-info"),
    ("PeerService.SeePeerSet", "see-peer-set"),
    ("PeerService.SeeConnected", "see-connected"),
    ("PeerService.SeeChunkStatus", "see-chunk-status"),
    ("PeerService.MergeChunks", "merge-chunks"),
    ("PeerService.AutoDownload", "auto-download"),
    ("TorrentService.CreateTorrent", "torrent create"),
    ("TorrentService.AddTorrent", "torrent add"),
    ("TorrentService.ListTorrents", "torrent list"),
    ("TorrentService.GetTorrent", "torrent show"),
    ("TorrentService.SelectFiles", "torrent select"),
    ("TorrentService.VerifyTorrent", "torrent verify"),
    ("TorrentService.PauseTorrent", "torrent pause"),
    ("TorrentService.ResumeTorrent", "torrent resume"),
    ("TorrentService.RemoveTorrent", "torrent remove"),
    ("JobService.ListJobs", "jobs list"),
    ("JobService.CancelJob", "jobs cancel"),
    ("TrackerService.ListSwarms", "tracker swarms"),
    ("TrackerService.GetSwarm", "tracker peers"),
    ("NodeService.GetInfo", "node info"),
    ("NodeService.GetSettings", "settings show"),
    ("NodeService.UpdateSettings", "settings set"),
    ("NodeService.Shutdown", "node shutdown"),
    ("NodeService.WatchEvents", "events"),
    ("PolicyService.ValidatePolicy", "policy check"),
    ("PolicyService.SetPolicy", "policy set"),
    ("PolicyService.GetPolicy", "policy status"),
    ("PolicyService.ResetPolicy", "policy reset"),
    ("PolicyService.ListPolicies", "policy list"),
    ("PolicyService.ExplainDecision", "policy explain"),
    ("PolicyService.WatchDecisions", "policy trace"),
    ("PolicyService.TestPolicy", "policy test"),
    ("PolicyService.BenchPolicy", "policy bench"),
    ("PolicyService.SimulatePolicy", "policy sim"),
    ("AuthService.CreateToken", "token create"),
    ("AuthService.ListTokens", "token list"),
    ("AuthService.RevokeToken", "token revoke"),
];

/// Commands that call no method of their own.
const LOCAL: [&str; 3] = ["shell", "completions", "policy init"];

fn methods() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(shoal::v1::DESCRIPTOR_SET).expect("the set decodes");
    pool.services()
        .filter(|service| service.package_name() == "shoal.v1")
        .flat_map(|service| {
            let name = service.name().to_owned();
            service.methods().map(|method| format!("{name}.{}", method.name())).collect::<Vec<_>>()
        })
        .collect()
}

fn commands() -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    let mut open = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = open.pop() {
        if command.has_subcommands() {
            for deeper in command.get_subcommands().filter(|c| c.get_name() != "help") {
                let path = format!("{path} {}", deeper.get_name());
                open.push((path.trim().to_owned(), deeper.clone()));
            }
        } else {
            leaves.insert(path);
        }
    }
    leaves
}

#[test]
fn every_method_has_a_command() {
    let mapped: BTreeSet<String> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
    assert_eq!(mapped, methods());
}

#[test]
fn every_command_has_a_method_or_is_local() {
    let mapped: BTreeSet<String> =
        METHODS.iter().map(|(_, command)| *command).chain(LOCAL).map(str::to_owned).collect();
    assert_eq!(mapped, commands());
}

#[test]
fn every_method_of_the_specification_is_a_command_of_its_name_in_both_spellings() {
    for (method, command) in METHODS {
        let Some(method) = method.strip_prefix("PeerService.") else { continue };
        let mut kebab = String::new();
        for c in method.chars() {
            if c.is_ascii_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.push(c.to_ascii_lowercase());
        }
        assert_eq!(command, kebab);
        let tree = Cli::command();
        let found = tree.find_subcommand(kebab.replace('-', "_")).expect("the other spelling");
        assert_eq!(found.get_name(), command);
    }
}
