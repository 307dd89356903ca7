//! Reads metainfo files (BEP 3, 12, 19, 27, 47). Every value is checked against the limits and an
//! error names the offender. The info hash is over the original bytes of `info`, never over a
//! re-encoding.

use sha1::{Digest, Sha1};

use crate::{
    bencode::{self, Dict, Value},
    config::{
        COMMENT_LEN_MAX, FILES_MAX, FOREIGN_PIECE_LEN_MAX, METAINFO_LEN_MAX, PIECE_LEN_MIN,
        PIECES_MAX, TRACKERS_MAX, URL_LEN_MAX,
    },
    ids::InfoHash,
    metainfo::{File, FileKind, Layout, Metainfo, error::MetainfoError, paths, web_seeds},
};

/// The folder of padding files (BEP 47), for those too that have no path of their own.
pub(crate) const PAD_DIR: &str = ".pad";
/// What names of padding files hold that are older than BEP 47 (BitComet's).
const BITCOMET_PAD: &str = "_____padding_file_";

impl Metainfo {
    /// Reads a metainfo file. What follows the bencoded dictionary is ignored, as are keys that
    /// nobody knows, tracker URLs that are not text or too long, and those beyond
    /// [`TRACKERS_MAX`]; web seeds alike, and those that are not HTTP.
    ///
    /// # Errors
    /// [`MetainfoError`] naming the key, the value or the path.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.len() as u64 > METAINFO_LEN_MAX {
            return Err(MetainfoError::TooLarge(bytes.len() as u64));
        }
        let (root, _) = bencode::decode_prefix(bytes)?;
        let root = root.as_dict().ok_or(wrong_type("metainfo", "dictionary", &root))?;
        let info = dict(root, "info")?.ok_or(MetainfoError::Missing("info"))?;
        let mut metainfo = Self::from_info(info)?;
        metainfo.trackers = trackers(root);
        metainfo.web_seeds = web_seeds::listed(root.get("url-list"));
        metainfo.comment = text(root, "comment.utf-8").or_else(|| text(root, "comment"));
        metainfo.created_by = text(root, "created by");
        metainfo.created_unix = root.get("creation date").and_then(Value::as_int);
        Ok(metainfo)
    }

    /// Reads an `info` dictionary alone, as BEP 9 carries it: a torrent without trackers.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_info(info_bytes: &[u8]) -> Result<Self, MetainfoError> {
        if info_bytes.len() as u64 > METAINFO_LEN_MAX {
            return Err(MetainfoError::TooLarge(info_bytes.len() as u64));
        }
        let info = bencode::decode(info_bytes)?;
        Self::from_info(info.as_dict().ok_or(wrong_type("info", "dictionary", &info))?)
    }

    fn from_info(info: &Dict<'_>) -> Result<Self, MetainfoError> {
        let Some(hashes) = bytes(info, "pieces")? else {
            let is_v2 = info.get("meta version").is_some() || info.get("file tree").is_some();
            return Err(if is_v2 {
                MetainfoError::V2Only
            } else {
                MetainfoError::Missing("pieces")
            });
        };
        let name = match info.get("name.utf-8").and_then(Value::as_bytes) {
            Some(name) => name,
            None => bytes(info, "name")?.ok_or(MetainfoError::Missing("name"))?,
        };
        let name = paths::component(name);
        paths::check(std::slice::from_ref(&name))?;
        let piece_len = piece_len(info)?;
        let (mut files, is_multi) = match list(info, "files")? {
            Some(entries) => (multiple(entries)?, true),
            None => (vec![single(info, &name)?], false),
        };
        paths::part(&mut files);
        let by_path = paths::order(&files)?;
        let spans = files.iter().map(|file| (file.len, file.kind == FileKind::Pad));
        let layout = Layout::new(piece_len, spans);
        Ok(Self {
            info_hash: InfoHash(Sha1::digest(info.raw()).into()),
            pieces: pieces(hashes, piece_len, layout.total_len())?,
            private: info.get("private").and_then(Value::as_int).is_some_and(|int| int != 0),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_by: None,
            created_unix: None,
            info_bytes: info.raw().to_vec(),
            name,
            piece_len,
            files,
            is_multi,
            layout,
            by_path,
        })
    }
}

fn piece_len(info: &Dict<'_>) -> Result<u32, MetainfoError> {
    let len = int(info, "piece length")?.ok_or(MetainfoError::Missing("piece length"))?;
    match u32::try_from(len) {
        Ok(len) if (PIECE_LEN_MIN..=FOREIGN_PIECE_LEN_MAX).contains(&len) => Ok(len),
        _ => Err(MetainfoError::PieceLength(len)),
    }
}

fn pieces(hashes: &[u8], piece_len: u32, total_len: u64) -> Result<Vec<[u8; 20]>, MetainfoError> {
    let (pieces, rest) = hashes.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(MetainfoError::PiecesLength(hashes.len()));
    }
    let expected = total_len.div_ceil(u64::from(piece_len));
    let most = expected.max(pieces.len() as u64);
    if most > u64::from(PIECES_MAX) {
        return Err(MetainfoError::TooManyPieces(most));
    }
    if pieces.len() as u64 != expected {
        return Err(MetainfoError::PieceCount { got: pieces.len(), expected, total_len });
    }
    Ok(pieces.to_vec())
}

fn single(info: &Dict<'_>, name: &str) -> Result<File, MetainfoError> {
    let path = vec![name.to_owned()];
    let (kind, len) = match attributes(info) {
        FileKind::Symlink => (FileKind::Symlink, 0),
        // Somebody shares it.
        FileKind::Regular | FileKind::Pad => (FileKind::Regular, length(info)?),
    };
    Ok(File { len: file_len(&path, len)?, path, offset: 0, kind })
}

fn multiple(entries: &[Value<'_>]) -> Result<Vec<File>, MetainfoError> {
    match entries.len() {
        0 => return Err(MetainfoError::NoFiles),
        count if count > FILES_MAX => return Err(MetainfoError::TooManyFiles(count)),
        _ => {}
    }
    let mut files: Vec<File> = Vec::with_capacity(entries.len());
    for entry in entries {
        let dict = entry.as_dict().ok_or(wrong_type("files", "list of dictionaries", entry))?;
        let offset = files.last().map_or(0, File::end);
        let file = file(dict, offset)?;
        if file.offset.checked_add(file.len).is_none() {
            return Err(MetainfoError::LengthOverflow { path: paths::shown(&file.path) });
        }
        files.push(file);
    }
    Ok(files)
}

fn file(entry: &Dict<'_>, offset: u64) -> Result<File, MetainfoError> {
    let kind = attributes(entry);
    let components = match entry.get("path.utf-8").and_then(Value::as_list) {
        Some(components) => Some(components),
        None => list(entry, "path")?,
    };
    let path = match components {
        Some(components) => path(components)?,
        None if kind == FileKind::Pad => vec![PAD_DIR.to_owned(), length(entry)?.to_string()],
        None => return Err(MetainfoError::Missing("path")),
    };
    paths::check(&path)?;
    let is_pad = kind == FileKind::Regular && path.iter().any(|part| part.contains(BITCOMET_PAD));
    let (kind, len) = match kind {
        // BEP 47: a symlink has no bytes, whatever length it states.
        FileKind::Symlink => (kind, 0),
        FileKind::Regular if is_pad => (FileKind::Pad, length(entry)?),
        FileKind::Regular | FileKind::Pad => (kind, length(entry)?),
    };
    Ok(File { len: file_len(&path, len)?, path, offset, kind })
}

fn path(components: &[Value<'_>]) -> Result<Vec<String>, MetainfoError> {
    let raw = components.iter().map(|component| {
        component.as_bytes().ok_or(wrong_type("path", "list of strings", component))
    });
    let path = raw.map(|raw| raw.map(paths::component)).collect::<Result<Vec<_>, _>>()?;
    Ok(paths::tidy(path))
}

/// What a file is by its attributes (BEP 47).
fn attributes(entry: &Dict<'_>) -> FileKind {
    match entry.get("attr").and_then(Value::as_bytes).unwrap_or_default() {
        attributes if attributes.contains(&b'l') => FileKind::Symlink,
        attributes if attributes.contains(&b'p') => FileKind::Pad,
        _ => FileKind::Regular,
    }
}

fn length(entry: &Dict<'_>) -> Result<i64, MetainfoError> {
    int(entry, "length")?.ok_or(MetainfoError::Missing("length"))
}

fn file_len(path: &[String], len: i64) -> Result<u64, MetainfoError> {
    u64::try_from(len).map_err(|_| MetainfoError::FileLength { path: paths::shown(path), len })
}

/// The tiers of `announce-list`; where it names nobody, `announce` alone.
fn trackers(root: &Dict<'_>) -> Vec<Vec<String>> {
    let mut room = TRACKERS_MAX;
    let mut take = |urls: &mut dyn Iterator<Item = &Value<'_>>| {
        let urls = urls.filter_map(Value::as_str).map(str::trim);
        let urls = urls.filter(|url| !url.is_empty() && url.len() <= URL_LEN_MAX);
        let tier: Vec<String> = urls.take(room).map(str::to_owned).collect();
        room -= tier.len();
        tier
    };
    let tiers = root.get("announce-list").and_then(Value::as_list).unwrap_or_default();
    let tiers = tiers.iter().filter_map(Value::as_list).map(|tier| take(&mut tier.iter()));
    let listed: Vec<_> = tiers.filter(|tier| !tier.is_empty()).collect();
    if !listed.is_empty() {
        return listed;
    }
    let alone = take(&mut root.get("announce").into_iter());
    if alone.is_empty() { Vec::new() } else { vec![alone] }
}

/// A free text, made valid and cut to [`COMMENT_LEN_MAX`] bytes.
fn text(dict: &Dict<'_>, key: &str) -> Option<String> {
    let raw = dict.get(key)?.as_bytes()?;
    let mut text = String::from_utf8_lossy(&raw[..raw.len().min(COMMENT_LEN_MAX)]).into_owned();
    text.truncate(text.floor_char_boundary(COMMENT_LEN_MAX.min(text.len())));
    Some(text)
}

fn bytes<'a>(dict: &Dict<'a>, key: &'static str) -> Result<Option<&'a [u8]>, MetainfoError> {
    typed(dict, key, "string", Value::as_bytes)
}

fn int(dict: &Dict<'_>, key: &'static str) -> Result<Option<i64>, MetainfoError> {
    typed(dict, key, "integer", Value::as_int)
}

fn list<'d, 'a>(
    dict: &'d Dict<'a>,
    key: &'static str,
) -> Result<Option<&'d [Value<'a>]>, MetainfoError> {
    typed(dict, key, "list", Value::as_list)
}

fn dict<'d, 'a>(
    dict: &'d Dict<'a>,
    key: &'static str,
) -> Result<Option<&'d Dict<'a>>, MetainfoError> {
    typed(dict, key, "dictionary", Value::as_dict)
}

/// The value of a key that may be absent, but not of another type.
fn typed<'d, 'a, T>(
    dict: &'d Dict<'a>,
    key: &'static str,
    expected: &'static str,
    read: impl Fn(&'d Value<'a>) -> Option<T>,
) -> Result<Option<T>, MetainfoError> {
    let Some(value) = dict.get(key) else { return Ok(None) };
    read(value).map(Some).ok_or(wrong_type(key, expected, value))
}

fn wrong_type(key: &'static str, expected: &'static str, found: &Value<'_>) -> MetainfoError {
    MetainfoError::WrongType { key, expected, found: found.type_name() }
}
