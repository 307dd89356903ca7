//! Commands of a role that a node has not got.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::harness::Party;

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_refuses_all_seventeen_commands() {
    let party = Party::new().await;
    for command in COMMANDS {
        let (code, reason) = (Code::FailedPrecondition, "NOT_IN_ROLE");
        let refused = refused(&party.tracker, command, &Ask::default(), code, reason).await;
        assert_eq!(refused.metadata["role"], "peer", "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_no_swarms_and_a_tracker_no_torrents_and_no_policy() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let expected = (Code::FailedPrecondition, "NOT_IN_ROLE");
    let same = |status: Status| {
        let (code, reason, message) = refusal(&status);
        assert_eq!((code, reason.as_str()), expected, "{message}");
    };
    same(peer.swarms().list_swarms(v1::ListSwarmsRequest::default()).await.unwrap_err());
    same(peer.swarms().get_swarm(v1::GetSwarmRequest::default()).await.unwrap_err());
    let tracker = &party.tracker;
    same(tracker.torrents().list_torrents(v1::ListTorrentsRequest::default()).await.unwrap_err());
    same(tracker.policies().get_policy(v1::GetPolicyRequest::default()).await.unwrap_err());
    for (host, line) in [
        (&peer, &["tracker", "swarms"][..]),
        (&peer, &["tracker", "peers"]),
        (tracker, &["torrent", "list"]),
        (tracker, &["policy", "status"]),
    ] {
        let said = host.ctl(line).await;
        assert_eq!((said.exit, said.out.as_str()), (Exit::Precondition, ""), "{line:?}");
        assert!(said.err.contains("not in the") && said.err.lines().count() == 1, "{}", said.err);
    }
}
