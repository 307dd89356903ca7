//! Every method is called of a real node by a test that says what it has to answer.

use std::{collections::BTreeSet, fs};

use prost_reflect::MethodDescriptor;

use crate::{
    api::{Api, command, method_name},
    page::root,
};

/// A method, and the test of it: file below `tests/e2e`, function. The one that says most.
const TESTS: &[(&str, &str, &str)] = &[
    ("AuthService.CreateToken", "auth", "a_token_ends_at_its_time_and_its_streams_with_it"),
    ("AuthService.ListTokens", "auth", "tokens_are_listed_in_order_without_their_secrets"),
    ("AuthService.RevokeToken", "auth", "a_revoked_token_ends_its_streams_at_once_and_no_job"),
    ("JobService.CancelJob", "jobs", "a_cancelled_job_tells_its_callers_and_can_be_begun_again"),
    (
        "JobService.ListJobs",
        "jobs",
        "a_second_caller_joins_and_the_first_one_leaving_stops_nothing",
    ),
    (
        "NodeService.GetInfo",
        "programs",
        "a_node_tells_where_it_is_serves_shoalctl_and_ends_when_asked",
    ),
    (
        "NodeService.GetSettings",
        "settings",
        "a_change_holds_at_once_and_is_told_with_how_things_stand",
    ),
    ("NodeService.Shutdown", "ends", "a_call_ends_the_node_after_its_answer"),
    (
        "NodeService.UpdateSettings",
        "settings",
        "a_change_holds_at_once_and_is_told_with_how_things_stand",
    ),
    ("NodeService.WatchEvents", "events", "a_revision_that_is_not_kept_is_out_of_range"),
    (
        "PeerService.AutoDownload",
        "commands/states",
        "a_paused_torrent_refuses_what_transfers_and_resumes",
    ),
    (
        "PeerService.CheckTargetPeerConnected",
        "commands/peers",
        "connecting_pinging_and_disconnecting_through_shoalctl",
    ),
    (
        "PeerService.CheckTrackerConnected",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_through_shoalctl",
    ),
    ("PeerService.ConnectPeer", "commands/peers", "connecting_pinging_and_disconnecting_over_grpc"),
    (
        "PeerService.ConnectTracker",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_over_grpc",
    ),
    (
        "PeerService.DisconnectPeer",
        "commands/peers",
        "connecting_pinging_and_disconnecting_over_grpc",
    ),
    (
        "PeerService.DisconnectTracker",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_over_grpc",
    ),
    (
        "PeerService.GetPeerSet",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_through_shoalctl",
    ),
    (
        "PeerService.MergeChunks",
        "commands/merge",
        "a_complete_file_becomes_a_file_and_repeating_it_is_harmless",
    ),
    ("PeerService.Ping", "commands/peers", "connecting_pinging_and_disconnecting_over_grpc"),
    (
        "PeerService.QuitTorrent",
        "commands/states",
        "a_torrent_that_was_quit_refuses_until_it_rejoins",
    ),
    (
        "PeerService.RequestDownload",
        "commands/transfer",
        "one_chunk_from_one_peer_by_name_and_by_index",
    ),
    (
        "PeerService.SeeChunkStatus",
        "commands/look",
        "chunks_come_in_pages_and_shoalctl_gathers_them",
    ),
    ("PeerService.SeeConnected", "commands/look", "this_peer_its_chunks_and_its_connections"),
    (
        "PeerService.SeePeerSet",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_through_shoalctl",
    ),
    ("PeerService.SeeThisPeerInfo", "commands/look", "this_peer_its_chunks_and_its_connections"),
    (
        "PeerService.UpdateStatusToTracker",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_over_grpc",
    ),
    (
        "PolicyService.BenchPolicy",
        "strategist",
        "what_init_writes_passes_its_check_and_its_tests_and_loads",
    ),
    (
        "PolicyService.ExplainDecision",
        "strategist",
        "everybody_who_is_left_out_is_named_with_the_reason",
    ),
    (
        "PolicyService.GetPolicy",
        "commands/roles",
        "a_peer_has_no_swarms_and_a_tracker_no_torrents_and_no_policy",
    ),
    ("PolicyService.ListPolicies", "whole", "no_shipped_policy_is_left_out"),
    (
        "PolicyService.ResetPolicy",
        "strategist",
        "a_script_is_explained_compared_traced_and_put_aside",
    ),
    ("PolicyService.SetPolicy", "policies", "one_that_is_not_lua_is_refused_and_the_old_one_stays"),
    ("PolicyService.SimulatePolicy", "simulation", "the_time_of_a_caller_ends_it"),
    (
        "PolicyService.TestPolicy",
        "strategist",
        "what_init_writes_passes_its_check_and_its_tests_and_loads",
    ),
    ("PolicyService.ValidatePolicy", "strategist", "a_check_tells_everything_and_changes_nothing"),
    ("PolicyService.WatchDecisions", "strategist", "decisions_are_followed_while_they_are_made"),
    (
        "TorrentService.AddTorrent",
        "magnets",
        "a_link_with_a_tracker_becomes_a_torrent_that_downloads",
    ),
    ("TorrentService.CreateTorrent", "web_seeds", "what_is_no_web_seed_is_refused_with_its_name"),
    (
        "TorrentService.GetTorrent",
        "magnets",
        "a_link_with_a_tracker_becomes_a_torrent_that_downloads",
    ),
    (
        "TorrentService.ListTorrents",
        "selection",
        "an_unwanted_neighbour_is_not_in_the_folder_until_it_is_selected",
    ),
    (
        "TorrentService.PauseTorrent",
        "commands/states",
        "a_paused_torrent_refuses_what_transfers_and_resumes",
    ),
    (
        "TorrentService.RemoveTorrent",
        "ends",
        "a_removed_torrent_is_gone_and_its_files_only_if_asked",
    ),
    (
        "TorrentService.ResumeTorrent",
        "commands/states",
        "a_paused_torrent_refuses_what_transfers_and_resumes",
    ),
    (
        "TorrentService.SelectFiles",
        "selection",
        "an_unwanted_neighbour_is_not_in_the_folder_until_it_is_selected",
    ),
    (
        "TorrentService.VerifyTorrent",
        "changed",
        "a_file_edited_while_the_node_is_down_is_verified_at_its_start",
    ),
    (
        "TrackerService.GetSwarm",
        "commands/tracker",
        "connecting_asking_updating_and_leaving_through_shoalctl",
    ),
    (
        "TrackerService.ListSwarms",
        "commands/tracker",
        "without_connect_tracker_the_tracker_is_not_asked",
    ),
];

#[test]
fn every_method_has_a_test_that_calls_it() {
    let api = Api::load();
    let named: BTreeSet<_> = TESTS.iter().map(|(method, ..)| (*method).to_owned()).collect();
    let there: BTreeSet<_> = api.methods().iter().map(method_name).collect();
    assert_eq!(named, there);
    for method in api.methods() {
        let name = method_name(&method);
        for (_, file, test) in TESTS.iter().filter(|(method, ..)| *method == name) {
            let body = body(file, test);
            let calls = spellings(&method);
            let called = calls.iter().any(|call| body.contains(call));
            assert!(called, "{file}::{test} has none of {calls:?}");
        }
    }
}

/// The text of a test, from its signature to its end, and of what it calls in its file.
fn body(file: &str, test: &str) -> String {
    let path = root().join("tests/e2e").join(file).with_extension("rs");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let begin = format!("\nasync fn {test}() {{\n");
    let (above, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {test} in {path:?}"));
    assert!(above.ends_with(')') || above.ends_with(']'), "{test} is no test");
    let mut body = end(rest).to_owned();
    for helper in text.split("fn ").skip(1).filter_map(|rest| rest.split_once('(')) {
        let (name, rest) = helper;
        if name != test && body.contains(&format!("{name}(")) {
            body.push_str(end(rest));
        }
    }
    body
}

/// Up to the end of a function.
fn end(text: &str) -> &str {
    text.split("\n}\n").next().unwrap_or_default()
}

/// How a test calls a method: of the stub, of the harness, or through `shoalctl`.
fn spellings(method: &MethodDescriptor) -> Vec<String> {
    let mut snake = String::new();
    for c in method.name().chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    let mut spellings = vec![format!(".{snake}(")];
    spellings.extend(command(method).map(|command| {
        let quoted = command.split(' ').map(|word| format!("\"{word}\""));
        quoted.collect::<Vec<_>>().join(", ")
    }));
    spellings
}
