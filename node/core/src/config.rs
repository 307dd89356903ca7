//! Limits and tunables of the core: each with its unit, its default and where the number is from.

use std::time::Duration;

/// One KiB in bytes.
pub const KIB: u64 = 1024;
/// One MiB in bytes.
pub const MIB: u64 = 1024 * KIB;

/// What a foreign peer is asked for in one `request`, bytes (BEP 3: all implementations use it).
pub const BLOCK_LEN: u32 = 16 * 1024;
/// The longest `request` that we serve to a peer that does not speak `shoal`, bytes (rTorrent's).
pub const FOREIGN_REQUEST_LEN_MAX: u32 = 128 * 1024;
/// The longest `request` that we offer to serve in the `shoal` handshake, bytes.
pub const SHOAL_REQUEST_LEN_MAX: u32 = 1024 * 1024;
/// The unit that one peer owns while it is fetched, bytes: the piece, or this much of a larger one.
pub const EXTENT_LEN: u32 = 1024 * 1024;

/// The longest payload of a wire message, bytes: 1 MiB block and its 9 bytes of header.
pub const MESSAGE_LEN_MAX: u32 = 1024 * 1024 + 9;
/// The longest `extended` message, bytes (a `hello` of 16 labels is 2 KiB; rTorrent allows 32 KiB).
pub const EXTENDED_LEN_MAX: u32 = 32 * 1024;
/// The longest bitfield, bytes: [`PIECES_MAX`] bits.
pub const BITFIELD_LEN_MAX: u32 = 128 * 1024;
/// The largest metainfo file, bytes.
pub const METAINFO_LEN_MAX: u64 = 16 * MIB;
/// The largest info dictionary taken from peers (BEP 9), bytes: none that is larger can be opened.
pub const METADATA_LEN_MAX: u64 = METAINFO_LEN_MAX;
/// The unit in which peers give metadata (BEP 9), bytes.
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;
/// Pieces of metadata sent to one peer in a tick (250 ms): 2 MiB/s, so that a peer that reads stays
/// below the 4 MiB of unread messages for which it would be closed.
pub const METADATA_BURST: u32 = 32;
/// How often a peer may have all metadata in [`METADATA_SERVED_PER`]; beyond that it is rejected.
pub const METADATA_SERVED_TIMES: u32 = 2;
/// See [`METADATA_SERVED_TIMES`].
pub const METADATA_SERVED_PER: Duration = Duration::from_secs(60);
/// Requests for metadata that one peer has outstanding with us (libtorrent's).
pub const METADATA_PIPELINE: usize = 2;
/// How long a peer may take for one of them, and for its extended handshake.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// Sizes of metadata, of those that peers claim, that are put together at once for a magnet link.
pub const METADATA_SIZES_MAX: usize = 4;
/// Connections that look for the metadata of one magnet link.
pub const QUEST_CONNECTIONS_MAX: usize = 32;
/// Magnet links whose metadata is looked for at once.
pub const QUESTS_MAX: usize = 256;
/// Liars remembered of one magnet link.
pub const QUEST_BANS_MAX: usize = 1024;
/// The longest magnet link, bytes.
pub const MAGNET_LEN_MAX: usize = 64 * 1024;
/// The longest name kept of a magnet link, characters.
pub const MAGNET_NAME_LEN_MAX: usize = 255;
/// The most addresses taken of one magnet link, or given beside a torrent.
pub const GIVEN_PEERS_MAX: usize = 256;
/// The deepest nesting of bencoded data.
pub const BENCODE_DEPTH_MAX: usize = 64;
/// The most values in one bencoded input: 100 000 files of 10 values each, twice over. It bounds
/// what a 16 MiB file of two-byte values takes when decoded (48 bytes each).
pub const BENCODE_VALUES_MAX: usize = 1 << 21;
/// The most tracker URLs kept of a metainfo file.
pub const TRACKERS_MAX: usize = 128;
/// The longest tracker URL, bytes.
pub const URL_LEN_MAX: usize = 2048;
/// The most web seeds kept of a metainfo file.
pub const WEB_SEEDS_MAX: usize = 64;
/// The longest comment or other free text kept of a metainfo file, bytes of UTF-8.
pub const COMMENT_LEN_MAX: usize = 4096;
/// The longest client name kept of an extended handshake, characters.
pub const CLIENT_NAME_LEN_MAX: usize = 64;
/// The most pieces of a torrent.
pub const PIECES_MAX: u32 = 1 << 20;
/// The smallest piece, bytes.
pub const PIECE_LEN_MIN: u32 = 16 * 1024;
/// The largest piece of a torrent we create, bytes.
pub const PIECE_LEN_MAX: u32 = 16 * 1024 * 1024;
/// The largest piece of a foreign torrent, bytes.
pub const FOREIGN_PIECE_LEN_MAX: u32 = 64 * 1024 * 1024;
/// The piece length of torrents we create unless told otherwise, bytes (the specification's chunk).
pub const PIECE_LEN_DEFAULT: u32 = 512 * 1024;
/// Above this many pieces the automatic piece length doubles (some clients read a bitfield only
/// into a 16 KiB or 32 KiB buffer).
pub const AUTO_PIECES_MAX: u32 = 100_000;
/// The most files of a torrent.
pub const FILES_MAX: usize = 100_000;
/// The longest path in a torrent, bytes of UTF-8.
pub const PATH_LEN_MAX: usize = 4096;
/// The longest component of a path, bytes of UTF-8.
pub const COMPONENT_LEN_MAX: usize = 255;
/// The most components of a path.
pub const PATH_DEPTH_MAX: usize = 64;
/// The most patterns that may say which files of a torrent are wanted.
pub const FILE_GLOBS_MAX: usize = 64;
/// The longest such pattern, bytes of UTF-8.
pub const FILE_GLOB_LEN_MAX: usize = 1024;
/// The most labels of a peer.
pub const LABELS_MAX: usize = 16;
/// The longest key or value of a label, bytes of UTF-8.
pub const LABEL_LEN_MAX: usize = 64;
/// The longest `have` bitfield sent with an announce, bytes (§8 of the design).
pub const ANNOUNCE_HAVE_LEN_MAX: usize = 32 * 1024;
/// The longest announce reply that we read, bytes.
pub const ANNOUNCE_REPLY_LEN_MAX: usize = 2 * 1024 * 1024;
/// The most peers that one message of peer exchange adds, and that it drops; more is cut (BEP 11:
/// not more than 50 of either).
pub const PEX_PEERS_MAX: usize = 50;
/// The most addresses of a torrent that one host is believed in peer exchange: two messages.
pub const PEX_ADDRESSES_MAX: usize = 100;
/// How often a peer is told of others at most (BEP 11: one message a minute).
pub const PEX_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between two messages of peer exchange that count; what comes sooner is
/// ignored. A minute, less what timers and the network may be early.
pub const PEX_HEARD_EVERY: Duration = Duration::from_secs(45);
/// The longest datagram of local discovery, bytes (BEP 14: 1 400, to stay below every MTU).
pub const LOCAL_LEN_MAX: usize = 1400;
/// The most torrents of one datagram that we send: what fits in [`LOCAL_LEN_MAX`].
pub const LOCAL_HASHES_MAX: usize = 23;
/// The longest cookie of such a datagram, bytes.
pub const LOCAL_COOKIE_LEN_MAX: usize = 64;
/// The most addresses of a torrent that one host is believed in local discovery: so many nodes of
/// one machine in one swarm.
pub const LOCAL_ADDRESSES_MAX: usize = 32;
/// The most addresses of a torrent that are taken from peers and the local network in a minute: each
/// is dialled, and whoever comes again and again with others would have us call half the world.
pub const HEARSAY_PER_MINUTE_MAX: u32 = 500;
/// How often a torrent is announced locally (BEP 14: every 5 minutes).
pub const LOCAL_EVERY: Duration = Duration::from_secs(300);
/// The shortest time between two local announces of a torrent, on the average (BEP 14: a minute).
pub const LOCAL_LEAST_EVERY: Duration = Duration::from_secs(60);
/// How long local answers are waited for where no tracker answers.
pub const LOCAL_PATIENCE: Duration = Duration::from_secs(3);
/// The most chunks of one consultation of a policy.
pub const CONSULT_CHUNKS_MAX: usize = 16;
/// The most candidates a policy sees; beyond it a random sample.
pub const CANDIDATES_MAX: usize = 256;

/// The largest window of a policy's chunk order, pieces: what one decision may look at.
pub const ORDER_WINDOW_MAX: u32 = 256;

/// Whose requests are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unchoke {
    /// Everybody's: a fleet has nothing to trade.
    #[default]
    All,
    /// Those of so many peers of each torrent, by order of rate (BEP 3 §choking).
    Slots(u32),
}

/// Tunables of a session. `Default` is the truth.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most connections of the node, incoming and outgoing (default 1 024).
    pub connections_max: usize,
    /// Most connections of one torrent (default 256).
    pub connections_per_torrent_max: usize,
    /// Most dials under way (default 64).
    pub half_open_max: usize,
    /// Bytes of buffers for pieces being fetched (default 64 MiB). No buffer, no request.
    pub buffer_budget_bytes: u64,
    /// Bytes of a torrent's pieces that may wait to be verified and written while others are begun,
    /// in a swarm with other leechers (default 16 MiB, or two pieces where that is more): four
    /// leechers took 1.46 copies from one seed without it, and 1.2 with it.
    pub verify_backlog_bytes: u64,
    /// Known addresses kept for a torrent (default 2 000).
    pub peers_per_torrent_max: usize,
    /// Requests that one peer may have outstanding with us (`reqq`; default 2 000).
    pub requests_served_max: u32,
    /// Web seeds (BEP 19) are used (default: they are).
    pub web_seeds: bool,
    /// Leases that one web seed may hold (default 4: what keeps two requests under way).
    pub web_seed_slots: u32,
    /// Whose requests are served (default: everybody's).
    pub unchoke: Unchoke,
    /// Silence of a peer with requests out before it is snubbed (default 20 s).
    pub snub_after: Duration,
    /// Least age of a lease before a slow holder may lose it (default 4 s).
    pub take_over_after: Duration,
    /// Silence after which a connection is closed (default 180 s).
    pub idle_timeout: Duration,
    /// Quiet after which we send a keep-alive (default 90 s).
    pub keep_alive_after: Duration,
    /// How long a dial and its handshake may take (default 10 s).
    pub handshake_timeout: Duration,
    /// How long a policy may take for a batch before the native default decides (default 1 s).
    pub consult_timeout: Duration,
    /// How long an announce may take (default 30 s).
    pub announce_timeout: Duration,
    /// Whether peers on the local network are looked for (BEP 14; default no).
    pub local_discovery: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_torrent_max: 256,
            half_open_max: 64,
            buffer_budget_bytes: 64 * MIB,
            verify_backlog_bytes: 16 * MIB,
            peers_per_torrent_max: 2000,
            requests_served_max: 2000,
            web_seeds: true,
            web_seed_slots: 4,
            unchoke: Unchoke::All,
            snub_after: Duration::from_secs(20),
            take_over_after: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(180),
            keep_alive_after: Duration::from_secs(90),
            handshake_timeout: Duration::from_secs(10),
            consult_timeout: Duration::from_secs(1),
            announce_timeout: Duration::from_secs(30),
            local_discovery: false,
        }
    }
}
