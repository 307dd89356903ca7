use super::*;

fn group() -> SocketAddr {
    "239.192.152.143:6771".parse().unwrap()
}

fn sample() -> LocalAnnounce {
    LocalAnnounce {
        port: 7000,
        info_hashes: vec![InfoHash([0xab; 20]), InfoHash([0x01; 20])],
        cookie: "5ea1".to_owned(),
    }
}

#[test]
fn a_datagram_is_written_in_the_words_of_bep_14_and_read_again() {
    let encoded = String::from_utf8(sample().encode(group())).unwrap();
    let expected = format!(
        "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 7000\r\nInfohash: {}\r\n\
         Infohash: {}\r\ncookie: 5ea1\r\n\r\n\r\n",
        "ab".repeat(20),
        "01".repeat(20)
    );
    assert_eq!(encoded, expected);
    assert_eq!(LocalAnnounce::decode(encoded.as_bytes()), Ok(sample()));
    let v6 = sample().encode("[ff15::efc0:988f]:6771".parse().unwrap());
    assert!(String::from_utf8(v6).unwrap().contains("Host: [ff15::efc0:988f]:6771\r\n"));
}

#[test]
fn the_longest_datagram_fits_and_reads_whole() {
    let long = LocalAnnounce {
        port: 65535,
        info_hashes: (0..100).map(|n| InfoHash([n; 20])).collect(),
        cookie: "c".repeat(LOCAL_COOKIE_LEN_MAX),
    };
    let encoded = long.encode("[ff15:ffff:ffff:ffff:ffff:ffff:efc0:988f]:65535".parse().unwrap());
    assert!(encoded.len() <= LOCAL_LEN_MAX, "{} bytes", encoded.len());
    let read = LocalAnnounce::decode(&encoded).unwrap();
    assert_eq!(read.info_hashes, long.info_hashes[..LOCAL_HASHES_MAX]);
}

/// What libtorrent, aria2 and Transmission write.
#[test]
fn other_spellings_are_read() {
    let hash = "ABcdef0123456789abcdef0123456789abcdef01";
    let texts = [
        format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: g:6771\r\nPort: 7\r\nInfohash: {hash}\r\ncookie: 1\r\n\r\n\r\n"
        ),
        format!("BT-SEARCH * HTTP/1.0\nport:7\nINFOHASH:{hash}\nX-New: 5\n"),
        format!(
            "BT-SEARCH * HTTP/1.1\r\nPort: 7\r\nPort: 8\r\nInfohash: x\r\nInfohash: {hash}\r\n"
        ),
    ];
    for text in texts {
        let read = LocalAnnounce::decode(text.as_bytes()).unwrap();
        assert_eq!((read.port, read.info_hashes.len()), (7, 1), "{text:?}");
        assert_eq!(read.info_hashes[0], hash.parse().unwrap());
    }
}

#[test]
fn what_says_nothing_is_refused_for_its_reason() {
    let hash = "ab".repeat(20);
    let check = |text: String, error: LocalError| {
        assert_eq!(LocalAnnounce::decode(text.as_bytes()), Err(error), "{text:?}");
    };
    let search = |rest: &str| format!("BT-SEARCH * HTTP/1.1\r\n{rest}\r\n\r\n");
    check(String::new(), LocalError::NoSearch);
    check("M-SEARCH * HTTP/1.1\r\n\r\n".to_owned(), LocalError::NoSearch);
    for port in ["", "Port: 0\r\n", "Port: 65536\r\n", "Port: -1\r\n", "Port: x\r\n"] {
        check(search(&format!("{port}Infohash: {hash}\r\n")), LocalError::Port);
    }
    for bad in ["", "Infohash: abcd\r\n", "Infohash: zz\r\n"] {
        check(search(&format!("Port: 7\r\n{bad}")), LocalError::InfoHash);
    }
    let cookie = "c".repeat(LOCAL_COOKIE_LEN_MAX + 1);
    check(search(&format!("Port: 7\r\nInfohash: {hash}\r\ncookie: {cookie}")), LocalError::Cookie);
    check(search(&format!("Port: 7\r\nInfohash: {hash}\r\ncookie: a\x1bb")), LocalError::Cookie);
    check("x".repeat(LOCAL_LEN_MAX + 1), LocalError::TooLong(LOCAL_LEN_MAX + 1));
    // Behind the empty line nothing counts.
    check(search(&format!("Port: 7\r\n\r\nInfohash: {hash}\r\n")), LocalError::InfoHash);
}
