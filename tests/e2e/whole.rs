//! A folder of awkward files, from its making to three merged copies, under every shipped policy.

use std::{fs, path::Path, time::Duration};

use crate::harness::{Party, sample, within};

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;

/// Names, with what they hold.
fn files() -> [(&'static str, Vec<u8>); 5] {
    [
        ("trống rỗng.txt", Vec::new()),
        ("một byte.bin", vec![7]),
        ("thư mục/đúng một phần.webm", sample(CHUNK, 60)),
        ("thư mục/sâu hơn nữa/one chunk and one byte", sample(CHUNK + 1, 61)),
        ("big file/movie of the year.mkv", sample(50_000_000, 62)),
    ]
}

fn assert_same(copy: &Path) {
    for (name, expected) in files() {
        let there = fs::read(copy.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(there == expected, "{name} differs");
    }
    let mut count = 0;
    let mut folders = vec![copy.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => count += 1,
            }
        }
    }
    assert_eq!(count, files().len(), "and nothing else");
}

/// create, seed, auto_download with three leechers, merge and compare, all through `shoalctl`.
async fn check(policy: &str) {
    let party = Party::new().await;
    let url = party.announce_url().await;
    for (name, data) in files() {
        party.write(&format!("data/năm tệp/{name}"), &data);
    }
    let seeder = party.peer("seeder").await;
    let source = party.dir.path().join("data/năm tệp");
    let metainfo = party.dir.path().join("five.torrent");
    let (source, metainfo) = (source.to_str().unwrap(), metainfo.to_str().unwrap());
    let size = ["--chunk-size", "256KiB"];
    let line = ["torrent", "create", source, "--tracker", &url, "--output", metainfo];
    let line: Vec<_> = line.into_iter().chain(size).collect();
    seeder.ctl(&line).await.ok();
    seeder.ctl(&["connect-tracker"]).await.ok();
    let mut leechers = Vec::new();
    for name in ["one", "two", "three"] {
        let leecher = party.peer(name).await;
        leecher.ctl(&["policy", "set", policy]).await.ok();
        leecher.ctl(&["torrent", "add", metainfo]).await.ok();
        leechers.push(leecher);
    }
    let line = ["auto-download"];
    let [one, two, three] = &leechers[..] else { unreachable!("three were started") };
    let all = async { tokio::join!(one.ctl(&line), two.ctl(&line), three.ctl(&line)) };
    let (one, two, three) = within(Duration::from_secs(60), "three downloads", all).await;
    for (leecher, said) in leechers.iter().zip([one, two, three]) {
        let out = said.ok();
        assert!(out.starts_with("Merge complete!\n"), "{out}");
        assert_same(&leecher.downloads().join("năm tệp"));
        let torrent = leecher.torrent().await;
        assert_eq!((torrent.files, torrent.failed_chunks), (5, 0));
        assert_eq!((torrent.name.as_str(), torrent.chunks_have), ("năm tệp", torrent.chunks));
        let request = shoal::v1::GetPolicyRequest::default();
        let status = leecher.policies().get_policy(request).await.unwrap().into_inner();
        let status = status.status.unwrap();
        assert_eq!(status.name, policy);
        assert!(status.errors.is_empty(), "{status:?}");
        assert_eq!(status.calls > 0, policy.ends_with(".lua"), "{status:?}");
        assert!(status.chosen <= status.calls && status.last_error.is_none());
    }
}

macro_rules! under {
    ($($test:ident $policy:literal,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                check($policy).await;
            }
        )+

        /// Every policy under which the files were to arrive.
        const POLICIES: &[&str] = &[$($policy),+];
    };
}

under! {
    five_files_arrive_whole_under_the_native_default "lowest_uploaded",
    five_files_arrive_whole_under_cost_deadline "cost_deadline.lua",
    five_files_arrive_whole_under_fastest "fastest.lua",
    five_files_arrive_whole_under_lowest_uploaded_in_lua "lowest_uploaded.lua",
    five_files_arrive_whole_under_rarest_first "rarest_first.lua",
    five_files_arrive_whole_under_rendezvous "rendezvous.lua",
    five_files_arrive_whole_under_sequential "sequential.lua",
    five_files_arrive_whole_under_two_choices "two_choices.lua",
    five_files_arrive_whole_under_weighted_random "weighted_random.lua",
    five_files_arrive_whole_under_zone_aware "zone_aware.lua",
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shipped_policy_is_left_out() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let request = shoal::v1::ListPoliciesRequest::default();
    let listed = peer.policies().list_policies(request).await.unwrap().into_inner().policies;
    for policy in listed.iter().filter(|policy| policy.name.ends_with(".lua")) {
        assert!(POLICIES.contains(&policy.name.as_str()), "{}", policy.name);
    }
}
