//! Oddities of lengths, pieces and counts.

use shoal_core::{
    config::{FILES_MAX, METAINFO_LEN_MAX, PIECES_MAX},
    metainfo::FileKind,
};

use super::{
    EMPTY, Entry, LIMIT,
    Libtorrent::{Opens, Refuses},
    Odd,
    build::{self, Torrent, d, hashes, i, l, multi, of, s, single, single_without},
    file,
};

pub(crate) fn kinds() -> Vec<Odd> {
    [piece_lengths(), pieces(), many(), lengths(), files()].into_iter().flatten().collect()
}

fn piece_lengths() -> Vec<Odd> {
    let len = |len: i64| of(single([("piece length", i(len))]));
    let tiny = of(single([("piece length", i(1)), ("pieces", hashes(5))]));
    let text = of(single([("piece length", s("16384"))]));
    let refused = |kind, torrent, message| Odd::refused(kind, torrent, "PieceLength", message);
    let none = of(single_without("piece length"));
    vec![
        Odd::refused("piece length: none", none, "Missing", "without \"piece length\""),
        Odd::refused(
            "piece length: a string",
            text,
            "WrongType",
            "is of type string where integer",
        ),
        refused("piece length: 0", len(0), "piece length 0 is not within 16384..=67108864"),
        refused("piece length: negative", len(-1), "piece length -1 is not within"),
        refused("piece length: 1", tiny, "piece length 1 is not within").but(Opens(LIMIT)),
        refused("piece length: below 16 KiB", len(16383), "piece length 16383 is not within")
            .but(Opens(LIMIT)),
        Odd::plain("piece length: no power of two", len(16385)),
        Odd::plain("piece length: a decimal number", len(100_000)),
        Odd::plain("piece length: 64 MiB", len(64 << 20)),
        refused("piece length: above 64 MiB", len((64 << 20) + 1), "piece length 67108865 is not")
            .but(Opens(LIMIT)),
        refused("piece length: 2^32 + 16384", len((1 << 32) + 16384), "piece length 4294983680"),
        refused("piece length: 2^62", len(1 << 62), "piece length 4611686018427387904"),
    ]
}

fn pieces() -> Vec<Odd> {
    let pieces = |value: Vec<u8>| of(single([("pieces", value)]));
    let count = |count: usize| pieces(hashes(count));
    let row = |len: usize| pieces(s(vec![9; len]));
    let folder = |count: usize| of(multi([build::file(&["a"], 16385)], count, []));
    let wrong = |kind, torrent, message| Odd::refused(kind, torrent, "PieceCount", message);
    let none = of(single_without("pieces"));
    vec![
        Odd::refused("pieces: none", none, "Missing", "without \"pieces\""),
        Odd::refused("pieces: a list", pieces(l([])), "WrongType", "\"pieces\" is of type list"),
        wrong("pieces: empty", count(0), "0 piece hashes where 5 bytes need 1"),
        wrong("pieces: one too many", count(2), "2 piece hashes where 5 bytes need 1"),
        wrong("pieces: one too few", folder(1), "1 piece hashes where 16385 bytes need 2"),
        wrong("pieces: one too many for a folder", folder(3), "3 piece hashes where 16385 bytes"),
        Odd::refused("pieces: 19 bytes", row(19), "PiecesLength", "19 bytes long, not a multiple"),
        Odd::refused("pieces: 21 bytes", row(21), "PiecesLength", "21 bytes long, not a multiple"),
    ]
}

fn of_pieces(claimed: usize, there: usize) -> Torrent {
    of(single([("length", i(claimed as i64 * 16384)), ("pieces", hashes(there))]))
}

fn many() -> Vec<Odd> {
    // The size of a metainfo file allows no more hashes than this.
    let most = METAINFO_LEN_MAX as usize / 20 - 10;
    let limit = PIECES_MAX as usize;
    let longest = vec![file("a.bin", most as u64 * 16384)];
    let (at, above) = (of_files(FILES_MAX), of_files(FILES_MAX + 1));
    let names = (0..FILES_MAX).map(|n| file(&n.to_string(), u64::from(n == 0)));
    vec![
        Odd::opens("many pieces: as many as fit", of_pieces(most, most), "a.bin", longest),
        Odd::refused(
            "many pieces: above 16 MiB",
            of_pieces(limit, limit),
            "TooLarge",
            "metainfo of",
        )
        .but(Opens(LIMIT)),
        Odd::refused(
            "many pieces: at the most, without their hashes",
            of_pieces(limit, 1),
            "PieceCount",
            "1 piece hashes where 17179869184 bytes need 1048576",
        ),
        Odd::refused(
            "many pieces: one above the most, without their hashes",
            of_pieces(limit + 1, 1),
            "TooManyPieces",
            "1048577 pieces where at most 1048576 are allowed",
        ),
        Odd::opens("many files: at the most", at, "album", names.collect()),
        Odd::refused("many files: one above", above, "TooManyFiles", "100001 files where at most")
            .but(Opens(LIMIT)),
        Odd::opens("many files: all of one name", of(alike()), "album", alike_names()),
    ]
}

fn of_files(count: usize) -> Torrent {
    of(multi((0..count).map(|n| build::file(&[n.to_string()], i64::from(n == 0))), 1, []))
}

fn alike() -> Vec<u8> {
    multi((0..1000).map(|_| build::file(&["a.x"], 1)), 1, [])
}

fn alike_names() -> Vec<Entry> {
    let name = |n: usize| if n == 0 { "a.x".to_owned() } else { format!("a.{n}.x") };
    (0..1000).map(|n| Entry { path: name(n), len: 1, kind: FileKind::Regular }).collect()
}

fn lengths() -> Vec<Odd> {
    let len = |len: i64| of(single([("length", i(len))]));
    let all = |lens: &[i64]| {
        let files = ["a", "b", "c"].iter().zip(lens);
        of(multi(files.map(|(name, len)| build::file(&[name], *len)), 1, []))
    };
    let nothing = of(single([("length", i(0)), ("pieces", hashes(0))]));
    let folder = of(multi([build::file(&["a"], 0)], 0, []));
    let refused = |kind, torrent, message| Odd::refused(kind, torrent, "FileLength", message);
    let overflow = Odd::refused(
        "length: three that overflow 64 bits",
        all(&[i64::MAX; 3]),
        "LengthOverflow",
        "the lengths of the files overflow at \"c\"",
    );
    vec![
        Odd::refused("length: none", of(single_without("length")), "Missing", "without \"length\""),
        Odd::refused(
            "length: a string",
            of(single([("length", s("5"))])),
            "WrongType",
            "\"length\" is of type string where integer is needed",
        ),
        refused("length: negative", len(-1), "file \"a.bin\" has the length -1"),
        refused("length: least number", len(i64::MIN), "has the length -9223372036854775808"),
        refused("length: negative in a folder", all(&[10, -5]), "file \"b\" has the length -5"),
        Odd::refused("length: 2^63 - 1", len(i64::MAX), "TooManyPieces", "562949953421312 pieces"),
        Odd::refused("length: 2^48", len(1 << 48), "TooManyPieces", "17179869184 pieces where"),
        Odd::refused(
            "length: two that overflow 63 bits",
            all(&[1 << 62, 1 << 62]),
            "TooManyPieces",
            "562949953421312 pieces",
        ),
        overflow,
        Odd::opens("length: 0", nothing, "a.bin", vec![file("a.bin", 0)]).but(Refuses(EMPTY)),
        Odd::opens("length: 0 in all", folder, "album", vec![file("a", 0)]).but(Refuses(EMPTY)),
        Odd::refused("length: 0 with a hash", len(0), "PieceCount", "1 piece hashes where 0 bytes"),
    ]
}

fn files() -> Vec<Odd> {
    let album = |files: Vec<u8>| of(single([("length", Vec::new()), ("files", files)]));
    let both = |files: Vec<u8>| of(single([("files", files)]));
    let no_length = of(multi([d([("path", l([s("a")]))])], 1, []));
    let text = d([("length", s("5")), ("path", l([s("a")]))]);
    vec![
        Odd::refused("files: none", album(l([])), "NoFiles", "a torrent without files"),
        Odd::refused("files: none, but a length", both(l([])), "NoFiles", "without files"),
        Odd::opens(
            "files: and a length, the files count",
            both(l([build::file(&["a"], 7)])),
            "a.bin",
            vec![file("a", 7)],
        ),
        Odd::refused("files: a string", album(s("a")), "WrongType", "\"files\" is of type string"),
        Odd::refused("files: of strings", album(l([s("a")])), "WrongType", "list of dictionaries"),
        Odd::refused("files: without a length", no_length, "Missing", "without \"length\""),
        Odd::refused("files: a length of text", album(l([text])), "WrongType", "is of type string"),
        Odd::opens(
            "files: pieces across and an empty one",
            of(multi(
                [build::file(&["a"], 16383), build::file(&["b"], 0), build::file(&["c"], 2)],
                2,
                [],
            )),
            "album",
            vec![file("a", 16383), file("b", 0), file("c", 2)],
        ),
    ]
}
