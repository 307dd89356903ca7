//! Whole sessions in one process, over loopback: seed to leech, restart, removal; policies in a
//! file of their own.

mod held_disk;
mod policies;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use shoal_core::{
    config::Config,
    ids::{JobId, TorrentId},
    metainfo::create::Pad,
    policy::Labels,
    session::{
        Session,
        command::{Command, CommandError, Done},
        view::{JobView, TorrentState},
    },
};
use tempfile::TempDir;

use super::{
    event_hub::{Detail, EventKind},
    handle::{AddError, AddSource, AddTorrent, CreateError, CreateTorrent, Created},
    *,
};
use crate::{
    clock::Clock,
    disk::{FileSystem, RealFileSystem},
};

/// The disk of this machine.
fn real() -> Arc<dyn FileSystem> {
    Arc::new(RealFileSystem)
}

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(dir: &TempDir) -> SessionOptions {
    SessionOptions {
        config: Config::default(),
        state_dir: dir.path().join("state"),
        downloads: dir.path().join("downloads"),
        chunks: None,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        rates: crate::net::Rates::default(),
        web_seed_guard: crate::webseed::Guard::default(),
        advertise: None,
        labels: Labels::new(),
        clock: Clock::start(),
    }
}

/// A node of a test and its folders.
struct Node {
    dir: TempDir,
    running: Running,
}

impl Node {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(dir: TempDir) -> Self {
        let running = start(options(&dir)).await.unwrap();
        Self { dir, running }
    }

    fn handle(&self) -> &SessionHandle {
        &self.running.handle
    }

    fn addr(&self) -> SocketAddr {
        self.handle().facts().listen_addr
    }

    fn downloads(&self) -> std::path::PathBuf {
        self.dir.path().join("downloads")
    }

    /// Ends the session in order; everything must have ended in time.
    async fn stop(self) -> TempDir {
        let Self { dir, running } = self;
        let report = within(running.handle.shutdown()).await;
        assert_eq!(report.unfinished, Vec::<String>::new());
        assert_eq!(within(running.task).await.unwrap(), report);
        dir
    }

    async fn restart(self) -> Self {
        Self::start_in(self.stop().await).await
    }

    async fn command(&self, command: Command) -> Result<Done, CommandError> {
        within(self.handle().command(command)).await
    }

    /// Makes a torrent of some files of its own and seeds it.
    async fn seed(&self, files: &[(&str, usize)]) -> Created {
        let path = self.dir.path().join("data");
        for (index, (name, len)) in files.iter().enumerate() {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, noise(*len, index as u64)).unwrap();
        }
        let created = self.create(&path).await.unwrap();
        let id = created.added.unwrap().id;
        self.until(move |session| {
            session.torrent(id).is_some_and(|t| t.state == TorrentState::Seeding)
        })
        .await;
        created
    }

    async fn create(&self, path: &Path) -> Result<Created, CreateError> {
        let creation = within(self.handle().create_torrent(CreateTorrent {
            path: path.to_path_buf(),
            name: None,
            piece_len: Some(32 * 1024),
            pad: Pad::Auto,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            seed: true,
        }))
        .await?;
        within(creation.result).await.unwrap()
    }

    async fn add(&self, metainfo: &[u8]) -> TorrentId {
        let add = AddTorrent { metainfo: metainfo.to_vec(), source: AddSource::Download };
        let added = within(self.handle().add_torrent(add)).await.unwrap();
        assert!(!added.already);
        added.id
    }

    /// Downloads a torrent from these nodes and waits for the end.
    async fn download(&self, torrent: TorrentId, from: &[&Self]) -> JobView {
        for node in from {
            self.command(Command::ConnectPeer(torrent, node.addr())).await.unwrap();
        }
        let job = self.auto_download(torrent).await;
        self.end_of(job).await
    }

    async fn auto_download(&self, torrent: TorrentId) -> JobId {
        let auto = Command::AutoDownload { torrent, available_only: false, patient: true };
        let Done::Job { job, .. } = self.command(auto).await.unwrap() else {
            panic!("auto_download was answered without a job")
        };
        job
    }

    /// Follows a job to its end, without polling.
    async fn end_of(&self, job: JobId) -> JobView {
        let mut bell = self.handle().job_watch(job);
        loop {
            let view = self.look(move |session| session.job(job)).await.unwrap();
            if view.ended.is_some() {
                return view;
            }
            within(bell.changed()).await.unwrap();
        }
    }

    async fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Session) -> R + Send + 'static,
    ) -> R {
        within(self.handle().query(look)).await.unwrap()
    }

    /// Waits until something holds, looking again after every event.
    async fn until(&self, holds: impl Fn(&Session) -> bool + Send + Copy + 'static) {
        let mut events = self.handle().events().subscribe();
        while !self.look(holds).await {
            within(events.next()).await.unwrap();
        }
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("a test waited too long")
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

const FILES: [(&str, usize); 3] = [("a.bin", 300_000), ("sub/b.bin", 1_500_000), ("empty", 0)];

fn assert_copied(from: &Node, to: &Node) {
    for (name, _) in FILES {
        let original = fs::read(from.dir.path().join("data").join(name)).unwrap();
        let copy = fs::read(to.downloads().join("data").join(name)).unwrap();
        assert!(original == copy, "{name} differs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_seeds_another_downloads_merges_and_serves_in_turn() {
    let (seed, leech, third) = (Node::start().await, Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let torrent = leech.add(&created.metainfo).await;
    let mut events = leech.handle().events().subscribe();
    let job = leech.download(torrent, &[&seed]).await;
    let (_, result) = job.ended.unwrap();
    let done = result.unwrap();
    assert!(!done.paths.is_empty());
    assert_copied(&seed, &leech);
    let place = within(leech.handle().torrent_place(torrent)).await.unwrap().unwrap();
    assert_eq!(place.location, leech.downloads().join("data"));
    let pieces = leech.look(move |s| s.have(torrent).map(|have| have.count_ones())).await.unwrap();
    leech
        .until(move |s| s.torrent(torrent).is_some_and(|t| t.state == TorrentState::Seeding))
        .await;
    let mut told = Vec::new();
    while let Some(Ok(event)) = events.try_next() {
        told.push((event.kind, event.what));
    }
    for expected in [
        (EventKind::Peer, "connected"),
        (EventKind::Job, "began"),
        (EventKind::Merge, "merged"),
        (EventKind::Job, "ended"),
    ] {
        assert!(told.contains(&expected), "{expected:?} is missing in {told:?}");
    }
    // From where the files were merged to.
    let there = third.add(&created.metainfo).await;
    third.download(there, &[&leech]).await.ended.unwrap().1.unwrap();
    assert_copied(&seed, &third);
    let again = third.look(move |s| s.have(there).map(|have| have.count_ones())).await.unwrap();
    assert_eq!(again, pieces);
    third.stop().await;
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_download_at_once_from_a_seed_and_from_each_other() {
    let seed = Node::start().await;
    let leeches = [Node::start().await, Node::start().await, Node::start().await];
    let created = seed.seed(&[("a.bin", 9_000_001), ("sub/b.bin", 3_000_007)]).await;
    let mut jobs = Vec::new();
    for (index, leech) in leeches.iter().enumerate() {
        let torrent = leech.add(&created.metainfo).await;
        for other in std::iter::once(&seed).chain(&leeches[..index]) {
            leech.command(Command::ConnectPeer(torrent, other.addr())).await.unwrap();
        }
        jobs.push((torrent, leech.auto_download(torrent).await));
    }
    for (leech, (torrent, job)) in leeches.iter().zip(jobs) {
        leech.end_of(job).await.ended.unwrap().1.unwrap();
        let view = leech.look(move |s| s.torrent(torrent)).await.unwrap();
        assert_eq!((view.done_bytes, view.failed_pieces), (view.total_bytes, 0));
        for name in ["a.bin", "sub/b.bin"] {
            let original = fs::read(seed.dir.path().join("data").join(name)).unwrap();
            let copy = fs::read(leech.downloads().join("data").join(name)).unwrap();
            assert!(original == copy, "{name} differs");
        }
    }
    for leech in leeches {
        leech.stop().await;
    }
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_cut_short_by_the_end_goes_on_after_a_restart() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&[("a.bin", 40_000_000)]).await;
    let hash = created.info_hash;
    let torrent = leech.add(&created.metainfo).await;
    leech.command(Command::ConnectPeer(torrent, seed.addr())).await.unwrap();
    leech.auto_download(torrent).await;
    leech.until(move |s| s.torrent(torrent).is_some_and(|t| t.pieces_have > 10)).await;
    let leech = leech.restart().await;
    let view = leech.look(move |s| s.torrent(s.by_hash(&hash)?)).await.unwrap();
    assert!(view.auto_download || view.done_bytes == view.total_bytes);
    // What was had before is had again without a byte from anyone.
    assert!(view.pieces_have > 10 && view.downloaded > 0, "{view:?}");
    let torrent = view.id;
    let job = leech.auto_download(torrent).await;
    leech.command(Command::ConnectPeer(torrent, seed.addr())).await.unwrap();
    leech.end_of(job).await.ended.unwrap().1.unwrap();
    let copy = fs::read(leech.downloads().join("data/a.bin")).unwrap();
    assert!(copy == noise(40_000_000, 0));
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunk_events_name_every_piece_once_and_come_four_times_a_second_at_most() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&[("a.bin", 20_000_000)]).await;
    let torrent = leech.add(&created.metainfo).await;
    let mut events = leech.handle().events().subscribe();
    leech.command(Command::ConnectPeer(torrent, seed.addr())).await.unwrap();
    leech.auto_download(torrent).await;
    let pieces = leech.look(move |s| s.have(torrent).unwrap().len()).await;
    let (mut told, mut last) = (std::collections::BTreeSet::new(), None::<std::time::SystemTime>);
    while told.len() < pieces {
        let event = within(events.next()).await.unwrap();
        let Detail::Chunks(change) = &event.detail else { continue };
        assert!(change.lost.is_empty() && !change.have.is_empty());
        for piece in &change.have {
            assert!(told.insert(*piece), "{piece:?} was told twice");
        }
        let apart = last.and_then(|last| event.at.duration_since(last).ok());
        // The loop's turns make the one or the other event a little late.
        assert!(apart.is_none_or(|apart| apart > Duration::from_millis(150)), "{apart:?}");
        last = Some(event.at);
    }
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_what_was_had_and_the_totals() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let torrent = leech.add(&created.metainfo).await;
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    let before = leech.look(move |s| s.torrent(torrent)).await.unwrap();
    let epoch = leech.handle().events().epoch().to_owned();
    let leech = leech.restart().await;
    assert_ne!(leech.handle().events().epoch(), epoch);
    let hash = created.info_hash;
    let view = leech.look(move |s| s.torrent(s.by_hash(&hash)?)).await.unwrap();
    assert_eq!((view.state, view.done_bytes), (TorrentState::Seeding, view.total_bytes));
    assert_eq!(view.downloaded, before.downloaded);
    assert!(view.downloaded > 0);
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_file_is_noticed_without_a_request_and_not_served() {
    let seed = Node::start().await;
    let created = seed.seed(&FILES).await;
    let id = created.added.unwrap().id;
    let file = seed.dir.path().join("data/a.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes[5] ^= 1;
    fs::write(&file, bytes).unwrap();
    let all = u32::try_from(seed.look(move |s| s.have(id).unwrap().len()).await).unwrap();
    seed.until(move |s| {
        s.torrent(id).is_some_and(|t| t.pieces_have == all - 1 && t.state != TorrentState::Checking)
    })
    .await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn additions_are_checked_and_repeated_ones_change_nothing() {
    let seed = Node::start().await;
    let created = seed.seed(&FILES).await;
    let add = |metainfo: &[u8], source| {
        within(seed.handle().add_torrent(AddTorrent { metainfo: metainfo.to_vec(), source }))
    };
    assert!(matches!(add(b"rubbish", AddSource::Download).await, Err(AddError::Metainfo(_))));
    let again = add(&created.metainfo, AddSource::Download).await.unwrap();
    assert!(again.already && Some(again.id) == created.added.map(|added| added.id));
    let other = Node::start().await;
    let path = other.dir.path().join("data");
    let add = |source: AddSource| {
        let metainfo = created.metainfo.clone();
        within(other.handle().add_torrent(AddTorrent { metainfo, source }))
    };
    assert!(matches!(add(AddSource::Seed(path.clone())).await, Err(AddError::Seed { .. })));
    fs::create_dir_all(path.join("sub")).unwrap();
    for (name, len) in FILES {
        fs::write(path.join(name), noise(len + usize::from(name == "a.bin"), 0)).unwrap();
    }
    match add(AddSource::Seed(path.clone())).await {
        Err(AddError::Seed { path: wrong, .. }) => assert!(wrong.ends_with("data/a.bin")),
        other => panic!("{other:?}"),
    }
    assert_eq!(other.look(|s| s.torrents().len()).await, 0, "nothing stays of a refused one");
    let other = other.restart().await;
    assert_eq!(other.look(|s| s.torrents().len()).await, 0);
    other.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_torrent_is_gone_and_may_come_back() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let torrent = leech.add(&created.metainfo).await;
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    let removed = leech.command(Command::Remove { torrent, delete_data: true }).await;
    assert_eq!(removed, Ok(Done::Ok));
    assert!(!leech.downloads().join("data").exists(), "merged files went before the answer");
    let torrent = leech.add(&created.metainfo).await;
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    assert_copied(&seed, &leech);
    let kept = leech.command(Command::Remove { torrent, delete_data: false }).await;
    assert_eq!(kept, Ok(Done::Ok));
    assert_copied(&seed, &leech);
    let unknown = leech.command(Command::Remove { torrent, delete_data: false }).await;
    assert_eq!(unknown, Err(CommandError::UnknownTorrent));
    leech.stop().await;
    let seeded =
        seed.command(Command::Remove { torrent: created.added.unwrap().id, delete_data: true });
    assert_eq!(seeded.await, Ok(Done::Ok));
    assert!(seed.dir.path().join("data/a.bin").exists(), "the operator's own data stays");
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_stops_nothing() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let handle = leech.handle().clone();
    let metainfo = created.metainfo.clone();
    let mut add =
        Box::pin(handle.add_torrent(AddTorrent { metainfo, source: AddSource::Download }));
    // One poll sends it; then the caller is gone.
    let polled = tokio::time::timeout(Duration::ZERO, &mut add).await;
    drop(add);
    assert!(polled.is_err());
    let hash = created.info_hash;
    leech.until(move |s| s.by_hash(&hash).is_some()).await;
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_tell_what_is_wrong_and_end_when_they_are_cancelled() {
    let node = Node::start().await;
    let missing = node.create(&node.dir.path().join("nowhere")).await;
    assert!(matches!(missing, Err(CreateError::Source { .. })), "{missing:?}");
    let jobs = node.look(Session::jobs).await;
    assert_eq!(jobs.len(), 1);
    let ended = node.end_of(jobs[0].id).await.ended.unwrap();
    assert!(ended.1.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_end_everybody_is_told_so() {
    let node = Node::start().await;
    let handle = node.handle().clone();
    let mut events = handle.events().subscribe();
    node.stop().await;
    let gone = within(handle.command(Command::Pause(TorrentId(1)))).await;
    assert_eq!(gone, Err(CommandError::ShuttingDown));
    assert!(within(handle.query(|s| s.torrents().len())).await.is_err());
    while within(events.next()).await.is_ok() {}
    assert_eq!(within(handle.shutdown()).await, ShutdownReport::default());
}
