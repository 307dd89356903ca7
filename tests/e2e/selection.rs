//! Files that are wanted and files that are not, in whole nodes: what is in the user's folder, what
//! survives a restart, and that a chunk shared with a neighbour is fetched once.

use std::{fs, path::Path};

use shoal::v1::{self, EventKind};
use tonic::Code;

use crate::harness::{CHUNK, Host, Party, address, dead_port, info_hash, last, refusal, sample};

/// Neighbours without padding between them: the second begins in a chunk of the first.
const FILES: [(&str, usize, u64); 5] = [
    ("01.mkv", CHUNK as usize * 5 / 2, 300),
    ("02.mkv", CHUNK as usize * 7 / 2, 301),
    ("extras/03.mkv", CHUNK as usize * 2, 302),
    ("extras/notes.nfo", 100, 303),
    ("empty.txt", 0, 304),
];

/// A seeder of the files, and the torrent.
async fn seeder(party: &Party) -> (Host, Vec<u8>) {
    for (name, len, seed) in FILES {
        party.write(&format!("data/release/{name}"), &sample(len, seed));
    }
    let seeder = party.peer("seeder").await;
    let request = v1::CreateTorrentRequest {
        path: party.dir.path().join("data/release").to_str().unwrap().to_owned(),
        chunk_size_bytes: CHUNK,
        padding: v1::Padding::Never.into(),
        trackers: vec![v1::TrackerTier { urls: vec![party.announce_url().await] }],
        ..Default::default()
    };
    let made = seeder.torrents().create_torrent(request).await.unwrap().into_inner();
    let metainfo = last(made).await.unwrap().metainfo;
    seeder.connect_tracker().await;
    (seeder, metainfo)
}

/// The files in a folder, with what hides in it left out.
fn listed(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    let mut names = found.iter().map(|path| name(path)).collect::<Vec<_>>();
    names.sort();
    names
}

/// The merged files are these, byte by byte, and nothing else is there.
#[track_caller]
fn assert_merged(leecher: &Host, names: &[&str]) {
    let folder = leecher.downloads().join("release");
    assert_eq!(listed(&folder), names);
    for (name, len, seed) in FILES.iter().filter(|(name, ..)| names.contains(name)) {
        assert!(fs::read(folder.join(name)).unwrap() == sample(*len, *seed), "{name} differs");
    }
}

async fn files(host: &Host) -> Vec<v1::TorrentFile> {
    let request = v1::GetTorrentRequest::default();
    host.torrents().get_torrent(request).await.unwrap().into_inner().files
}

async fn wanted(host: &Host) -> Vec<String> {
    files(host).await.into_iter().filter(|file| file.wanted).map(|file| file.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwanted_neighbour_is_not_in_the_folder_until_it_is_selected() {
    let party = Party::new().await;
    let (seeder, metainfo) = seeder(&party).await;
    let file = party.write("release.torrent", &metainfo);
    let leecher = party.peer("leecher").await;
    let mut events = leecher.events(&[EventKind::Torrent]).await;
    let said = leecher.ctl(&["torrent", "add", file.to_str().unwrap(), "--files", "01.mkv"]).await;
    let said = said.ok();
    assert!(said.contains("wanted:     1 of 5 files, 160.0 KiB\n"), "{said}");
    leecher.auto_download().await.unwrap();
    assert_merged(&leecher, &["01.mkv"]);
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.state(), torrent.chunks_have), (v1::TorrentState::Seeding, 3));
    assert_eq!((torrent.wanted_files, torrent.wanted_bytes), (1, u64::from(CHUNK) * 5 / 2));
    assert_eq!(torrent.wanted_done_bytes, torrent.wanted_bytes);
    let list = leecher.ctl(&["torrent", "list"]).await.ok();
    assert!(list.contains("100%"), "{list}");

    // What is wanted, and had, survives.
    let leecher = leecher.restart().await;
    assert_eq!(wanted(&leecher).await, ["01.mkv"]);
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.state(), torrent.chunks_have), (v1::TorrentState::Seeding, 3));
    drop(events);
    events = leecher.events(&[EventKind::Torrent]).await;

    let said = leecher.ctl(&["torrent", "select", "--files", "0?.mkv"]).await.ok();
    assert_eq!(said, "release: 2 of 5 files wanted, 384.0 KiB of 512.1 KiB\n");
    let event = events.what("selected").await;
    assert!(event.message.starts_with("2 of 5 files of release are wanted"), "{}", event.message);
    let Some(v1::event::Detail::Torrent(torrent)) = event.detail else { panic!("no torrent") };
    assert_eq!((torrent.wanted_files, torrent.state()), (2, v1::TorrentState::Idle));
    // The neighbour's part of the shared chunk is here: it is not downloaded again.
    assert_eq!(torrent.wanted_done_bytes, u64::from(CHUNK) * 3);
    leecher.auto_download().await.unwrap();
    assert_merged(&leecher, &["01.mkv", "02.mkv"]);
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.chunks_have, torrent.failed_chunks), (6, 0));
    assert_eq!(torrent.downloaded_bytes, 6 * u64::from(CHUNK));

    leecher.ctl(&["torrent", "select", "release", "--all"]).await.ok();
    leecher.auto_download().await.unwrap();
    let mut all = FILES.map(|(name, ..)| name);
    all.sort_unstable();
    assert_merged(&leecher, &all);
    assert!(leecher.ctl(&["torrent", "show"]).await.ok().lines().all(|l| !l.contains("wanted:")));
    assert_eq!(seeder.torrent().await.uploaded_bytes, leecher.torrent().await.downloaded_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wanted_empty_file_is_made_and_an_unwanted_one_is_not() {
    let party = Party::new().await;
    let (_seeder, metainfo) = seeder(&party).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.ctl(&["torrent", "select", "--files", "empty.txt"]).await.ok();
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Seeding);
    leecher.auto_download().await.unwrap();
    assert_merged(&leecher, &["empty.txt"]);
    assert_eq!(leecher.torrent().await.chunks_have, 0);
    leecher.ctl(&["torrent", "select", "--files", "extras/**", "--files", "!**/*.nfo"]).await.ok();
    assert_eq!(wanted(&leecher).await, ["extras/03.mkv"]);
    leecher.auto_download().await.unwrap();
    assert_merged(&leecher, &["empty.txt", "extras/03.mkv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwanted_file_is_fetched_and_merged_where_an_operator_names_it() {
    let party = Party::new().await;
    let (seeder, metainfo) = seeder(&party).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.ctl(&["torrent", "select", "--files", "01.mkv"]).await.ok();
    leecher.connect_peer(seeder.addr).await;
    for chunk in ["extras/03.mkv.part1", "extras/03.mkv.part2"] {
        let request = v1::RequestDownloadRequest {
            peer: address(seeder.addr),
            chunk: chunk.to_owned(),
            ..Default::default()
        };
        let stream = leecher.peer().request_download(request).await.unwrap().into_inner();
        assert!(last(stream).await.unwrap().verified);
    }
    let merge = async |file: &str| {
        let request = v1::MergeChunksRequest { file: file.to_owned(), ..Default::default() };
        leecher.peer().merge_chunks(request).await.map(|reply| reply.into_inner().paths.len())
    };
    assert_eq!(merge("extras/03.mkv").await.unwrap(), 1);
    assert_merged(&leecher, &["extras/03.mkv"]);
    let refused = merge("").await.unwrap_err();
    assert_eq!(refusal(&refused).1, "MERGE_INCOMPLETE", "of what is wanted");
    assert!(refused.message().contains("01.mkv"), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_selected_is_refused_in_one_line_and_changes_nothing() {
    let party = Party::new().await;
    let (seeder, metainfo) = seeder(&party).await;
    let file = party.write("release.torrent", &metainfo);
    let file = file.to_str().unwrap();
    let leecher = party.peer("leecher").await;
    let line = ["torrent", "add", file, "--files", "01.mkv", "--files", "0l.mkv"];
    let said = leecher.ctl(&line).await;
    assert_eq!((said.exit.number(), said.out.as_str()), (3, ""), "{said:?}");
    let no_match = "no file of \"release\" matches \"0l.mkv\"; the nearest is \"01.mkv\"";
    assert!(said.err.contains(no_match) && said.err.lines().count() == 1, "{said:?}");
    let none = leecher.torrents().list_torrents(v1::ListTorrentsRequest::default()).await;
    assert!(none.unwrap().into_inner().torrents.is_empty());

    leecher.ctl(&["torrent", "add", file, "--files", "01.mkv"]).await.ok();
    let again = leecher.ctl(&["torrent", "add", file, "--files", "02.mkv"]).await;
    assert!(again.err.contains("torrent select"), "{again:?}");
    let long = "x".repeat(1025);
    for (globs, code, word) in [
        (&["02.mkv", "extras"][..], 3, "the nearest is \"extras/**\""),
        (&["01.mkv", "!*.mkv"], 8, "leave no file"),
        (&[""], 8, "empty"),
        (&[&long], 8, "above 1024"),
    ] {
        let line = globs.iter().flat_map(|glob| ["--files", *glob]);
        let line = ["torrent", "select"].into_iter().chain(line).collect::<Vec<_>>();
        let said = leecher.ctl(&line).await;
        assert_eq!((said.exit.number(), said.out.as_str()), (code, ""), "{said:?}");
        assert!(said.err.contains(word) && said.err.lines().count() == 1, "{said:?}");
        assert_eq!(wanted(&leecher).await, ["01.mkv"]);
    }
    let seed = seeder.ctl(&["torrent", "select", "--files", "01.mkv"]).await;
    assert_eq!(seed.exit.number(), 7, "{seed:?}");
    assert!(seed.err.contains("is seeded from") && seed.err.lines().count() == 1, "{seed:?}");
    assert_eq!(wanted(&seeder).await.len(), FILES.len());
    seeder.ctl(&["torrent", "select", "--all"]).await.ok();
    let request =
        v1::SelectFilesRequest { files: vec!["*".into()], all: true, ..Default::default() };
    let both = leecher.torrents().select_files(request).await.unwrap_err();
    assert_eq!(refusal(&both).0, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_given_with_a_magnet_link_count_once_its_metadata_is_here() {
    let party = Party::new().await;
    let (seeder, metainfo) = seeder(&party).await;
    let leecher = party.peer("leecher").await;
    let link = format!("magnet:?xt=urn:btih:{}", info_hash(&metainfo));
    let peer = seeder.addr.to_string();
    let add = ["torrent", "add", &link, "--peer", &peer];

    // Nobody is at the first address: the link waits, and what is given with it again counts.
    let dead = format!("127.0.0.1:{}", dead_port());
    leecher.ctl(&["torrent", "add", &link, "--peer", &dead, "--no-wait"]).await.ok();
    // A pattern that matches nothing: the link stays, with the reason, and may be given again.
    let said = leecher.ctl(&[&add[..], &["--files", "03.mkv"]].concat()).await;
    assert!(said.err.contains("its peers are known; these files are wanted of it"), "{said:?}");
    assert!(said.err.contains("no file of \"release\" matches \"03.mkv\""), "{said:?}");
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Error);

    let said = leecher.ctl(&[&add[..], &["--files", "01.mkv"]].concat()).await.ok();
    assert!(said.contains("wanted:     1 of 5 files"), "{said}");
    leecher.auto_download().await.unwrap();
    assert_merged(&leecher, &["01.mkv"]);
    let said = leecher.ctl(&[&add[..], &["--files", ""]].concat()).await;
    assert_eq!(said.exit, shoal_ctl::Exit::Invalid, "{said:?}");
}
