//! An operator's wishes, and how they end.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    config::Unchoke,
    ids::{InfoHash, JobId, PeerId, PieceIndex, TorrentId},
    magnet::Magnet,
    metainfo::Metainfo,
    policy::Labels,
    session::event::{MergeDone, Opened},
    torrent::selection::Selection,
};

/// A wish. Torrents are named by id: whoever asks has looked it up ([`super::Session::torrents`]).
#[derive(Debug)]
pub enum Command {
    /// Take a torrent in, with what the store found of it.
    Add {
        /// What it is.
        metainfo: Arc<Metainfo>,
        /// What of it is here.
        opened: Opened,
        /// As it was when the node last ran; `Default` for a new one.
        resume: Resume,
        /// Which of its files are wanted.
        selection: Selection,
    },
    /// Look for the metadata of a magnet link, and join the quest that does so already. One that
    /// failed begins anew.
    AddMagnet(Box<Magnet>),
    /// Know these addresses of a torrent's, or a quest's, peers.
    LearnPeers(TorrentId, Vec<SocketAddr>),
    /// `connect_tracker`.
    ConnectTracker(TorrentId),
    /// `get_peer_set`.
    GetPeerSet(TorrentId),
    /// `update_status_to_tracker`.
    UpdateStatus(TorrentId),
    /// `disconnect_tracker`.
    DisconnectTracker(TorrentId),
    /// `quit_torrent`.
    Quit(TorrentId),
    /// `connect_peer`.
    ConnectPeer(TorrentId, SocketAddr),
    /// `ping`.
    Ping(TorrentId, SocketAddr),
    /// `disconnect_peer`.
    DisconnectPeer(TorrentId, SocketAddr),
    /// `request_download`: begins a job; answered at once with its id.
    RequestDownload(TorrentId, SocketAddr, PieceIndex),
    /// `auto_download`: begins or joins a job; answered at once with its id.
    AutoDownload {
        /// Which torrent.
        torrent: TorrentId,
        /// Do not wait for chunks nobody has.
        available_only: bool,
        /// Go on where no tracker answers at first (a job of `--auto-download`, or a restart's).
        patient: bool,
    },
    /// `merge_chunks`, of these files (indexes into the metainfo's files).
    Merge(TorrentId, Vec<usize>),
    /// Want these files of a torrent from now on. A download at work goes on with them.
    Select(TorrentId, Selection),
    /// Hash everything again: begins a job; answered at once with its id.
    Verify(TorrentId),
    /// Stop transfers.
    Pause(TorrentId),
    /// Go on after a pause or an error.
    Resume(TorrentId),
    /// Forget a torrent, or a quest.
    Remove {
        /// Which.
        torrent: TorrentId,
        /// Delete what was merged, too.
        delete_data: bool,
    },
    /// End a job.
    CancelJob(JobId),
    /// Begin a job that the shell runs by itself: a creation of this name.
    BeginOutsideJob {
        /// What it makes.
        name: String,
    },
    /// Other tunables from now on.
    Tune(Tuning),
    /// By whom peers are chosen from now on: for one torrent's downloads (none: as for the node
    /// again), or for the node (none: the default).
    SetChooser(Option<TorrentId>, Option<super::Chooser>),
    /// Say `stopped` to the trackers and close every connection; answered once that is done, or
    /// after five seconds.
    Shutdown,
}

/// Tunables that change while the session runs; none: as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tuning {
    /// Whose requests are served.
    pub unchoke: Option<Unchoke>,
    /// Our operator's labels. Peers that speak `shoal` are told at once, trackers with the next
    /// announce.
    pub labels: Option<Arc<Labels>>,
    /// Most connections of the node. Those there are stay.
    pub connections_max: Option<usize>,
    /// Most connections of a torrent. Those there are stay.
    pub connections_per_torrent_max: Option<usize>,
}

/// What of a torrent's conduct survives a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resume {
    /// Announcing was wanted.
    pub announce: bool,
    /// An auto_download was at work.
    pub auto_download: bool,
    /// It was paused.
    pub paused: bool,
    /// It was quit.
    pub quit: bool,
}

/// A wish that came true.
#[derive(Clone, PartialEq, Debug)]
pub enum Done {
    /// Nothing more to say.
    Ok,
    /// The torrent was taken in.
    Added(TorrentId),
    /// The metadata of a magnet link is looked for.
    Seeking {
        /// The quest, or the torrent where that is here.
        id: TorrentId,
        /// It was here already.
        already: bool,
    },
    /// The tracker answered and has our status.
    Announced {
        /// The tracker.
        url: String,
        /// Peers in the reply.
        peers: usize,
        /// Milliseconds until the next announce.
        interval_ms: u64,
        /// It keeps chunk status.
        shoal: bool,
    },
    /// The torrent was left.
    Quit {
        /// Connections that were closed.
        closed: usize,
    },
    /// The peer is connected.
    Connected {
        /// Its id.
        peer_id: PeerId,
        /// What it calls itself, sanitised.
        client: String,
        /// Pieces it has.
        pieces_have: usize,
        /// It speaks BEP 10.
        extended: bool,
        /// It speaks `shoal`.
        shoal: bool,
        /// It was connected already.
        already: bool,
    },
    /// The peer is there.
    Pong {
        /// Round trip; none for a foreign peer.
        round_trip_us: Option<u64>,
        /// Age of its last message, milliseconds.
        last_message_age_ms: u64,
        /// Latency of its last request; none where none was made.
        request_latency_us: Option<u64>,
    },
    /// A job is at work.
    Job {
        /// Its id.
        job: JobId,
        /// It was at work already.
        joined: bool,
    },
    /// Files were merged.
    Merged(MergeDone),
}

/// A wish that did not come true. Each has one stable reason and one gRPC code (`rpc/status.rs`).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The torrent is gone.
    #[error("no such torrent")]
    UnknownTorrent,
    /// The torrent is there already.
    #[error("torrent {0} is here already")]
    TorrentExists(InfoHash),
    /// No peer is known at that address.
    #[error("no peer is known at {addr}")]
    UnknownPeer {
        /// The address.
        addr: SocketAddr,
        /// A known address that looks like it.
        suggestion: Option<SocketAddr>,
    },
    /// The peer is known but not connected.
    #[error("peer {0} is not connected; run connect_peer first")]
    PeerNotConnected(SocketAddr),
    /// The address is this node's own.
    #[error("{0} is this node itself")]
    OwnAddress(SocketAddr),
    /// The peer is banned for the torrent.
    #[error("peer {0} is banned: it sent bad data twice")]
    PeerBanned(SocketAddr),
    /// The peer has not got the chunk.
    #[error("peer {addr} does not have chunk {chunk}")]
    PeerLacksChunk {
        /// The peer.
        addr: SocketAddr,
        /// The chunk's name.
        chunk: String,
    },
    /// The chunk is being downloaded from someone else.
    #[error("chunk {0} is being downloaded already; wait for its job, or cancel that first")]
    ChunkBusy(String),
    /// The peer could not be reached.
    #[error("peer {addr} is unreachable: {cause}")]
    PeerUnreachable {
        /// The peer.
        addr: SocketAddr,
        /// Why.
        cause: String,
    },
    /// The peer went away, or did not answer in time.
    #[error("peer {addr} did not answer: {cause}; connect_peer to it again, or ask another peer")]
    PeerLost {
        /// The peer.
        addr: SocketAddr,
        /// Why.
        cause: String,
    },
    /// The torrent names no tracker.
    #[error("the torrent names no tracker")]
    NoTracker,
    /// No tracker answered.
    #[error("tracker {url} is unreachable: {cause}")]
    TrackerUnreachable {
        /// The tracker tried last.
        url: String,
        /// Why.
        cause: String,
    },
    /// The tracker refused.
    #[error("tracker {url} refused: {reason}")]
    TrackerRefused {
        /// The tracker.
        url: String,
        /// Its words, sanitised.
        reason: String,
    },
    /// The command needs a tracker connection.
    #[error("not connected to a tracker; run connect_tracker first")]
    TrackerNotConnected,
    /// All that is known of the torrent is a magnet link.
    #[error("the metadata of {0} is still being fetched; show tells how far it is")]
    MetadataMissing(String),
    /// A magnet link that leads nowhere.
    #[error(
        "the magnet link names no tracker (tr=) and no peer (x.pe=); add one to it, or give \
         shoalctl torrent add a --peer IP:PORT"
    )]
    NoSource,
    /// Too many magnet links.
    #[error("the metadata of {0} magnet links is being fetched already; remove one first")]
    TooManyQuests(usize),
    /// The torrent is paused.
    #[error("the torrent is paused; resume it first")]
    Paused,
    /// The torrent was quit.
    #[error("the torrent was quit; connect_tracker or auto_download rejoins it")]
    HasQuit,
    /// The torrent's disk fails.
    #[error("the torrent is in state error: {0}")]
    InError(String),
    /// Too many connections.
    #[error(
        "no room for a connection to peer {addr}: {setting} is {limit}; disconnect_peer another \
         first, or raise that limit"
    )]
    TooManyConnections {
        /// The peer.
        addr: SocketAddr,
        /// The setting that is the limit.
        setting: &'static str,
        /// The limit that is reached.
        limit: usize,
    },
    /// A merge of files that are not complete.
    #[error("{missing} of the chunks of {file} are missing")]
    MergeIncomplete {
        /// The first such file.
        file: String,
        /// How many of its chunks are missing.
        missing: usize,
        /// The names of the first 20.
        names: Vec<String>,
    },
    /// A different file stands where a merge would put one.
    #[error("{path} exists and is different; it is never overwritten")]
    MergeExists {
        /// Its path.
        path: String,
    },
    /// The disk is full.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// The disk failed.
    #[error("disk error: {0}")]
    Disk(String),
    /// The downloaded chunk failed its hash.
    #[error("chunk {0} failed its hash; nothing was stored")]
    BadChunk(String),
    /// Chunks that nobody has, with `--available-only`.
    #[error("{missing} chunks are not available from any connected peer")]
    Unavailable {
        /// How many.
        missing: usize,
        /// The names of the first 20.
        names: Vec<String>,
    },
    /// No such job.
    #[error("no job {}", .0.0)]
    UnknownJob(JobId),
    /// The job has ended already.
    #[error("job {} has ended already", .0.0)]
    JobEnded(JobId),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The torrent is being checked.
    #[error("the torrent is being checked; wait until that is done")]
    Checking,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}
