//! Oddities of the bencoding, whatever the keys mean.

use super::{
    LIMIT,
    Libtorrent::Opens,
    Odd,
    build::{Torrent, beside, d, digits, hashes, i, l, of, raw, s, single},
};

pub(crate) fn kinds() -> Vec<Odd> {
    [keys(), numbers(), lengths(), nesting(), ends(), no_torrents()].into_iter().flatten().collect()
}

fn keys() -> Vec<Odd> {
    let whole =
        [("pieces", hashes(1)), ("name", s("a.bin")), ("piece length", i(16384)), ("length", i(5))];
    let twice = [
        ("length", i(5)),
        ("name", s("first")),
        ("name", s("second")),
        ("piece length", i(16384)),
        ("pieces", hashes(1)),
    ];
    let second = single([("name", s("second"))]);
    let key = |bytes: &[u8]| {
        let info = single([]);
        raw([b"d", bytes, b"4:info", &info, b"e"].concat())
    };
    let [last] = [[b"d4:info".to_vec(), single([]), b"1:ze".to_vec()].concat()];
    vec![
        Odd::plain("keys: unordered in info", of(d(whole))),
        Odd::plain("keys: unordered outside", beside([("zz", i(1))], single([]), [("a", i(1))])),
        Odd::named("keys: name twice, the first counts", of(d(twice)), "first"),
        Odd::plain(
            "keys: info twice, the first counts",
            beside([], single([]), [("info", second)]),
        ),
        Odd::plain("keys: unknown ones", of(single([("x-unknown", l([d([("y", i(1))])]))]))),
        Odd::refused(
            "keys: an integer",
            key(b"i1ei2e"),
            "Bencode",
            "dictionary key that is no string at byte 1",
        ),
        Odd::refused("keys: without a value", raw(last), "Bencode", "key without a value at byte"),
    ]
}

fn numbers() -> Vec<Odd> {
    let len = |text: &str| of(single([("length", digits(text))]));
    let other = |text: &str| beside([], single([]), [("zz", digits(text))]);
    vec![
        Odd::plain("numbers: leading zeros", len("0005")),
        Odd::plain("numbers: 20 digits, most of them zeros", len("00000000000000000005")),
        Odd::refused(
            "numbers: 21 digits, most of them zeros",
            len("000000000000000000005"),
            "Bencode",
            "number out of range at byte",
        ),
        Odd::plain("numbers: negative zero", other("-0")),
        Odd::refused(
            "numbers: negative zero as length",
            len("-0"),
            "PieceCount",
            "1 piece hashes where 0 bytes need 0",
        ),
        Odd::refused("numbers: a blank", len("5 "), "Bencode", "unexpected byte 0x20 at byte"),
        Odd::refused("numbers: a plus", len("+5"), "Bencode", "malformed number at byte"),
        Odd::refused("numbers: nothing", len(""), "Bencode", "malformed number at byte"),
        Odd::refused("numbers: a minus alone", len("-"), "Bencode", "malformed number at byte"),
        Odd::refused("numbers: hexadecimal", len("0x5"), "Bencode", "unexpected byte 0x78"),
        Odd::refused(
            "numbers: length of 20 nines",
            len("99999999999999999999"),
            "Bencode",
            "number out of range at byte",
        ),
        Odd::refused(
            "numbers: length of 2^63",
            len("9223372036854775808"),
            "Bencode",
            "number out of range at byte",
        ),
        Odd::refused(
            "numbers: 20 nines that nobody reads",
            other("99999999999999999999"),
            "Bencode",
            "number out of range at byte",
        )
        .but(Opens(LIMIT)),
    ]
}

fn lengths() -> Vec<Odd> {
    let key = |key: &str| {
        let info = single([]);
        Torrent { bytes: [b"d", key.as_bytes(), &info, b"e"].concat(), info }
    };
    let tail = |tail: &str| raw([b"d4:info", &single([])[..], tail.as_bytes()].concat());
    vec![
        Odd::plain("strings: length with a leading zero", key("04:info")),
        Odd::refused(
            "strings: longer than what is left",
            tail("3:zzz999:ae"),
            "Bencode",
            "string of 999 bytes reaches beyond the end at byte",
        ),
        Odd::refused(
            "strings: length of 20 nines",
            tail("1:z99999999999999999999:ae"),
            "Bencode",
            "reaches beyond the end at byte",
        ),
        Odd::refused("strings: negative length", key("-4:info"), "Bencode", "unexpected byte 0x2d"),
    ]
}

fn nesting() -> Vec<Odd> {
    // The outermost dictionary is a level as well.
    let beside_info = |depth: usize| {
        let nested = [vec![b'l'; depth - 1], vec![b'e'; depth - 1]].concat();
        beside([], single([]), [("zz", nested)])
    };
    vec![
        Odd::plain("nesting: 63 levels", beside_info(63)),
        Odd::plain("nesting: 64 levels", beside_info(64)),
        Odd::refused("nesting: 65 levels", beside_info(65), "Bencode", "nesting deeper than 64")
            .but(Opens(LIMIT)),
        Odd::refused("nesting: 200 levels", beside_info(200), "Bencode", "nesting deeper than 64"),
    ]
}

fn ends() -> Vec<Odd> {
    let trailing = |tail: &[u8]| {
        let torrent = of(single([]));
        Torrent { bytes: [&torrent.bytes, tail].concat(), ..torrent }
    };
    let cut = |less: usize| {
        let bytes = of(single([])).bytes;
        raw(&bytes[..bytes.len() - less])
    };
    vec![
        Odd::plain("end: trailing line break", trailing(b"\r\n")),
        Odd::plain("end: trailing zeros", trailing(&[0; 100])),
        Odd::plain("end: a trailing dictionary that does not end", trailing(b"d")),
        Odd::refused("end: a byte is missing", cut(1), "Bencode", "unexpected end at byte"),
        Odd::refused("end: within the hashes", cut(9), "Bencode", "reaches beyond the end"),
        Odd::refused("end: nothing at all", raw(""), "Bencode", "unexpected end at byte 0"),
    ]
}

fn no_torrents() -> Vec<Odd> {
    vec![
        Odd::refused(
            "no torrent: a page",
            raw("<html>"),
            "Bencode",
            "unexpected byte 0x3c at byte 0",
        ),
        Odd::refused("no torrent: a list", raw("le"), "WrongType", "\"metainfo\" is of type list"),
        Odd::refused("no torrent: a number", raw("i5e"), "WrongType", "of type integer"),
        Odd::refused("no torrent: an empty dictionary", raw("de"), "Missing", "without \"info\""),
        Odd::refused(
            "no torrent: info is a list",
            raw("d4:infolee"),
            "WrongType",
            "\"info\" is of type list where dictionary is needed",
        ),
        Odd::refused(
            "no torrent: info is a string",
            raw("d4:info1:xe"),
            "WrongType",
            "type string",
        ),
        Odd::refused("no torrent: info is empty", raw("d4:infodee"), "Missing", "\"pieces\""),
    ]
}
