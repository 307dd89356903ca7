//! Storms: 100 000 random and 10 000 mutated real inputs for each parser, from fixed seeds. Each
//! comes to a value or to a reason, none to a panic, and what is held for a value is bounded by the
//! length of the input.

#[expect(dead_code, reason = "only the bytes of the torrents are looked at here")]
#[path = "../torrents/kinds/mod.rs"]
mod kinds;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod storm;
mod weather;

use shoal_core::fuzzing::{self, Outcome};
use storm::{Storm, check};

/// The pieces that bencoded data is made of.
const BENCODE: &[&[u8]] = &[
    b"d",
    b"l",
    b"e",
    b"i0e",
    b"i-1e",
    b"i1e",
    b"i9223372036854775807e",
    b"i",
    b"0:",
    b"1:a",
    b"2:",
    b"99999999999999999999:",
    b"-",
    b":",
];

#[test]
fn bencoded_data() {
    let storm = Storm {
        name: "bencode",
        seed: 0x5708_0001,
        read: fuzzing::bencode,
        samples: samples::bencoded(),
        words: BENCODE,
        held: (256, 32),
    };
    check(&storm);
}

#[test]
fn metainfo_files() {
    let words: &[&[u8]] = &[
        b"d",
        b"l",
        b"e",
        b"4:info",
        b"4:name",
        b"5:files",
        b"6:length",
        b"4:path",
        b"6:pieces",
        b"12:piece length",
        b"4:attr",
        b"i16384e",
        b"i1e",
        b"i0e",
        b"1:a",
        b"1:p",
        b"2:..",
        b"0:",
        b"20:aaaaaaaaaaaaaaaaaaaa",
    ];
    let storm = Storm {
        name: "metainfo",
        seed: 0x5708_0002,
        read: fuzzing::metainfo,
        samples: samples::torrents(),
        words,
        held: (1024, 32),
    };
    check(&storm);
}

#[test]
fn messages_of_peers() {
    let words: &[&[u8]] = &[
        b"\0\0\0\0",
        b"\0\0\0\x01",
        b"\0\0\0\x05",
        b"\0\0\0\x0d",
        b"\0\0\0\x03",
        b"\0\0\x40\x09",
        b"\0\x10\0\x09",
        b"\x00",
        b"\x04",
        b"\x05",
        b"\x06",
        b"\x07",
        b"\x09",
        b"\x0d",
        b"\x11",
        b"\x14",
        b"\xff\xff\xff\xff",
        b"de",
        b"\0\0\0\x04\x14\x00de",
    ];
    let storm = Storm {
        name: "wire",
        seed: 0x5708_0003,
        read: fuzzing::wire,
        samples: samples::streams(),
        words,
        held: (256, 16),
    };
    check(&storm);
}

#[test]
fn handshakes() {
    let words: &[&[u8]] = &[b"\x13BitTorrent protocol", b"\x13", b"\0\0\0\0\0\x10\0\x04", b"\x12"];
    let storm = Storm {
        name: "handshake",
        seed: 0x5708_0004,
        read: fuzzing::handshake,
        samples: samples::handshakes(),
        words,
        held: (64, 0),
    };
    check(&storm);
}

/// The keys of extended handshakes and of `shoal` messages.
const EXTENDED: &[&[u8]] = &[
    b"d",
    b"e",
    b"l",
    b"1:m",
    b"1:v",
    b"1:p",
    b"4:reqq",
    b"6:yourip",
    b"5:shoal",
    b"6:maxreq",
    b"1:t",
    b"5:hello",
    b"4:ping",
    b"4:pong",
    b"6:status",
    b"1:n",
    b"2:up",
    b"4:down",
    b"6:labels",
    b"i0e",
    b"i255e",
    b"i-1e",
    b"i9223372036854775807e",
    b"4:\x7f\0\0\x01",
    b"1:a",
    b"0:",
];

#[test]
fn extended_handshakes() {
    let storm = Storm {
        name: "extended handshake",
        seed: 0x5708_0005,
        read: fuzzing::extended_handshake,
        samples: samples::extended_handshakes(),
        words: EXTENDED,
        held: (1024, 0),
    };
    check(&storm);
}

#[test]
fn messages_of_the_extension_shoal() {
    let storm = Storm {
        name: "shoal message",
        seed: 0x5708_0006,
        read: fuzzing::shoal_message,
        samples: samples::shoal_messages(),
        words: EXTENDED,
        held: (256, 16),
    };
    check(&storm);
}

#[test]
fn messages_of_peer_exchange() {
    let words: &[&[u8]] = &[
        b"d",
        b"e",
        b"l",
        b"5:added",
        b"7:added.f",
        b"6:added6",
        b"8:added6.f",
        b"7:dropped",
        b"8:dropped6",
        b"6:\x0a\0\0\x01\x1b\x58",
        b"6:\0\0\0\0\0\0",
        b"12:\x0a\0\0\x01\x1b\x58\xe0\0\0\x01\x1b\x58",
        b"18:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1b\x59",
        b"1:\x12",
        b"0:",
        b"i1e",
    ];
    let storm = Storm {
        name: "peer exchange",
        seed: 0x5708_000b,
        read: fuzzing::pex_message,
        samples: samples::pex_messages(),
        words,
        held: (64, 8),
    };
    check(&storm);
}

#[test]
fn messages_about_metadata() {
    let words: &[&[u8]] = &[
        b"d",
        b"e",
        b"8:msg_type",
        b"5:piece",
        b"10:total_size",
        b"i0e",
        b"i1e",
        b"i2e",
        b"i-1e",
        b"i16777217e",
        b"i9223372036854775807e",
        b"d8:msg_typei1e5:piecei0ee",
    ];
    let storm = Storm {
        name: "metadata message",
        seed: 0x5708_0010,
        read: fuzzing::metadata_message,
        samples: samples::metadata_messages(),
        words,
        held: (256, 2),
    };
    check(&storm);
}

#[test]
fn datagrams_of_local_discovery() {
    let words: &[&[u8]] = &[
        b"BT-SEARCH * HTTP/1.1\r\n",
        b"BT-SEARCH",
        b"Host: 239.192.152.143:6771\r\n",
        b"Port: 7000\r\n",
        b"Port: 0\r\n",
        b"Port: ",
        b"Infohash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        b"Infohash: ",
        b"cookie: 5ea1\r\n",
        b"cookie: \x1b\r\n",
        b"\r\n",
        b"\n",
        b": ",
        b"\xff",
    ];
    let storm = Storm {
        name: "local discovery",
        seed: 0x5708_000c,
        read: fuzzing::local_announce,
        samples: samples::local_announces(),
        words,
        held: (128, 4),
    };
    check(&storm);
}

#[test]
fn magnet_links() {
    let words: &[&[u8]] = &[
        b"magnet:?",
        b"xt=",
        b"urn:btih:",
        b"urn:btmh:1220",
        b"0123456789abcdef0123456789abcdef01234567",
        b"aeaqcaibaeaqcaibaeaqcaibaeaqcaib",
        b"&dn=",
        b"&tr=",
        b"&tr.1=",
        b"&x.pe=",
        b"http://t",
        b"10.0.0.1:1",
        b"[::1]:1",
        b"%",
        b"%00",
        b"%ff",
        b"+",
        b"&",
        b"=",
    ];
    let storm = Storm {
        name: "magnet link",
        seed: 0x5708_0011,
        read: fuzzing::magnet,
        samples: samples::magnet_links(),
        words,
        held: (512, 32),
    };
    check(&storm);
}

#[test]
fn announces() {
    let words: &[&[u8]] = &[
        b"info_hash=",
        b"&peer_id=",
        b"&port=",
        b"&left=",
        b"&event=",
        b"&numwant=",
        b"&ip=",
        b"&have=",
        b"&labels=",
        b"&shoal=1",
        b"&key=",
        b"&trackerid=",
        b"aaaaaaaaaaaaaaaaaaaa",
        b"%00",
        b"%",
        b"%zz",
        b"+",
        b"&",
        b"=",
        b"1",
        b"-1",
        b"99999999999999999999",
    ];
    let storm = Storm {
        name: "announce",
        seed: 0x5708_0007,
        read: fuzzing::announce_query,
        samples: samples::announces(),
        words,
        held: (512, 16),
    };
    check(&storm);
}

#[test]
fn replies_to_announces() {
    let words: &[&[u8]] = &[
        b"d",
        b"e",
        b"l",
        b"8:interval",
        b"5:peers",
        b"6:peers6",
        b"12:min interval",
        b"2:ip",
        b"4:port",
        b"7:peer id",
        b"14:failure reason",
        b"8:retry in",
        b"5:never",
        b"5:shoal",
        b"11:external ip",
        b"15:warning message",
        b"10:tracker id",
        b"i1800e",
        b"i-1e",
        b"i1e",
        b"6:\x01\x02\x03\x04\x05\x06",
        b"1:v",
        b"0:",
        b"7:1.2.3.4",
    ];
    let storm = Storm {
        name: "announce reply",
        seed: 0x5708_0008,
        read: fuzzing::announce_reply,
        samples: samples::announce_replies(),
        words,
        held: (1024, 16),
    };
    check(&storm);
}

#[test]
fn scrapes() {
    let words: &[&[u8]] = &[b"info_hash=", b"&", b"=", b"aaaaaaaaaaaaaaaaaaaa", b"%00", b"%", b"x"];
    let storm = Storm {
        name: "scrape",
        seed: 0x5708_0009,
        read: fuzzing::scrape_request,
        samples: samples::scrapes(),
        words,
        held: (64, 2),
    };
    check(&storm);
}

#[test]
fn replies_to_scrapes() {
    let words: &[&[u8]] = &[
        b"d",
        b"e",
        b"l",
        b"5:files",
        b"8:complete",
        b"10:incomplete",
        b"10:downloaded",
        b"i7e",
        b"20:aaaaaaaaaaaaaaaaaaaa",
        b"i-1e",
        b"14:failure reason",
        b"2:no",
        b"0:",
    ];
    let storm = Storm {
        name: "scrape reply",
        seed: 0x5708_000a,
        read: fuzzing::scrape_reply,
        samples: samples::scrape_replies(),
        words,
        held: (64, 4),
    };
    check(&storm);
}

/// Nothing small becomes something large, however often it is said.
#[test]
fn large_inputs_hold_no_more_for_each_byte() {
    let often = |before: &str, word: &str, after: &str| {
        [before, &word.repeat(50_000), after].concat().into_bytes()
    };
    let files = |file: &str| {
        let info = "4:name1:a12:piece lengthi16384e6:pieces0:";
        often("d4:infod5:filesl", file, &format!("e{info}ee"))
    };
    type Read = fn(&[u8]) -> Outcome;
    let inputs: [(Read, Vec<u8>); 8] = [
        (fuzzing::bencode, often("l", "0:", "e")),
        (fuzzing::bencode, often("l", "de", "e")),
        (fuzzing::bencode, often("l", "d0:0:e", "e")),
        (fuzzing::metainfo, files("d6:lengthi0e4:pathl1:aee")),
        (fuzzing::metainfo, files("d6:lengthi0e4:pathl2:a\u{7f}0:0:0:0:ee")),
        (fuzzing::announce_reply, often("d5:peersl", "d2:ip7:1.2.3.44:porti1ee", "ee")),
        (fuzzing::announce_reply, often("d5:peers300000:", "abcdef", "e")),
        (fuzzing::wire, often("\n\u{4}", "\0\0\0\u{1}\0", "")),
    ];
    for (index, (read, input)) in inputs.iter().enumerate() {
        let most = 1024 + 32 * input.len();
        match read(input) {
            Outcome::Holds(held) => assert!(held <= most, "input {index}: {held} of {most}"),
            Outcome::Refused(reason) => panic!("input {index}: {reason}"),
        }
    }
}
