//! Peers that are found without a tracker: through libtorrent and aria2, and by them through us, in
//! peer exchange (BEP 11) and on the local network (BEP 14).

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use shoal::v1::{self, PeerSource};
use shoal_node::config::{PeerConfig, value::ByteRate};
use tokio::process::{Child, Command};

use crate::harness::{CHUNK, Host, Party, dead_port, sample, within};

/// How long strangers may take to be told of each other, and to connect.
const MEETING: Duration = Duration::from_secs(60);
/// Bytes of the file here: no whole number of chunks.
const LEN: usize = 96 * CHUNK as usize + 7;
/// So slow a seeder is still at it when everybody has met.
const SLOW: ByteRate = ByteRate(64 << 10);

/// A libtorrent with one torrent: the file, the folder, where it listens, whether it looks on the
/// local network, and whom it is to connect with.
const LIBTORRENT: &str = r#"
import sys, time
import libtorrent as lt
torrent, folder, listen, local, peers = sys.argv[1:6]
session = lt.session({
    "listen_interfaces": listen,
    "outgoing_interfaces": listen.rsplit(":", 1)[0],
    "allow_multiple_connections_per_ip": True,
    "enable_dht": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_lsd": local == "local", "in_enc_policy": 2, "out_enc_policy": 2,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
})
handle = session.add_torrent({"ti": lt.torrent_info(torrent), "save_path": folder})
for peer in filter(None, peers.split(",")):
    ip, port = peer.rsplit(":", 1)
    handle.connect_peer((ip, int(port)))
while True:
    time.sleep(0.2)
    status = handle.status()
    print(status.state, status.num_peers, status.total_done, flush=True)
    for alert in session.pop_alerts():
        print(alert, flush=True)
"#;

/// A foreign client. Killed where it is dropped.
struct Client {
    _child: Child,
    log: PathBuf,
}

impl Client {
    fn spawn(mut command: Command, log: PathBuf) -> Self {
        let output = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        Self { _child: command.kill_on_drop(true).spawn().unwrap(), log }
    }

    fn libtorrent(dir: &Path, metainfo: &[u8], listen: &str, local: bool, peers: &[&Host]) -> Self {
        let (torrent, folder) = (dir.join("lt.torrent"), dir.join("lt"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&torrent, metainfo).unwrap();
        let peers = peers.iter().map(|host| host.addr.to_string()).collect::<Vec<_>>();
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", LIBTORRENT]).arg(torrent).arg(folder);
        command.args([listen, if local { "local" } else { "" }]).arg(peers.join(","));
        Self::spawn(command, dir.join("lt.log"))
    }

    fn aria2(dir: &Path, metainfo: &[u8], port: u16, options: &[&str]) -> Self {
        let (torrent, folder) = (dir.join("aria2.torrent"), dir.join("aria2"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&torrent, metainfo).unwrap();
        let mut command = Command::new("aria2c");
        command
            .args(["--no-conf", "--enable-dht=false", "--enable-dht6=false"])
            .args(["--disable-ipv6=true", "--file-allocation=none", "--summary-interval=0"])
            .args(["--seed-ratio=0.0", "--interface=127.0.0.1", "--console-log-level=info"])
            .arg(format!("--listen-port={port}"))
            .arg(format!("--stop-with-process={}", std::process::id()))
            .args(options)
            .arg("--dir")
            .arg(folder)
            .arg(torrent);
        Self::spawn(command, dir.join("aria2.log"))
    }

    fn said(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        said.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }
}

/// Whether a program can be run with these arguments. Where it cannot, a test is skipped, and says
/// so.
fn is_here(test: &str, program: &str, args: &[&str]) -> bool {
    let output = std::process::Command::new(program).args(args).output();
    let is_here = output.is_ok_and(|output| output.status.success());
    if !is_here {
        // Past the capture of the test harness: a skip is to be seen.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {program} cannot be run so");
    }
    is_here
}

fn has_libtorrent(test: &str) -> bool {
    is_here(test, "/usr/bin/python3", &["-c", "import libtorrent"])
}

fn has_aria2(test: &str) -> bool {
    is_here(test, "aria2c", &["--version"])
}

/// A swarm of ours without a tracker: a slow seeder, and the metainfo.
async fn seeder(party: &Party, tell: impl FnOnce(&mut PeerConfig)) -> (Host, Vec<u8>) {
    let path = party.write("data/film.webm", &sample(LEN, 11));
    let slow = |role: &mut PeerConfig| {
        role.upload_limit = SLOW;
        tell(role);
    };
    let seeder = party.peer_with("seeder", slow).await;
    let metainfo = seeder.create(&path, &[]).await;
    (seeder, metainfo)
}

/// Waits until a node has a connection that fits.
async fn meets(
    host: &Host,
    client: &Client,
    what: &str,
    fits: impl Fn(&v1::Connection) -> bool,
) -> v1::Connection {
    let mut seen = Vec::new();
    for _ in 0..MEETING.as_millis() / 100 {
        let request = v1::SeeConnectedRequest::default();
        seen = host.peer().see_connected(request).await.unwrap().into_inner().connections;
        if let Some(conn) = seen.iter().find(|conn| fits(conn)) {
            return conn.clone();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: {seen:#?}\n{}", client.said());
}

fn is_at(conn: &v1::Connection, host: &Host) -> bool {
    conn.peer.as_ref().is_some_and(|peer| peer.port == u32::from(host.addr.port()))
}

/// Has a node download for as long as it runs.
fn begin_download(host: &Host) {
    let mut peer = host.peer();
    tokio::spawn(async move {
        let stream = peer.auto_download(v1::AutoDownloadRequest::default()).await;
        if let Ok(stream) = stream {
            let _ = crate::harness::last(stream.into_inner()).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn libtorrent_finds_our_peers_through_us_and_we_find_others_through_it() {
    if !has_libtorrent("exchange with libtorrent") {
        return;
    }
    let party = Party::new().await;
    let (seeder, metainfo) = seeder(&party, |_| ()).await;
    let first = party.leecher("first", &metainfo).await;
    first.connect_peer(seeder.addr).await;
    begin_download(&first);
    let listen = format!("127.0.0.1:{}", dead_port());
    let lt = Client::libtorrent(party.dir.path(), &metainfo, &listen, false, &[&first]);
    let of_lt = |conn: &v1::Connection| conn.client.contains("libtorrent");
    meets(&seeder, &lt, "libtorrent hears of the seeder from us", of_lt).await;

    let last = party.leecher("last", &metainfo).await;
    last.connect_peer(listen.parse().unwrap()).await;
    begin_download(&last);
    let seed = |conn: &v1::Connection| is_at(conn, &seeder);
    let conn = meets(&last, &lt, "we hear of the seeder from libtorrent", seed).await;
    assert_eq!(conn.source(), PeerSource::Exchange);
    let conn = meets(&last, &lt, "libtorrent stays connected", of_lt).await;
    assert_eq!(conn.ignored_exchanges, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn libtorrent_and_we_find_each_other_on_the_local_network() {
    if !has_libtorrent("local discovery with libtorrent") {
        return;
    }
    let party = Party::new().await;
    let on = |role: &mut PeerConfig| role.local_discovery = Some(true);
    let (seeder, metainfo) = seeder(&party, on).await;
    let listen = format!("127.0.0.1:{}", dead_port());
    let lt = Client::libtorrent(party.dir.path(), &metainfo, &listen, true, &[]);
    let of_lt = |conn: &v1::Connection| conn.client.contains("libtorrent");
    let conn = meets(&seeder, &lt, "libtorrent hears our announce", of_lt).await;
    assert_eq!(conn.source(), PeerSource::Incoming, "a seed dials nobody");

    let leecher = party.peer_with("leecher", on).await;
    leecher.add(&metainfo).await.unwrap();
    begin_download(&leecher);
    meets(&leecher, &lt, "libtorrent and a leecher meet", of_lt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2_finds_our_peers_through_us() {
    if !has_aria2("exchange with aria2") {
        return;
    }
    let party = Party::new().await;
    let (seeder, metainfo) = seeder(&party, |_| ()).await;
    let port = dead_port();
    let options = ["--enable-peer-exchange=true", "--bt-enable-lpd=false"];
    let aria2 = Client::aria2(party.dir.path(), &metainfo, port, &options);
    let first = party.leecher("first", &metainfo).await;
    first.connect_peer(seeder.addr).await;
    begin_download(&first);
    within(MEETING, "aria2 listens", async {
        let addr = ([127, 0, 0, 1], port).into();
        let request =
            || v1::ConnectPeerRequest { peer: crate::harness::address(addr), ..Default::default() };
        while first.peer().connect_peer(request()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let of_aria2 = |conn: &v1::Connection| conn.client.to_lowercase().contains("aria2");
    meets(&seeder, &aria2, "aria2 hears of the seeder from us", of_aria2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2_and_we_find_each_other_on_the_local_network() {
    if !has_aria2("local discovery with aria2") {
        return;
    }
    let party = Party::new().await;
    let (seeder, metainfo) =
        seeder(&party, |role: &mut PeerConfig| role.local_discovery = Some(true)).await;
    let options =
        ["--enable-peer-exchange=false", "--bt-enable-lpd=true", "--bt-lpd-interface=127.0.0.1"];
    let aria2 = Client::aria2(party.dir.path(), &metainfo, dead_port(), &options);
    let of_aria2 = |conn: &v1::Connection| conn.client.to_lowercase().contains("aria2");
    meets(&seeder, &aria2, "aria2 hears our announce", of_aria2).await;
}
