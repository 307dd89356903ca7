//! Magnet links: what is one, and how their metadata comes. Never here: torrents whose metadata is
//! known.

use std::{path::Path, time::Duration};

use shoal::v1;

use crate::{failure::Failure, grid::block_within, human, progress::Line, session::Session};

/// How often the node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// The magnet link that an argument is, where it is one.
pub(super) fn link(argument: &Path) -> Option<&str> {
    let text = argument.to_str()?;
    let scheme = text.trim_start().get(.."magnet:".len())?;
    scheme.eq_ignore_ascii_case("magnet:").then_some(text)
}

/// Whether a magnet link is all that is known of a torrent.
pub(super) fn is_all(torrent: &v1::Torrent) -> bool {
    match torrent.state() {
        v1::TorrentState::Metadata => true,
        // That of a torrent has sizes.
        v1::TorrentState::Error => torrent.chunk_size_bytes == 0,
        v1::TorrentState::Unspecified
        | v1::TorrentState::Checking
        | v1::TorrentState::Idle
        | v1::TorrentState::Downloading
        | v1::TorrentState::Seeding
        | v1::TorrentState::Paused
        | v1::TorrentState::DiskFull
        | v1::TorrentState::Quit => false,
    }
}

/// Waits until the metadata of a torrent is here, and shows how it comes. Returns the torrent then.
pub(super) async fn follow(
    s: &mut Session<'_>,
    mut torrent: v1::Torrent,
) -> Result<v1::Torrent, Failure> {
    s.interrupt_note = Some("the node goes on with it (shoalctl torrent list)".to_owned());
    let line = Line::new(s);
    let mut told = String::new();
    while torrent.state() == v1::TorrentState::Metadata {
        if torrent.error != told {
            told.clone_from(&torrent.error);
            if !told.is_empty() {
                s.say(&format!("no tracker answers, trying again: {told}"));
            }
        }
        line.show(&progress(&torrent));
        tokio::time::sleep(ASK_EVERY).await;
        let request = v1::GetTorrentRequest {
            torrent: torrent.info_hash.clone(),
            page_size: 1,
            ..v1::GetTorrentRequest::default()
        };
        let reply = s.unary(s.torrents().get_torrent(s.request(request))).await?;
        torrent = reply.torrent.unwrap_or_default();
    }
    drop(line);
    if is_all(&torrent) {
        let message = format!("the metadata cannot be used: {}", torrent.error);
        return Err(Failure::metadata(message));
    }
    Ok(torrent)
}

/// `fetching metadata: 3 of 6 pieces, 2 peers`.
fn progress(torrent: &v1::Torrent) -> String {
    format!("fetching metadata: {}, {}", pieces(torrent), peers(torrent))
}

fn peers(torrent: &v1::Torrent) -> String {
    human::count(torrent.peers.into(), "peer")
}

fn pieces(torrent: &v1::Torrent) -> String {
    match torrent.metadata_pieces {
        0 => "size unknown yet".to_owned(),
        all => format!("{} of {}", torrent.metadata_pieces_have, human::count(all.into(), "piece")),
    }
}

/// Everything about a torrent of which a magnet link is all that is known.
pub(super) fn describe(torrent: &v1::Torrent, width: Option<usize>) -> String {
    let seeks = torrent.state() == v1::TorrentState::Metadata;
    let (state, tracker) = match (seeks, torrent.tracker_connected) {
        (false, _) => (format!("error: {}", torrent.error), "not connected".to_owned()),
        (true, true) => ("metadata".to_owned(), "connected".to_owned()),
        (true, false) if torrent.error.is_empty() => {
            ("metadata".to_owned(), "not connected".to_owned())
        }
        (true, false) => ("metadata".to_owned(), format!("not connected: {}", torrent.error)),
    };
    let lines = [
        ("name", torrent.name.clone()),
        ("info hash", torrent.info_hash.clone()),
        ("state", state),
        ("metadata", pieces(torrent)),
        ("size", "–".to_owned()),
        ("peers", torrent.peers.to_string()),
        ("tracker", tracker),
    ];
    block_within(width, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magnet_link_is_no_file() {
        assert!(link(Path::new("magnet:?xt=urn:btih:1")).is_some());
        assert!(link(Path::new(" MAGNET:?xt=1")).is_some());
        for file in ["a.torrent", "magnet", "./magnet:x", "mägnets:"] {
            assert_eq!(link(Path::new(file)), None, "{file}");
        }
    }

    #[test]
    fn progress_tells_pieces_and_peers() {
        let mut torrent = v1::Torrent { peers: 1, ..v1::Torrent::default() };
        assert_eq!(progress(&torrent), "fetching metadata: size unknown yet, 1 peer");
        (torrent.peers, torrent.metadata_pieces, torrent.metadata_pieces_have) = (2, 6, 3);
        assert_eq!(progress(&torrent), "fetching metadata: 3 of 6 pieces, 2 peers");
    }
}
