//! Makes metainfo files: a plan from names and lengths, then the file from the hashes of the
//! pieces. Padding after BEP 47. Never here: reading or hashing the content.

use crate::{
    bencode::Item,
    config::{
        AUTO_PIECES_MAX, FILES_MAX, METAINFO_LEN_MAX, PIECE_LEN_DEFAULT, PIECE_LEN_MAX,
        PIECE_LEN_MIN, PIECES_MAX, URL_LEN_MAX, WEB_SEEDS_MAX,
    },
    metainfo::{File, FileKind, Layout, error::MetainfoError, parse::PAD_DIR, paths, web_seeds},
};

/// What a torrent is to be made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateOptions {
    /// The name of the file or of the folder: one path component.
    pub name: String,
    /// The file, or the files in the order of their bytes.
    pub content: Content,
    /// Bytes, a power of two within 16 KiB–16 MiB; `None`: [`auto_piece_len`].
    pub piece_len: Option<u32>,
    /// Whether files begin at a piece.
    pub pad: Pad,
    /// Whether peers may come from its trackers only (BEP 27).
    pub private: bool,
    /// Tracker URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// URLs of HTTP servers that have the content (BEP 19).
    pub web_seeds: Vec<String>,
    /// A free text.
    pub comment: Option<String>,
    /// When it is made, seconds since 1970.
    pub created_unix: Option<i64>,
}

/// The content of a torrent to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// One file, called as the torrent.
    Single {
        /// Bytes.
        len: u64,
    },
    /// A folder of files, called as the torrent.
    Multi(Vec<NewFile>),
}

/// A file of a torrent to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFile {
    /// Components, without the torrent's name.
    pub path: Vec<String>,
    /// Bytes.
    pub len: u64,
}

/// Whether padding is put between files, so that no piece spans two of them. There is none after
/// the last file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pad {
    /// Where all the padding together is at most 2 % of the content.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A torrent to be made, all but the hashes of its pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    options: CreateOptions,
    files: Vec<File>,
    layout: Layout,
}

/// Padding of at most one part in so many is put in by [`Pad::Auto`].
const AUTO_PAD_SHARE: u64 = 50;
/// What we call ourselves in `created by`.
const CREATED_BY: &str = concat!("shoal/", env!("CARGO_PKG_VERSION"));

/// The piece length for so much content: 512 KiB, doubled while there would be more than 100 000
/// pieces, at most 16 MiB.
#[must_use]
pub fn auto_piece_len(total_len: u64) -> u32 {
    let mut len = PIECE_LEN_DEFAULT;
    while len < PIECE_LEN_MAX && total_len.div_ceil(u64::from(len)) > u64::from(AUTO_PIECES_MAX) {
        len *= 2;
    }
    len
}

impl Plan {
    /// Plans a torrent: its final files with padding, and its layout.
    ///
    /// # Errors
    /// [`MetainfoError`]: `UnsafePath`, `NoFiles`, `TooManyFiles` (padding included),
    /// `LengthOverflow`, `NewPieceLength`, `TooManyPieces`, `Tracker`, `WebSeed`,
    /// `TooManyWebSeeds`, and `TooLarge` where nobody
    /// would read the file.
    pub fn new(options: CreateOptions) -> Result<Self, MetainfoError> {
        paths::check(std::slice::from_ref(&options.name))?;
        let urls = options.trackers.iter().flatten();
        if let Some(url) = urls.clone().find(|url| url.is_empty() || url.len() > URL_LEN_MAX) {
            return Err(MetainfoError::Tracker(url.chars().take(128).collect()));
        }
        if let Some(url) = options.web_seeds.iter().find(|url| !web_seeds::is_url(url)) {
            return Err(MetainfoError::WebSeed(url.chars().take(128).collect()));
        }
        if options.web_seeds.len() > WEB_SEEDS_MAX {
            return Err(MetainfoError::TooManyWebSeeds(options.web_seeds.len()));
        }
        let files = plain_files(&options)?;
        let content_len = files.last().map_or(0, File::end);
        let piece_len = options.piece_len.unwrap_or_else(|| auto_piece_len(content_len));
        if !piece_len.is_power_of_two() || !(PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&piece_len) {
            return Err(MetainfoError::NewPieceLength(piece_len));
        }
        let most = u64::from(PIECES_MAX);
        let count = |len: u64| match len.div_ceil(u64::from(piece_len)) {
            count if count > most => Err(MetainfoError::TooManyPieces(count)),
            count => Ok(count),
        };
        // Before padding is counted: content of so few pieces is far from an overflow.
        count(content_len)?;
        paths::order(&files)?;
        let files = match options.pad {
            Pad::Never => files,
            Pad::Always => padded(files, piece_len),
            Pad::Auto => match padding_of(&files, piece_len) {
                (count, _) if files.len() + count > FILES_MAX => files,
                (_, len) if len > content_len / AUTO_PAD_SHARE => files,
                _ => padded(files, piece_len),
            },
        };
        if files.len() > FILES_MAX {
            return Err(MetainfoError::TooManyFiles(files.len()));
        }
        let spans = files.iter().map(|file| (file.len, file.kind == FileKind::Pad));
        let layout = Layout::new(piece_len, spans);
        let pieces = count(layout.total_len())?;
        let plan = Self { options, files, layout };
        // Known before anything is hashed: the hashes, and the digits of their length.
        match plan.encode(&[]).len() as u64 + 20 * pieces + 8 {
            len if len > METAINFO_LEN_MAX => Err(MetainfoError::TooLarge(len)),
            _ => Ok(plan),
        }
    }

    /// The files in the order of their bytes, padding among them.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Which bytes lie where: what is to be hashed.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The metainfo file, from the SHA-1 of each piece. The same plan and hashes give the same
    /// bytes.
    ///
    /// # Errors
    /// [`MetainfoError::PieceCount`] unless there are as many hashes as pieces.
    pub fn finish(&self, hashes: &[[u8; 20]]) -> Result<Vec<u8>, MetainfoError> {
        let expected = u64::from(self.layout.piece_count());
        if hashes.len() as u64 == expected {
            return Ok(self.encode(hashes.as_flattened()));
        }
        let total_len = self.layout.total_len();
        Err(MetainfoError::PieceCount { got: hashes.len(), expected, total_len })
    }

    fn encode(&self, hashes: &[u8]) -> Vec<u8> {
        let mut entries = vec![("info", self.info(hashes))];
        let options = &self.options;
        let tiers: Vec<_> = options.trackers.iter().filter(|tier| !tier.is_empty()).collect();
        entries.extend(tiers.first().map(|tier| ("announce", Item::from(&tier[0]))));
        if tiers.iter().map(|tier| tier.len()).sum::<usize>() > 1 {
            let list = Item::list(tiers.iter().map(|tier| Item::list(tier.iter())));
            entries.push(("announce-list", list));
        }
        if !options.web_seeds.is_empty() {
            entries.push(("url-list", Item::list(options.web_seeds.iter())));
        }
        entries.extend(options.comment.as_ref().map(|text| ("comment", Item::from(text))));
        entries.extend(options.created_unix.map(|time| ("creation date", Item::Int(time))));
        entries.push(("created by", Item::from(CREATED_BY)));
        Item::dict(entries).encode()
    }

    fn info<'a>(&'a self, hashes: &'a [u8]) -> Item<'a> {
        let mut info = vec![
            ("name", Item::from(&self.options.name)),
            ("piece length", Item::from(self.layout.piece_len())),
            ("pieces", Item::from(hashes)),
        ];
        if self.options.private {
            info.push(("private", Item::Int(1)));
        }
        info.push(match self.options.content {
            Content::Single { len } => ("length", Item::from(len)),
            Content::Multi(_) => ("files", Item::list(self.files.iter().map(file_item))),
        });
        Item::dict(info)
    }
}

fn file_item(file: &File) -> Item<'_> {
    let attributes = (file.kind == FileKind::Pad).then(|| ("attr", Item::from("p")));
    let length = ("length", Item::from(file.len));
    let path = ("path", Item::list(file.path.iter()));
    Item::dict([length, path].into_iter().chain(attributes))
}

/// The files as they were given, with their offsets.
fn plain_files(options: &CreateOptions) -> Result<Vec<File>, MetainfoError> {
    let given = match &options.content {
        Content::Single { len } => vec![(vec![options.name.clone()], *len)],
        Content::Multi(files) => files.iter().map(|file| (file.path.clone(), file.len)).collect(),
    };
    match given.len() {
        0 => return Err(MetainfoError::NoFiles),
        count if count > FILES_MAX => return Err(MetainfoError::TooManyFiles(count)),
        _ => {}
    }
    let mut files = Vec::with_capacity(given.len());
    let mut offset: u64 = 0;
    for (path, len) in given {
        paths::check(&path)?;
        // Bencoded integers are signed.
        let end = offset.checked_add(len).filter(|end| i64::try_from(*end).is_ok());
        let overflow = || MetainfoError::LengthOverflow { path: paths::shown(&path) };
        let end = end.ok_or_else(overflow)?;
        files.push(File { path, len, offset, kind: FileKind::Regular });
        offset = end;
    }
    Ok(files)
}

/// How many zeros align what follows the given length.
fn pad_after(len: u64, piece_len: u32) -> u64 {
    len.next_multiple_of(u64::from(piece_len)) - len
}

/// How many pad files there would be, and their bytes: one after each file that another one with
/// bytes follows and that does not end with a piece.
fn padding_of(files: &[File], piece_len: u32) -> (usize, u64) {
    let last = files.iter().rposition(|file| file.len > 0).unwrap_or(0);
    let pads = files[..last].iter().map(|file| pad_after(file.len, piece_len));
    pads.filter(|len| *len > 0).fold((0, 0), |(count, sum), len| (count + 1, sum + len))
}

fn padded(files: Vec<File>, piece_len: u32) -> Vec<File> {
    let last = files.iter().rposition(|file| file.len > 0).unwrap_or(0);
    let mut padded = Vec::with_capacity(files.len());
    let mut offset = 0;
    for (index, mut file) in files.into_iter().enumerate() {
        file.offset = offset;
        offset += file.len;
        let len = if index < last { pad_after(file.len, piece_len) } else { 0 };
        padded.push(file);
        if len > 0 {
            let path = vec![PAD_DIR.to_owned(), len.to_string()];
            padded.push(File { path, len, offset, kind: FileKind::Pad });
            offset += len;
        }
    }
    padded
}

#[cfg(test)]
mod tests;
