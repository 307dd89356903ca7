//! Why a metainfo file is refused, or cannot be made.

use crate::{
    bencode::DecodeError,
    config::{
        COMPONENT_LEN_MAX, FILES_MAX, FOREIGN_PIECE_LEN_MAX, METAINFO_LEN_MAX, PATH_DEPTH_MAX,
        PATH_LEN_MAX, PIECE_LEN_MAX, PIECE_LEN_MIN, PIECES_MAX, URL_LEN_MAX, WEB_SEEDS_MAX,
    },
};

/// A metainfo file that is refused, or the wish for one that cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetainfoError {
    /// Larger than [`METAINFO_LEN_MAX`].
    #[error("metainfo of {0} bytes where at most {METAINFO_LEN_MAX} are read")]
    TooLarge(u64),
    /// Not bencoded.
    #[error("not a metainfo file: {0}")]
    Bencode(#[from] DecodeError),
    /// A key that every torrent needs is not there.
    #[error("metainfo without {0:?}")]
    Missing(&'static str),
    /// A key has a value of another type.
    #[error("{key:?} is of type {found} where {expected} is needed")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The type needed.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A v2-only torrent (BEP 52).
    #[error("v2-only torrents are not supported; a hybrid torrent opens as v1")]
    V2Only,
    /// The piece length of a foreign torrent is out of bounds.
    #[error("piece length {0} is not within {PIECE_LEN_MIN}..={FOREIGN_PIECE_LEN_MAX}")]
    PieceLength(i64),
    /// The piece length asked for is not one that we create.
    #[error("piece length {0} is not a power of two within {PIECE_LEN_MIN}..={PIECE_LEN_MAX}")]
    NewPieceLength(u32),
    /// `pieces` is no row of SHA-1 sums.
    #[error("\"pieces\" is {0} bytes long, not a multiple of 20")]
    PiecesLength(usize),
    /// More than [`PIECES_MAX`] pieces.
    #[error("{0} pieces where at most {PIECES_MAX} are allowed")]
    TooManyPieces(u64),
    /// As many hashes as pieces are needed.
    #[error("{got} piece hashes where {total_len} bytes need {expected}")]
    PieceCount {
        /// Hashes there.
        got: usize,
        /// Hashes needed.
        expected: u64,
        /// Bytes of all files.
        total_len: u64,
    },
    /// A multi-file torrent without files.
    #[error("a torrent without files")]
    NoFiles,
    /// More than [`FILES_MAX`] files.
    #[error("{0} files where at most {FILES_MAX} are allowed")]
    TooManyFiles(usize),
    /// A file of a negative length.
    #[error("file {path:?} has the length {len}")]
    FileLength {
        /// The file.
        path: String,
        /// Its length.
        len: i64,
    },
    /// The lengths add up to more than 64 bits.
    #[error("the lengths of the files overflow at {path:?}")]
    LengthOverflow {
        /// The file.
        path: String,
    },
    /// A path that is not safe.
    #[error("unsafe path {path:?}: {fault}")]
    UnsafePath {
        /// The path as far as it can be shown.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// Tracker URLs that cannot be written.
    #[error("tracker {0:?} is empty or too long")]
    Tracker(String),
    /// A web seed that cannot be written.
    #[error("web seed {0:?} is no HTTP or HTTPS URL of at most {URL_LEN_MAX} bytes")]
    WebSeed(String),
    /// More than [`WEB_SEEDS_MAX`] web seeds.
    #[error("{0} web seeds where at most {WEB_SEEDS_MAX} are allowed")]
    TooManyWebSeeds(usize),
}

/// What is wrong with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathFault {
    /// No components.
    #[error("it is empty")]
    Empty,
    /// It begins at the root.
    #[error("it is absolute")]
    Absolute,
    /// A component without characters.
    #[error("it has an empty component")]
    EmptyComponent,
    /// `.` or `..`
    #[error("it has a component . or ..")]
    Dots,
    /// A separator or NUL within a component.
    #[error("a component has a character that is not allowed in file names")]
    Character,
    /// `.shoal` at the top, where the chunk memory is.
    #[error("its first component is .shoal")]
    Reserved,
    /// A component beyond [`COMPONENT_LEN_MAX`].
    #[error("a component is longer than {COMPONENT_LEN_MAX} bytes")]
    ComponentTooLong,
    /// More than [`PATH_DEPTH_MAX`] components.
    #[error("it has more than {PATH_DEPTH_MAX} components")]
    TooDeep,
    /// Beyond [`PATH_LEN_MAX`].
    #[error("it is longer than {PATH_LEN_MAX} bytes")]
    TooLong,
    /// Another file has the same path.
    #[error("another file has the same path")]
    Duplicate,
    /// Another file lies below it, as though it were a folder.
    #[error("it is a file and a folder")]
    FileAndFolder,
}
