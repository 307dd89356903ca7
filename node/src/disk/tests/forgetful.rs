//! A file system that forgets, when its power is cut, what was not synced; that fails a sync, is
//! full, or lies on two devices. It works on real files below one folder, so that sources and
//! holes are real, and keeps beside them what a disk would hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, IoSlice},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{Database, StorageBackend, backends::FileBackend};

use crate::disk::{FileStamp, FileSystem, Location, OpenMode, RealFileSystem, Store, StoreError};

/// The file system. All its files are below the folder it was made for.
#[derive(Debug)]
pub(super) struct Forgetful {
    root: PathBuf,
    staging: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    live: Tree,
    durable: Tree,
    /// Renames not durable yet: never half of one.
    renames: Vec<(PathBuf, PathBuf)>,
    power: Power,
    fail_next_sync: bool,
    /// Bytes that may still be written.
    room: Option<u64>,
    /// Renames into or out of this folder cross devices.
    other_device: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Tree {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, u64>,
}

#[derive(Debug, Default)]
struct Node {
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Len(u64),
    Bytes(u64, Vec<u8>),
}

#[derive(Debug, Default)]
enum Power {
    #[default]
    On,
    /// Off after this many more acts.
    OffAfter(u64),
    Off,
}

impl Forgetful {
    /// Over a folder, whose content so far is durable. `staging` is an empty folder beside it.
    pub(super) fn new(root: &Path, staging: &Path) -> Arc<Self> {
        let mut state = State::default();
        let mut dirs = vec![root.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let inode = fs::metadata(&path).unwrap().ino();
                    let durable = fs::read(&path).unwrap();
                    state.nodes.insert(inode, Node { durable, unsynced: Vec::new() });
                    state.live.files.insert(path.clone(), inode);
                    state.durable.files.insert(path, inode);
                }
            }
            state.live.dirs.insert(dir.clone());
            state.durable.dirs.insert(dir);
        }
        let state = Mutex::new(state);
        Arc::new(Self { root: root.to_path_buf(), staging: staging.to_path_buf(), state })
    }

    pub(super) fn cut_after(&self, acts: u64) {
        let mut state = self.state();
        if !matches!(state.power, Power::Off) {
            state.power = Power::OffAfter(acts);
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        matches!(self.state().power, Power::Off)
    }

    pub(super) fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    pub(super) fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    pub(super) fn put_on_other_device(&self, folder: &Path) {
        self.state().other_device = Some(folder.to_path_buf());
    }

    /// One act: fails once the power is off.
    fn act(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.power {
            Power::On => Ok(state),
            Power::OffAfter(left @ 1..) => {
                *left -= 1;
                Ok(state)
            }
            power @ (Power::OffAfter(0) | Power::Off) => {
                *power = Power::Off;
                Err(io::Error::other("the power is off"))
            }
        }
    }

    /// What a disk holds after a cut now: all that was synced, and of the rest what `seed` lets
    /// through. Everything that had these files open is to be dropped before.
    pub(super) fn restart(&self, seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut state = self.state();
        let state = &mut *state;
        for (from, to) in std::mem::take(&mut state.renames) {
            if rng.bool() {
                state.durable.rename(&from, &to);
            }
        }
        for dir in state.live.dirs.difference(&state.durable.dirs.clone()) {
            if rng.bool() {
                state.durable.dirs.insert(dir.clone());
            }
        }
        for (path, inode) in &state.live.files {
            if !state.durable.files.values().any(|known| known == inode) && rng.bool() {
                state.durable.files.insert(path.clone(), *inode);
            }
        }
        for node in state.nodes.values_mut() {
            for write in std::mem::take(&mut node.unsynced) {
                if rng.bool() {
                    node.apply(write);
                }
            }
        }
        let durable = &mut state.durable;
        let reachable = |path: &Path, dirs: &BTreeSet<PathBuf>| {
            let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root));
            above.into_iter().all(|dir| dirs.contains(dir))
        };
        let dirs = durable.dirs.clone();
        durable.dirs.retain(|dir| reachable(dir, &dirs));
        durable.files.retain(|path, _| reachable(path, &dirs));
        self.rebuild(state);
        state.power = Power::On;
        state.fail_next_sync = false;
    }

    /// Makes the real files what the disk holds, inodes and times kept where the file lives on.
    fn rebuild(&self, state: &mut State) {
        let staged = |inode: u64| self.staging.join(inode.to_string());
        for (path, inode) in &state.live.files {
            fs::rename(path, staged(*inode)).unwrap();
        }
        for dir in state.live.dirs.iter().rev().filter(|dir| **dir != self.root) {
            fs::remove_dir(dir).unwrap();
        }
        for dir in state.durable.dirs.iter().filter(|dir| **dir != self.root) {
            fs::create_dir(dir).unwrap();
        }
        let mut nodes = BTreeMap::new();
        for (path, inode) in &mut state.durable.files {
            let node = state.nodes.remove(inode).unwrap();
            if staged(*inode).exists() {
                fs::rename(staged(*inode), path.clone()).unwrap();
            } else {
                File::create_new(path).unwrap();
            }
            node.write_to(path);
            *inode = fs::metadata(path).unwrap().ino();
            nodes.insert(*inode, node);
        }
        for entry in fs::read_dir(&self.staging).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        state.nodes = nodes;
        state.live = Tree { dirs: state.durable.dirs.clone(), files: state.durable.files.clone() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Tree {
    fn path_of(&self, inode: u64) -> Option<&PathBuf> {
        self.files.iter().find(|(_, known)| **known == inode).map(|(path, _)| path)
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(inode) = self.files.remove(from) {
            self.files.insert(to.to_path_buf(), inode);
        }
    }
}

impl Node {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Len(len) => self.durable.resize(len as usize, 0),
            Write::Bytes(at, bytes) => {
                let (at, end) = (at as usize, at as usize + bytes.len());
                self.durable.resize(self.durable.len().max(end), 0);
                self.durable[at..end].copy_from_slice(&bytes);
            }
        }
    }

    /// Writes the content, holes for zeros, under the time that the file had.
    fn write_to(&self, path: &Path) {
        if fs::read(path).unwrap() == self.durable {
            return;
        }
        let file = File::options().write(true).open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_len(0).unwrap();
        file.set_len(self.durable.len() as u64).unwrap();
        for (index, block) in self.durable.chunks(4096).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                file.write_all_at(block, index as u64 * 4096).unwrap();
            }
        }
        file.set_modified(modified).unwrap();
    }
}

impl FileSystem for Forgetful {
    fn open(&self, at: &Location, mode: OpenMode) -> io::Result<File> {
        let mut state = self.act()?;
        let file = RealFileSystem.open(at, mode)?;
        let inode = file.metadata()?.ino();
        if state.live.files.insert(at.path(), inode).is_none() {
            // The file system gives the numbers of removed files again.
            state.nodes.insert(inode, Node::default());
        }
        Ok(file)
    }

    fn stamp(&self, at: &Location) -> io::Result<FileStamp> {
        drop(self.act()?);
        RealFileSystem.stamp(at)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.act()?;
        RealFileSystem.set_len(file, len)?;
        let node = state.nodes.get_mut(&file.metadata()?.ino()).unwrap();
        node.unsynced.push(Write::Len(len));
        Ok(())
    }

    fn write_all_at(&self, file: &File, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.act()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if let Some(room) = &mut state.room {
            let left = room.checked_sub(bytes.len() as u64);
            *room = left.ok_or(io::ErrorKind::StorageFull)?;
        }
        RealFileSystem.write_all_at(file, parts, offset)?;
        // A file that was removed while open is nobody's any more.
        if let Some(node) = state.nodes.get_mut(&file.metadata()?.ino()) {
            node.unsynced.push(Write::Bytes(offset, bytes));
        }
        Ok(())
    }

    fn copy(&self, from: &File, to: &File) -> io::Result<u64> {
        let mut bytes = vec![0; from.metadata()?.len() as usize];
        from.read_exact_at(&mut bytes, 0)?;
        self.write_all_at(to, &mut [IoSlice::new(&bytes)], 0)?;
        Ok(bytes.len() as u64)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        let mut state = self.act()?;
        let fails = std::mem::take(&mut state.fail_next_sync);
        let Some(node) = state.nodes.get_mut(&file.metadata()?.ino()) else {
            return Ok(());
        };
        if fails {
            // As Linux does it: reported once, the pages clean, the bytes lost. The inode's new
            // length is still to be written.
            node.unsynced.retain(|write| matches!(write, Write::Len(_)));
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        let unsynced = std::mem::take(&mut node.unsynced);
        unsynced.into_iter().for_each(|write| node.apply(write));
        Ok(())
    }

    fn drop_cache(&self, file: &File, _: u64, _: u64) -> io::Result<()> {
        let state = self.act()?;
        let inode = file.metadata()?.ino();
        let (Some(node), Some(path)) = (state.nodes.get(&inode), state.live.path_of(inode)) else {
            return Ok(());
        };
        // What is not synced is in memory and stays there.
        let mut view = Node { durable: node.durable.clone(), unsynced: Vec::new() };
        node.unsynced.iter().cloned().for_each(|write| view.apply(write));
        view.write_to(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.act()?;
        RealFileSystem.sync_dir(path)?;
        let state = &mut *state;
        let inside = |entry: &Path| entry.parent() == Some(path);
        let renames = std::mem::take(&mut state.renames);
        for (from, to) in renames {
            if inside(&from) || inside(&to) {
                state.durable.rename(&from, &to);
            } else {
                state.renames.push((from, to));
            }
        }
        let (live, durable) = (&state.live, &mut state.durable);
        durable.files.retain(|entry, _| !inside(entry) || live.files.contains_key(entry));
        durable.dirs.retain(|entry| !inside(entry) || live.dirs.contains(entry));
        let files = live.files.iter().filter(|(entry, _)| inside(entry));
        durable.files.extend(files.map(|(entry, inode)| (entry.clone(), *inode)));
        durable.dirs.extend(live.dirs.iter().filter(|entry| inside(entry)).cloned());
        Ok(())
    }

    fn create_dirs(&self, at: &Location) -> io::Result<Vec<PathBuf>> {
        let mut state = self.act()?;
        let changed = RealFileSystem.create_dirs(at)?;
        let path = at.path();
        let made = path.ancestors().take_while(|dir| dir.starts_with(&self.root));
        state.live.dirs.extend(made.map(Path::to_path_buf));
        Ok(changed)
    }

    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        let mut state = self.act()?;
        let (source, target) = (from.path(), to.path());
        let crosses = |folder: &PathBuf| source.starts_with(folder) != target.starts_with(folder);
        if state.other_device.as_ref().is_some_and(crosses) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        RealFileSystem.rename(from, to)?;
        state.live.rename(&source, &target);
        state.renames.push((source, target));
        Ok(())
    }

    fn remove_file(&self, at: &Location) -> io::Result<()> {
        let mut state = self.act()?;
        RealFileSystem.remove_file(at)?;
        state.live.files.remove(&at.path());
        Ok(())
    }

    fn remove_dir(&self, at: &Location) -> io::Result<()> {
        let mut state = self.act()?;
        RealFileSystem.remove_dir(at)?;
        state.live.dirs.remove(&at.path());
        Ok(())
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        match self.state().room {
            Some(room) => Ok(room),
            None => RealFileSystem.free_space(path),
        }
    }
}

/// Opens a state directory whose database stops where the file system's power does.
pub(super) fn open_store(dir: &Path, fs: &Arc<Forgetful>) -> Result<Store, StoreError> {
    let fs = fs.clone();
    let opener = move |path: &Path| {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let backend = Powered { inner: FileBackend::new(file)?, fs: fs.clone() };
        Database::builder().create_with_backend(backend).map_err(redb::Error::from)
    };
    Store::open_with(dir, Box::new(opener))
}

#[derive(Debug)]
struct Powered {
    inner: FileBackend,
    fs: Arc<Forgetful>,
}

impl StorageBackend for Powered {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        drop(self.fs.act()?);
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // The database's own syncs are its own matter: its file survives here as it is.
        drop(self.fs.act()?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        drop(self.fs.act()?);
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}
