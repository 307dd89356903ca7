//! `shoalctl` as operators and their scripts use it: work begun and waited for, names passed on, any
//! method called by the node's own descriptors.

use std::collections::BTreeSet;

use serde_json::Value;
use shoal_ctl::Exit;

use crate::harness::{CHUNK, Host, Party, sample};

/// A seeder, and a leecher that knows the torrent and the seeder.
async fn pair(party: &Party) -> (Host, Host, Vec<u8>) {
    let data = sample(10 * CHUNK as usize, 81);
    let path = party.write("data/file1.webm", &data);
    let seeder = party.peer("seeder").await;
    let metainfo = seeder.create(&path, &[]).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(seeder.addr).await;
    (seeder, leecher, data)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_begins_work_waits_for_it_and_passes_names_on() {
    let party = Party::new().await;
    let (seeder, leecher, data) = pair(&party).await;
    let hash = leecher.ctl(&["torrent", "list", "-o", "name"]).await.ok();
    assert_eq!(hash.trim(), leecher.torrent().await.info_hash);
    let peer = leecher.ctl(&["see-connected", "-o", "name"]).await.ok();
    assert_eq!(peer, format!("{}\n", seeder.addr));
    let begin = ["auto-download", "--torrent", hash.trim(), "--no-wait", "-o", "name"];
    let job = leecher.ctl(&begin).await.ok();
    let ended = leecher.ctl(&["jobs", "wait", job.trim(), "-o", "jsonl"]).await.ok();
    assert_eq!(lines(&ended)[0]["state"], "JOB_STATE_DONE");
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == data);
    let chunks = lines(&leecher.ctl(&["see-chunk-status", "-o", "jsonl"]).await.ok());
    assert_eq!(chunks.len(), 10);
    assert!(chunks.iter().all(|chunk| chunk["have"] == true), "{chunks:?}");
    let said = leecher.ctl(&["jobs", "wait", "4096"]).await;
    assert_eq!(said.exit, Exit::NotFound, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_describes_itself_and_takes_any_call() {
    let party = Party::new().await;
    let (_seeder, leecher, _) = pair(&party).await;
    let told = leecher.ctl(&["describe"]).await;
    assert!(told.err.starts_with("as the node describes itself"), "{}", told.err);
    let methods = |out: String| -> BTreeSet<String> {
        let services = lines(&out).into_iter();
        let methods = services.flat_map(|service| service["methods"].as_array().cloned().unwrap());
        let names = methods.map(|method| method["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with("shoal.v1.")).collect()
    };
    let by_node = methods(leecher.ctl(&["describe", "-o", "jsonl"]).await.ok());
    let built_in = methods(leecher.ctl(&["describe", "--built-in", "-o", "jsonl"]).await.ok());
    assert_eq!(by_node, built_in);
    for (method, command) in [("GetTorrent", "torrent show"), ("SeePeerSet", "see-peer-set")] {
        let called: Value =
            serde_json::from_str(&leecher.ctl(&["call", method]).await.ok()).unwrap();
        let line: Vec<&str> = command.split(' ').chain(["-o", "json"]).collect();
        let shown: Value = serde_json::from_str(&leecher.ctl(&line).await.ok()).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&called), keys(&shown));
    }
    let request = r#"{"kinds": ["EVENT_KIND_JOB"]}"#;
    let said = leecher.ctl(&["call", "WatchEvents", request, "--timeout", "2s"]).await;
    assert_eq!(said.exit, Exit::Deadline, "{said:?}");
    assert!(lines(&said.out)[0]["snapshot"].is_object(), "{}", said.out);
    let said = leecher.ctl(&["call", "GetTorrent", r#"{"torent": "x"}"#]).await;
    assert_eq!(said.exit, Exit::Invalid);
    assert!(said.err.contains("has no field 'torent'"), "{}", said.err);
}
