//! The one table from methods to scopes. It is closed: a method that is not in it is refused to
//! everybody. Never here: who asks.

use crate::auth::scope::Scope;

/// What a method asks of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing: health, which probes ask without a secret.
    Nothing,
    /// Any token, beyond loopback: reflection, which tells what is written in the proto files.
    Any,
    /// A token with this scope.
    Scope(Scope),
}

/// The services of gRPC itself, by the beginning of their methods' paths.
const STANDARD: [(&str, Need); 3] = [
    ("/grpc.health.v1.Health/", Need::Nothing),
    ("/grpc.reflection.v1.ServerReflection/", Need::Any),
    ("/grpc.reflection.v1alpha.ServerReflection/", Need::Any),
];

/// The methods of `shoal.v1`, and what each is for.
pub const METHODS: &[(&str, Scope)] = &[
    ("AuthService/CreateToken", Scope::Admin),
    ("AuthService/ListTokens", Scope::Admin),
    ("AuthService/RevokeToken", Scope::Admin),
    ("JobService/CancelJob", Scope::Write),
    ("JobService/ListJobs", Scope::Read),
    ("NodeService/GetInfo", Scope::Read),
    ("NodeService/GetSettings", Scope::Read),
    ("NodeService/Shutdown", Scope::Admin),
    ("NodeService/UpdateSettings", Scope::Admin),
    ("NodeService/WatchEvents", Scope::Read),
    ("PeerService/AutoDownload", Scope::Write),
    ("PeerService/CheckTargetPeerConnected", Scope::Read),
    ("PeerService/CheckTrackerConnected", Scope::Read),
    ("PeerService/ConnectPeer", Scope::Write),
    ("PeerService/ConnectTracker", Scope::Write),
    ("PeerService/DisconnectPeer", Scope::Write),
    ("PeerService/DisconnectTracker", Scope::Write),
    // It announces: the tracker is told, and the next announce is put off.
    ("PeerService/GetPeerSet", Scope::Write),
    ("PeerService/MergeChunks", Scope::Write),
    // A message to a peer that is connected; nothing changes.
    ("PeerService/Ping", Scope::Read),
    ("PeerService/QuitTorrent", Scope::Write),
    ("PeerService/RequestDownload", Scope::Write),
    ("PeerService/SeeChunkStatus", Scope::Read),
    ("PeerService/SeeConnected", Scope::Read),
    ("PeerService/SeePeerSet", Scope::Read),
    ("PeerService/SeeThisPeerInfo", Scope::Read),
    ("PeerService/UpdateStatusToTracker", Scope::Write),
    // Code of the caller runs on the node, sandboxed.
    ("PolicyService/BenchPolicy", Scope::Policy),
    ("PolicyService/ExplainDecision", Scope::Read),
    ("PolicyService/GetPolicy", Scope::Read),
    ("PolicyService/ListPolicies", Scope::Read),
    ("PolicyService/ResetPolicy", Scope::Policy),
    ("PolicyService/SetPolicy", Scope::Policy),
    ("PolicyService/SimulatePolicy", Scope::Policy),
    ("PolicyService/TestPolicy", Scope::Policy),
    ("PolicyService/ValidatePolicy", Scope::Policy),
    ("PolicyService/WatchDecisions", Scope::Read),
    ("TorrentService/AddTorrent", Scope::Write),
    ("TorrentService/CreateTorrent", Scope::Write),
    ("TorrentService/GetTorrent", Scope::Read),
    ("TorrentService/ListTorrents", Scope::Read),
    ("TorrentService/PauseTorrent", Scope::Write),
    ("TorrentService/RemoveTorrent", Scope::Write),
    ("TorrentService/ResumeTorrent", Scope::Write),
    ("TorrentService/SelectFiles", Scope::Write),
    ("TorrentService/VerifyTorrent", Scope::Write),
    ("TrackerService/GetSwarm", Scope::Read),
    ("TrackerService/ListSwarms", Scope::Read),
];

/// What the method of this path asks of its caller; none for one that the node has not got.
#[must_use]
pub fn need(path: &str) -> Option<Need> {
    if let Some(method) = path.strip_prefix("/shoal.v1.") {
        let found = METHODS.iter().find(|(known, _)| *known == method);
        return found.map(|(_, scope)| Need::Scope(*scope));
    }
    let standard = STANDARD.iter().find(|(service, _)| path.starts_with(service));
    standard.map(|(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Every method of `shoal.v1`, as the table has it.
    pub(crate) fn described() -> BTreeSet<String> {
        let set = FileDescriptorSet::decode(shoal::v1::DESCRIPTOR_SET).unwrap();
        let files = set.file.iter().filter(|file| file.package() == "shoal.v1");
        let services = files.flat_map(|file| &file.service);
        let methods = services.flat_map(|service| {
            service.method.iter().map(|method| format!("{}/{}", service.name(), method.name()))
        });
        methods.collect()
    }

    #[test]
    fn every_method_of_the_descriptor_is_in_the_table_once_and_nothing_else_is() {
        let listed: Vec<_> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
        let once: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(listed.len(), once.len(), "a method stands there twice");
        assert_eq!(once, described());
        assert!(listed.is_sorted(), "in order, so that two lines of it do not meet");
    }

    #[test]
    fn the_table_is_closed() {
        assert_eq!(need("/shoal.v1.NodeService/GetInfo"), Some(Need::Scope(Scope::Read)));
        assert_eq!(need("/grpc.health.v1.Health/Check"), Some(Need::Nothing));
        for path in [
            "/shoal.v1.NodeService/Get",
            "/shoal.v1.NodeService/GetInfo/",
            "/shoal.v1.nodeservice/getinfo",
            "//shoal.v1.NodeService/GetInfo",
            "/shoal.v2.NodeService/GetInfo",
            "/grpc.health.v1.Healthy/Check",
            "/",
            "",
        ] {
            assert_eq!(need(path), None, "{path}");
        }
    }
}
