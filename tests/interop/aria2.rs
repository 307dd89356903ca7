//! aria2: an encrypted handshake first, 16 KiB requests, no fast extension, padding files as files.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use shoal::v1;
use tokio::process::{Child, Command};

use crate::{
    harness::{Host, Party, info_hash, last, sample, until, within},
    trees,
};

/// How long a transfer of some megabytes may take on a machine with much else to do.
const TRANSFER: Duration = Duration::from_secs(90);
/// Ports that aria2 takes a free one of: below those that the system gives away.
const PORTS: &str = "--listen-port=21000-29999";
/// Bytes of the single files here: no whole number of chunks.
const LEN: usize = 9 * 1024 * 1024 + 4321;

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

/// An aria2 with one torrent. Killed where it is dropped.
struct Aria2 {
    child: Child,
    log: PathBuf,
}

/// What it does with the torrent.
#[derive(Clone, Copy)]
enum Role {
    /// Downloads it and ends.
    Leech,
    /// Downloads it and goes on seeding.
    LeechAndStay,
    /// Has it.
    Seed,
}

impl Aria2 {
    /// Starts one on 127.0.0.`host`, its files in `dir`.
    fn start(host: u8, role: Role, metainfo: &[u8], dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let (torrent, log) = (dir.with_extension("torrent"), dir.with_extension("log"));
        fs::write(&torrent, metainfo).unwrap();
        let mut command = Command::new("aria2c");
        command
            .args([
                "--no-conf",
                PORTS,
                "--enable-dht=false",
                "--enable-dht6=false",
                "--disable-ipv6=true",
            ])
            .args(["--bt-enable-lpd=false", "--enable-peer-exchange=false"])
            .args(["--file-allocation=none", "--summary-interval=0", "--console-log-level=notice"])
            .args(["--follow-torrent=mem", "--enable-color=false"])
            .arg(format!("--interface=127.0.0.{host}"))
            // It does not outlive the tests, however they end.
            .arg(format!("--stop-with-process={}", std::process::id()))
            .arg("--dir")
            .arg(dir);
        match role {
            Role::Leech => command.arg("--seed-time=0"),
            Role::LeechAndStay => command.arg("--seed-ratio=0.0"),
            Role::Seed => command.args(["--seed-ratio=0.0", "--bt-seed-unverified=true"]),
        };
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let output = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        let child = command.arg(torrent).kill_on_drop(true).spawn().unwrap();
        Self { child, log }
    }

    /// Waits for its end.
    async fn end(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(TRANSFER, self.child.wait()).await;
        let Ok(status) = ended else { panic!("aria2 goes on and on: {}", self.said()) };
        let status = status.unwrap();
        assert!(status.success(), "{status}: {}", self.said());
        status
    }

    /// Kills it and waits until it is gone.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Makes a torrent of `path` on a node and announces it.
async fn share(seeder: &Host, tracker: &str, path: &Path, padding: v1::Padding) -> Vec<u8> {
    let request = v1::CreateTorrentRequest {
        path: path.to_str().unwrap().to_owned(),
        chunk_size_bytes: 64 * 1024,
        padding: padding.into(),
        trackers: vec![v1::TrackerTier { urls: vec![tracker.to_owned()] }],
        ..v1::CreateTorrentRequest::default()
    };
    let made = seeder.torrents().create_torrent(request).await.unwrap().into_inner();
    let metainfo = last(made).await.unwrap().metainfo;
    seeder.connect_tracker().await;
    metainfo
}

/// How the tracker counts the torrent.
async fn swarm(party: &Party, metainfo: &[u8]) -> Option<v1::Swarm> {
    let info_hash = info_hash(metainfo).to_string();
    let request = v1::GetSwarmRequest { info_hash, ..v1::GetSwarmRequest::default() };
    party.tracker.swarms().get_swarm(request).await.ok()?.into_inner().swarm
}

/// aria2 downloads what a node of ours shares.
async fn aria2_downloads(path: &Path, party: &Party, padding: v1::Padding) -> PathBuf {
    let seeder = party.peer("seeder").await;
    let metainfo = share(&seeder, &party.announce_url().await, path, padding).await;
    let dir = party.dir.path().join("aria2");
    Aria2::start(2, Role::Leech, &metainfo, &dir).end().await;

    let torrent = until("every byte is counted", async || {
        let torrent = seeder.torrent().await;
        (torrent.uploaded_bytes >= torrent.total_bytes).then_some(torrent)
    })
    .await;
    let swarm = swarm(party, &metainfo).await.unwrap();
    assert_eq!((swarm.seeders, swarm.leechers), (1, 0), "it said that it left: {swarm:?}");
    dir.join(torrent.name)
}

/// A node of ours downloads what aria2 shares, through our tracker.
async fn we_download(path: &Path, party: &Party, padding: v1::Padding) -> PathBuf {
    let maker = party.peer("maker").await;
    let metainfo = share(&maker, &party.announce_url().await, path, padding).await;
    let request = v1::DisconnectTrackerRequest::default();
    maker.peer().disconnect_tracker(request).await.unwrap();

    let dir = party.dir.path().join("aria2");
    trees::copy_with_padding(path, &dir, &metainfo);
    let aria2 = Aria2::start(2, Role::Seed, &metainfo, &dir);
    until("aria2 announces as a seeder", async || {
        swarm(party, &metainfo).await.filter(|swarm| swarm.seeders == 1)
    })
    .await;

    let leecher = party.leecher("leecher", &metainfo).await;
    let done = leecher.auto_download().await;
    let done = done.unwrap_or_else(|status| panic!("{status:?}: {}", aria2.said()));
    assert!(done.complete, "{done:?}");
    let torrent = leecher.torrent().await;
    assert_eq!(served_by(&done), [("127.0.0.2".to_owned(), torrent.chunks)]);
    assert_eq!((torrent.failed_chunks, maker.torrent().await.uploaded_bytes), (0, 0));
    aria2.kill().await;
    leecher.downloads().join(torrent.name)
}

/// Who served how many chunks of a download.
fn served_by(done: &v1::AutoDownloadResponse) -> Vec<(String, u32)> {
    let ip = |served: &v1::ServedBy| served.peer.as_ref().unwrap().ip.clone();
    done.served_by.iter().map(|served| (ip(served), served.chunks)).collect()
}

fn plant(party: &Party) -> PathBuf {
    let path = party.dir.path().join("shared/tree");
    trees::plant(&path);
    path
}

#[tokio::test]
async fn aria2_downloads_a_file_of_ours() {
    if is_here("aria2_downloads_a_file_of_ours") {
        let party = Party::new().await;
        let path = party.write("shared/file.bin", &sample(LEN, 7));
        let copy = aria2_downloads(&path, &party, v1::Padding::Auto).await;
        trees::assert_same(&path, &copy);
    }
}

#[tokio::test]
async fn aria2_downloads_a_padded_folder_of_ours() {
    if is_here("aria2_downloads_a_padded_folder_of_ours") {
        let party = Party::new().await;
        let path = plant(&party);
        let copy = aria2_downloads(&path, &party, v1::Padding::Always).await;
        trees::assert_same_but_padding(&path, &copy);
    }
}

#[tokio::test]
async fn we_download_a_file_of_aria2() {
    if is_here("we_download_a_file_of_aria2") {
        let party = Party::new().await;
        let path = party.write("shared/file.bin", &sample(LEN, 8));
        let copy = we_download(&path, &party, v1::Padding::Auto).await;
        trees::assert_same(&path, &copy);
    }
}

#[tokio::test]
async fn we_download_a_padded_folder_of_aria2() {
    if is_here("we_download_a_padded_folder_of_aria2") {
        let party = Party::new().await;
        let path = plant(&party);
        let copy = we_download(&path, &party, v1::Padding::Always).await;
        trees::assert_same(&path, &copy);
    }
}

#[tokio::test]
async fn we_download_a_folder_of_aria2_whose_chunks_span_files() {
    if is_here("we_download_a_folder_of_aria2_whose_chunks_span_files") {
        let party = Party::new().await;
        let path = plant(&party);
        let copy = we_download(&path, &party, v1::Padding::Never).await;
        trees::assert_same(&path, &copy);
    }
}

#[tokio::test]
async fn both_kinds_of_leechers_complete_in_one_swarm() {
    if !is_here("both_kinds_of_leechers_complete_in_one_swarm") {
        return;
    }
    let party = Party::new().await;
    let path = plant(&party);
    let seeder = party.peer("seeder").await;
    let metainfo = share(&seeder, &party.announce_url().await, &path, v1::Padding::Always).await;
    assert!(trees::padding_files(&metainfo) > 0);

    let dirs = [2, 3].map(|host| (host, party.dir.path().join(format!("aria2-{host}"))));
    let aria2 =
        dirs.each_ref().map(|(host, dir)| Aria2::start(*host, Role::LeechAndStay, &metainfo, dir));
    let ours = [party.leecher("one", &metainfo).await, party.leecher("two", &metainfo).await];
    let (one, two) = tokio::join!(ours[0].auto_download(), ours[1].auto_download());
    assert!(one.unwrap().complete && two.unwrap().complete);
    let swarm = until("everyone has everything", async || {
        swarm(&party, &metainfo).await.filter(|swarm| swarm.seeders == 5)
    });
    assert_eq!(swarm.await.completed, 4);

    for leecher in &ours {
        trees::assert_same(&path, &leecher.downloads().join("tree"));
    }
    for (_, dir) in &dirs {
        trees::assert_same_but_padding(&path, &dir.join("tree"));
    }
    for aria2 in aria2 {
        within(TRANSFER, "the end of aria2", aria2.kill()).await;
    }
}
