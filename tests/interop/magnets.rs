//! Magnet links between strangers: aria2 gets metadata of ours, we get it of aria2 and libtorrent.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use shoal::v1;
use shoal_core::metainfo::Metainfo;
use tokio::process::{Child, Command};

use crate::harness::{Host, Party, info_hash, last, sample, until, within};

const TRANSFER: Duration = Duration::from_secs(90);
/// Bytes of the file: with chunks of 16 KiB its metadata has two pieces.
const LEN: usize = 16 * 1024 * 1024 + 4321;

fn can_run(program: &str, args: &[&str], test: &str) -> bool {
    let output = std::process::Command::new(program).args(args).output();
    let is_here = output.is_ok_and(|output| output.status.success());
    let required = std::env::var_os("SHOAL_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
    assert!(is_here || !required, "SHOAL_REQUIRE_CLIENTS is set, and {program} cannot be run");
    if !is_here {
        // Past the capture of the test harness: a skip is to be seen.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {program} cannot be run");
    }
    is_here
}

fn has_aria2(test: &str) -> bool {
    can_run("aria2c", &["--version"], test)
}

/// An aria2 on 127.0.0.2, its words in `log`.
fn aria2(dir: &Path, log: &Path, args: &[&str]) -> Child {
    fs::create_dir_all(dir).unwrap();
    let output = fs::File::create(log).unwrap();
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--listen-port=21000-29999", "--interface=127.0.0.2"])
        .args(["--enable-dht=false", "--enable-dht6=false", "--disable-ipv6=true"])
        .args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--summary-interval=0"])
        .args(["--file-allocation=none", "--enable-color=false", "--console-log-level=notice"])
        .arg(format!("--stop-with-process={}", std::process::id()))
        .arg("--dir")
        .arg(dir)
        .args(args);
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
    command.kill_on_drop(true).spawn().unwrap()
}

/// A torrent of ours whose metadata has two pieces, its file and a link with our tracker.
async fn share(party: &Party, private: bool) -> (Host, PathBuf, Vec<u8>, String) {
    let path = party.write("shared/file.bin", &sample(LEN, 17));
    let seeder = party.peer("seeder").await;
    let url = party.announce_url().await;
    let request = v1::CreateTorrentRequest {
        path: path.to_str().unwrap().to_owned(),
        chunk_size_bytes: 16 * 1024,
        trackers: vec![v1::TrackerTier { urls: vec![url.clone()] }],
        private,
        ..v1::CreateTorrentRequest::default()
    };
    let made = seeder.torrents().create_torrent(request).await.unwrap().into_inner();
    let metainfo = last(made).await.unwrap().metainfo;
    assert!(Metainfo::parse(&metainfo).unwrap().info_bytes.len() > 16 * 1024);
    let link = format!("magnet:?xt=urn:btih:{}&tr={url}", info_hash(&metainfo));
    (seeder, path, metainfo, link)
}

async fn add_link(node: &Host, link: &str) {
    let source = Some(v1::add_torrent_request::Source::Magnet(link.to_owned()));
    let request = v1::AddTorrentRequest { source, ..Default::default() };
    node.torrents().add_torrent(request).await.unwrap();
}

/// We have a link, and nothing else; we download all of it.
async fn we_download(party: &Party, link: &str, original: &Path, log: &Path) {
    let leecher = party.peer("leecher").await;
    add_link(&leecher, link).await;
    until("the metadata is here", async || {
        (leecher.torrent().await.state() != v1::TorrentState::Metadata).then_some(())
    })
    .await;
    let done = leecher.auto_download().await;
    let done = done.unwrap_or_else(|status| panic!("{status:?}: {}", said(log)));
    assert!(done.complete, "{done:?}");
    let copy = leecher.downloads().join("file.bin");
    assert!(fs::read(copy).unwrap() == fs::read(original).unwrap());
}

fn said(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

async fn until_seeded(party: &Party, metainfo: &[u8], log: &Path) {
    let info_hash = info_hash(metainfo).to_string();
    let asked = until("it announces as a seeder", async || {
        let request = v1::GetSwarmRequest { info_hash: info_hash.clone(), ..Default::default() };
        let swarm = party.tracker.swarms().get_swarm(request).await.ok()?.into_inner().swarm?;
        (swarm.seeders == 1).then_some(())
    });
    within(TRANSFER, &said(log), asked).await;
}

#[tokio::test]
async fn aria2_gets_metadata_of_ours_and_then_the_file() {
    if !has_aria2("aria2_gets_metadata_of_ours_and_then_the_file") {
        return;
    }
    for private in [false, true] {
        let party = Party::new().await;
        let (seeder, path, metainfo, link) = share(&party, private).await;
        seeder.connect_tracker().await;
        let (dir, log) = (party.dir.path().join("aria2"), party.dir.path().join("aria2.log"));
        let args = ["--bt-metadata-only=true", "--bt-save-metadata=true", &link];
        let mut child = aria2(&dir, &log, &args);
        let ended = within(TRANSFER, "aria2's end", child.wait()).await.unwrap();
        assert!(ended.success(), "{}", said(&log));
        let saved = dir.join(format!("{}.torrent", info_hash(&metainfo)));
        let saved = Metainfo::parse(&fs::read(saved).unwrap()).unwrap();
        assert_eq!(saved.info_bytes, Metainfo::parse(&metainfo).unwrap().info_bytes);

        let dir = party.dir.path().join("whole");
        let mut child = aria2(&dir, &log, &["--seed-time=0", &link]);
        let ended = within(TRANSFER, "aria2's end", child.wait()).await.unwrap();
        assert!(ended.success(), "{}", said(&log));
        assert!(fs::read(dir.join("file.bin")).unwrap() == fs::read(&path).unwrap());
    }
}

#[tokio::test]
async fn we_get_metadata_of_aria2_and_then_the_file() {
    if !has_aria2("we_get_metadata_of_aria2_and_then_the_file") {
        return;
    }
    let party = Party::new().await;
    let (mut maker, path, metainfo, link) = share(&party, false).await;
    maker.stop().await;
    let (dir, log) = (party.dir.path().join("aria2"), party.dir.path().join("aria2.log"));
    fs::create_dir_all(&dir).unwrap();
    fs::copy(&path, dir.join("file.bin")).unwrap();
    let torrent = party.write("file.torrent", &metainfo);
    let args = ["--seed-ratio=0.0", "--bt-seed-unverified=true", torrent.to_str().unwrap()];
    let mut child = aria2(&dir, &log, &args);
    until_seeded(&party, &metainfo, &log).await;
    we_download(&party, &link, &path, &log).await;
    child.kill().await.unwrap();
}

/// Seeds a torrent on 127.0.0.3 until its standard input closes.
const LIBTORRENT: &str = r#"
import sys, libtorrent as lt
session = lt.session({
    "listen_interfaces": "127.0.0.3:0", "outgoing_interfaces": "127.0.0.3",
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(sys.argv[1])
params.save_path = sys.argv[2]
params.flags |= lt.torrent_flags.seed_mode
params.flags &= ~lt.torrent_flags.auto_managed
handle = session.add_torrent(params)
handle.resume()
sys.stdin.read()
"#;

#[tokio::test]
async fn we_get_metadata_of_libtorrent_and_then_the_file() {
    let test = "we_get_metadata_of_libtorrent_and_then_the_file";
    if !can_run("/usr/bin/python3", &["-c", "import libtorrent"], test) {
        return;
    }
    let party = Party::new().await;
    let (mut maker, path, metainfo, link) = share(&party, false).await;
    maker.stop().await;
    let torrent = party.write("file.torrent", &metainfo);
    let log = party.dir.path().join("libtorrent.log");
    let output = fs::File::create(&log).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", LIBTORRENT]).arg(torrent).arg(path.parent().unwrap());
    command.stdin(Stdio::piped()).stderr(output.try_clone().unwrap()).stdout(output);
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    until_seeded(&party, &metainfo, &log).await;
    we_download(&party, &link, &path, &log).await;
    child.kill().await.unwrap();
}
