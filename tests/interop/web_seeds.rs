//! Web seeds (BEP 19) in torrents of ours, read by aria2: it downloads from the server alone.

use std::{io::Write as _, path::Path, process::Stdio, time::Duration};

use shoal::v1;
use tokio::process::Command;

use crate::{
    harness::{Party, last, sample},
    trees,
    web_server::WebServer,
};

/// How long a download of some megabytes may take on a machine with much else to do.
const TRANSFER: Duration = Duration::from_secs(90);

/// Whether aria2 can be run. Where it cannot, a test is skipped, and says so; with
/// `SHOAL_REQUIRE_ARIA2=1` it fails.
fn is_here(test: &str) -> bool {
    let version = std::process::Command::new("aria2c").arg("--version").output();
    let is_here = version.is_ok_and(|output| output.status.success());
    let is_required = std::env::var_os("SHOAL_REQUIRE_ARIA2").is_some_and(|value| value == "1");
    assert!(is_here || !is_required, "SHOAL_REQUIRE_ARIA2 is set, and aria2c cannot be run");
    if !is_here {
        // Past the capture of the test harness: a skip is to be seen.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: aria2c cannot be run");
    }
    is_here
}

/// A torrent of `path` without a tracker, which names this web seed.
async fn torrent(party: &Party, path: &Path, web_seed: String, padding: v1::Padding) -> Vec<u8> {
    let maker = party.peer("maker").await;
    let request = v1::CreateTorrentRequest {
        path: path.to_str().unwrap().to_owned(),
        chunk_size_bytes: 64 * 1024,
        padding: padding.into(),
        web_seeds: vec![web_seed],
        ..v1::CreateTorrentRequest::default()
    };
    let made = maker.torrents().create_torrent(request).await.unwrap().into_inner();
    last(made).await.unwrap().metainfo
}

/// aria2 downloads a torrent into `dir`, and ends.
async fn aria2(metainfo: &[u8], dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let (torrent, log) = (dir.with_extension("torrent"), dir.with_extension("log"));
    std::fs::write(&torrent, metainfo).unwrap();
    let output = std::fs::File::create(&log).unwrap();
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--listen-port=21000-29999", "--enable-dht=false"])
        .args(["--enable-dht6=false", "--disable-ipv6=true", "--bt-enable-lpd=false"])
        .args(["--enable-peer-exchange=false", "--file-allocation=none", "--summary-interval=0"])
        .args(["--follow-torrent=mem", "--enable-color=false", "--seed-time=0"])
        .arg(format!("--stop-with-process={}", std::process::id()))
        .arg("--dir")
        .arg(dir)
        .arg(&torrent);
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let ended = tokio::time::timeout(TRANSFER, child.wait()).await;
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let Ok(status) = ended else { panic!("aria2 goes on and on: {}", said()) };
    assert!(status.unwrap().success(), "{}", said());
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2_downloads_a_file_of_ours_from_its_web_seed() {
    if !is_here("aria2_downloads_a_file_of_ours_from_its_web_seed") {
        return;
    }
    let party = Party::new().await;
    let path = party.write("www/file 1.bin", &sample(3_000_001, 5));
    let server = WebServer::start(&party.dir.path().join("www")).await;
    // The folder's URL, and the file's own.
    for url in [server.url(), format!("{}file%201.bin", server.url())] {
        let dir = party.dir.path().join(format!("aria2-{}", url.len()));
        aria2(&torrent(&party, &path, url, v1::Padding::Auto).await, &dir).await;
        trees::assert_same(&path, &dir.join("file 1.bin"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2_downloads_a_folder_of_ours_from_its_web_seed() {
    if !is_here("aria2_downloads_a_folder_of_ours_from_its_web_seed") {
        return;
    }
    let party = Party::new().await;
    let path = party.dir.path().join("www/tree");
    trees::plant(&path);
    let server = WebServer::start(&party.dir.path().join("www")).await;
    let metainfo = torrent(&party, &path, server.url(), v1::Padding::Never).await;
    let dir = party.dir.path().join("aria2");
    aria2(&metainfo, &dir).await;
    trees::assert_same(&path, &dir.join("tree"));
}
