//! Real inputs: what we write ourselves, and what other clients and trackers are seen to write.

use std::net::SocketAddr;

use shoal_core::{
    ids::{InfoHash, PeerId, PieceIndex},
    metainfo::Metainfo,
    policy::Labels,
    tracker::{
        announce::{
            AnnounceEvent, AnnounceReply, AnnounceRequest, PeerEntry, ShoalPeer, ShoalReply,
            ShoalStatus,
        },
        query::scrape_query,
        reply::PeerForm,
        scrape::{ScrapeEntry, ScrapeReply},
    },
    wire::{
        BlockRange, Handshake, LocalAnnounce, Message, MetadataMessage, PexMessage, PexPeer,
        ShoalMessage, message, pex,
    },
};

use crate::kinds;

/// Larger torrents are left out, bytes: what is odd about them is their size.
const TORRENT_LEN_MAX: usize = 1024;

/// Every small torrent of the table that opens.
pub(crate) fn torrents() -> Vec<Vec<u8>> {
    let all = kinds::all().into_iter().map(|odd| odd.torrent.bytes);
    let small = all.filter(|bytes| bytes.len() <= TORRENT_LEN_MAX);
    small.filter(|bytes| Metainfo::parse(bytes).is_ok()).collect()
}

pub(crate) fn bencoded() -> Vec<Vec<u8>> {
    let all = [torrents(), extended_handshakes(), shoal_messages(), announce_replies()];
    all.into_iter().chain([scrape_replies()]).flatten().collect()
}

pub(crate) fn handshakes() -> Vec<Vec<u8>> {
    let ours = Handshake::new(InfoHash([0xab; 20]), PeerId(*b"-SH0100-abcdefghijkl"));
    let with = |reserved: [u8; 8], id: &[u8; 20]| {
        let peer_id = PeerId(*id);
        Handshake { reserved, peer_id, ..ours }.encode().to_vec()
    };
    vec![
        ours.encode().to_vec(),
        with([0; 8], b"-TR3000-abcdefghijkl"),
        with([0, 0, 0, 0, 0, 0x10, 0, 5], b"-LT2080-abcdefghijkl"),
        with([0xff; 8], b"A2-1-36-0-abcdefghij"),
    ]
}

/// Streams of messages; the first two bytes choose the limits of the connection.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    let block = |piece, offset, len| BlockRange { piece: PieceIndex(piece), offset, len };
    let extended = |id: u8, payload: Vec<u8>| Message::Extended { id, payload };
    let seeder = [
        Message::Bitfield(vec![0xff; 10]),
        extended(0, extended_handshakes().remove(0)),
        Message::Unchoke,
        Message::KeepAlive,
        Message::Have(PieceIndex(7)),
    ];
    let leecher = [
        Message::Bitfield(vec![0; 10]),
        Message::Interested,
        Message::Request(block(3, 16384, 16384)),
        Message::Cancel(block(3, 16384, 16384)),
        Message::Port(6881),
        Message::NotInterested,
        Message::Choke,
    ];
    let talk = shoal_messages().into_iter().map(|payload| extended(1, payload));
    let mut serving = written(&[Message::Unchoke]);
    let mut head = [0; message::PIECE_HEAD_LEN];
    message::encode_piece_head(PieceIndex(3), 0, 32, &mut head);
    serving.extend_from_slice(&[&head[..], &[7; 32]].concat());
    let streams =
        [written(&seeder), written(&leecher), written(&talk.collect::<Vec<_>>()), serving];
    // 16 KiB blocks of a foreign peer, and the 1 MiB of our own.
    let limits = [[10, 4], [10, 255]];
    let each = streams.iter().flat_map(|stream| limits.map(|l| [&l[..], stream].concat()));
    each.collect()
}

fn written(messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| message::encode(message, &mut out));
    out
}

pub(crate) fn extended_handshakes() -> Vec<Vec<u8>> {
    vec![
        b"d1:md5:shoali1e6:ut_pexi3ee1:pi7000e4:reqqi2000e5:shoald6:maxreqi1048576e1:vi1ee1:v11:shoal 0.1.0\
          6:yourip4:\x7f\0\0\x01e"
            .to_vec(),
        b"d1:mdee".to_vec(),
        b"d12:complete_agoi-1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e\
          12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei132e4:reqqi500e\
          1:v18:libtorrent/2.0.8.06:yourip4:\x7f\0\0\x01e"
            .to_vec(),
        b"d1:ei1e1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei104e1:pi51413e4:reqqi512e\
          11:upload_onlyi1e1:v17:Transmission 3.00e"
            .to_vec(),
    ]
}

pub(crate) fn shoal_messages() -> Vec<Vec<u8>> {
    let messages = [
        ShoalMessage::Hello { labels: labels() },
        ShoalMessage::Ping { n: 1 },
        ShoalMessage::Pong { n: u64::from(u32::MAX) },
        ShoalMessage::Status { up: 1 << 40, down: 0 },
    ];
    messages.iter().map(ShoalMessage::encode).chain([b"d1:t3:newe".to_vec()]).collect()
}

pub(crate) fn pex_messages() -> Vec<Vec<u8>> {
    let addr = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let peer = |text, flags| PexPeer { addr: addr(text), flags };
    let ours = PexMessage {
        added: vec![
            peer("10.0.0.1:7000", pex::SEED),
            peer("10.0.0.2:7000", 0),
            peer("[2001:db8::1]:7000", pex::REACHABLE),
        ],
        dropped: vec![addr("10.0.0.3:7000"), addr("[2001:db8::2]:7000")],
    };
    let others: [&[u8]; 3] = [
        b"d5:added6:\x0a\0\0\x01\x1a\xe17:added.f1:\x136:added60:8:added6.f0:7:dropped0:8:dropped60:e",
        b"d5:added12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe17:added.f2:\x10\0e",
        b"d5:added0:7:added.f0:7:dropped6:\x0a\0\0\x01\x1a\xe1e",
    ];
    [ours.encode(), PexMessage::default().encode()]
        .into_iter()
        .chain(others.map(<[u8]>::to_vec))
        .collect()
}

pub(crate) fn local_announces() -> Vec<Vec<u8>> {
    let ours = LocalAnnounce {
        port: 7000,
        info_hashes: (0..3).map(|n| InfoHash([n; 20])).collect(),
        cookie: "0123456789abcdef".to_owned(),
    };
    let other = b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
                  Infohash: ABABABABABABABABABABABABABABABABABABABAB\r\ncookie: 7f3b\r\n\r\n\r\n";
    let groups = ["239.192.152.143:6771", "[ff15::efc0:988f]:6771"];
    let ours = groups.map(|group| ours.encode(group.parse().unwrap()));
    ours.into_iter().chain([other.to_vec()]).collect()
}

pub(crate) fn metadata_messages() -> Vec<Vec<u8>> {
    let bytes = b"d6:lengthi1e4:name1:ae".to_vec();
    let messages = [
        MetadataMessage::Request { piece: 0 },
        MetadataMessage::Data { piece: 0, total_size: Some(22), bytes },
        MetadataMessage::Reject { piece: 3 },
    ];
    messages.iter().map(MetadataMessage::encode).collect()
}

pub(crate) fn magnet_links() -> Vec<Vec<u8>> {
    let links = [
        "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=file1.webm&xl=4\
         &tr=http%3A%2F%2F10.0.0.1%3A7001%2Fannounce&tr=udp%3A%2F%2Ft%3A1&x.pe=10.0.0.1:7000",
        "magnet:?xt.1=urn:btih:AEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIB&dn=a+b&x.pe=%5B::1%5D:7000",
        "magnet:?xt=urn:btmh:1220caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e\
         &xt=urn:btih:0123456789abcdef0123456789abcdef01234567",
    ];
    links.iter().map(|link| link.as_bytes().to_vec()).collect()
}

fn labels() -> Labels {
    let pairs = [("zone", "a"), ("rack", "r7"), ("größe", "xl")];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect()
}

pub(crate) fn announces() -> Vec<Vec<u8>> {
    let (info_hash, peer_id) = (InfoHash([0xab; 20]), PeerId(*b"-SH0100-abcdefghijkl"));
    let plain = AnnounceRequest::new(info_hash, peer_id, 7000, 12345);
    let status = ShoalStatus { have: Some(vec![0xf0; 40]), up: 5, down: 1 << 40, labels: labels() };
    let ours = AnnounceRequest {
        event: Some(AnnounceEvent::Started),
        key: Some(b"0123abcd".to_vec()),
        tracker_id: Some(b"id".to_vec()),
        numwant: Some(200),
        shoal: Some(status),
        ..AnnounceRequest::new(info_hash, peer_id, 7000, 5)
    };
    vec![
        plain.to_query().into_bytes(),
        ours.to_query().into_bytes(),
        b"info_hash=%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab\
          &peer_id=-TR3000-abcdefghijkl&port=51413&uploaded=0&downloaded=0&left=5&numwant=80\
          &key=7f3b&compact=1&supportcrypto=1&event=started"
            .to_vec(),
        b"info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-LT2080-abcdefghijkl&port=6881&uploaded=0\
          &downloaded=0&left=0&corrupt=0&key=12AB&event=completed&numwant=-1&compact=1&no_peer_id=1\
          &supportcrypto=1&redundant=0&ip=10.0.0.7"
            .to_vec(),
    ]
}

pub(crate) fn announce_replies() -> Vec<Vec<u8>> {
    let addr = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let peer = |text: &str| PeerEntry { addr: addr(text), id: None };
    let known = ShoalPeer {
        id: PeerId([7; 20]),
        addr: addr("10.0.0.1:7000"),
        up: Some(1),
        down: None,
        left: 9,
        have: Some(vec![0x80; 10]),
        labels: labels().into(),
    };
    let reply = AnnounceReply {
        min_interval_s: Some(60),
        complete: Some(1),
        peers: vec![peer("10.0.0.1:7000"), peer("10.0.0.2:1"), peer("[2001:db8::1]:6881")],
        warning: Some("slow down".to_owned()),
        tracker_id: Some(b"id".to_vec()),
        external_ip: Some([10, 0, 0, 9].into()),
        shoal: Some(ShoalReply { peers: vec![known.into()] }),
        ..AnnounceReply::new(1800)
    };
    let forms = [PeerForm::Compact, PeerForm::Full, PeerForm::WithoutIds];
    let ours = forms.map(|form| reply.encode(form)).into_iter();
    let others: [&[u8]; 2] = [
        b"d8:completei1e10:incompletei2e8:intervali1800e5:peers12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe1e",
        b"d8:intervali900e5:peersld2:ip8:10.0.0.14:porti6881eed2:ip7:invalid4:porti1eeee",
    ];
    ours.chain(others.map(<[u8]>::to_vec)).collect()
}

pub(crate) fn scrapes() -> Vec<Vec<u8>> {
    let hashes: Vec<_> = (0..5).map(|n| InfoHash([n * 40; 20])).collect();
    let raw = b"info_hash=aaaaaaaaaaaaaaaaaaaa&info_hash=%00%01aaaaaaaaaaaaaaaaaa&x=1";
    vec![scrape_query(&hashes).into_bytes(), raw.to_vec(), Vec::new()]
}

pub(crate) fn scrape_replies() -> Vec<Vec<u8>> {
    let entry = ScrapeEntry { complete: 1, incomplete: 2, downloaded: 3 };
    let files = (0..5).map(|n| (InfoHash([n * 40; 20]), entry)).collect();
    let other =
        b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5eee5:flagsd20:min_request_intervali9eee";
    vec![ScrapeReply { files }.encode(), other.to_vec()]
}
