//! Who is let in: tokens and their scopes, TLS and certificates, users of the Unix socket; and that
//! the refused learn nothing.

use std::{
    error::Error as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use shoal::{
    client::{Connect, ConnectError, Connection},
    v1::{
        self, TokenScope, auth_service_client::AuthServiceClient,
        node_service_client::NodeServiceClient, peer_service_client::PeerServiceClient,
        policy_service_client::PolicyServiceClient, tracker_service_client::TrackerServiceClient,
    },
};
use shoal_ctl::{Exit, Io};
use shoal_node::{
    auth::cert::{self, CertOptions},
    config::{NodeConfig, TrackerConfig, value::ControlAddr},
    node::Node,
};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::{
    binaries::{Program, texts},
    harness::{PATIENCE, Party, refusal, sample, within},
};

/// A node in the tracker role, on a Unix socket and on TCP.
struct House {
    dir: TempDir,
    config: NodeConfig,
    node: Node,
}

impl House {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A node told otherwise.
    async fn with(tell: impl FnOnce(&mut NodeConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        tell(&mut config);
        let node = start(&config).await;
        Self { dir, config, node }
    }

    /// With certificates made for it, and for a caller.
    async fn with_tls(addr: &str, client_ca: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs");
        let clients = vec!["ci".to_owned()];
        let options = CertOptions { dir: certs.clone(), clients, ..CertOptions::default() };
        cert::make(&options, SystemTime::now()).unwrap();
        let mut config = config(dir.path());
        config.control[1] = ControlAddr::Tcp(addr.parse().unwrap());
        config.tls_cert = Some(certs.join("server.crt"));
        config.tls_key = Some(certs.join("server.key"));
        config.tls_client_ca = client_ca.then(|| certs.join("ca.crt"));
        let node = start(&config).await;
        Self { dir, config, node }
    }

    async fn restart(self) -> Self {
        within(PATIENCE, "end of a node", self.node.shutdown()).await;
        let node = start(&self.config).await;
        Self { node, ..self }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.config.state_dir.join(name)
    }

    fn cert(&self, name: &str) -> PathBuf {
        self.dir.path().join("certs").join(name)
    }

    fn port(&self) -> &str {
        self.node.control()[1].rsplit(':').next().unwrap()
    }

    fn tcp(&self) -> Connect {
        Connect::to(self.node.control()[1].as_str())
    }

    fn tls(&self) -> Connect {
        let endpoint = format!("https://localhost:{}", self.port());
        Connect::to(endpoint).ca_file(self.cert("ca.crt"))
    }

    /// As the node's own user.
    async fn owner(&self) -> Connection {
        Connect::to(self.node.control()[0].as_str()).connect().await.unwrap()
    }

    async fn create(&self, name: &str, scopes: &[TokenScope]) -> String {
        let expires_at = None;
        let scopes = scopes.iter().map(|&scope| scope.into()).collect();
        let request = v1::CreateTokenRequest { name: name.to_owned(), scopes, expires_at };
        let made = AuthServiceClient::new(self.owner().await).create_token(request).await;
        made.unwrap().into_inner().secret
    }

    async fn revoke(&self, name: &str) {
        let request = v1::RevokeTokenRequest { token: name.to_owned() };
        AuthServiceClient::new(self.owner().await).revoke_token(request).await.unwrap();
    }

    /// Runs `shoalctl` against an endpoint of it.
    async fn ctl(&self, endpoint: &str, args: &[&str]) -> (Exit, String, String) {
        let (mut io, stdout, stderr) = Io::captured("");
        let line = ["shoalctl", "--endpoint", endpoint].into_iter().chain(args.iter().copied());
        let exit = Box::pin(shoal_ctl::run(line, &mut io)).await;
        (exit, stdout.text(), stderr.text())
    }
}

fn config(dir: &Path) -> NodeConfig {
    let mut config = NodeConfig::new(dir.join("node"));
    let loopback = ([127, 0, 0, 1], 0).into();
    config.control.push(ControlAddr::Tcp(loopback));
    config.tracker = Some(TrackerConfig { listen: loopback, ..TrackerConfig::default() });
    config
}

async fn start(config: &NodeConfig) -> Node {
    within(PATIENCE, "start of a node", Node::start(config.clone())).await.unwrap()
}

/// Looks at the node.
async fn info(how: Connect) -> Result<v1::GetInfoResponse, Status> {
    let connection = how.connect().await.unwrap();
    let mut node = NodeServiceClient::new(connection);
    within(PATIENCE, "GetInfo", node.get_info(v1::GetInfoRequest {}))
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test]
async fn over_tcp_a_call_is_as_good_as_its_token() {
    let house = House::new().await;
    let revoked = house.create("old", &[TokenScope::Admin]).await;
    house.revoke("old").await;
    let missing = refusal(&info(house.tcp()).await.unwrap_err());
    assert_eq!((missing.0, missing.1.as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
    let never = format!("shoal_{}", "0".repeat(64));
    let mut refused = Vec::new();
    for wrong in [revoked.as_str(), &never, "hunter2"] {
        refused.push(refusal(&info(house.tcp().token(wrong)).await.unwrap_err()));
    }
    let same = (Code::Unauthenticated, "TOKEN_REFUSED".to_owned(), "the token is not valid".into());
    assert_eq!(refused, vec![same; 3], "nothing tells which of them was a token once");

    for token in ["admin.token", "readonly.token"] {
        let seen = info(house.tcp().token_file(house.file(token))).await.unwrap();
        assert_eq!(seen.roles().collect::<Vec<_>>(), [v1::Role::Tracker]);
    }
}

#[tokio::test]
async fn a_token_with_too_small_a_scope_is_told_which_it_needs() {
    let house = House::new().await;
    let readonly = house.tcp().token_file(house.file("readonly.token")).connect().await.unwrap();
    let write = house.create("writer", &[TokenScope::Write]).await;
    let write = house.tcp().token(write).connect().await.unwrap();
    let (mut peer, mut policies) =
        (PeerServiceClient::new(readonly.clone()), PolicyServiceClient::new(write.clone()));
    let (mut tracker, mut tokens) =
        (TrackerServiceClient::new(write), AuthServiceClient::new(readonly.clone()));
    let mut node = NodeServiceClient::new(readonly);
    let quit = peer.quit_torrent(v1::QuitTorrentRequest::default()).await.unwrap_err();
    let reset = policies.reset_policy(v1::ResetPolicyRequest::default()).await.unwrap_err();
    let swarms = tracker.list_swarms(v1::ListSwarmsRequest::default()).await.unwrap_err();
    let tokens = tokens.list_tokens(v1::ListTokensRequest::default()).await.unwrap_err();
    let end = node.shutdown(v1::ShutdownRequest {}).await.unwrap_err();
    for (status, scope) in
        [(quit, "write"), (reset, "policy"), (swarms, "read"), (tokens, "admin"), (end, "admin")]
    {
        let (code, reason, message) = refusal(&status);
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));
        assert!(message.contains(&format!("'{scope}'")), "{message}");
    }
}

#[tokio::test]
async fn health_is_free_and_reflection_on_loopback() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let house = House::new().await;
    let connection = house.tcp().connect().await.unwrap();
    let mut health = HealthClient::new(connection);
    let request = HealthCheckRequest { service: "shoal.v1.NodeService".to_owned() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
}

#[tokio::test]
async fn files_are_for_the_node_s_user_and_tokens_outlive_a_restart() {
    let house = House::new().await;
    for file in ["admin.token", "readonly.token", "tokens.json"] {
        let mode = fs::metadata(house.file(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let admin = fs::read_to_string(house.file("admin.token")).unwrap();
    let kept = house.create("ci", &[TokenScope::Read]).await;
    let gone = house.create("old", &[TokenScope::Read]).await;
    house.revoke("old").await;
    let house = house.restart().await;
    info(house.tcp().token(admin.trim())).await.unwrap();
    info(house.tcp().token(kept)).await.unwrap();
    assert_eq!(info(house.tcp().token(gone)).await.unwrap_err().code(), Code::Unauthenticated);
    // To rotate it: without its file it is another.
    fs::remove_file(house.file("admin.token")).unwrap();
    let house = house.restart().await;
    assert_eq!(info(house.tcp().token(admin)).await.unwrap_err().code(), Code::Unauthenticated);
    info(house.tcp().token_file(house.file("admin.token"))).await.unwrap();
}

#[tokio::test]
async fn tokens_are_listed_in_order_without_their_secrets() {
    let house = House::new().await;
    let secret = house.create("ci", &[TokenScope::Write, TokenScope::Read]).await;
    let mut auth = AuthServiceClient::new(house.owner().await);
    let request = v1::ListTokensRequest { page_size: 2, ..Default::default() };
    let first = auth.list_tokens(request.clone()).await.unwrap().into_inner();
    let request = v1::ListTokensRequest { page_token: first.next_page_token.clone(), ..request };
    let second = auth.list_tokens(request).await.unwrap().into_inner();
    assert_eq!(second.next_page_token, "");
    let names: Vec<_> = first.tokens.iter().chain(&second.tokens).map(|t| &t.name).collect();
    assert_eq!(names, ["admin", "ci", "readonly"]);
    let scopes: Vec<_> = first.tokens[1].scopes().collect();
    assert_eq!(scopes, [TokenScope::Read, TokenScope::Write]);
    assert!(!format!("{first:?}").contains(secret.trim_start_matches("shoal_")));
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_its_streams_with_it() {
    let house = House::new().await;
    let expires = SystemTime::now() + Duration::from_millis(1500);
    let request = v1::CreateTokenRequest {
        name: "brief".to_owned(),
        scopes: vec![TokenScope::Read.into()],
        expires_at: Some(expires.into()),
    };
    let made = AuthServiceClient::new(house.owner().await).create_token(request).await;
    let secret = made.unwrap().into_inner().secret;
    let connection = house.tcp().token(&secret).connect().await.unwrap();
    let mut node = NodeServiceClient::new(connection);
    let stream = node.watch_events(v1::WatchEventsRequest::default()).await.unwrap();
    let ended = within(PATIENCE, "end of the stream", end_of(stream.into_inner())).await;
    assert!(SystemTime::now() >= expires, "not before its time");
    assert_eq!(refusal(&ended).1, "TOKEN_REFUSED");
    let late = node.get_info(v1::GetInfoRequest {}).await.unwrap_err();
    assert_eq!(refusal(&late), refusal(&ended), "the same as for any wrong token");
}

async fn end_of<T>(mut stream: tonic::Streaming<T>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if all were well"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams_at_once_and_no_job() {
    let party = Party::new().await;
    let data = sample(300_000, 7);
    let (seeder, metainfo) = party.seeder("file.bin", &data).await;
    seeder.peer().disconnect_tracker(v1::DisconnectTrackerRequest::default()).await.unwrap();
    let leecher = party.leecher("leecher", &metainfo).await;
    let made = leecher.ctl(&["token", "create", "ci", "--scope", "read,write"]).await.ok();
    let tcp = leecher.info().await.control_addresses[1].clone();
    let connection = Connect::to(tcp).token(made).connect().await.unwrap();
    let (mut node, mut peer) =
        (NodeServiceClient::new(connection.clone()), PeerServiceClient::new(connection));
    let events = node.watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    let job = peer.auto_download(v1::AutoDownloadRequest::default()).await.unwrap().into_inner();
    let ends = tokio::spawn(async move { tokio::join!(end_of(events), end_of(job)) });
    leecher.ctl(&["token", "revoke", "ci"]).await.ok();
    let (events, job) = within(PATIENCE, "end of both streams", ends).await.unwrap();
    for status in [&events, &job] {
        let (code, reason, _) = refusal(status);
        assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "TOKEN_REFUSED"));
    }
    let refused = node.get_info(v1::GetInfoRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "on the same connection too");
    // The job is the node's: it goes on, and comes to its end where somebody has the data.
    seeder.connect_peer(leecher.addr).await;
    let done = leecher.auto_download().await.unwrap();
    assert!(done.complete);
    assert_eq!(fs::read(leecher.downloads().join("file.bin")).unwrap(), data);
}

#[tokio::test]
async fn with_tls_the_node_is_known_by_its_authority_and_name() {
    let house = House::with_tls("0.0.0.0:0", false).await;
    let readonly = house.file("readonly.token");
    info(house.tls().token_file(&readonly)).await.unwrap();
    let by_address = format!("https://127.0.0.1:{}", house.port());
    let seen = Connect::to(&by_address).ca_file(house.cert("ca.crt")).token_file(&readonly);
    info(seen).await.unwrap();
    let status = info(house.tls()).await.unwrap_err();
    assert_eq!(refusal(&status).1, "TOKEN_MISSING", "TLS is no token");

    let other = tempfile::tempdir().unwrap();
    let options = CertOptions { dir: other.path().to_owned(), ..CertOptions::default() };
    cert::make(&options, SystemTime::now()).unwrap();
    let wrong_ca = house.tls().ca_file(other.path().join("ca.crt"));
    let nobody = Connect::to(&by_address);
    let wrong_name = house.tls().server_name("node1.example");
    for how in [wrong_ca, nobody, wrong_name] {
        let refused = how.token_file(&readonly).connect().await.unwrap_err();
        assert!(matches!(refused, ConnectError::Untrusted { .. }), "{refused:?}");
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
    let plain = Connect::to(format!("http://127.0.0.1:{}", house.port())).token_file(&readonly);
    let connected = plain.connect().await;
    if let Ok(connection) = connected {
        let call = NodeServiceClient::new(connection).get_info(v1::GetInfoRequest {}).await;
        assert!(call.is_err(), "in the open nothing is answered");
    }
}

#[tokio::test]
async fn a_node_that_asks_for_certificates_takes_those_of_its_authority() {
    let house = House::with_tls("127.0.0.1:0", true).await;
    let admin = house.file("admin.token");
    let own = house.tls().identity_files(house.cert("ci.crt"), house.cert("ci.key"));
    info(own.clone().token_file(&admin)).await.unwrap();
    assert_eq!(refusal(&info(own).await.unwrap_err()).1, "TOKEN_MISSING", "beside a token");

    let other = tempfile::tempdir().unwrap();
    let clients = vec!["ci".to_owned()];
    let options = CertOptions { dir: other.path().to_owned(), clients, ..CertOptions::default() };
    cert::make(&options, SystemTime::now()).unwrap();
    let theirs = |name: &str| other.path().join(name);
    let foreign = house.tls().identity_files(theirs("ci.crt"), theirs("ci.key"));
    for how in [house.tls(), foreign] {
        // With TLS 1.3 the refusal comes with the first answer, or the end of the connection overtakes
        // it: in either case nobody has answered.
        if let Ok(connection) = how.token_file(&admin).connect().await {
            let mut node = NodeServiceClient::new(connection);
            let refused = node.get_info(v1::GetInfoRequest {}).await.unwrap_err();
            assert!(refused.source().is_some(), "{refused:?}");
        }
    }
    let endpoint = format!("https://localhost:{}", house.port());
    let ca = house.cert("ca.crt");
    let ca = ca.to_str().unwrap();
    let (exit, _, err) = house.ctl(&endpoint, &["node", "info", "--ca", ca]).await;
    assert!(matches!(exit, Exit::NotAllowed | Exit::Unreachable), "{err}");
    assert!(exit == Exit::Unreachable || err.contains("--cert and --key"), "{err}");
}

#[tokio::test]
async fn shoalctl_calls_over_tls_with_a_token_and_says_what_is_missing() {
    let house = House::with_tls("127.0.0.1:0", false).await;
    let endpoint = format!("https://localhost:{}", house.port());
    let (ca, token) = (house.cert("ca.crt"), house.file("readonly.token"));
    let (ca, token) = (ca.to_str().unwrap(), token.to_str().unwrap());
    let line = ["--ca", ca, "--token-file", token, "tracker", "swarms"];
    let (exit, _, err) = house.ctl(&endpoint, &line).await;
    assert_eq!(exit, Exit::Ok, "{err}");
    for (line, exit, words) in [
        (&["--ca", ca, "node", "info"][..], Exit::NotAllowed, "--token-file"),
        (&["--token-file", token, "node", "info"], Exit::NotAllowed, "--ca"),
        (&["--ca", ca, "--token-file", token, "node", "shutdown"], Exit::NotAllowed, "'admin'"),
        (&["--ca", token, "node", "info"], Exit::Internal, "no certificate"),
    ] {
        let (ended, out, err) = house.ctl(&endpoint, line).await;
        assert_eq!((ended, out.as_str()), (exit, ""), "{line:?} {err}");
        assert!(err.contains(words), "{err}");
    }
}

#[tokio::test]
async fn another_user_of_the_unix_socket_needs_a_token_too() {
    let house = House::new().await;
    let socket = house.node.control()[0].strip_prefix("unix:").unwrap().to_owned();
    if !rustix::process::geteuid().is_root() {
        // Only root can be somebody else: the rest of the rule is seen in the gate's own tests.
        return;
    }
    // Opened to everybody, as an operator might.
    for (path, mode) in [(house.dir.path(), 0o755), (&*house.config.state_dir, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let write = house.create("writer", &[TokenScope::Write]).await;
    let endpoint = format!("unix:{socket}");
    let somebody = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let without = info(Connect::to(&endpoint)).await.unwrap_err();
            let with = info(Connect::to(&endpoint).token(write)).await.unwrap_err();
            (without, with)
        })
    });
    let (without, with) = tokio::task::spawn_blocking(|| somebody.join().unwrap()).await.unwrap();
    assert_eq!(refusal(&without).1, "TOKEN_MISSING");
    assert_eq!(refusal(&with).1, "SCOPE_MISSING", "its own token counts, not the owner's right");
    info(Connect::to(house.node.control()[0].as_str())).await.unwrap();
}

#[tokio::test]
async fn a_client_sends_no_token_over_a_network_in_the_open() {
    let secret = format!("shoal_{}", "5e".repeat(32));
    for endpoint in ["http://192.0.2.1:7002", "192.0.2.1:7002", "http://node1.example:7002"] {
        let refused = Connect::to(endpoint).token(&secret).connect().await.unwrap_err();
        assert!(matches!(refused, ConnectError::PlaintextToken(_)), "{refused:?}");
        assert!(!refused.to_string().contains(&secret), "{refused}");
    }
    let house = House::new().await;
    let connection = house.tcp().token(&secret).connect().await.unwrap();
    let shown = format!("{connection:?} {:?}", house.tcp().token(&secret));
    assert!(!shown.contains("5e5e"), "{shown}");
}

#[tokio::test]
async fn beyond_loopback_a_node_does_not_start_without_tls() {
    let Some(shoald) = Program::shoald() else { return };
    let home = tempfile::tempdir().unwrap();
    let open = ["tracker", "--listen", "127.0.0.1:0", "--control", "0.0.0.0:0"];
    let (code, out, err) = texts(&shoald.run(home.path(), &open).await);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("--tls-cert and --tls-key"), "{err}");
    assert!(!home.path().join(".local").exists(), "nothing was made");

    let certs = home.path().join("certs");
    let made = shoald.run(home.path(), &["cert", "certs", "--host", "node1.example"]).await;
    let (code, out, err) = texts(&made);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("ca.crt") && out.contains("shoald --tls-key"), "{out}");
    let cert = certs.join("server.crt");
    for (cert, key, code, words) in [
        ("certs/none.crt", "certs/server.key", 3, "--tls-cert certs/none.crt: No such file"),
        ("certs/ca.key", "certs/server.key", 8, "holds no certificate"),
        ("certs/server.crt", "certs/ca.key", 8, "is not the key of"),
    ] {
        let line = [&open[..], &["--tls-cert", cert, "--tls-key", key]].concat();
        let (ended, _, err) = texts(&shoald.run(home.path(), &line).await);
        assert_eq!(ended, Some(code), "{err}");
        assert!(err.contains(words) && err.lines().count() == 1, "{err}");
    }
    assert!(cert.exists());
    let line = [&open[..], &["--tls-cert", "certs/server.crt"]].concat();
    let (ended, _, err) = texts(&shoald.run(home.path(), &line).await);
    assert_eq!(ended, Some(2), "{err}");
    assert!(err.contains("--tls-key"), "{err}");
}

#[tokio::test]
async fn an_expired_certificate_is_one_line_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    let options = CertOptions { dir: certs.clone(), days: 1, ..CertOptions::default() };
    cert::make(&options, SystemTime::now() - Duration::from_secs(2 * 86_400)).unwrap();
    let mut config = config(dir.path());
    config.tls_cert = Some(certs.join("server.crt"));
    config.tls_key = Some(certs.join("server.key"));
    let refused = Node::start(config).await.unwrap_err().to_string();
    assert!(refused.starts_with("--tls-cert ") && refused.contains("expired at "), "{refused}");
    assert!(refused.contains("shoald cert") && !refused.contains('\n'), "{refused}");
}
