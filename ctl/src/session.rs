//! A connection to a node with the run's ends: calls under a deadline, and output in the chosen
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
use tonic::{Request, Response, Status, Streaming};

use crate::{
    clean::{clean, clean_lines, escape_json},
    cli::{Format, PeerArgs},
    failure::Failure,
    io::Io,
    json::{self, Layout, Reply},
};

/// Longest wait for a reply that is no stream, where `--timeout` sets none.
const UNARY_TIMEOUT: Duration = Duration::from_secs(30);

/// Columns of a terminal that does not tell.
const WIDTH_DEFAULT: usize = 80;

/// A node, and where to write what it says.
pub(crate) struct Session<'io> {
    pub(crate) io: &'io mut Io,
    pub(crate) format: Format,
    /// Paths on this side mean the same on the node.
    pub(crate) over_unix: bool,
    /// The torrent where a command names none.
    pub(crate) torrent: Option<String>,
    /// What goes on in the node when the command is interrupted.
    pub(crate) interrupt_note: Option<String>,
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
    pub(crate) fn new(
        io: &'io mut Io,
        format: Format,
        channel: Connection,
        over_unix: bool,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            io,
            format,
            over_unix,
            torrent: None,
            interrupt_note: None,
            channel,
            timeout,
            started: Instant::now(),
        }
    }

    /// Begins another command: its time runs from here.
    pub(crate) fn begin(&mut self, format: Format, timeout: Option<Duration>) {
        self.format = format;
        self.timeout = timeout;
        self.started = Instant::now();
        self.interrupt_note = None;
    }

    /// Gives the command its whole time again, after a person was asked.
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

    fn unary_limit(&self) -> Duration {
        self.time_left().unwrap_or(UNARY_TIMEOUT)
    }

    fn too_late(&self) -> Failure {
        Failure::deadline(self.timeout.unwrap_or(UNARY_TIMEOUT))
    }

    /// Columns that a table may take; `None` where output is no terminal and nothing is cut.
    pub(crate) fn width(&self) -> Option<usize> {
        self.io.terminals.stdout.then(|| {
            let width = comfy_table::Table::new().width().map_or(WIDTH_DEFAULT, usize::from);
            if width == 0 { WIDTH_DEFAULT } else { width }
        })
    }

    /// Writes a reply: its JSON form, or what `text` makes of it.
    pub(crate) fn reply<R: Reply>(
        &mut self,
        reply: &R,
        text: impl FnOnce(&R, Option<usize>) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(reply, Layout::Pretty),
            Format::Table => {
                let text = text(reply, self.width());
                self.write(&text)
            }
        }
    }

    /// Writes a reply: its JSON form, or its sentence.
    pub(crate) fn sentence<R: Reply>(&mut self, reply: &R, message: &str) -> Result<(), Failure> {
        self.reply(reply, |_, _| format!("{}\n", clean(message)))
    }

    /// Writes a message of a stream as a line of JSON; a table shows only the last, later.
    pub(crate) fn step<R: Reply>(&mut self, message: &R) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(message, Layout::Line),
            Format::Table => Ok(()),
        }
    }

    /// Writes text for a person to standard output; every character in it is made harmless.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.put(&clean_lines(text))
    }

    fn document<R: Reply>(&mut self, reply: &R, layout: Layout) -> Result<(), Failure> {
        let document = json::document(reply, layout).map_err(Failure::internal)?;
        self.put(&format!("{}\n", escape_json(&document)))
    }

    fn put(&mut self, text: &str) -> Result<(), Failure> {
        self.io
            .stdout
            .write_all(text.as_bytes())
            .and_then(|()| self.io.stdout.flush())
            .map_err(|e| Failure::stdio(&e))
    }

    /// Says a line on standard error beside a table; JSON speaks for itself.
    pub(crate) fn say(&mut self, line: &str) {
        if self.format == Format::Table {
            self.ask(line);
        }
    }

    /// Puts a line to a person. Nobody listening there is no failure of the command.
    pub(crate) fn ask(&mut self, line: &str) {
        let _ = writeln!(self.io.stderr, "{}", clean(line));
        let _ = self.io.stderr.flush();
    }

    /// A bar can be drawn: standard error is a terminal and nothing but tables is shown.
    pub(crate) fn draws_bars(&self) -> bool {
        self.io.terminals.stderr && self.format == Format::Table
    }
}
