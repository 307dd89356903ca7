//! The one table from domain errors to gRPC: a reason, which is the stable contract, its code, and
//! what a program may want to know beside it. Never here: a decision.

use std::collections::BTreeMap;

use shoal_core::{
    magnet::MagnetError,
    metainfo::{
        MetainfoError,
        names::{UnknownChunk, UnknownFile},
    },
    session::command::CommandError,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The longest value of an error's metadata, bytes: all of a status has to fit into a header.
const VALUE_LEN_MAX: usize = 1024;
/// The longest message, bytes.
const MESSAGE_LEN_MAX: usize = 2048;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $reason:ident $name:literal $code:ident,)+) => {
        /// Why a call failed: `reason` of its `google.rpc.ErrorInfo`. Names are never changed.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Reason {
            $($(#[doc = $doc])* $reason,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$reason),+];

            /// As it stands in `ErrorInfo`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }

            /// What it means, and the keys of its metadata, as the reference has it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$reason => concat!($($doc),*),)+
                }
            }

            /// Its gRPC code.
            #[must_use]
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$reason => Code::$code,)+
                }
            }
        }
    };
}

reasons! {
    /// A field of the request is malformed; `BadRequest` names it.
    BadArgument "BAD_ARGUMENT" InvalidArgument,
    /// No torrent goes by that selector. `suggestion`, where a name is near.
    UnknownTorrent "UNKNOWN_TORRENT" NotFound,
    /// An empty selector, and the node has no torrent.
    NoTorrent "NO_TORRENT" FailedPrecondition,
    /// A selector that fits several torrents. `names`, `info_hashes`.
    SeveralTorrents "SEVERAL_TORRENTS" FailedPrecondition,
    /// The torrent is there already. `info_hash`.
    TorrentExists "TORRENT_EXISTS" AlreadyExists,
    /// No swarm goes by that info hash.
    UnknownSwarm "UNKNOWN_SWARM" NotFound,
    /// No chunk has that name. `chunk`, `suggestion`.
    UnknownChunk "UNKNOWN_CHUNK" NotFound,
    /// No file has that path. `file`, `suggestion`.
    UnknownFile "UNKNOWN_FILE" NotFound,
    /// The torrent is seeded from the operator's own data: all of it is here. `path`.
    IsSeed "IS_SEED" FailedPrecondition,
    /// No peer is known at that address. `peer`, `suggestion`.
    UnknownPeer "UNKNOWN_PEER" NotFound,
    /// The peer is known, but not connected. `peer`.
    PeerNotConnected "PEER_NOT_CONNECTED" FailedPrecondition,
    /// The address is the node's own. `peer`.
    OwnAddress "OWN_ADDRESS" InvalidArgument,
    /// The peer sent bad data twice. `peer`.
    PeerBanned "PEER_BANNED" FailedPrecondition,
    /// The peer has not got the chunk. `peer`, `chunk`.
    PeerLacksChunk "PEER_LACKS_CHUNK" FailedPrecondition,
    /// Somebody else is being asked for the chunk. `chunk`.
    ChunkBusy "CHUNK_BUSY" FailedPrecondition,
    /// The peer could not be reached. `peer`, `cause`.
    PeerUnreachable "PEER_UNREACHABLE" Unavailable,
    /// The peer went away or was silent. `peer`, `cause`.
    PeerLost "PEER_LOST" Unavailable,
    /// The torrent names no tracker.
    NoTracker "NO_TRACKER" FailedPrecondition,
    /// No tracker answered. `tracker`, `cause`.
    TrackerUnreachable "TRACKER_UNREACHABLE" Unavailable,
    /// The tracker refused. `tracker`, `cause`.
    TrackerRefused "TRACKER_REFUSED" FailedPrecondition,
    /// connect_tracker comes first.
    TrackerNotConnected "TRACKER_NOT_CONNECTED" FailedPrecondition,
    /// All that is known of the torrent is a magnet link; its metadata is still being fetched.
    MetadataMissing "METADATA_MISSING" FailedPrecondition,
    /// Too many magnet links at once. `limit`.
    TooManyMagnets "TOO_MANY_MAGNETS" ResourceExhausted,
    /// The torrent is paused.
    Paused "PAUSED" FailedPrecondition,
    /// The torrent was quit.
    HasQuit "HAS_QUIT" FailedPrecondition,
    /// The torrent is in state error. `cause`.
    InError "IN_ERROR" FailedPrecondition,
    /// The torrent's data is being verified.
    Checking "CHECKING" FailedPrecondition,
    /// A limit of connections is reached. `peer`, `setting`, `limit`.
    TooManyConnections "TOO_MANY_CONNECTIONS" ResourceExhausted,
    /// Chunks of the file are missing. `file`, `missing`, `chunks`.
    MergeIncomplete "MERGE_INCOMPLETE" FailedPrecondition,
    /// A different file stands where the merged one would go. `path`.
    MergeExists "MERGE_EXISTS" AlreadyExists,
    /// No room on disk. `cause`.
    DiskFull "DISK_FULL" ResourceExhausted,
    /// The disk failed. `cause`.
    DiskError "DISK_ERROR" Internal,
    /// The chunk received failed its hash. `chunk`.
    BadChunk "BAD_CHUNK" Aborted,
    /// Chunks that no connected peer has. `missing`, `chunks`.
    Unavailable "CHUNKS_UNAVAILABLE" FailedPrecondition,
    /// No such job. `job`.
    UnknownJob "UNKNOWN_JOB" NotFound,
    /// The job has ended already. `job`.
    JobEnded "JOB_ENDED" FailedPrecondition,
    /// The job was ended by somebody else.
    Cancelled "JOB_CANCELLED" Aborted,
    /// The node is ending.
    ShuttingDown "SHUTTING_DOWN" Unavailable,
    /// The node has not got the role. `role`.
    NotInRole "NOT_IN_ROLE" FailedPrecondition,
    /// A v2-only torrent.
    V2Only "V2_ONLY" InvalidArgument,
    /// A metainfo file that is refused.
    BadMetainfo "BAD_METAINFO" InvalidArgument,
    /// A path outside the share roots. `path`, `roots`.
    PathNotShared "PATH_NOT_SHARED" PermissionDenied,
    /// Nothing is at that path. `path`.
    PathNotFound "PATH_NOT_FOUND" NotFound,
    /// The path cannot be read or is not what it should be. `path`, `cause`.
    BadPath "BAD_PATH" FailedPrecondition,
    /// Too many creations at once. `limit`.
    TooManyCreations "TOO_MANY_CREATIONS" ResourceExhausted,
    /// No policy goes by that name. `policy`, `suggestion`.
    UnknownPolicy "UNKNOWN_POLICY" NotFound,
    /// The policy failed a check. `report`.
    BadPolicy "BAD_POLICY" InvalidArgument,
    /// No shipped plan goes by that name. `plan`, `suggestion`.
    UnknownPlan "UNKNOWN_PLAN" NotFound,
    /// The plan of a simulation is malformed. `cause`.
    BadPlan "BAD_PLAN" InvalidArgument,
    /// The plan is too large to be simulated beside a node that works. `size`, `limit`.
    PlanTooLarge "PLAN_TOO_LARGE" FailedPrecondition,
    /// Another caller's simulation is at work.
    SimulationRunning "SIMULATION_RUNNING" FailedPrecondition,
    /// The caller's time is up.
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded,
    /// The policy is in force, but will not be at the next start. `cause`.
    PolicyNotSaved "POLICY_NOT_SAVED" Internal,
    /// A shadow was to run beside a policy of a torrent that has none of its own.
    NoOwnPolicy "NO_OWN_POLICY" FailedPrecondition,
    /// Nothing of the torrent is left to be fetched.
    NothingToExplain "NOTHING_TO_EXPLAIN" FailedPrecondition,
    /// What followed the revision is not kept. `oldest` (the oldest revision kept), `epoch`, `last`.
    RevisionGone "REVISION_GONE" OutOfRange,
    /// The reader was too slow for the stream. `revision`, `epoch`.
    SlowReader "SLOW_READER" ResourceExhausted,
    /// As many readers of events as there may be. `limit`.
    TooManyReaders "TOO_MANY_READERS" ResourceExhausted,
    /// The process writes its log by other means than the filter that could be changed.
    NoLogFilter "NO_LOG_FILTER" FailedPrecondition,
    /// The request is larger than is read: 17 MiB.
    RequestTooLarge "REQUEST_TOO_LARGE" OutOfRange,
    /// The health of a service that does not exist.
    UnknownService "UNKNOWN_SERVICE" NotFound,
    /// A reply that would be larger than clients take.
    ReplyTooLarge "REPLY_TOO_LARGE" ResourceExhausted,
    /// The call has no token, and needs one.
    TokenMissing "TOKEN_MISSING" Unauthenticated,
    /// The token never was, was revoked, or its time is up: nothing tells which.
    TokenRefused "TOKEN_REFUSED" Unauthenticated,
    /// The token is good, but not for this call. `scope`, `has`.
    ScopeMissing "SCOPE_MISSING" PermissionDenied,
    /// The node has no such method.
    UnknownMethod "UNKNOWN_METHOD" Unimplemented,
    /// No token has that id or name. `token`.
    UnknownToken "UNKNOWN_TOKEN" NotFound,
    /// Another token is called so. `token`.
    TokenExists "TOKEN_EXISTS" AlreadyExists,
    /// The node has as many tokens as it can. `limit`.
    TooManyTokens "TOO_MANY_TOKENS" ResourceExhausted,
    /// What was done to a token is not on disk; the message says what holds. `cause`.
    TokensNotSaved "TOKENS_NOT_SAVED" Internal,
    /// A fault of the node.
    Internal "INTERNAL" Internal,
}

/// A refusal on its way to a caller.
#[derive(Clone, PartialEq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// For a person.
    pub message: String,
    /// For a program.
    pub metadata: BTreeMap<&'static str, String>,
    /// The malformed field and what is wrong with it.
    pub field: Option<(&'static str, String)>,
}

impl Refusal {
    /// A refusal that says nothing beside its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: BTreeMap::new(), field: None }
    }

    /// A malformed field.
    pub fn field(field: &'static str, fault: impl Into<String>) -> Self {
        let fault = fault.into();
        let mut refusal = Self::new(Reason::BadArgument, format!("{field}: {fault}"));
        refusal.field = Some((field, fault));
        refusal
    }

    /// The node has not got the role.
    #[must_use]
    pub fn not_in_role(role: &'static str) -> Self {
        let message = format!("this node is not in the {role} role; ask a node that is");
        Self::new(Reason::NotInRole, message).with("role", role)
    }

    /// Something is in the way that should not be.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::Internal, message)
    }

    /// Adds to the metadata.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers hand over numbers, texts, addresses"
    )]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.insert(key, cut(value.to_string(), VALUE_LEN_MAX));
        self
    }

    /// Adds to the metadata what there is.
    #[must_use]
    pub fn with_some(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, metadata, field } = refusal;
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value));
        let mut details = ErrorDetails::with_error_info(
            reason.name(),
            shoal::ERROR_DOMAIN,
            metadata.collect::<std::collections::HashMap<_, _>>(),
        );
        if let Some((field, fault)) = field {
            details.add_bad_request_violation(field, fault);
        }
        Self::with_error_details(reason.code(), cut(message, MESSAGE_LEN_MAX), details)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        use CommandError as E;
        let message = error.to_string();
        let said = |reason| Self::new(reason, message.clone());
        match error {
            E::UnknownTorrent => said(Reason::UnknownTorrent),
            E::TorrentExists(hash) => said(Reason::TorrentExists).with("info_hash", hash),
            E::UnknownPeer { addr, suggestion } => {
                said(Reason::UnknownPeer).with("peer", addr).with_some("suggestion", suggestion)
            }
            E::PeerNotConnected(addr) => said(Reason::PeerNotConnected).with("peer", addr),
            E::OwnAddress(addr) => said(Reason::OwnAddress).with("peer", addr),
            E::PeerBanned(addr) => said(Reason::PeerBanned).with("peer", addr),
            E::PeerLacksChunk { addr, chunk } => {
                said(Reason::PeerLacksChunk).with("peer", addr).with("chunk", chunk)
            }
            E::ChunkBusy(chunk) => said(Reason::ChunkBusy).with("chunk", chunk),
            E::PeerUnreachable { addr, cause } => {
                said(Reason::PeerUnreachable).with("peer", addr).with("cause", cause)
            }
            E::PeerLost { addr, cause } => {
                said(Reason::PeerLost).with("peer", addr).with("cause", cause)
            }
            E::NoTracker => said(Reason::NoTracker),
            E::TrackerUnreachable { url, cause } => {
                said(Reason::TrackerUnreachable).with("tracker", url).with("cause", cause)
            }
            E::TrackerRefused { url, reason } => {
                said(Reason::TrackerRefused).with("tracker", url).with("cause", reason)
            }
            E::TrackerNotConnected => said(Reason::TrackerNotConnected),
            E::MetadataMissing(_) => said(Reason::MetadataMissing),
            E::NoSource => Self::field("magnet", message),
            E::TooManyQuests(limit) => said(Reason::TooManyMagnets).with("limit", limit),
            E::Paused => said(Reason::Paused),
            E::HasQuit => said(Reason::HasQuit),
            E::InError(cause) => said(Reason::InError).with("cause", cause),
            E::TooManyConnections { addr, setting, limit } => said(Reason::TooManyConnections)
                .with("peer", addr)
                .with("setting", setting)
                .with("limit", limit),
            E::MergeIncomplete { file, missing, names } => said(Reason::MergeIncomplete)
                .with("file", file)
                .with("missing", missing)
                .with("chunks", names.join(", ")),
            E::MergeExists { path } => said(Reason::MergeExists).with("path", path),
            E::DiskFull(cause) => said(Reason::DiskFull).with("cause", cause),
            E::Disk(cause) => said(Reason::DiskError).with("cause", cause),
            E::BadChunk(chunk) => said(Reason::BadChunk).with("chunk", chunk),
            E::Unavailable { missing, names } => {
                let names = names.join(", ");
                Self::new(Reason::Unavailable, format!("{message}: {names}"))
                    .with("missing", missing)
                    .with("chunks", names)
            }
            E::UnknownJob(job) => said(Reason::UnknownJob).with("job", job.0),
            E::JobEnded(job) => said(Reason::JobEnded).with("job", job.0),
            E::Cancelled => said(Reason::Cancelled),
            E::Checking => said(Reason::Checking),
            E::ShuttingDown => said(Reason::ShuttingDown),
        }
    }
}

impl From<MetainfoError> for Refusal {
    fn from(error: MetainfoError) -> Self {
        let reason = match error {
            MetainfoError::V2Only => Reason::V2Only,
            MetainfoError::TooLarge(_)
            | MetainfoError::Bencode(_)
            | MetainfoError::Missing(_)
            | MetainfoError::WrongType { .. }
            | MetainfoError::PieceLength(_)
            | MetainfoError::NewPieceLength(_)
            | MetainfoError::PiecesLength(_)
            | MetainfoError::TooManyPieces(_)
            | MetainfoError::PieceCount { .. }
            | MetainfoError::NoFiles
            | MetainfoError::TooManyFiles(_)
            | MetainfoError::FileLength { .. }
            | MetainfoError::LengthOverflow { .. }
            | MetainfoError::UnsafePath { .. }
            | MetainfoError::Tracker(_)
            | MetainfoError::WebSeed(_)
            | MetainfoError::TooManyWebSeeds(_) => Reason::BadMetainfo,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<MagnetError> for Refusal {
    fn from(error: MagnetError) -> Self {
        match error {
            MagnetError::V2Only => MetainfoError::V2Only.into(),
            MagnetError::NoMagnet
            | MagnetError::TooLong(_)
            | MagnetError::NoTopic
            | MagnetError::Hash(_)
            | MagnetError::TwoTopics(..) => Self::field("magnet", error.to_string()),
        }
    }
}

impl From<UnknownChunk> for Refusal {
    fn from(error: UnknownChunk) -> Self {
        Self::new(Reason::UnknownChunk, error.to_string())
            .with("chunk", error.name)
            .with_some("suggestion", error.suggestion)
    }
}

impl From<UnknownFile> for Refusal {
    fn from(error: UnknownFile) -> Self {
        Self::new(Reason::UnknownFile, error.to_string())
            .with("file", error.name)
            .with_some("suggestion", error.suggestion)
    }
}

/// `text`, cut at a character's border to at most `len_max` bytes.
pub(super) fn cut(mut text: String, len_max: usize) -> String {
    if text.len() > len_max {
        text.truncate(text.floor_char_boundary(len_max - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::SocketAddr};

    use shoal_core::ids::{InfoHash, JobId};

    use super::*;

    fn addr() -> SocketAddr {
        "10.0.0.2:7000".parse().unwrap()
    }

    #[test]
    fn reasons_are_screaming_and_each_is_its_own() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
        }
        assert!(Reason::ALL.iter().all(|reason| reason.code() != Code::Ok));
    }

    /// One of every variant: the match in `From` is exhaustive, this holds what it answers.
    #[test]
    fn every_command_error_has_its_code_and_reason() {
        use CommandError as E;
        let (s, names) = (|| "x".to_owned(), vec!["a.part1".to_owned()]);
        let table = [
            (E::UnknownTorrent, Code::NotFound, "UNKNOWN_TORRENT"),
            (E::TorrentExists(InfoHash([1; 20])), Code::AlreadyExists, "TORRENT_EXISTS"),
            (
                E::UnknownPeer { addr: addr(), suggestion: Some(addr()) },
                Code::NotFound,
                "UNKNOWN_PEER",
            ),
            (E::PeerNotConnected(addr()), Code::FailedPrecondition, "PEER_NOT_CONNECTED"),
            (E::OwnAddress(addr()), Code::InvalidArgument, "OWN_ADDRESS"),
            (E::PeerBanned(addr()), Code::FailedPrecondition, "PEER_BANNED"),
            (
                E::PeerLacksChunk { addr: addr(), chunk: s() },
                Code::FailedPrecondition,
                "PEER_LACKS_CHUNK",
            ),
            (E::ChunkBusy(s()), Code::FailedPrecondition, "CHUNK_BUSY"),
            (
                E::PeerUnreachable { addr: addr(), cause: s() },
                Code::Unavailable,
                "PEER_UNREACHABLE",
            ),
            (E::PeerLost { addr: addr(), cause: s() }, Code::Unavailable, "PEER_LOST"),
            (E::NoTracker, Code::FailedPrecondition, "NO_TRACKER"),
            (
                E::TrackerUnreachable { url: s(), cause: s() },
                Code::Unavailable,
                "TRACKER_UNREACHABLE",
            ),
            (
                E::TrackerRefused { url: s(), reason: s() },
                Code::FailedPrecondition,
                "TRACKER_REFUSED",
            ),
            (E::TrackerNotConnected, Code::FailedPrecondition, "TRACKER_NOT_CONNECTED"),
            (E::Paused, Code::FailedPrecondition, "PAUSED"),
            (E::HasQuit, Code::FailedPrecondition, "HAS_QUIT"),
            (E::InError(s()), Code::FailedPrecondition, "IN_ERROR"),
            (
                E::TooManyConnections { addr: addr(), setting: "connections", limit: 1 },
                Code::ResourceExhausted,
                "TOO_MANY_CONNECTIONS",
            ),
            (
                E::MergeIncomplete { file: s(), missing: 1, names: names.clone() },
                Code::FailedPrecondition,
                "MERGE_INCOMPLETE",
            ),
            (E::MergeExists { path: s() }, Code::AlreadyExists, "MERGE_EXISTS"),
            (E::DiskFull(s()), Code::ResourceExhausted, "DISK_FULL"),
            (E::Disk(s()), Code::Internal, "DISK_ERROR"),
            (E::BadChunk(s()), Code::Aborted, "BAD_CHUNK"),
            (E::Unavailable { missing: 1, names }, Code::FailedPrecondition, "CHUNKS_UNAVAILABLE"),
            (E::UnknownJob(JobId(1)), Code::NotFound, "UNKNOWN_JOB"),
            (E::JobEnded(JobId(1)), Code::FailedPrecondition, "JOB_ENDED"),
            (E::Cancelled, Code::Aborted, "JOB_CANCELLED"),
            (E::Checking, Code::FailedPrecondition, "CHECKING"),
            (E::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
        ];
        for (error, code, reason) in table {
            let message = error.to_string();
            let status = Status::from(Refusal::from(error));
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{message}");
            assert_eq!(info.domain, "shoal");
            assert!(status.message().starts_with(&message), "{}", status.message());
        }
    }

    #[test]
    fn a_malformed_field_is_named_in_bad_request() {
        let status = Status::from(Refusal::field("peer.port", "0 is not 1-65535"));
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(violations[0].field, "peer.port");
        assert_eq!(details.error_info().unwrap().reason, "BAD_ARGUMENT");
    }

    #[test]
    fn suggestions_travel_as_metadata() {
        let error = UnknownChunk { name: "f.prat1".into(), suggestion: Some("f.part1".into()) };
        let details = Status::from(Refusal::from(error)).get_error_details();
        let metadata = &details.error_info().unwrap().metadata;
        assert_eq!(metadata["suggestion"], "f.part1");
        let v2 = Status::from(Refusal::from(MetainfoError::V2Only));
        assert_eq!(v2.get_error_details().error_info().unwrap().reason, "V2_ONLY");
    }

    #[test]
    fn a_status_fits_into_headers() {
        let refusal = Refusal::new(Reason::MergeIncomplete, "é".repeat(5000));
        let refusal = refusal.with("chunks", "é".repeat(5000));
        assert!(refusal.metadata["chunks"].len() <= VALUE_LEN_MAX);
        let status = Status::from(refusal);
        assert!(status.message().len() <= MESSAGE_LEN_MAX && status.message().ends_with('…'));
        assert!(status.details().len() < 8192);
    }
}
