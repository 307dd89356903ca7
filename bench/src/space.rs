//! The folder that source and copies lie in: whether they fit, and that the memory under it is
//! there. Never here: the files of a run.

use std::{
    env, fmt,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytesize::ByteSize;

use crate::{interrupt, machine};

/// What a folder lies on, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Medium {
    /// Memory.
    Tmpfs,
    /// Anything else.
    Disk,
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tmpfs => "tmpfs",
            Self::Disk => "disk",
        })
    }
}

/// `f_type` of tmpfs, from statfs(2).
const TMPFS_MAGIC: i128 = 0x0102_1994;
/// Bytes written at once to warm memory.
const BLOCK_LEN: usize = 1 << 20;

/// Memory where there is a tmpfs that everyone may write to, else the system's temporary folder.
pub(crate) fn default_dir() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { env::temp_dir() }
}

/// What `dir` lies on.
///
/// # Errors
/// It cannot be asked.
pub(crate) fn medium(dir: &Path) -> anyhow::Result<Medium> {
    let stat = rustix::fs::statfs(dir).with_context(|| dir.display().to_string())?;
    Ok(match i128::from(stat.f_type) {
        TMPFS_MAGIC => Medium::Tmpfs,
        _ => Medium::Disk,
    })
}

/// Refuses to begin where `len` bytes do not fit into `dir`.
///
/// # Errors
/// They do not, or the folder cannot be asked.
pub(crate) fn ensure_room(dir: &Path, len: u64) -> anyhow::Result<()> {
    let stat = rustix::fs::statvfs(dir).with_context(|| dir.display().to_string())?;
    let mut room = stat.f_bavail.saturating_mul(stat.f_frsize);
    if medium(dir)? == Medium::Tmpfs {
        let memory = fs::read_to_string("/proc/meminfo")?;
        let available = machine::kib(&memory, "MemAvailable").unwrap_or(u64::MAX / 1024);
        room = room.min(available.saturating_mul(1024));
    }
    let (len, room) = (ByteSize(len), ByteSize(room));
    ensure!(len <= room, "{}: {len} are needed, {room} are free; see --dir", dir.display());
    Ok(())
}

/// Touches as much memory of the tmpfs under `dir` as [`warmth`] says and frees it again. On a
/// virtual machine the first touch of a page that the host took back costs more than the transfer
/// that is to be timed, and whoever runs first would pay for all. A disk's copies go to the same
/// memory first, so that there another tmpfs is taken; nothing is done where it has no room.
///
/// # Errors
/// It cannot be written, or "interrupted".
pub(crate) fn warm(dir: &Path, len: u64) -> anyhow::Result<()> {
    let shm = default_dir();
    let dir = match medium(dir)? {
        Medium::Tmpfs => dir,
        Medium::Disk if medium(&shm)? == Medium::Disk => return Ok(()),
        Medium::Disk if ensure_room(&shm, warmth(len)).is_err() => return Ok(()),
        Medium::Disk => &shm,
    };
    // Without a name it goes with its last handle, also on the way out by an error.
    let mut file = tempfile::tempfile_in(dir)?;
    let block = vec![0; BLOCK_LEN];
    for _ in 0..warmth(len).div_ceil(BLOCK_LEN as u64) {
        interrupt::check()?;
        file.write_all(&block)?;
    }
    Ok(())
}

/// Waits until the disk under `dir` has everything that was written to it: how long that took.
/// Nothing is done on a tmpfs.
///
/// # Errors
/// The disk fails.
pub(crate) fn flush(dir: &Path) -> anyhow::Result<Option<Duration>> {
    if medium(dir)? == Medium::Tmpfs {
        return Ok(None);
    }
    let start = Instant::now();
    rustix::fs::syncfs(File::open(dir)?).context("writing to the disk")?;
    Ok(Some(start.elapsed()))
}

/// Bytes to touch before `len` are to be written: a quarter more, for what comes beside them.
pub(crate) fn warmth(len: u64) -> u64 {
    len.saturating_add(len / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_said_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        ensure_room(dir.path(), 1).unwrap();
        let error = ensure_room(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("are needed"), "{error}");
    }

    #[test]
    fn only_a_disk_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let is_disk = medium(dir.path()).unwrap() == Medium::Disk;
        assert_eq!(flush(dir.path()).unwrap().is_some(), is_disk);
    }

    #[test]
    fn warming_leaves_nothing_behind() {
        let dir = tempfile::tempdir_in(default_dir()).unwrap();
        warm(dir.path(), 3 << 20).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
