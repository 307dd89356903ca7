//! A node whose disk stands still answers everything that it may be asked: the control surface never
//! waits for the data path.

use std::{
    fs::File,
    io::{self, IoSlice},
    path::PathBuf,
    sync::{Condvar, Mutex},
};

use super::*;
use crate::{
    disk::{FileStamp, Location, OpenMode},
    policy_host::PolicyHost,
    session::{
        settings::{SettingsChange, SettingsOf},
        start::start_with,
    },
};

/// A disk of which every call waits while it is held.
#[derive(Debug, Default)]
struct HeldDisk {
    state: Mutex<Held>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    is_held: bool,
    waiting: usize,
}

impl HeldDisk {
    fn hold(&self) {
        self.state.lock().unwrap().is_held = true;
    }

    fn release(&self) {
        self.state.lock().unwrap().is_held = false;
        self.bell.notify_all();
    }

    /// Calls that wait.
    fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting
    }

    fn pass(&self) -> RealFileSystem {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        let mut state = self.bell.wait_while(state, |state| state.is_held).unwrap();
        state.waiting -= 1;
        RealFileSystem
    }
}

impl FileSystem for HeldDisk {
    fn open(&self, at: &Location, mode: OpenMode) -> io::Result<File> {
        self.pass().open(at, mode)
    }

    fn stamp(&self, at: &Location) -> io::Result<FileStamp> {
        self.pass().stamp(at)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.pass().set_len(file, len)
    }

    fn write_all_at(&self, file: &File, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.pass().write_all_at(file, parts, offset)
    }

    fn copy(&self, from: &File, to: &File) -> io::Result<u64> {
        self.pass().copy(from, to)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.pass().sync_file(file)
    }

    fn drop_cache(&self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        self.pass().drop_cache(file, offset, len)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass().sync_dir(path)
    }

    fn create_dirs(&self, at: &Location) -> io::Result<Vec<PathBuf>> {
        self.pass().create_dirs(at)
    }

    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        self.pass().rename(from, to)
    }

    fn remove_file(&self, at: &Location) -> io::Result<()> {
        self.pass().remove_file(at)
    }

    fn remove_dir(&self, at: &Location) -> io::Result<()> {
        self.pass().remove_dir(at)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.pass().free_space(path)
    }
}

/// Releases the disk however a test ends: its threads are joined at the end of a session.
struct Release(Arc<HeldDisk>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_stands_still_answers_whatever_it_is_asked() {
    let seed = Node::start().await;
    let created = seed.seed(&FILES).await;
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(HeldDisk::default());
    let running = start_with(options(&dir), disk.clone(), PolicyHost::new).await.unwrap();
    let leech = Node { running, dir };
    let torrent = leech.add(&created.metainfo).await;
    let _release = Release(disk.clone());
    disk.hold();
    leech.command(Command::ConnectPeer(torrent, seed.addr())).await.unwrap();
    let job = leech.auto_download(torrent).await;
    // All that can be fetched is, and waits for the disk.
    while disk.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    // None of these answers could come if it waited for a call that is held.
    let handle = leech.handle();
    assert_eq!(within(handle.node_totals()).await.unwrap().jobs_running, 1);
    let places = within(handle.torrent_places(vec![torrent; 100])).await.unwrap();
    assert!(places.iter().all(Option::is_some));
    let state = leech.look(move |session| session.torrent(torrent).unwrap().state).await;
    assert_eq!(state, TorrentState::Downloading);
    assert_eq!(leech.look(move |session| session.connections(torrent).len()).await, 1);
    assert!(leech.look(move |session| session.job(job).unwrap().ended.is_none()).await);
    let slower = SettingsChange { upload_bps: Some(1 << 20), ..SettingsChange::default() };
    for of in [SettingsOf::Node, SettingsOf::Torrent(torrent)] {
        assert!(within(handle.change_settings(of, slower.clone())).await.unwrap().is_some());
        assert!(within(handle.settings(of)).await.unwrap().is_some());
    }
    leech.command(Command::CancelJob(job)).await.unwrap();
    leech.command(Command::DisconnectPeer(torrent, seed.addr())).await.unwrap();
    leech.command(Command::Pause(torrent)).await.unwrap();
    leech.command(Command::Resume(torrent)).await.unwrap();
    assert!(disk.waiting() > 0, "the disk stood still all the time");
    disk.release();
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    assert_copied(&seed, &leech);
    leech.stop().await;
    seed.stop().await;
}
