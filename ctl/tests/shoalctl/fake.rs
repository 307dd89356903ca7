//! A node without torrents: it answers from a script. The torrent that a request names chooses what
//! goes wrong: `code:N` is that status, `near` a suggestion, `slow` no answer, `cut` a stream without
//! its result.

use std::{
    collections::HashMap,
    fmt::Debug,
    pin::Pin,
    sync::{Arc, Mutex},
};

use shoal::v1::{
    self, Progress, auth_service_server::AuthServiceServer, job_service_server::JobServiceServer,
    node_service_server::NodeServiceServer, peer_service_server::PeerServiceServer,
    policy_service_server::PolicyServiceServer, torrent_service_server::TorrentServiceServer,
    tracker_service_server::TrackerServiceServer, watch_events_response::Item,
};
use shoal_ctl::{Exit, Io, Places};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinHandle,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, UnixListenerStream},
};
use tonic::{Code, Request, Response, Status, service::Routes, transport::Server};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Chunks of the only torrent.
pub(crate) const CHUNKS: u32 = 2500;

/// What a run of `shoalctl` left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A node on a Unix socket and on TCP.
pub(crate) struct Node {
    pub(crate) unix: String,
    pub(crate) tcp: String,
    pub(crate) seen: Seen,
    servers: Vec<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("shoald.sock");
        let unix = UnixListener::bind(&socket).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let seen = Seen::default();
        let fake = Fake { seen: seen.clone() };
        let routes = Routes::new(PeerServiceServer::new(fake.clone()))
            .add_service(TorrentServiceServer::new(fake.clone()))
            .add_service(NodeServiceServer::new(fake.clone()))
            .add_service(JobServiceServer::new(fake.clone()))
            .add_service(TrackerServiceServer::new(fake.clone()))
            .add_service(AuthServiceServer::new(fake.clone()))
            .add_service(PolicyServiceServer::new(fake))
            .add_service(reflection());
        let over_unix = Server::builder()
            .add_routes(routes.clone())
            .serve_with_incoming(UnixListenerStream::new(unix));
        let over_tcp =
            Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(tcp));
        let servers = vec![
            tokio::spawn(async move { over_unix.await.unwrap() }),
            tokio::spawn(async move { over_tcp.await.unwrap() }),
        ];
        Self {
            unix: format!("unix://{}", socket.display()),
            tcp: format!("http://{address}"),
            seen,
            servers,
            _dir: dir,
        }
    }

    /// Runs a command line, words apart at spaces, over the Unix socket.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        run(&self.unix, &line.split(' ').collect::<Vec<_>>(), "").await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

/// Runs `shoalctl` with `stdin`.
pub(crate) async fn run(endpoint: &str, words: &[&str], stdin: &str) -> Ran {
    let words: Vec<&str> = ["--endpoint", endpoint].into_iter().chain(words.to_vec()).collect();
    run_at(Places::default(), &words, stdin).await
}

/// Runs `shoalctl` for a user who keeps files at `places`.
pub(crate) async fn run_at(places: Places, words: &[&str], stdin: &str) -> Ran {
    let (io, out, err) = Io::captured(stdin);
    let mut io = io.with_places(places);
    let args = ["shoalctl"].into_iter().chain(words.iter().copied());
    let exit = shoal_ctl::run(args, &mut io).await;
    Ran { exit, out: out.text(), err: err.text() }
}

/// The requests that came, as text.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, request: &impl Debug) {
        self.0.lock().unwrap().push(format!("{request:?}"));
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> String {
        self.all().pop().expect("a request came")
    }
}

#[derive(Clone)]
struct Fake {
    seen: Seen,
}

/// What the torrent's name asks for.
async fn obstacle(torrent: &str) -> Result<(), Status> {
    if torrent == "slow" {
        std::future::pending::<()>().await;
    }
    if torrent == "near" {
        let metadata = HashMap::from([("suggestion".to_owned(), "film".to_owned())]);
        let details = ErrorDetails::with_error_info("NO_SUCH_TORRENT", "shoal", metadata);
        return Err(Status::with_error_details(Code::NotFound, "no torrent 'near'", details));
    }
    match torrent.strip_prefix("code:") {
        Some(number) => Err(Status::new(Code::from_bytes(number.as_bytes()), "as asked")),
        None => Ok(()),
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The messages, and then an end; none for `hang`.
fn messages<T: Send + 'static>(all: Vec<T>, torrent: &str) -> Response<Messages<T>> {
    let sent = tokio_stream::iter(all.into_iter().map(Ok));
    Response::new(if torrent == "hang" {
        Box::pin(sent.chain(tokio_stream::pending()))
    } else {
        Box::pin(sent)
    })
}

macro_rules! service {
    (
        $service:path;
        $(unary $name:ident($request:ident) -> $reply:ident = $answer:expr;)*
        $(stream $stream:ident $sname:ident($srequest:ident) -> $sreply:ident = $sanswer:expr;)*
    ) => {
        #[tonic::async_trait]
        impl $service for Fake {
            $(async fn $name(
                &self,
                request: Request<v1::$request>,
            ) -> Result<Response<v1::$reply>, Status> {
                let request = request.into_inner();
                self.seen.note(&request);
                let answer: fn(&v1::$request) -> (String, v1::$reply) = $answer;
                let (torrent, reply) = answer(&request);
                obstacle(&torrent).await?;
                Ok(Response::new(reply))
            })*
            $(
                type $stream = Messages<v1::$sreply>;

                async fn $sname(
                    &self,
                    request: Request<v1::$srequest>,
                ) -> Result<Response<Self::$stream>, Status> {
                    let request = request.into_inner();
                    self.seen.note(&request);
                    let answer: fn(&v1::$srequest) -> (String, Vec<v1::$sreply>) = $sanswer;
                    let (torrent, mut all) = answer(&request);
                    obstacle(&torrent).await?;
                    if torrent == "cut" || torrent == "hang" {
                        all.pop();
                    }
                    Ok(messages(all, &torrent))
                }
            )*
        }
    };
}

/// A reply with nothing but its sentence.
macro_rules! says {
    ($reply:ident, $message:expr) => {
        |request| {
            (
                request.torrent.clone(),
                v1::$reply { message: $message.to_owned(), ..v1::$reply::default() },
            )
        }
    };
}

service! {
    v1::peer_service_server::PeerService;
    unary connect_tracker(ConnectTrackerRequest) -> ConnectTrackerResponse =
        says!(ConnectTrackerResponse, "Tracker established connection to Peer[10.0.0.1,7000]");
    unary get_peer_set(GetPeerSetRequest) -> GetPeerSetResponse = |r| {
        let set = Some(peer_set(r.with_bitfields));
        (r.torrent.clone(), v1::GetPeerSetResponse { set, next_page_token: String::new() })
    };
    unary update_status_to_tracker(UpdateStatusToTrackerRequest) -> UpdateStatusToTrackerResponse =
        says!(UpdateStatusToTrackerResponse, "Tracker updated Peer[10.0.0.1,7000] status");
    unary disconnect_tracker(DisconnectTrackerRequest) -> DisconnectTrackerResponse =
        says!(DisconnectTrackerResponse, "Peer[10.0.0.1,7000] disconnected from tracker");
    unary quit_torrent(QuitTorrentRequest) -> QuitTorrentResponse =
        says!(QuitTorrentResponse, "Peer[10.0.0.1,7000] quit torrent");
    unary connect_peer(ConnectPeerRequest) -> ConnectPeerResponse = says!(
        ConnectPeerResponse,
        "Peer[10.0.0.2,7000] established connection to Peer[10.0.0.1,7000]"
    );
    unary ping(PingRequest) -> PingResponse =
        says!(PingResponse, "Peer[10.0.0.2,7000] received ping from Peer[10.0.0.1,7000]");
    unary disconnect_peer(DisconnectPeerRequest) -> DisconnectPeerResponse = |r| {
        let message = "Peer[10.0.0.2,7000] disconnected from Peer[10.0.0.1,7000]".to_owned();
        (r.torrent.clone(), v1::DisconnectPeerResponse { message })
    };
    unary check_tracker_connected(CheckTrackerConnectedRequest) -> CheckTrackerConnectedResponse =
        says!(CheckTrackerConnectedResponse, "Peer is not connected to tracker");
    unary check_target_peer_connected(CheckTargetPeerConnectedRequest)
        -> CheckTargetPeerConnectedResponse =
        says!(CheckTargetPeerConnectedResponse, "Target Peer[10.0.0.2,7000] is not connected");
    unary see_this_peer_info(SeeThisPeerInfoRequest) -> SeeThisPeerInfoResponse = |r| {
        let current_chunks = vec!["film.part1".to_owned()];
        let reply = v1::SeeThisPeerInfoResponse {
            self_: own(),
            current_chunks,
            chunks_have: 3,
            ..v1::SeeThisPeerInfoResponse::default()
        };
        (r.torrent.clone(), reply)
    };
    unary see_peer_set(SeePeerSetRequest) -> SeePeerSetResponse = |r| {
        let set = Some(peer_set(r.with_bitfields));
        (r.torrent.clone(), v1::SeePeerSetResponse { set, next_page_token: String::new() })
    };
    unary see_connected(SeeConnectedRequest) -> SeeConnectedResponse =
        |r| (r.torrent.clone(), v1::SeeConnectedResponse::default());
    unary see_chunk_status(SeeChunkStatusRequest) -> SeeChunkStatusResponse =
        |r| (r.torrent.clone(), chunk_page(r));
    unary merge_chunks(MergeChunksRequest) -> MergeChunksResponse = |r| {
        let reply = v1::MergeChunksResponse {
            message: "Merge complete!".to_owned(),
            paths: vec![format!("/downloads/{}", r.file)],
            already: false,
        };
        (r.torrent.clone(), reply)
    };
    stream RequestDownloadStream request_download(RequestDownloadRequest)
        -> RequestDownloadResponse = |r| {
        let begun =
            v1::RequestDownloadResponse { progress: progress(), ..Default::default() };
        let done = v1::RequestDownloadResponse {
            verified: true,
            bytes: 524_288,
            elapsed_us: 12_000,
            index: 2,
            message: "File received successfully!".to_owned(),
            ..Default::default()
        };
        (r.torrent.clone(), vec![begun, done])
    };
    stream AutoDownloadStream auto_download(AutoDownloadRequest) -> AutoDownloadResponse = |r| {
        let begun = v1::AutoDownloadResponse {
            job_id: 9,
            progress: progress(),
            ..Default::default()
        };
        let done = v1::AutoDownloadResponse {
            job_id: 9,
            complete: true,
            message: "Merge complete!".to_owned(),
            paths: vec!["/downloads/film\u{1b}[2J.webm".to_owned()],
            ..Default::default()
        };
        (r.torrent.clone(), vec![begun, done])
    };
}

service! {
    v1::torrent_service_server::TorrentService;
    unary add_torrent(AddTorrentRequest) -> AddTorrentResponse = |_| {
        (String::new(), v1::AddTorrentResponse { torrent: Some(torrent()), already: false })
    };
    unary list_torrents(ListTorrentsRequest) -> ListTorrentsResponse = |_| {
        let torrents = vec![torrent()];
        (String::new(), v1::ListTorrentsResponse { torrents, next_page_token: String::new() })
    };
    unary get_torrent(GetTorrentRequest) -> GetTorrentResponse = |r| {
        let torrent = Some(torrent());
        (r.torrent.clone(), v1::GetTorrentResponse { torrent, ..Default::default() })
    };
    unary pause_torrent(PauseTorrentRequest) -> PauseTorrentResponse =
        |r| (r.torrent.clone(), v1::PauseTorrentResponse { torrent: Some(torrent()) });
    unary resume_torrent(ResumeTorrentRequest) -> ResumeTorrentResponse =
        |r| (r.torrent.clone(), v1::ResumeTorrentResponse { torrent: Some(torrent()) });
    unary select_files(SelectFilesRequest) -> SelectFilesResponse =
        |r| (r.torrent.clone(), v1::SelectFilesResponse { torrent: Some(torrent()) });
    unary remove_torrent(RemoveTorrentRequest) -> RemoveTorrentResponse = |r| {
        let (info_hash, name) = ("ab".repeat(20), r.torrent.clone());
        (r.torrent.clone(), v1::RemoveTorrentResponse { info_hash, name })
    };
    stream CreateTorrentStream create_torrent(CreateTorrentRequest) -> CreateTorrentResponse = |_| {
        let begun = v1::CreateTorrentResponse { progress: progress(), ..Default::default() };
        let done = v1::CreateTorrentResponse {
            torrent: Some(torrent()),
            metainfo: b"d4:infodee".to_vec(),
            info_hash: "ab".repeat(20),
            skipped: vec!["link\n".to_owned()],
            ..Default::default()
        };
        (String::new(), vec![begun, done])
    };
    stream VerifyTorrentStream verify_torrent(VerifyTorrentRequest) -> VerifyTorrentResponse = |r| {
        let begun = v1::VerifyTorrentResponse { progress: progress(), ..Default::default() };
        let done = v1::VerifyTorrentResponse {
            bad_chunks: 1,
            torrent: Some(torrent()),
            ..Default::default()
        };
        (r.torrent.clone(), vec![begun, done])
    };
}

service! {
    v1::node_service_server::NodeService;
    unary get_info(GetInfoRequest) -> GetInfoResponse = |_| {
        (String::new(), v1::GetInfoResponse { version: "0.1.0".to_owned(), ..Default::default() })
    };
    unary get_settings(GetSettingsRequest) -> GetSettingsResponse = |_| {
        let settings = v1::Settings { upload_limit_bps: 20_000_000, ..Default::default() };
        (String::new(), v1::GetSettingsResponse { settings: Some(settings) })
    };
    unary update_settings(UpdateSettingsRequest) -> UpdateSettingsResponse =
        |r| (String::new(), v1::UpdateSettingsResponse { settings: r.settings.clone() });
    unary shutdown(ShutdownRequest) -> ShutdownResponse =
        |_| (String::new(), v1::ShutdownResponse {});
    stream WatchEventsStream watch_events(WatchEventsRequest) -> WatchEventsResponse = |r| {
        let merged = v1::Event {
            kind: v1::EventKind::Merge.into(),
            what: "merged".to_owned(),
            message: "film was merged".to_owned(),
            ..Default::default()
        };
        let all = vec![
            watched(7, Item::Snapshot(v1::Snapshot::default())),
            watched(8, Item::Event(merged)),
            watched(8, Item::Idle(v1::IdleMark {})),
        ];
        let of_jobs = r.kinds().eq([v1::EventKind::Job]);
        let all = if of_jobs { job_events() } else { all };
        (r.torrent.clone(), all)
    };
}

mod policy;

service! {
    v1::job_service_server::JobService;
    unary list_jobs(ListJobsRequest) -> ListJobsResponse = |_| {
        let jobs = vec![job(9, v1::JobState::Done), job(10, v1::JobState::Running)];
        (String::new(), v1::ListJobsResponse { jobs, next_page_token: String::new() })
    };
    unary cancel_job(CancelJobRequest) -> CancelJobResponse = |r| {
        let state = v1::JobState::Cancelled.into();
        let job = Some(v1::Job { id: r.job_id, state, ..Default::default() });
        (String::new(), v1::CancelJobResponse { job })
    };
}

service! {
    v1::tracker_service_server::TrackerService;
    unary list_swarms(ListSwarmsRequest) -> ListSwarmsResponse = |_| {
        let swarms = vec![v1::Swarm { info_hash: "ab".repeat(20), ..Default::default() }];
        (String::new(), v1::ListSwarmsResponse { swarms, next_page_token: String::new() })
    };
    unary get_swarm(GetSwarmRequest) -> GetSwarmResponse = |_| {
        let client = "shoal\u{1b}".to_owned();
        let peers = vec![v1::SwarmPeer { client, shoal: true, ..Default::default() }];
        (String::new(), v1::GetSwarmResponse { peers, ..Default::default() })
    };
}

fn reflection() -> ServerReflectionServer<impl ServerReflection> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTOR_SET)
        .build_v1()
        .unwrap()
}

fn job(id: u64, state: v1::JobState) -> v1::Job {
    v1::Job { id, state: state.into(), torrent_name: "film".to_owned(), ..v1::Job::default() }
}

/// Job 10 is at work, and fails.
fn job_events() -> Vec<v1::WatchEventsResponse> {
    let failed = v1::Job { error: "no room".to_owned(), ..job(10, v1::JobState::Failed) };
    let running = vec![job(10, v1::JobState::Running)];
    let ended = v1::Event {
        kind: v1::EventKind::Job.into(),
        what: "ended".to_owned(),
        detail: Some(v1::event::Detail::Job(failed)),
        ..v1::Event::default()
    };
    vec![
        watched(7, Item::Snapshot(v1::Snapshot { jobs: running, ..v1::Snapshot::default() })),
        watched(8, Item::Event(ended)),
    ]
}

service! {
    v1::auth_service_server::AuthService;
    unary create_token(CreateTokenRequest) -> CreateTokenResponse = |r| {
        let token = Some(token(&r.name, &r.scopes));
        let secret = format!("shoal_{}", "5e".repeat(32));
        (String::new(), v1::CreateTokenResponse { token, secret })
    };
    unary list_tokens(ListTokensRequest) -> ListTokensResponse = |_| {
        let mut admin = token("admin", &[v1::TokenScope::Admin.into()]);
        admin.file = "/state/admin.token".to_owned();
        let mut ci = token("ci", &[v1::TokenScope::Read.into(), v1::TokenScope::Write.into()]);
        ci.expires_at = Some(prost_types::Timestamp { seconds: 86_400, nanos: 5 });
        (String::new(), v1::ListTokensResponse { tokens: vec![admin, ci], ..Default::default() })
    };
    unary revoke_token(RevokeTokenRequest) -> RevokeTokenResponse = |r| {
        (String::new(), v1::RevokeTokenResponse { token: Some(token(&r.token, &[])) })
    };
}

fn token(name: &str, scopes: &[i32]) -> v1::Token {
    let created_at = Some(prost_types::Timestamp::default());
    let (id, name) = ("tok_0123456789ab".to_owned(), name.to_owned());
    v1::Token { id, name, scopes: scopes.to_vec(), created_at, ..Default::default() }
}

fn watched(revision: u64, item: Item) -> v1::WatchEventsResponse {
    v1::WatchEventsResponse { epoch: "e1".to_owned(), revision, item: Some(item) }
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
fn own() -> Option<v1::PeerAddress> {
    Some(v1::PeerAddress { ip: "10.0.0.1".to_owned(), port: 7000 })
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
fn progress() -> Option<Progress> {
    Some(Progress { done_bytes: 1, total_bytes: 2, ..Progress::default() })
}

fn torrent() -> v1::Torrent {
    v1::Torrent {
        info_hash: "ab".repeat(20),
        name: "film\u{202e}".to_owned(),
        state: v1::TorrentState::Seeding.into(),
        chunks: 3,
        chunks_have: 2,
        files: 5,
        wanted_files: 2,
        total_bytes: 30 << 20,
        wanted_bytes: 10 << 20,
        ..v1::Torrent::default()
    }
}

fn peer_set(with_bitfields: bool) -> v1::PeerSet {
    let entry = v1::PeerSetEntry {
        address: own(),
        chunks_have: Some(2),
        bitfield: if with_bitfields { vec![0b1010_0000] } else { Vec::new() },
        is_self: true,
        ..v1::PeerSetEntry::default()
    };
    let other = v1::PeerSetEntry {
        address: Some(v1::PeerAddress { ip: "10.0.0.7".to_owned(), port: 7007 }),
        ..v1::PeerSetEntry::default()
    };
    v1::PeerSet {
        peers: vec![entry, other],
        tracker_url: "http://10.0.0.9:7001/announce".to_owned(),
        chunks: 3,
        total_peers: 1,
        ..v1::PeerSet::default()
    }
}

/// A page of chunks, of which the even ones are had.
fn chunk_page(request: &v1::SeeChunkStatusRequest) -> v1::SeeChunkStatusResponse {
    let from: u32 = request.page_token.parse().unwrap_or(0);
    let to = CHUNKS.min(from + request.page_size.clamp(1, 1000));
    let chunks = (from..to).map(|index| v1::ChunkStatus {
        names: vec![format!("film.webm.part{}", index + 1)],
        index,
        have: index % 2 == 0,
        size_bytes: 524_288,
        ..v1::ChunkStatus::default()
    });
    v1::SeeChunkStatusResponse {
        chunks: chunks.collect(),
        next_page_token: if to < CHUNKS { to.to_string() } else { String::new() },
        total_chunks: CHUNKS,
        chunks_have: CHUNKS / 2,
        ..v1::SeeChunkStatusResponse::default()
    }
}
