//! What is expected of an example, in whatever language.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Output, Stdio},
    time::SystemTime,
};

use shoal::v1::{self, torrent_service_client::TorrentServiceClient};
use shoal_node::{
    auth::cert::{self, CertOptions},
    node::Node,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr},
};

use super::{Example, RUN, said};
use crate::harness::{Host, Party, metainfo, sample, within};

/// Bytes of the files here: no whole number of chunks.
const LEN: usize = 3 * 1024 * 1024 + 999;

/// Where to reach a node, over its Unix socket and over TCP.
async fn endpoints(host: &Host) -> (String, String) {
    let addresses = host.info().await.control_addresses;
    let (unix, tcp) =
        addresses.into_iter().partition::<Vec<_>, _>(|addr| addr.starts_with("unix:"));
    (unix[0].clone(), format!("http://{}", tcp[0]))
}

/// The file with a token of a node.
fn token(host: &Host, name: &str) -> String {
    host.config.state_dir.join(name).to_str().unwrap().to_owned()
}

/// The result that an example printed.
#[track_caller]
fn result(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_complete(output: &Output, host: &Host, data: &[u8]) {
    let said = result(output);
    assert_eq!(said["result"]["complete"], true, "{said}");
    assert_eq!(said["result"]["message"], "Merge complete!", "{said}");
    assert_eq!(said["torrent"]["totalBytes"], LEN.to_string(), "{said}");
    assert!(said["events"].as_u64().unwrap() > 0, "{said}");
    assert!(fs::read(host.downloads().join("file.bin")).unwrap() == data);
}

/// A run whose talk is read as it comes.
struct Talk {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Talk {
    fn start(example: &Example, args: &[&str]) -> Self {
        let mut command = example.command(&example.script);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line that begins so.
    async fn until(&mut self, begins: &str) {
        let mut seen = Vec::new();
        let found = async {
            loop {
                match self.lines.next_line().await.unwrap() {
                    Some(line) if line.starts_with(begins) => break,
                    Some(line) => seen.push(line),
                    None => panic!("it ended without {begins:?}: {seen:#?}"),
                }
            }
        };
        within(RUN, begins, found).await;
    }

    /// Waits for its end.
    async fn end(self) -> Output {
        let Self { child, mut lines } = self;
        let rest = tokio::spawn(async move {
            let mut rest = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                rest.push(line);
            }
            rest
        });
        let mut output = within(RUN, "the example", child.wait_with_output()).await.unwrap();
        output.stderr = rest.await.unwrap().join("\n").into_bytes();
        output
    }
}

pub(super) async fn follows_and_tells_refusals(party: &Party, example: &Example) {
    let data = sample(LEN, 31);
    let (_seeder, metainfo) = party.seeder("file.bin", &data).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let (unix, _) = endpoints(&leecher).await;

    let nobody = example.follow(&["--endpoint", &unix, "--torrent", "other.bin"]).await;
    assert_eq!(nobody.status.code(), Some(1), "{}", said(&nobody));
    assert!(said(&nobody).contains("no torrent to choose from"), "{}", said(&nobody));

    let output = example.follow(&["--endpoint", &unix, "--torrent", "file.bin"]).await;
    assert_complete(&output, &leecher, &data);
    assert!(said(&output).contains("started job"), "{}", said(&output));

    // Once more: everything is there already.
    let again = example.follow(&["--endpoint", &unix]).await;
    assert_complete(&again, &leecher, &data);

    let (tracker, _) = endpoints(&party.tracker).await;
    let refused = example.follow(&["--endpoint", &tracker]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let line = "FAILED_PRECONDITION (NOT_IN_ROLE)";
    assert!(said(&refused).contains(line), "{}", said(&refused));

    let usage = example.follow(&[]).await;
    assert_eq!(usage.status.code(), Some(2), "{}", said(&usage));
}

pub(super) async fn joins_over_tcp(party: &Party, example: &Example) {
    let data = sample(LEN, 32);
    let (seeder, metainfo) = party.seeder("file.bin", &data).await;
    // Nobody to download from, yet.
    let request = v1::DisconnectTrackerRequest::default();
    seeder.peer().disconnect_tracker(request).await.unwrap();
    let leecher = party.leecher("leecher", &metainfo).await;
    let request = v1::AutoDownloadRequest::default();
    let mut first = leecher.peer().auto_download(request).await.unwrap().into_inner();
    let job = within(RUN, "the job", first.message()).await.unwrap().unwrap().job_id;

    let (_, tcp) = endpoints(&leecher).await;
    let bare = example.follow(&["--endpoint", &tcp]).await;
    assert_eq!(bare.status.code(), Some(1), "{}", said(&bare));
    assert!(said(&bare).contains("UNAUTHENTICATED (TOKEN_MISSING)"), "{}", said(&bare));
    let read_only = token(&leecher, "readonly.token");
    let refused = example.follow(&["--endpoint", &tcp, "--token-file", &read_only]).await;
    assert!(said(&refused).contains("PERMISSION_DENIED (SCOPE_MISSING)"), "{}", said(&refused));

    let admin = token(&leecher, "admin.token");
    let mut talk = Talk::start(example, &["--endpoint", &tcp, "--token-file", &admin]);
    talk.until(&format!("joined job {job}")).await;
    seeder.connect_peer(leecher.addr).await;
    let output = talk.end().await;
    assert_complete(&output, &leecher, &data);
    assert_eq!(result(&output)["result"]["jobId"], job.to_string());
}

pub(super) async fn adds_and_acts(party: &Party, example: &Example) {
    let data = sample(LEN, 33);
    let (seeder, metainfo) = party.seeder("file.bin", &data).await;
    let file = party.write("file.torrent", &metainfo);
    let said_by_script = party.dir.path().join("said");
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n", said_by_script.display());
    let script = party.write("then.sh", script.as_bytes());
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let leecher = party.peer("leecher").await;
    let (unix, _) = endpoints(&leecher).await;
    let then = script.to_str().unwrap();
    let args = ["--endpoint", &unix, "--add", file.to_str().unwrap(), "--then", then];
    let output = example.follow(&args).await;
    assert_complete(&output, &leecher, &data);
    assert_eq!(result(&output)["then"], 0, "{}", said(&output));
    let told = fs::read_to_string(&said_by_script).unwrap();
    assert_eq!(told.trim_end(), leecher.downloads().join("file.bin").display().to_string());

    // A link and a peer; and a command that fails is told by the exit code.
    let other = party.peer("other").await;
    let (unix, _) = endpoints(&other).await;
    let link = format!("magnet:?xt=urn:btih:{}", crate::harness::info_hash(&metainfo));
    let peer = seeder.addr.to_string();
    let args = ["--endpoint", &unix, "--add", &link, "--peer", &peer, "--then", "false"];
    let output = example.follow(&args).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(fs::read(other.downloads().join("file.bin")).unwrap() == data);

    let missing = example.follow(&["--endpoint", &unix, "--add", "/nowhere/a.torrent"]).await;
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
}

pub(super) async fn goes_on_after_a_restart(party: &Party, example: &Example) {
    let data = sample(LEN, 34);
    let url = party.announce_url().await;
    let metainfo = metainfo("file.bin", &data, crate::harness::CHUNK, &[&url]);
    let leecher = party.leecher("leecher", &metainfo).await;
    let (unix, _) = endpoints(&leecher).await;
    let mut talk = Talk::start(example, &["--endpoint", &unix]);
    talk.until("started job").await;
    let leecher = leecher.restart().await;
    // Only now is there anybody to download from.
    let _seeder = party.seeder("file.bin", &data).await;
    talk.until("event").await;
    let output = talk.end().await;
    assert_complete(&output, &leecher, &data);
}

pub(super) async fn speaks_tls_with_a_token(party: &Party, example: &Example) {
    let data = sample(LEN, 35);
    let (_seeder, metainfo) = party.seeder("file.bin", &data).await;
    let file = party.write("file.torrent", &metainfo);
    let certs = party.dir.path().join("certs");
    let options = CertOptions { dir: certs.clone(), ..CertOptions::default() };
    cert::make(&options, SystemTime::now()).unwrap();
    let mut config = party.peer_config("leecher");
    config.tls_cert = Some(certs.join("server.crt"));
    config.tls_key = Some(certs.join("server.key"));
    let (state, downloads) =
        (config.state_dir.clone(), config.peer.as_ref().unwrap().downloads.clone());
    let node = within(RUN, "start of a node", Node::start(config)).await.unwrap();
    let port = node.control().iter().find_map(|addr| addr.strip_prefix("127.0.0.1:")).unwrap();
    let endpoint = format!("https://localhost:{port}");
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (ca, admin) = (text(certs.join("ca.crt")), text(state.join("admin.token")));
    let torrent = text(file);

    let strange = ["--endpoint", &endpoint, "--token-file", &admin, "--add", &torrent];
    let untrusted = example.follow(&strange).await;
    assert_eq!(untrusted.status.code(), Some(1), "{}", said(&untrusted));
    assert!(said(&untrusted).contains("UNAVAILABLE: "), "{}", said(&untrusted));
    let bare = example.follow(&["--endpoint", &endpoint, "--ca", &ca, "--add", &torrent]).await;
    assert!(said(&bare).contains("UNAUTHENTICATED (TOKEN_MISSING)"), "{}", said(&bare));
    let socket = format!("unix:{}", state.join("shoald.sock").display());
    let over_unix = shoal::client::connect(&socket);
    let mut torrents = TorrentServiceClient::new(over_unix.await.unwrap());
    let listed = torrents.list_torrents(v1::ListTorrentsRequest::default()).await.unwrap();
    assert!(listed.into_inner().torrents.is_empty(), "nothing was added by the refused");

    let whole = [&strange[..], &["--ca", &ca]].concat();
    let output = example.follow(&whole).await;
    let said = result(&output);
    assert_eq!(said["result"]["complete"], true, "{said}");
    assert!(fs::read(downloads.join("file.bin")).unwrap() == data);
    within(RUN, "end of a node", node.shutdown()).await;
}
