//! A connection to a node with the run's ends: calls under a deadline; `output` writes in the chosen
//! format. Never here: what a command asks or shows.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use shoal::{
    client::{Connection, REPLY_LEN_MAX},
    v1::{
        PeerAddress, auth_service_client::AuthServiceClient, job_service_client::JobServiceClient,
        node_service_client::NodeServiceClient, peer_service_client::PeerServiceClient,
        policy_service_client::PolicyServiceClient, torrent_service_client::TorrentServiceClient,
        tracker_service_client::TrackerServiceClient,
    },
};
use tonic::{Request, Response, Status, Streaming, client::Grpc};

use crate::{
    cli::{Format, peer::PeerArgs},
    failure::Failure,
    io::Io,
    methods::Knows,
    settle::Settled,
};

mod output;

use output::Screen;
pub(crate) use output::Shown;

/// Longest wait for a reply that is no stream, where `--timeout` sets none.
const UNARY_TIMEOUT: Duration = Duration::from_secs(30);

/// A node, and where to write what it says.
pub(crate) struct Session<'io> {
    pub(crate) io: &'io mut Io,
    pub(crate) format: Format,
    /// Which formats the command has, and where its identifiers are.
    pub(crate) knows: Knows,
    /// Paths on this side mean the same on the node.
    pub(crate) over_unix: bool,
    /// The torrent where a command names none.
    pub(crate) torrent: Option<String>,
    /// Where the node is, as it was given.
    pub(crate) endpoint: String,
    /// What goes on in the node when the command is interrupted.
    pub(crate) interrupt_note: Option<String>,
    screen: Screen,
    channel: Connection,
    timeout: Option<Duration>,
    started: Instant,
}

macro_rules! clients {
    ($($name:ident -> $client:ident)*) => {
        $(pub(crate) fn $name(&self) -> $client<Connection> {
            $client::new(self.channel.clone()).max_decoding_message_size(REPLY_LEN_MAX)
        })*
    };
}

impl<'io> Session<'io> {
    pub(crate) fn new(io: &'io mut Io, channel: Connection, settled: &Settled) -> Self {
        Self {
            io,
            format: settled.format.unwrap_or(Format::Table),
            knows: Knows::NoNames,
            over_unix: settled.endpoint.starts_with("unix:"),
            torrent: settled.torrent.clone(),
            endpoint: settled.endpoint.clone(),
            interrupt_note: None,
            screen: Screen::default(),
            channel,
            timeout: settled.timeout,
            started: Instant::now(),
        }
    }

    /// Begins another command: its time runs from here.
    pub(crate) fn begin(&mut self, format: Format, knows: Knows, timeout: Option<Duration>) {
        self.format = format;
        self.knows = knows;
        self.timeout = timeout;
        self.started = Instant::now();
        self.interrupt_note = None;
        self.screen = Screen::default();
    }

    /// Gives the command its whole time again: after a person was asked, or for another look.
    pub(crate) fn restart_clock(&mut self) {
        self.started = Instant::now();
    }

    clients! {
        peer -> PeerServiceClient
        torrents -> TorrentServiceClient
        jobs -> JobServiceClient
        tracker -> TrackerServiceClient
        policy -> PolicyServiceClient
        node -> NodeServiceClient
        auth -> AuthServiceClient
    }

    /// The connection itself.
    pub(crate) fn connection(&self) -> Connection {
        self.channel.clone()
    }

    /// A client of methods that only descriptors tell of.
    pub(crate) fn any(&self) -> Grpc<Connection> {
        Grpc::new(self.connection()).max_decoding_message_size(REPLY_LEN_MAX)
    }

    /// What a request names the torrent by; empty for the node's only one.
    pub(crate) fn select(&self, torrent: Option<&str>) -> String {
        torrent.or(self.torrent.as_deref()).unwrap_or_default().to_owned()
    }

    /// A peer as a request names it.
    pub(crate) fn address(peer: &PeerArgs) -> Option<PeerAddress> {
        Some(PeerAddress { ip: peer.ip.to_string(), port: u32::from(peer.port) })
    }

    /// A request of a call with one reply, with its time limit.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.unary_limit());
        request
    }

    /// A request of a call that may take long, with a time limit where one was asked for.
    pub(crate) fn long_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(left) = self.time_left() {
            request.set_timeout(left);
        }
        request
    }

    /// Waits for the reply of a call.
    pub(crate) async fn unary<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let limit = self.unary_limit();
        let until = Instant::now() + limit;
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(_)) if Instant::now() >= until => Err(self.too_late()),
            Ok(Err(status)) => Err(Failure::status(&status)),
            Err(_) => Err(self.too_late()),
        }
    }

    /// Waits for the reply of a call whose work is as long as its data: only `--timeout` ends it.
    pub(crate) async fn patient<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.within(async { call.await.map(Response::into_inner) }).await
    }

    /// Waits for a streaming call to be taken up.
    pub(crate) async fn streaming<T>(
        &self,
        call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    ) -> Result<Streaming<T>, Failure> {
        self.within(async { call.await.map(Response::into_inner) }).await
    }

    /// Waits for the next message of a stream; `None` at its end.
    pub(crate) async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Failure> {
        self.within(stream.message()).await
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Failure> {
        let done = match self.time_left() {
            Some(left) => tokio::time::timeout(left, call).await.map_err(|_| self.too_late())?,
            None => call.await,
        };
        done.map_err(|status| {
            if self.time_left() == Some(Duration::ZERO) {
                self.too_late()
            } else {
                Failure::status(&status)
            }
        })
    }

    fn time_left(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()))
    }

    pub(crate) fn unary_limit(&self) -> Duration {
        self.time_left().unwrap_or(UNARY_TIMEOUT)
    }

    fn too_late(&self) -> Failure {
        Failure::deadline(self.timeout.unwrap_or(UNARY_TIMEOUT))
    }
}
