//! Commands that show this peer, the peer set, the connections and the chunks. Never here: anything
//! that changes the node.

use shoal::v1;

use super::peers_page_max;
use crate::{
    clean::clean,
    cli::peer::{PeerSetArgs, SeeChunkStatusArgs, SeeConnectedArgs, SeeThisPeerInfoArgs},
    failure::Failure,
    grid::{Column, Grid, block_within, shorten_head},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    session::Session,
};

/// Chunks shown of a peer's chunk status in a table.
const BITS_SHOWN: u32 = 24;

/// Columns of all but the name in a line of the chunk status, with the longest state.
const CHUNK_REST: usize = 41;

/// Fewest columns of a name in such a line.
const NAME_MIN: usize = 16;

/// Columns of a client's name in a table.
const CLIENT_WIDTH: usize = 18;

pub(super) async fn get_peer_set(s: &mut Session<'_>, args: &PeerSetArgs) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(args.limit.limit, peers_page_max(args), async |page_size, page_token| {
        let request = node.request(v1::GetPeerSetRequest {
            torrent: node.select(args.target.torrent.as_deref()),
            with_bitfields: args.with_bitfields,
            page_size,
            page_token,
        });
        node.unary(node.peer().get_peer_set(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| peer_set(reply.set.as_ref(), args.with_bitfields, width))?;
    tell_of_more(s, &reply.next_page_token, "peers");
    Ok(())
}

pub(super) async fn see_peer_set(s: &mut Session<'_>, args: &PeerSetArgs) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(args.limit.limit, peers_page_max(args), async |page_size, page_token| {
        let request = node.request(v1::SeePeerSetRequest {
            torrent: node.select(args.target.torrent.as_deref()),
            with_bitfields: args.with_bitfields,
            page_size,
            page_token,
        });
        node.unary(node.peer().see_peer_set(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| peer_set(reply.set.as_ref(), args.with_bitfields, width))?;
    tell_of_more(s, &reply.next_page_token, "peers");
    Ok(())
}

/// Says on standard error that a list was cut.
pub(super) fn tell_of_more(s: &mut Session<'_>, token: &str, what: &str) {
    if !token.is_empty() {
        s.say(&format!("there are more {what}; --limit N shows more"));
    }
}

fn peer_set(set: Option<&v1::PeerSet>, with_bitfields: bool, width: Option<usize>) -> String {
    let Some(set) = set.filter(|set| !set.tracker_url.is_empty() || !set.peers.is_empty()) else {
        return "no tracker has answered yet\n".to_owned();
    };
    let mut text = peer_table(set, with_bitfields).render(width);
    text.push_str(&format!(
        "{}, {}, {} in all\nfrom {} {} ago\n",
        human::count(u64::from(set.seeders), "seeder"),
        human::count(u64::from(set.leechers), "leecher"),
        human::count(u64::from(set.total_peers), "peer"),
        clean(&set.tracker_url),
        human::millis(set.age_ms),
    ));
    text
}

fn peer_table(set: &v1::PeerSet, with_bitfields: bool) -> Grid {
    let last = if with_bitfields { "CHUNK STATUS" } else { "LABELS" };
    let mut grid = Grid::new([
        Column::Left("PEER"),
        Column::Right("CHUNKS"),
        Column::Right("DOWNLOADED"),
        Column::Right("UPLOADED"),
        Column::Elastic(last),
    ]);
    for peer in &set.peers {
        let own = if peer.is_self { " (this)" } else { "" };
        grid.row([
            format!("{}{own}", human::address(peer.address.as_ref())),
            chunks_of(peer, set.chunks),
            optional_bytes(peer.downloaded_bytes),
            optional_bytes(peer.uploaded_bytes),
            if with_bitfields {
                bits(&peer.bitfield, set.chunks)
            } else {
                human::pairs(&peer.labels)
            },
        ]);
    }
    grid
}

fn chunks_of(peer: &v1::PeerSetEntry, chunks: u32) -> String {
    peer.chunks_have.map_or_else(|| "-".to_owned(), |have| format!("{have}/{chunks}"))
}

/// Bytes, or `-` for what was not reported.
pub(super) fn optional_bytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), human::bytes)
}

/// The first chunks as 1 and 0.
fn bits(bitfield: &[u8], chunks: u32) -> String {
    if bitfield.is_empty() {
        return "-".to_owned();
    }
    let have = |index: u32| {
        let byte = bitfield.get(index as usize / 8).copied().unwrap_or(0);
        if byte & (0x80 >> (index % 8)) == 0 { '0' } else { '1' }
    };
    let mut text: String = (0..chunks.min(BITS_SHOWN)).map(have).collect();
    if chunks > BITS_SHOWN {
        text.push('…');
    }
    text
}

pub(super) async fn see_this_peer_info(
    s: &mut Session<'_>,
    args: &SeeThisPeerInfoArgs,
) -> Result<(), Failure> {
    let torrent = s.select(args.target.torrent.as_deref());
    let request = s.request(v1::SeeThisPeerInfoRequest { torrent, names_max: args.names });
    let reply = s.unary(s.peer().see_this_peer_info(request)).await?;
    s.reply(&reply, this_peer)
}

fn this_peer(reply: &v1::SeeThisPeerInfoResponse, width: Option<usize>) -> String {
    let own = reply.self_.as_ref();
    let lines = [
        ("ip", own.map_or_else(|| "-".to_owned(), |own| own.ip.clone())),
        ("port", own.map_or_else(|| "-".to_owned(), |own| own.port.to_string())),
        ("peer id", reply.peer_id.clone()),
        ("torrent", reply.torrent_name.clone()),
        ("info hash", reply.info_hash.clone()),
        ("state", human::word(reply.state().as_str_name(), "TORRENT_STATE_")),
        ("chunks", format!("{} had, {} missing", reply.chunks_have, reply.chunks_missing)),
        ("current chunks", names(&reply.current_chunks, reply.chunks_have)),
        ("missing chunks", names(&reply.missing_chunks, reply.chunks_missing)),
        ("downloaded", human::bytes(reply.downloaded_bytes)),
        ("uploaded", human::bytes(reply.uploaded_bytes)),
        ("labels", human::pairs(&reply.labels)),
    ];
    block_within(width, lines)
}

/// The names, runs of them folded, and how many more there are.
fn names(shown: &[String], chunks: u32) -> String {
    let folded = fold(shown).join(", ");
    let Some(more) = u64::from(chunks).checked_sub(shown.len() as u64).filter(|more| *more > 0)
    else {
        return if shown.is_empty() { "-".to_owned() } else { folded };
    };
    if shown.is_empty() { human::count(more, "chunk") } else { format!("{folded} and {more} more") }
}

/// Chunk names in order, a run such as `f.part3`, `f.part4`, `f.part5` as `f.part3–5`.
fn fold(names: &[String]) -> Vec<String> {
    let mut runs: Vec<(&str, Option<(u32, u32)>)> = Vec::new();
    for name in names {
        let number = name.rsplit_once(".part").and_then(|(path, n)| Some((path, n.parse().ok()?)));
        let Some((path, number)) = number else {
            runs.push((name, None));
            continue;
        };
        match runs.last_mut() {
            Some((of, Some((_, last)))) if *of == path && last.checked_add(1) == Some(number) => {
                *last = number;
            }
            _ => runs.push((path, Some((number, number)))),
        }
    }
    let text = |(path, numbers): &(&str, Option<(u32, u32)>)| match numbers {
        None => (*path).to_owned(),
        Some((first, last)) if first == last => format!("{path}.part{first}"),
        Some((first, last)) => format!("{path}.part{first}–{last}"),
    };
    runs.iter().map(text).collect()
}

pub(super) async fn see_connected(
    s: &mut Session<'_>,
    args: &SeeConnectedArgs,
) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(args.limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let torrent = node.select(args.target.torrent.as_deref());
        let request = node.request(v1::SeeConnectedRequest { torrent, page_size, page_token });
        node.unary(node.peer().see_connected(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| connections(&reply.connections).render(width))?;
    if reply.connections.is_empty() {
        s.say("no peer is connected");
    }
    tell_of_more(s, &reply.next_page_token, "connections");
    Ok(())
}

fn connections(connections: &[v1::Connection]) -> Grid {
    let mut grid = Grid::new([
        Column::Left("PEER"),
        Column::Elastic("CLIENT"),
        Column::Left("FLAGS"),
        Column::Right("DOWN"),
        Column::Right("UP"),
        Column::Right("CHUNKS"),
        Column::Right("BUSY"),
        Column::Right("TIME"),
    ]);
    for conn in connections {
        grid.row([
            human::address(conn.peer.as_ref()),
            crate::grid::shorten(&clean(&conn.client), CLIENT_WIDTH),
            flags(conn),
            human::short_rate(conn.download_bps),
            human::short_rate(conn.upload_bps),
            conn.chunks_have.to_string(),
            format!("{}/{}", conn.inflight_chunks, conn.slots),
            human::millis(conn.connected_ms),
        ]);
    }
    grid
}

/// What the help of see-connected explains.
pub(crate) fn flags(conn: &v1::Connection) -> String {
    let mut flags = String::from(if conn.outgoing { ">" } else { "<" });
    flags.extend(match conn.source() {
        v1::PeerSource::Unspecified | v1::PeerSource::Incoming => None,
        v1::PeerSource::Operator => Some('O'),
        v1::PeerSource::Tracker => Some('T'),
        v1::PeerSource::Local => Some('L'),
        v1::PeerSource::Exchange => Some('P'),
        v1::PeerSource::Metainfo => Some('W'),
    });
    for (set, letter) in [
        (conn.am_interested, 'I'),
        (conn.peer_choking, 'C'),
        (conn.peer_interested, 'i'),
        (conn.am_choking, 'c'),
        (conn.snubbed, 'S'),
        (conn.shoal, 'x'),
    ] {
        if set {
            flags.push(letter);
        }
    }
    flags
}

pub(super) async fn see_chunk_status(
    s: &mut Session<'_>,
    args: &SeeChunkStatusArgs,
) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(Some(args.limit), PAGE_SIZE_MAX, async |page_size, page_token| {
        let torrent = node.select(args.target.torrent.as_deref());
        let request = node.request(v1::SeeChunkStatusRequest { torrent, page_size, page_token });
        node.unary(node.peer().see_chunk_status(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| chunk_lines(&reply.chunks, width))?;
    s.say(&format!(
        "{} of {} had",
        reply.chunks_have,
        human::count(reply.total_chunks.into(), "chunk")
    ));
    let left_out = (reply.total_chunks as usize).saturating_sub(reply.chunks.len());
    if left_out > 0 {
        s.say(&format!("{left_out} more are not shown; --limit N shows more"));
    }
    Ok(())
}

/// A line for each name of each chunk, as the specification writes it: `file1.webm.part1: 1`, then
/// size, connected peers that have it, and state. Where the width is known, a long name loses its
/// beginning.
fn chunk_lines(chunks: &[v1::ChunkStatus], width: Option<usize>) -> String {
    let mut text = String::new();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(CHUNK_REST).max(NAME_MIN));
    for chunk in chunks {
        let unnamed = [format!("@{}", chunk.index)];
        let names = if chunk.names.is_empty() { &unnamed[..] } else { &chunk.names };
        for name in names {
            let peers = if chunk.availability == 1 { "peer " } else { "peers" };
            let line = format!(
                "{}: {}  {:>10}  {:>3} {peers}  {}",
                shorten_head(&clean(name), room),
                u8::from(chunk.have),
                human::bytes(chunk.size_bytes.into()),
                chunk.availability,
                clean(&chunk.state),
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn chunk_lines_begin_as_the_specification_writes_them() {
        let chunk = |names: &[&str], index, have| v1::ChunkStatus {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            index,
            have,
            size_bytes: 524_288,
            availability: 2,
            state: "have".to_owned(),
        };
        let text = chunk_lines(
            &[
                chunk(&["file1.webm.part1"], 0, true),
                chunk(&["file1.webm.part2", "tài\n.part1"], 1, false),
                chunk(&[], 2, false),
            ],
            None,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "file1.webm.part1: 1   512.0 KiB    2 peers  have");
        assert!(lines[1].starts_with("file1.webm.part2: 0  "));
        assert!(lines[2].starts_with("tài\u{fffd}.part1: 0  "));
        assert!(lines[3].starts_with("@2: 0  "));
        assert_eq!(lines.len(), 4);
        let long = chunk(&["a film with quite a long name, in two parts.webm.part118"], 0, true);
        let text = chunk_lines(&[long], Some(60));
        assert!(text.starts_with("…parts.webm.part118: 1  "), "{text}");
        assert!(text.trim_end().width() <= 60, "{text}");
    }

    #[test]
    fn bits_come_from_the_highest_and_missing_bytes_read_zero() {
        assert_eq!(bits(&[0b1010_0000], 3), "101");
        assert_eq!(bits(&[0xff], 10), "1111111100");
        assert_eq!(bits(&[], 10), "-");
        assert_eq!(bits(&[0xff; 4], 25), format!("{}…", "1".repeat(24)));
    }

    #[test]
    fn connections_fit_eighty_columns() {
        let conn = v1::Connection {
            peer: Some(v1::PeerAddress { ip: "192.168.100.200".to_owned(), port: 65535 }),
            client: "a client with a very long name \u{202e} indeed".to_owned(),
            outgoing: true,
            am_interested: true,
            peer_choking: true,
            peer_interested: true,
            am_choking: true,
            snubbed: true,
            shoal: true,
            download_bps: 999 << 20,
            upload_bps: 999 << 20,
            chunks_have: 100_000,
            inflight_chunks: 16,
            slots: 16,
            connected_ms: 59_999,
            source: v1::PeerSource::Exchange.into(),
            ..v1::Connection::default()
        };
        let text = connections(&[conn]).render(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert!(text.contains(">PICicSx"));
        assert!(!text.contains('\u{202e}'));
    }

    #[test]
    fn names_left_out_are_counted() {
        let list = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&list(&["a", "b"]), 2), "a, b");
        assert_eq!(names(&list(&["a"]), 3), "a and 2 more");
        assert_eq!(names(&[], 0), "-");
        let run = ["a.part1", "a.part3", "a.part4", "a.part5", "b.part6", "@7"];
        assert_eq!(names(&list(&run), 6), "a.part1, a.part3–5, b.part6, @7");
        // Straddling chunks have more names than chunks.
        assert_eq!(names(&list(&["a", "b"]), 1), "a, b");
    }
}
