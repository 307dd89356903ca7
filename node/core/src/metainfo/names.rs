//! What chunks and files are called (§2 of the design): `<path in torrent>.part<N>`, N from 1
//! within the file, or `@<piece index>`. Where a name is unknown, a near one is suggested.

use std::ops::Range;

use crate::{
    ids::PieceIndex,
    metainfo::{File, FileKind, Metainfo},
};

/// A chunk name that names nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown chunk {name:?}{}", did_you_mean(.suggestion.as_deref()))]
pub struct UnknownChunk {
    /// What was asked for.
    pub name: String,
    /// A name that exists and is near.
    pub suggestion: Option<String>,
}

/// A file name that names nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown file {name:?}{}", did_you_mean(.suggestion.as_deref()))]
pub struct UnknownFile {
    /// What was asked for.
    pub name: String,
    /// A name that exists and is near.
    pub suggestion: Option<String>,
}

/// What precedes a chunk's number.
const PART: &str = ".part";
/// Names further apart than this many edits are not near.
const EDITS_MAX: usize = 3;
/// Steps of comparing that one suggestion may cost (a few milliseconds).
const SUGGEST_STEPS_MAX: usize = 2_000_000;
/// Longer names get no suggestion by distance, bytes.
const SUGGEST_LEN_MAX: usize = 512;

impl Metainfo {
    /// The pieces that hold bytes of a file; empty where it has none.
    #[must_use]
    pub fn file_pieces(&self, file: usize) -> Range<u32> {
        self.files.get(file).map_or(0..0, |file| self.layout.pieces_of(file.offset, file.len))
    }

    /// The names of a chunk: one for each regular file that it touches, in order of bytes.
    #[must_use]
    pub fn chunk_names(&self, piece: PieceIndex) -> Vec<String> {
        let slices = self.layout.slices(piece, 0, self.piece_len);
        slices.filter(|slice| !slice.pad).map(|slice| self.part_name(slice.file, piece)).collect()
    }

    /// The first name of a chunk, `@<index>` where it touches no regular file.
    #[must_use]
    pub fn chunk_name(&self, piece: PieceIndex) -> String {
        let mut slices = self.layout.slices(piece, 0, self.piece_len);
        match slices.find(|slice| !slice.pad) {
            Some(slice) => self.part_name(slice.file, piece),
            None => format!("@{}", piece.0),
        }
    }

    /// The piece of a chunk name.
    ///
    /// # Errors
    /// [`UnknownChunk`] where no chunk has this name.
    pub fn find_chunk(&self, name: &str) -> Result<PieceIndex, UnknownChunk> {
        let found = match name.strip_prefix('@').and_then(number) {
            Some(index) if index < self.piece_count() => Some(PieceIndex(index)),
            Some(_) | None => self.find_part(name),
        };
        found.ok_or_else(|| UnknownChunk {
            name: name.to_owned(),
            suggestion: self.suggest_chunk(name),
        })
    }

    /// The index of the file with this path in the torrent; never padding.
    ///
    /// # Errors
    /// [`UnknownFile`] where no file has this path.
    pub fn find_file(&self, path: &str) -> Result<usize, UnknownFile> {
        self.file_at(path).ok_or_else(|| UnknownFile {
            name: path.to_owned(),
            suggestion: self.suggest_file(path).map(|file| self.files[file].joined()),
        })
    }

    /// The index of the file with exactly this path in the torrent; never padding.
    #[must_use]
    pub fn file_at(&self, path: &str) -> Option<usize> {
        let compare = |&file: &u32| {
            let components = self.files[file as usize].path.iter().map(String::as_str);
            components.cmp(path.split('/'))
        };
        let at = self.by_path.binary_search_by(compare).ok()?;
        Some(self.by_path[at] as usize)
    }

    fn find_part(&self, name: &str) -> Option<PieceIndex> {
        let (path, part) = split_part(name)?;
        let pieces = self.file_pieces(self.file_at(path)?);
        let index = pieces.start.checked_add(part.checked_sub(1)?)?;
        pieces.contains(&index).then_some(PieceIndex(index))
    }

    fn part_name(&self, file: usize, piece: PieceIndex) -> String {
        let first = self.file_pieces(file).start;
        format!("{}{PART}{}", self.files[file].joined(), piece.0 - first + 1)
    }

    /// The nearest chunk: the same number, as far as there is one, in the nearest file.
    fn suggest_chunk(&self, name: &str) -> Option<String> {
        if name.starts_with('@') && self.file_at(name).is_none() {
            return self.piece_count().checked_sub(1).map(|last| format!("@{last}"));
        }
        let (path, part) = match name.rsplit_once(PART) {
            Some((path, digits)) => (path, digits.parse().unwrap_or(1)),
            None => (name, 1),
        };
        let file = self.file_at(path).or_else(|| self.suggest_file(path))?;
        let pieces = self.file_pieces(file);
        let last = pieces.end.checked_sub(1).filter(|_| !pieces.is_empty())?;
        let wanted = pieces.start.saturating_add(u32::max(part, 1) - 1);
        Some(self.part_name(file, PieceIndex(wanted.min(last))))
    }

    /// The nearest file: one whose last component is exactly this, else the one with the fewest
    /// edits, at most [`EDITS_MAX`]. Bounded work: of very many near-sized names only some.
    fn suggest_file(&self, path: &str) -> Option<usize> {
        let files = || self.by_path.iter().map(|&file| (file as usize, &self.files[file as usize]));
        if let Some((file, _)) = files().find(|(_, file)| is_last_component(file, path)) {
            return Some(file);
        }
        if path.len() > SUGGEST_LEN_MAX {
            return None;
        }
        let mut steps = SUGGEST_STEPS_MAX;
        let mut best: Option<(usize, usize)> = None;
        for (index, file) in files() {
            if joined_len(file).abs_diff(path.len()) > EDITS_MAX * 4 {
                continue;
            }
            let (distance, cost) = edits(path, &file.joined());
            if distance <= EDITS_MAX && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, index));
            }
            steps = steps.saturating_sub(cost);
            if steps == 0 {
                break;
            }
        }
        best.filter(|(distance, _)| *distance < path.chars().count()).map(|(_, index)| index)
    }
}

fn is_last_component(file: &File, name: &str) -> bool {
    let last = file.path.last().map(String::as_str);
    file.kind == FileKind::Regular && last.is_some_and(|last| last.eq_ignore_ascii_case(name))
}

fn joined_len(file: &File) -> usize {
    file.path.iter().map(|component| component.len() + 1).sum::<usize>() - 1
}

/// The path and the number of a chunk name.
fn split_part(name: &str) -> Option<(&str, u32)> {
    let (path, part) = name.rsplit_once(PART)?;
    Some((path, number(part)?))
}

/// Decimal digits in the one spelling that a number has.
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits == "0" || !digits.starts_with('0');
    (plain && canonical).then(|| digits.parse().ok()).flatten()
}

/// How many characters must be inserted, removed or replaced between two texts, as far as that is
/// at most [`EDITS_MAX`] (beyond it any larger number), and how many steps the counting took.
fn edits(a: &str, b: &str) -> (usize, usize) {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > EDITS_MAX {
        return (EDITS_MAX + 1, a.len() + b.len());
    }
    let mut steps = a.len() + b.len();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        // Outside a band around the diagonal the distance is beyond what is near anyway.
        let band = i.saturating_sub(EDITS_MAX)..(i + EDITS_MAX + 1).min(b.len());
        let mut diagonal = row[band.start];
        row[band.start] = if band.start == 0 { i + 1 } else { EDITS_MAX + 1 };
        let mut least = row[band.start];
        for j in band.clone() {
            let above = if j + 1 == i + EDITS_MAX + 1 { EDITS_MAX + 1 } else { row[j + 1] };
            let replaced = diagonal + usize::from(*from != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(above + 1).min(row[j] + 1);
            least = least.min(row[j + 1]);
        }
        steps += band.len();
        if least > EDITS_MAX {
            return (EDITS_MAX + 1, steps);
        }
    }
    (row[b.len()], steps)
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |near| format!("; the nearest is {near:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metainfo::{Content, CreateOptions, NewFile, Pad, Plan};

    const KIB: u64 = 1024;

    fn torrent(content: Content, pad: Pad) -> Metainfo {
        let plan = Plan::new(CreateOptions {
            name: "movie.webm".into(),
            content,
            piece_len: Some(16384),
            pad,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        });
        let plan = plan.unwrap();
        let hashes = vec![[0; 20]; plan.layout().piece_count() as usize];
        Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap()
    }

    fn album(pad: Pad) -> Metainfo {
        let file =
            |path: &str, len| NewFile { path: path.split('/').map(str::to_owned).collect(), len };
        let files = vec![
            file("file1.webm", 40 * KIB),
            file("sub/file2.webm", 10 * KIB),
            file("sub/empty", 0),
            file("notes.part2", 20 * KIB),
        ];
        torrent(Content::Multi(files), pad)
    }

    fn suggested(name: &str) -> Option<String> {
        album(Pad::Never).find_chunk(name).unwrap_err().suggestion
    }

    #[test]
    fn parts_count_from_one_within_each_file() {
        let single = torrent(Content::Single { len: 40 * KIB }, Pad::Never);
        assert_eq!(single.chunk_names(PieceIndex(0)), ["movie.webm.part1"]);
        assert_eq!(single.chunk_name(PieceIndex(2)), "movie.webm.part3");
        let padded = album(Pad::Always);
        assert_eq!(padded.chunk_names(PieceIndex(2)), ["file1.webm.part3"]);
        assert_eq!(padded.chunk_names(PieceIndex(3)), ["sub/file2.webm.part1"]);
        assert_eq!(padded.chunk_names(PieceIndex(5)), ["notes.part2.part2"]);
    }

    #[test]
    fn straddling_piece_has_a_name_for_each_file() {
        let album = album(Pad::Never);
        let names = album.chunk_names(PieceIndex(2));
        assert_eq!(names, ["file1.webm.part3", "sub/file2.webm.part1"]);
        for name in names {
            assert_eq!(album.find_chunk(&name), Ok(PieceIndex(2)));
        }
        assert_eq!(album.chunk_name(PieceIndex(2)), "file1.webm.part3");
        assert_eq!(album.chunk_name(PieceIndex(99)), "@99");
        assert!(album.chunk_names(PieceIndex(99)).is_empty());
    }

    #[test]
    fn indices_name_chunks_too() {
        let album = album(Pad::Never);
        assert_eq!(album.find_chunk("@0"), Ok(PieceIndex(0)));
        assert_eq!(album.find_chunk("@4"), Ok(PieceIndex(4)));
        assert_eq!(suggested("@5").as_deref(), Some("@4"));
        assert_eq!(suggested("@99999999999").as_deref(), Some("@4"));
    }

    #[test]
    fn name_that_ends_like_a_chunk_is_still_a_file() {
        let album = album(Pad::Always);
        assert_eq!(album.find_chunk("notes.part2.part1"), Ok(PieceIndex(4)));
        assert_eq!(album.find_file("notes.part2"), Ok(album.files.len() - 1));
    }

    #[test]
    fn near_names_are_suggested() {
        assert_eq!(suggested("file1.wbem.part2").as_deref(), Some("file1.webm.part2"));
        assert_eq!(suggested("file1.webm.part9").as_deref(), Some("file1.webm.part3"));
        assert_eq!(suggested("file1.webm.part0").as_deref(), Some("file1.webm.part1"));
        assert_eq!(suggested("file1.webm.part01").as_deref(), Some("file1.webm.part1"));
        assert_eq!(suggested("file1.webm").as_deref(), Some("file1.webm.part1"));
        assert_eq!(suggested("file2.webm.part1").as_deref(), Some("sub/file2.webm.part1"));
        assert_eq!(suggested("sub/empty.part1"), None);
        assert_eq!(suggested("something else"), None);
        assert_eq!(suggested(""), None);
        let file = album(Pad::Never).find_file("FILE2.webm").unwrap_err();
        assert_eq!(file.suggestion.as_deref(), Some("sub/file2.webm"));
        assert_eq!(
            file.to_string(),
            "unknown file \"FILE2.webm\"; the nearest is \"sub/file2.webm\""
        );
    }

    #[test]
    fn torrent_without_bytes_has_no_chunk_names() {
        let empty = torrent(Content::Single { len: 0 }, Pad::Never);
        assert_eq!(empty.find_chunk("@0").unwrap_err().suggestion, None);
        assert_eq!(empty.find_chunk("movie.webm.part1").unwrap_err().suggestion, None);
        assert_eq!(empty.find_file("movie.webm"), Ok(0));
    }

    #[test]
    fn suggesting_among_very_many_names_is_bounded() {
        let files = (0..50_000).map(|n| NewFile { path: vec![format!("{n:0>200}")], len: 1 });
        let many = torrent(Content::Multi(files.collect()), Pad::Never);
        assert_eq!(many.find_chunk(&"x".repeat(200)).unwrap_err().suggestion, None);
        assert_eq!(many.find_chunk(&"x".repeat(1 << 20)).unwrap_err().suggestion, None);
        let near = format!("{:0>200}x", 7);
        assert_eq!(many.find_file(&near).unwrap_err().suggestion, Some(format!("{:0>200}", 7)));
    }

    fn naive_edits(a: &[char], b: &[char]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                table[i][j] = match (i, j) {
                    (0, n) | (n, 0) => n,
                    _ => {
                        let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                        replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
                    }
                };
            }
        }
        table[a.len()][b.len()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn edits_agree_with_the_full_table(a in "[ab]{0,12}", b in "[ab]{0,12}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive_edits(&chars(&a), &chars(&b));
            let (found, _) = edits(&a, &b);
            prop_assert_eq!(found.min(EDITS_MAX + 1), expected.min(EDITS_MAX + 1));
        }
    }
}
