//! Writes bencoded data as it stands, right or wrong: nothing is sorted or checked.

/// A metainfo file, and the bytes of its `info`; empty where it has none.
pub(crate) struct Torrent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) info: Vec<u8>,
}

/// An entry of a dictionary.
pub(crate) type Pair = (&'static str, Vec<u8>);

/// A byte string.
pub(crate) fn s(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{}:", text.len()).as_bytes(), text].concat()
}

/// An integer.
pub(crate) fn i(number: i64) -> Vec<u8> {
    digits(&number.to_string())
}

/// An integer of these digits, or what stands in their place.
pub(crate) fn digits(digits: &str) -> Vec<u8> {
    format!("i{digits}e").into_bytes()
}

/// A list.
pub(crate) fn l(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let items: Vec<u8> = items.into_iter().flatten().collect();
    [b"l", &items[..], b"e"].concat()
}

/// A dictionary with its keys in this order.
pub(crate) fn d(pairs: impl IntoIterator<Item = Pair>) -> Vec<u8> {
    let pairs = pairs.into_iter().flat_map(|(key, value)| [s(key), value].concat());
    let pairs: Vec<u8> = pairs.collect();
    [b"d", &pairs[..], b"e"].concat()
}

/// As many SHA-1 sums.
pub(crate) fn hashes(count: usize) -> Vec<u8> {
    s(vec![9; 20 * count])
}

/// The `info` of a file `a.bin` of 5 bytes, with these entries in place of its own.
pub(crate) fn single(changes: impl IntoIterator<Item = Pair>) -> Vec<u8> {
    let base = vec![
        ("length", i(5)),
        ("name", s("a.bin")),
        ("piece length", i(16384)),
        ("pieces", hashes(1)),
    ];
    changed(base, changes)
}

/// The `info` of [`single`] without this key.
pub(crate) fn single_without(key: &'static str) -> Vec<u8> {
    single([(key, Vec::new())])
}

/// The `info` of a folder `album` with these files, with other entries in place of its own.
pub(crate) fn multi(
    files: impl IntoIterator<Item = Vec<u8>>,
    pieces: usize,
    changes: impl IntoIterator<Item = Pair>,
) -> Vec<u8> {
    let base = vec![
        ("files", l(files)),
        ("name", s("album")),
        ("piece length", i(16384)),
        ("pieces", hashes(pieces)),
    ];
    changed(base, changes)
}

/// A file of a folder.
pub(crate) fn file<P: AsRef<[u8]>>(path: &[P], len: i64) -> Vec<u8> {
    file_with(path, len, [])
}

/// A file of a folder with more entries.
pub(crate) fn file_with<P: AsRef<[u8]>>(
    path: &[P],
    len: i64,
    changes: impl IntoIterator<Item = Pair>,
) -> Vec<u8> {
    changed(vec![("length", i(len)), ("path", l(path.iter().map(s)))], changes)
}

/// A folder of files of one byte each.
pub(crate) fn album<P: AsRef<[u8]>>(paths: &[&[P]]) -> Torrent {
    of(multi(paths.iter().map(|path| file(path, 1)), 1, []))
}

/// A metainfo file of nothing but `info`.
pub(crate) fn of(info: Vec<u8>) -> Torrent {
    beside([], info, [])
}

/// A metainfo file with more entries.
pub(crate) fn beside(
    before: impl IntoIterator<Item = Pair>,
    info: Vec<u8>,
    after: impl IntoIterator<Item = Pair>,
) -> Torrent {
    let pairs = before.into_iter().chain([("info", info.clone())]).chain(after);
    Torrent { bytes: d(pairs), info }
}

/// A file of these bytes, without an `info` that counts.
pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Torrent {
    Torrent { bytes: bytes.into(), info: Vec::new() }
}

/// In order of keys; an entry without a value is left out.
fn changed(mut pairs: Vec<Pair>, changes: impl IntoIterator<Item = Pair>) -> Vec<u8> {
    for (key, value) in changes {
        pairs.retain(|(k, _)| *k != key);
        pairs.push((key, value));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.sort_by_key(|(key, _)| *key);
    d(pairs)
}
