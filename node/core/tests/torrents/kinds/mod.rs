//! Odd torrent files, one of each kind, made in code, and what becomes of them: here, and where
//! libtorrent differs, there. `node/core/tests/torrents` checks our column, `tests/interop` the other.

mod build;
mod extras;
mod names;
mod sizes;
mod syntax;

use shoal_core::metainfo::FileKind;

pub(crate) use build::Torrent;

/// One kind.
pub(crate) struct Odd {
    /// What is odd about it.
    pub(crate) kind: &'static str,
    pub(crate) torrent: Torrent,
    pub(crate) ours: Ours,
    pub(crate) libtorrent: Libtorrent,
}

/// What we make of it.
pub(crate) enum Ours {
    Opens {
        name: String,
        files: Vec<Entry>,
        private: bool,
        trackers: Vec<Vec<String>>,
    },
    /// The name of the error's variant, and what its message holds.
    Refuses {
        variant: &'static str,
        message: &'static str,
    },
}

/// A file of a torrent, its path with `/` between its components.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) len: u64,
    pub(crate) kind: FileKind,
}

/// What libtorrent makes of it. Each difference has its reason.
#[derive(Clone, Copy)]
pub(crate) enum Libtorrent {
    /// Refuses it as well, or opens it with the same info hash, name and files. The paths of
    /// padding may differ: it is never on a disk.
    Agrees,
    /// Opens it with the same info hash, but other names or kinds of files.
    NamesOtherwise(&'static str),
    /// Opens what we refuse.
    Opens(&'static str),
    /// Refuses what we open.
    Refuses(&'static str),
}

impl Libtorrent {
    /// Why it differs; `None` where it does not.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Agrees => None,
            Self::NamesOtherwise(reason) | Self::Opens(reason) | Self::Refuses(reason) => {
                Some(reason)
            }
        }
    }
}

/// Our limits: pieces of 16 KiB to 64 MiB, files of 16 MiB, names and paths that file systems hold,
/// 64 levels, numbers of 64 bits.
const LIMIT: &str = "beyond our limits";
/// libtorrent leaves out what is dangerous.
const UNSAFE: &str = "paths that lead out of their folder are refused, not mended";
const RESERVED: &str = "the folder of the chunk memory is ours";
const LINK: &str = "symlink entries are listed as such, never created";
const HYBRID: &str = "a hybrid opens as v1, whatever its other half says";
const V2_ONLY: &str = "v2-only torrents are refused as such";
const EMPTY: &str = "an empty file or folder can be shared";
/// libtorrent takes out separators of any system, control characters and those that turn the
/// direction of writing, and tells no capitals from small letters.
const KEPT: &str = "what a file system can hold is kept as written: what is shared is found";
/// libtorrent writes `_`.
const DISTINCT: &str = "names that are not UTF-8 stay different from each other";
const CONTENT: &str = "the one file of a torrent is content";

/// Every kind.
pub(crate) fn all() -> Vec<Odd> {
    [syntax::kinds(), names::kinds(), sizes::kinds(), extras::kinds()]
        .into_iter()
        .flatten()
        .collect()
}

impl Odd {
    /// One that opens.
    fn opens(kind: &'static str, torrent: Torrent, name: &str, files: Vec<Entry>) -> Self {
        let (private, trackers) = (false, Vec::new());
        let ours = Ours::Opens { name: name.to_owned(), files, private, trackers };
        Self { kind, torrent, ours, libtorrent: Libtorrent::Agrees }
    }

    /// One that opens as [`build::single`] without changes does.
    fn plain(kind: &'static str, torrent: Torrent) -> Self {
        Self::opens(kind, torrent, "a.bin", vec![file("a.bin", 5)])
    }

    /// One whose only file, of five bytes, has this name.
    fn named(kind: &'static str, torrent: Torrent, name: &str) -> Self {
        Self::opens(kind, torrent, name, vec![file(name, 5)])
    }

    /// One that opens as the folder `album` with files of a byte each at these paths.
    fn album(kind: &'static str, torrent: Torrent, paths: &[&str]) -> Self {
        Self::opens(kind, torrent, "album", paths.iter().map(|path| file(path, 1)).collect())
    }

    /// One that is refused.
    fn refused(
        kind: &'static str,
        torrent: Torrent,
        variant: &'static str,
        message: &'static str,
    ) -> Self {
        let ours = Ours::Refuses { variant, message };
        Self { kind, torrent, ours, libtorrent: Libtorrent::Agrees }
    }

    fn private(mut self) -> Self {
        if let Ours::Opens { private, .. } = &mut self.ours {
            *private = true;
        }
        self
    }

    fn trackers(mut self, tiers: &[&[&str]]) -> Self {
        if let Ours::Opens { trackers, .. } = &mut self.ours {
            *trackers =
                tiers.iter().map(|t| t.iter().map(|&url| url.to_owned()).collect()).collect();
        }
        self
    }

    /// Where libtorrent differs.
    fn but(self, libtorrent: Libtorrent) -> Self {
        Self { libtorrent, ..self }
    }
}

fn file(path: &str, len: u64) -> Entry {
    Entry { path: path.to_owned(), len, kind: FileKind::Regular }
}

fn pad(path: &str, len: u64) -> Entry {
    Entry { path: path.to_owned(), len, kind: FileKind::Pad }
}

fn link(path: &str) -> Entry {
    Entry { path: path.to_owned(), len: 0, kind: FileKind::Symlink }
}
