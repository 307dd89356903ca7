//! Which torrent is meant: none, several, one that is not there, a prefix that fits two.

use std::collections::HashMap;

use tonic::Code;

use super::*;
use crate::harness::{CHUNK, Host, Party, info_hash, metainfo, sample};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_torrent_every_command_says_that_one_is_to_be_added() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    for command in COMMANDS {
        let refused =
            refused(&peer, command, &Ask::default(), Code::FailedPrecondition, "NO_TORRENT").await;
        assert!(refused.message.contains("add one first"), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_torrents_every_command_asks_which() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    for name in ["first.webm", "second.webm"] {
        peer.add(&metainfo(name, b"x", CHUNK, &[])).await.unwrap();
    }
    for command in COMMANDS {
        let (code, reason) = (Code::FailedPrecondition, "SEVERAL_TORRENTS");
        let refused = refused(&peer, command, &Ask::default(), code, reason).await;
        assert_eq!(refused.metadata["names"], "first.webm, second.webm", "{command}");
        let ask = Ask::torrent("frist.webm");
        let refused = refused_unknown(&peer, command, &ask).await;
        assert_eq!(refused.metadata["suggestion"], "first.webm", "{command}");
    }
}

async fn refused_unknown(peer: &Host, command: &str, ask: &Ask) -> Refused {
    let status = ask.clone().call(peer, command).await.unwrap_err();
    let hint = status.message().to_owned();
    let refused = refused(peer, command, ask, Code::NotFound, "UNKNOWN_TORRENT").await;
    assert!(hint.contains(&ask.torrent), "{hint}");
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_is_selected_by_name_hash_and_prefix_unless_two_share_it() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    // Names are tried until two torrents share the first four digits of their hashes.
    let mut seen = HashMap::new();
    let (one, other) = (0_u32..)
        .find_map(|n| {
            let file = metainfo(&format!("file{n}"), b"x", CHUNK, &[]);
            let prefix = info_hash(&file).to_string()[..4].to_owned();
            seen.insert(prefix, file.clone()).map(|earlier| (earlier, file))
        })
        .unwrap();
    for file in [&one, &other] {
        peer.add(file).await.unwrap();
    }
    let (one, other) = (info_hash(&one).to_string(), info_hash(&other).to_string());
    for command in COMMANDS {
        let ask = Ask::torrent(&one[..4]);
        let refused =
            refused(&peer, command, &ask, Code::FailedPrecondition, "SEVERAL_TORRENTS").await;
        let hashes = &refused.metadata["info_hashes"];
        assert!(hashes.contains(&one) && hashes.contains(&other), "{hashes}");
        let refused = refused_unknown(&peer, command, &Ask::torrent(&one[..3])).await;
        assert!(refused.message.contains("at least 4 digits"), "{}", refused.message);
    }
    let differs = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count() + 1;
    for selector in [&one[..], &one[..differs], &one.to_uppercase()] {
        let line = ["-o", "json", "see-this-peer-info", "--torrent", selector];
        let out = peer.ctl(&line).await.ok();
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["infoHash"], one.as_str(), "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_underscored_spelling_and_the_shell_are_the_same_commands() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    peer.add(&metainfo("file1.webm", &sample(1000, 1), CHUNK, &[])).await.unwrap();
    let out = peer.ctl(&["see_chunk_status"]).await.ok();
    assert!(out.contains("file1.webm.part1: 0"), "{out}");
    assert_eq!(out, peer.ctl(&["see-chunk-status"]).await.ok());
}
