use std::net::UdpSocket as StdSocket;

use super::*;

/// How long a datagram on loopback may take.
const SOON: Duration = Duration::from_secs(5);
/// How long nothing comes where nothing is to come.
const WHILE: Duration = Duration::from_millis(300);

/// A group of this test alone, on loopback.
fn config(group: u8) -> DiscoveryConfig {
    let port = 20_000 + std::process::id() as u16 % 20_000;
    DiscoveryConfig {
        listen: Ipv4Addr::LOCALHOST.into(),
        group_v4: (Ipv4Addr::new(239, 192, 77, group), port).into(),
        ..DiscoveryConfig::default()
    }
}

fn start(config: &DiscoveryConfig) -> (Discovery, mpsc::Receiver<Heard>) {
    let (heard, hears) = mpsc::channel(1024);
    (Discovery::start(config, &heard).unwrap(), hears)
}

async fn next(hears: &mut mpsc::Receiver<Heard>) -> Heard {
    tokio::time::timeout(SOON, hears.recv()).await.unwrap().unwrap()
}

async fn nothing(hears: &mut mpsc::Receiver<Heard>) {
    let heard = tokio::time::timeout(WHILE, hears.recv()).await;
    assert!(heard.is_err(), "{heard:?}");
}

fn hashes(count: u8) -> Vec<InfoHash> {
    (0..count).map(|n| InfoHash([n; 20])).collect()
}

/// A stranger that sends to the group of `config` on loopback.
fn stranger(config: &DiscoveryConfig) -> StdSocket {
    let socket = socket_to(config);
    socket.connect(config.group_v4).unwrap();
    socket
}

fn socket_to(config: &DiscoveryConfig) -> StdSocket {
    let IpAddr::V4(listen) = config.listen else { panic!("{config:?}") };
    let socket = StdSocket::bind((listen, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&listen).unwrap();
    socket
}

#[tokio::test]
async fn nodes_of_one_host_hear_each_other_and_not_themselves() {
    let config = config(1);
    let (one, mut of_one) = start(&config);
    let (two, mut of_two) = start(&config);
    one.announce(hashes(2), 7001);
    let expected = Heard { addr: "127.0.0.1:7001".parse().unwrap(), info_hashes: hashes(2) };
    assert_eq!(next(&mut of_two).await, expected);
    nothing(&mut of_one).await;
    two.announce(hashes(1), 7002);
    assert_eq!(next(&mut of_one).await.addr.port(), 7002);
    nothing(&mut of_two).await;
}

#[tokio::test]
async fn many_torrents_go_out_in_several_datagrams() {
    let config = config(2);
    let (one, _of_one) = start(&config);
    let (_two, mut of_two) = start(&config);
    one.announce(hashes(100), 7001);
    let mut heard = Vec::new();
    while heard.len() < 100 {
        heard.extend(next(&mut of_two).await.info_hashes);
    }
    assert_eq!(heard, hashes(100));
}

#[tokio::test]
async fn what_is_not_understood_is_passed_over_and_a_flood_is_cut() {
    let config = config(3);
    let (_node, mut hears) = start(&config);
    let stranger = stranger(&config);
    let announce = LocalAnnounce { port: 9, info_hashes: hashes(1), cookie: String::new() };
    let good = announce.encode(config.group_v4);
    let longer = [&good[..], &[b' '; 2000]].concat();
    for bad in [&b"hello"[..], &[], &[0xff; 1400], &longer] {
        stranger.send(bad).unwrap();
    }
    stranger.send(&good).unwrap();
    assert_eq!(next(&mut hears).await.addr.port(), 9);
    for _ in 0..200 {
        stranger.send(&good).unwrap();
    }
    tokio::time::sleep(WHILE).await;
    let mut count = 0;
    while hears.try_recv().is_ok() {
        count += 1;
    }
    // Two spans of the budget at most, for one may have ended meanwhile.
    assert!((10..=2 * budget::HOST_MAX).contains(&count), "{count}");
}

#[tokio::test]
async fn what_is_sent_to_this_host_alone_is_not_heard() {
    let config = config(4);
    let (_node, mut hears) = start(&config);
    let socket = socket_to(&config);
    let announce = LocalAnnounce { port: 9, info_hashes: hashes(1), cookie: String::new() };
    let datagram = announce.encode(config.group_v4);
    // Nobody listens there: the system may say so.
    let _ = socket.send_to(&datagram, (Ipv4Addr::LOCALHOST, config.group_v4.port()));
    nothing(&mut hears).await;
}

#[tokio::test]
async fn a_group_that_is_none_is_an_error_that_names_it() {
    let (heard, _hears) = mpsc::channel(1);
    let none = DiscoveryConfig { group_v4: "10.1.2.3:6771".parse().unwrap(), ..config(5) };
    let error = Discovery::start(&none, &heard).unwrap_err().to_string();
    assert!(error.contains("10.1.2.3:6771"), "{error}");
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let (node, mut hears) = start(&config(6));
    drop(node);
    let closed = tokio::time::timeout(SOON, hears.recv()).await;
    assert_eq!(closed.unwrap(), None);
}
