//! The file system of the operating system, walked so that no symbolic link below a trusted folder
//! is followed: `openat2` where the kernel has it, one component after the other elsewhere.

use std::{
    fs::{self, File},
    io::{self, IoSlice},
    num::NonZero,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Advice, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags},
    io::Errno,
};

use super::fs::{FileStamp, FileSystem, Location, OpenMode};

/// The operating system's file system.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn open(&self, at: &Location, mode: OpenMode) -> io::Result<File> {
        let access = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::Write => OFlags::RDWR,
            OpenMode::Create => OFlags::RDWR | OFlags::CREATE,
            OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        // `openat2` refuses a mode where nothing is made.
        let mode = if access.contains(OFlags::CREATE) { NEW_FILE } else { Mode::empty() };
        // A named pipe in the place of a file must not hold us: NONBLOCK, and then refused.
        let file = File::from(open_below(at, access | OFlags::NONBLOCK, mode)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_a_file(at)) }
    }

    fn stamp(&self, at: &Location) -> io::Result<FileStamp> {
        let entry = File::from(open_below(at, OFlags::PATH, Mode::empty())?);
        let metadata = entry.metadata()?;
        if metadata.is_file() { Ok(FileStamp::of(&metadata)) } else { Err(not_a_file(at)) }
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn write_all_at(
        &self,
        file: &File,
        mut parts: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        // Empty buffers at the front would read as a write of nothing.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let batch = &parts[..parts.len().min(IOV_MAX)];
            let written = match rustix::io::pwritev(file, batch, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            IoSlice::advance_slices(&mut parts, written);
            offset += written as u64;
        }
        Ok(())
    }

    fn copy(&self, mut from: &File, mut to: &File) -> io::Result<u64> {
        io::copy(&mut from, &mut to)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn drop_cache(&self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        // Only whole pages are let go of: those at the edges too.
        let from = offset / PAGE_LEN_MAX * PAGE_LEN_MAX;
        let to = offset.saturating_add(len).next_multiple_of(PAGE_LEN_MAX);
        let len = NonZero::new(to - from);
        Ok(rustix::fs::fadvise(file, from, len, Advice::DontNeed)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_dirs(&self, at: &Location) -> io::Result<Vec<PathBuf>> {
        let mut changed = create_base(&at.base)?;
        let mut path = at.base.to_path_buf();
        let mut dir = open_base(&at.base)?;
        for component in components(&at.relative)? {
            match rustix::fs::mkdirat(&dir, component, NEW_DIR) {
                Ok(()) => changed.push(path.clone()),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            dir = open_dir(&dir, component)?;
            path.push(component);
        }
        Ok(changed)
    }

    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        let (from_dir, from_name) = open_parent(from)?;
        let (to_dir, to_name) = open_parent(to)?;
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&from_dir, from_name, &to_dir, to_name, flags) {
            // The kernel or the file system does not know the flag: a hard link does not replace
            // either, and the old name goes after it.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(&from_dir, from_name, &to_dir, to_name, AtFlags::empty())?;
                Ok(rustix::fs::unlinkat(&from_dir, from_name, AtFlags::empty())?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn remove_file(&self, at: &Location) -> io::Result<()> {
        let (dir, name) = open_parent(at)?;
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, at: &Location) -> io::Result<()> {
        if at.relative.as_os_str().is_empty() {
            return fs::remove_dir(&at.base);
        }
        let (dir, name) = open_parent(at)?;
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR)?)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let mut existing = path;
        loop {
            match rustix::fs::statvfs(existing) {
                Ok(stat) => return Ok(stat.f_bavail.saturating_mul(stat.f_frsize)),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            existing = existing.parent().ok_or(io::ErrorKind::NotFound)?;
        }
    }
}

/// Opens a path below its base without following a symbolic link.
fn open_below(at: &Location, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if at.relative.as_os_str().is_empty() {
        return Ok(rustix::fs::open(&*at.base, flags & !OFlags::NOFOLLOW, mode)?);
    }
    components(&at.relative)?;
    let base = open_base(&at.base)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(&base, &at.relative, flags, mode, resolve) {
            // AGAIN: a rename elsewhere raced with the walk. INTR: a signal.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Kernels before 5.6, and sandboxes that forbid what they do not know.
            Err(Errno::NOSYS | Errno::PERM) => break,
            outcome => return Ok(outcome?),
        }
    }
    let (dir, name) = open_parent(at)?;
    Ok(rustix::fs::openat(&dir, name, flags, mode)?)
}

/// Opens the folder that holds a path by walking to it, and returns the path's last component.
fn open_parent(at: &Location) -> io::Result<(OwnedFd, &Path)> {
    let mut components = components(&at.relative)?;
    let name = components.pop().ok_or(io::ErrorKind::InvalidInput)?;
    let mut dir = open_base(&at.base)?;
    for component in components {
        dir = open_dir(&dir, component)?;
    }
    Ok((dir, name))
}

fn open_base(base: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, base, flags, Mode::empty())?)
}

fn open_dir(dir: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty())?;
    // With PATH, NOFOLLOW and DIRECTORY a link is refused; kernels differ in which error.
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if kind == FileType::Directory { Ok(opened) } else { Err(Errno::NOTDIR.into()) }
}

/// The components of a relative path, each a plain name.
fn components(relative: &Path) -> io::Result<Vec<&Path>> {
    let plain = |component| match component {
        Component::Normal(name) => Ok(Path::new(name)),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            let message = format!("{} leaves its folder", relative.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    };
    relative.components().map(plain).collect()
}

/// Makes a trusted folder and those above it. Returns the folders that got a new entry.
fn create_base(base: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let mut existing = base;
    while !existing.try_exists()? {
        missing.push(existing);
        existing = existing.parent().ok_or(io::ErrorKind::NotFound)?;
    }
    let mut changed = Vec::new();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Ok(()) => changed.extend(dir.parent().map(Path::to_path_buf)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

fn not_a_file(at: &Location) -> io::Error {
    let message = format!("{} is no regular file", at.path().display());
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The largest pages of common systems, bytes.
const PAGE_LEN_MAX: u64 = 64 * 1024;
/// The mode of a new file, less the umask.
const NEW_FILE: Mode = Mode::from_raw_mode(0o666);
/// The mode of a new folder, less the umask.
const NEW_DIR: Mode = Mode::from_raw_mode(0o777);
/// The most buffers of one `pwritev` (Linux's `UIO_MAXIOV`).
const IOV_MAX: usize = 1024;
