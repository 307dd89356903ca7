//! `shoalctl torrent select`: which files are wanted. Never here: what a pattern means.

use shoal::v1;

use crate::{clean::clean, cli::torrent::SelectArgs, failure::Failure, human, session::Session};

pub(super) async fn select(s: &mut Session<'_>, args: &SelectArgs) -> Result<(), Failure> {
    let torrent = s.select(args.selector.selected());
    let (files, all) = (args.files.clone(), args.all);
    let request = s.request(v1::SelectFilesRequest { torrent, files, all });
    let reply = s.unary(s.torrents().select_files(request)).await?;
    s.reply(&reply, |reply, _| selected(reply.torrent.as_ref()))
}

/// `release: 2 of 5 files wanted, 1.2 MiB of 9.0 MiB`.
fn selected(torrent: Option<&v1::Torrent>) -> String {
    torrent.map_or_else(String::new, |t| {
        format!(
            "{}: {} of {} wanted, {} of {}\n",
            clean(&t.name),
            t.wanted_files,
            human::count(t.files.into(), "file"),
            human::bytes(t.wanted_bytes),
            human::bytes(t.total_bytes),
        )
    })
}

/// `2 of 5 files, 1.2 MiB`.
pub(super) fn wanted(torrent: &v1::Torrent) -> String {
    let files = human::count(torrent.files.into(), "file");
    format!("{} of {files}, {}", torrent.wanted_files, human::bytes(torrent.wanted_bytes))
}
