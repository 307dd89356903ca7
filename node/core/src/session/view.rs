//! How things stand: plain values for the control surface. Made on demand, never kept.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    ids::{ConnId, InfoHash, JobId, PeerId, TorrentId},
    metainfo::Metainfo,
    policy::Labels,
    session::command::CommandError,
    time::Timestamp,
    torrent::{book::Source, selection::Selection},
    tracker::announce::{PeerEntry, ShoalPeer},
};

/// The state of a torrent (design §2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TorrentState {
    /// Data on disk is being verified, and nothing is downloaded.
    Checking,
    /// Incomplete, and no job downloads it.
    Idle,
    /// An auto_download is at work.
    Downloading,
    /// Every wanted piece is here.
    Seeding,
    /// Paused by an operator.
    Paused,
    /// No room; goes on by itself when there is.
    DiskFull,
    /// An I/O error; goes on by command.
    Error,
    /// After quit_torrent.
    Quit,
}

impl TorrentState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Checking,
        Self::Idle,
        Self::Downloading,
        Self::Seeding,
        Self::Paused,
        Self::DiskFull,
        Self::Error,
        Self::Quit,
    ];
}

/// One torrent.
#[derive(Clone, Debug)]
pub struct TorrentView {
    /// Its handle.
    pub id: TorrentId,
    /// What it is.
    pub metainfo: Arc<Metainfo>,
    /// How it stands.
    pub state: TorrentState,
    /// Why, in states `DiskFull` and `Error`.
    pub error: Option<String>,
    /// Verified bytes without padding.
    pub done_bytes: u64,
    /// Bytes without padding.
    pub total_bytes: u64,
    /// Which files are wanted.
    pub selection: Selection,
    /// Bytes of the wanted files.
    pub wanted_bytes: u64,
    /// Of these, verified.
    pub wanted_done_bytes: u64,
    /// Pieces had.
    pub pieces_have: u32,
    /// Pieces whose data on disk is still to be verified: neither had nor missing until then.
    pub pieces_checking: u32,
    /// Connections.
    pub peers: usize,
    /// Lifetime payload bytes downloaded.
    pub downloaded: u64,
    /// Lifetime payload bytes served.
    pub uploaded: u64,
    /// Smoothed bytes a second, in.
    pub download_bps: u64,
    /// Smoothed bytes a second, out.
    pub upload_bps: u64,
    /// Payload bytes received and discarded.
    pub wasted: u64,
    /// Pieces that failed their hash.
    pub failed_pieces: u32,
    /// A tracker answered last and announcing goes on.
    pub tracker_connected: bool,
    /// Announcing is wanted.
    pub announcing: bool,
    /// An auto_download is at work.
    pub auto_download: bool,
    /// Its web seeds, in the order of the metainfo.
    pub web_seeds: Vec<WebSeedView>,
}

/// A web seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebSeedView {
    /// As the metainfo has it.
    pub url: String,
    /// It is among the connections.
    pub in_use: bool,
    /// It is not asked again.
    pub given_up: bool,
    /// For how long it is not asked.
    pub rests: Duration,
    /// Why it failed last, unless it delivered since.
    pub error: Option<String>,
}

/// One magnet link whose metadata is looked for.
#[derive(Clone, Debug)]
pub struct QuestView {
    /// Its handle.
    pub id: TorrentId,
    /// Which torrent.
    pub info_hash: InfoHash,
    /// What the link calls it, or the first digits of the hash.
    pub name: String,
    /// Why its metadata makes no torrent here; none while it is looked for.
    pub failed: Option<String>,
    /// Why no tracker answers; none where one does.
    pub tracker_error: Option<String>,
    /// Connections.
    pub peers: usize,
    /// Pieces of metadata that are here, of the size of which most are.
    pub pieces_have: u32,
    /// Pieces of metadata in all, of that size; 0 = nobody has said.
    pub pieces: u32,
    /// The trackers, in tiers.
    pub trackers: Vec<Vec<String>>,
    /// A tracker answered last.
    pub tracker_connected: bool,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnView {
    /// Its handle.
    pub conn: ConnId,
    /// Where the peer listens, or else where it connects from.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// What it calls itself, sanitised.
    pub client: Arc<str>,
    /// We dialled it.
    pub outgoing: bool,
    /// We choke it.
    pub am_choking: bool,
    /// We want something it has.
    pub am_interested: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// It wants something.
    pub peer_interested: bool,
    /// Silent with requests out.
    pub snubbed: bool,
    /// Smoothed bytes a second, in.
    pub download_bps: u64,
    /// Smoothed bytes a second, out.
    pub upload_bps: u64,
    /// Payload bytes received on this connection.
    pub downloaded: u64,
    /// Payload bytes sent on this connection.
    pub uploaded: u64,
    /// Pieces it has.
    pub pieces_have: usize,
    /// Leases it holds.
    pub inflight: u32,
    /// Leases it may hold.
    pub slots: u32,
    /// When it was made.
    pub since: Timestamp,
    /// It speaks BEP 10.
    pub extended: bool,
    /// It speaks `shoal`.
    pub shoal: bool,
    /// Its operator's labels.
    pub labels: Arc<Labels>,
    /// Pieces received from it, alone or with others, and verified.
    pub verified_pieces: u32,
    /// How we came to it; none: the metainfo file names it, a web seed.
    pub source: Option<Source>,
    /// Messages of peer exchange that came too soon and were ignored.
    pub ignored_exchanges: u32,
}

/// The last peer set.
#[derive(Clone, Debug, Default)]
pub struct PeerSetView {
    /// Peers as BEP 3 tells them.
    pub plain: Vec<PeerEntry>,
    /// Peers as the shoal extension tells them; the same peers stand in `plain` too.
    pub shoal: Vec<Arc<ShoalPeer>>,
    /// The tracker that answered.
    pub url: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// Complete peers it counts.
    pub seeders: u32,
    /// Incomplete peers it counts.
    pub leechers: u32,
}

/// How announcing stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrackerView {
    /// The last announce was answered, and announcing goes on.
    pub connected: bool,
    /// The tracker used last.
    pub url: Option<String>,
    /// When the last announce was answered.
    pub last_ok: Option<Timestamp>,
    /// When the next is due.
    pub next: Option<Timestamp>,
    /// Why the last failed; none where it did not.
    pub last_error: Option<String>,
}

/// The state of a piece (design §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceState {
    /// Nobody is asked for it.
    Missing,
    /// A policy is being asked whom to ask.
    Reserved,
    /// It is being fetched.
    Fetching,
    /// It is being hashed.
    Verifying,
    /// It is verified and written.
    Have,
    /// It is not wanted.
    Unwanted,
}

/// What a job does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// `auto_download`.
    AutoDownload,
    /// `request_download` of this piece.
    RequestDownload(crate::ids::PieceIndex),
    /// A creation, run by the shell.
    Create,
    /// A verification.
    Verify,
}

/// One job.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Its torrent; none for a creation, or where it was removed.
    pub torrent: Option<TorrentId>,
    /// The torrent's info hash.
    pub info_hash: Option<InfoHash>,
    /// The torrent's name.
    pub name: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Pieces done.
    pub done_pieces: u32,
    /// Pieces in all.
    pub total_pieces: u32,
    /// Smoothed bytes a second.
    pub rate_bps: u64,
    /// Connected peers.
    pub peers: usize,
    /// What is happening, for a person.
    pub phase: String,
    /// Names of the first 20 pieces that no connected peer has, while it waits for them.
    pub waiting_for: Vec<String>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended, and how; none while it runs.
    pub ended: Option<(Timestamp, Result<JobDone, CommandError>)>,
}

/// How a job ended well.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobDone {
    /// Where merged files are.
    pub paths: Vec<String>,
    /// Who served what.
    pub served_by: Vec<ServedBy>,
    /// Payload bytes received and discarded meanwhile.
    pub wasted: u64,
    /// Bytes of the piece, for a `request_download`.
    pub bytes: u64,
    /// The piece was here already.
    pub already: bool,
    /// Pieces that failed, for a verification.
    pub bad_pieces: u32,
}

/// What one peer served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServedBy {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Pieces received from it and verified; one of several contributors counts where it sent most.
    pub pieces: u32,
    /// Bytes of them.
    pub bytes: u64,
}
