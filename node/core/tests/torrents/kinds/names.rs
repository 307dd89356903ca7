//! Oddities of names and paths.

use sha1::{Digest, Sha1};

use super::{
    DISTINCT, KEPT, LIMIT,
    Libtorrent::{NamesOtherwise, Opens},
    Odd, RESERVED, UNSAFE,
    build::{
        Pair, Torrent, album, beside, d, file, file_with, i, l, multi, of, s, single,
        single_without,
    },
};

/// A name that is not UTF-8, made so: with a part of its SHA-1.
fn tagged(stem: &str, raw: &[u8], extension: &str) -> String {
    format!("{stem}~{}{extension}", hex::encode(&Sha1::digest(raw)[..4]))
}

pub(crate) fn kinds() -> Vec<Odd> {
    let tables = [names(), utf8_names(), paths(), utf8_paths(), dangers(), limits(), characters()];
    tables.into_iter().chain([collisions()]).flatten().collect()
}

fn named(name: impl AsRef<[u8]>) -> Torrent {
    of(single([("name", s(name))]))
}

/// A folder with one file of a byte with these entries.
fn one(entries: impl IntoIterator<Item = Pair>) -> Torrent {
    of(multi([d(entries)], 1, []))
}

fn names() -> Vec<Odd> {
    let empty = "unsafe path \"\": it has an empty component";
    vec![
        Odd::refused("name: none", of(single_without("name")), "Missing", "without \"name\""),
        Odd::refused("name: empty", named(""), "UnsafePath", empty),
        Odd::refused(
            "name: an integer",
            of(single([("name", i(5))])),
            "WrongType",
            "\"name\" is of type integer where string is needed",
        ),
        Odd::refused("name: NUL alone", named("\0"), "UnsafePath", empty),
        Odd::named("name: with NUL", named("a\0b"), "ab"),
        Odd::named("name: a blank", named(" "), " "),
        Odd::named("name: ends in a dot", named("a."), "a."),
        Odd::named("name: a device on Windows", named("CON"), "CON"),
        Odd::named("name: a colon", named("a:b"), "a:b"),
        Odd::named("name: escaped as in a URL", named("%2e%2e"), "%2e%2e"),
    ]
}

fn utf8_names() -> Vec<Odd> {
    let both = |utf8: Vec<u8>| of(single([("name", s("n")), ("name.utf-8", utf8)]));
    let only = of(single([("name", Vec::new()), ("name.utf-8", s("ü"))]));
    let broken = |kind, torrent, stem: &str, raw: &[u8], extension: &str| {
        let name = tagged(stem, raw, extension);
        Odd::named(kind, torrent, &name).but(NamesOtherwise(DISTINCT))
    };
    let gbk = b"\xc4\xe3";
    let of_gbk = beside([("encoding", s("GBK"))], single([("name", s(gbk))]), []);
    let surrogate = b"\xed\xa0\x80x";
    let [three, two] = ["\u{fffd}\u{fffd}\u{fffd}x", "\u{fffd}\u{fffd}"];
    let slash = b"a\xc0\xafx";
    vec![
        Odd::named("name.utf-8: beside name", both(s("ü")), "ü"),
        Odd::named("name.utf-8: without name", only, "ü"),
        Odd::named("name.utf-8: an integer", both(i(1)), "n"),
        Odd::refused("name.utf-8: empty", both(s("")), "UnsafePath", "an empty component"),
        broken("name.utf-8: not UTF-8", both(s(b"\xfe")), "\u{fffd}", b"\xfe", ""),
        broken("name: not UTF-8", named(b"a\xff.txt"), "a\u{fffd}", b"a\xff.txt", ".txt"),
        broken("name: a surrogate", named(surrogate), three, surrogate, ""),
        broken("name: an overlong slash", named(slash), &format!("a{two}x"), slash, ""),
        broken("name: another encoding", of_gbk, two, gbk, ""),
    ]
}

fn paths() -> Vec<Odd> {
    let no_path = [("length", i(1))];
    let text = [("length", i(1)), ("path", s("a"))];
    let numbers = [("length", i(1)), ("path", l([i(1)]))];
    let none: [&str; 0] = [];
    vec![
        Odd::refused("path: none", one(no_path), "Missing", "without \"path\""),
        Odd::refused("path: without elements", album(&[&none]), "UnsafePath", "it is empty"),
        Odd::refused(
            "path: a string",
            one(text),
            "WrongType",
            "\"path\" is of type string where list is needed",
        ),
        Odd::refused(
            "path: of integers",
            one(numbers),
            "WrongType",
            "\"path\" is of type integer where list of strings is needed",
        ),
        Odd::album("path: one empty element", album(&[&[""]]), &["_"]),
        Odd::album("path: empty element within", album(&[&["a", "", "b"]]), &["a/_/b"]),
        Odd::album("path: empty element last", album(&[&["a", ""]]), &["a/_"]),
        Odd::album("path: a dot alone", album(&[&["."]]), &["_"]),
        Odd::album("path: dots alone", album(&[&[".", "."]]), &["_"]),
        Odd::album("path: a dot first", album(&[&[".", "a"]]), &["a"]),
        Odd::album("path: a dot within", album(&[&["a", ".", "b"]]), &["a/b"]),
        Odd::album("path: a dot last", album(&[&["a", "."]]), &["a"]),
        Odd::album("path: three dots", album(&[&["...", "..a"]]), &[".../..a"]),
        Odd::album("path: NUL within", album(&[&["a\0b"]]), &["ab"]),
        Odd::album("path: NUL alone", album(&[&["\0"]]), &["_"]),
        Odd::album("path: a drive", album(&[&["C:", "x"]]), &["C:/x"]),
        Odd::album("path: escaped as in a URL", album(&[&["%2e%2e", "x"]]), &["%2e%2e/x"]),
    ]
}

fn utf8_paths() -> Vec<Odd> {
    let beside = |path: Vec<u8>| of(multi([file_with(&["a"], 1, [("path.utf-8", path)])], 1, []));
    let only = one([("length", i(1)), ("path.utf-8", l([s("ü")]))]);
    let broken = |bytes: &[u8]| album(&[&[bytes]]);
    let two = of(multi([file(&[b"\xfe"], 1), file(&[b"\xff"], 1)], 1, []));
    let [fe, ff] = [b"\xfe", b"\xff"].map(|raw| tagged("\u{fffd}", raw, ""));
    let text = tagged("\u{fffd}", b"\xff.txt", ".txt");
    let other = NamesOtherwise(DISTINCT);
    vec![
        Odd::album("path.utf-8: beside path", beside(l([s("ü")])), &["ü"]),
        Odd::album("path.utf-8: without path", only, &["ü"]),
        Odd::album("path.utf-8: an integer", beside(i(1)), &["a"]),
        Odd::refused("path.utf-8: without elements", beside(l([])), "UnsafePath", "it is empty"),
        Odd::album("path.utf-8: not UTF-8", beside(l([s(b"\xff")])), &[&ff]).but(other),
        Odd::album("path: not UTF-8", broken(b"\xff.txt"), &[&text]).but(other),
        Odd::album("path: two that are not UTF-8", two, &[&fe, &ff]).but(other),
    ]
}

/// What leads, or tries to lead, out of the folder.
fn dangers() -> Vec<Odd> {
    let unsafe_path = |kind, torrent, message| {
        Odd::refused(kind, torrent, "UnsafePath", message).but(Opens(UNSAFE))
    };
    vec![
        Odd::refused("name: a dot", named("."), "UnsafePath", "\".\": it has a component . or .."),
        Odd::refused("name: two dots", named(".."), "UnsafePath", "\"..\": it has a component"),
        unsafe_path("name: absolute", named("/etc/passwd"), "\"/etc/passwd\": it is absolute"),
        unsafe_path("name: a slash", named("a/b"), "\"a/b\": a component has a character"),
        unsafe_path("name: out of the folder", named("../x"), "\"../x\": a component has a"),
        unsafe_path(
            "path: two dots alone",
            album(&[&[".."]]),
            "\"..\": it has a component . or ..",
        ),
        unsafe_path("path: two dots within", album(&[&["a", "..", "b"]]), "\"a/../b\": it has a"),
        unsafe_path("path: two dots and a slash", album(&[&["../b"]]), "\"../b\": a component has"),
        unsafe_path("path: a slash", album(&[&["a/b"]]), "\"a/b\": a component has a character"),
        unsafe_path("path: absolute", album(&[&["", "etc", "x"]]), "\"/etc/x\": it is absolute"),
        unsafe_path("path: absolute in one", album(&[&["/etc/x"]]), "\"/etc/x\": it is absolute"),
        Odd::refused(
            "name: .shoal",
            named(".shoal"),
            "UnsafePath",
            "its first component is .shoal",
        )
        .but(Opens(RESERVED)),
        Odd::refused(
            "path: .shoal first",
            album(&[&[".shoal", "x"]]),
            "UnsafePath",
            "\".shoal/x\": its first component is .shoal",
        )
        .but(Opens(RESERVED)),
    ]
}

fn limits() -> Vec<Odd> {
    let long = |len: usize| "x".repeat(len);
    let deep = |depth: usize| album(&[&vec!["x"; depth]]);
    let wide = |count: usize| album(&[&vec!["x".repeat(199); count]]);
    let over = |kind, torrent, message| {
        Odd::refused(kind, torrent, "UnsafePath", message).but(Opens(LIMIT))
    };
    vec![
        Odd::named("name: 240 bytes", named(long(240)), &long(240)),
        Odd::named("name: 255 bytes", named(long(255)), &long(255)).but(NamesOtherwise(KEPT)),
        over("name: 256 bytes", named(long(256)), "a component is longer than 255 bytes"),
        over("path: element of 256 bytes", album(&[&[long(256)]]), "longer than 255 bytes"),
        Odd::album("path: 64 elements", deep(64), &[&vec!["x"; 64].join("/")]),
        over("path: 65 elements", deep(65), "it has more than 64 components"),
        Odd::album("path: 3999 bytes", wide(20), &[&vec!["x".repeat(199); 20].join("/")]),
        over("path: 4199 bytes", wide(21), "it is longer than 4096 bytes"),
    ]
}

/// Characters that file systems hold and people do not see, or that separate elsewhere.
fn characters() -> Vec<Odd> {
    let kept = |kind, name: &str| Odd::named(kind, named(name), name).but(NamesOtherwise(KEPT));
    vec![
        kept("name: a backslash", "a\\b"),
        kept("name: backslashes and dots", "..\\..\\x"),
        kept("name: a tab", "a\tb"),
        kept("name: a line break", "a\nb"),
        kept("name: an escape sequence", "\u{1b}[31mred"),
        kept("name: turns the direction of writing", "gpj.\u{202e}exe"),
        Odd::named("name: DEL", named("a\u{7f}b"), "a\u{7f}b"),
        Odd::named("name: a blank without width", named("\u{200b}"), "\u{200b}"),
        Odd::album("path: a backslash", album(&[&["a\\b", "c"]]), &["a\\b/c"])
            .but(NamesOtherwise(KEPT)),
        Odd::album(
            "path: control characters",
            album(&[&["\u{1}"], &["\u{2}"]]),
            &["\u{1}", "\u{2}"],
        )
        .but(NamesOtherwise(KEPT)),
    ]
}

fn collisions() -> Vec<Odd> {
    let one = |kind, paths: &[&[&str]], given: &[&str]| Odd::album(kind, album(paths), given);
    let case: &[&[&str]] = &[&["a.txt"], &["A.txt"]];
    vec![
        one(
            "same path: three times",
            &[&["a.txt"], &["b"], &["a.txt"], &["a.txt"]],
            &["a.txt", "b", "a.1.txt", "a.2.txt"],
        ),
        one("same path: in a folder", &[&["d.e", "a"], &["d.e", "a"]], &["d.e/a", "d.e/a.1"]),
        one("same path: begins with a dot", &[&[".a"], &[".a"]], &[".a", ".1.a"]),
        one("same path: two extensions", &[&["a.b.c"], &["a.b.c"]], &["a.b.c", "a.b.1.c"]),
        one(
            "same path: the number is taken before",
            &[&["a.1.x"], &["a.x"], &["a.x"]],
            &["a.1.x", "a.x", "a.2.x"],
        ),
        one(
            "same path: the number is taken after",
            &[&["a.x"], &["a.x"], &["a.1.x"]],
            &["a.x", "a.1.x", "a.1.1.x"],
        ),
        one("same path: once tidied", &[&["a", ".", "b"], &["a", "b"]], &["a/b", "a/b.1"]),
        one(
            "same path: in the folders of others too",
            &[&["D", "a"], &["d", "b"]],
            &["D/a", "d/b"],
        ),
        one("same path: but for its form in Unicode", &[&["é"], &["e\u{301}"]], &["é", "e\u{301}"]),
        Odd::album("same path: but for capitals", album(case), &["a.txt", "A.txt"])
            .but(NamesOtherwise(KEPT)),
        one("file and folder: file first", &[&["a"], &["a", "b"]], &["a.1", "a/b"]),
        one("file and folder: file last", &[&["a", "b"], &["a"]], &["a/b", "a.1"]),
        one(
            "file and folder: both in another",
            &[&["a.x"], &["a.x", "b", "c"], &["a.x", "b"]],
            &["a.1.x", "a.x/b/c", "a.x/b.1"],
        ),
        one(
            "file and folder: the number is taken",
            &[&["a"], &["a.1", "b"], &["a", "b"]],
            &["a.2", "a.1/b", "a/b"],
        ),
    ]
}
