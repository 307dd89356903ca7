//! `shoalctl torrent`, creation apart. Never here: chunks.

use shoal::v1;

use super::{
    create::node_path,
    look::tell_of_more,
    magnet, select,
    transfer::{begun, job_goes_on, no_result},
};
use crate::{
    clean::clean,
    cli::{
        Limit,
        torrent::{AddArgs, RemoveArgs, Selector, ShowArgs, VerifyArgs},
    },
    confirm::confirm,
    failure::Failure,
    files::read_bounded,
    grid::{Column, Grid, block_within},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    progress::Bar,
    session::Session,
};

/// Largest metainfo file that a node takes, bytes.
const METAINFO_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Digits of an info hash in the list, which has many columns.
const LIST_HASH_DIGITS: usize = 8;

pub(super) async fn add(s: &mut Session<'_>, args: &AddArgs) -> Result<(), Failure> {
    let seed_path = match &args.seed {
        Some(seed) => node_path(s, "--seed", seed)?,
        None => String::new(),
    };
    let source = match magnet::link(&args.file) {
        Some(_) if args.seed.is_some() => {
            return Err(Failure::usage("--seed needs a metainfo file, not a magnet link"));
        }
        Some(link) => v1::add_torrent_request::Source::Magnet(link.to_owned()),
        None => {
            let metainfo = read_bounded(&args.file, METAINFO_LEN_MAX)?;
            v1::add_torrent_request::Source::Metainfo(metainfo)
        }
    };
    let peers = args
        .peers
        .iter()
        .map(|peer| v1::PeerAddress { ip: peer.ip().to_string(), port: peer.port().into() });
    let peers: Vec<_> = peers.collect();
    let given = !peers.is_empty();
    let (source, files) = (Some(source), args.files.clone());
    let request = s.request(v1::AddTorrentRequest { source, seed_path, peers, files });
    let mut reply = s.unary(s.torrents().add_torrent(request)).await?;
    if reply.already {
        let changed = if given { "its peers are known" } else { "nothing was changed" };
        let waits = reply.torrent.as_ref().is_some_and(magnet::is_all);
        let files = match (args.files.is_empty(), waits) {
            (true, _) => "",
            (false, true) => "; these files are wanted of it",
            (false, false) => ": torrent select says which files are wanted",
        };
        s.say(&format!("it was there already; {changed}{files}"));
    }
    if let Some(torrent) = reply.torrent.take() {
        reply.torrent = Some(match args.wait.no_wait {
            false => magnet::follow(s, torrent).await?,
            true => torrent,
        });
    }
    s.reply(&reply, |reply, width| describe(reply.torrent.as_ref(), width))
}

pub(super) async fn list(s: &mut Session<'_>, limit: Limit) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let request = node.request(v1::ListTorrentsRequest { page_size, page_token });
        node.unary(node.torrents().list_torrents(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| table(&reply.torrents).render(width))?;
    if reply.torrents.is_empty() {
        s.say("the node has no torrent");
    }
    tell_of_more(s, &reply.next_page_token, "torrents");
    Ok(())
}

fn table(torrents: &[v1::Torrent]) -> Grid {
    let mut grid = Grid::new([
        Column::Elastic("NAME"),
        Column::Left("HASH"),
        Column::Left("STATE"),
        Column::Right("SIZE"),
        Column::Right("DONE"),
        Column::Right("PEERS"),
        Column::Right("DOWN"),
        Column::Right("UP"),
    ]);
    for torrent in torrents {
        grid.row([
            torrent.name.clone(),
            torrent.info_hash.chars().take(LIST_HASH_DIGITS).collect(),
            state(torrent),
            known(torrent, || human::bytes(torrent.total_bytes)),
            known(torrent, || human::percent(torrent.wanted_done_bytes, torrent.wanted_bytes)),
            torrent.peers.to_string(),
            human::short_rate(torrent.download_bps),
            human::short_rate(torrent.upload_bps),
        ]);
    }
    grid
}

fn state(torrent: &v1::Torrent) -> String {
    human::word(torrent.state().as_str_name(), "TORRENT_STATE_")
}

/// What is known once the metadata is.
fn known(torrent: &v1::Torrent, text: impl FnOnce() -> String) -> String {
    if magnet::is_all(torrent) { "–".to_owned() } else { text() }
}

/// Everything about a torrent.
fn describe(torrent: Option<&v1::Torrent>, width: Option<usize>) -> String {
    let Some(t) = torrent else { return String::new() };
    if magnet::is_all(t) {
        return magnet::describe(t, width);
    }
    let state = if t.error.is_empty() { state(t) } else { format!("{}: {}", state(t), t.error) };
    let chunk_size = human::bytes(t.chunk_size_bytes.into());
    let checking = match t.chunks_checking {
        0 => String::new(),
        left => format!(", {left} being verified"),
    };
    let wanted = (t.wanted_files < t.files).then(|| ("wanted", select::wanted(t)));
    let head = [
        ("name", t.name.clone()),
        ("info hash", t.info_hash.clone()),
        ("state", state),
        (
            "size",
            format!("{}, {}", human::bytes(t.total_bytes), human::count(t.files.into(), "file")),
        ),
    ];
    let rest = [
        ("chunks", format!("{} of {}, {chunk_size} each{checking}", t.chunks_have, t.chunks)),
        ("done", human::percent(t.wanted_done_bytes, t.wanted_bytes)),
        ("peers", t.peers.to_string()),
        ("tracker", if t.tracker_connected { "connected" } else { "not connected" }.to_owned()),
        (
            "downloaded",
            format!("{}, {}", human::bytes(t.downloaded_bytes), human::rate(t.download_bps)),
        ),
        ("uploaded", format!("{}, {}", human::bytes(t.uploaded_bytes), human::rate(t.upload_bps))),
        (
            "wasted",
            format!(
                "{}, {} failed",
                human::bytes(t.wasted_bytes),
                human::count(t.failed_chunks.into(), "chunk")
            ),
        ),
        ("private", if t.private { "yes" } else { "no" }.to_owned()),
        ("location", t.location.clone()),
    ];
    block_within(width, head.into_iter().chain(wanted).chain(rest))
}

pub(super) async fn show(s: &mut Session<'_>, args: &ShowArgs) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(args.limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let torrent = node.select(args.selector.selected());
        let request = node.request(v1::GetTorrentRequest { torrent, page_size, page_token });
        node.unary(node.torrents().get_torrent(request)).await
    })
    .await?;
    s.reply(&reply, details)?;
    tell_of_more(s, &reply.next_page_token, "files");
    Ok(())
}

fn details(reply: &v1::GetTorrentResponse, width: Option<usize>) -> String {
    let mut text = describe(reply.torrent.as_ref(), width);
    let is_magnet = reply.torrent.as_ref().is_some_and(magnet::is_all);
    if !is_magnet {
        let lines = [("comment", &reply.comment), ("created by", &reply.created_by)];
        let said = lines.into_iter().filter(|(_, text)| !text.is_empty());
        text.push_str(&block_within(width, said.map(|(key, text)| (key, text.clone()))));
    }
    for (index, tier) in reply.trackers.iter().enumerate() {
        text.push_str(&format!("tracker tier {}: {}\n", index + 1, clean(&tier.urls.join(" "))));
    }
    for seed in &reply.web_seeds {
        text.push_str(&format!("web seed: {}\n  {}\n", clean(&seed.url), standing(seed)));
    }
    if is_magnet {
        return text;
    }
    let mut grid = Grid::new([
        Column::Tail("FILE"),
        Column::Right("SIZE"),
        Column::Right("CHUNKS"),
        Column::Left("WANTED"),
        Column::Left("MERGED"),
    ]);
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for file in &reply.files {
        grid.row([
            file.path.clone(),
            human::bytes(file.length_bytes),
            format!("{}/{}", file.chunks_have, file.chunks),
            yes_or_no(file.wanted),
            yes_or_no(file.merged),
        ]);
    }
    text.push_str(&grid.render(width));
    text
}

/// How a web seed stands, in words.
fn standing(seed: &v1::WebSeed) -> String {
    let state = if seed.given_up {
        "given up".to_owned()
    } else if seed.rests_ms > 0 {
        format!("rests for {}", human::millis(seed.rests_ms))
    } else if seed.in_use {
        "in use".to_owned()
    } else {
        "not in use".to_owned()
    };
    if seed.error.is_empty() { state } else { format!("{state}: {}", clean(&seed.error)) }
}

pub(super) async fn verify(s: &mut Session<'_>, args: &VerifyArgs) -> Result<(), Failure> {
    let torrent = s.select(args.selector.selected());
    let request = s.long_request(v1::VerifyTorrentRequest { torrent });
    s.interrupt_note = Some(job_goes_on(None));
    let mut stream = s.streaming(s.torrents().verify_torrent(request)).await?;
    let bar = Bar::new(s);
    let mut last = None;
    while let Some(message) = s.next(&mut stream).await? {
        s.step(&message)?;
        if args.wait.no_wait {
            return begun(s, &message, None);
        }
        bar.update(message.progress.as_ref(), "");
        last = Some(message);
    }
    drop(bar);
    let Some(last) = last.filter(|last| last.torrent.is_some()) else { return Err(no_result()) };
    s.finish(&last, |last, _| {
        last.torrent.as_ref().map_or_else(String::new, |t| verified(t, last.bad_chunks))
    })
}

fn verified(torrent: &v1::Torrent, bad_chunks: u32) -> String {
    format!(
        "{}: {} of {} had, {} did not match\n",
        clean(&torrent.name),
        torrent.chunks_have,
        human::count(torrent.chunks.into(), "chunk"),
        human::count(bad_chunks.into(), "chunk"),
    )
}

pub(super) async fn pause(s: &mut Session<'_>, selector: &Selector) -> Result<(), Failure> {
    let torrent = s.select(selector.selected());
    let request = s.request(v1::PauseTorrentRequest { torrent });
    let reply = s.unary(s.torrents().pause_torrent(request)).await?;
    s.reply(&reply, |reply, _| stands(reply.torrent.as_ref()))
}

pub(super) async fn resume(s: &mut Session<'_>, selector: &Selector) -> Result<(), Failure> {
    let torrent = s.select(selector.selected());
    let request = s.request(v1::ResumeTorrentRequest { torrent });
    let reply = s.unary(s.torrents().resume_torrent(request)).await?;
    s.reply(&reply, |reply, _| stands(reply.torrent.as_ref()))
}

/// `file1.webm: paused`.
fn stands(torrent: Option<&v1::Torrent>) -> String {
    torrent.map_or_else(String::new, |t| format!("{}: {}\n", clean(&t.name), state(t)))
}

pub(super) async fn remove(s: &mut Session<'_>, args: &RemoveArgs) -> Result<(), Failure> {
    let torrent = args.name.as_ref().or(args.torrent.as_ref()).cloned().unwrap_or_default();
    if torrent.is_empty() {
        return Err(Failure::usage("removing asks for a torrent's name, info hash or prefix"));
    }
    let delete_data = args.delete_data;
    let data = if delete_data { " and delete its merged files" } else { "" };
    let question = format!("Remove {torrent}{data}?");
    confirm(s, args.yes, &question, "removing a torrent").await?;
    let request = s.request(v1::RemoveTorrentRequest { torrent, delete_data });
    let reply = s.unary(s.torrents().remove_torrent(request)).await?;
    s.reply(&reply, |reply, _| format!("{} removed\n", clean(&reply.name)))
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn the_list_fits_eighty_columns() {
        let torrent = v1::Torrent {
            name: "một tên rất dài của một bộ phim tài liệu.webm".to_owned(),
            info_hash: "0123456789abcdef".repeat(3),
            state: v1::TorrentState::Downloading.into(),
            total_bytes: 1023 << 20,
            wanted_bytes: 1023 << 20,
            wanted_done_bytes: 1 << 20,
            peers: 256,
            download_bps: 999 << 20,
            upload_bps: 999 << 20,
            ..v1::Torrent::default()
        };
        let text = table(&[torrent]).render(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert!(text.contains("downloading") && text.contains("01234567"), "{text}");
    }

    #[test]
    fn chunks_are_said_to_be_verified_only_while_some_are() {
        let chunks = |chunks_checking| {
            let torrent = v1::Torrent {
                chunks: 9,
                chunks_have: 5,
                chunks_checking,
                chunk_size_bytes: 64 << 10,
                ..v1::Torrent::default()
            };
            let text = describe(Some(&torrent), None);
            text.lines().find(|line| line.starts_with("chunks")).unwrap().to_owned()
        };
        assert!(chunks(0).ends_with("5 of 9, 64.0 KiB each"), "{}", chunks(0));
        assert!(chunks(3).ends_with("5 of 9, 64.0 KiB each, 3 being verified"), "{}", chunks(3));
    }

    #[test]
    fn what_is_wanted_is_said_where_not_everything_is() {
        let torrent = |wanted_files| v1::Torrent {
            files: 5,
            wanted_files,
            total_bytes: 30 << 20,
            wanted_bytes: 10 << 20,
            wanted_done_bytes: 5 << 20,
            ..v1::Torrent::default()
        };
        let text = describe(Some(&torrent(2)), None);
        assert!(text.contains("\nwanted:     2 of 5 files, 10.0 MiB\n"), "{text}");
        assert!(text.contains("\ndone:       50%\n"), "{text}");
        assert!(!describe(Some(&torrent(5)), None).contains("wanted:"));
    }

    #[test]
    fn files_fit_eighty_columns() {
        let file = v1::TorrentFile {
            path: "một thư mục có tên rất dài/và một tệp có tên còn dài hơn nữa.webm".to_owned(),
            length_bytes: 1023 << 30,
            chunks: 1_048_576,
            chunks_have: 1_048_575,
            wanted: true,
            merged: false,
        };
        let reply = v1::GetTorrentResponse { files: vec![file], ..Default::default() };
        let text = details(&reply, Some(80));
        let last = text.lines().last().unwrap();
        assert!(last.width() <= 80 && last.contains("1048575/1048576  yes     no"), "{text}");
    }

    #[test]
    fn web_seeds_are_shown_with_how_they_stand_and_safe_for_a_terminal() {
        let seed = |in_use, given_up, rests_ms, error: &str| v1::WebSeed {
            url: "http://w/\u{1b}[31m".to_owned(),
            in_use,
            given_up,
            rests_ms,
            error: error.to_owned(),
        };
        let web_seeds = vec![
            seed(true, false, 0, ""),
            seed(false, false, 0, ""),
            seed(false, false, 20_000, "HTTP status 503\n"),
            seed(false, true, 0, "serves no ranges of files"),
        ];
        let text = details(&v1::GetTorrentResponse { web_seeds, ..Default::default() }, Some(80));
        assert_eq!(text.lines().filter(|line| line.starts_with("web seed: http://w/")).count(), 4);
        let lines = text.lines().filter(|line| line.starts_with("  ")).collect::<Vec<_>>();
        let ends = [
            "  in use",
            "  not in use",
            ": HTTP status 503",
            "  given up: serves no ranges of files",
        ];
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.contains(end) && !line.contains('\u{1b}'), "{line}");
        }
        assert_eq!(lines.len(), 4, "{text}");
    }
}
