//! Oddities of what came after BEP 3: padding and links, trackers and web seeds, v2.

use super::{
    CONTENT, HYBRID, LINK,
    Libtorrent::{NamesOtherwise, Opens, Refuses},
    Odd, UNSAFE, V2_ONLY,
    build::{
        self, Pair, Torrent, beside, d, digits, file_with, hashes, i, l, multi, of, s, single,
    },
    file, link, pad,
};

pub(crate) fn kinds() -> Vec<Odd> {
    let tables = [padding(), links(), attributes(), hybrids(), web_seeds(), trackers(), rest()];
    tables.into_iter().flatten().collect()
}

fn attr(attr: &str) -> Pair {
    ("attr", s(attr))
}

/// `a` of 5 bytes, and these files behind it.
fn after_a(files: impl IntoIterator<Item = Vec<u8>>, pieces: usize) -> Torrent {
    of(multi([build::file(&["a"], 5)].into_iter().chain(files), pieces, []))
}

/// Bytes from 5 to the end of the piece.
const REST: u64 = 16384 - 5;

fn padding() -> Vec<Odd> {
    let to_end = REST as i64;
    let padded = |path: &[&str]| after_a([file_with(path, to_end, [attr("p")])], 1);
    let opens = |kind, torrent, path: &str| {
        Odd::opens(kind, torrent, "album", vec![file("a", 5), pad(path, REST)])
    };
    let same = || file_with(&[".pad", "16379"], to_end, [attr("p")]);
    let bare = d([attr("p"), ("length", i(to_end))]);
    let bitcomet = "_____padding_file_0_if you see this file, please update to BitComet";
    let old = |path: &[&str]| after_a([build::file(path, to_end)], 1);
    let two = vec![file("a", 5), pad(".pad/16379", REST), file("b", 5), pad(".pad/16379", REST)];
    let only = of(multi([file_with(&["p"], 16384, [attr("p")])], 1, []));
    let negative = of(multi([file_with(&["p"], -1, [attr("p")])], 1, []));
    vec![
        Odd::opens(
            "padding: of one name",
            after_a([same(), build::file(&["b"], 5), same()], 2),
            "album",
            two,
        ),
        opens("padding: of a file's name", padded(&["a"]), "a"),
        opens("padding: without a path", after_a([bare], 1), ".pad/16379"),
        opens("padding: by BitComet's name", old(&[bitcomet]), bitcomet),
        opens(
            "padding: by BitComet's name in a folder",
            old(&["d", "_____padding_file_1"]),
            "d/_____padding_file_1",
        ),
        Odd::opens("padding: nothing else", only, "album", vec![pad("p", 16384)]),
        Odd::refused("padding: of negative length", negative, "FileLength", "the length -1"),
        Odd::refused("padding: out of the folder", padded(&["..", "x"]), "UnsafePath", "\"../x\"")
            .but(Opens(UNSAFE)),
    ]
}

fn links() -> Vec<Odd> {
    let target = |path: &[&str]| ("symlink path", l(path.iter().map(s)));
    let linked = |len: i64, pairs: Vec<Pair>| after_a([file_with(&["l"], len, pairs)], 1);
    let to_a = || target(&["a"]);
    let opens = |kind, torrent| Odd::opens(kind, torrent, "album", vec![file("a", 5), link("l")]);
    let no_length = after_a([d([attr("l"), ("path", l([s("l")])), to_a()])], 1);
    let outside = vec![attr("l"), target(&["..", "..", "etc", "passwd"])];
    vec![
        opens("symlink: to a file", linked(0, vec![attr("l"), to_a()])),
        opens("symlink: with a length", linked(77, vec![attr("l"), to_a()])),
        opens("symlink: without a length", no_length),
        opens("symlink: out of the folder", linked(0, outside)),
        opens("symlink: without a target", linked(0, vec![attr("l")])).but(NamesOtherwise(LINK)),
        opens("symlink: that is padding", linked(5, vec![attr("lp"), to_a()])),
        Odd::refused(
            "symlink: the one file",
            of(single([attr("l"), to_a()])),
            "PieceCount",
            "1 piece hashes where 0 bytes need 0",
        ),
    ]
}

fn attributes() -> Vec<Odd> {
    let folder = of(multi(
        [
            file_with(&["a"], 5, [attr("xh")]),
            file_with(&["b"], 0, [attr("zz")]),
            file_with(&["c"], 0, [("attr", i(1))]),
        ],
        1,
        [],
    ));
    let files = vec![file("a", 5), file("b", 0), file("c", 0)];
    vec![
        Odd::opens("attributes: executable, hidden, unknown", folder, "album", files),
        Odd::plain("attributes: of the one file", of(single([attr("xh")]))),
        Odd::plain("attributes: the one file is padding", of(single([attr("p")])))
            .but(NamesOtherwise(CONTENT)),
    ]
}

/// A `file tree` of files of these names and lengths.
fn tree(files: &[(&'static str, i64)]) -> Pair {
    let leaf = |len: i64| d([("", d([("length", i(len)), ("pieces root", s([7; 32]))]))]);
    ("file tree", d(files.iter().map(|(name, len)| (*name, leaf(*len)))))
}

fn hybrids() -> Vec<Odd> {
    let version = |version: i64| ("meta version", i(version));
    let layered = |info: Vec<u8>| beside([], info, [("piece layers", d([]))]);
    let hybrid = |pairs: Vec<Pair>| layered(single(pairs));
    let same = || tree(&[("a.bin", 5)]);
    let v2 = |pairs: Vec<Pair>| {
        let none = [("length", Vec::new()), ("pieces", Vec::new())];
        layered(single(none.into_iter().chain(pairs)))
    };
    let padded = [build::file(&["a"], 5), file_with(&[".pad", "1"], REST as i64, [attr("p")])];
    let padded = padded.into_iter().chain([build::file(&["b"], 7)]);
    let folder = layered(multi(padded, 2, [version(2), tree(&[("a", 5), ("b", 7)])]));
    let files = vec![file("a", 5), pad(".pad/1", REST), file("b", 7)];
    let differ = |kind, torrent| Odd::plain(kind, torrent).but(Refuses(HYBRID));
    let v2_only = |kind, pairs| {
        Odd::refused(kind, v2(pairs), "V2Only", "v2-only torrents are not supported; a hybrid")
    };
    vec![
        Odd::plain("hybrid: one file", hybrid(vec![version(2), same()])),
        Odd::plain("hybrid: without piece layers", of(single([version(2), same()]))),
        Odd::opens("hybrid: a folder with padding", folder, "album", files),
        differ("hybrid: of two names", hybrid(vec![version(2), tree(&[("b", 5)])])),
        differ("hybrid: of two lengths", hybrid(vec![version(2), tree(&[("a.bin", 6)])])),
        differ("hybrid: an empty tree", hybrid(vec![version(2), tree(&[])])),
        differ("hybrid: without a tree", hybrid(vec![version(2)])),
        differ("hybrid: without a version", hybrid(vec![same()])),
        differ("hybrid: of version 3", hybrid(vec![version(3), same()])),
        Odd::plain("hybrid: of version 1", hybrid(vec![version(1)])),
        v2_only("v2-only: one file", vec![version(2), same()]).but(Opens(V2_ONLY)),
        v2_only("v2-only: without a tree", vec![version(2)]),
        v2_only("v2-only: without a version", vec![same()]),
    ]
}

fn web_seeds() -> Vec<Odd> {
    let urls = |value| beside([], single([]), [("url-list", value)]);
    let http = |value| beside([("httpseeds", value)], single([]), []);
    vec![
        Odd::plain("url-list: a string", urls(s("http://w/"))),
        Odd::plain("url-list: a list", urls(l([s("http://w/"), s("http://v/a.bin")]))),
        Odd::plain("url-list: an empty string", urls(s(""))),
        Odd::plain("url-list: an empty list", urls(l([]))),
        Odd::plain("url-list: a list of nothing", urls(l([s("")]))),
        Odd::plain("url-list: an integer", urls(i(5))),
        Odd::plain("url-list: a dictionary", urls(d([("a", i(1))]))),
        Odd::plain("url-list: a list of integers", urls(l([i(1)]))),
        Odd::plain("url-list: nonsense", urls(s("nonsense"))),
        Odd::plain("url-list: another protocol", urls(l([s("ftp://x/")]))),
        Odd::plain("url-list: a blank", urls(s("http://w/ x"))),
        Odd::plain("url-list: not UTF-8", urls(s(b"\xff"))),
        Odd::plain("httpseeds: a list", http(l([s("http://w/")]))),
        Odd::plain("httpseeds: a string", http(s("http://w/"))),
        Odd::plain("httpseeds: an integer", http(i(1))),
        Odd::plain("httpseeds: a list of integers", http(l([i(3)]))),
    ]
}

fn trackers() -> Vec<Odd> {
    let announced = |kind, list: Vec<u8>, tiers: &[&[&str]]| {
        let before = [("announce", s("http://x/")), ("announce-list", list)];
        Odd::plain(kind, beside(before, single([]), [])).trackers(tiers)
    };
    let alone = |value| beside([("announce", value)], single([]), []);
    let x: &[&[&str]] = &[&["http://x/"]];
    let (a, b, c) = (s("http://a/"), s("http://b/"), s("http://c/"));
    let tiers = l([l([a.clone(), b]), l([c])]);
    vec![
        announced("announce-list: tiers", tiers, &[&["http://a/", "http://b/"], &["http://c/"]]),
        announced("announce-list: without tiers", l([a.clone()]), x),
        announced("announce-list: an empty list", l([]), x),
        announced("announce-list: an empty tier", l([l([])]), x),
        announced("announce-list: a string", a.clone(), x),
        announced("announce-list: an integer", i(3), x),
        announced("announce-list: integers in a tier", l([l([i(1)])]), x),
        announced("announce-list: nothing in a tier", l([l([s("")])]), x),
        announced(
            "announce-list: an empty tier among others",
            l([l([]), l([a])]),
            &[&["http://a/"]],
        ),
        announced("announce-list: blanks around", l([l([s(" http://a/ ")])]), &[&["http://a/"]]),
        announced("announce-list: not UTF-8", l([l([s(b"\xff")])]), x),
        announced("announce-list: UDP", l([l([s("udp://a:1/")])]), &[&["udp://a:1/"]]),
        Odd::plain("announce: an integer", alone(i(1))),
        Odd::plain("announce: empty", alone(s(""))),
        Odd::plain("announce: alone", alone(s("http://x/"))).trackers(x),
    ]
}

fn rest() -> Vec<Odd> {
    let private = |value| of(single([("private", value)]));
    let date = |value| beside([("creation date", value)], single([]), []);
    let texts = [("comment", s(b"\xff")), ("created by", i(3))];
    let merkle = single([("pieces", Vec::new()), ("root hash", s([1; 20]))]);
    let inside = single([("announce", s("http://x/")), ("url-list", s("http://w/"))]);
    vec![
        Odd::plain("private: 1", private(i(1))).private(),
        Odd::plain("private: 0", private(i(0))),
        Odd::plain("private: 2", private(i(2))).private(),
        Odd::plain("private: negative", private(i(-1))).private(),
        Odd::plain("private: a string", private(s("1"))),
        Odd::plain("private: a list", private(l([]))),
        Odd::plain("private: outside info", beside([], single([]), [("private", i(1))])),
        Odd::plain("creation date: 0", date(i(0))),
        Odd::plain("creation date: negative", date(i(-5))),
        Odd::plain("creation date: far away", date(i(i64::MAX))),
        Odd::plain("creation date: a string", date(s("yesterday"))),
        Odd::plain("creation date: leading zeros", date(digits("0001"))),
        Odd::plain("comment: not UTF-8", beside(texts, single([]), [])),
        Odd::plain("trackers: inside info", of(inside)),
        Odd::plain("md5sum: beside the length", of(single([("md5sum", s("0"))]))),
        Odd::plain("ssl-cert: in info", of(single([("ssl-cert", s("x"))]))),
        Odd::plain(
            "nodes: of a DHT",
            beside([], single([]), [("nodes", l([l([s("1.1.1.1"), i(5)])]))]),
        ),
        Odd::refused("merkle: a root hash", of(merkle), "Missing", "without \"pieces\""),
        Odd::plain("hashes: all the same", of(single([("pieces", hashes(1))]))),
    ]
}
